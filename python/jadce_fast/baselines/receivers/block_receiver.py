"""What all baseline receivers of OFDM blocks share: checks of the input, and a `Detection` of what was found."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Literal, ParamSpec

import numpy as np
import numpy.typing as npt

from ... import _check, _core
from ...detection import Detection, Explained, Reason, reason
from ...pilots import Pilots
from ...rules import Rules
from .blas import one_thread

Complex = npt.NDArray[np.complex64]
Real = npt.NDArray[np.float32]
Power = float | Literal["unknown"]
P = ParamSpec("P")


@dataclass(frozen=True)
class Found:
    """What an algorithm makes of a block.

    Attributes
    ----------
    activity : ndarray of float, shape (K,)
        Probability that each device is active; from one half on it is declared so.
    channels : ndarray of complex64, shape (A, N, M)
        Of the devices declared active, ascending.
    variance : ndarray of float, shape (A,)
        Error variance of an entry of each.
    iterations : int
    stopped : {"fixed point", "iterations", "diverged"}
    freedom : float
        Complex degrees of freedom per antenna of a device's estimate; N if subcarriers are independent.
    history : list of dict
        As in `Detection`.
    """

    activity: npt.NDArray[np.floating]
    channels: Complex
    variance: npt.NDArray[np.floating]
    iterations: int
    stopped: Reason
    freedom: float
    history: list[dict[str, float]] = field(default_factory=list)


class BlockReceiver:
    """A baseline, planned for pilots and antennas, with the interface of :class:`jadce_fast.Receiver`.

    Attributes
    ----------
    pilots : Pilots
    antennas : int

    Notes
    -----
    A detection runs on one thread; calls on any receivers of this kind take turns.
    """

    def __init__(self, pilots: Pilots, antennas: int, search: Callable[[Complex, float], Found]) -> None:
        self.pilots, self.antennas, self._search = pilots, antennas, search
        self.plan_again: Callable[[], BlockReceiver] | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        """Copies and pickles are planned anew, from the arguments of `plans_anew`'s function."""
        if self.plan_again is None:
            raise TypeError("BlockReceiver: expected one that a function of jadce_fast.baselines planned")
        return self.plan_again, ()

    def detect(self, y: npt.ArrayLike, noise_var: float) -> Detection:
        """Detect the active devices of a block y (T, N, M) in noise of variance `noise_var` per entry.

        Returns
        -------
        Detection
            As of :meth:`jadce_fast.Receiver.detect`: never NaN, `explained` and `trusted` by the same rule.

        Raises
        ------
        ValueError, TypeError
            If `y` has another shape or is not finite, or `noise_var` is not positive.
        """
        noise = _check.scale("noise_var", noise_var)
        shape = (self.pilots.symbols, self.pilots.subcarriers, self.antennas)
        block: Complex = _check.array("y", y, shape, np.complex64)
        with one_thread(), np.errstate(over="ignore", invalid="ignore", divide="ignore", under="ignore"):
            return self._conclude(block, noise, self._search(block, noise))

    def detect_many(self, ys: Iterable[npt.ArrayLike], noise_var: float) -> list[Detection]:
        """Detect in several independent blocks, one after the other; see :meth:`detect`."""
        return [self.detect(y, noise_var) for y in _check.blocks(ys)]

    def _conclude(self, y: Complex, noise: float, found: Found) -> Detection:
        """Subtract what was declared active, and judge what remains (csrc/loop/loop.hpp, conclude)."""
        symbols, subcarriers, devices = self.pilots.symbols, self.pilots.subcarriers, self.pilots.devices
        received = _mean_square(y)
        activity = np.nan_to_num(found.activity, nan=0.0)
        active = np.flatnonzero(activity >= 0.5)
        # Single precision would round what is just below one half up to it.
        activity = np.where(activity >= 0.5, activity, np.minimum(activity, 0.4999999)).astype(np.float32)
        finite = all(bool(np.isfinite(part).all()) for part in (found.activity, found.channels, found.variance))
        left = received
        if finite and len(active):
            q = self.pilots.select(active).transpose(1, 0, 2)
            rest = y.transpose(1, 0, 2) - q @ found.channels.transpose(1, 0, 2)
            left = _mean_square(rest)
        stopped, channels, variance = found.stopped, found.channels, found.variance
        if not finite or not left <= received:
            stopped = "diverged" if not finite else "silence"
            activity, active, left = np.zeros_like(activity), active[:0], received
            channels, variance = np.zeros((0, subcarriers, self.antennas), np.complex64), variance[:0]
        power = self.pilots.power
        limits = _core.explained_remainder(
            rules=Rules().native(),
            taken=len(active) * found.freedom / (symbols * subcarriers),
            errors=power * float(np.sum(variance)) / noise,
            excess=(received - noise) / noise,
        )
        explained = Explained(left / noise, *limits)
        return Detection(
            activity=activity if len(activity) else np.zeros(devices, np.float32),
            active=active.astype(np.int64),
            channels=np.ascontiguousarray(channels, np.complex64),
            channel_var=np.asarray(variance, np.float32),
            iterations=found.iterations,
            converged=stopped == "fixed point" and left / noise <= limits[1],
            noise_var=left,
            explained=explained,
            stopped_because=stopped,
            reason=reason(stopped, explained),
            history=tuple(found.history),
        )


