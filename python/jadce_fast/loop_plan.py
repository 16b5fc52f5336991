"""What the native loop of a receiver is planned with, the same on a CPU and on a GPU."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt

from . import _core, ops
from .pilots import Pilots
from .rules import Rules
from .transform import unit_power


@dataclasses.dataclass(frozen=True)
class LoopPlan:
    """Transform, tables and constants of a loop.

    Attributes
    ----------
    transform : ops.Transform
        Of pilots of unit power: inside, the channel of device k is seen times the gain g_k.
    gain : ndarray, shape (K,)
        These gains.
    tables : dict
        Of the test of activity.
    loop : dict
        Constants, and what is known before a block arrives.
    """

    transform: ops.Transform
    gain: npt.NDArray[np.float64]
    tables: dict[str, Any]
    loop: dict[str, Any]


def plan_loop(
    pilots: Pilots,
    antennas: int,
    prior: Any,
    *,
    threads: int | None,
    rules: Rules,
    rate: float,
    learn_rate: bool,
    power: float | None,
    capacity: int,
) -> LoopPlan:
    """Plan a loop of pilots that sound all subcarriers, and of one prior; `power` is None where it is not known."""
    unit, gain = unit_power(pilots)
    beams = (np.ascontiguousarray(a, np.float32) for a in (prior.eigenvalues, prior.beam_gain, prior.beam_weight))
    mixture = dict(zip(("eigenvalue", "gain", "weight"), beams, strict=True))
    merge = _core.merged(mixture["eigenvalue"])
    transform = ops.Transform(unit, antennas, prior.basis, threads=threads, merge=merge, beamspace=prior.beamspace)
    tables = _core.receiver_tables(amplitude=gain, antennas=antennas, known_power=power is not None, **mixture)
    # Exact posteriors need no caution, and predicted variances allow none.
    exact = prior.closed_form or getattr(prior, "exact", False) or rules.variance == "paper"
    own = rules.of_antennas(antennas, prior)
    loop: dict[str, Any] = {
        "rules": dataclasses.replace(own, caution=1.0) if exact else own,
        "learn_rate": learn_rate,
        "capacity": capacity,
    } | _core.assumed(rate=rate, power=power or 0.0, amplitude=gain)
    return LoopPlan(transform, gain, tables, loop)
