"""The cell of Tang et al.: its ensemble, its exact score and its posterior."""

from __future__ import annotations

import numpy as np
import pytest
from problems import complex_normal
from scipy import integrate

from jadce_fast import reference
from jadce_fast.campaigns import CellScenario, draw_cell
from jadce_fast.campaigns.cell_drop import qpsk_pilots
from jadce_fast.priors.cell import CellPrior

PRIORS = {"default": CellPrior(), "dense": CellPrior(0.4, power=3.0), "narrow": CellPrior(0.02, inner=100, outer=101)}


def noisy_columns(prior: CellPrior, v: float, count: int, antennas: int, seed: int = 0) -> np.ndarray:
    """Columns over the whole range of energies that the prior produces, inactive ones too, plus noise."""
    rng = np.random.default_rng(seed)
    g = np.append(prior.gain(np.geomspace(prior.inner, prior.outer, count - 2)), [0, 0])
    return np.sqrt(g + v)[:, None] * complex_normal(rng, count, antennas)


def integrated(x: np.ndarray, v: float, prior: CellPrior, moment: int) -> float:
    """Integral over distance of rate CN(x; 0, (g + v) I) (g / (g + v))^moment, by adaptive quadrature."""
    energy, m = np.sum(np.abs(x) ** 2), len(x)
    scale = -m * np.log(v) - min(energy / v, 300)  # keeps the integrand within range

    def density(d: float) -> float:
        g = prior.gain(d)
        area = 2 * d / (prior.outer**2 - prior.inner**2)
        return (
            prior.activity_rate * area * (g / (g + v)) ** moment * np.exp(-energy / (g + v) - m * np.log(g + v) - scale)
        )

    return integrate.quad(density, prior.inner, prior.outer, epsabs=0, epsrel=1e-10, limit=500)[0]


@pytest.mark.parametrize("name", PRIORS)
@pytest.mark.parametrize(("antennas", "v"), [(1, 0.5), (3, 0.05), (8, 2.0)])
def test_posterior_equals_adaptive_integration(name, antennas, v):
    prior = PRIORS[name]
    for x in noisy_columns(prior, v, 6, antennas):
        energy = np.sum(np.abs(x) ** 2)
        zero = (1 - prior.activity_rate) * np.exp(-energy / v + min(energy / v, 300))
        moments = [integrated(x, v, prior, i) for i in range(3)]
        total = zero + moments[0]
        first, second = moments[1] / total, moments[2] / total
        mean, variance, probability = reference.cell_posterior(x, v, prior)
        # 400 nodes integrate these smooth functions to rounding errors; quad promises 1e-10.
        np.testing.assert_allclose(probability, moments[0] / total, rtol=1e-8)
        np.testing.assert_allclose(mean, first * x, rtol=1e-8)
        spread = energy / antennas * (second - first**2)
        np.testing.assert_allclose(variance, v * first + spread, rtol=1e-6)


def test_score_is_the_gradient_of_the_log_density():
    prior, v, step = CellPrior(), 0.3, 1e-5
    for x in noisy_columns(prior, v, 7, 4):
        for direction in (1, 1j):
            for m in range(4):
                e = np.zeros(4, complex)
                e[m] = step * direction
                slope = (reference.log_density(x + e, v, prior) - reference.log_density(x - e, v, prior)) / (2 * step)
                # d log p / d x* has the real derivative 2 Re(conj(direction) score); the error of the quotient is
                # step^2 times the third derivative, plus rounding 1e-16 * 100 / step.
                found = 2 * np.real(np.conj(direction) * reference.cell_score(x, v, prior)[m])
                assert abs(found - slope) < 1e-6 * max(1, np.abs(x).max() / v)


def test_density_integrates_to_one():
    prior, v = CellPrior(), 0.7
    # One antenna: the density depends on |x| alone. The prior's tail ends at |x|^2 of a few hundred powers.
    radius = np.geomspace(1e-6, 300, 20001)
    density = np.exp(reference.log_density(radius[:, None].astype(complex), v, prior))
    assert abs(integrate.trapezoid(2 * np.pi * radius**2 * density, np.log(radius)) - 1) < 1e-4


@pytest.mark.parametrize("name", PRIORS)
@pytest.mark.parametrize("antennas", [1, 16, 64])
@pytest.mark.parametrize("v", [1e-6, 0.03, 50.0])
def test_fast_denoiser_equals_the_reference(name, antennas, v):
    prior = PRIORS[name]
    x = noisy_columns(prior, v, 40, antennas)
    mean, variance, probability = prior.posterior(x, v)
    expected = reference.cell_posterior(x, v, prior)
    # The number of nodes is chosen for 1e-5.
    np.testing.assert_allclose(mean, expected[0], rtol=1e-5)
    np.testing.assert_allclose(variance, expected[1], rtol=1e-3)
    np.testing.assert_allclose(probability, expected[2], rtol=1e-5, atol=1e-12)


