"""jf.LangevinReceiver: against enumeration, message passing and LMMSE; seeds, restarts, bad input."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from problems import complex_normal

import jadce_fast as jf
from jadce_fast import metrics, reference
from jadce_fast.campaigns import CellScenario, draw_cell
from jadce_fast.campaigns.cell_drop import qpsk_pilots


def nmse_db(found: np.ndarray, truth: np.ndarray) -> float:
    return 10 * np.log10(np.sum(np.abs(found - truth) ** 2) / np.sum(np.abs(truth) ** 2))


class OnePower:
    """Bernoulli-Gaussian columns of one known power: the posterior of X is a finite mixture."""

    unit, takes_tensors = 1.0, False

    def __init__(self, rate: float, power: float) -> None:
        self.rate, self.power = rate, power

    def with_power(self, power):
        return self

    def posterior(self, columns, noise_var):
        v = np.asarray(noise_var, float)
        gain = self.power / (self.power + v)
        energy, m = np.sum(np.abs(columns) ** 2, -1), columns.shape[-1]
        llr = np.log(self.rate / (1 - self.rate)) + energy / v * gain - m * np.log1p(self.power / v)
        probability = reference.sigmoid(llr)
        mean = (probability * gain)[..., None] * columns
        variance = probability * gain * v + energy / m * gain**2 * probability * (1 - probability)
        return mean, variance, probability


def enumerated(y, pilots, noise_var, rate, power) -> tuple[np.ndarray, np.ndarray]:
    """Posterior mean of X and probabilities of activity, by enumeration of all activities."""
    n, length = pilots.shape
    logs, means, patterns = [], [], list(itertools.product((0, 1), repeat=n))
    for pattern in patterns:
        g = power * np.array(pattern)
        covariance = pilots.conj().T @ (g[:, None] * pilots) + noise_var * np.eye(length)
        weighted = np.linalg.solve(covariance, y.conj().T)  # (L, M)
        fit = np.real(np.einsum("ml,lm->", y, weighted))
        prior = np.sum(np.where(pattern, np.log(rate), np.log(1 - rate)))
        logs.append(prior - fit - len(y) * np.linalg.slogdet(covariance)[1])
        means.append(weighted.conj().T @ pilots.conj().T * g)
    weight = np.exp(np.array(logs) - np.logaddexp.reduce(logs))
    return np.tensordot(weight, means, 1), weight @ np.array(patterns)


@pytest.mark.parametrize(("symbols", "noise"), [(4, 2.0), (9, 6.0)])
def test_sampler_reaches_the_enumerated_posterior_mean(symbols, noise):
    # Six devices, so 64 activities, at a noise that leaves several of them likely; less and more pilots than devices.
    rng = np.random.default_rng(symbols)
    m, n, rate, power = 2, 6, 0.3, 3.0
    pilots = qpsk_pilots(n, symbols, 1)
    p = pilots[:, 0].T.astype(complex)
    x = np.sqrt(power) * complex_normal(rng, m, n) * (np.arange(n) % 3 == 0)
    y = x @ p + np.sqrt(noise) * complex_normal(rng, m, symbols)
    mean, probability = enumerated(y, p, noise, rate, power)
    rx = jf.LangevinReceiver(
        pilots, m, OnePower(rate, power), chains=64, levels=20, steps=500, step=0.05, average=8000, threads=1
    )
    p = rx.sample(y.T, noise)
    # Chains are independent: the spread over them gives the standard error of their mean, complex, so that four of
    # it are exceeded with a probability of exp(-16). A probability's error is at most 1 / 2 sqrt(64) if a chain
    # never changed its mind; they do.
    deviation = np.sqrt(np.mean(np.abs(p.chains - p.chains.mean(0)) ** 2, axis=0) / len(p.chains))
    assert np.all(np.abs(p.chains.mean(0) - mean.T) < 4 * deviation)
    assert np.abs(p.chain_probability - probability).max() < 0.06
    assert 0.05 < np.min(np.maximum(probability, 1 - probability)) < 0.95  # the problem is not decided


def test_as_good_as_message_passing_and_better_than_lmmse():
    prior = jf.CellPrior()
    for symbols, snr in ((48, 10), (48, 45), (24, 20)):
        results, wrong = [], np.zeros(2)
        for trial in range(6):
            drop = draw_cell(CellScenario(symbols=symbols, snr_db=snr), 0, trial)
            p = jf.LangevinReceiver(drop.pilots, 16, threads=1).sample(drop.y, drop.noise_var)
            turbo, probability = reference.cell_tmp(*drop.matrices, drop.noise_var, prior.posterior)
            linear = reference.cell_lmmse(*drop.matrices, drop.noise_var)
            results.append([nmse_db(x, drop.x) for x in (p.mean, turbo.T, linear.T)])
            active = np.isin(np.arange(64), drop.active)
            wrong += [np.sum((q >= 0.5) != active) for q in (p.probability, probability)]
        langevin, turbo, linear = np.median(results, axis=0)
        # The goals of docs/langevin.md: 1 dB, and 0.5 % of 6 x 64 decisions.
        assert langevin < turbo + 1
        assert langevin < linear - 5
        assert wrong[0] <= wrong[1] + 2


def test_detection_is_scored_like_any_other():
    drop = draw_cell(CellScenario(snr_db=30), 0, 1)
    found = jf.LangevinReceiver(drop.pilots, 16).detect(drop.y, drop.noise_var)
    assert isinstance(found, jf.Detection)
    score = metrics.score(found, drop.active, drop.channels)
    assert score.missed == score.false_alarms == 0
    assert score.nmse_db < -25
    assert found.converged
    # The residual is the noise, less what A of L dimensions were fitted to, in the mean over 16 x 48 entries.
    expected = drop.noise_var * (1 - len(drop.active) / 48)
    assert abs(found.noise_var / expected - 1) < 6 / np.sqrt(16 * 48)
    # channel_var is the mean squared error: chi-squared with 2 x 16 A degrees of freedom.
    error = np.sum(np.abs(found.channels - drop.channels) ** 2) / 16
    assert abs(error / found.channel_var.sum() - 1) < 6 / np.sqrt(16 * len(drop.active))
    assert found.restarts == 0


def test_seed_decides_and_threads_do_not():
    drop = draw_cell(CellScenario(antennas=5, devices=23, symbols=11), 0, 0)
    a, b, c = (
        jf.LangevinReceiver(drop.pilots, 5, seed=seed, threads=threads).sample(drop.y, drop.noise_var)
        for seed, threads in ((1, 1), (1, 3), (2, 1))
    )
    assert np.array_equal(a.chains, b.chains)
    assert np.array_equal(a.mean, b.mean)
    assert not np.array_equal(a.chains, c.chains)


def test_pilots_and_blocks_of_any_form():
    drop = draw_cell(CellScenario(antennas=3, devices=12, symbols=9), 0, 1)
    expected = jf.LangevinReceiver(drop.pilots, 3, chains=2, levels=4).sample(drop.y, 0.1)
    for pilots in (jf.Pilots(drop.pilots), drop.pilots[:, 0], drop.pilots.tolist()):
        rx = jf.LangevinReceiver(pilots, 3, chains=2, levels=4)
        assert rx.pilots.shape == (9, 12)
        for y in (drop.y, drop.y[:, 0], drop.y.tolist()):
            assert np.array_equal(rx.sample(y, 0.1).mean, expected.mean)
    assert expected.mean.shape == (12, 3)
    assert expected.chains.shape == (2, 12, 3)
    with pytest.raises(ValueError, match="pilots: expected those of one subcarrier, found 2 subcarriers"):
        jf.LangevinReceiver(jf.dft_pilots(8, 4, 2), 3)


def test_blocks_are_independent():
    drops = [draw_cell(CellScenario(antennas=3, devices=12, symbols=9, snr_db=20), 0, trial) for trial in range(2)]
    rx = jf.LangevinReceiver(drops[0].pilots, 3, chains=2, levels=10)
    y = np.stack([drop.y for drop in drops])
    for blocks in (y, y[:, :, 0], iter(y)):
        for found, block in zip(rx.detect_many(blocks, 0.1), y, strict=True):
            assert np.array_equal(found.activity, rx.detect(block, 0.1).activity)
    for posterior, block in zip(rx.sample_many(list(y), 0.1), y, strict=True):
        assert np.array_equal(posterior.mean, rx.sample(block, 0.1).mean)
    for nothing in (y[:0], []):
        assert rx.detect_many(nothing, 0.1) == []
    with pytest.raises(TypeError, match="ys: expected an array .B, T, N, M. or an iterable of blocks, found int"):
        rx.detect_many(3, 0.1)


def test_any_object_of_the_form_is_a_prior():
    class Wrapped:
        unit, takes_tensors = 1.0, False

        def with_power(self, power):
            return self

        def posterior(self, columns, noise_var):
            return jf.CellPrior().posterior(columns, noise_var)

    drop = draw_cell(CellScenario(antennas=5, devices=23, symbols=30, snr_db=20), 0, 2)
    native = jf.LangevinReceiver(drop.pilots, 5, average=3).sample(drop.y, drop.noise_var)
    other = jf.LangevinReceiver(drop.pilots, 5, Wrapped(), average=3).sample(drop.y, drop.noise_var)
    # Single against double precision in a loop that forgets its errors.
    np.testing.assert_allclose(other.chains, native.chains, atol=1e-2 * np.abs(native.chains).max())
    np.testing.assert_allclose(other.mean, native.mean, atol=1e-3 * np.abs(native.mean).max())


def test_units_do_not_matter():
    drop = draw_cell(CellScenario(antennas=6, devices=20, symbols=15, snr_db=20), 0, 4)
    plain = jf.LangevinReceiver(drop.pilots, 6).sample(drop.y, drop.noise_var)
    prior = jf.CellPrior(power=10 * 1e6)
    scaled = jf.LangevinReceiver(1e-2 * drop.pilots, 6, prior).sample(10 * drop.y, 100 * drop.noise_var)
    np.testing.assert_allclose(scaled.mean, 1e3 * plain.mean, atol=1e-3 * np.abs(plain.mean).max() * 1e3)
    np.testing.assert_allclose(scaled.variance, 1e6 * plain.variance, rtol=0.05)


def test_unknown_powers_are_learned_from_the_block():
    drop = draw_cell(CellScenario(antennas=16, devices=64, symbols=48, snr_db=20), seed=0)
    known = metrics.score(
        jf.LangevinReceiver(drop.pilots, 16).detect(drop.y, drop.noise_var), drop.active, drop.channels
    )
    rx = jf.LangevinReceiver(drop.pilots, 16, power="unknown")
    for scale in (1e-6, 1.0, 1e6):
        out = rx.detect(scale * drop.y, scale**2 * drop.noise_var)
        found = metrics.score(out, drop.active, scale * drop.channels)
        assert (found.missed, found.false_alarms, out.trusted) == (0, 0, True)
        assert found.nmse_db < known.nmse_db + 0.2
    idle = np.sqrt(drop.noise_var) * complex_normal(np.random.default_rng(0), *drop.y.shape)
    assert len(rx.detect(idle, drop.noise_var).active) == 0
    given = jf.LangevinReceiver(drop.pilots, 16, power=1e-11).detect(1e-6 * drop.y, 1e-12 * drop.noise_var)
    np.testing.assert_array_equal(given.active, drop.active)


def test_diverging_chains_begin_anew_with_a_smaller_step():
    drop = draw_cell(CellScenario(antennas=4, devices=16, symbols=8, snr_db=0), 0, 3)
    rx = jf.LangevinReceiver(drop.pilots, 4, sampler="paper", step=16.0, levels=60, steps=6)
    found = rx.detect(drop.y, drop.noise_var)
    assert found.restarts > 0
    assert np.all(np.isfinite(found.channels))
    assert found.stopped_because == "iterations"
    # Nothing helps here: all chains diverge, nobody is active, and the result says so.
    rx = jf.LangevinReceiver(drop.pilots, 4, sampler="paper", step=1e9)
    found = rx.detect(drop.y, drop.noise_var)
    assert not found.converged
    assert len(found.active) == 0
    assert not np.any(found.activity >= 0.5)
    assert found.restarts == 8 * 5


def test_chains_that_overflow_within_a_level_are_given_up():
    """Priors that refuse what is not finite never see such a state."""
    drop = draw_cell(CellScenario(antennas=4, devices=16, symbols=8, snr_db=0), 0, 3)
    rx = jf.LangevinReceiver(drop.pilots, 4, "cell-network", sampler="paper", step=1e30, levels=2, chains=2)
    found = rx.detect(drop.y, drop.noise_var)
    assert (len(found.active), found.restarts) == (0, 2 * 5)


def test_paper_sampler_finds_the_strong_devices():
    drop = draw_cell(CellScenario(snr_db=10), 0, 1)
    found = jf.LangevinReceiver(drop.pilots, 16, sampler="paper", levels=100, steps=10, beta=0.1).detect(
        drop.y, drop.noise_var
    )
    assert metrics.score(found, drop.active, drop.channels).nmse_db < -6


def test_zero_counting():
    drop = draw_cell(CellScenario(snr_db=45), 0, 2)
    found = jf.LangevinReceiver(drop.pilots, 16, zero_threshold=0.01).detect(drop.y, drop.noise_var)
    assert np.array_equal(found.active, drop.active)  # the weakest device of the cell has a mean power of 0.3
    drop = draw_cell(CellScenario(snr_db=0), 0, 2)
    everyone = jf.LangevinReceiver(drop.pilots, 16, zero_threshold=1e-30).detect(drop.y, drop.noise_var)
    assert len(everyone.active) == 64


def test_progress_and_cancelling():
    drop = draw_cell(CellScenario(antennas=2, devices=8, symbols=6), 0, 0)
    rx = jf.LangevinReceiver(drop.pilots, 2, levels=5)
    seen = []
    first = rx.detect(drop.y, drop.noise_var, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(i, 5) for i in range(1, 6)]

    def stop(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        rx.detect(drop.y, drop.noise_var, progress=stop)
    assert np.array_equal(rx.detect(drop.y, drop.noise_var).activity, first.activity)


def test_odd_pilots():
    # One device sends nothing, two send the same: nothing is known of the first, the others share what is received.
    rng = np.random.default_rng(0)
    pilots = qpsk_pilots(12, 8)[:, 0]
    pilots[:, 3], pilots[:, 5] = 0, pilots[:, 4]
    x = np.zeros((12, 16), complex)
    x[4] = 5 * complex_normal(rng, 16)
    y = pilots @ x + 0.1 * complex_normal(rng, 8, 16)
    p = jf.LangevinReceiver(pilots, 16).sample(y, 0.01)
    assert p.probability[3] == pytest.approx(0.1)  # the activity rate
    assert not np.any(p.mean[3])
    assert np.all(np.delete(p.probability, [3, 4, 5]) < 0.5)
    # The sum of both columns is what the block shows: noise of 0.1 / sqrt(8) an entry, of the posterior and of the
    # sample, against a mean of 5. (The leave-one-out mean takes the twin as Gaussian and shrinks too much.)
    both = p.chains.mean(0)[4] + p.chains.mean(0)[5]
    assert np.linalg.norm(both - x[4]) < 3 * 0.1 / np.sqrt(8) * np.sqrt(16)


@pytest.mark.parametrize(("devices", "symbols"), [(1, 1), (1, 7), (9, 1), (4, 30)])
def test_small_sizes(devices, symbols):
    drop = draw_cell(CellScenario(antennas=1, devices=devices, symbols=symbols, snr_db=20), 0, 0)
    p = jf.LangevinReceiver(drop.pilots, 1).sample(drop.y, drop.noise_var)
    assert p.mean.shape == (devices, 1)
    assert np.all(np.isfinite(p.mean))
    assert np.all((p.probability >= 0) & (p.probability <= 1))
    assert np.all(p.variance >= 0)


@pytest.mark.parametrize("y", ["silence", "noise"])
@pytest.mark.parametrize("noise_var", [1e-20, 1.0, 1e20])
def test_nobody(y, noise_var):
    pilots = qpsk_pilots(20, 12)
    block = (
        np.zeros((12, 4)) if y == "silence" else np.sqrt(noise_var) * complex_normal(np.random.default_rng(0), 12, 4)
    )
    found = jf.LangevinReceiver(pilots, 4).detect(block, noise_var)
    assert len(found.active) == 0
    assert np.all(np.isfinite(found.activity))


def test_numbers_of_a_prior_that_are_not_finite_are_not_handed_on():
    class Broken(OnePower):
        def posterior(self, columns, noise_var):
            mean, variance, probability = super().posterior(columns, noise_var)
            return mean * np.nan, variance * np.nan, probability * np.nan

    found = jf.LangevinReceiver(qpsk_pilots(6, 4), 2, Broken(0.1, 10.0), levels=3).detect(np.ones((4, 2)), 1.0)
    assert len(found.active) == 0
    assert np.all(np.isfinite(found.activity))
    assert not found.trusted


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(pilots=np.ones((3, 4, 5))), r"pilots: expected shape \(T, 1, K\)"),
        (dict(pilots=np.ones(3)), r"pilots: expected shape \(T, K\)"),
        (dict(pilots=np.zeros((3, 4))), "pilots: expected a mean power"),
        (dict(pilots=np.full((3, 4), np.nan)), "pilots: expected finite"),
        (dict(pilots=np.zeros((0, 4))), "pilots: expected at least one"),
        (dict(antennas=0), "antennas: expected"),
        (dict(prior="cdl"), "prior: expected"),
        (dict(sampler="plain"), "sampler: expected"),
        (dict(chains=0), "chains: expected"),
        (dict(levels=1.5), "levels: expected"),
        (dict(steps=0), "steps: expected"),
        (dict(step=1.5), "step: expected"),
        (dict(sampler="paper", step=-1), "step: expected"),
        (dict(sampler="paper", decay=1.0), "decay: expected"),
        (dict(decay=np.nan), "decay: expected"),
        (dict(beta=-1), "beta: expected"),
        (dict(average=0), "average: expected"),
        (dict(seed=-1), "seed: expected"),
        (dict(levels=2**20, steps=2**10), "levels, steps, average: expected"),
        (dict(zero_threshold=0), "zero_threshold: expected"),
        (dict(power="known"), "power: expected 'unknown' or a real number"),
        (dict(power=0), "power: expected"),
        (dict(threads=0), "threads: expected"),
        (dict(isa="none"), "isa: "),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises((TypeError, ValueError), match=message):
        jf.LangevinReceiver(**{"pilots": np.ones((4, 6)), "antennas": 2, **arguments})


@pytest.mark.parametrize(
    ("y", "noise_var", "message"),
    [
        (np.ones((5, 2)), 1.0, r"y: expected shape \(4, 2\), found \(5, 2\)"),
        (np.ones((2, 4)), 1.0, "y: expected shape"),
        (np.ones((4, 2, 2)), 1.0, r"y: expected shape \(4, 1, 2\), found \(4, 2, 2\)"),
        (np.ones((3, 4, 1, 2)), 1.0, r"y: expected shape \(4, 1, 2\)"),
        (np.full((4, 2), np.nan), 1.0, "y: expected finite"),
        (np.ones((4, 2)), 0.0, "noise_var: expected"),
        (np.ones((4, 2)), -1.0, "noise_var: expected"),
        (np.ones((4, 2)), np.nan, "noise_var: expected"),
    ],
)
def test_bad_block(y, noise_var, message):
    rx = jf.LangevinReceiver(qpsk_pilots(6, 4), 2)
    for call in (rx.detect, rx.sample):
        with pytest.raises(ValueError, match=message):
            call(y, noise_var)
