"""Campaigns in an OFDM system: many trials at many operating points, several receivers on the same drops."""

from __future__ import annotations

import hashlib
import itertools
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, fields, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

from .. import _check
from ..baselines.receivers.by_name import ORACLE, is_baseline, plan_baseline, prior_of
from ..detection import Detection
from ..metrics import score
from ..pilots import Pilots
from ..priors import DEFAULT
from ..receiver import Receiver
from ..rules import Rules
from .engine import Point, Stop, run
from .genie import GeniePrior
from .odds import LOG_ODDS, count_odds, numbers_of
from .ofdm_drop import Drop, Scenario, draw_drop, draw_pilots, recorded_channels
from .ofdm_outcome import Record, record
from .store import Store, fingerprint

GENIE = "genie"
_WARM = 0.2  # seconds; the first call of a receiver counts only if it is longer


def sweep(base: Scenario, axes: Mapping[str, Sequence[Any]]) -> list[Scenario]:
    """Scenarios of all combinations of values of attributes, the last one changing fastest.

    Raises
    ------
    ValueError
        If an attribute is none of a scenario, has no value, or one is out of range.
    """
    names = [f.name for f in fields(Scenario)]
    for name, values in axes.items():
        if name not in names or not len(values):
            raise ValueError(f"axes: expected values of {', '.join(names)}, found {name!r} with {len(values)}")
    return [replace(base, **dict(zip(axes, values, strict=True))) for values in itertools.product(*axes.values())]


