"""Scores of a detection against the truth."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from . import _check
from .detection import Detection


@dataclass(frozen=True)
class Score:
    """Errors of one or more detections; scores of trials add, so that ratios are ratios of sums.

    Attributes
    ----------
    devices : int
        K summed over trials.
    active : int
        Truly active devices.
    missed : int
        Active devices that were not detected.
    false_alarms : int
        Detected devices that were not active.
    error_energy : float
        Sum of |H^ - H|^2 over the truly active devices; the estimate of a missed device is zero.
    channel_energy : float
        Sum of |H|^2 over the truly active devices.
    false_alarm_energy : float
        Sum of |H^|^2 over the false alarms, which the NMSE does not count.
    relative_error : float
        Sum over the truly active devices of each one's |H^ - H|^2 / |H|^2, of those whose channel is not zero.
    trials : int
    """

    devices: int = 0
    active: int = 0
    missed: int = 0
    false_alarms: int = 0
    error_energy: float = 0.0
    channel_energy: float = 0.0
    false_alarm_energy: float = 0.0
    relative_error: float = 0.0
    trials: int = 0

    def __add__(self, other: Score) -> Score:
        return Score(**{f.name: getattr(self, f.name) + getattr(other, f.name) for f in fields(Score)})

    def __radd__(self, other: int) -> Score:
        # sum(scores) starts from the integer 0.
        return self + Score() if other == 0 else NotImplemented

    @property
    def nmse(self) -> float:
        """Error energy over channel energy, linear; 0 where nobody was active."""
        return self.error_energy / self.channel_energy if self.channel_energy > 0 else 0.0

    @property
    def nmse_db(self) -> float:
        """NMSE in dB, always finite: a perfect estimate, and nobody active, is -300 dB."""
        return float(10 * np.log10(max(self.nmse, 1e-30)))

    @property
    def error_rate(self) -> float:
        """Detection error probability (misses + false alarms) / K."""
        return (self.missed + self.false_alarms) / self.devices if self.devices else 0.0


def score(detection: Detection, true_active: npt.ArrayLike, true_channels: npt.ArrayLike) -> Score:
    """Compare a detection with the truth.

    Parameters
    ----------
    detection : Detection
    true_active : array_like of int, shape (A,)
        Indices of the active devices, 0-based, distinct, in the order of `true_channels`; may be empty.
    true_channels : array_like, shape (A, N, M)

    Returns
    -------
    Score
        Of one trial; add those of many.

    Raises
    ------
    TypeError, ValueError
        If shapes do not match each other or the detection, or an index is repeated or out of range.
    """
    devices = len(detection.activity)
    truth = active_indices("true_active", true_active, devices)
    size = ("A", "N", "M") if detection.channels.ndim != 3 else (len(truth), *detection.channels.shape[1:])
    channels = _check.array("true_channels", true_channels, size, np.complex64)
    _, in_truth, in_found = np.intersect1d(truth, detection.active, assume_unique=True, return_indices=True)
    false_alarm = np.ones(len(detection.active), bool)
    false_alarm[in_found] = False
    error = channels.copy()
    error[in_truth] -= detection.channels[in_found]
    own, own_error = _energies(channels), _energies(error)
    return Score(
        devices=devices,
        active=len(truth),
        missed=len(truth) - len(in_truth),
        false_alarms=int(false_alarm.sum()),
        error_energy=float(own_error.sum()),
        channel_energy=float(own.sum()),
        false_alarm_energy=float(_energies(detection.channels[false_alarm]).sum()),
        relative_error=float(np.sum(own_error[own > 0] / own[own > 0])),
        trials=1,
    )


def active_indices(name: str, indices: npt.ArrayLike, devices: int) -> npt.NDArray[np.int64]:
    """Return distinct device indices in 0 ... devices - 1 as int64, or raise."""
    values = _check.as_array(name, indices)
    if values.size == 0:
        return np.zeros(0, np.int64)
    checked = _check.owned(name, values, ("A",), np.int64)
    if checked.min() < 0 or checked.max() >= devices:
        raise ValueError(f"{name}: expected 0 to {devices - 1}, found {checked.min()} to {checked.max()}")
    ordered = np.sort(checked)
    repeated = ordered[1:][np.diff(ordered) == 0]
    if repeated.size:
        raise ValueError(f"{name}: expected distinct devices, found {repeated[0]} repeated")
    return checked


def _energies(values: npt.NDArray[np.complex64]) -> npt.NDArray[np.float64]:
    """Squared norms of channels (A, N, M)."""
    parts = np.ascontiguousarray(values).view(np.float32)
    energies: npt.NDArray[np.float64] = np.sum(parts * parts, axis=(1, 2), dtype=np.float64)
    return energies
