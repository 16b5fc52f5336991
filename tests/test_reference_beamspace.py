"""The reference receiver in beamspace: each step by itself, the whole on the dense and the small state."""

from itertools import pairwise

import numpy as np
import pytest
from problems import SIZES, WienerPrior, assert_close, complex_normal, problem

from jadce_fast import reference as ref
from jadce_fast.rules import Rules

PILOTS = pytest.mark.parametrize("kind", ["dft", "qpsk"])


def density(x, mean, var):
    return np.prod(np.exp(-(np.abs(x - mean) ** 2) / var) / (np.pi * var))


def test_beamspace_is_unitary_and_commutes_with_the_pilots():
    p = problem(**SIZES["prime"])
    x = p.x
    assert_close(ref.beamspace(ref.beamspace(x), inverse=True), x)
    assert_close(np.linalg.norm(ref.beamspace(x)), np.linalg.norm(x))
    assert_close(ref.measure(p.pilots, ref.beamspace(x)), ref.beamspace(ref.measure(p.pilots, x)))


@PILOTS
def test_klt_statistics_and_projection_are_adjoint(kind):
    p = problem(**SIZES["prime"], pilots=kind)
    basis, rng = WienerPrior(7, 4).basis, np.random.default_rng(0)
    r, devices = complex_normal(rng, *p.y.shape), np.array([3, 4, 96])
    s = complex_normal(rng, 3, 4, 5)
    z = ref.klt_statistics(p.pilots, r, basis)
    assert z.shape == (97, 4, 5)
    assert_close(np.vdot(s, z[devices]), np.vdot(ref.project(p.pilots, devices, s, basis), r))
    empty = ref.project(p.pilots, np.zeros(0, int), np.zeros((0, 4, 5)), basis)
    assert_close(empty, np.zeros(p.y.shape))


def test_structured_ratio_of_one_gain_and_one_power_is_gaussian():
    rng = np.random.default_rng(1)
    energy, null = rng.exponential(1, (6, 4, 3)), rng.uniform(0.5, 2, (4, 3))
    lam, one = np.array([5.0, 2.0, 0.5, 0.01]), np.ones(1)
    found = ref.structured_llr(energy, null, lam, one, one, one, one)
    total = null + lam[:, None]
    assert_close(found, np.sum(energy * (1 / null - 1 / total) - np.log(total / null), (1, 2)))


def test_structured_ratio_is_the_mixture_of_densities():
    rng = np.random.default_rng(2)
    energy, null, lam = rng.exponential(2, (3, 2, 2)), rng.uniform(0.5, 2, (2, 2)), np.array([2.0, 0.3])
    gain, weight = np.array([0.1, 1.0, 4.0]), np.array([0.5, 0.3, 0.2])
    powers, power_weight = np.array([0.2, 3.0]), np.array([0.6, 0.4])
    found = ref.structured_llr(energy, null, lam, gain, weight, powers, power_weight)
    for k in range(3):
        active = 0.0
        for power, u in zip(powers, power_weight, strict=True):
            beams = 1.0
            for b in range(2):
                beams *= sum(
                    w * density(np.sqrt(energy[k, :, b]), 0, null[:, b] + a * power * lam)
                    for a, w in zip(gain, weight, strict=True)
                )
            active += u * beams
        assert_close(found[k], np.log(active / density(np.sqrt(energy[k]), 0, null)))


def test_structured_ratio_is_finite_for_extreme_energies():
    energy = np.array([0.0, 1e-30, 1.0, 1e30])[:, None, None] * np.ones((1, 3, 2))
    prior = WienerPrior(8, 3)
    mixture = prior.eigenvalues, prior.beam_gain, prior.beam_weight
    llr = ref.structured_llr(energy, np.full((3, 2), 1e-6), *mixture, np.ones(1), np.ones(1))
    assert np.all(np.isfinite(llr))
    assert np.all(np.diff(llr) >= 0)


def test_noise_reference_comes_from_quiet_devices():
    rng = np.random.default_rng(3)
    energy, v = rng.exponential(1, (80, 3, 2)), np.array([2.0, 3.0])
    assert_close(ref.noise_reference(energy, v, None), np.array([[2.0, 3.0]] * 3))
    odds = np.where(np.arange(80) < 60, -9.0, 5.0)
    assert_close(ref.noise_reference(energy, v, odds), energy[:60].mean(0))
    assert_close(ref.noise_reference(energy, v, odds, Rules(enough_idle=60)), np.array([[2.0, 3.0]] * 3))
    assert np.all(ref.noise_reference(0 * energy, v, odds) > 0)


