"""Cai Fig. 7: detection error probability over SNR."""

from __future__ import annotations

from pathlib import Path

from . import cai
from .result import Output, Progress, Result, Seed, Snr
from .sweep import rates_figure


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
    figure = rates_figure(rows, "snr_db", f"K=800, T=20, λ=0.05, {run.words()}")
    return Result(rows, {"cai-7": figure}, {"figure": "cai-7"}, cai.tables(rows, "snr_db")[1:])
