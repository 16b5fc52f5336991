"""What a receiver says of blocks that do not fit its model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..campaigns.mismatch import MISMATCHES, MismatchRow, measure_mismatch
from .result import Output, Progress, Quick, Result, Seed, Table, Threads
from .style import BLUE, GREY, GRID, ORANGE, drawing

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def command(
    *,
    output: Output = Path("out"),
    blocks: Annotated[int, typer.Option(help="Blocks of each kind and size.")] = 20,
    prior: Annotated[str, typer.Option(help="Shipped prior, gaussian, or file.")] = "cdl",
    quick: Quick = False,
    seed: Seed = 0,
    threads: Threads = None,
    progress: Progress,
) -> Result:
    """What remains of blocks that do not fit, over the size of the mismatch, whether it is noticed, and the error.

    K=400, T=20, 10 dB. The directory OUTPUT/mismatch keeps what is done; an interrupted command goes on.
    """
    blocks = min(blocks, 2) if quick else blocks
    kinds = (
        [replace(m, sizes=m.sizes[::3] if len(m.sizes) > 3 else m.sizes) for m in MISMATCHES] if quick else MISMATCHES
    )
    output.mkdir(parents=True, exist_ok=True)
    rows = measure_mismatch(
        prior,
        blocks,
        seed,
        mismatches=kinds,
        threads=threads,
        resume=output / "mismatch",
        progress=lambda done, total: progress(done, total, ""),
    )
    lines = [
        [
            *(row.mismatch, f"{row.size:g}", f"{row.explained:.2f} ({row.least:.2f} … {row.most:.2f})"),
            *(f"{row.trusted} of {row.blocks}", f"{row.nmse_db:.1f}"),
            f"{row.missed}, {row.false_alarms} of {row.active}",
        ]
        for row in rows
    ]
    columns = ["mismatch", "size", "left over noise (explained)", "trusted", "NMSE, dB", "missed, ghosts"]
    facts = {"blocks": blocks, "prior": prior}
    return Result([asdict(row) for row in rows], {"mismatch": draw(rows)}, facts, [Table("mismatch", columns, lines)])


def draw(rows: Sequence[MismatchRow]) -> Figure:
    """Draw two panels for each kind: what remains, with the range that is explained, and NMSE; open where trusted."""
    kinds = list(dict.fromkeys(row.mismatch for row in rows))
    title = "Blocks that do not fit, K=400, T=20, 10 dB: medians, grey is the range that the model explains"
    with drawing(15.5, 7.0, title, **GRID) as figure:
        axes = figure.subplots(2, len(kinds), sharex="col", sharey="row", squeeze=False)
        for (top, bottom), kind in zip(axes.T, kinds, strict=True):
            own = sorted((row for row in rows if row.mismatch == kind), key=lambda row: row.size)
            at = list(range(len(own)))  # sizes are far apart: evenly spaced
            least = [max(row.least, 0.05) for row in own]
            top.fill_between(at, least, [row.most for row in own], color=GREY, alpha=0.45, lw=0)
            _points(top, own, [row.explained for row in own])
            _points(bottom, own, [row.nmse_db for row in own])
            name, unit = kind.split(", ", 1)
            top.set(yscale="log", title=name)
            bottom.set_xlabel(unit)
            bottom.set_xticks(at, [f"{row.size:g}" for row in own], rotation=45)
            bottom.set_xlim(-0.4, len(own) - 0.6)
        axes[0, 0].set_ylabel("what remains over noise")
        axes[1, 0].set_ylabel("NMSE in dB")
        for colour, text in ((BLUE, "all blocks trusted"), (GREY, "some"), (ORANGE, "none")):
            axes[0, 0].plot([], [], "o", color=colour, ms=8, label=text)
        handles, labels = axes[0, 0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=3)
    return figure


def _points(axis: Any, rows: Sequence[MismatchRow], values: Sequence[float]) -> None:
    axis.plot(range(len(values)), values, color="#46525e", lw=1.4, zorder=2)
    for i, (row, value) in enumerate(zip(rows, values, strict=True)):
        colour = BLUE if row.trusted == row.blocks else ORANGE if row.trusted == 0 else GREY
        axis.plot([i], [value], "o", color=colour, ms=8, mec="white", zorder=3)
