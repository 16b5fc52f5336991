"""Cai Fig. 9: NMSE over the activity rate."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from . import cai
from .result import Output, Progress, Result, Seed


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
    """NMSE over the activity rate, Cai Fig. 9: K=800, T=40, 10 dB.

    The directory OUTPUT/cai-9 keeps what is done; an interrupted command goes on.
    """
    rates = (0.01, 0.05, 0.15) if quick else (0.01, 0.03, 0.05, 0.07, 0.09, 0.11, 0.13, 0.15)
    points = [replace(cai.WORLD, symbols=40, activity_rate=rate) for rate in rates]
    run = cai.Run(output / "cai-9", trials or (3 if quick else 500), seed, workers, scheduler, progress)
    rows = cai.measure([cai.Group(points, receiver or cai.ALL)], run)
    return cai.result("cai-9", rows, "activity_rate", f"K=800, T=40, 10 dB, {run.words()}")
