"""The model of the kernels' times on a GPU: it reproduces what was measured."""

import importlib
import json
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
RUN = json.loads((ROOT / "benchmarks/results/gpu-h100-2026-11-27.json").read_text())


def rows(title):
    return [row for name, part in RUN.items() if name.startswith(title) for row in part["rows"]]


KERNELS = [
    row | {"kernel": {"observe": "module_a"}.get(row["kernel"], row["kernel"])}  # its name then
    for row in rows("CUDA kernels")
    if row["kernel"] != "iteration"
]


@pytest.fixture
def model(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return importlib.import_module("gpu_model")


def test_every_kernel_was_measured(model):
    assert len(KERNELS) == 14
    assert {row["kernel"] for row in KERNELS} == set(model.measured(800, 20, 45))


@pytest.mark.parametrize("row", KERNELS, ids=lambda row: f"{row['prior']}-{row['kernel']}")
def test_kernels(model, row):
    """Within 30 % each, after another kernel in a graph; powers were unknown."""
    path = model.measured(row["K"], row["T"], row["candidates"], row["prior"], known=False)[row["kernel"]]
    assert path.body_us + model.START_US == pytest.approx(row["p50 us"], rel=0.3)


@pytest.mark.parametrize("row", rows("Detection on"), ids=lambda row: f"{row['K']}-{row['prior']}-{row['network']}")
def test_detections(model, row):
    """Their kernels, with known power and at K=3000 too, add up to a whole detection."""
    case = next(case for case in model.DETECTIONS if (case[0], case[2]) == (row["K"], row["prior"]))
    k, t, prior, iterations, screens, candidates = case
    assert (iterations, candidates) == (row["iterations"], row["active"])
    paths = model.measured(k, t, candidates, prior)
    found = model.detection_us(paths, prior, iterations, screens, row["network"])
    assert found / 1e3 == pytest.approx(row["p50 ms"], rel=0.2)
