"""Results of a receiver."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import numpy.typing as npt

Reason = Literal["iterations", "fixed point", "diverged", "silence", "deadline"]
REASONS: tuple[Reason, ...] = get_args(Reason)  # their order is that of Stopped, csrc/loop/control.hpp


class Explained(NamedTuple):
    """Share of a block that the result leaves unexplained, beside what is usual.

    Attributes
    ----------
    ratio : float
        Variance that remains, over the noise variance given to ``detect``.
    least, most : float
        Range of the ratio where the model holds, for as many devices in a block of this size: estimates fit some of
        the noise, and their errors remain.
    """

    ratio: float
    least: float
    most: float


def reason(stopped: Reason, explained: Explained, overflow: int = 0) -> str:
    """Words for why a result should not be trusted, empty if nothing speaks against it (csrc/loop/loop.hpp)."""
    ratio, least, most = explained
    if stopped == "silence":
        return "what was found explains the block worse than that nobody is active"
    if stopped == "diverged":
        return "errors grew to the end"
    if overflow:
        return f"capacity: {overflow} plausible devices found no place"
    if not ratio <= most:
        return (
            f"{ratio:.3g} times the given noise remains, expected at most {most:.3g}: the prior does not fit, devices "
            "are too weak to be found, pilots or subcarriers are in another order, or noise_var is too small"
        )
    if ratio < least:
        return f"{ratio:.3g} times the given noise remains, expected at least {least:.3g}: noise_var is too large"
    return ""


def equal_fields(one: Any, other: Any) -> bool:
    """Tell whether two records of one dataclass hold equal numbers, arrays included."""

    def equal(a: Any, b: Any) -> bool:
        if not hasattr(a, "shape") or not hasattr(b, "shape"):
            return bool(a == b)
        return a.shape == b.shape and bool((a == b).all())

    return all(equal(getattr(one, f.name), getattr(other, f.name)) for f in fields(one))


class History(Sequence[dict[str, float]]):
    """Steps of a loop, dictionaries made of their numbers (iterations, 2) when somebody looks at them."""

    def __init__(self, numbers: npt.NDArray[Any], power: float = 1.0) -> None:
        self._numbers, self._power = numbers, power  # of error variances

    def __len__(self) -> int:
        return len(self._numbers)

    def __getitem__(self, i: Any) -> Any:
        if isinstance(i, slice):
            return tuple(self)[i]
        error, candidates = self._numbers[i]
        return {"error_var": float(error * self._power), "candidates": int(candidates)}

    def __eq__(self, other: object) -> bool:
        return tuple(self) == tuple(other) if isinstance(other, Sequence) else NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return repr(tuple(self))


@dataclass(frozen=True, eq=False)
class Detection:
    """Result of one detection of one received block.

    Arrays are NumPy's; those of a receiver on a GPU are where the received block was, torch tensors or CuPy arrays.

    Attributes
    ----------
    activity : ndarray of float32, shape (K,)
        Posterior probability that each device is active, too weak to be seen included: if more active devices were
        awaited than found, what is missing is spread over all.
    active : ndarray of int64, shape (A,)
        Devices decided active (seen with a probability of at least one half), ascending. Of devices that share a pilot
        all are named, if it was found, with probabilities that add to that of the pilot.
    channels : ndarray of complex64, shape (A, N, M)
        Posterior mean of the channel of every active device, over subcarriers and antennas.
    channel_var : ndarray of float32, shape (A,)
        Posterior variance of one entry of each channel, averaged over subcarriers and antennas.
    iterations : int
        Turbo iterations that were run.
    converged : bool
        Whether the loop reached a fixed point that explains the block. False too if it was still improving at the last
        iteration, or what was found explains the block worse than silence, in which case nobody is declared active.
        The best state seen is returned.
    noise_var : float
        Variance per received entry that remains when the detected devices are subtracted. About the noise variance
        given to ``detect``, less what was fitted to noise; far above it says that devices were missed.
    explained : Explained
        `noise_var` over the noise variance given to ``detect``, and the range of it where the model holds.
    stopped_because : str
        Reason for the end: "fixed point" (nothing improved any more), "iterations" (all that were planned are done),
        "diverged", "silence" (what was found explained the block worse than that nobody is active), or "deadline" (no
        time was left for another one: the best state so far).
    overflow : int
        Plausible devices for which the receiver had no place (`capacity`) in the iteration whose state is returned.
        Above zero, active devices may be missing.
    learned_noise_var : float or None
        Noise variance of the block if none was given; `explained` refers to it.
    learned_rate : float or None
        Part of the devices that is active, their mean probability, if no activity rate was given.
    prior : str
        Name of the prior whose result it is, if the receiver had a choice (``prior="auto"``).
    restarts : int
        Chains of a Langevin receiver that diverged and began anew.
    reason : str
        Why the result should not be trusted, empty if nothing speaks against it.
    trusted : bool
        Whether `reason` is empty.
    residual_ratio : float
        The ratio of `explained`.
    history : sequence of dict
        Per iteration: ``error_var`` (tracked error variance per channel entry) and ``candidates``.
    """

    activity: npt.NDArray[np.float32]
    active: npt.NDArray[np.int64]
    channels: npt.NDArray[np.complex64]
    channel_var: npt.NDArray[np.float32]
    iterations: int
    converged: bool
    noise_var: float
    explained: Explained
    stopped_because: Reason
    overflow: int = 0
    restarts: int = 0
    learned_noise_var: float | None = None
    learned_rate: float | None = None
    prior: str = ""
    reason: str = ""
    history: Sequence[dict[str, float]] = field(default=(), repr=False)

    def __eq__(self, other: object) -> bool:
        return equal_fields(self, other) if isinstance(other, Detection) else NotImplemented

    __hash__ = None  # type: ignore[assignment]

    @property
    def trusted(self) -> bool:
        """True if nothing speaks against the result."""
        return not self.reason

    @property
    def residual_ratio(self) -> float:
        """Variance that remains over the noise variance given to ``detect``."""
        return self.explained.ratio


@dataclass(frozen=True)
class Enqueued:
    """A detection on a GPU that may still run: tensors of fixed size, valid in the order of the stream it was put on.

    With a batch of B blocks every array has a leading axis B. The receiver's next detection overwrites them.

    Attributes
    ----------
    activity : float32, shape (K,)
        Posterior probability that each device is active.
    active : int64, shape (capacity,)
        Devices decided active, ascending, then -1.
    channels : complex64, shape (capacity, N, M)
        Their channels, then zeros.
    channel_var : float32, shape (capacity,)
        Their variances, then zeros.
    found, iterations, converged, overflow : int32, shape ()
        Number of active devices, and as in :class:`Detection`.
    late : bool, shape ()
        Whether the deadline ended the loop.
    trusted : bool, shape ()
        As in :class:`Detection`. Images of a radio are looked for, among devices with DFT pilots, when this is asked
        for first, which has to be before the next detection: some forty operations of torch a block, without waiting.
    residual_ratio : float32, shape ()
        As in :class:`Detection`. A block that is not finite has no active device and did
        not converge.
    judge : callable
        Enqueues what `trusted` is.
    keeps : array
        The received block, held as long as the detection may read it.
    """

    activity: Any
    active: Any
    channels: Any
    channel_var: Any
    found: Any
    iterations: Any
    converged: Any
    overflow: Any
    late: Any
    residual_ratio: Any
    judge: Callable[[], Any] = field(repr=False)
    keeps: Any = field(repr=False)

    @functools.cached_property
    def trusted(self) -> Any:
        """Whether nothing speaks against the result; see above."""
        return self.judge()


class Streamed(NamedTuple):
    """A detection of a stream.

    Attributes
    ----------
    block : int
        Number of the block, from 0; those that were dropped count too.
    latency_us : float
        Microseconds from the arrival of the block's last symbol to the result.
    detection : Detection
        ``stopped_because`` is "deadline" where the loop was ended for it.
    """

    block: int
    latency_us: float
    detection: Detection
