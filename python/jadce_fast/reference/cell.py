"""The cell of Tang et al. in plain double precision: exact score and posterior, LMMSE, turbo message passing.

Shapes are the paper's: Y (M, L), X (M, N), P (N, L). One column x of X is zero with probability 1 - rate, else
CN(0, g I) with the power g(d) of a device uniform over a ring.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..priors.cell import CellPrior
from .linear import Array, Complex, Real, damp, extrinsic, extrinsic_ratio, module_a, residual, residual_variance

Denoiser = Callable[[Array, Array], tuple[Array, Array, Array]]


def ring_powers(prior: CellPrior, nodes: int = 400) -> tuple[Real, Real]:
    """Powers and weights of a Gauss-Legendre rule over the area of the ring."""
    t, weight = np.polynomial.legendre.leggauss(nodes)
    area = prior.inner**2 + (1 + t) / 2 * (prior.outer**2 - prior.inner**2)
    return prior.gain(np.sqrt(area)), weight / 2


def log_density(x: Array, v: float, prior: CellPrior) -> Real:
    """Log p(x) of noisy columns x (..., M) = column + CN(0, v I)."""
    return np.asarray(np.logaddexp.reduce(_log_terms(x, v, prior)[0], axis=-1))


def cell_score(x: Array, v: float, prior: CellPrior) -> Complex:
    """Score of noisy columns, d log p / d x* (so that CN(0, v I) has -x / v), shape of x."""
    posterior, variance = _posterior_terms(x, v, prior)
    return np.asarray(-x * np.sum(posterior / variance, axis=-1)[..., None])


def cell_posterior(x: Array, v: float, prior: CellPrior) -> tuple[Complex, Real, Real]:
    """Posterior mean (..., M), variance per entry (...) and probability of activity (...) of noisy columns."""
    posterior, variance = _posterior_terms(x, v, prior)
    gain = 1 - v / variance  # Wiener gain of every component; zero for the inactive one
    mean_gain = np.sum(posterior * gain, axis=-1)
    spread = np.sum(posterior * (gain - mean_gain[..., None]) ** 2, axis=-1)
    power = np.mean(np.abs(x) ** 2, axis=-1)
    return np.asarray(x) * mean_gain[..., None], v * mean_gain + power * spread, np.sum(posterior[..., 1:], axis=-1)


def _log_terms(x: Array, v: float, prior: CellPrior) -> tuple[Real, Real]:
    """Log of weight times CN(x; 0, variance I) of the components, the inactive one first; their variances."""
    g, w = ring_powers(prior)
    variance = np.concatenate([[v], v + g])
    weight = np.concatenate([[1 - prior.activity_rate], prior.activity_rate * w])
    energy = np.sum(np.abs(x) ** 2, axis=-1)[..., None]
    return np.log(weight) - energy / variance - x.shape[-1] * np.log(np.pi * variance), variance


def _posterior_terms(x: Array, v: float, prior: CellPrior) -> tuple[Real, Real]:
    terms, variance = _log_terms(x, v, prior)
    return np.exp(terms - np.logaddexp.reduce(terms, axis=-1)[..., None]), variance


def cell_lmmse(y: Array, pilots: Array, noise_var: float, power: float = 1.0) -> Complex:
    """LMMSE with the true second-order statistics: entries of X uncorrelated with mean power `power`."""
    gram = pilots.conj().T @ pilots + noise_var / power * np.eye(pilots.shape[1])
    return np.asarray(y @ np.linalg.solve(gram, pilots.conj().T))


def cell_tmp(
    y: Array, pilots: Array, noise_var: float, denoise: Denoiser, iterations: int = 50, gamma: float = 0.7
) -> tuple[Complex, Real]:
    """Turbo message passing with an exact denoiser: the strong reference of the Langevin receiver.

    Module A for arbitrary pilots (``module_a``) with the variance tracked from the residual, one for all antennas,
    which are alike here; damping from the third iteration on; the iteration of smallest tracked variance counts.

    Parameters
    ----------
    y : array_like, shape (M, L)
    pilots : array_like, shape (N, L)
    noise_var : float
    denoise : callable
        (columns (N, M), noise variance) -> mean, variance (N,), probability (N,).
    iterations : int
    gamma : float
        Damping.

    Returns
    -------
    mean : ndarray, shape (M, N)
    probability : ndarray, shape (N,)
    """
    q, block = np.asarray(pilots, np.complex128).T[:, None], np.asarray(y, np.complex128).T[:, None]
    x = np.zeros((q.shape[2], 1, block.shape[2]), np.complex128)
    mean, probability, best = x[:, 0], np.zeros(len(x)), np.inf
    for iteration in range(iterations):
        v = np.mean(residual_variance(residual(block, q, x), q, noise_var), keepdims=True)
        x_ext, v_ext = module_a(block, q, x, v, noise_var)
        x_post, v_post, active = denoise(x_ext[:, 0], v_ext)
        if v[0] < best:
            best, mean, probability = v[0], x_post, active
        alpha = extrinsic_ratio(np.mean(v_post, keepdims=True), v_ext, high=0.95)
        x = damp(extrinsic(x_post[:, None], x_ext, alpha), x, 1.0 if iteration < 2 else gamma)
    return mean.T, probability