def plans_anew(plan: Callable[P, BlockReceiver]) -> Callable[P, BlockReceiver]:
    """Make a function remember its arguments in the receiver that it plans, which can then be copied and pickled."""

    @functools.wraps(plan)
    def planned(*args: P.args, **options: P.kwargs) -> BlockReceiver:
        receiver = plan(*args, **options)
        receiver.plan_again = functools.partial(planned, *args, **options)
        return receiver

    return planned


def _mean_square(array: Complex) -> float:
    return float(np.mean(np.abs(array).astype(np.float64) ** 2))


class PilotProduct:
    """Products with all pilots on the dense state, one matrix product a subcarrier.

    Attributes
    ----------
    array : ndarray of complex64, shape (N, T, K)
    """

    def __init__(self, pilots: Pilots) -> None:
        self.array = np.ascontiguousarray(pilots.select().transpose(1, 0, 2))
        self._adjoint = np.ascontiguousarray(self.array.conj().transpose(0, 2, 1))

    def measure(self, x: Complex) -> Complex:
        """Q x: (N, K, M) to (N, T, M)."""
        product: Complex = self.array @ x
        return product

    def adjoint(self, r: Complex) -> Complex:
        """Q^H r: (N, T, M) to (N, K, M)."""
        product: Complex = self._adjoint @ r
        return product


def check_plan(pilots: Pilots | npt.ArrayLike, antennas: int, activity_rate: float = 0.5) -> tuple[Pilots, int, float]:
    """Return the arguments that all baselines share, or raise."""
    planned = pilots if isinstance(pilots, Pilots) else Pilots(pilots)
    rate = _check.real("activity_rate", activity_rate, 1e-12, 1 - 1e-12, closed=True)
    return planned, _check.integer("antennas", antennas, 1, 4096), rate


def check_power(power: Power) -> Power:
    """Return "unknown" or a positive mean power, or raise."""
    if isinstance(power, str):
        if power != "unknown":
            raise TypeError(f"power: expected 'unknown' or a real number, found {power!r}")
        return power
    return _check.scale("power", power)


def mean_power(y: Complex, noise: float, pilots: Pilots, rate: float, power: Power) -> float:
    """Mean power of an active device: what is known, or the block's excess over the expected number of them."""
    if power != "unknown":
        return float(power)
    excess = float(np.mean(np.abs(y) ** 2, dtype=np.float64)) - noise
    least = Rules().smallest_mean_power * noise / (pilots.symbols * pilots.power)
    return max(excess / (pilots.power * max(rate * pilots.devices, 1.0)), least)


def log_odds(rate: float) -> float:
    """Prior log-odds of "active"."""
    return math.log(rate) - math.log1p(-rate)


def sigmoid(x: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
    """1 / (1 + exp(-x)) without overflow."""
    return np.asarray(0.5 * (1 + np.tanh(0.5 * x)))
