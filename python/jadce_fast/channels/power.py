"""Received powers: path loss of Cai VI-A.1, and a uniform spread in decibels."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from .. import _check
from .paths import generator


def path_gain_db(distance: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Path gain -128.1 - 36.7 log10(d / km) in dB at distances in metres, Cai VI-A.1.

    Raises
    ------
    ValueError
        If a distance is not positive.
    """
    metres = np.asarray(distance, np.float64)
    if not (np.isfinite(metres).all() and (metres > 0).all()):
        raise ValueError("distance: expected positive finite numbers, found others")
    gain: npt.NDArray[np.float64] = -128.1 - 36.7 * np.log10(metres / 1e3)
    return gain


def path_loss_gains(
    count: int,
    distance: tuple[float, float] = (35.0, 200.0),
    *,
    relative: bool = True,
    seed: int | np.random.Generator = 0,
) -> npt.NDArray[np.float64]:
    """Power gains of devices at uniform distances from the base station.

    Parameters
    ----------
    count : int
        Number of devices.
    distance : (float, float)
        Nearest and farthest, in metres; Cai VI-A.1 has 35 to 200 m, 28 dB apart.
    relative : bool
        Divide by the expected gain, so that gains average to one over many draws and an SNR stays a mean SNR.
        Otherwise the gains are absolute, around 1e-10.
    seed : int or numpy.random.Generator

    Returns
    -------
    ndarray of float64, shape (count,)
        Linear power gains; multiply channels by their square root.
    """
    count = _check.integer("count", count, 0)
    near, far = (_check.real("distance", d) for d in distance)
    if near > far:
        raise ValueError(f"distance: expected near <= far, found ({near:g}, {far:g})")
    gains: npt.NDArray[np.float64] = 10 ** (path_gain_db(generator(seed).uniform(near, far, count)) / 10)
    if not relative:
        return gains
    # The mean over d of c d^-3.67 with d in [near, far].
    slope = 1 - 3.67
    shape = near ** (slope - 1) if near == far else (far**slope - near**slope) / (slope * (far - near))
    gains /= 10 ** (float(path_gain_db(1.0)) / 10) * shape
    return gains


def spread_gains(
    count: int, spread_db: float = 20.0, *, seed: int | np.random.Generator = 0
) -> npt.NDArray[np.float64]:
    """Power gains uniform in dB over a range of `spread_db`, with an expected gain of one.

    Parameters
    ----------
    count : int
        Number of devices.
    spread_db : float
        Between the weakest and the strongest. At 20 dB the gains reach from -13.3 dB to 6.7 dB.
    seed : int or numpy.random.Generator

    Returns
    -------
    ndarray of float64, shape (count,)
        Linear power gains; multiply channels by their square root.
    """
    count = _check.integer("count", count, 0)
    span = _check.real("spread_db", spread_db, 0, 300, closed=True) * np.log(10) / 10
    gains: npt.NDArray[np.float64] = np.exp(span * generator(seed).random(count))
    if span > 0:
        gains /= np.expm1(span) / span
    return gains
