"""``jadce adapt``: a prior of a cell's own from the blocks that were received there."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..priors import DEFAULT
from . import console
from .app import Json, Seed, app, check_target
from .detect import parse_power

if TYPE_CHECKING:
    from ..capture import Capture


@app.command()
def adapt(
    *,
    output: Annotated[Path, typer.Argument(help="Prior to write, .safetensors.", show_default=False)],
    captures: Annotated[
        list[Path],
        typer.Argument(
            metavar="CAPTURE...", help="Captures, .npz, .h5 or .mat; y of one block or of several.", show_default=False
        ),
    ],
    prior: Annotated[str, typer.Option(help="Where to begin: shipped name, file or A+B.")] = DEFAULT,
    power: Annotated[str, typer.Option(help="Mean received power of an active device, or unknown.")] = "unknown",
    rate: Annotated[float | None, typer.Option(help="Activity rate.", show_default="the captures', or learned")] = None,
    minutes: Annotated[float, typer.Option(help="Training time; detecting the blocks comes on top.")] = 30.0,
    steps: Annotated[int | None, typer.Option(help="Number of updates in place of a time.")] = None,
    seed: Seed = 0,
    threads: Annotated[int, typer.Option(help="Threads of detections and of torch.")] = 2,
    as_json: Json = False,
) -> None:
    """Fine-tune a prior to a cell by received blocks alone. Interrupted, the same command goes on where it was."""
    check_target("OUTPUT", output, (".safetensors",))
    level = parse_power(power)

    import torch

    from .. import _check
    from ..training.adapt import adapt

    blocks, files = _load(captures)
    torch.set_num_threads(_check.integer("threads", threads, 1, 1024))
    with console.Progress("adapting", 1000) as bar:
        begun: list[tuple[float, int]] = []
        said = ""

        def report(done: float, step: int, line: str) -> None:
            nonlocal said
            if line:
                said = line.split("; ")[-1]
                console.note(line)
            if step and not begun:
                begun.append((time.perf_counter(), step))
            seconds, first = (time.perf_counter() - begun[0][0], begun[0][1]) if begun else (0.0, 0)
            bar.update(int(1000 * done), f"{(step - first) / max(seconds, 1e-9):.1f} updates/s  {said}")

        try:
            result = adapt(
                blocks,
                output,
                prior=prior,
                minutes=minutes,
                steps=steps,
                activity_rate=rate,
                power=level,
                seed=seed,
                threads=threads,
                report=report,
            )
        except (ValueError, TypeError) as error:
            if place := re.match(r"blocks\[(\d+)\]", str(error)):  # no name that a caller of the command knows
                raise type(error)(f"{files[int(place[1])]}: {error}") from error
            raise
    if as_json:
        console.show_json({"prior": str(output)} | result)
        return
    before, after = result["error_db"]
    console.show(
        f"{output}: {result['steps']} updates in {result['seconds']:.0f} s on {result['channels']} channels of "
        f"{result['blocks']} blocks ({result['refused']} not to be trusted)"
    )
    console.show(
        f"{result['held_out']} held-out blocks: channels {before:.2f} dB before, {after:.2f} dB after; log-likelihood "
        f"{result['gain']:+.5f} ({result['gain_error']:.5f}) nats an entry"
    )
    if not result["adapted"]:
        console.note("nothing explained the held-out blocks better than the prior it began from, which was written")


def _load(paths: list[Path]) -> tuple[list[Capture], list[Path]]:
    """Blocks of all files, equal pilots kept once, and the file of each."""
    from dataclasses import replace

    from ..capture import load_blocks
    from ..training.received import digest

    blocks: list[Capture] = []
    files: list[Path] = []
    known: dict[str, Any] = {}
    for path in paths:
        found = load_blocks(path)
        pilots = known.setdefault(digest(found[0].pilots), found[0].pilots)
        files += [path] * len(found)
        blocks += found if pilots is found[0].pilots else [replace(block, pilots=pilots) for block in found]
    return blocks, files
