"""Cai Fig. 8: NMSE over the number of devices."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from . import cai
from .result import Output, Progress, Result, Seed

_FEW, _MANY, _BEYOND = (400, 600, 800, 1000, 1500), (2000, 3000, 4000), (6000, 9000, 12000)
_SLOW = ("gmmv-amp", "covariance:cdl")  # minutes a drop from some 2000 devices on


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
    """NMSE over the number of devices, Cai Fig. 8, and beyond it: T=40, 10 dB.

    GMMV-AMP and covariance ML end at K=1500, all but this library at K=4000. The directory OUTPUT/cai-8 keeps what is
    done; an interrupted command goes on.
    """
    few, many, beyond = ((800,), (3000,), (9000, 12000)) if quick else (_FEW, _MANY, _BEYOND)
    names = receiver or cai.ALL
    run = cai.Run(output / "cai-8", trials or (3 if quick else 500), seed, workers, scheduler, progress)
    groups = [
        cai.Group([replace(cai.WORLD, devices=k, symbols=40) for k in devices], chosen)
        for devices, chosen in (
            (few, names),
            (many, [name for name in names if name not in _SLOW]),
            (beyond, [name for name in names if name in ("cdl", "cdl-tiny", "cdl-tiny+cdl-large")]),
        )
        if chosen
    ]
    rows = cai.measure(groups, run)
    return cai.result("cai-8", rows, "devices", f"T=40, λ=0.05, 10 dB, {run.words()}")
