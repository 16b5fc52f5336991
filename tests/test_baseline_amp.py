"""Baselines of approximate and turbo message passing, each against a formula of its own paper."""

import itertools

import numpy as np
import pytest
from papers import gaussian_fixed_point, line_fixed_point
from problems import complex_normal, problem
from scipy import stats

import jadce_fast as jf
from jadce_fast import baselines
from jadce_fast.baselines.receivers.mmv_amp import denoiser, error_probabilities, state_evolution
from jadce_fast.metrics import score


def close(found, expected, deviation):
    """Within five standard deviations of what is expected."""
    assert abs(found - expected) < 5 * deviation, (found, expected, deviation)


# --- MMV-AMP --------------------------------------------------------------------------------------------------


def test_mmv_denoiser_is_the_posterior_mean_and_its_slope_the_derivative():
    rng = np.random.default_rng(1)
    z = complex_normal(rng, 5, 3)
    tau, beta, rate = 0.4, 1.5, 0.2

    def posterior(z):
        active = rate * np.prod(np.exp(-(abs(z) ** 2) / (tau + beta)) / (tau + beta), axis=1)
        idle = (1 - rate) * np.prod(np.exp(-(abs(z) ** 2) / tau) / tau, axis=1)
        return (active / (active + idle))[:, None] * z * beta / (beta + tau)

    energy = np.sum(abs(z) ** 2, axis=1)
    probability, gain, slope = denoiser(energy, tau, beta, 3, rate)
    assert probability[:, None] * gain * z == pytest.approx(posterior(z), rel=1e-10)
    step, derivative = 1e-6, 0
    for entry in range(3):
        for direction in (1, 1j):  # d/dz = (d/dx - i d/dy) / 2
            shift = np.zeros_like(z)
            shift[:, entry] = step * direction
            change = (posterior(z + shift) - posterior(z - shift))[:, entry] / (2 * step)
            derivative = derivative + change / direction / 2 / 3
    assert slope == pytest.approx(derivative.real, rel=1e-6)


def test_mmv_amp_follows_its_state_evolution_and_its_error_probabilities():
    """Liu and Yu: 2000 devices, 100 active, 400 Gaussian pilot symbols, 4 antennas, 8 blocks."""
    k, t, m, active, noise = 2000, 400, 4, 100, 0.3
    rng, rate = np.random.default_rng(2), active / k
    taus, missed, false_alarms = [], 0, 0
    for _ in range(8):
        pilots = jf.Pilots(complex_normal(rng, t, 1, k))
        truth = np.arange(k) < active
        x = truth[:, None] * complex_normal(rng, k, m)
        y = pilots.select()[:, 0] @ x + np.sqrt(t * noise) * complex_normal(rng, t, m)
        found = baselines.mmv_amp(pilots, m, rate, power=1.0).detect(y[:, None], t * noise)
        assert found.stopped_because == "fixed point"
        taus.append([entry["error_var"] for entry in found.history])
        missed += np.count_nonzero(found.activity[:active] < 0.5)
        false_alarms += np.count_nonzero(found.activity[active:] >= 0.5)
    expected = state_evolution(noise, 1.0, m, rate, k / t, iterations=30)
    for i in range(4):
        # The squared residuals of T M measurements make each tau, and the power of 100 M channels varies by 5 %.
        close(np.mean([tau[i] for tau in taus]), expected[i + 1], 0.06 * expected[i + 1] / np.sqrt(8))
    p_missed, p_false = error_probabilities(expected[-1], 1.0, m, rate)
    for found, mean in ((missed, 8 * active * p_missed), (false_alarms, 8 * (k - active) * p_false)):
        assert mean > 20  # there is something to compare
        close(found, mean, np.sqrt(mean))


def test_mmv_errors_vanish_with_antennas_as_the_paper_shows():
    errors = [sum(error_probabilities(0.3, 1.0, m, 0.05)) for m in (2, 8, 32, 128)]
    assert all(more > 5 * fewer for more, fewer in itertools.pairwise(errors))
    # The threshold is where both likelihoods, weighted, are the same.
    rate, tau, m = 0.1, 0.2, 4
    energy = stats.gamma.isf(error_probabilities(tau, 1.0, m, rate)[1], m, scale=tau)
    likelihood = rate * stats.gamma.pdf(energy, m, scale=1 + tau), (1 - rate) * stats.gamma.pdf(energy, m, scale=tau)
    assert likelihood[0] == pytest.approx(likelihood[1], rel=1e-6)


# --- GMMV-AMP, TMP-EM -----------------------------------------------------------------------------------------


def test_gmmv_amp_reaches_its_state_evolution_without_being_told_rate_and_noise():
    """200 entries a device leave no doubt of its activity: the state evolution is that of a known support."""
    k, t, n, m = 400, 100, 10, 20
    p = problem(k, t, n, m, 40, pilots="qpsk", channels="iid", snr_db=10.0)
    found = baselines.gmmv_amp(p.pilots, m).detect(p.y, p.noise_var)
    errors = score(found, p.active, p.channels)
    assert errors.missed == errors.false_alarms == 0
    expected = gaussian_fixed_point(p.noise_var / t, k / t, 0.1, orthogonal=False)
    # 8000 squared errors: 1.1 %; learned means and variances of 40 samples each cost 2 / 40 of the prior's part.
    assert errors.nmse == pytest.approx(expected, rel=0.08)
    assert np.mean(found.channel_var) == pytest.approx(errors.error_energy / p.channels.size, rel=0.1)


def test_tmp_em_learns_the_variances_and_reaches_its_state_evolution():
    """Channels that are lines on blocks of four subcarriers, of which half as many devices as symbols are active."""
    k, t, blocks, width, m = 256, 32, 6, 4, 12
    rng = np.random.default_rng(3)
    active = np.sort(rng.choice(k, 26, replace=False))
    offset, prior = np.arange(width) - 1.5, np.array([0.8, 0.16])
    s = complex_normal(rng, 2, 26, blocks, 1, m) * np.sqrt(prior)[:, None, None, None, None]
    h = (s[0] + offset[:, None] * s[1]).reshape(26, -1, m)
    rows = np.stack([rng.permutation(k)[: t * width].reshape(t, width) for _ in range(blocks)], axis=1)
    pilots = jf.Pilots.from_rows(rows.reshape(t, -1), k)  # distinct in a block, so that its pilots are orthogonal
    noise = 0.1
    y = np.einsum("tna,anm->tnm", pilots.select(active), h) + np.sqrt(noise) * complex_normal(rng, t, 24, m)
    found = baselines.tmp_em(pilots, m, 26 / k, blocks=blocks).detect(y, noise)
    assert np.array_equal(found.active, active)
    error = line_fixed_point(noise / t, k / t, 26 / k, prior, offset)
    expected = error[0] + np.mean(offset**2) * error[1]
    # 26 x 6 x 12 pairs of mean and slope: 2.5 %, and the number of symbols is small enough for a few percent more.
    assert np.mean(abs(found.channels - h) ** 2) == pytest.approx(expected, rel=0.1)
    assert np.mean(found.channel_var) == pytest.approx(expected, rel=0.1)
