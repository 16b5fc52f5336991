"""Results of a receiver."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

Reason = Literal["iterations", "fixed point", "diverged", "silence"]
REASONS: tuple[Reason, ...] = get_args(Reason)  # their order is that of Stopped, csrc/loop/control.hpp


@dataclass(frozen=True)
class Detection:
    """Result of one detection of one received block.

    Arrays are NumPy's; those of a receiver on a GPU are where the received block was, torch tensors or CuPy arrays.

    Attributes
    ----------
    activity : ndarray of float32, shape (K,)
        Posterior probability that each device is active.
    active : ndarray of int64, shape (A,)
        Devices decided active (probability of at least one half), ascending.
    channels : ndarray of complex64, shape (A, N, M)
        Posterior mean of the channel of every active device, over subcarriers and antennas.
    channel_var : ndarray of float32, shape (A,)
        Posterior variance of one entry of each channel, averaged over subcarriers and antennas.
    iterations : int
        Turbo iterations that were run.
    converged : bool
        False if the state diverged, was still improving at the last iteration, or explained the block worse than
        silence, in which case nobody is declared active. Otherwise the best state seen is returned.
    noise_var : float
        Variance per received entry that remains when the detected devices are subtracted. About the noise variance
        given to ``detect``, less what was fitted to noise; far above it says that devices were missed.
    residual_ratio : float
        `noise_var` over the noise variance given to ``detect``: about one, or somewhat less, where the model holds.
    stopped_because : str
        Reason for the end: "fixed point" (nothing improved any more), "iterations" (all that were planned are done),
        "diverged", or "silence" (what was found explained the block worse than that nobody is active).
    overflow : int
        Plausible devices for which the receiver had no place (`capacity`) in the iteration whose state is returned.
        Above zero, active devices may be missing.
    restarts : int
        Chains of a Langevin receiver that diverged and began anew.
    history : tuple of dict
        Per iteration: ``error_var`` (tracked error variance per channel entry) and ``candidates``.
    """

    activity: npt.NDArray[np.float32]
    active: npt.NDArray[np.int64]
    channels: npt.NDArray[np.complex64]
    channel_var: npt.NDArray[np.float32]
    iterations: int
    converged: bool
    noise_var: float
    residual_ratio: float
    stopped_because: Reason
    overflow: int = 0
    restarts: int = 0
    history: tuple[dict[str, float], ...] = field(default=(), repr=False)


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
        Number of active devices, and as in :class:`Detection`. A block that is not finite has no active device and did
        not converge.
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
    keeps: Any = field(repr=False)
