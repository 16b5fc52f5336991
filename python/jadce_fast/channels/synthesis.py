"""Channels of paths: sums of steering vectors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import _check
from ..array import Array
from .paths import Paths

_CHUNK = 32  # channels at a time: an array of their rays takes 120 kB and stays in the second-level cache


def synthesize(
    paths: Paths,
    subcarriers: int,
    antennas: int | Sequence[int],
    spacing: float = 30e3,
    *,
    first_subcarrier: int = 0,
    dtype: npt.DTypeLike = np.complex64,
) -> npt.NDArray[Any]:
    """Channels as sums of steering vectors, Cai VI-A.1 with zenith angles.

    h[n, m] = sum_l sqrt(p_l) e^{j phase_l} e^{-j 2 pi f_n tau_l} e^{j pi m sin(zenith_l) sin(azimuth_l)},
    with f_n = (first_subcarrier + n) spacing. The sign over antennas is that of Cai's b_M^H. Row v of a panel, counted
    upwards, has e^{j pi v cos(zenith_l)} beside it.

    Parameters
    ----------
    paths : Paths
        Of B channels.
    subcarriers : int
        N.
    antennas : int or (int, int)
        M, or rows and columns of a panel, half a wavelength apart; M is their product, columns are counted fastest.
    spacing : float
        Subcarrier spacing in Hz.
    first_subcarrier : int
        Index of the first subcarrier relative to the frequency at which the paths have their phases.
    dtype : dtype
        complex64, or complex128 for twice the time.

    Returns
    -------
    ndarray, shape (B, N, M)
        Channels of mean power one where the powers of paths sum to one (not each: see ``unit_power``).

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range or the dtype is not complex.
    """
    n = _check.integer("subcarriers", subcarriers, 1)
    array = Array.of(antennas)
    if array.polarisations > 1:
        raise ValueError(f"antennas: expected a number or (rows, columns), found {antennas!r}")
    spacing = _check.real("spacing", spacing)
    first = _check.integer("first_subcarrier", first_subcarrier, -(2**31), 2**31)
    out = np.empty((len(paths), n, array.antennas), _complex(dtype))
    for start in range(0, len(paths), _CHUNK):
        stop = min(start + _CHUNK, len(paths))
        over_delay = _delay_steering(paths.delay[start:stop], n, spacing, first, out.dtype)
        over_angle = _cluster_responses(paths, slice(start, stop), array, out.dtype)
        np.matmul(over_delay.transpose(1, 0, 2), over_angle.transpose(1, 2, 0), out=out[start:stop])
    return out


def path_covariance_factor(
    paths: Paths,
    subcarriers: int,
    antennas: int,
    spacing: float = 30e3,
    *,
    first_subcarrier: int = 0,
    dtype: npt.DTypeLike = np.complex64,
) -> npt.NDArray[Any]:
    """Factor F of the covariance F F^H of each channel when only the phases of its paths are random.

    Parameters
    ----------
    paths, subcarriers, antennas, spacing, first_subcarrier, dtype
        As of ``synthesize``.

    Returns
    -------
    ndarray, shape (B, N * M, L)
        Column l is sqrt(p_l) a(tau_l) (x) b(angle_l), rows in the order of ``channel.reshape(-1)``; L counts
        the paths that have power in any of the channels. At N = 48, M = 32 and CDL-C that is 5.9 MB a
        channel.
    """
    n = _check.integer("subcarriers", subcarriers, 1)
    m = _check.integer("antennas", antennas, 1)
    count, clusters, rays = paths.power.shape
    used = paths.power.any(axis=0).reshape(-1)
    spacing = _check.real("spacing", spacing)
    first = _check.integer("first_subcarrier", first_subcarrier, -(2**31), 2**31)
    complex_type = _complex(dtype)
    over_delay = _delay_steering(paths.delay, n, spacing, first, complex_type)
    over_delay = np.repeat(over_delay.transpose(1, 0, 2), rays, axis=-1)[:, :, used]
    gain = np.sqrt(paths.power, dtype=_real(complex_type)).reshape(count, clusters * rays)[:, used]
    step = _unit_phasor(np.pi * np.sin(paths.zenith) * np.sin(paths.azimuth), complex_type)
    over_angle = np.stack(_powers(step.reshape(count, clusters * rays)[:, used], m), axis=1) * gain[:, None]
    factor = over_delay[:, :, None, :] * over_angle[:, None, :, :]
    return np.asarray(factor.reshape(count, n * m, used.sum()), complex_type)


def _delay_steering(
    delay: npt.NDArray[np.float64], subcarriers: int, spacing: float, first: int, dtype: np.dtype[Any]
) -> npt.NDArray[Any]:
    """e^{-j 2 pi f_n tau}, shape (N, B, C)."""
    angle = -2 * np.pi * spacing * delay
    return np.stack(_powers(_unit_phasor(angle, dtype), subcarriers, _unit_phasor(first * angle, dtype)))


def _cluster_responses(paths: Paths, part: slice, array: Array, dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """Sum of the rays of each cluster at each antenna, shape (M, B, C)."""
    # Rays go first, so that summing over them adds whole arrays.
    azimuth, zenith, power, phase = (
        np.ascontiguousarray(v[part].transpose(2, 0, 1), _real(dtype))
        for v in (paths.azimuth, paths.zenith, paths.power, paths.phase)
    )
    ray = _unit_phasor(phase, dtype)
    ray *= np.sqrt(power)
    step = _unit_phasor(_real(dtype).type(np.pi) * np.sin(zenith) * np.sin(azimuth), dtype)
    out = np.empty((array.antennas, *ray.shape[1:]), dtype)
    rise = _unit_phasor(_real(dtype).type(np.pi) * np.cos(zenith), dtype) if array.rows > 1 else None
    for row in range(array.rows):
        across = ray if rise is None else ray.copy()
        for m in range(row * array.columns, (row + 1) * array.columns):
            np.add.reduce(across, axis=0, out=out[m])
            across *= step  # one multiplication an antenna instead of an exponential; the error grows by 1e-7 a step
        if rise is not None:
            ray *= rise
    return out


def _powers(step: npt.NDArray[Any], count: int, first: npt.NDArray[Any] | None = None) -> list[npt.NDArray[Any]]:
    """Return first * step^0 ... first * step^(count - 1)."""
    values = [np.ones_like(step) if first is None else first]
    for _ in range(count - 1):
        values.append(values[-1] * step)
    return values


def _unit_phasor(angle: npt.NDArray[Any], dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """e^{j angle} of `dtype`, faster than the complex exponential."""
    angle = angle.astype(_real(dtype), copy=False)
    out = np.empty(angle.shape, dtype)
    np.cos(angle, out=out.real)
    np.sin(angle, out=out.imag)
    return out


def _complex(dtype: npt.DTypeLike) -> np.dtype[Any]:
    found = np.dtype(dtype)
    if found not in (np.dtype(np.complex64), np.dtype(np.complex128)):
        raise TypeError(f"dtype: expected complex64 or complex128, found {found}")
    return found


def _real(dtype: np.dtype[Any]) -> np.dtype[Any]:
    return np.dtype(np.float32 if dtype == np.complex64 else np.float64)
