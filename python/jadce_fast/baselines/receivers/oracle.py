"""LMMSE with the active devices known."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ... import _check
from ...pilots import Pilots
from .block_receiver import BlockReceiver, Complex, Found, Power, check_plan, check_power, mean_power, plans_anew
from .support import frequency_statistics, lmmse_on_support


@plans_anew
def oracle(
    pilots: Pilots | npt.ArrayLike, antennas: int, active: npt.ArrayLike, *, prior: Any = None, power: Power = "unknown"
) -> BlockReceiver:
    """Plan the LMMSE receiver that is told which devices are active: a bound of what knows no more of channels.

    Parameters
    ----------
    pilots : Pilots or array_like of complex, shape (T, N, K)
    antennas : int
        M.
    active : array_like of int, shape (A,)
        The active devices.
    prior : str or object, optional
        Prior whose Karhunen-Loeve basis and eigenvalues over subcarriers are used; by default subcarriers are
        independent.
    power : "unknown" or float
        Mean received power of an active device, by default that of the block above the noise.

    Returns
    -------
    BlockReceiver

    Raises
    ------
    ValueError, TypeError
        If an argument is out of range.
    """
    planned, m, _ = check_plan(pilots, antennas)
    level, statistics = check_power(power), frequency_statistics(prior, planned.subcarriers)
    devices = np.sort(_check.array("active", np.asarray(active, np.int64), ("A",), np.int64))
    if devices.size and (devices[0] < 0 or devices[-1] >= planned.devices or not np.diff(devices).all()):
        raise ValueError(f"active: expected distinct devices of 0 to {planned.devices - 1}, found {devices}")

    def search(y: Complex, noise: float) -> Found:
        g = mean_power(y, noise, planned, max(len(devices), 1) / planned.devices, level)
        powers = np.full(len(devices), g)
        channels, variance = lmmse_on_support(planned, y, devices, noise, powers, statistics)
        activity = np.zeros(planned.devices)
        activity[devices] = 1
        return Found(activity, channels, variance, 1, "fixed point", freedom=statistics[0].shape[1])

    return BlockReceiver(planned, m, search)
