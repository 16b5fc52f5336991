"""A receiver one can trust: no ghosts where powers are unknown, and doubts where the model does not hold."""

import numpy as np
import pytest
from problems import complex_normal, problem

import jadce_fast as jf
from jadce_fast import reference
from jadce_fast.campaigns.ofdm_drop import Scenario, draw_drop

SLOTS = 25


@pytest.mark.parametrize("symbols", [5, 10, 20])
@pytest.mark.parametrize("prior", ["cdl-tiny", "cdl-wide", "gaussian"])
def test_nobody_is_found_in_idle_slots(symbols, prior):
    """One slot in three had a ghost when powers were looked for that only noise can reach."""
    rng = np.random.default_rng(symbols)
    rx = jf.Receiver(jf.dft_pilots(800, symbols, 48), 32, prior, threads=1)
    for _ in range(SLOTS):
        out = rx.detect(np.sqrt(0.1) * complex_normal(rng, symbols, 48, 32), 0.1)
        assert len(out.active) == 0
        assert out.trusted


@pytest.mark.parametrize("antennas", [1, 2, 4])
@pytest.mark.parametrize("prior", ["cdl-tiny", "gaussian"])
def test_nobody_is_found_by_few_antennas_in_idle_slots(antennas, prior):
    """A device is told from noise by few energies there: one slot in three had a ghost."""
    rng = np.random.default_rng(antennas)
    rx = jf.Receiver(jf.dft_pilots(800, 20, 48), antennas, prior, threads=1)
    for _ in range(SLOTS):
        assert len(rx.detect(np.sqrt(0.1) * complex_normal(rng, 20, 48, antennas), 0.1).active) == 0


def test_as_few_antennas_know_as_much_of_stronger_devices():
    prior = jf.load_prior("cdl-tiny")

    def information(power):
        snr = power * np.multiply.outer(prior.beam_gain, prior.eigenvalues)
        return float((snr - np.log1p(snr)).sum(1) @ prior.beam_weight)

    rules = jf.Rules()
    assert rules.of_antennas(32, prior) == rules.of_antennas(64, prior) == rules
    for antennas in (1, 2, 8, 31):
        own = rules.of_antennas(antennas, prior)
        assert antennas * information(own.decodable) == pytest.approx(32 * information(rules.decodable), rel=0.01)
        assert own.smallest_mean_power / own.decodable == pytest.approx(rules.smallest_mean_power / rules.decodable)


def test_prior_rate():
    """No more devices than could hide in the block, unless its power proves that there are some."""
    rules = jf.Rules(evidence=5.0)
    assert reference.prior_rate(0.05, excess=0.51, deviation=0.1, least=1.0, devices=100, rules=rules) == 0.05
    assert reference.prior_rate(0.05, 0.5, 0.1, 0.1, 100, rules) == 0.05
    assert reference.prior_rate(0.05, 0.5, 0.1, 0.5, 100, rules) == pytest.approx(2 / 100.5)
    assert reference.prior_rate(0.05, -9.0, 0.1, 5.0, 100, rules) == pytest.approx(0.5 / 100.5)


@pytest.mark.parametrize(("symbols", "snr_db"), [(20, -15), (20, -10), (5, -10), (2, 0), (2, 10)])
def test_unknown_powers_find_what_known_ones_find(symbols, snr_db):
    """At these points there was up to one ghost for two active devices."""
    for seed in range(3):
        drop = draw_drop(Scenario(symbols=symbols, snr_db=snr_db), seed=seed)
        for power in ("unknown", 1.0):
            out = jf.Receiver(drop.pilots, 32, "cdl-tiny", 0.05, power, threads=1).detect(drop.y, drop.noise_var)
            assert np.array_equal(out.active, drop.active)
            assert out.trusted, out.reason


def test_weak_devices_beside_strong_ones_are_found():
    drop = draw_drop(Scenario(power_spread_db=30.0), seed=1)
    out = jf.Receiver(drop.pilots, 32, "cdl-tiny", threads=1).detect(drop.y, drop.noise_var)
    assert np.array_equal(out.active, drop.active)


