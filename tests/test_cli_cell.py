"""Commands of a cell: `jadce simulate-cell`, `tune` and its figures."""

import csv

import pytest
from test_cli import strict

CELL = ["simulate-cell", "--antennas", 4, "--devices", 12, "--symbols", 9, "--snr", 20, "--threads", 1]


def test_simulate_a_cell(jadce, tmp_path):
    files = [tmp_path / name for name in ("cell.csv", "cell.png", "cell")]
    arguments = [*CELL, "--trials", 4, "--prior", "cell", "--prior", "lmmse", "--prior", "tmp"]
    status, out, err = jadce(*arguments, "--csv", files[0], "--plot", files[1], "--resume", files[2], "--json")
    assert (status, err) == (0, "")
    found = strict(out)
    assert found["scenario"]["symbols"] == 9
    assert [row["receiver"] for row in found["results"]] == ["cell", "lmmse", "tmp"]
    assert found["results"][0]["nmse_db"] < found["results"][1]["nmse_db"]
    assert {"restarts", "diverged", "accuracy"} <= set(found["results"][0])
    with files[0].open() as file:
        assert len(list(csv.DictReader(file))) == 12
    assert files[1].stat().st_size > 5000
    assert strict(jadce(*arguments, "--resume", files[2], "--json")[1])["results"] == found["results"]
    assert "median NMSE dB" in jadce(*CELL, "--trials", 1)[1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([*CELL, "--genie"], "No such option: --genie"),
        ([*CELL, "--bits", 9], "--bits: expected 1 to 4, found 9"),
        ([*CELL, "--rate", 2], "--rate: expected a finite number in [1e-12, 1], found 2"),
        ([*CELL, "--rician", 101], "--rician: expected a finite number in [-100, 100], found 101"),
        ([*CELL, "--interference", -101], "--interference: expected a finite number in [-100, 100], found -101"),
        ([*CELL, "--active", 13], "--active: expected 0 to 12, found 13"),
        ([*CELL, "--trials", 0], "--trials: expected at least 1, found 0"),
        ([*CELL, "--prior", "nothing", "--trials", 1], "--prior: expected one of cell-network or"),
        (["tune", "--draws", 0], "--draws: expected at least 1, found 0"),
        (["tune", "--snr", 101], "--snr: expected a finite number in [-100, 100], found 101"),
        (["tune", "--step", "x"], "--step: expected a list of numbers such as 0.7,1, found 'x'"),
        (["tune", "--decay", "1.5", "--draws", 1], "--decay: expected a finite number in (0, 1), found 1.5"),
        (["figures", "tang-5", "--draws", 0], "--draws: expected at least 1, found 0"),
        (["figures", "tang-6", "--snr", "a"], "--snr: expected a list such as 0,10,20 or LOW:HIGH:STEP, found 'a'"),
    ],
)
def test_bad_input_in_a_cell(jadce, tmp_path, arguments, message):
    status, out, err = jadce(*arguments, *(["--output", tmp_path] if arguments[0] == "figures" else []))
    assert (status, out) == (2, "")
    assert message in err


def test_grid_search(jadce, tmp_path):
    arguments = ["tune", "--step", "1,1.4", "--decay", "none", "--beta", "0.01", "--levels", 8, "--steps", 1]
    arguments += ["--snr", "10,30", "--draws", 2, "--threads", 1, "--resume", tmp_path / "grid"]
    found = strict(jadce(*arguments, "--json")[1])
    assert len(found["results"]) == 2
    assert found["results"][0]["mean_nmse_db"] <= found["results"][1]["mean_nmse_db"]
    assert "best first" in jadce(*arguments)[1]


def test_figure_of_a_cell(jadce, tmp_path):
    arguments = ["figures", "tang-density", "--snr", "10,20", "--draws", 2, "--threads", 1, "--output", tmp_path]
    found = strict(jadce(*arguments, "--json")[1])
    assert len(found["results"]) == 6 * 2 * 2
    kept = tmp_path / "tang-density" / "results.csv"
    assert all(path.stat().st_size > 500 for path in (*tmp_path.glob("tang-density.*"), kept))
    assert len(list(tmp_path.glob("tang-density.*"))) == 2
    assert "median NMSE" in jadce(*arguments)[1]


def test_an_interrupted_campaign_ends_with_130(jadce, tmp_path, monkeypatch):
    """Control-C: what is done is kept."""
    from jadce_fast.campaigns import cell_campaign

    calls = []

    def interrupted(*arguments):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return draw(*arguments)

    draw = cell_campaign.draw_cell
    monkeypatch.setattr(cell_campaign, "draw_cell", interrupted)
    file = tmp_path / "cell"
    status, out, err = jadce(*CELL, "--trials", 9, "--prior", "cell", "--resume", file)
    assert (status, out) == (130, "")
    assert "interrupted" in err
    assert [row["draw"] for row in csv.DictReader((file / "results.csv").open())] == ["0", "1"]
