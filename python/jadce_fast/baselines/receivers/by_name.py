"""Receivers of OFDM blocks by name, for campaigns and the command line."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy.typing as npt

from ... import baselines
from ...pilots import Pilots
from ...receiver import Receiver
from ...rules import Rules
from .block_receiver import BlockReceiver, Power
from .dps import dps

# Of pilots, antennas, rate, power, the option or prior, and a number of iterations as keyword if one is wanted.
_PLANS: dict[str, Callable[..., BlockReceiver | Receiver]] = {
    "bg": lambda p, m, rate, power, option, **own: Receiver(p, m, "gaussian", rate, power, rules=_rules(**own)),
    "tmp-em": lambda p, m, rate, power, option, **own: baselines.tmp_em(
        p, m, rate, power, blocks=_number(option), **own
    ),
    "gmmv-amp": lambda p, m, rate, power, option, **own: baselines.gmmv_amp(p, m, **own),
    "mmv-amp": lambda p, m, rate, power, option, **own: baselines.mmv_amp(p, m, rate, power, **own),
    "lmmse": lambda p, m, rate, power, option: baselines.linear(p, m, rate, power),
    "covariance": lambda p, m, rate, power, prior, **own: baselines.covariance(p, m, rate, power, prior=prior, **own),
    "somp": lambda p, m, rate, power, prior: baselines.somp(p, m, rate, power, prior=prior),
    "printed-stmp": lambda p, m, rate, power, prior, **own: baselines.printed_stmp(p, m, prior, rate, **own),
    "dps": lambda p, m, rate, power, prior: dps(p, m, prior, rate, power),
    "dps-1000": lambda p, m, rate, power, prior: dps(p, m, prior, rate, power, steps=1000),
}
_AT_ONCE = ("lmmse", "somp", "dps", "dps-1000", "oracle")  # no number of iterations can be set
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
    iterations: int | None = None,
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
    iterations : int, optional
        Most iterations; by default the receiver's own.

    Returns
    -------
    BlockReceiver or Receiver

    Raises
    ------
    ValueError
        If there is no such receiver, its option is none, the oracle is not told who is active, or a receiver without
        iterations is given a number of them.
    """
    head, _, option = name.partition(":")
    if head not in NAMES:
        raise ValueError(f"receiver: expected {', '.join(NAMES)}, found {name!r}")
    if (option and head not in (*_PRIOR, "tmp-em")) or (prior is not None and head not in _PRIOR):
        raise ValueError(f"receiver: expected {head} without a prior or another option, found {name!r}")
    prior = prior_of(name) if prior is None else prior
    if iterations is not None and head in _AT_ONCE:
        raise ValueError(f"iterations: expected none for {head}, found {iterations}")
    if head == ORACLE:
        if active is None:
            raise ValueError("receiver: expected a block with the truth for the oracle, found none")
        return baselines.oracle(pilots, antennas, active, prior=prior, power=power)
    own = {} if iterations is None else {"iterations": iterations}
    return _PLANS[head](pilots, antennas, activity_rate, power, prior if head in _PRIOR else option or None, **own)


def _rules(iterations: int | None = None) -> Rules | None:
    return None if iterations is None else Rules(max_iterations=iterations)


def _number(option: str | None) -> int | None:
    if option is None:
        return None
    try:
        return int(option)
    except ValueError:
        raise ValueError(f"receiver: expected a number of blocks after tmp-em:, found {option!r}") from None
