"""The distribution over the trials of a campaign, and its probabilities: ``jadce simulate --plot``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..campaigns.ofdm_drop import Scenario
from ..campaigns.ofdm_outcome import Record, summarize_odds
from .activity import draw_activity
from .style import COLOURS, GRID, drawing

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def trials_figure(records: Sequence[Record], scenario: Scenario) -> Figure:
    """Draw the distribution over trials of NMSE and of detection time, the ROC curve, and reliability.

    One line for each receiver.
    """
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    title = (
        f"K={scenario.devices}, N={scenario.subcarriers}, M={scenario.antennas}, T={scenario.symbols}, "
        f"{scenario.snr_db:g} dB, activity {scenario.activity_rate:g}, CDL-{scenario.model}"
    )
    names = list(dict.fromkeys(r.prior for r in records))
    with drawing(12, 9.2, title, **GRID) as figure:
        (left, right), below = figure.subplots(2, 2)
        draw_activity(below, {name: summarize_odds(records, name) for name in names})
        for i, name in enumerate(names):
            own = [r for r in records if r.prior == name]
            look = {"label": name, "color": COLOURS[i % len(COLOURS)]}
            _draw_distribution(left, [r.score.nmse_db for r in own if r.score.channel_energy > 0], look)
            _draw_distribution(right, [1e3 * r.seconds for r in own], look)
        left.set(title="NMSE of a drop", xlabel="dB", ylabel="share of drops")
        right.set(title="Time of a detection", xlabel="ms", xscale="log")
        right.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        right.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        right.xaxis.set_minor_formatter(NullFormatter())
        left.legend()
    return figure


def _draw_distribution(axes: Any, values: Sequence[float], look: dict[str, Any]) -> None:
    ordered = np.sort(values)
    share = np.arange(1, len(ordered) + 1) / max(len(ordered), 1)
    axes.plot(ordered, share, lw=2.2, drawstyle="steps-post", marker="o", ms=3, **look)
    axes.set(ylim=(0, 1.02))
