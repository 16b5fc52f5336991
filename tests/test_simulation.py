"""Drops, the genie, and campaigns."""

import csv
import dataclasses

import numpy as np
import pytest
from problems import WienerPrior, complex_normal

from jadce_fast import channels
from jadce_fast.campaigns import GeniePrior, Scenario, draw_drop, simulate, summarize
from jadce_fast.campaigns.ofdm_drop import draw_pilots
from jadce_fast.priors import DEFAULT

SMALL = Scenario(devices=100, symbols=12, antennas=16, activity_rate=0.08, snr_db=12)


def beamspace(h: np.ndarray) -> np.ndarray:
    return np.fft.fft(h, axis=-1, norm="ortho")


@pytest.mark.parametrize("pilots", ["dft", "qpsk"])
@pytest.mark.parametrize("model", ["C", "mixed"])
def test_received_block_is_the_model(pilots, model):
    scenario = dataclasses.replace(SMALL, pilots=pilots, model=model, snr_db=60.0)
    drop = draw_drop(scenario, seed=3)
    x = np.zeros((100, 48, 16), complex)
    x[drop.active] = drop.channels
    clean = np.einsum("tnk,knm->tnm", drop.pilots.select(), x)
    noise = np.mean(abs(drop.y - clean) ** 2)
    # 12 * 48 * 16 exponential samples: a standard deviation of 1 %.
    assert noise == pytest.approx(drop.noise_var, rel=0.06)
    assert drop.noise_var == pytest.approx(1e-6)
    assert np.mean(abs(drop.channels) ** 2, axis=(1, 2)) == pytest.approx(np.ones(len(drop.active)), rel=1e-5)


def test_a_trial_does_not_depend_on_what_was_drawn_before():
    first = [draw_drop(SMALL, 7, trial) for trial in range(3)]
    assert np.array_equal(draw_drop(SMALL, 7, 2).y, first[2].y)
    assert not np.array_equal(first[0].y, first[1].y)
    assert not np.array_equal(draw_drop(SMALL, 8, 2).y, first[2].y)


def test_pilots_stay_unless_fresh_ones_are_wanted():
    assert np.array_equal(draw_pilots(SMALL, 0, 0).rows, draw_pilots(SMALL, 0, 1).rows)
    fresh = dataclasses.replace(SMALL, fresh_pilots=True)
    assert not np.array_equal(draw_pilots(fresh, 0, 0).rows, draw_pilots(fresh, 0, 1).rows)


def test_number_of_active_devices_and_powers():
    scenario = Scenario(devices=2000, symbols=1, subcarriers=2, antennas=2, activity_rate=0.1, power_spread_db=20)
    drop = draw_drop(scenario)
    assert abs(len(drop.active) - 200) < 5 * np.sqrt(2000 * 0.1 * 0.9)
    power_db = 10 * np.log10(np.mean(abs(drop.channels) ** 2, axis=(1, 2)))
    assert np.ptp(power_db) <= 20 + 1e-3
    assert np.ptp(power_db) > 18


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"devices": 0}, "devices: expected at least 1, found 0"),
        ({"symbols": 101}, "symbols: expected at most devices=100, found 101"),
        ({"activity_rate": 1.0}, "activity_rate: expected a finite number in"),
        ({"snr_db": float("nan")}, "snr_db: expected a finite number"),
        ({"model": "F"}, "model: expected A or B or C or D or E or mixed, found 'F'"),
        ({"angles": "up"}, "angles: expected departure or arrival, found 'up'"),
        ({"pilots": "zadoff"}, "pilots: expected dft or qpsk, found 'zadoff'"),
        ({"delay_spread": (2e-7, 1e-7)}, "delay_spread: expected low <= high"),
        ({"power_spread_db": -1}, "power_spread_db: expected a finite number"),
    ],
)
def test_bad_scenarios(change, message):
    with pytest.raises(ValueError, match=message.replace("(", r"\(")):
        dataclasses.replace(SMALL, **change)


@pytest.mark.parametrize("model", ["A", "D"])
def test_genie_is_the_lmmse_estimate_with_the_path_covariance(model):
    """Against the same written with the dense covariance, in noise that differs from beam to beam."""
    n, m = 12, 8
    paths = channels.draw_paths(2, model, seed=5)
    genie = GeniePrior(WienerPrior(n))
    genie.reveal([4, 9], paths, m)
    rng = np.random.default_rng(0)
    z = complex_normal(rng, 3, n, m).astype(np.complex64)
    v = rng.uniform(0.02, 0.5, (3, m)).astype(np.float32)
    mean, var = genie.denoise(z, v, np.array([9, 5, 4]))
    factor = channels.path_covariance_factor(paths, n, m, dtype=np.complex128)
    basis = genie.basis.astype(complex)
    for row, i in ((0, 1), (2, 0)):
        f = basis.conj().T @ beamspace(factor[i].T.reshape(-1, n, m))  # (L, N, M)
        f = f.reshape(len(f), -1).T
        covariance = f @ f.conj().T
        gain = np.linalg.solve(covariance + np.diag(np.tile(v[row], n)), covariance).conj().T
        # Directions below 1e-7 of a channel's power are left out: errors of some 1e-7 n m / 0.02.
        assert mean[row] == pytest.approx((gain @ z[row].ravel()).reshape(n, m), abs=2e-3)
        error = np.diag(covariance - gain @ covariance).real.reshape(n, m)
        assert var[row] == pytest.approx(error.sum(0) / n, rel=2e-3, abs=1e-5)
    assert not mean[1].any()  # device 5 is known to be inactive
    assert not var[1].any()