def test_device_power_is_unbiased_and_positive():
    v = np.array([0.1, 0.3])
    energy = np.full((2, 3, 2), 0.0)
    energy[0] = 4.0  # 3 kept coefficients of 6, 2 beams: 24 / 12 less half of the noise
    assert_close(ref.device_power(energy, v, 6), np.array([2.0 - 0.1, 2e-2 * 0.2]))


def test_alpha_is_the_mean_divergence_of_the_denoiser():
    prior, rng = WienerPrior(8, 4), np.random.default_rng(4)
    z, v, p = complex_normal(rng, 3, 4, 5), rng.uniform(0.1, 1, 5), np.array([1.0, 0.5, 0.1])
    mean, var = prior.denoise(z, np.broadcast_to(v, (3, 5)), np.arange(3))
    step, divergence = 1e-3, np.zeros((3, 5))
    for i in range(4):
        moved = z.copy()
        moved[:, i] += step
        divergence += (prior.denoise(moved, np.broadcast_to(v, (3, 5)), np.arange(3))[0] - mean)[:, i].real / step / 8
    assert_close(ref.alpha(p, var, v, 30, Rules(caution=1.0)), p @ divergence / 30, 1e-6)
    assert np.all(ref.alpha(np.ones(3), 100 * var, v, 3) < 1)
    assert np.all(ref.alpha(np.zeros(0), np.zeros((0, 5)), v, 3) > 0)


@PILOTS
@pytest.mark.parametrize("powers", [(1.0,), tuple(np.logspace(-1.2, 1.2, 9))], ids=["known", "unknown"])
@pytest.mark.parametrize("size", SIZES)
def test_receiver_is_finite_at_every_size(size, powers, kind):
    p = problem(**SIZES[size], pilots=kind, seed=1)
    for y in (p.y, 0 * p.y):
        history = ref.beamspace_stmp(
            y, p.pilots, WienerPrior(p.y.shape[1]), p.noise_var, p.activity_rate, powers=powers
        )
        for it in history:
            for values in (it.x_pri, it.v_a, it.v, it.null, it.log_odds, it.probability, it.mean, it.var, it.alpha):
                assert np.all(np.isfinite(values))
            assert np.all((it.alpha > 0) & (it.alpha < 1))
            assert np.all(it.v > 0)


@PILOTS
@pytest.mark.parametrize("spread", [0.0, 20.0], ids=["equal powers", "20 dB spread"])
def test_receiver_detects_and_estimates(spread, kind):
    p = problem(
        devices=200, symbols=24, subcarriers=16, antennas=16, active=10, pilots=kind, power_spread_db=spread, seed=2
    )
    prior = WienerPrior(16)
    powers = (1.0,) if spread == 0 else np.logspace(-1.2, 1.2, 9)
    out = ref.best(ref.beamspace_stmp(p.y, p.pilots, prior, p.noise_var, p.activity_rate, powers=powers))
    keep = out.probability[out.candidates] >= 0.5
    assert np.array_equal(out.candidates[keep], p.active)
    estimate = np.zeros_like(p.x)
    estimate[p.active] = ref.beamspace(np.einsum("np,apm->anm", prior.basis, out.mean[keep]), inverse=True)
    error = np.sum(np.abs(estimate - p.x) ** 2) / np.sum(np.abs(p.x) ** 2)
    assert error < p.noise_var / 24  # better than the matched filter after perfect cancellation


def test_receiver_is_equivariant_to_scale():
    p = problem(**SIZES["odd"], seed=4)
    c, prior = 40.0 * np.exp(1j), WienerPrior(12)
    y, q = p.y.astype(complex), ref.pilot_array(p.pilots)

    def run(y, noise, powers, q=q):
        return ref.beamspace_stmp(y, q, prior, noise, p.activity_rate, powers=powers, iterations=5)[-1]

    for powers in (np.ones(1), np.logspace(-1, 1, 5)):
        plain = run(y, p.noise_var, powers)
        louder = run(c * y, abs(c) ** 2 * p.noise_var, abs(c) ** 2 * powers)
        assert np.array_equal(plain.candidates, louder.candidates)
        assert_close(louder.log_odds, plain.log_odds, 1e-7)
        assert_close(louder.mean, c * plain.mean, 1e-7)
        more_pilot_power = run(c * y, abs(c) ** 2 * p.noise_var, powers, c * q)
        assert_close(more_pilot_power.log_odds, plain.log_odds, 1e-7)
        assert_close(more_pilot_power.mean, plain.mean, 1e-7)


