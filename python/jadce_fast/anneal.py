"""Noise levels and steps of annealed Langevin dynamics, and the step from its samples to posteriors of devices.

Y = X P + Z with P = U S V^H. One step is

    X <- keep X + shift D + (D or X) matrix + force + noise

with D the denoised state X + sigma^2 score(X); `matrix` and the covariance of the noise are diagonal after rotation by
U. docs/langevin.md derives both schedules.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.floating]
Complex = npt.NDArray[np.complex128]
Real = npt.NDArray[np.float64]
Three = tuple[float, float, float]

_LEAST_GAIN = 1e-30
_LEAST_NOISE = 1e-5  # of sigma^2: what single precision needs for a coordinate that the block determines
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
        Of the noise, t_j = 1 / s_j^2; zeros for white noise of standard deviation `noise`.
    noise : float
    force : ndarray, shape (N,)
        Of the rotated block, coordinate by coordinate.
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
        """`matrix` and `covariance` after rotation by U, each of shape (N,)."""
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
    singular : array_like, shape (N,)
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


def coefficients(levels: Sequence[Level]) -> npt.NDArray[np.float32]:
    """What the native sampler wants to know of levels, shape (levels, 11)."""
    rows = [(x.keep, x.shift, x.noise, x.denoised, x.known, *x.matrix, *x.covariance) for x in levels]
    return np.array(rows, np.float32)


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


def leave_one_out_tensors(y: Any, pilots: Any, noise_var: Any, power: Any) -> tuple[Any, Any]:
    """:func:`leave_one_out` of many blocks as tensors of one device, without waiting for it.

    Parameters
    ----------
    y : Tensor of complex128, shape (B, M, L)
    pilots : Tensor of complex128, shape (N, L)
    noise_var : Tensor of float64, shape (B,)
    power : Tensor of float64, shape (B, N)

    Returns
    -------
    columns : Tensor, shape (B, N, M)
    variance : Tensor, shape (B, N)
    """
    import torch

    def identity(size: int) -> Any:
        return torch.eye(size, dtype=torch.complex128, device=y.device)

    adjoint, v = pilots.mH, noise_var[:, None, None]
    covariance = adjoint @ (power[..., None] * pilots) + v * identity(pilots.shape[1])
    filters = torch.linalg.solve_ex(covariance, adjoint.expand(len(y), -1, -1))[0]
    gain = torch.einsum("nl,bln->bn", pilots, filters).real.clamp(min=_LEAST_GAIN)
    amplitude = torch.sqrt(power)
    scaled = identity(len(pilots)) + amplitude[..., None] * (pilots @ adjoint / v) * amplitude[:, None]
    inverse = torch.linalg.inv_ex(scaled)[0]
    share = torch.diagonal(inverse, dim1=1, dim2=2).real
    posterior = (y @ adjoint / v * amplitude[:, None]) @ inverse * amplitude[:, None]

    strong = share < 0.5
    rest = torch.where(strong, 1 - share, 0.5)
    variance = torch.where(strong, power * share / rest, 1 / gain - torch.where(strong, 0.0, power))
    columns = torch.where(strong[:, None], posterior / rest[:, None], y @ filters / gain[:, None])
    return columns.transpose(1, 2), variance
