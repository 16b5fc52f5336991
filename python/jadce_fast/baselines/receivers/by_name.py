"""Receivers of OFDM blocks by name, for campaigns and the command line."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy.typing as npt

from ... import baselines
from ...pilots import Pilots
from ...receiver import Receiver
from .block_receiver import BlockReceiver, Power

_PLANS: dict[str, Callable[..., BlockReceiver | Receiver]] = {
    "bg": lambda p, m, rate, power, option: Receiver(p, m, "gaussian", rate, power),
    "tmp-em": lambda p, m, rate, power, option: baselines.tmp_em(p, m, rate, power, blocks=_number(option)),
    "gmmv-amp": lambda p, m, rate, power, option: baselines.gmmv_amp(p, m),
    "mmv-amp": lambda p, m, rate, power, option: baselines.mmv_amp(p, m, rate, power),
    "lmmse": lambda p, m, rate, power, option: baselines.linear(p, m, rate, power),
    "covariance": lambda p, m, rate, power, prior: baselines.covariance(p, m, rate, power, prior=prior),
    "somp": lambda p, m, rate, power, prior: baselines.somp(p, m, rate, power, prior=prior),
    "printed-stmp": lambda p, m, rate, power, prior: baselines.printed_stmp(p, m, prior, rate),
    "dps": lambda p, m, rate, power, prior: baselines.dps(p, m, prior, rate, power),
    "dps-1000": lambda p, m, rate, power, prior: baselines.dps(p, m, prior, rate, power, steps=1000),
}
_PRIOR = {
    "covariance": None,
    "somp": None,
    "oracle": None,
    "printed-stmp": "cdl",
    "dps": "cdl-tiny",
    "dps-1000": "cdl-tiny",
}  # by default
ORACLE = "oracle"
NAMES = (*_PLANS, ORACLE)


def is_baseline(name: str) -> bool:
    """Whether a name, with its option after a colon if any, is that of a baseline."""
    return name.partition(":")[0] in NAMES


def prior_of(name: str) -> str | None:
    """The prior that a baseline works with, by its option or by default; None without one."""
    head, _, option = name.partition(":")
    return (option or _PRIOR[head]) if head in _PRIOR else None


def plan_baseline(
    name: str,
    pilots: Pilots,
    antennas: int,
    activity_rate: float,
    power: Power,
    *,
    prior: Any = None,
    active: npt.ArrayLike | None = None,
) -> Any:
    """Plan the receiver ``NAME`` or ``NAME:OPTION``.

    Parameters
    ----------
    name : str
        "bg" (BG-TMP, :class:`jadce_fast.Receiver` with the Gaussian prior), "tmp-em:BLOCKS", "gmmv-amp", "mmv-amp",
        "lmmse", and with a prior for option "covariance", "somp", "oracle",
        "printed-stmp", "dps" and "dps-1000" (with 1000 steps).
    pilots : Pilots
    antennas : int
    activity_rate : float
    power : "unknown" or float
    prior : str or object, optional
        In the place of the option.
    active : array_like of int, optional
        Who is active, for the oracle.

    Returns
    -------
    BlockReceiver or Receiver

    Raises
    ------
    ValueError
        If there is no such receiver, its option is none, or the oracle is not told who is active.
    """
    head, _, option = name.partition(":")
    if head not in NAMES:
        raise ValueError(f"receiver: expected {', '.join(NAMES)}, found {name!r}")
    if (option and head not in (*_PRIOR, "tmp-em")) or (prior is not None and head not in _PRIOR):
        raise ValueError(f"receiver: expected {head} without a prior or another option, found {name!r}")
    prior = prior_of(name) if prior is None else prior
    if head == ORACLE:
        if active is None:
            raise ValueError("receiver: expected a block with the truth for the oracle, found none")
        return baselines.oracle(pilots, antennas, active, prior=prior, power=power)
    return _PLANS[head](pilots, antennas, activity_rate, power, prior if head in _PRIOR else option or None)


def _number(option: str | None) -> int | None:
    if option is None:
        return None
    try:
        return int(option)
    except ValueError:
        raise ValueError(f"receiver: expected a number of blocks after tmp-em:, found {option!r}") from None
