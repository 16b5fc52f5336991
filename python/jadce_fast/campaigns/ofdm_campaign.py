"""Campaigns in an OFDM system: many trials at one operating point, several receivers on the same drops."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from functools import partial
from typing import Any, Literal

import numpy as np

from .. import _check
from ..baselines.receivers.by_name import ORACLE, is_baseline, plan_baseline, prior_of
from ..metrics import Score, score
from ..pilots import Pilots
from ..receiver import Receiver
from .genie import GeniePrior
from .ofdm_drop import Drop, Scenario, draw_drop, draw_pilots
from .store import Lists, Store, fingerprint, measure_draws

GENIE = "genie"


@dataclass(frozen=True)
class Record:
    """Result of one receiver on one drop; `prior` names the receiver, `seconds` is the time of ``detect``."""

    trial: int
    prior: str
    score: Score
    iterations: int
    converged: bool
    seconds: float

    def row(self) -> dict[str, Any]:
        """Flat form, one line of a table."""
        flat = {"trial": self.trial, "prior": self.prior, **asdict(self.score)}
        del flat["trials"]
        flat["nmse_db"] = self.score.nmse_db if self.score.channel_energy > 0 else None
        return flat | {"iterations": self.iterations, "converged": self.converged, "seconds": self.seconds}


@dataclass(frozen=True)
class Outcome:
    """Sums over the trials of one receiver.

    Attributes
    ----------
    prior : str
        Name or file of the prior, "genie", or the name of a baseline.
    trials, active, missed, false_alarms : int
        Totals.
    error_rate : float
        (misses + false alarms) / K over all trials.
    nmse_db : float or None
        Ratio of summed errors; a missed device counts with its whole energy. None if nobody was ever active.
    false_alarm_db : float or None
        Energy of false alarms relative to that of the true channels; None without false alarms.
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
    nmse_db: float | None
    false_alarm_db: float | None
    iterations: float
    converged: float
    seconds_p50: float
    seconds_p99: float


def simulate(
    scenario: Scenario,
    priors: Sequence[str] = ("cdl",),
    trials: int = 50,
    seed: int = 0,
    *,
    power: Literal["unknown", "known"] = "unknown",
    threshold: float | None = None,
    learn: bool = False,
    threads: int | None = None,
    resume: str | os.PathLike[str] | None = None,
    progress: Callable[[int, list[Record]], None] | None = None,
) -> list[Record]:
    """Detect the same drops with several priors.

    Parameters
    ----------
    scenario : Scenario
    priors : sequence of str
        Names or files of priors; "genie" is the genie-denoiser loop on top of the first one. Baselines are named like
        `baselines.receivers.by_name.plan_baseline` says: "tmp-em:12", "somp:cdl".
    trials : int
        Trial i is the same whatever the number of trials and the priors.
    seed : int
    power : "unknown" or "known"
        Whether receivers are told the mean received power of an active device, which is one. They are never
        told the spread of powers.
    threshold : float, optional
        Posterior probability from which receivers declare a device active.
    learn : bool
        Whether receivers learn activity rate and noise variance from every block instead of being told.
    threads : int, optional
        Native threads of each receiver.
    resume : path-like, optional
        JSON file that keeps what is done. An interrupted campaign goes on from it; more trials, priors and scenarios
        may be added.
    progress : callable, optional
        Called with the number of trials done and all records, after every trial, kept ones included; an exception in
        it cancels the campaign, whose file is written.

    Returns
    -------
    list of Record
        In the order of trials, then priors.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range or unknown, or the file to resume from is of another campaign.
    """
    trials = _check.integer("trials", trials, 1)
    names = list(dict.fromkeys(priors))
    if not names:
        raise ValueError("priors: expected at least one, found none")
    if power not in ("unknown", "known"):
        raise ValueError(f'power: expected "unknown" or "known", found {power!r}')
    options: dict[str, Any] = {"power": 1.0 if power == "known" else "unknown", "threshold": threshold}
    options["activity_rate"] = None if learn else scenario.activity_rate
    bench = _Bench(scenario, names, options | {"threads": threads})
    told = {"threshold": threshold} if threshold is not None else {}
    told |= {"learn": learn} if learn else {}
    store = Store(resume, "ofdm", {"seed": _check.integer("seed", seed, 0), "power": power} | told)
    kept = {name: store.lists({"scenario": asdict(scenario)} | bench.key(name)) for name in names}
    records: list[Record] = []

    def draw(trial: int) -> Drop:
        return draw_drop(scenario, seed, trial, bench.pilots(seed, trial))

    def count(done: int) -> None:
        records.extend(_record(name, kept[name], done - 1) for name in names)
        if progress is not None:
            progress(done, records)

    measure_draws(store, kept, trials, draw, {name: partial(bench.detect, name) for name in names}, count)
    return records


