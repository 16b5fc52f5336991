"""The one loop over updates: learning rate, checkpoints, interruptions, validations."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from .trainer import Trainer

VALIDATIONS = 24
_SAVE_EVERY = 60.0  # seconds
_GROWTH = 1.03  # ratio of the steps at which the mean loss is noted
Report = Callable[[float, int, str], None]


@dataclass(frozen=True)
class Plan:
    """How long to train and how fast.

    Attributes
    ----------
    minutes : float
        Training time, if there are no `steps`, over which the learning rate falls to zero.
    steps : int or None
        Number of updates.
    rate : float
        Highest learning rate.
    warm_up : int
        Updates until it is reached, at most.
    """

    minutes: float
    steps: int | None
    rate: float
    warm_up: int


def begin(trainer: Trainer, checkpoint: Path, settings: dict[str, Any], rank: int = 0) -> dict[str, Any]:
    """Progress of a checkpoint, taken up, if there is one, else that of nothing; errors as `Trainer.resume`."""
    if checkpoint.exists():
        return trainer.resume(checkpoint, settings, rank)
    return {"elapsed": 0.0, "history": [], "losses": [], "first": math.nan}


def run(
    trainer: Trainer,
    plan: Plan,
    progress: dict[str, Any],
    *,
    save: Callable[[], None],
    validate: Callable[[float], str],
    report: Report,
    rank: int = 0,
) -> float:
    """Train on from `progress`, which is kept up to date; returns the seconds of training in all.

    Parameters
    ----------
    trainer : Trainer
    plan : Plan
    progress : dict
        From `begin`.
    save : callable
        Writes a checkpoint of trainer and progress, once a minute and when the loop is interrupted.
    validate : callable
        Takes the seconds, adds a row to the history of `progress`, and returns a line of text; called at `VALIDATIONS`
        points of the run by the process of rank 0. It may end the run by setting `progress`["over"].
    report : callable
        Takes the share of the work that is done, the step, and the line (else an empty one).
    rank : int
        Of torchrun.

    Raises
    ------
    KeyboardInterrupt
        When interrupted, after the checkpoint is written.
    """
    processes, place = trainer.processes, trainer.device
    start, saved = time.perf_counter() - progress["elapsed"], progress["elapsed"]
    warm_up = min(plan.warm_up, plan.steps // 10 + 1 if plan.steps else plan.warm_up)
    marks = len(progress["history"])
    try:
        while True:
            if place.type == "cuda" and trainer.count % 32 == 0:
                torch.cuda.synchronize()  # the clock below must not run ahead of the GPU
            elapsed = _together(time.perf_counter() - start, processes, place)
            done = trainer.count / plan.steps if plan.steps else elapsed / (60 * plan.minutes)
            if done * VALIDATIONS >= marks + 1 and rank == 0:
                line = validate(elapsed)
                report(min(done, 1.0), trainer.count, line)
            marks = max(marks, int(done * VALIDATIONS))
            if done >= 1 or progress.get("over"):
                return elapsed
            trainer.step(plan.rate * min(1.0, (trainer.count + 1) / warm_up) * 0.5 * (1 + math.cos(math.pi * done)))
            if math.isnan(progress["first"]):
                progress["first"] = float(trainer.loss[0])
            _note_losses(trainer, progress["losses"])
            if elapsed - saved > _SAVE_EVERY:
                saved = progress["elapsed"] = elapsed
                save()
            if rank == 0:
                report(done, trainer.count, "")
    except KeyboardInterrupt:
        if processes == 1:  # several end at different steps; their last common checkpoint stays
            progress["elapsed"] = time.perf_counter() - start
            save()
        raise


def check_finite(trainer: Trainer) -> tuple[float, float]:
    """Losses of the last update; `RuntimeError` if one is infinite or NaN."""
    fit, spread = trainer.loss.tolist()
    if not math.isfinite(fit + spread):
        raise RuntimeError(f"training diverged at step {trainer.count}: loss {fit}, {spread}; lower --rate")
    return fit, spread


def _note_losses(trainer: Trainer, rows: list[list[float]]) -> None:
    """Append step and mean losses since the last row, at steps 3 % apart."""
    last = int(rows[-1][0]) if rows else 0
    if trainer.count >= max(last + 1, math.ceil(_GROWTH * last)):
        mean = (trainer.total / (trainer.count - last)).tolist()
        rows.append([trainer.count, *(float(f"{x:.5g}") for x in mean)])
        trainer.total.zero_()


def _together(elapsed: float, processes: int, place: torch.device) -> float:
    """The first process's clock, so that all end after the same step."""
    if processes == 1:
        return elapsed
    clock = torch.tensor(elapsed, dtype=torch.float64, device=place)
    torch.distributed.broadcast(clock, 0)
    return float(clock)
