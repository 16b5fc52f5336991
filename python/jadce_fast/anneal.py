"""Noise levels and steps of annealed Langevin dynamics, and the step from its samples to posteriors of devices.

Y = X P + Z with P = U S V^H. One step is

    X <- keep X + shift D + (D or X) matrix + force + noise

with D the denoised state X + sigma^2 score(X); `matrix` and the covariance of the noise are diagonal after rotation by
U. docs/langevin.md derives both schedules.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ._namespace import namespace

Array = npt.NDArray[np.floating]
Real = npt.NDArray[np.float64]
Three = tuple[float, float, float]

_LEAST_GAIN = 1e-30
# Single precision needs this share of sigma^2 as noise of a coordinate that the block determines.
_LEAST_NOISE = 1e-5
LAST_LEVEL = 0.9  # variance of the last level over noise_var / s_max^2, where the coupling of noises ends


@dataclass(frozen=True)
class Level:
    """One noise level.

    With u_j, s_j the left singular vectors and values of P, falling, (a, b, c) stands for the matrix
    a I + b sum_(j < known) t_j u_j u_j^H + c sum_(j >= known) s_j^2 u_j u_j^H.

    Attributes
    ----------
    sigma : float
    keep, shift : float
        Parts of X and of D.
    denoised : bool
        Whether `matrix` works on D (True) or on X.
    known : int
        Coordinates that the block determines.
    matrix : tuple of three floats
        t_j = 1.
    covariance : tuple of three floats
        Covariance of the noise, t_j = 1 / s_j^2; zeros for white noise of standard deviation `noise`.
    noise : float
    force : ndarray, shape (K,)
        Weights of the rotated block, coordinate by coordinate.
    """

    sigma: float
    keep: float
    shift: float
    denoised: bool
    known: int
    matrix: Three
    covariance: Three
    noise: float
    force: Real

    def diagonals(self, singular: Array) -> tuple[Real, Real]:
        """`matrix` and `covariance` after rotation by U, each of shape (K,)."""
        s2 = np.asarray(singular, np.float64) ** 2
        known = np.arange(len(s2)) < self.known
        (a, b, c), (d, e, f) = self.matrix, self.covariance
        inverse = 1 / np.where(known, s2, 1.0)
        return a + np.where(known, b, c * s2), d + np.where(known, e * inverse, f * s2)


def noise_levels(first: float, singular: Array, noise_var: float, count: int) -> Real:
    """Geometric levels from `first` down to where the annealing noise is a part of the received noise."""
    last = np.sqrt(LAST_LEVEL * noise_var) / singular.max()
    return np.geomspace(max(first, 2 * last), last, count)


def preconditioned_level(sigma: float, singular: Array, noise_var: float, step: float) -> Level:
    """Level of the preconditioned sampler: X + sigma N with N a part of Z, steps of the inverse curvature.

    Where s sigma exceeds the received noise, y / s plus noise is the state itself and no prior is needed. Elsewhere
    p(Y | X + sigma N) is Gaussian with the variance noise_var - s^2 sigma^2 that N leaves. Inverse curvatures are
    sigma^2 - noise_var / s^2 and sigma^2 (1 - s^2 sigma^2 / noise_var).

    Parameters
    ----------
    sigma : float
    singular : array_like, shape (K,)
        Singular values of P, falling, zeros where there are less than N.
    noise_var : float
    step : float
        In units of the inverse of the largest curvature, in (0, 1].
    """
    s, v = np.asarray(singular, np.float64), sigma**2
    known = s**2 * v > noise_var
    force = step * np.where(known, 1 / np.where(known, s, 1), v / noise_var * s)
    # The exact noise of a linear force: a variance of step (2 - step) keeps that of the stationary state.
    q = step * (2 - step)
    return Level(
        sigma=sigma,
        keep=1 - step,
        shift=0.0,
        denoised=True,
        known=int(known.sum()),
        matrix=(step, -step, -step * v / noise_var),
        covariance=(q * v * (1 + _LEAST_NOISE), -q * noise_var, -q * v * v / noise_var),
        noise=0.0,
        force=force,
    )


def paper_level(sigma: float, singular: Array, noise_var: float, step: float, beta: float) -> Level:
    """Level of Algorithm 1 of Tang et al. with the sign of the likelihood gradient corrected.

    X <- X + step ((Y - X P) P^H / (noise_var + sigma^2) + score) + sqrt(2 beta step) sigma zeta.
    """
    total, pull = noise_var + sigma**2, step / sigma**2
    return Level(
        sigma=sigma,
        keep=0.0,
        shift=pull,
        denoised=False,
        known=0,
        matrix=(1 - pull, 0.0, -step / total),
        covariance=(0.0, 0.0, 0.0),
        noise=float(np.sqrt(2 * beta * step) * sigma),
        force=step * np.asarray(singular, np.float64) / total,
    )


def leave_one_out(y: Any, pilots: Any, noise_var: Any, power: Any) -> tuple[Any, Any]:
    """Every device's column seen in white noise, the others being interference of known power.

    LMMSE estimate with the powers of the other devices as their variances, scaled to be unbiased. Arrays or tensors.

    Parameters
    ----------
    y : complex128, shape (..., M, T)
    pilots : complex128, shape (K, T)
    noise_var : float64, shape (...)
    power : float64, shape (..., K)
        Mean power of an entry of each column of X.

    Returns
    -------
    columns : shape (..., K, M)
    variance : shape (..., K)
        Complex noise variance per entry.
    """
    # The variance comes from the covariance of Y and from the posterior covariance of X. The first loses digits where
    # the device is far above everything else, the second where it is far below.
    xp = namespace(y)
    adjoint, v = pilots.conj().T, xp.asarray(noise_var)[..., None, None]
    covariance = adjoint @ (power[..., None] * pilots) + v * xp.diag(xp.ones_like(pilots[0]))
    filters = xp.linalg.solve(covariance, xp.broadcast_to(adjoint, (*power.shape[:-1], *adjoint.shape)))
    gain = xp.einsum("kt,...tk->...k", pilots, filters).real  # 1 / (power + variance)
    gain = xp.clip(gain, _LEAST_GAIN, None)  # a device that sends nothing is seen in infinite noise
    amplitude = xp.sqrt(power)
    across = amplitude[..., None, :]
    scaled = xp.diag(xp.ones_like(pilots[:, 0])) + amplitude[..., None] * (pilots @ adjoint / v) * across
    inverse = xp.linalg.inv(scaled)
    share = xp.diagonal(inverse, 0, -2, -1).real  # variance / (power + variance)
    posterior = (y @ adjoint / v * across) @ inverse * across

    strong = share < 0.5
    rest = xp.where(strong, 1 - share, 0.5)
    variance = xp.where(strong, power * share / rest, 1 / gain - xp.where(strong, 0.0, power))
    columns = xp.where(strong[..., None, :], posterior / rest[..., None, :], y @ filters / gain[..., None, :])
    return columns.swapaxes(-1, -2), variance
