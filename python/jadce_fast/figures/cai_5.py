"""Cai Fig. 5: NMSE over iterations."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from . import cai
from .result import Output, Progress, Result, Rows, Seed
from .style import GRID, drawing
from .sweep import draw_levels

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_STEPS, _QUICK = (1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 20, 25, 30), (1, 2, 3, 5, 8, 14)
RECEIVERS = (*cai.OURS, "printed-stmp:cdl-tiny", "tmp-em:4", "tmp-em:6", "tmp-em:12", "bg")


def command(
    *,
    output: Output = Path("out"),
    receiver: cai.Receivers = None,
    trials: cai.Trials = None,
    quick: cai.QuickSet = False,
    seed: Seed = 0,
    workers: cai.Workers = 1,
    scheduler: cai.Scheduler = None,
    progress: Progress,
) -> Result:
    """NMSE over iterations, Cai Fig. 5: K=800 and 1600, T=30, 10 dB, every receiver stopped after so many.

    The library's receiver hands out the best state that it has seen, so that its curve cannot rise. The directory
    OUTPUT/cai-5 keeps what is done; an interrupted command goes on.
    """
    devices, steps = ((800, 1600), _QUICK) if quick else ((800, 1600), _STEPS)
    points = [replace(cai.WORLD, devices=k, symbols=30) for k in devices]
    run = cai.Run(output / "cai-5", trials or (3 if quick else 500), seed, workers, scheduler, progress)
    rows = cai.measure([cai.Group(points, receiver or RECEIVERS, step) for step in steps], run)
    figure = draw(rows, f"T=30, λ=0.05, 10 dB, {run.words()}")
    tables = [replace(cai.tables(_of(rows, k), "most_iterations")[0], title=f"NMSE, dB, K={k}") for k in devices]
    return Result(rows, {"cai-5": figure}, {"figure": "cai-5"}, tables)


def draw(rows: Rows, title: str) -> Figure:
    """Draw NMSE over iterations, a panel for every number of devices."""
    devices = sorted({row["devices"] for row in rows})
    with drawing(13.5, 5.6, title, **GRID) as figure:
        for axes, k in zip(figure.subplots(1, len(devices), sharey=True, squeeze=False)[0], devices, strict=True):
            draw_levels(axes, _of(rows, k), "most_iterations")
            axes.set(title=f"K={k}", xlabel="iterations")
        handles, labels = axes.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside right upper", fontsize=10, handlelength=2.8)
    return figure


def _of(rows: Rows, devices: int) -> Rows:
    return [row for row in rows if row["devices"] == devices]
