"""Panels of probabilities of activity: ROC curves and reliability."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ..campaigns.intervals import clopper_pearson
from ..campaigns.odds import LOG_ODDS, Calibration, roc
from .result import Rows
from .style import COLOURS, DASHES, GRID, INK, drawing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

HALF = int(np.argmin(np.abs(LOG_ODDS)))  # of a curve, where the threshold is one half
_FEW = 20  # devices of a bin whose share says something


def activity_figure(counts: Mapping[str, Calibration], title: str = "") -> Figure:
    """Draw the ROC curve and the reliability of every receiver at one point; × is a probability of one half."""
    with drawing(13.2, 5.6, title, **GRID) as figure:
        draw_activity(figure.subplots(1, 2), counts)
        axes = figure.axes[0]
        figure.legend(*axes.get_legend_handles_labels(), loc="outside right upper", fontsize=10, handlelength=2.8)
    return figure


def draw_activity(panels: Any, counts: Mapping[str, Calibration]) -> None:
    """Draw both on two axes."""
    for i, (name, own) in enumerate(counts.items()):
        look = {"color": COLOURS[i % len(COLOURS)], "ls": DASHES[i // len(COLOURS) % len(DASHES)], "label": name}
        if own.active.sum() and own.idle.sum():
            draw_roc(panels[0], roc(own), look)
        draw_reliability(panels[1], own, look)
    panels[0].set(title="ROC; × is a probability of one half")


def draw_roc(axis: Any, own: Rows, look: dict[str, Any]) -> None:
    """Draw missed devices over false alarms; thin lines are intervals, a cross is a threshold of one half."""
    seen = [r for r in own if r["false_alarm"] > 0 and r["missed"] > 0]
    x, y = [r["false_alarm"] for r in seen], [r["missed"] for r in seen]
    axis.plot(x, y, lw=2.0, **look)
    bars: Any = {"color": look["color"], "lw": 1.0, "alpha": 0.45}
    axis.vlines(x, [r["missed_low"] for r in seen], [r["missed_high"] for r in seen], **bars)
    axis.hlines(y, [r["false_alarm_low"] for r in seen], [r["false_alarm_high"] for r in seen], **bars)
    half = own[HALF]
    x_half, y_half = max(half["false_alarm"], 3e-6), max(half["missed"], 3e-5)
    axis.plot([x_half], [y_half], "x", color=look["color"], ms=8, mew=2, clip_on=False)
    axis.set(xlabel="false alarms", xscale="log", yscale="log", xlim=(3e-6, 1.2), ylim=(3e-5, 1.2))
    axis.set_ylabel("missed devices")


def draw_reliability(axes: Any, own: Calibration, look: dict[str, Any]) -> None:
    """Draw shares of active devices over probabilities, with intervals and the line of what is promised."""
    count = own.idle + own.active
    some = (count >= _FEW) & (own.promised > 0)
    promised, share = own.promised[some] / count[some], own.active[some] / count[some]
    low, high = clopper_pearson(own.active[some], count[some])
    inside = (share > 0) & (share < 1)
    axes.plot(promised[inside], share[inside], marker="o", ms=6, lw=1.6, mec="white", **look)
    axes.vlines(promised, np.maximum(low, 1e-6), np.minimum(high, 1 - 1e-6), color=look["color"], lw=1.2, alpha=0.6)
    ends, ticks = (1e-5, 1 - 1e-5), (1e-4, 1e-2, 0.5, 0.99, 0.9999)
    axes.plot(ends, ends, color=INK, ls=DASHES[1], lw=1.2, zorder=1)
    axes.set(xscale="logit", yscale="logit", xlim=ends, ylim=ends)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_ticks(ticks, [f"{x:g}" for x in ticks])
        axis.set_ticks([], minor=True)
    axes.set(title="Reliability", xlabel="probability of activity", ylabel="share of active devices")
