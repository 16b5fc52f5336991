"""LMMSE estimation of channels of a known set of devices."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ...pilots import Pilots
from .block_receiver import Complex

Real = npt.NDArray[np.float64]
_ROUNDING = 1e-12  # least noise over the energy of a device, below which matrices are singular


def lmmse_on_support(
    pilots: Pilots,
    y: Complex,
    active: npt.NDArray[np.int64],
    noise: float,
    power: Real,
    statistics: tuple[Complex, Real],
) -> tuple[Complex, Real]:
    """LMMSE estimate of the channels of some devices, all others silent, and its exact error variance.

    A channel is V s with independent CN(0, power l_p) coefficients over the antennas.

    Parameters
    ----------
    pilots : Pilots
    y : ndarray, shape (T, N, M)
    active : ndarray of int64, shape (A,)
    noise : float
    power : ndarray, shape (A,)
        Mean power of each device.
    statistics : (ndarray, shape (N, P), ndarray, shape (P,))
        Orthonormal basis V over subcarriers, and the mean powers l_p of its coefficients for a unit-power channel.

    Returns
    -------
    mean : ndarray of complex64, shape (A, N, M)
    variance : ndarray of float64, shape (A,)
        Error variance of an entry, averaged over subcarriers.
    """
    basis, eigenvalues = statistics
    noise = max(noise, _ROUNDING * float(np.max(power, initial=0.0)) * pilots.power * pilots.symbols)
    q = pilots.select(active).astype(np.complex128)  # (T, N, A)
    (symbols, subcarriers, count), antennas = q.shape, y.shape[2]
    if np.array_equal(basis, np.eye(subcarriers)):
        return _independent(q, y, noise, power[:, None] * eigenvalues)
    scale = np.sqrt(np.outer(power, eigenvalues))  # (A, P)
    atoms = np.einsum("tna,np,ap->tnap", q, basis, scale, optimize=True).reshape(symbols * subcarriers, -1)
    block = y.reshape(symbols * subcarriers, antennas).astype(np.complex128)
    if atoms.shape[1] <= atoms.shape[0]:
        inverse = np.linalg.inv(atoms.conj().T @ atoms + noise * np.eye(atoms.shape[1]))
        s = inverse @ (atoms.conj().T @ block)
        error = noise * np.real(np.diagonal(inverse))
    else:
        inverse = np.linalg.inv(atoms @ atoms.conj().T + noise * np.eye(atoms.shape[0]))
        s = atoms.conj().T @ (inverse @ block)
        error = 1 - np.real(np.sum(atoms.conj() * (inverse @ atoms), axis=0))
    s = s.reshape(count, len(eigenvalues), antennas) * scale[:, :, None]
    # What the basis leaves out of a unit-power channel is an error, too.
    left_out = power * max(1 - float(np.sum(eigenvalues)) / subcarriers, 0.0)
    variance = (scale**2 * error.reshape(count, len(eigenvalues))).sum(1) / subcarriers + left_out
    return np.einsum("np,apm->anm", basis, s, optimize=True).astype(np.complex64), variance


def _independent(q: npt.NDArray[np.complex128], y: Complex, noise: float, power: Real) -> tuple[Complex, Real]:
    """The same where subcarriers are independent, of powers (A, N): one small problem each."""
    pilots, g = q.transpose(1, 0, 2), power.T[:, None, :]  # (N, T, A), (N, 1, A)
    weighted = g * pilots
    covariance = weighted @ pilots.conj().transpose(0, 2, 1) + noise * np.eye(pilots.shape[1])
    inverse = np.linalg.inv(covariance)
    mean = weighted.conj().transpose(0, 2, 1) @ (inverse @ y.transpose(1, 0, 2))
    gain = np.real(np.sum(pilots.conj() * (inverse @ pilots), axis=1)).T  # (A, N)
    return mean.transpose(1, 0, 2).astype(np.complex64), (power - power**2 * gain).mean(1)


def frequency_statistics(prior: object, subcarriers: int) -> tuple[Complex, Real]:
    """Basis and mean powers over subcarriers that a prior knows; independent subcarriers without one."""
    if prior is None:
        return np.eye(subcarriers, dtype=np.complex64), np.ones(subcarriers)
    from ...priors.files import resolve_prior
    from ...priors.protocol import check_prior

    known = check_prior(resolve_prior(prior, subcarriers) if isinstance(prior, str) else prior, subcarriers)
    return known.basis, np.asarray(known.eigenvalues, np.float64)
