"""Constants of the turbo receiver's loop, in one place for the receiver, the reference, scripts and benchmarks."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any, Literal

import numpy as np

from . import _check, _core


def _default(name: str) -> float:
    """The library's value of a constant, csrc/loop/rules.hpp, with the digits that it has there."""
    return float(str(np.float32(getattr(_core.Rules(), name))))


@dataclass(frozen=True)
class Rules:
    """Constants of the loop; docs/design.md has the measurements that they come from.

    Attributes
    ----------
    max_iterations : int
        Iterations after which the loop ends in any case.
    variance : {"residual", "paper"}
        Module A's variance: measured from the residual, or predicted by the messages, Cai (41) and (58).
    screening : bool
        Send only plausible devices through the denoiser (True) or all of them (False, for checks).
    threshold : float
        Posterior probability above which a device is plausible.
    damp_from : int
        First iteration, counted from 0, whose messages are damped.
    damping : float
        gamma of Cai (57).
    settled : float
        Fall of the error variance from one iteration to the next up to which an activity that has settled is tested
        again, and above which one that one test left certain is.
    certain : float
        Probability that every candidate needs for that.
    stalled : float
        Fall of the error variance above which the loop ends.
    handover : float
        The same of a network of a cascade, after which the next one takes over; after the last one the loop ends.
    near_best : float
        Error over the least one up to which a loop that stalls has reached a fixed point.
    caution : float
        Extrinsic ratio in units of what a learned denoiser's variance says; exact denoisers and predicted variances
        take one.
    active : float
        Posterior probability from which a device is declared active.
    idle : float
        Log odds below which a device serves as noise reference.
    enough_idle : int
        So many of them, or fewer, are not believed.
    decodable, weakest : float
        Least power that is looked for: in units of the error variance, or of the active devices' mean power if the
        block proves that there are some.
    reach, farthest : float
        It may be as low as so many standard deviations of the found powers' logarithms below their mean, but no less
        than this part of the active devices' mean power.
    faint : float
        Log odds of a device that was found, but barely: there are weaker ones.
    unseen : float
        Active devices that may be too weak to be seen, for every one that was barely found.
    invisible : float
        Weight with which any device may be one of them, in units of that of a device of even odds.
    evidence : float
        Power above the noise that proves it, in standard deviations.
    least_left, most_left : float
        Range of what remains of a block that is explained, over the noise, before estimates took some of it.
    most_errors, error_share : float
        Sum of the estimates' variances up to which they widen that range: over the noise, or over the devices' power
        if that is more.
    left_out : float
        Part of the devices' power that may lie outside the prior's basis.
    smallest_variance, rounding : float
        Least error variance of module A's prior mean, in units of the noise variance and of the received power.
    smallest_power : float
        Least power of a device, in units of the error variance.
    smallest_mean_power : float
        Least mean power of active devices, in units of the noise variance over the number of symbols.
    smallest_null : float
        Least energy of an idle device, in units of the error variance.
    smallest_alpha, largest_alpha : float
        Bounds of the extrinsic ratio.
    negligible : float
        Energy of a device's part of the state that is dropped, in units of the error variance.

    Raises
    ------
    TypeError, ValueError
        If a constant is out of range.
    """

    max_iterations: int = int(_default("max_iterations"))
    variance: Literal["residual", "paper"] = "residual"
    screening: bool = True
    threshold: float = _default("threshold")
    damp_from: int = int(_default("damp_from"))
    damping: float = _default("damping")
    settled: float = _default("settled")
    certain: float = _default("certain")
    stalled: float = _default("stalled")
    handover: float = _default("handover")
    near_best: float = _default("near_best")
    caution: float = _default("caution")
    active: float = _default("active")
    idle: float = _default("idle")
    enough_idle: int = int(_default("enough_idle"))
    decodable: float = _default("decodable")
    weakest: float = _default("weakest")
    reach: float = _default("reach")
    farthest: float = _default("farthest")
    faint: float = _default("faint")
    unseen: float = _default("unseen")
    invisible: float = _default("invisible")
    evidence: float = _default("evidence")
    least_left: float = _default("least_left")
    most_left: float = _default("most_left")
    most_errors: float = _default("most_errors")
    error_share: float = _default("error_share")
    left_out: float = _default("left_out")
    smallest_variance: float = _default("smallest_variance")
    rounding: float = _default("rounding")
    smallest_power: float = _default("smallest_power")
    smallest_mean_power: float = _default("smallest_mean_power")
    smallest_null: float = _default("smallest_null")
    smallest_alpha: float = _default("smallest_alpha")
    largest_alpha: float = _default("largest_alpha")
    negligible: float = _default("negligible")

    def __post_init__(self) -> None:
        if self.variance not in ("residual", "paper"):
            raise ValueError(f"variance: expected 'residual' or 'paper', found {self.variance!r}")
        if not isinstance(self.screening, (bool, np.bool_)):
            raise TypeError(f"screening: expected True or False, found {self.screening!r}")
        _check.integer("max_iterations", self.max_iterations, 1, 2**31 - 1)
        for name in ("damp_from", "enough_idle"):
            _check.integer(name, getattr(self, name), 0, 2**31 - 1)
        for name in ("threshold", "damping", "certain", "active", "largest_alpha"):
            _check.real(name, getattr(self, name), 0.0, 1.0, closed=True)
        _check.real("idle", self.idle, -1e6, 1e6, closed=True)
        for name in ("settled", "stalled", "handover", "near_best", "caution", "smallest_variance", "rounding"):
            _check.real(name, getattr(self, name), 0.0, 1e6)
        for name in ("decodable", "weakest", "reach", "farthest", "faint", "unseen", "invisible", "evidence"):
            _check.real(name, getattr(self, name), 0.0, 1e6, closed=True)
        for name in ("least_left", "most_left", "most_errors", "error_share", "left_out"):
            _check.real(name, getattr(self, name), 0.0, 1e6, closed=True)
        for name in ("smallest_power", "smallest_mean_power", "smallest_null", "smallest_alpha", "negligible"):
            _check.real(name, getattr(self, name), 0.0, 1e6)

    def native(self, module: Any = _core) -> Any:
        """The same as a struct of a native module."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return module.Rules(
            predicted=int(values.pop("variance") == "paper"), screening=int(values.pop("screening")), **values
        )

    def of_antennas(self, antennas: int, prior: Any) -> Rules:
        """The same for fewer antennas than 32, over which energy tells only stronger devices from noise.

        `decodable` and `smallest_mean_power` rise by one factor (csrc/receiver/plan.hpp, rules_of).
        """
        parts = (prior.eigenvalues, prior.beam_gain, prior.beam_weight)
        eigenvalue, gain, weight = (np.ascontiguousarray(part, np.float32) for part in parts)
        floors: dict[str, Any] = _core.floors(
            rules=self.native(), antennas=antennas, eigenvalue=eigenvalue, gain=gain, weight=weight
        )
        return self if floors["decodable"] == np.float32(self.decodable) else replace(self, **floors)
