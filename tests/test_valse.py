"""VALSE: its parts against quadrature and dense algebra, and the Cramer-Rao bound."""

import itertools

import numpy as np
import pytest
from problems import complex_normal
from scipy.special import ive
from waves import coloured, nmse, wave

from jadce_fast.baselines import bernoulli_gaussian, omp, valse, valse_lines
from jadce_fast.baselines.denoisers import _von_mises
from jadce_fast.baselines.denoisers._lines import Lines
from jadce_fast.channels import cdl


@pytest.mark.parametrize("count", [1, 2, 7, 33])
def test_von_mises_moments(count):
    kappa = np.array([1e-3, 0.5, 10, 29.9, 30, 300, 1e4, 1e8])
    index = np.arange(count) - count // 2
    found = _von_mises.moments(np.full(kappa.shape, 0.3), kappa, index.astype(float))
    exact = ive(np.abs(index), kappa[:, None]) / ive(0, kappa[:, None]) * np.exp(0.3j * index)
    np.testing.assert_allclose(found, exact, atol=1e-5)


def test_von_mises_fit_of_a_von_mises_density():
    index = np.arange(9.0) - 4
    mean, kappa = np.array([-2.0, 0.1, 3.0]), np.array([0.5, 20.0, 1e5])
    terms = np.zeros((3, 9), complex)
    terms[:, 5] = kappa * np.exp(1j * mean)  # exp(kappa cos(theta - mean))
    found, concentration = _von_mises.fit(terms, index)
    np.testing.assert_allclose(np.exp(1j * found), np.exp(1j * mean), atol=1e-6)
    np.testing.assert_allclose(concentration, kappa, rtol=1e-6)


def inference(rng, iterations=2):
    """A state in the middle of an inference in coloured noise, and its noise precision over antennas."""
    n, m = 10, 7
    variance = 0.1 * np.exp(rng.uniform(-1, 1, (2, m)))
    y = cdl(2, "C", n, m, seed=4) + coloured(rng, variance, n)
    noise = 1 / np.mean(1 / variance, axis=1)
    lines = Lines(y, noise[:, None] / variance, noise, False, 8)
    while lines.propose().any():
        pass
    for _ in range(iterations):
        lines.update_frequencies()
        lines.refresh()
        lines.choose_support()
        lines.update_parameters()
    lines.refresh()
    fourier = np.fft.fft(np.eye(m), axis=0, norm="ortho")
    return lines, np.array([fourier.conj().T @ np.diag(1 / v) @ fourier for v in variance])


def objective(lines, i, support):
    """ln Z in dense algebra: evidence of the amplitudes of a support."""
    j, h, v = lines.gram[i][np.ix_(support, support)], lines.match[i][support], lines.noise[i]
    system = j + v / lines.variance[i] * np.eye(len(support))
    odds = np.log(lines.rate[i] / (1 - lines.rate[i])) + np.log(v / lines.variance[i])
    fit = (h.conj() @ np.linalg.solve(system, h)).real / v
    return fit - np.linalg.slogdet(system)[1] + len(support) * odds


def test_valse_gains_are_differences_of_the_objective_also_after_rank_one_updates():
    lines, _ = inference(np.random.default_rng(13))
    slots = np.arange(lines.slots)
    flips = [np.array([0, 1]), np.array([3, 0]), np.array([0, 4])]
    for slot in flips:
        gains = lines.gains()
        for i, l in itertools.product(range(2), slots):
            if lines.used[i, l]:
                now = slots[lines.active[i]]
                then = np.setxor1d(now, [l])
                change = objective(lines, i, then) - objective(lines, i, now)
                assert gains[i, l] == pytest.approx(change, rel=1e-8, abs=1e-8)
        rows = np.flatnonzero(lines.used[np.arange(2), slot])
        lines.flip(rows, slot[rows])
    w, cov = lines.w.copy(), lines.cov.copy()
    lines.refresh()
    np.testing.assert_allclose(w, lines.w, atol=1e-9)
    np.testing.assert_allclose(cov, lines.cov, atol=1e-9)


def expected_misfit(lines, precision, i):
    """E (y - x)^H precision (y - x) by the definition: moments of every pair of components, densely."""
    on = np.flatnonzero(lines.active[i])
    a, b, w = lines.a[i, on], lines.b[i, on], lines.w[i, on]
    second = np.outer(w.conj(), w) + lines.cov[i][np.ix_(on, on)].T  # E w_k^* w_l
    p = precision[i]
    y = lines.y[i]
    total = np.einsum("nm,mp,np->", y.conj(), p, y) - 2 * np.einsum("nm,mp,l,ln,lp->", y.conj(), p, w, a, b).real
    for k, l in itertools.product(range(len(on)), repeat=2):
        if k == l:  # E of b^H P b under the von Mises density, by quadrature
            phi = np.linspace(0, 2 * np.pi, 4096, endpoint=False)
            density = np.exp(lines.kappa_phi[i, on[l]] * (np.cos(phi - lines.phi[i, on[l]]) - 1))
            steering = np.exp(1j * phi[:, None] * lines.over_m)
            quadratic = np.einsum("gm,mp,gp->g", steering.conj(), p, steering).real
            inner = lines.n * np.sum(quadratic * density) / density.sum()
        else:
            inner = (a[k].conj() @ a[l]) * (b[k].conj() @ p @ b[l])
        total += second[k, l] * inner
    return total.real


