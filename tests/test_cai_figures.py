"""Figures 5 to 10 of Cai et al., and the table of arithmetic."""

import json

import numpy as np
import pytest

from jadce_fast.figures.complexity import operations


def test_figures_of_the_paper(jadce, tmp_path):
    """Every figure with one drop of the smallest receivers; the campaign is kept and not measured again."""
    for name in ("cai-5", "cai-6", "cai-7", "cai-8", "cai-9", "cai-10", "complexity"):
        few = ["--receiver", "bg", "--trials", 1, "--quick", "--output", tmp_path, "--json"]
        status, out, err = jadce("figures", name, *few)
        assert (status, err) == (0, "")
        found = json.loads(out)
        assert {row["prior"] for row in found["results"]} == {"bg"}
        assert (tmp_path / f"{name}.png").stat().st_size > 10000
        assert (tmp_path / f"{name}.csv").is_file()
        kept = tmp_path / name.replace("7", "6") / "results.csv"
        before = kept.read_bytes()
        assert json.loads(jadce("figures", name, *few)[1])["results"] == found["results"]
        assert kept.read_bytes() == before


def test_operations_are_those_of_products():
    """GMMV-AMP's and BG-TMP's, by hand."""
    entries = 48 * 20 * 800 * 32
    assert operations("tmp-em:4", 10, 40) == 10 * 2 * 8 * entries
    assert operations("gmmv-amp", 1, 40) == pytest.approx(20 * entries)
    assert operations("bg", 1, 0) == pytest.approx(5 * 48 * 32 * 800 * np.log2(800))
    assert operations("cdl", 1, 1) - operations("cdl", 1, 0) == pytest.approx(8 * 48 * 20 * 32 + 2 * 2.28e6, rel=0.01)