def test_genie_bases_are_complete():
    base = WienerPrior(16, kept=5)
    genie = GeniePrior(base)
    assert genie.basis.conj().T @ genie.basis == pytest.approx(np.eye(16), abs=1e-5)
    assert np.array_equal(genie.basis[:, :5], base.basis)
    assert genie.eigenvalues.shape == (16,)
    assert (genie.eigenvalues > 0).all()


@pytest.mark.parametrize(("snr_db", "expected"), [(0, -13.6), (10, -22.0), (20, -30.8)])
def test_genie_denoising_error(snr_db, expected):
    """CDL-C, arrival angles, white noise: what an independent model with azimuths only gives, up to 0.6 dB."""
    paths = channels.draw_paths(40, "C", angles="arrival", seed=1)
    h = channels.unit_power(channels.synthesize(paths, 48, 32))
    genie = GeniePrior(WienerPrior(48))
    genie.reveal(np.arange(40), paths, 32)
    truth = genie.basis.conj().T @ beamspace(h)
    v = 10 ** (-snr_db / 10)
    noisy = truth + np.sqrt(v) * complex_normal(np.random.default_rng(0), *truth.shape)
    mean, var = genie.denoise(noisy.astype(np.complex64), np.full((40, 32), v, np.float32), np.arange(40))
    error = np.sum(abs(mean - truth) ** 2) / np.sum(abs(truth) ** 2)
    assert 10 * np.log10(error) == pytest.approx(expected, abs=0.6)
    assert 10 * np.log10(var.mean()) == pytest.approx(10 * np.log10(error), abs=0.3)  # knows its error


def test_campaign_is_reproducible_and_the_genie_is_better():
    records = simulate(SMALL, ("cdl", "gaussian", "genie"), trials=3, seed=2)
    again = simulate(SMALL, ("cdl",), trials=2, seed=2)
    scores = [r.score for r in records if r.prior == "cdl"]
    assert [r.score for r in again] == scores[:2]
    learned, gaussian, genie = (summarize(records, name) for name in ("cdl", "gaussian", "genie"))
    assert genie.nmse_db < learned.nmse_db < gaussian.nmse_db - 6
    assert learned.missed == learned.false_alarms == 0
    assert learned.trials == 3
    assert learned.active == sum(s.active for s in scores)
    assert learned.seconds_p50 <= learned.seconds_p99


@pytest.mark.parametrize("antennas", [5, 8, 12])
def test_fewer_antennas_than_vector_lanes(antennas):
    """Lanes without an antenna must not speak for activity: they once made every idle device look active."""
    scenario = Scenario(devices=200, symbols=12, antennas=antennas, activity_rate=0.05, snr_db=12)
    found = summarize(simulate(scenario, ("cdl",), trials=3, seed=1), "cdl")
    assert found.missed + found.false_alarms <= 1
    assert found.nmse_db < -25


def test_summary_is_a_ratio_of_sums():
    records = simulate(SMALL, ("cdl",), trials=3)
    found = summarize(records, "cdl")
    error, energy = (sum(getattr(r.score, name) for r in records) for name in ("error_energy", "channel_energy"))
    assert found.nmse_db == pytest.approx(10 * np.log10(error / energy))


def test_nobody_active_has_no_nmse():
    scenario = dataclasses.replace(SMALL, activity_rate=1e-9)
    found = summarize(simulate(scenario, ("gaussian",), trials=2), "gaussian")
    assert found.nmse_db is None
    assert found.active == found.missed == 0


def test_resume(tmp_path):
    path = tmp_path / "campaign"
    whole = [r.score for r in simulate(SMALL, ("cdl",), trials=3)]
    simulate(SMALL, ("cdl",), trials=2, resume=path)
    done = []
    records = simulate(SMALL, ("cdl",), trials=3, resume=path, progress=lambda n, _: done.append(n))
    assert done == [1, 2, 3]  # the first two from the file
    assert [r.score for r in records] == whole
    assert [row["draw"] for row in csv.DictReader((path / "results.csv").open())] == ["0", "1", "2"]
    with pytest.raises(ValueError, match="expected a campaign with seed=1, found 0"):
        simulate(SMALL, ("cdl",), trials=3, seed=1, resume=path)
    (path / "manifest.json").write_text("not a campaign")
    with pytest.raises(ValueError, match="expected a campaign to resume, found something else"):
        simulate(SMALL, ("cdl",), trials=3, resume=path)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"trials": 0}, "trials: expected at least 1"),
        ({"priors": ()}, "priors: expected at least one"),
        ({"power": "loud"}, 'power: expected "unknown" or "known"'),
        ({"priors": ("nosuch",)}, "prior: expected one of"),
        ({"seed": -1}, "seed: expected at least 0"),
    ],
)
def test_bad_campaigns(arguments, message):
    with pytest.raises(ValueError, match=message):
        simulate(SMALL, **arguments)


@pytest.mark.slow
def test_operating_point():
    """K=800, T=20, 10 dB: the figure that the documentation states, over 50 drops."""
    found = summarize(simulate(Scenario(), trials=50), DEFAULT)
    assert found.nmse_db < -34
    assert found.error_rate <= 1e-5
    assert found.iterations <= 9