def test_one_noise_variance_per_column():
    prior, v = CellPrior(), np.array([0.1, 2.0, 30.0])
    x = noisy_columns(prior, 1.0, 3, 5)
    together = prior.posterior(x, v)
    for i in range(3):
        alone = prior.posterior(x[i], v[i])
        for a, b in zip(together, alone, strict=True):
            np.testing.assert_allclose(a[i], b)


def test_tweedie():
    prior, v = CellPrior(), 0.4
    x = noisy_columns(prior, v, 9, 6)
    np.testing.assert_allclose(x + v * reference.cell_score(x, v, prior), reference.cell_posterior(x, v, prior)[0])


def test_ensemble_has_unit_mean_power_and_the_right_activity():
    scenario = CellScenario(antennas=4, devices=50, symbols=30)
    drops = [draw_cell(scenario, 0, trial) for trial in range(400)]
    count = np.array([len(d.active) for d in drops])
    energy = np.array([np.sum(np.abs(d.channels.astype(np.complex128)) ** 2) for d in drops]) / (4 * 50)
    # Four standard errors, from the sample.
    assert abs(energy.mean() - 1) < 4 * energy.std() / 20
    assert abs(count.mean() - 5) < 4 * np.sqrt(50 * 0.1 * 0.9) / 20


def test_gain_is_the_path_loss():
    prior = CellPrior()
    # Ten times the distance is 37.6 dB.
    assert 10 * np.log10(prior.gain(20.0) / prior.gain(200.0)) == pytest.approx(37.6)
    for p in PRIORS.values():
        g, w = p.mixture(16)
        assert np.sum(w) == pytest.approx(1)
        assert np.sum(w * g) == pytest.approx(p.mean_power, rel=1e-9)


def test_drop_is_what_its_parts_say():
    scenario = CellScenario(antennas=5, devices=9, symbols=12, snr_db=100, active=3)
    drop = draw_cell(scenario, 3, 7)
    assert len(drop.active) == 3
    assert np.all(np.diff(drop.active) > 0)
    np.testing.assert_allclose(np.abs(drop.pilots), 1, rtol=1e-6)
    clean = np.einsum("tna,anm->tnm", drop.pilots[..., drop.active], drop.channels)
    # Noise is 100 dB below the power of a mean drop.
    assert np.abs(drop.y - clean).max() < 1e-3
    y, p = drop.matrices
    assert np.abs(y - drop.x.T @ p).max() < 1e-3
    again, other = draw_cell(scenario, 3, 7), draw_cell(scenario, 3, 8)
    assert np.array_equal(again.y, drop.y)
    assert np.array_equal(other.pilots, drop.pilots)
    assert not np.array_equal(other.y, drop.y)


def test_lmmse_is_the_regularised_solution():
    drop = draw_cell(CellScenario(symbols=20))
    y, p = (a.astype(np.complex128) for a in drop.matrices)
    x = reference.cell_lmmse(y, p, drop.noise_var)
    # The other form of the same matrix, by the push-through identity.
    expected = y @ p.conj().T @ np.linalg.inv(p @ p.conj().T + drop.noise_var * np.eye(64))
    np.testing.assert_allclose(x, expected, rtol=1e-6)


def test_message_passing_finds_everything_at_high_snr():
    prior = CellPrior()
    for trial in range(3):
        drop = draw_cell(CellScenario(snr_db=45), 0, trial)
        mean, probability = reference.cell_tmp(*drop.matrices, drop.noise_var, prior.posterior)
        assert np.array_equal(np.flatnonzero(probability >= 0.5), drop.active)
        # Least squares with known activity has the error A sigma^2 / (L - A) per entry and device, in the mean.
        genie = drop.noise_var * 16 * len(drop.active) / (48 - len(drop.active))
        assert np.sum(np.abs(mean - drop.x.T) ** 2) < 2 * genie


@pytest.mark.parametrize(
    ("argument", "value"),
    [("activity_rate", 0), ("activity_rate", 1.0), ("power", -1), ("inner", 0), ("outer", 35), ("outer", np.nan)],
)
def test_bad_prior(argument, value):
    with pytest.raises(ValueError, match=f"{argument}: expected"):
        CellPrior(**{argument: value})


@pytest.mark.parametrize(("argument", "value"), [("antennas", 0), ("symbols", 1.5), ("active", 65), ("snr_db", np.inf)])
def test_bad_scenario(argument, value):
    with pytest.raises((TypeError, ValueError), match=f"{argument}: expected"):
        CellScenario(**{argument: value})


def test_pilots_are_fixed_by_the_seed():
    assert np.array_equal(qpsk_pilots(8, 5, 1), qpsk_pilots(8, 5, 1))
    assert not np.array_equal(qpsk_pilots(8, 5, 1), qpsk_pilots(8, 5, 2))
    assert len(np.unique(np.round(qpsk_pilots(20, 20), 3))) == 4
