"""Curves of a campaign over one axis: NMSE and error probability of every receiver, with their intervals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..campaigns.report import POINT
from .style import COLOURS, DASHES, GREY, GRID, INK, drawing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

AXES = {
    "snr_db": "SNR in dB",
    "devices": "devices K",
    "symbols": "pilot symbols T",
    "activity_rate": "activity rate λ",
    "most_iterations": "iterations",
    "antennas": "antennas M",
    "subcarriers": "subcarriers N",
    "power_spread_db": "spread of powers in dB",
}
# One colour and marker a receiver, whatever the others are; dashed are those that are told more.
_BROWN, _RED, _OLIVE = "#7a5230", "#b2182b", "#8a8d0f"
LOOKS: dict[str, tuple[str, str, Any]] = {
    "cdl": (COLOURS[0], "o", DASHES[0]),
    "cdl-tiny": (COLOURS[4], "o", DASHES[0]),
    "cdl-tiny+cdl-large": ("#003f6b", "o", DASHES[0]),
    "ncsn-c": (COLOURS[1], "s", DASHES[0]),
    "tmp-em:4": (COLOURS[2], "^", DASHES[2]),
    "tmp-em:6": (COLOURS[2], "v", DASHES[1]),
    "tmp-em:12": (COLOURS[2], "D", DASHES[0]),
    "bg": (COLOURS[3], "P", DASHES[0]),
    "gmmv-amp": (COLOURS[5], "X", DASHES[0]),
    "mmv-amp": (_BROWN, "<", DASHES[0]),
    "somp:cdl": (_OLIVE, ">", DASHES[0]),
    "covariance:cdl": (_RED, "h", DASHES[0]),
    "lmmse": (GREY, "d", DASHES[0]),
    "printed-stmp:cdl-tiny": ("#5b3a8c", "p", DASHES[0]),
    "printed-stmp:ncsn-c": ("#5b3a8c", "H", DASHES[1]),
    "dps:cdl-tiny": ("#e377c2", "*", DASHES[0]),
    "oracle:cdl": (INK, "x", DASHES[1]),
    "genie": (INK, "+", DASHES[1]),
}
LABELS = {
    "cdl": "this library, cdl",
    "cdl-tiny": "this library, cdl-tiny",
    "cdl-tiny+cdl-large": "this library",
    "ncsn-c": "this library, ncsn-c",
    "bg": "BG-TMP",
    "gmmv-amp": "GMMV-AMP",
    "mmv-amp": "MMV-AMP",
    "tmp-em:4": "TMP-EM, 4 blocks",
    "tmp-em:6": "TMP-EM, 6 blocks",
    "tmp-em:12": "TMP-EM, 12 blocks",
    "somp:cdl": "SOMP, KLT",
    "covariance:cdl": "covariance ML, KLT",
    "lmmse": "LMMSE",
    "oracle:cdl": "LMMSE, told who is active",
    "printed-stmp:cdl-tiny": "STMP as printed, cdl-tiny",
    "printed-stmp:ncsn-c": "STMP as printed, ncsn-c",
    "dps:cdl-tiny": "posterior sampling",
}
Rows = Sequence[dict[str, Any]]


def sweep_rows(rows: Rows, axis: str) -> list[dict[str, Any]]:
    """Lines of the points that agree with the first one in all but the axis."""
    fixed = [name for name in POINT if name != axis and name in rows[0]] if rows else []
    return [row for row in rows if all(row[name] == rows[0][name] for name in fixed)]


def sweep_figure(rows: Rows, axis: str, title: str = "", *, rates: bool = True) -> Figure:
    """Draw NMSE, and beside it the error probability, over one axis.

    Bars and shades are 95 % intervals; no error at all is drawn as the upper end of its interval, open.
    """
    with drawing(15 if rates else 10.5, 5.8, title, **GRID) as figure:
        panels = figure.subplots(1, 2 if rates else 1, squeeze=False)[0]
        draw_levels(panels[0], rows, axis)
        if rates:
            draw_rates(panels[1], rows, axis)
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside right upper", fontsize=10, handlelength=2.8)
    return figure


def rates_figure(rows: Rows, axis: str, title: str = "") -> Figure:
    """Draw the error probability over one axis."""
    with drawing(10.5, 5.8, title, **GRID) as figure:
        axes = figure.subplots()
        draw_rates(axes, rows, axis)
        figure.legend(*axes.get_legend_handles_labels(), loc="outside right upper", fontsize=10, handlelength=2.8)
    return figure


def look_of(receiver: str) -> dict[str, Any]:
    """Colour, marker, dashes and label of a receiver."""
    colour, marker, dashes = LOOKS.get(receiver, (GREY, "1", DASHES[3]))
    label = LABELS.get(receiver, receiver)
    return {"color": colour, "marker": marker, "ls": dashes, "label": label, "lw": 1.8, "ms": 6.5} | _edge(
        marker, colour
    )


def draw_levels(axes: Any, rows: Rows, axis: str) -> None:
    """Draw NMSE in dB of every receiver over an axis."""
    for receiver, own in _by_receiver(rows, axis):
        heard = [r for r in own if r["nmse_db"] is not None]
        look = look_of(receiver)
        x = [r[axis] for r in heard]
        bounded = [r for r in heard if r["nmse_low_db"] is not None and r["nmse_high_db"] is not None]
        low, high = ([r[f"nmse_{end}_db"] for r in bounded] for end in ("low", "high"))
        axes.vlines([r[axis] for r in bounded], low, high, color=look["color"], lw=3, alpha=0.35)
        axes.plot(x, [r["nmse_db"] for r in heard], **look)
    axes.set(title="NMSE of channels", xlabel=AXES.get(axis, axis), ylabel="dB")
    if axes.get_ylim()[1] > 6:
        axes.set_ylim(top=6)  # how far a receiver that fails is off does not matter
    _scale(axes, rows, axis)


def draw_rates(axes: Any, rows: Rows, axis: str) -> None:
    """Draw error probabilities of activity of every receiver over an axis."""
    for receiver, own in _by_receiver(rows, axis):
        look = look_of(receiver)
        x = [r[axis] for r in own]
        shown = [r["error_rate"] or r["error_rate_high"] for r in own]
        ends = [r["error_rate_low"] or r["error_rate_high"] for r in own], [r["error_rate_high"] for r in own]
        axes.vlines(x, *ends, color=look["color"], lw=3, alpha=0.35)
        axes.plot(x, shown, **look)
        none = [(r[axis], r["error_rate_high"]) for r in own if not r["error_rate"]]
        marks = {"color": look["color"], "marker": look["marker"], "ms": look["ms"], "ls": "", "mfc": "white"}
        axes.plot([a for a, _ in none], [b for _, b in none], **marks)
    axes.set(title="errors of activity; open: none, upper bound", xlabel=AXES.get(axis, axis), ylabel="probability")
    axes.set_yscale("log")
    _scale(axes, rows, axis)


def _by_receiver(rows: Rows, axis: str) -> list[tuple[str, list[dict[str, Any]]]]:
    names = dict.fromkeys(row["prior"] for row in rows)
    return [(name, sorted((r for r in rows if r["prior"] == name), key=lambda r: r[axis])) for name in names]


def _edge(marker: str, colour: str) -> dict[str, Any]:
    """White edges, but of markers that are lines alone: they have no filling."""
    return {"mec": colour if marker in ("x", "+", "1") else "white"}


def _scale(axes: Any, rows: Rows, axis: str) -> None:
    """Numbers of devices, symbols and iterations that span a decade go on a logarithmic scale."""
    values = sorted({row[axis] for row in rows})
    if axis in ("devices", "symbols", "most_iterations") and values and values[-1] >= 8 * values[0]:
        axes.set_xscale("log")
        axes.set_xticks(values, [f"{value:g}" for value in values])
        axes.minorticks_off()
