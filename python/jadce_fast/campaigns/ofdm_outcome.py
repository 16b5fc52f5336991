"""What a campaign in an OFDM system is told by: records of single drops, and their sums with intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np

from ..metrics import Score
from .intervals import clopper_pearson, ratio_interval
from .odds import Calibration, from_numbers


@dataclass(frozen=True)
class Record:
    """Result of one receiver on one drop of one point.

    `prior` names the receiver, `seconds` is that of ``detect``, `odds` counts its devices by their probabilities.
    """

    trial: int
    prior: str
    score: Score
    iterations: int
    converged: bool
    seconds: float
    odds: Calibration
    point: int = 0

    def row(self) -> dict[str, Any]:
        """Flat form, one line of a table."""
        flat = {"point": self.point, "trial": self.trial, "prior": self.prior, **asdict(self.score)}
        del flat["trials"]
        flat["nmse_db"] = self.score.nmse_db if self.score.channel_energy > 0 else None
        return flat | {"iterations": self.iterations, "converged": self.converged, "seconds": self.seconds}


@dataclass(frozen=True)
class Outcome:
    """Sums over the trials of one receiver at one point; intervals hold with 95 %.

    Attributes
    ----------
    prior : str
        Name or file of the prior, "genie", or the name of a baseline.
    trials, active, missed, false_alarms : int
        Totals.
    error_rate, error_rate_low, error_rate_high : float
        (misses + false alarms) / K over all trials, and its Clopper-Pearson interval.
    nmse_db : float or None
        Ratio of summed errors; a missed device counts with its whole energy. None if nobody was ever active.
    nmse_low_db, nmse_high_db : float or None
        Its interval by the delta method over trials; None where one trial, or an interval down to zero, has no bound.
    mean_nmse_db : float or None
        Mean over active devices of each one's own ratio: weak devices count as much as strong ones.
    median_nmse_db : float or None
        Median over trials.
    false_alarm_db : float or None
        Energy of false alarms relative to that of the true channels; None without false alarms.
    calibration_error : float
        Expected calibration error of the probabilities of activity, of devices above 0.01.
    iterations, converged : float
        Mean number, share of trials.
    seconds_p50, seconds_p99 : float
        Percentiles of the time of one detection.
    """

    prior: str
    trials: int
    active: int
    missed: int
    false_alarms: int
    error_rate: float
    error_rate_low: float
    error_rate_high: float
    nmse_db: float | None
    nmse_low_db: float | None
    nmse_high_db: float | None
    mean_nmse_db: float | None
    median_nmse_db: float | None
    false_alarm_db: float | None
    calibration_error: float
    iterations: float
    converged: float
    seconds_p50: float
    seconds_p99: float


def summarize_odds(records: Sequence[Record], prior: str, point: int | None = None) -> Calibration:
    """Devices by their probabilities in one receiver's records: its ROC curve and calibration; see `summarize`."""
    own = [r.odds for r in records if r.prior == prior and point in (None, r.point)]
    return sum(own[1:], own[0])


def summarize(records: Sequence[Record], prior: str, point: int | None = None) -> Outcome:
    """Outcome of one receiver's records, at least one; of one point, or of all together."""
    own = [r for r in records if r.prior == prior and point in (None, r.point)]
    total = sum((r.score for r in own), Score())
    seconds = [r.seconds for r in own]
    energy = total.channel_energy
    relative = total.false_alarm_energy / energy if energy > 0 else 0.0
    low, high = ratio_interval([r.score.error_energy for r in own], [r.score.channel_energy for r in own])
    rates = clopper_pearson(total.missed + total.false_alarms, total.devices)
    heard = [r.score.nmse for r in own if r.score.channel_energy > 0]
    return Outcome(
        prior=prior,
        trials=len(own),
        active=total.active,
        missed=total.missed,
        false_alarms=total.false_alarms,
        error_rate=total.error_rate,
        error_rate_low=float(rates[0]),
        error_rate_high=float(rates[1]),
        nmse_db=total.nmse_db if energy > 0 else None,
        nmse_low_db=_db(low),
        nmse_high_db=_db(high),
        mean_nmse_db=_db(total.relative_error / total.active) if total.active else None,
        median_nmse_db=_db(float(np.median(heard))) if heard else None,
        false_alarm_db=_db(relative),
        calibration_error=summarize_odds(own, prior).error(plausible=True),
        iterations=float(np.mean([r.iterations for r in own])),
        converged=float(np.mean([r.converged for r in own])),
        seconds_p50=float(np.percentile(seconds, 50)),
        seconds_p99=float(np.percentile(seconds, 99)),
    )


_SCORE = [f.name for f in fields(Score) if f.name != "trials"]
_REAL = ("error_energy", "channel_energy", "false_alarm_energy", "relative_error")


def record(name: str, numbers: Mapping[str, float], trial: int, point: int) -> Record:
    """Record of the numbers that a store has of one drop."""
    found: dict[str, Any] = {f: numbers[f] if f in _REAL else int(numbers[f]) for f in _SCORE}
    iterations, converged = int(numbers["iterations"]), bool(numbers["converged"])
    score, odds = Score(**found, trials=1), from_numbers(numbers)
    own: dict[str, Any] = {"iterations": iterations, "converged": converged, "seconds": numbers["seconds"]}
    return Record(trial, name, score, odds=odds, point=point, **own)


def _db(ratio: float) -> float | None:
    return 10 * float(np.log10(ratio)) if 0 < ratio < np.inf else None