def simulate(
    scenario: Scenario | Sequence[Scenario],
    priors: Sequence[str] = (DEFAULT,),
    trials: int = 50,
    seed: int = 0,
    *,
    power: Literal["unknown", "known"] = "unknown",
    threshold: float | None = None,
    learn: bool = False,
    iterations: int | None = None,
    errors: int | None = None,
    width_db: float | None = None,
    threads: int | None = None,
    device: str = "cpu",
    batch: int = 1,
    workers: int = 1,
    scheduler: str | None = None,
    resume: str | os.PathLike[str] | None = None,
    progress: Callable[[int, list[Record]], None] | None = None,
) -> list[Record]:
    """Detect the same drops with several receivers.

    Parameters
    ----------
    scenario : Scenario or sequence of Scenario
        One operating point, or those of a `sweep`.
    priors : sequence of str
        Names or files of priors; "genie" is the genie-denoiser loop on top of the first one. Baselines are named like
        `baselines.receivers.by_name.plan_baseline` says: "tmp-em:12", "somp:cdl".
    trials : int
        Most trials of a point. Trial i is the same whatever the number of trials and the receivers.
    seed : int
    power : "unknown" or "known"
        Whether receivers are told the mean received power of an active device, which is one. They are never
        told the spread of powers.
    threshold : float, optional
        Posterior probability from which receivers declare a device active.
    learn : bool
        Whether receivers learn activity rate and noise variance from every block instead of being told.
    iterations : int, optional
        Most iterations of every receiver, by default their own.
    errors : int, optional
        A point ends when every receiver has made so many errors of activity.
    width_db : float, optional
        Or when the 95 % interval of every receiver's NMSE is no wider.
    threads : int, optional
        Native threads of each receiver; with workers one.
    device : str
        Where receivers with priors run: "cpu", "cuda" or "cuda:N"; baselines run on the CPU.
    batch : int
        Drops that a receiver on a GPU detects at once; their time is shared out evenly. Fresh pilots go one by one.
    workers : int
        Processes. A program that uses more than one needs ``if __name__ == "__main__":``, as of `multiprocessing`.
    scheduler : str, optional
        Address of a Dask scheduler, whose workers detect instead: start them with one thread each.
    resume : path-like, optional
        Directory that keeps what is done. An interrupted campaign goes on from it; more trials, receivers and scenarios
        may be added.
    progress : callable, optional
        Called with the number of trials done and all records, after every trial, kept ones included; an exception in
        it cancels the campaign, whose numbers so far are kept.

    Returns
    -------
    list of Record
        In the order of points, trials, then receivers.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range or unknown, or the directory to resume from is of another campaign.
    OSError
        If a process was killed, or the scheduler cannot be reached.
    """
    scenarios = [scenario] if isinstance(scenario, Scenario) else list(scenario)
    names = list(dict.fromkeys(priors))
    for argument, given in (("scenario", scenarios), ("priors", names)):
        if not given:
            raise ValueError(f"{argument}: expected at least one, found none")
    if power not in ("unknown", "known"):
        raise ValueError(f'power: expected "unknown" or "known", found {power!r}')
    stop = Stop(trials, errors, width_db)
    options: dict[str, Any] = {"power": 1.0 if power == "known" else "unknown", "threshold": threshold}
    options |= {"learn": learn, "iterations": iterations, "device": device, "batch": batch}
    if _check.integer("batch", batch, 1) > 1 and device == "cpu":
        raise ValueError(f"batch: expected the default without a GPU, found {batch}")
    if device != "cpu" and GENIE in names:
        raise ValueError(f"priors: expected no genie with device={device!r}, found one")
    options["threads"] = 1 if threads is None and (workers > 1 or scheduler is not None) else threads
    told = {"threshold": threshold} if threshold is not None else {}
    told |= {"learn": learn} if learn else {}
    setup = {"seed": _check.integer("seed", seed, 0), "power": power, "log_odds": LOG_ODDS.tolist()}
    store = Store(resume, "ofdm", setup | told)
    limit = {"most_iterations": iterations} if iterations is not None else {}

    def plan(own: Scenario) -> Point:
        bench = _Bench(own, names, options, seed)
        kept = {name: store.lists({"scenario": asdict(own)} | limit | bench.key(name)) for name in names}
        return Point(
            kept,
            bench.draw,
            {name: partial(bench.detect, name) for name in names},
            bench.free,
            {name: partial(bench.detect_many, name) for name in names if not is_baseline(name)} if batch > 1 else {},
            1 if own.fresh_pilots else batch,
        )

    points = [plan(own) for own in scenarios]
    records: list[Record] = []

    def count(point: int, done: int) -> None:
        for name, lists in points[point].kept.items():
            numbers = {number: values[done - 1] for number, values in lists.items()}
            records.append(record(name, numbers, done - 1, point))
        if progress is not None:
            progress(len(records) // len(names), records)

    run(store, points, stop, workers=workers, scheduler=scheduler, progress=count)
    return records


class _Bench:
    """The receivers of a point, planned once for pilots that stay, and anew for fresh ones."""

    def __init__(self, scenario: Scenario, names: list[str], options: dict[str, Any], seed: int) -> None:
        from ..priors.files import resolve_prior

        def load(name: str) -> Any:
            own = prior_of(name) if is_baseline(name) else name
            return None if own is None else resolve_prior(own, scenario.subcarriers, scenario.spacing)

        self._arguments = (scenario, names, options, seed)
        self._scenario, self._options, self._seed = scenario, options, seed
        self._recorded: dict[str, str] = {}
        if scenario.channels:
            recorded_channels(scenario)
            self._recorded = {"recorded": hashlib.sha256(Path(scenario.channels).read_bytes()).hexdigest()[:16]}
            if GENIE in names:
                raise ValueError("priors: expected no genie with recorded channels, whose paths nobody knows")
        self._priors: dict[str, Any] = {name: load(name) for name in names if name != GENIE}
        self.genie: GeniePrior | None = None
        # The genie only denoises better than this one.
        self._base = next((name for name in self._priors if not is_baseline(name)), DEFAULT)
        if GENIE in names:
            base = self._priors.get(self._base) or load(self._base)
            self.genie, self._base_fingerprint = GeniePrior(base, scenario.spacing), fingerprint(base)
            self._priors[GENIE] = self.genie
        self._pilots: Pilots | None = None
        self._receivers: dict[str, Any] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        """Other processes plan anew."""
        return _Bench, self._arguments

    def draw(self, trial: int) -> Drop:
        """Drop of a trial."""
        if self._pilots is None or self._scenario.fresh_pilots:
            self._pilots = draw_pilots(self._scenario, self._seed, trial)
            self._receivers.clear()
        return draw_drop(self._scenario, self._seed, trial, self._pilots)

    def free(self) -> None:
        """Forget the receivers, which take memory."""
        self._pilots = None
        self._receivers.clear()

    def key(self, name: str) -> dict[str, Any]:
        """Key of a receiver's numbers, which depend on it besides scenario and seed."""
        base: dict[str, str] = {}
        if self.genie is not None and name == GENIE:
            base = {"base": self._base, "base_fingerprint": self._base_fingerprint}
        return {"prior": name, "fingerprint": fingerprint(self._priors[name])} | base | self._recorded

    def detect(self, name: str, drop: Drop) -> dict[str, float]:
        """Detect and score one drop."""
        if name == GENIE and self.genie is not None and drop.paths is not None:
            self.genie.reveal(drop.active, drop.paths, self._scenario.antennas)
        if name.partition(":")[0] == ORACLE:
            self._receivers.pop(name, None)
        return self.detect_many(name, [drop])[0]

    def detect_many(self, name: str, drops: Sequence[Drop]) -> list[dict[str, float]]:
        """Detect and score drops, at once where the receiver can; each has an equal share of the seconds."""
        first = name not in self._receivers
        if first:
            self._receivers[name] = self._plan(name, drops[0])
        found, seconds = self._timed(name, drops)
        if first and seconds < _WARM:
            found, seconds = self._timed(name, drops)
        return [_errors(out, drop) | {"seconds": seconds / len(drops)} for out, drop in zip(found, drops, strict=True)]

    def _timed(self, name: str, drops: Sequence[Drop]) -> tuple[list[Detection], float]:
        receiver, noise = self._receivers[name], None if self._options["learn"] else drops[0].noise_var
        ys = np.stack([drop.y for drop in drops])
        start = time.perf_counter()
        found = [receiver.detect(ys[0], noise)] if len(drops) == 1 else receiver.detect_many(ys, noise)
        return found, time.perf_counter() - start

    def _plan(self, name: str, drop: Drop) -> Any:
        s, prior, wanted = self._scenario, self._priors[name], self._options
        iterations = wanted["iterations"]
        if not is_baseline(name):
            rules = None if iterations is None else Rules(max_iterations=iterations)
            rate = None if wanted["learn"] else s.activity_rate
            own = {name: wanted[name] for name in ("power", "threshold", "threads", "device")}
            batch = 1 if s.fresh_pilots else wanted["batch"]
            return Receiver(drop.pilots, s.antennas, prior, rate, rules=rules, batch=batch, **own)
        if wanted["learn"] or wanted["threshold"] is not None:
            raise ValueError(f"learn, threshold: expected the defaults with {name}, found others")
        own = {"prior": prior, "active": drop.active, "iterations": iterations}
        return plan_baseline(name, drop.pilots, s.array.antennas, s.activity_rate, wanted["power"], **own)


def _errors(found: Detection, drop: Drop) -> dict[str, float]:
    """Numbers of a detection: its errors, and counts of its probabilities."""
    errors = asdict(score(found, drop.active, drop.channels))
    del errors["trials"]
    errors |= {"iterations": found.iterations, "converged": found.converged}
    return errors | numbers_of(count_odds(found, drop.active))
