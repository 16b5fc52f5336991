"""Cai Fig. 10: NMSE over the number of pilot symbols."""

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
    """NMSE over the number of pilot symbols, Cai Fig. 10: K=800, 10 dB.

    The directory OUTPUT/cai-10 keeps what is done; an interrupted command goes on.
    """
    symbols = (10, 20, 40, 80) if quick else (10, 20, 30, 40, 50, 60, 70, 80)
    points = [replace(cai.WORLD, symbols=t) for t in symbols]
    run = cai.Run(output / "cai-10", trials or (3 if quick else 500), seed, workers, scheduler, progress)
    rows = cai.measure([cai.Group(points, receiver or cai.ALL)], run)
    return cai.result("cai-10", rows, "symbols", f"K=800, λ=0.05, 10 dB, {run.words()}")
