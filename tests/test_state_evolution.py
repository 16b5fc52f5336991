"""State evolution: tracked variances against the scalar recursion and against the true error."""

from itertools import pairwise

import numpy as np
import pytest
from problems import WienerPrior, problem

from jadce_fast import reference as ref
from jadce_fast.rules import Rules

PILOTS = pytest.mark.parametrize("kind", ["dft", "qpsk"])
DROPS = 8
SIZE = dict(devices=200, symbols=64, subcarriers=12, antennas=16, active=16)
# A measured variance is a mean of squared complex Gaussians, each of relative deviation one: A N M channel
# errors make the residual, which is seen at T N M entries.
DEVIATION = np.sqrt((1 / 16 + 1 / 64) / (12 * 16 * DROPS))


def module_a_map(v, eigenvalues, devices, noise_var):
    """v_B as a function of v_A; (K P v + noise) / (T P) - v for orthogonal pilots."""
    eta = np.mean(np.sum(v * eigenvalues / (v * eigenvalues + noise_var), 1)) / devices
    return v * (1 / eta - 1)


def module_b_map(v, rate):
    """v_A as a function of v_B for unit-power Gaussian channels whose activity is known."""
    alpha = rate / (1 + v)
    return alpha * v / (1 - alpha)


@pytest.fixture(scope="module", params=["dft", "qpsk"])
def drops(request):
    """Problem, eigenvalues of Q Q^H and history of several drops; Gaussian denoiser, i.i.d. channels."""
    found = []
    for seed in range(DROPS):
        p = problem(**SIZE, channels="iid", pilots=request.param, seed=seed)
        q = ref.pilot_array(p.pilots)
        history = ref.tmp(p.y, q, ref.gaussian_denoiser(), p.noise_var, p.activity_rate, iterations=6)
        found.append((p, ref.gram_eigen(q)[0], history))
    return found


def test_every_step_follows_the_scalar_recursion(drops):
    """From the measured v_B of one iteration to that of the next."""
    ratios = []
    for p, values, history in drops:
        steps = []
        for now, after in pairwise(history):
            v_a = module_b_map(now.v_pri_b.mean(), p.activity_rate)
            steps.append(after.v_pri_b.mean() / module_a_map(v_a, values, 200, p.noise_var))
        ratios.append(steps)
    assert np.all(np.abs(np.mean(ratios, 0) - 1) < 5 * DEVIATION)


def test_trajectory_follows_the_scalar_recursion(drops):
    """From the start to the fixed point; deviations of early steps grow where the recursion is steep."""
    ratios = []
    for p, values, history in drops:
        v_a, steps = p.activity_rate, []
        for it in history:
            v = module_a_map(v_a, values, 200, p.noise_var)
            v_a = module_b_map(v, p.activity_rate)
            steps.append(it.v_pri_b.mean() / v)
        ratios.append(steps)
    assert np.all(np.abs(np.mean(ratios, 0) - 1) < 0.1)
    assert abs(np.mean(ratios, 0)[-1] - 1) < 5 * DEVIATION


def test_residual_variance_is_the_true_error(drops):
    ratios = [[np.mean(np.abs(it.x_pri_b - p.x) ** 2) / it.v_pri_b.mean() for it in history] for p, _, history in drops]
    assert np.all(np.abs(np.mean(ratios, 0) - 1) < 0.02)
    assert np.all(np.abs(np.array(ratios) - 1) < 0.06)


@PILOTS
def test_receiver_tracks_the_error_of_every_beam(kind):
    """Correlated channels, a mismatched Gaussian prior, and noise that differs between beams."""
    for seed in range(3):
        p = problem(devices=200, symbols=24, subcarriers=16, antennas=16, active=10, pilots=kind, seed=seed)
        q, truth, y = ref.pilot_array(p.pilots), ref.beamspace(p.x), ref.beamspace(p.y)
        history = ref.beamspace_stmp(p.y, q, WienerPrior(16), p.noise_var, p.activity_rate)
        for it in history:
            x, v = ref.module_a(y, q, it.x_pri, it.v_a, p.noise_var)
            assert np.array_equal(v, it.v)
            error = np.mean(np.abs(x - truth) ** 2, axis=(0, 1))
            assert abs(error.mean() / v.mean() - 1) < 0.03
            assert np.all(np.abs(error / v - 1) < 0.1)
        assert history[1].v.max() > 1.5 * history[1].v.min()
        # The noise itself leaves noise / T, a prior that does not fit a little more.
        assert history[-1].v.mean() < 1.3 * p.noise_var / 24


def test_predicted_variance_is_wrong_under_mismatch():
    """The paper's rule misses some beam's error by a quarter, the residual's by a few per cent."""
    p = problem(devices=200, symbols=24, subcarriers=16, antennas=16, active=10)
    q, truth, y = ref.pilot_array(p.pilots), ref.beamspace(p.x), ref.beamspace(p.y)
    worst = {}
    for variance in ("residual", "paper"):
        history = ref.beamspace_stmp(
            p.y, q, WienerPrior(16), p.noise_var, p.activity_rate, rules=Rules(variance=variance), iterations=3
        )
        errors = [
            np.mean(np.abs(ref.module_a(y, q, it.x_pri, it.v_a, p.noise_var)[0] - truth) ** 2, (0, 1)) for it in history
        ]
        worst[variance] = max(np.max(np.abs(e / it.v - 1)) for e, it in zip(errors, history, strict=True))
    assert worst["residual"] < 0.06
    assert worst["paper"] > 0.25
