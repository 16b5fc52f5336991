"""Pictures of campaigns in the cell of Tang et al.: NMSE and accuracy of activity over SNR."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from ..campaigns.cell_link import LinkRow
from .plots import _COLOURS, _STYLE, GREY, INK

_MANY = (*_COLOURS, INK, GREY)
_MARKERS = "osD^vPX*"
_LABELS = {"cell": "Langevin, exact score", "tmp": "message passing", "lmmse": "LMMSE", "algorithm-1": "Algorithm 1"}
_LABELS["truth"] = "true channels"


def label_of(receiver: str) -> str:
    """What a picture calls a receiver."""
    return _LABELS.get(receiver, f"Langevin, {receiver}")


def cell_figure(rows: Sequence[dict[str, Any]], title: str) -> Figure:
    """Draw a column of two axes for every panel, NMSE above accuracy, a line for each curve and receiver.

    Parameters
    ----------
    rows : sequence of dict
        With ``panel``, ``curve``, ``receiver``, ``snr_db``, ``nmse_db`` (and its interval) and ``accuracy``.
    title : str
    """
    panels = list(dict.fromkeys(row["panel"] for row in rows))
    receivers = list(dict.fromkeys(row["receiver"] for row in rows))
    everything = list(dict.fromkeys(row["curve"] for row in rows))  # a curve looks the same in every panel
    with rc_context(_STYLE | {"axes.grid": True, "axes.grid.axis": "both"}):
        figure = Figure(figsize=(2.2 + 4.6 * len(panels), 7.6), layout=ConstrainedLayoutEngine(w_pad=0.08, h_pad=0.08))
        figure.suptitle(title, x=0.012, ha="left", fontsize=13)
        axes = figure.subplots(2, len(panels), squeeze=False, sharex=True, sharey="row")
        for column, panel in enumerate(panels):
            curves = list(dict.fromkeys(row["curve"] for row in rows if row["panel"] == panel))
            for curve in curves:
                for j, receiver in enumerate(receivers):
                    own = [r for r in rows if (r["panel"], r["curve"], r["receiver"]) == (panel, curve, receiver)]
                    if own:
                        look = _look(everything.index(curve), j, len(curves) == 1)
                        text = label_of(receiver) if len(curves) == 1 else curve if j == 0 else None
                        _draw(axes[:, column], own, look, text)
            if len(curves) > 1 and len(receivers) > 1:  # what solid and dashed lines are, once a panel
                for j, receiver in enumerate(receivers):
                    axes[0, column].plot([], [], color=INK, ls=_DASHES[j % len(_DASHES)], label=label_of(receiver))
            axes[0, column].set(title=panel or "NMSE", ylabel="median NMSE in dB" if column == 0 else "")
            axes[1, column].set(xlabel="SNR in dB", ylabel="accuracy of activity" if column == 0 else "")
            axes[0, column].legend(fontsize=10, handlelength=2.6)
    return figure


def link_figure(rows: Sequence[LinkRow]) -> Figure:
    """Draw block error rates over SNR; a rate of zero is not drawn."""
    with rc_context(_STYLE | {"axes.grid": True, "axes.grid.axis": "both"}):
        figure = Figure(figsize=(7.6, 5.2), layout=ConstrainedLayoutEngine(w_pad=0.08, h_pad=0.08))
        axes = figure.subplots()
        for i, name in enumerate(dict.fromkeys(row.receiver for row in rows)):
            own = [row for row in rows if row.receiver == name and row.lost > 0]
            look = _look(0, i, True) | ({"ls": (0, (4, 2)), "color": INK} if name == "truth" else {})
            axes.plot([r.snr_db for r in own], [r.block_error_rate for r in own], label=label_of(name), **look)
        axes.set(title="LDPC-coded QPSK, rate 1/2", xlabel="SNR in dB", ylabel="block error rate", yscale="log")
        axes.set_ylim(top=1.1)
        axes.legend()
    return figure


_DASHES: tuple[Any, ...] = ("-", (0, (4, 2)), (0, (1, 1.5)), (0, (6, 2, 1, 2)))


def _look(curve: int, receiver: int, single: bool) -> dict[str, Any]:
    at = receiver if single else curve
    look: dict[str, Any] = {"color": _MANY[at % len(_MANY)], "marker": _MARKERS[at % len(_MARKERS)]}
    return look | {"ls": _DASHES[(0 if single else receiver) % len(_DASHES)], "lw": 1.9, "ms": 6, "mec": "white"}


def _draw(axes: Any, rows: Sequence[dict[str, Any]], look: dict[str, Any], label: str | None) -> None:
    heard = [r for r in rows if r["nmse_db"] is not None]
    snr, level = [r["snr_db"] for r in heard], [r["nmse_db"] for r in heard]
    low, high = ([r[f"nmse_{end}_db"] for r in heard] for end in ("low", "high"))
    axes[0].fill_between(snr, low, high, color=look["color"], alpha=0.12, lw=0)
    axes[0].plot(snr, level, label=label, **look)
    axes[1].plot([r["snr_db"] for r in rows], [r["accuracy"] for r in rows], **look)
