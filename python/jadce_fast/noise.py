"""Noise of a received block: one variance, or what is known of antennas and subcarriers."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from . import _check

_SPREAD = 1e8  # largest eigenvalue of a covariance over the least: single precision inverts no more


def noise_covariance(noise_var: Any, subcarriers: int, antennas: int) -> float | npt.NDArray[np.complex128]:
    """Check what is said of the noise: one variance if it is white, else covariances over antennas.

    Parameters
    ----------
    noise_var : float or array_like
        Complex noise variance per received entry: of all of them, per antenna (M,), per subcarrier (N,), per subcarrier
        and antenna (N, M), or with 1 in place of one of the two; or a covariance over antennas, (M, M), or one for
        every subcarrier, (N, M, M).
    subcarriers, antennas : int
        N and M.

    Returns
    -------
    float or ndarray, shape (1 or N, M, M)

    Raises
    ------
    TypeError, ValueError
        If the shape is none of these, or two of them, or a variance or a covariance is not positive.
    """
    if isinstance(noise_var, float) or getattr(noise_var, "ndim", None) == 0:  # also on a GPU
        return _check.scale("noise_var", noise_var)
    n, m = subcarriers, antennas
    found = _check.as_array("noise_var", noise_var)
    if found.ndim == 0:
        return _check.scale("noise_var", noise_var)
    shape = found.shape
    if n == m > 1 and (shape == (n,) or (shape == (n, n) and found.dtype.kind != "c")):
        other = f"(1, {m}) or ({n}, 1)" if len(shape) == 1 else f"({n}, {m}, 1), or ({n}, {m}, {m}), or a complex one"
        raise ValueError(f"noise_var: expected shape {other} where N = M, found {shape}")
    per_entry = {(m,): (1, m), (n,): (n, 1), (1, m): (1, m), (n, 1): (n, 1), (n, m): (n, m), (n, m, 1): (n, m)}
    is_matrix = shape in ((m, m), (n, m, m)) and (found.dtype.kind == "c" or shape not in per_entry)
    if shape in per_entry and not is_matrix:
        values = _check.array("noise_var", found, shape, np.float64).reshape(per_entry[shape])
        if not (values.min() >= 1e-30 and values.max() <= 1e30):
            raise ValueError(
                f"noise_var: expected variances in [1e-30, 1e30], found {values.min():g} … {values.max():g}"
            )
        if np.ptp(values) == 0:
            return float(values.flat[0])
        covariance: npt.NDArray[Any] = (values * np.ones(m))[:, :, None] * np.eye(m, dtype=np.complex128)
    elif is_matrix:
        covariance = _check.array("noise_var", found, shape, np.complex128).reshape(-1, m, m)
        if not np.allclose(covariance, np.conj(np.swapaxes(covariance, 1, 2)), atol=1e-6 * np.abs(covariance).max()):
            raise ValueError("noise_var: expected a Hermitian covariance, found another matrix")
    else:
        raise ValueError(
            f"noise_var: expected a number, or shape ({m},), ({n},), ({n}, {m}), ({m}, {m}) or ({n}, {m}, {m}), "
            f"found {shape}"
        )
    eigenvalues = np.linalg.eigvalsh(covariance)
    if not eigenvalues.min() > eigenvalues.max() / _SPREAD:
        raise ValueError(
            f"noise_var: expected variances within a factor of {_SPREAD:g}, found {eigenvalues.min():g} … "
            f"{eigenvalues.max():g}"
        )
    return covariance


def over_beams(
    covariance: npt.NDArray[np.complex128], gram: npt.NDArray[np.float32], *, beamspace: bool
) -> tuple[float, dict[str, npt.NDArray[Any]]]:
    """Noise as loops take it.

    Parameters
    ----------
    covariance : ndarray, shape (1 or N, M, M)
        Over antennas.
    gram : ndarray, shape (N, T)
        Eigenvalues of Q Q^H.
    beamspace : bool
        Whether the loop works on beams.

    Returns
    -------
    noise_var : float
        Variance of white noise that hides signals as much, harmonic mean of the variances.
    tables : dict of ndarray
        In units of it, over beams: "covariance" and its "inverse" (1 or N, M, M), and what module A's variances need,
        "unmix" (M, M) and "level" (M,).
    """
    if beamspace:
        across = np.fft.fft(covariance, axis=1, norm="ortho")
        covariance = np.fft.ifft(across, axis=2, norm="ortho")  # F C F^H
    inverse = np.linalg.inv(covariance)
    level = np.mean(np.diagonal(inverse, axis1=1, axis2=2).real, axis=0)
    noise_var = 1 / float(level.mean())
    inverse *= noise_var
    share = gram.mean(1, dtype=np.float64) / gram.mean(dtype=np.float64)  # of subcarriers in the residual's excess
    mixing = np.mean(share[:, None, None] * np.abs(inverse) ** 2, axis=0)
    return noise_var, {
        "covariance": (covariance / noise_var).astype(np.complex64),
        "inverse": inverse.astype(np.complex64),
        "unmix": np.linalg.inv(mixing).astype(np.float32),
        "level": (level * noise_var).astype(np.float32),
    }


def one_variance(noise: Any, where: str) -> float:
    """The noise, as `noise_covariance` returns it, where it has to be one variance."""
    if not isinstance(noise, float):
        raise ValueError(f"noise_var: expected one variance {where}, found several or a covariance")
    return noise