def summarize(records: Sequence[Record], prior: str) -> Outcome:
    """Outcome of one prior's records, at least one."""
    own = [r for r in records if r.prior == prior]
    total = sum((r.score for r in own), Score())
    seconds = [r.seconds for r in own]
    energy = total.channel_energy
    relative = total.false_alarm_energy / energy if energy > 0 else 0.0
    return Outcome(
        prior=prior,
        trials=len(own),
        active=total.active,
        missed=total.missed,
        false_alarms=total.false_alarms,
        error_rate=total.error_rate,
        nmse_db=total.nmse_db if energy > 0 else None,
        false_alarm_db=10 * float(np.log10(relative)) if relative > 0 else None,
        iterations=float(np.mean([r.iterations for r in own])),
        converged=float(np.mean([r.converged for r in own])),
        seconds_p50=float(np.percentile(seconds, 50)),
        seconds_p99=float(np.percentile(seconds, 99)),
    )


class _Bench:
    """The receivers of a campaign, planned once for pilots that stay, and anew for fresh ones."""

    def __init__(self, scenario: Scenario, names: list[str], options: dict[str, Any]) -> None:
        from ..priors.files import resolve_prior

        def load(name: str) -> Any:
            own = prior_of(name) if is_baseline(name) else name
            return None if own is None else resolve_prior(own, scenario.subcarriers)

        self._scenario, self._options = scenario, options
        self._priors: dict[str, Any] = {name: load(name) for name in names if name != GENIE}
        self.genie: GeniePrior | None = None
        # The genie only denoises better than this one.
        self._base = next((name for name in self._priors if not is_baseline(name)), "cdl")
        if GENIE in names:
            self.genie = self._priors[GENIE] = GeniePrior(self._priors.get(self._base) or load(self._base))
        self._pilots: Pilots | None = None
        self._receivers: dict[str, Any] = {}

    def pilots(self, seed: int, trial: int) -> Pilots:
        """Pilots of a trial."""
        if self._pilots is None or self._scenario.fresh_pilots:
            self._pilots = draw_pilots(self._scenario, seed, trial)
            self._receivers.clear()
        return self._pilots

    def key(self, name: str) -> dict[str, Any]:
        """Key of a receiver's numbers, which depend on it besides scenario and seed."""
        base = {"base": self._base} if name == GENIE else {}
        return {"prior": name, "fingerprint": fingerprint(self._priors[name])} | base

    def detect(self, name: str, drop: Drop) -> dict[str, float]:
        """Detect and score one drop."""
        if name == GENIE and self.genie is not None:
            self.genie.reveal(drop.active, drop.paths, self._scenario.antennas)
        if name not in self._receivers or name.partition(":")[0] == ORACLE:
            self._receivers[name] = self._plan(name, drop)
            if name != GENIE:
                self._receivers[name].detect(drop.y, self._noise_var(drop))  # the first call is not timed
        receiver = self._receivers[name]
        start = time.perf_counter()
        found = receiver.detect(drop.y, self._noise_var(drop))
        seconds = time.perf_counter() - start
        errors = asdict(score(found, drop.active, drop.channels))
        del errors["trials"]
        return errors | {"iterations": found.iterations, "converged": found.converged, "seconds": seconds}

    def _plan(self, name: str, drop: Drop) -> Any:
        s, prior = self._scenario, self._priors[name]
        if not is_baseline(name):
            return Receiver(drop.pilots, s.antennas, prior, **self._options)
        if self._options["activity_rate"] is None or self._options["threshold"] is not None:
            raise ValueError(f"learn, threshold: expected the defaults with {name}, found others")
        own = {"prior": prior, "active": drop.active}
        return plan_baseline(name, drop.pilots, s.antennas, s.activity_rate, self._options["power"], **own)

    def _noise_var(self, drop: Drop) -> float | None:
        return None if self._options["activity_rate"] is None else drop.noise_var


_SCORE = [f.name for f in fields(Score) if f.name != "trials"]
_REAL = ("error_energy", "channel_energy", "false_alarm_energy")


def _record(name: str, lists: Lists, trial: int) -> Record:
    numbers: dict[str, Any] = {f: lists[f][trial] if f in _REAL else int(lists[f][trial]) for f in _SCORE}
    iterations, converged = int(lists["iterations"][trial]), bool(lists["converged"][trial])
    return Record(trial, name, Score(**numbers, trials=1), iterations, converged, lists["seconds"][trial])
