"""Histograms of the posterior log odds of activity, of which ROC curves and calibration are made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from ..detection import Detection
from .intervals import clopper_pearson

# Probabilities 0.01, 1/2 and 0.99 are edges; the last one is as far as single precision tells.
_STEP = float(np.log(99)) / 4
LOG_ODDS = _STEP * np.arange(-14, 15)
_UNLIKELY, _HALF, _SURE = (int(np.argmin(np.abs(LOG_ODDS - _STEP * i))) + 1 for i in (-4, 0, 4))  # first bin above
_LISTS = ("idle", "active", "promised")

Counts = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Calibration:
    """Devices of many blocks in bins of their posterior log odds, between the edges `LOG_ODDS`; adds.

    Attributes
    ----------
    idle, active : ndarray, shape (B,)
        Inactive and active devices.
    promised : ndarray, shape (B,)
        Sum of their probabilities.
    blocks, trusted : int
    """

    idle: Counts
    active: Counts
    promised: Counts
    blocks: int
    trusted: int

    def __add__(self, other: Calibration) -> Calibration:
        return Calibration(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))

    @property
    def missed(self) -> int:
        """Active devices of a probability below one half."""
        return int(self.active[:_HALF].sum())

    @property
    def false_alarms(self) -> int:
        """Inactive devices of at least one half."""
        return int(self.idle[_HALF:].sum())

    @property
    def sure(self) -> int:
        """Devices of a probability above 0.99."""
        return int((self.idle + self.active)[_SURE:].sum())

    @property
    def sure_wrong(self) -> int:
        """Inactive ones among them."""
        return int(self.idle[_SURE:].sum())

    def error(self, *, plausible: bool = False) -> float:
        """Expected calibration error.

        Mean over devices of the distance between the mean probability of their bin and the share of its devices that
        are active; of all devices, or of those above 0.01, lest thousands of obvious zeros hide errors. 0 of nobody.
        """
        first = _UNLIKELY if plausible else 0
        count = (self.idle + self.active)[first:].sum()
        distance = np.abs(self.promised - self.active)[first:].sum()
        return float(distance / count) if count else 0.0

    def curve(self) -> tuple[Counts, Counts]:
        """Inactive and active devices above each of `LOG_ODDS`."""
        above = [np.cumsum(x[::-1])[::-1][1:] for x in (self.idle, self.active)]
        return above[0], above[1]

    def row(self) -> dict[str, Any]:
        """Numbers of a table's line."""
        return {
            "blocks": self.blocks,
            "devices": int((self.idle + self.active).sum()),
            "active": int(self.active.sum()),
            "missed": self.missed,
            "false_alarms": self.false_alarms,
            "calibration_error": self.error(),
            "calibration_error_plausible": self.error(plausible=True),
            "sure": self.sure,
            "sure_wrong": self.sure_wrong,
            "trusted": self.trusted,
        }


def count_odds(out: Detection, truth: npt.NDArray[np.int64]) -> Calibration:
    """Devices of a block, of which `truth` are active, in bins of the log odds of their probabilities."""
    probability = out.activity.astype(np.float64)
    with np.errstate(divide="ignore"):
        odds = np.log(probability) - np.log1p(-probability)
    at = np.searchsorted(LOG_ODDS, odds, side="right")
    active = np.zeros(len(probability), bool)
    active[truth] = True
    bins = len(LOG_ODDS) + 1
    idle, found = np.bincount(at[~active], minlength=bins), np.bincount(at[active], minlength=bins)
    promised = np.bincount(at, probability, bins).astype(np.float64)
    return Calibration(idle.astype(np.float64), found.astype(np.float64), promised, 1, int(out.trusted))


def numbers_of(counts: Calibration) -> dict[str, float]:
    """Numbers of a store: a column a bin of each histogram."""
    numbers = {f"{name} {b}": float(x) for name in _LISTS for b, x in enumerate(getattr(counts, name))}
    return numbers | {"trusted": float(counts.trusted)}


def from_numbers(numbers: Mapping[str, float], blocks: int = 1) -> Calibration:
    """The counts that `numbers_of` made, or sums of such numbers over blocks."""
    idle, active, promised = (np.array([numbers[f"{name} {b}"] for b in range(len(LOG_ODDS) + 1)]) for name in _LISTS)
    return Calibration(idle, active, promised, blocks, int(numbers["trusted"]))


def roc(counts: Calibration) -> list[dict[str, float]]:
    """Shares of missed devices and of false alarms for thresholds `LOG_ODDS`, with intervals of 95 %.

    Beside them the devices between a threshold and the next one: inactive, active, and the sum of their probabilities.
    """
    idle, active = counts.curve()
    all_idle, all_active = counts.idle.sum(), counts.active.sum()
    missed = all_active - active
    missed_low, missed_high = clopper_pearson(missed, np.full_like(missed, all_active))
    alarm_low, alarm_high = clopper_pearson(idle, np.full_like(idle, all_idle))
    columns = {
        "log_odds": LOG_ODDS,
        "missed": missed / max(all_active, 1.0),
        "missed_low": missed_low,
        "missed_high": missed_high,
        "false_alarm": idle / max(all_idle, 1.0),
        "false_alarm_low": alarm_low,
        "false_alarm_high": alarm_high,
        **{name: getattr(counts, name)[1:] for name in _LISTS},
    }
    return [{name: float(value[i]) for name, value in columns.items()} for i in range(len(LOG_ODDS))]
