"""Campaigns in a cell: impairments against their definitions, receivers, resuming, statistics, the grid search."""

import csv
import sys

import numpy as np
import pytest

from jadce_fast.baselines.receivers.estimate import Estimate
from jadce_fast.baselines.receivers.lmmse import best_threshold
from jadce_fast.campaigns import CellScenario, draw_cell
from jadce_fast.campaigns.cell_campaign import bootstrap, median_interval, simulate_cell, summarize_cell
from jadce_fast.campaigns.cell_link import equalise, simulate_link
from jadce_fast.campaigns.cell_receivers import load_receiver
from jadce_fast.campaigns.grid_search import Setting, grid, grid_search
from jadce_fast.campaigns.impairments import complex_normal, interference, quantise
from jadce_fast.figures import tang_5, tang_6, tang_density, tang_impaired, tang_shift
from jadce_fast.figures.cell_curves import TRAINING

pytestmark = pytest.mark.usefixtures("one_thread")
SMALL = CellScenario(antennas=4, devices=12, symbols=9, snr_db=20.0)


@pytest.mark.parametrize("bits", [1, 2, 3, 4])
def test_quantiser_is_a_gain_and_uncorrelated_noise(bits):
    """Bussgang: what it returns is y plus distortion of the variance that it says, uncorrelated with y."""
    rng = np.random.default_rng(0)
    y = 3 * complex_normal(rng, 400, 500)
    found, variance = quantise(y, bits)
    assert len(np.unique(np.round(found.real, 9))) == 2**bits
    distortion = found - y
    assert np.mean(np.abs(distortion) ** 2) == pytest.approx(variance, rel=0.02)  # Max's table has four digits
    assert abs(np.vdot(y, distortion)) / np.vdot(y, y).real < 0.01
    assert np.all(quantise(np.zeros((2, 2), complex), bits)[0] == 0)


def test_interference_has_its_power():
    rng = np.random.default_rng(1)
    power = [np.mean(np.abs(interference(rng, 8, 30, 2.5)) ** 2) for _ in range(2000)]
    assert np.mean(power) == pytest.approx(2.5, abs=4 * np.std(power) / 2000**0.5)


def test_other_channels_keep_their_power():
    for change in (dict(rician_db=5.0), dict(correlation=0.9), dict(shadowing_db=4.0), {}):
        scenario = CellScenario(antennas=8, devices=400, symbols=2, active=400, **change)
        x = np.concatenate([draw_cell(scenario, 0, trial).channels for trial in range(60)])
        powers = (np.abs(x.astype(complex)) ** 2).mean((1, 2))
        assert powers.mean() == pytest.approx(scenario.mean_power, abs=5 * powers.std() / len(powers) ** 0.5), change


def test_what_receivers_are_told():
    """Interference and distortion count as noise, unless the receiver is not told."""
    told, untold = (draw_cell(CellScenario(bits=1, interference_db=0.0, told=t), 0, 0) for t in (True, False))
    assert np.array_equal(told.y, untold.y)
    assert untold.noise_var == pytest.approx(CellScenario().noise_var)
    assert told.noise_var > 2 * untold.noise_var
    with pytest.raises(ValueError, match="bits: expected 1 to 4, found 5"):
        CellScenario(bits=5)
    with pytest.raises(ValueError, match="correlation: expected"):
        CellScenario(correlation=1.0)


@pytest.mark.parametrize("name", ["cell", "tmp", "lmmse", "algorithm-1", "truth"])
def test_receivers(name):
    drop = draw_cell(SMALL, 0, 3)
    found = load_receiver(name, SMALL, TRAINING, 0, 1, {}).estimate(drop)
    x, active = drop.x, drop.activity
    assert found.x.shape == x.shape
    assert found.variance.shape == found.active.shape == active.shape
    assert np.all(found.variance >= 0)
    if name in ("cell", "tmp", "truth"):
        assert np.array_equal(found.active, active)
        assert np.linalg.norm(found.x - x) < 0.3 * np.linalg.norm(x)
    with pytest.raises(ValueError, match="prior"):
        load_receiver("nothing", SMALL, TRAINING, 0, 1, {})


def test_threshold_makes_the_fewest_wrong_decisions():
    rng = np.random.default_rng(2)
    statistic, active = rng.uniform(size=200), rng.uniform(size=200) < 0.3
    found = best_threshold(statistic + active * 0.5, active)
    wrong = [np.sum((statistic + active * 0.5 >= t) != active) for t in (*(statistic + active * 0.5), np.inf)]
    assert np.sum((statistic + active * 0.5 >= found) != active) == min(wrong)
    assert best_threshold(statistic, np.zeros(200, bool)) == np.inf