def test_receiver_with_predicted_variances():
    """The paper's rule: v_A = v alpha / (1 - alpha), damped."""
    p = problem(**SIZES["odd"], seed=4)
    history = ref.beamspace_stmp(
        p.y, p.pilots, WienerPrior(12), p.noise_var, p.activity_rate, rules=Rules(variance="paper")
    )
    for i, (now, after) in enumerate(pairwise(history)):
        assert_close(now.v, (105 * now.v_a + p.noise_var) / 16 - now.v_a)
        gamma = 0.7 if i >= 2 else 1.0
        assert_close(after.v_a, gamma * now.v * now.alpha / (1 - now.alpha) + (1 - gamma) * now.v_a)


def state_form(p, prior, powers, iterations=8, damping=0.7, damp_from=2):
    """The receiver with the state x_pri = V S + Q^H R: S (K, P, M) on candidates only, R (T, N, M)."""
    q, y = ref.pilot_array(p.pilots), ref.beamspace(p.y)
    k, n, basis = q.shape[2], q.shape[1], prior.basis.astype(complex)
    state_s = np.zeros((k, basis.shape[1], y.shape[2]), complex)
    state_r, odds, history = np.zeros_like(y), None, []
    weights = np.full(len(powers), 1 / len(powers))
    for i in range(iterations):
        support = np.flatnonzero(np.any(state_s, axis=(1, 2)))
        r = y - ref.project(q, support, state_s[support], basis) - ref.measure(q, ref.adjoint(q, state_r))
        v_a = ref.residual_variance(r, q, p.noise_var)
        c, v, _ = ref.correction(r, q, v_a, p.noise_var)
        seen = state_r + c
        z = ref.klt_statistics(q, seen, basis)
        z[support] += state_s[support]
        energy = np.abs(z) ** 2
        null = ref.noise_reference(energy, v, odds)
        mixture = prior.eigenvalues, prior.beam_gain, prior.beam_weight
        odds = ref.log_odds(ref.structured_llr(energy, null, *mixture, powers, weights), p.activity_rate)
        probability = ref.sigmoid(odds)
        cand = ref.candidates(probability)
        g = np.full(len(cand), powers[0]) if len(powers) == 1 else ref.device_power(energy[cand], v, n)
        mean, var = prior.denoise(z[cand] / np.sqrt(g)[:, None, None], v / g[:, None], cand)
        mean, var = mean * np.sqrt(g)[:, None, None], var * g[:, None]
        alpha = ref.alpha(probability[cand], var, v, k)
        history.append((v, odds, cand, mean))
        a, b = 1 / (1 - alpha), alpha / (1 - alpha)
        gamma = damping if i >= damp_from else 1.0
        state_s = (1 - gamma - gamma * b) * state_s
        state_s[cand] += gamma * a * probability[cand, None, None] * mean
        state_r = (1 - gamma) * state_r - gamma * b * seen
    return history


@PILOTS
@pytest.mark.parametrize("powers", [np.ones(1), np.logspace(-1, 1, 5)], ids=["known", "unknown"])
@pytest.mark.parametrize("size", ["prime", "odd", "one-antenna", "one-subcarrier", "everybody"])
def test_state_form_equivalence(size, powers, kind):
    p = problem(**SIZES[size], pilots=kind, seed=6)
    prior = WienerPrior(p.y.shape[1], dtype=complex)  # single precision is orthonormal to 1e-7 only
    rules = Rules(certain=1.0, faint=1e6)  # nobody is ever certain: activity is tested in every iteration
    dense = ref.beamspace_stmp(p.y, p.pilots, prior, p.noise_var, p.activity_rate, powers=powers, rules=rules)
    for it, (v, odds, cand, mean) in zip(dense, state_form(p, prior, powers), strict=True):
        assert_close(v, it.v)
        assert_close(odds, it.log_odds)
        assert np.array_equal(cand, it.candidates)
        assert_close(mean, it.mean)
