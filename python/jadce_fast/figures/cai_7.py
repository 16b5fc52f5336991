"""Cai Fig. 7: detection error probability over SNR."""

from __future__ import annotations

from pathlib import Path

from . import cai
from .result import Output, Progress, Result, Seed, Snr
from .style import GRID, drawing
from .sweep import draw_rates


def command(
    *,
    output: Output = Path("out"),
    snr: Snr = "-15:20:5",
    receiver: cai.Receivers = None,
    trials: cai.Trials = None,
    quick: cai.QuickSet = False,
    seed: Seed = 0,
    workers: cai.Workers = 1,
    scheduler: cai.Scheduler = None,
    progress: Progress,
) -> Result:
    """Errors of activity over SNR, Cai Fig. 7: K=800, T=20.

    The directory OUTPUT/cai-6 keeps what is done, for both figures; an interrupted command goes on.
    """
    run = cai.Run(output / "cai-6", trials or (3 if quick else 5000), seed, workers, scheduler, progress)
    rows = cai.over_snr(snr, quick, receiver, run)
    with drawing(10.5, 5.8, f"K=800, T=20, λ=0.05, {run.words()}", **GRID) as figure:
        axes = figure.subplots()
        draw_rates(axes, rows, "snr_db")
        figure.legend(*axes.get_legend_handles_labels(), loc="outside right upper", fontsize=10, handlelength=2.8)
    return Result(rows, {"cai-7": figure}, {"figure": "cai-7"}, cai.tables(rows, "snr_db")[1:])