def test_least_power():
    """What cannot be told from noise is not looked for, but for devices about the mean that the block proves."""
    rules = jf.Rules(decodable=0.5, weakest=0.1, evidence=5.0)
    assert reference.least_power(2.0, excess=0.0, deviation=0.1, expected=40, rules=rules) == 1.0
    assert reference.least_power(2.0, excess=0.4, deviation=0.1, expected=40, rules=rules) == 1.0
    assert reference.least_power(2.0, excess=40.0, deviation=0.1, expected=40, rules=rules) == pytest.approx(0.1)
    assert reference.least_power(0.1, excess=40.0, deviation=0.1, expected=40, rules=rules) == pytest.approx(0.05)
    assert reference.least_power(2.0, excess=2.0, deviation=0.1, expected=0.3, rules=rules) == pytest.approx(0.2)


def test_least_power_follows_the_powers_that_were_found():
    """It lies `reach` deviations of the logarithms below them, but never below `farthest` of the mean."""
    rules = jf.Rules(reach=2.0, farthest=0.05)
    power, sure = np.exp([-1.0, 1.0]), np.ones(2)
    assert reference.faintest_power(power, sure, rules) == pytest.approx(np.exp(-2.0))
    assert reference.faintest_power(power, 0.5 * sure, rules) == reference.faintest_power(power[:0], sure[:0]) == np.inf
    numbers = {"error": 2.0, "excess": 40.0, "deviation": 0.1, "expected": 40, "rules": rules}
    assert reference.least_power(**numbers, faintest=np.exp(-2.0)) == pytest.approx(np.exp(-2.0))
    assert reference.least_power(**numbers, faintest=0.01) == pytest.approx(0.05)
    assert reference.least_power(**numbers, faintest=3.0) == pytest.approx(0.25)


def test_weaker_devices_are_looked_for_where_powers_differ():
    """Of powers over 20 dB those far below the mean are active too: 13 of 134 are missed if nobody looks, or 3."""
    missed = {0.0: 0, jf.Rules().reach: 0}
    for seed in range(3):
        drop = draw_drop(Scenario(symbols=8, snr_db=-12.0, power_spread_db=20.0), seed=seed)
        for reach in missed:
            rx = jf.Receiver(drop.pilots, 32, "cdl-tiny", threads=1, rules=jf.Rules(reach=reach))
            found = rx.detect(drop.y, drop.noise_var).active
            assert np.isin(found, drop.active).all()
            missed[reach] += len(drop.active) - len(found)
    assert 2 * missed[jf.Rules().reach] <= missed[0.0]


@pytest.fixture(scope="module")
def block():
    return draw_drop(Scenario(devices=400), seed=1)


def rotated(y):
    return y * np.exp(0.02j * np.pi * np.arange(len(y)))[:, None, None]


def early(y):
    return y * np.exp(2j * np.pi * 30e3 * 0.5e-6 * np.arange(48))[None, :, None]


def noisy_antenna(y):
    y = y.copy()
    y[:, :, 5] += np.sqrt(31.6) * complex_normal(np.random.default_rng(0), *y.shape[:2])
    return y


@pytest.mark.parametrize(
    ("change", "noise", "doubt"),
    [
        (lambda y: np.fft.fftshift(y, axes=1), 1.0, "times the given noise remains, expected at most"),
        (rotated, 1.0, "expected at most"),
        (early, 1.0, "the prior does not fit"),
        (noisy_antenna, 1.0, "expected at most"),
        (lambda y: y, 0.3, "noise_var is too small"),
        (lambda y: y, 10.0, "noise_var is too large"),
    ],
)
def test_mismatch_is_noticed(block, change, noise, doubt):
    rx = jf.Receiver(block.pilots, 32, "cdl-tiny", threads=1)
    assert rx.detect(block.y, block.noise_var).trusted
    out = rx.detect(change(block.y), noise * block.noise_var)
    assert not out.trusted
    assert doubt in out.reason
    assert out.converged == (out.explained.ratio <= out.explained.most)


def test_channels_of_another_kind_are_noticed():
    p = problem(devices=400, symbols=20, subcarriers=48, antennas=32, active=20, channels="iid", seed=1)
    out = jf.Receiver(p.pilots, 32, "cdl-tiny", threads=1).detect(p.y, p.noise_var)
    assert not out.trusted
    assert not out.converged


