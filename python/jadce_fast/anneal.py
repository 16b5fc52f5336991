"""Noise levels and steps of annealed Langevin dynamics, and the step from its samples to posteriors of devices.

Y = X P + Z with P = U S V^H. In A = X U likelihood and step are diagonal; one step of coordinate j is

    a_j <- a_j + pull_j (d_j - a_j) - decay_j a_j + force_j y_j + noise_j zeta_j

with d the denoised state X + sigma^2 score(X), rotated alike, y = Y V and zeta ~ CN(0, 1). docs/langevin.md derives
both schedules.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.floating]
Complex = npt.NDArray[np.complex128]
Real = npt.NDArray[np.float64]

_LEAST_GAIN = 1e-30
LAST_LEVEL = 0.9  # variance of the last level over noise_var / s_max^2, where the coupling of noises ends


@dataclass(frozen=True)
class Level:
    """One noise level: sigma and the coefficients of its step, each of shape (N,)."""

    sigma: float
    pull: Real
    decay: Real
    force: Real
    noise: Real


def noise_levels(first: float, singular: Array, noise_var: float, count: int) -> Real:
    """Geometric levels from `first` down to where the annealing noise is a part of the received noise."""
    last = np.sqrt(LAST_LEVEL * noise_var) / singular.max()
    return np.geomspace(max(first, 2 * last), last, count)


def preconditioned_level(sigma: float, singular: Array, noise_var: float, step: float) -> Level:
    """Level of the preconditioned sampler: X + sigma N with N a part of Z, steps of the inverse curvature.

    Where s sigma exceeds the received noise, y / s plus noise is the state itself and no prior is needed. Elsewhere
    p(Y | X + sigma N) is Gaussian with the variance noise_var - s^2 sigma^2 that N leaves.

    Parameters
    ----------
    sigma : float
    singular : array_like, shape (N,)
        Singular values of P, zeros where there are less than N.
    noise_var : float
    step : float
        In units of the inverse of the largest curvature, in (0, 1].
    """
    s2, v = np.asarray(singular, np.float64) ** 2, sigma**2
    known = s2 * v > noise_var
    inverse = np.where(known, v - noise_var / np.where(known, s2, 1), v * (1 - np.where(known, 0, s2) * v / noise_var))
    # decay = step inverse_curvature x precision of the likelihood.
    decay = np.where(known, step, step * v * s2 / noise_var)
    force = step * np.where(known, 1 / np.sqrt(np.where(known, s2, 1)), v / noise_var * np.sqrt(s2))
    pull = np.where(known, 0.0, step * inverse / v)
    # The exact noise of a linear force: a variance of step (2 - step) keeps that of the stationary state.
    return Level(sigma, pull, decay, force, np.sqrt(inverse * step * (2 - step)))


def paper_level(sigma: float, singular: Array, noise_var: float, step: float, beta: float) -> Level:
    """Level of Algorithm 1 of Tang et al. with the sign of the likelihood gradient corrected.

    X <- X + step ((Y - X P) P^H / (noise_var + sigma^2) + score) + sqrt(2 beta step) sigma zeta; it commutes with U.
    """
    s = np.asarray(singular, np.float64)
    total = noise_var + sigma**2
    pull, noise = np.full_like(s, step / sigma**2), np.full_like(s, np.sqrt(2 * beta * step) * sigma)
    return Level(sigma, pull, step * s**2 / total, step * s / total, noise)


def leave_one_out(y: Complex, pilots: Complex, noise_var: float, power: Array) -> tuple[Complex, Real]:
    """Every device's column seen in white noise, the others being interference of known power.

    LMMSE estimate with the powers of the other devices as their variances, scaled to be unbiased.

    Parameters
    ----------
    y : ndarray, shape (M, L)
    pilots : ndarray, shape (N, L)
    noise_var : float
    power : array_like, shape (N,)
        Mean power of an entry of each column of X.

    Returns
    -------
    columns : ndarray, shape (N, M)
    variance : ndarray, shape (N,)
        Complex noise variance per entry.
    """
    # From the covariance of Y, and from the posterior covariance of X. The first loses digits where the device is far
    # above everything else, the second where it is far below.
    power = np.asarray(power, np.float64)
    covariance = pilots.conj().T @ (power[:, None] * pilots) + noise_var * np.eye(pilots.shape[1])
    filters = np.linalg.solve(covariance, pilots.conj().T)
    gain = np.real(np.einsum("nl,ln->n", pilots, filters))  # 1 / (power + variance)
    gain = np.maximum(gain, _LEAST_GAIN)  # a device that sends nothing is seen in infinite noise
    amplitude = np.sqrt(power)
    scaled = np.eye(len(pilots)) + amplitude[:, None] * (pilots @ pilots.conj().T / noise_var) * amplitude
    inverse = np.linalg.inv(scaled)
    share = np.real(np.diag(inverse))  # variance / (power + variance)
    posterior = (y @ pilots.conj().T / noise_var * amplitude) @ inverse * amplitude

    strong = share < 0.5
    rest = np.where(strong, 1 - share, 0.5)
    variance = np.where(strong, power * share / rest, 1 / gain - np.where(strong, 0, power))
    columns = np.where(strong, posterior / rest, y @ filters / gain)
    return columns.T, variance
