"""Look of all pictures. They are drawn without a display; matplotlib loads with the first one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ..files import write_atomically

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Okabe and Ito's colours, told apart with any colour vision.
INK, GREY, BLUE, ORANGE, GREEN = "#1b2733", "#aab4be", "#0072b2", "#d55e00", "#009e73"
COLOURS = (BLUE, ORANGE, GREEN, "#cc79a7", "#56b4e9", "#e69f00")
DASHES: tuple[Any, ...] = ("-", (0, (4, 2)), (0, (1, 1.5)), (0, (6, 2, 1, 2)))
GRID: dict[str, Any] = {"axes.grid": True, "axes.grid.axis": "both"}
_STYLE = {
    "font.family": "sans-serif",
    "font.size": 12,
    "axes.titlesize": 13.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 10,
    "axes.edgecolor": "#6b7783",
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid.axis": "y",
    "grid.color": "#e3e7eb",
    "text.color": INK,
    "xtick.color": "#46525e",
    "ytick.color": "#46525e",
    "legend.frameon": False,
    "figure.facecolor": "white",
}


@contextmanager
def drawing(width: float, height: float, title: str = "", **style: Any) -> Iterator[Figure]:
    """Give a figure of inches to draw on, in this style and what is changed of it."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    with rc_context(_STYLE | style):
        figure = Figure(figsize=(width, height), layout=ConstrainedLayoutEngine(w_pad=0.08, h_pad=0.08))
        if title:
            figure.suptitle(title, x=0.012, ha="left", fontsize=13)
        yield figure


def save_figure(figure: Figure, path: str | os.PathLike[str]) -> None:
    """Write a figure to .png, .pdf or .svg, atomically."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    FigureCanvasAgg(figure)
    with write_atomically(path) as part, rc_context(_STYLE):
        figure.savefig(part, dpi=160)
