"""What a receiver returns."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Detection:
    """Result of one detection of one received block.

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
    history: tuple[dict[str, float], ...] = field(default=(), repr=False)
