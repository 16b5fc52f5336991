"""Inputs that all baselines accept: noisy channels and the noise variance of every beam."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ... import _check


def noisy_channels(y: npt.ArrayLike) -> npt.NDArray[np.complex128]:
    """Return `y`, shape (B, N, M), as complex128 (values that fit complex64) or raise."""
    values = _check.array("y", y, ("B", "N", "M"), np.complex64)
    if values.shape[1] == 0 or values.shape[2] == 0:
        raise ValueError(f"y: expected at least one subcarrier and one antenna, found shape {values.shape}")
    return values.astype(np.complex128)


def beam_variance(noise_var: object, count: int, antennas: int) -> npt.NDArray[np.float64]:
    """Noise variance of every beam, shape (B, M), of a number or an array (M,) or (B, M), or raise."""
    if np.ndim(_check.as_array("noise_var", noise_var)) == 0:
        return np.full((count, antennas), _check.scale("noise_var", noise_var))
    shape: tuple[int, ...] = (antennas,) if np.ndim(noise_var) == 1 else (count, antennas)  # type: ignore[arg-type]
    values = _check.array("noise_var", noise_var, shape, np.float64)
    if not ((values >= 1e-30) & (values <= 1e30)).all():
        raise ValueError(f"noise_var: expected variances in [1e-30, 1e+30], found {values.min():g} to {values.max():g}")
    return np.array(np.broadcast_to(values, (count, antennas)))


def single(channels: npt.NDArray[Any]) -> npt.NDArray[np.complex64]:
    """Return estimates as complex64."""
    return np.ascontiguousarray(channels, np.complex64)