def test_interrupted_campaign_goes_on(tmp_path):
    """The same records as in one go; more trials, points and receivers may come later."""
    points = [SMALL, CellScenario(antennas=4, devices=12, symbols=9, snr_db=0.0)]
    whole = simulate_cell(points, ("cell", "lmmse"), 4, threads=1)

    class Stop(Exception):
        pass

    def stop(done, total, records):
        if done == 3:
            raise Stop

    file = tmp_path / "campaign"
    with pytest.raises(Stop):
        simulate_cell(points, ("cell",), 3, threads=1, resume=file, progress=stop)
    assert [row["draw"] for row in csv.DictReader((file / "results.csv").open())] == ["0", "1", "2"]
    again = simulate_cell(points, ("cell", "lmmse"), 4, threads=1, resume=file)
    for a, b in zip(again, whole, strict=True):
        assert (a.point, a.trial, a.receiver, a.missed, a.false_alarms) == (
            *(b.point, b.trial, b.receiver),
            *(b.missed, b.false_alarms),
        )
        assert a.error_energy == pytest.approx(b.error_energy, rel=1e-6)
    with pytest.raises(ValueError, match="expected a campaign with seed=1, found 0"):
        simulate_cell(points, ("cell",), 1, seed=1, resume=file)
    (file / "manifest.json").write_text("{}")
    with pytest.raises(ValueError, match="expected a campaign to resume, found something else"):
        simulate_cell(points, ("cell",), 1, resume=file)


def test_summary():
    records = simulate_cell([SMALL], ("cell", "truth"), 12, threads=1)
    found, truth = (summarize_cell(records, SMALL, name) for name in ("cell", "truth"))
    assert truth.accuracy == 1
    assert (found.trials, found.active) == (12, truth.active)
    assert found.accuracy == pytest.approx(1 - (found.missed + found.false_alarms) / (12 * 12))
    assert found.nmse_low_db <= found.nmse_db <= found.nmse_high_db


def test_interval_of_a_median():
    """Covers the true median about 95 times in a hundred."""
    rng = np.random.default_rng(3)
    inside = [low <= 0 <= high for low, high in (median_interval(rng.standard_normal(60)) for _ in range(2000))]
    assert 0.93 < np.mean(inside) < 0.985
    value, low, high = bootstrap(lambda a, b: float(np.mean(a - b)), np.arange(50.0), np.arange(50.0) - 2)
    assert (value, low, high) == (2, 2, 2)


def test_grid_search(tmp_path):
    settings = grid((0.7, 1.4), (None,), (0.01, 0.9), (12,), (2,))
    assert settings[0] == Setting(0.7, None, 0.01, 12, 2)
    rows = grid_search(settings, SMALL, (0, 20), 5, threads=1, resume=tmp_path / "grid")
    assert len(rows) == 4
    means = [row.mean_nmse_db for row in rows]
    assert means == sorted(means)
    again = grid_search(settings[:2], SMALL, (0, 20), 5, threads=1, resume=tmp_path / "grid")
    for row in again:
        assert row == next(r for r in rows if r.setting == row.setting)
    with pytest.raises(ValueError, match="settings: expected at least one, found none"):
        grid_search([], SMALL)


def test_equaliser_is_unbiased_and_knows_its_noise():
    """Of random channels: what is left of the symbols has the variance that is promised."""
    rng = np.random.default_rng(4)
    x = np.zeros((20, 8), complex)
    active = np.isin(np.arange(20), [2, 5, 11])
    x[active] = 2 * complex_normal(rng, 8, 3).T
    sent = np.exp(0.5j * np.pi * (rng.integers(0, 4, (3, 60_000)) + 0.5))
    y = x[active].T @ sent + np.sqrt(0.7) * complex_normal(rng, 8, 60_000)
    devices, symbols, variance = equalise(y, Estimate(x, np.zeros(20), active), 0.7)
    assert devices.tolist() == [2, 5, 11]
    np.testing.assert_allclose(np.mean(np.abs(symbols - sent) ** 2, 1), variance, rtol=0.05)
    assert abs(np.mean(symbols * sent.conj(), 1) - 1).max() < 0.02


def test_coded_link(tmp_path):
    """Words get through with true channels, fewer with worse estimates; a missed device loses its word."""
    pytest.importorskip("sionna")
    points = [CellScenario(antennas=8, devices=16, symbols=12, snr_db=snr) for snr in (-20.0, 30.0)]
    rows = simulate_link(points, ("cell", "truth"), 6, threads=1, resume=tmp_path / "link")
    worst, _, cell, truth = rows
    assert worst.block_error_rate > 0.9
    assert worst.missed > 0
    assert truth.missed == 0
    assert truth.words == cell.words > 0
    assert truth.lost <= cell.lost < 0.5 * cell.words
    assert simulate_link(points, ("cell", "truth"), 6, threads=1, resume=tmp_path / "link") == rows


def test_coded_link_without_sionna(monkeypatch):
    monkeypatch.setitem(sys.modules, "sionna", None)
    monkeypatch.setitem(sys.modules, "sionna.phy.fec.ldpc", None)
    with pytest.raises(ValueError, match="sionna: expected the package for the coded link, found none"):
        simulate_link([SMALL], draws=1)


def test_curves_of_the_figures():
    counts = [len(figure.CURVES) for figure in (tang_5, tang_6, tang_density, tang_shift, tang_impaired)]
    assert counts == [1, 11, 6, 7, 15]