def test_overflow_is_a_doubt():
    p = problem(devices=400, symbols=20, subcarriers=48, antennas=32, active=30, delay_spread=0.02, seed=10)
    out = jf.Receiver(p.pilots, 32, "cdl-tiny", p.activity_rate, 1.0, capacity=20).detect(p.y, p.noise_var)
    assert out.overflow == 10
    assert out.reason == "capacity: 10 plausible devices found no place"


@pytest.mark.parametrize("size", [dict(symbols=20), dict(symbols=3), dict(snr_db=30.0), dict(model="E", snr_db=20.0)])
def test_matched_blocks_are_trusted(size):
    for seed in range(3):
        drop = draw_drop(Scenario(**size), seed=seed)
        out = jf.Receiver(drop.pilots, 32, "cdl-tiny", threads=1).detect(drop.y, drop.noise_var)
        assert out.trusted, out.reason
        assert out.explained.least <= out.explained.ratio <= out.explained.most


def test_nobody_was_found_but_somebody_is_there():
    """Devices that are too weak to be found leave more than chance; noise told two per cent too low does not."""
    p = problem(devices=200, symbols=10, subcarriers=24, antennas=32, active=20, channels="iid", snr_db=-22.0, seed=1)
    rx = jf.Receiver(p.pilots, 32, "gaussian", 1e-3, threads=1)
    out = rx.detect(p.y, p.noise_var)
    assert len(out.active) == 0
    assert out.explained.ratio > out.explained.most
    assert "too weak to be found" in out.reason
    noise = np.sqrt(p.noise_var) * complex_normal(np.random.default_rng(0), *p.y.shape)
    assert rx.detect(noise, p.noise_var / 1.02).trusted


def test_weak_devices_that_were_missed_are_noticed():
    """At a fixed point the remainder is that of the noise and of the estimates' errors to three per cent."""
    p = problem(devices=80, symbols=20, subcarriers=24, antennas=32, active=6, channels="iid", snr_db=0.0, seed=2)
    rx = jf.Receiver(p.pilots, 32, "gaussian", 0.05, threads=1)
    assert rx.detect(p.y, p.noise_var).trusted
    hidden = np.setdiff1d(np.arange(80), p.active)[:10]
    rng = np.random.default_rng(3)
    weak = np.sqrt(0.03) * complex_normal(rng, 10, 24, 32)
    out = rx.detect(p.y + np.einsum("tna,anm->tnm", p.pilots.select(hidden), weak), p.noise_var)
    assert np.array_equal(out.active, p.active)
    assert not out.trusted


def test_unseen():
    """Active devices that are missing are too weak to be seen if others were barely seen."""
    rules = jf.Rules(faint=50.0, unseen=3.0)
    odds = np.array([-9.0] * 600 + [0.5, 20.0, 49.0, 51.0])
    assert reference.unseen(odds, found=4.0, awaited=5.0, rules=rules).sum() == pytest.approx(1)
    assert reference.unseen(odds[:601], found=1.0, awaited=6.0, rules=rules).sum() == pytest.approx(3)
    assert np.all(reference.unseen(odds, found=4.0, awaited=3.0, rules=rules) == 0)
    assert np.all(reference.unseen(odds[:600], found=0.0, awaited=3.0, rules=rules) == 0)
    one, other, sure = reference.unseen(np.array([-9.0, -3.0, 20.0]), found=1.0, awaited=1.1, rules=rules)
    same = reference.unseen(np.array([-9.0, -3.0, 20.0]), found=1.0, awaited=1.1, rules=rules, faintest=1.0)
    assert same[0] == pytest.approx(same[1], rel=0.1)  # powers that do not differ leave nobody a little weaker
    assert 0.5 > other > one > sure >= 0  # those for whom something speaks are more likely the missing ones


def test_those_who_are_too_weak_to_be_seen_are_expected():
    """Over 30 dB of powers a third of the devices cannot be seen; probabilities add up to the active ones anyway."""
    promised = found = active = 0.0
    for seed in range(4):
        drop = draw_drop(Scenario(symbols=5, snr_db=-10.0, power_spread_db=30.0), seed=seed)
        out = jf.Receiver(drop.pilots, 32, "cdl-tiny", threads=1).detect(drop.y, drop.noise_var)
        promised, found, active = promised + out.activity.sum(), found + len(out.active), active + len(drop.active)
    assert found < 0.8 * active
    assert abs(promised - active) < 3 * np.sqrt(active)
