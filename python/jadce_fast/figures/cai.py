"""What Figures 5 to 10 of Cai et al. share: their world, the receivers, a sweep of the engine, rows and pictures."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import typer

from ..campaigns.ofdm_campaign import simulate
from ..campaigns.ofdm_drop import Scenario
from ..campaigns.ofdm_outcome import Record, summarize
from .result import Progress, Result, Rows, Table, snr_levels
from .sweep import LABELS, sweep_figure

# Cai VI-A.1: angles of arrival, distances of 35 to 200 m; K, T, SNR and activity rate are the defaults.
WORLD = Scenario(angles="arrival", distance=(35.0, 200.0))
OURS = ("cdl-tiny+cdl-large", "ncsn-c")
PAPERS = ("tmp-em:4", "tmp-em:6", "tmp-em:12", "bg", "gmmv-amp")
OTHERS = ("mmv-amp", "covariance:cdl", "somp:cdl", "lmmse")
ALL = (*OURS, *PAPERS, *OTHERS)
_SLOW = ("ncsn-c", "gmmv-amp", "covariance", "printed-stmp", "dps", "dps-1000")  # seconds a detection, or a minute

Trials = Annotated[
    int | None,
    typer.Option(help="Drops of a point; a tenth for receivers that take seconds.", show_default="500, --quick: 3"),
]
Workers = Annotated[int, typer.Option(help="Processes, of one thread each.")]
Scheduler = Annotated[str | None, typer.Option(help="Address of a Dask scheduler, whose workers detect instead.")]
Receivers = Annotated[
    list[str] | None, typer.Option(help="Priors and baselines in place of the figure's; repeat.", show_default=False)
]
QuickSet = Annotated[bool, typer.Option("--quick", help="A few drops of a few points, in minutes.")]


@dataclass(frozen=True)
class Group:
    """Points that the same receivers detect, with a number of iterations if it is limited."""

    points: Sequence[Scenario]
    receivers: Sequence[str]
    iterations: int | None = None


@dataclass(frozen=True)
class Run:
    """How a figure is measured, by the options of its command."""

    kept: Path
    trials: int
    seed: int
    workers: int
    scheduler: str | None
    progress: Progress

    def drops(self, receiver: str) -> int:
        """Drops of a point that a receiver detects."""
        return max(self.trials // 10, 1) if receiver.partition(":")[0] in _SLOW else self.trials

    def words(self) -> str:
        """Number of drops, for titles."""
        return f"drops a point: {self.trials}, of slow receivers {self.drops(_SLOW[0])}"


def measure(groups: Sequence[Group], run: Run) -> Rows:
    """Rows of all groups' points and receivers; the directory `run.kept` keeps what is done."""
    total = sum(len(group.points) * run.drops(name) for group in groups for name in group.receivers)  # detections
    rows: Rows = []
    before, begun = 0, time.monotonic()
    for group in groups:
        records: list[Record] = []
        for trials in sorted(set(map(run.drops, group.receivers)), reverse=True):
            own = [name for name in group.receivers if run.drops(name) == trials]

            def report(drops: int, _: list[Record], before: int = before, size: int = len(own)) -> None:
                done, minutes = before + drops * size, (time.monotonic() - begun) / 60
                run.progress(done, total, f"{done} of {total} detections in {minutes:.1f} min")

            records += simulate(
                group.points,
                own,
                trials,
                run.seed,
                iterations=group.iterations,
                workers=run.workers,
                scheduler=run.scheduler,
                resume=run.kept,
                progress=report,
            )
            before += len(group.points) * trials * len(own)
        limit = {} if group.iterations is None else {"most_iterations": group.iterations}
        for i, point in enumerate(group.points):
            told = asdict(point)
            at = {name: told[name] for name in ("devices", "symbols", "activity_rate", "snr_db")} | limit
            rows += [at | asdict(summarize(records, name, i)) for name in dict.fromkeys(group.receivers)]
    return rows


def over_snr(snr: str, quick: bool, receivers: Sequence[str] | None, run: Run) -> Rows:
    """Rows of Fig. 6 and 7, which are one campaign."""
    levels = [-10.0, 0.0, 10.0, 20.0] if quick else snr_levels(snr)
    return measure([Group([replace(WORLD, snr_db=level) for level in levels], receivers or ALL)], run)


def result(name: str, rows: Rows, axis: str, title: str, *, rates: bool = True) -> Result:
    """Picture and table of one figure."""
    figure = sweep_figure(rows, axis, title, rates=rates)
    return Result(rows, {name: figure}, {"figure": name}, tables(rows, axis))


def tables(rows: Rows, axis: str) -> list[Table]:
    """NMSE, and errors of activity, of every receiver over the axis."""
    values = sorted({row[axis] for row in rows})
    columns = [axis, "drops", *(f"{value:g}" for value in values)]

    def lines(text: Any) -> list[list[str]]:
        found = []
        for receiver in dict.fromkeys(row["prior"] for row in rows):
            own = {row[axis]: row for row in rows if row["prior"] == receiver}
            drops = f"{min(row['trials'] for row in own.values())}"
            found.append([LABELS.get(receiver, receiver), drops, *(text(own[v]) if v in own else "" for v in values)])
        return found

    def errors(row: dict[str, Any]) -> str:
        return f"{row['missed']} + {row['false_alarms']}"

    return [Table("NMSE, dB", columns, lines(level)), Table("missed + false alarms", columns, lines(errors))]


def level(row: dict[str, Any]) -> str:
    """NMSE as text."""
    return "" if row["nmse_db"] is None else f"{row['nmse_db']:.1f}"
