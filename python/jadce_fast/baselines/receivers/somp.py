"""Simultaneous orthogonal matching pursuit over antennas and subcarriers.

Tropp, Gilbert, Strauss, "Algorithms for simultaneous sparse approximation, Part I", Signal Processing, 2006; with
pilots that differ from subcarrier to subcarrier it is the distributed form, DCS-SOMP.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from ... import ops
from ...detection import Reason
from ...pilots import Pilots
from .block_receiver import BlockReceiver, Complex, Found, Power, check_plan, check_power, mean_power, plans_anew
from .support import frequency_statistics, lmmse_on_support

_DEVIATIONS = 3.0  # of the noise's energy that may remain, in standard deviations


@plans_anew
def somp(
    pilots: Pilots | npt.ArrayLike,
    antennas: int,
    activity_rate: float = 0.05,
    power: Power = "unknown",
    *,
    prior: Any = None,
) -> BlockReceiver:
    """Plan SOMP: the device that explains most of the residual, least squares over all chosen, until noise is left.

    The channels of the chosen devices are estimated by LMMSE at the end.

    Parameters
    ----------
    pilots : Pilots or array_like of complex, shape (T, N, K)
    antennas : int
        M.
    activity_rate : float
        Serves only the mean power.
    power : "unknown" or float
        Mean received power of an active device.
    prior : str or object, optional
        Prior whose Karhunen-Loeve basis over subcarriers spans a device's atoms; by default every subcarrier is one,
        and no more than T devices can be told apart.

    Returns
    -------
    BlockReceiver

    Raises
    ------
    ValueError, TypeError
        If an argument is out of range.
    """
    planned, m, rate = check_plan(pilots, antennas, activity_rate)
    level, statistics = check_power(power), frequency_statistics(prior, planned.subcarriers)
    basis = statistics[0]
    plan = ops.Transform(planned, m, basis, beamspace=False)
    symbols, subcarriers, width = planned.symbols, planned.subcarriers, basis.shape[1]
    most = min((symbols * subcarriers - 1) // width, planned.devices)

    def search(y: Complex, noise: float) -> Found:
        r: Complex = y.reshape(symbols * subcarriers, m)
        taken = np.zeros((symbols * subcarriers, 0), np.complex64)
        chosen: list[int] = []
        stopped: Reason = "iterations"
        while len(chosen) < most:
            left = m * (symbols * subcarriers - taken.shape[1])
            if np.sum(np.abs(r) ** 2, dtype=np.float64) <= noise * (left + _DEVIATIONS * math.sqrt(left)):
                stopped = "fixed point"
                break
            energy = ops.energies(plan, _rotated(plan, r.reshape(y.shape))).sum((1, 2))
            energy[chosen] = -1
            best = int(np.argmax(energy))
            chosen.append(best)
            atoms = (planned.select([best]) * basis).reshape(symbols * subcarriers, width)
            for _ in range(2):  # twice is enough for orthogonality to rounding
                atoms = atoms - taken @ (taken.conj().T @ atoms)
            fresh, triangle = np.linalg.qr(atoms)
            fresh = fresh[:, np.abs(np.diagonal(triangle)) > 1e-5 * math.sqrt(symbols * planned.power)]
            taken = np.hstack([taken, fresh.astype(np.complex64)])
            r = (r - fresh @ (fresh.conj().T @ r)).astype(np.complex64)
        active = np.array(sorted(chosen), np.int64)
        g = np.full(len(active), mean_power(y, noise, planned, rate, level))
        channels, variance = lmmse_on_support(planned, y, active, noise, g, statistics)
        activity = np.zeros(planned.devices)
        activity[active] = 1
        return Found(activity, channels, variance, len(chosen), stopped, freedom=width)

    return BlockReceiver(planned, m, search)


def _rotated(plan: ops.Transform, r: Complex) -> Complex:
    """Measurements as the transform takes them (`ops.matched_filter`)."""
    if plan.rotation is None:
        return np.ascontiguousarray(r)
    return np.ascontiguousarray((plan.rotation @ r.transpose(1, 0, 2)).transpose(1, 0, 2))
