"""Missed devices over false alarms as the threshold moves."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer

from ..campaigns.calibration import LOG_ODDS, Calibration, Contender, measure_calibration
from ..campaigns.intervals import clopper_pearson
from ..campaigns.ofdm_drop import Scenario
from .result import Output, Progress, Quick, Result, Rows, Seed, Table, Threads
from .style import COLOURS, DASHES, GRID, drawing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PANELS = {
    "T=2, −15 dB": Scenario(symbols=2, snr_db=-15.0),
    "T=3, −20 dB": Scenario(symbols=3, snr_db=-20.0),
    "T=5, −23 dB": Scenario(symbols=5, snr_db=-23.0),
}
_HALF = int(np.argmin(np.abs(LOG_ODDS)))


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
            curve = _curve(counts)
            rows += [{"panel": panel} | asdict(contender) | point for point in curve]
            half = curve[_HALF]
            names = [panel, contender.prior, contender.power]
            lines.append([*names, *(f"{half[x]:.2g}" for x in ("missed", "false_alarm"))])
    table = Table("at a probability of one half", ["", "prior", "power", "missed", "false alarms"], lines)
    return Result(rows, {"roc": draw(rows, blocks)}, {"blocks": blocks, "prior": prior}, [table])


def _curve(counts: Calibration) -> list[dict[str, float]]:
    """Shares by threshold, with the intervals."""
    idle, active = counts.curve()
    all_idle, all_active = counts.idle.sum(), counts.active.sum()
    missed = all_active - active
    missed_low, missed_high = clopper_pearson(missed, np.full_like(missed, all_active))
    alarm_low, alarm_high = clopper_pearson(idle, np.full_like(idle, all_idle))
    columns = {
        "log_odds": LOG_ODDS,
        "missed": missed / all_active,
        "missed_low": missed_low,
        "missed_high": missed_high,
        "false_alarm": idle / all_idle,
        "false_alarm_low": alarm_low,
        "false_alarm_high": alarm_high,
    }
    return [{name: float(value[i]) for name, value in columns.items()} for i in range(len(LOG_ODDS))]


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
                _draw_curve(axis, own, look)
            axis.set(title=panel, xlabel="false alarms", xscale="log", yscale="log", xlim=(3e-6, 1.2), ylim=(3e-5, 1.2))
        axes[0].set_ylabel("missed devices")
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=4, handlelength=2.6)
    return figure


def _draw_curve(axis: Any, own: Rows, look: dict[str, Any]) -> None:
    seen = [r for r in own if r["false_alarm"] > 0 and r["missed"] > 0]
    x, y = [r["false_alarm"] for r in seen], [r["missed"] for r in seen]
    axis.plot(x, y, lw=2.0, **look)
    bars: Any = {"color": look["color"], "lw": 1.0, "alpha": 0.45}
    axis.vlines(x, [r["missed_low"] for r in seen], [r["missed_high"] for r in seen], **bars)
    axis.hlines(y, [r["false_alarm_low"] for r in seen], [r["false_alarm_high"] for r in seen], **bars)
    half = own[_HALF]
    x_half, y_half = max(half["false_alarm"], 3e-6), max(half["missed"], 3e-5)
    axis.plot([x_half], [y_half], "x", color=look["color"], ms=8, mew=2, clip_on=False)