def test_valse_frequency_updates_climb_the_variational_bound():
    """Expected misfit minus the entropies of the frequencies must fall, whatever the correlation of the noise."""
    lines, precision = inference(np.random.default_rng(14), iterations=1)

    def bound(i):
        on = lines.active[i]
        kappa = np.concatenate([lines.kappa_theta[i, on], lines.kappa_phi[i, on]])
        entropy = np.log(2 * np.pi * ive(0, kappa)) + kappa * (1 - ive(1, kappa) / ive(0, kappa))
        return entropy.sum() - expected_misfit(lines, precision, i)

    history = []
    for _ in range(3):
        history.append([bound(0), bound(1)])
        lines.update_frequencies()
    history.append([bound(0), bound(1)])
    # The von Mises density is fitted to mode and curvature, not to the bound: 1e-3 of slack.
    assert (np.diff(history, axis=0) > -1e-3).all()
    assert (history[-1][0] - history[0][0], history[-1][1] - history[0][1]) > (0.01, 0.01)


@pytest.mark.parametrize("flat", [True, False], ids=["white", "coloured"])
def test_valse_reaches_the_cramer_rao_bound_of_one_wave(flat):
    rng = np.random.default_rng(15)
    count, n, m = 200, 12, 8
    theta, phi = rng.uniform(-np.pi, np.pi, (2, count))
    phase = rng.uniform(0, 2 * np.pi, count)
    truth = np.exp(1j * phase)[:, None, None] * np.array([wave(n, m, t, p) for t, p in zip(theta, phi, strict=True)])
    variance = np.full((count, m), 0.1) if flat else 0.1 * np.exp(rng.uniform(-1, 1, (count, m)))
    y = truth + coloured(rng, variance, n)
    found = valse_lines(y, variance, components=8)
    assert (found.active.sum(1) == 1).mean() > 0.9  # a spurious component of noise is rare
    strongest = np.argmax(np.abs(found.amplitudes), axis=1)
    errors = found.frequencies[np.arange(count), strongest] - np.stack([theta, phi], axis=1)
    errors = (errors + np.pi) % (2 * np.pi) - np.pi
    # Fisher information by its definition, real parameters (Re w, Im w, theta, phi), one channel at a time.
    bounds, fourier = np.empty((count, 4)), np.fft.fft(np.eye(m), axis=0, norm="ortho")
    for i in range(count):
        x = truth[i]
        slopes = [x, 1j * x, 1j * np.arange(n)[:, None] * x, 1j * np.arange(m) * x]
        white = np.array([(s @ fourier.T / np.sqrt(variance[i])).ravel() for s in slopes])
        bounds[i] = np.diag(np.linalg.inv(2 * (white.conj() @ white.T).real))
    # The mean of 200 squared Gaussian errors has a standard deviation of sqrt(2 / 200) = 10 %; three and a half.
    assert np.mean(errors**2 / bounds[:, 2:], axis=0) == pytest.approx(1, abs=0.35)
    # Four real parameters share the error of the channel: 2 v / (N M) in white noise.
    if flat:
        assert nmse(found.channels, truth) < 1.5 * 2 * 0.1 / (n * m)
        # Von Mises posteriors know their own width: mean field neglects no correlation of one centred wave.
        width = 1 / found.concentrations[np.arange(count), strongest]
        assert np.median(width / bounds[:, 2:], axis=0) == pytest.approx(1, abs=0.1)


def test_valse_off_the_grid_beats_the_grid():
    waves = [(1.0, 0.31, -1.13), (0.7j, -1.9, 0.42), (-0.5, 2.2, 2.01)]
    channel = sum(w * wave(16, 12, t, p) for w, t, p in waves)
    y = channel[None] + np.sqrt(1e-4) * complex_normal(np.random.default_rng(16), 1, 16, 12)
    lines = valse_lines(y, 1e-4, components=10)
    assert lines.active.sum() == 3
    assert nmse(lines.channels, channel) < 2 * 3 * 2 * 1e-4 / (16 * 12) / nmse(0, channel[None] / np.sqrt(1.74))
    assert nmse(omp(y, 1e-4, atoms=3, oversampling=(4, 4)), channel) > 300 * nmse(lines.channels, channel)


def test_valse_limits_of_the_noise():
    path = wave(8, 6, 0.3, -0.8)[None]
    np.testing.assert_allclose(valse(path, 1e-12, components=4), path, atol=1e-6)
    np.testing.assert_allclose(valse(path, components=4), path, atol=1e-4)
    y = path + complex_normal(np.random.default_rng(17), 1, 8, 6)
    assert not valse(y, 1e4).any()


def test_valse_learns_the_noise():
    rng = np.random.default_rng(18)
    channels = sum(wave(24, 16, t, p) for t, p in rng.uniform(-3, 3, (4, 2))) / 2
    y = np.broadcast_to(channels, (20, 24, 16)) + np.sqrt(0.05) * complex_normal(rng, 20, 24, 16)
    found = valse_lines(y, components=12)
    # 20 * 384 entries: 1 % of fluctuation; components of noise may take 5 %.
    assert found.noise_var.mean() == pytest.approx(0.05, rel=0.08)
    assert nmse(found.channels, np.broadcast_to(channels, y.shape)) == pytest.approx(
        nmse(valse(y, 0.05, components=12), np.broadcast_to(channels, y.shape)), rel=0.25
    )


def test_valse_in_coloured_noise_uses_the_colour():
    rng = np.random.default_rng(19)
    channels = cdl(4, "C", 24, 16, seed=2)
    variance = 0.2 * 10 ** rng.uniform(-1, 1, (4, 16))
    y = channels + coloured(rng, variance, 24)
    mean = np.broadcast_to(variance.mean(1, keepdims=True), variance.shape)
    for estimate in (bernoulli_gaussian, lambda y, v: valse(y, v, iterations=20)):
        assert nmse(estimate(y, variance), channels) < 0.8 * nmse(estimate(y, mean), channels)
