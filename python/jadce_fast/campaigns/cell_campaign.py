"""Campaigns in the cell of Tang et al.: many draws at many operating points, several receivers on the same draws."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import _check
from ..priors.cell import CellPrior
from .cell_drop import CellDrop, CellScenario, draw_cell
from .cell_receivers import Contender, load_receiver
from .engine import Point, Stop, run
from .store import Lists, Store

_RESAMPLES = 2000  # resampled sets of draws of the bootstrap


@dataclass(frozen=True)
class CellRecord:
    """Result of one receiver on one draw.

    Attributes
    ----------
    point, trial : int
        Index of the scenario, and of its draw.
    receiver : str
    active, missed, false_alarms : int
        Truly active devices, those not detected, and detected ones that were not active.
    error_energy, channel_energy : float
        Squared norms of the error of X and of X, all columns, decided active or not, as the paper's NMSE.
    restarts, diverged : int
        Chains that began anew, and that were given up.
    seconds : float
        Of the estimate.
    """

    point: int
    trial: int
    receiver: str
    active: int
    missed: int
    false_alarms: int
    error_energy: float
    channel_energy: float
    restarts: int
    diverged: int
    seconds: float

    @property
    def nmse_db(self) -> float | None:
        """NMSE of the draw in dB; None if nobody was active."""
        if self.channel_energy <= 0:
            return None
        return 10 * float(np.log10(max(self.error_energy / self.channel_energy, 1e-30)))

    def row(self) -> dict[str, Any]:
        """Flat form, one line of a table."""
        return asdict(self) | {"nmse_db": self.nmse_db}


@dataclass(frozen=True)
class CellOutcome:
    """Statistics over the draws of one receiver at one operating point; intervals hold with 95 %.

    Attributes
    ----------
    receiver : str
    trials, active, missed, false_alarms : int
    accuracy, accuracy_low, accuracy_high : float
        Share of right decisions, and its normal interval over draws.
    nmse_db : float or None
        Median over draws with an active device; None without one.
    nmse_low_db, nmse_high_db : float or None
        Its interval, of order statistics.
    mean_nmse_db, total_nmse_db : float or None
        Of the mean of NMSEs, which weak draws rule, and of summed errors over summed energies, which strong ones rule.
    restarts, diverged : int
    seconds_p50, seconds_p99 : float
    """

    receiver: str
    trials: int
    active: int
    missed: int
    false_alarms: int
    accuracy: float
    accuracy_low: float
    accuracy_high: float
    nmse_db: float | None
    nmse_low_db: float | None
    nmse_high_db: float | None
    mean_nmse_db: float | None
    total_nmse_db: float | None
    restarts: int
    diverged: int
    seconds_p50: float
    seconds_p99: float


def simulate_cell(
    points: Sequence[CellScenario],
    receivers: Sequence[str] = ("cell", "lmmse"),
    trials: int = 50,
    seed: int = 0,
    *,
    belief: CellPrior | None = None,
    threads: int | None = None,
    options: dict[str, Any] | None = None,
    resume: str | os.PathLike[str] | None = None,
    progress: Callable[[int, int, list[CellRecord]], None] | None = None,
) -> list[CellRecord]:
    """Estimate the same draws with several receivers.

    Parameters
    ----------
    points : sequence of CellScenario
        Operating points.
    receivers : sequence of str
        "cell": the Langevin receiver with the exact score; the name of another prior of
        :class:`jadce_fast.LangevinReceiver`; "lmmse": LMMSE with the true mean power and the best threshold of
        activity; "tmp": turbo message passing with the exact denoiser; "algorithm-1": the paper's sampler as printed.
    trials : int
        Draws at each point; draw i is the same whatever their number, and the receivers.
    seed : int
        Of pilots, draws and chains.
    belief : CellPrior, optional
        What receivers take the cell for; by default the cell of each point.
    threads : int, optional
        Native threads of the Langevin receiver.
    options : dict, optional
        Of the Langevin receiver, such as ``chains``.
    resume : path-like, optional
        Directory that keeps what is done. An interrupted campaign goes on from it; more trials, points and receivers
        may be added.
    progress : callable, optional
        Called with the number of draws done, that of all, and the records of the point at work, after every draw; an
        exception in it cancels the campaign, whose numbers so far are kept.

    Returns
    -------
    list of CellRecord
        In the order of points, then receivers, then trials.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range or unknown, or the directory to resume from is of another campaign.
    """
    trials, seed = _check.integer("trials", trials, 1), _check.integer("seed", seed, 0)
    names, options = list(dict.fromkeys(receivers)), dict(options or {})
    for argument, given in (("points", points), ("receivers", names)):
        if not len(given):
            raise ValueError(f"{argument}: expected at least one, found none")
    store = Store(resume, "cell", {"seed": seed})

    def run_point(index: int, scenario: CellScenario) -> list[CellRecord]:
        world = belief or scenario.prior
        at_work = {name: load_receiver(name, scenario, world, seed, threads, options) for name in names}
        key = {"scenario": asdict(scenario), "belief": asdict(world), "options": options}
        kept = {n: store.lists(key | {"receiver": n, "fingerprint": c.fingerprint}) for n, c in at_work.items()}
        records: list[CellRecord] = []

        def count(_: int, done: int) -> None:
            records.extend(_record(index, name, kept[name], done - 1) for name in names)
            if progress is not None:
                progress(index * trials + done, len(points) * trials, records)

        measure = {name: partial(_measure, contender) for name, contender in at_work.items()}
        run(store, [Point(kept, partial(draw_cell, scenario, seed), measure)], Stop(trials), progress=count)
        return sorted(records, key=lambda r: names.index(r.receiver))

    return [record for index, scenario in enumerate(points) for record in run_point(index, scenario)]


def summarize_cell(records: Sequence[CellRecord], scenario: CellScenario, receiver: str) -> CellOutcome:
    """Outcome of the records of one receiver at one point, at least one."""
    own = [r for r in records if r.receiver == receiver]
    right = 1 - np.array([r.missed + r.false_alarms for r in own]) / scenario.devices
    error = 1.96 * float(np.std(right)) / len(own) ** 0.5
    heard = [r for r in own if r.channel_energy > 0]
    ratios = np.array([r.error_energy / r.channel_energy for r in heard])
    levels = np.array([r.nmse_db for r in heard], np.float64)
    total = sum(r.error_energy for r in heard) / sum(r.channel_energy for r in heard) if heard else 1.0
    low, high = median_interval(levels) if heard else (None, None)
    seconds = [r.seconds for r in own]
    return CellOutcome(
        receiver=receiver,
        trials=len(own),
        active=sum(r.active for r in own),
        missed=sum(r.missed for r in own),
        false_alarms=sum(r.false_alarms for r in own),
        accuracy=float(right.mean()),
        accuracy_low=max(float(right.mean()) - error, 0.0),
        accuracy_high=min(float(right.mean()) + error, 1.0),
        nmse_db=float(np.median(levels)) if heard else None,
        nmse_low_db=low,
        nmse_high_db=high,
        mean_nmse_db=10 * float(np.log10(max(ratios.mean(), 1e-30))) if heard else None,
        total_nmse_db=10 * float(np.log10(max(total, 1e-30))) if heard else None,
        restarts=sum(r.restarts for r in own),
        diverged=sum(r.diverged for r in own),
        seconds_p50=float(np.percentile(seconds, 50)),
        seconds_p99=float(np.percentile(seconds, 99)),
    )


def median_interval(values: npt.NDArray[np.float64]) -> tuple[float, float]:
    """95 % interval of the median by order statistics: n / 2 -+ 0.98 sqrt(n) of the sorted values."""
    ordered = np.sort(values)
    n = len(ordered)
    reach = 0.98 * n**0.5
    low, high = int(np.floor(n / 2 - reach)), int(np.ceil(n / 2 + reach))
    return float(ordered[max(low - 1, 0)]), float(ordered[min(high, n - 1)])


def bootstrap(
    statistic: Callable[..., float], *paired: npt.NDArray[np.float64], seed: int = 0
) -> tuple[float, float, float]:
    """A statistic of columns that belong together, such as NMSEs of the same draws, and its 95 % interval."""
    rng, n = np.random.default_rng(seed), len(paired[0])
    again = []
    for _ in range(_RESAMPLES):
        chosen = rng.integers(0, n, n)
        again.append(statistic(*(column[chosen] for column in paired)))
    low, high = np.percentile(again, [2.5, 97.5])
    return statistic(*paired), float(low), float(high)


_REAL = ("error_energy", "channel_energy", "seconds")
_NUMBERS = [f.name for f in fields(CellRecord) if f.name not in ("point", "trial", "receiver")]


def _measure(contender: Contender, drop: CellDrop) -> dict[str, float]:
    """Numbers of a `CellRecord`. Unlike `metrics.score` they count what is estimated for idle devices too."""
    start = time.perf_counter()
    found = contender.estimate(drop)
    seconds = time.perf_counter() - start
    truth, active = drop.x, drop.activity
    return {
        "active": int(active.sum()),
        "missed": int(np.sum(active & ~found.active)),
        "false_alarms": int(np.sum(found.active & ~active)),
        "error_energy": float(np.sum(np.abs(found.x - truth) ** 2)),
        "channel_energy": float(np.sum(np.abs(truth) ** 2)),
        "restarts": found.restarts,
        "diverged": found.diverged,
        "seconds": seconds,
    }


def _record(point: int, name: str, lists: Lists, trial: int) -> CellRecord:
    numbers: dict[str, Any] = {f: lists[f][trial] if f in _REAL else int(lists[f][trial]) for f in _NUMBERS}
    return CellRecord(point=point, trial=trial, receiver=name, **numbers)
