"""Missed devices over false alarms as the threshold moves."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..campaigns.calibration import Contender, measure_calibration
from ..campaigns.odds import roc
from ..campaigns.ofdm_drop import Scenario
from .activity import HALF, draw_roc
from .result import Output, Progress, Quick, Result, Rows, Seed, Table, Threads
from .style import COLOURS, DASHES, GRID, drawing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PANELS = {
    "T=2, −15 dB": Scenario(symbols=2, snr_db=-15.0),
    "T=3, −20 dB": Scenario(symbols=3, snr_db=-20.0),
    "T=5, −23 dB": Scenario(symbols=5, snr_db=-23.0),
}


def command(
    *,
    output: Output = Path("out"),
    blocks: Annotated[int, typer.Option(help="Blocks of each curve.")] = 200,
    prior: Annotated[str, typer.Option(help="Shipped prior or file, beside the Gaussian one.")] = "cdl",
    quick: Quick = False,
    seed: Seed = 0,
    threads: Threads = None,
    progress: Progress,
) -> Result:
    """Missed devices over false alarms by threshold, known and unknown power, few pilots, and the Gaussian prior.

    With Clopper-Pearson intervals of 95 %. The directory OUTPUT/roc keeps what is done; an interrupted command goes on.
    """
    blocks = min(blocks, 5) if quick else blocks
    contenders = [Contender(name, power) for name in (prior, "gaussian") for power in ("known", "unknown")]
    output.mkdir(parents=True, exist_ok=True)
    found = measure_calibration(
        list(PANELS.values()),
        contenders,
        blocks,
        seed,
        threads=threads,
        resume=output / "roc",
        progress=lambda done, total: progress(done, total, ""),
    )
    rows: Rows = []
    lines = []
    for panel, own in zip(PANELS, found, strict=True):
        for contender, counts in zip(contenders, own, strict=True):
            curve = roc(counts)
            rows += [{"panel": panel} | asdict(contender) | point for point in curve]
            half = curve[HALF]
            names = [panel, contender.prior, contender.power]
            lines.append([*names, *(f"{half[x]:.2g}" for x in ("missed", "false_alarm"))])
    table = Table("at a probability of one half", ["", "prior", "power", "missed", "false alarms"], lines)
    return Result(rows, {"roc": draw(rows, blocks)}, {"blocks": blocks, "prior": prior}, [table])


def draw(rows: Rows, blocks: int) -> Figure:
    """Draw a panel for each operating point; crosses are thresholds of one half, thin lines the intervals."""
    title = f"Who is active: K=800, 5 % active, power control, {blocks} blocks a curve; × is a probability of one half"
    with drawing(14.0, 5.4, title, **GRID) as figure:
        panels = list(dict.fromkeys(row["panel"] for row in rows))
        axes = figure.subplots(1, len(panels), sharey=True)
        contenders = list(dict.fromkeys((row["prior"], row["power"]) for row in rows))
        for axis, panel in zip(axes, panels, strict=True):
            for i, (prior, power) in enumerate(contenders):
                own = [r for r in rows if (r["panel"], r["prior"], r["power"]) == (panel, prior, power)]
                look = {"color": COLOURS[i // 2], "ls": DASHES[i % 2], "label": f"{prior}, power {power}"}
                draw_roc(axis, own, look)
            axis.set(title=panel)
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=4, handlelength=2.6)
    return figure
