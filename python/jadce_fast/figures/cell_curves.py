"""Figures of the cell of Tang et al. that show NMSE and accuracy of activity over SNR, measured and drawn alike."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..campaigns.cell_campaign import simulate_cell, summarize_cell
from ..campaigns.cell_drop import CellScenario
from ..campaigns.cell_receivers import LMMSE
from ..priors.cell import CellPrior
from .result import Output, Priors, Progress, Result, Rows, Seed, Snr, Threads, over_snr, snr_levels
from .style import COLOURS, DASHES, GREY, GRID, INK, drawing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TRAINING = CellPrior()  # the cell that receivers expect
_MANY = (*COLOURS, INK, GREY)
_MARKERS = "osD^vPX*"
_LABELS = {"cell": "Langevin, exact score", "tmp": "message passing", "lmmse": "LMMSE", "algorithm-1": "Algorithm 1"}
_LABELS["truth"] = "true channels"


@dataclass(frozen=True)
class Curve:
    """One curve of a figure: NMSE and accuracy over SNR.

    Attributes
    ----------
    panel, label : str
    scenario : CellScenario
        Its SNR is that of each point.
    """

    panel: str
    label: str
    scenario: CellScenario


def curves_command(
    name: str, curves: Sequence[Curve], *, title: str, text: str, draws: int = 60, baselines: Sequence[str] = (LMMSE,)
) -> Callable[..., Result]:
    """Make the command of a figure: the curves of the priors that are asked for, and of baselines."""

    def command(
        *,
        output: Output = Path("out"),
        draws: Annotated[int, typer.Option(help="Draws at every point.")] = draws,
        snr: Snr = "-10,0,10,20,30,40,45,50",
        prior: Priors = None,
        seed: Seed = 0,
        threads: Threads = None,
        progress: Progress,
    ) -> Result:
        receivers = [*(prior or ["cell"]), *baselines]
        places = [(curve, replace(curve.scenario, snr_db=level)) for curve in curves for level in snr_levels(snr)]
        output.mkdir(parents=True, exist_ok=True)
        records = simulate_cell(
            [point for _, point in places],
            receivers,
            draws,
            seed,
            belief=TRAINING,
            threads=threads,
            resume=output / name,
            progress=lambda done, total, records: progress(done, total, ""),
        )
        rows: Rows = []
        for i, (curve, point) in enumerate(places):
            own = [r for r in records if r.point == i]
            for receiver in receivers:
                about = {"panel": curve.panel, "curve": curve.label, "snr_db": point.snr_db}
                rows.append(about | asdict(summarize_cell(own, point, receiver)))
        tables = []
        for key, digits, what in (("nmse_db", 2, "median NMSE in dB"), ("accuracy", 4, "accuracy of activity")):
            cells = [(_line(row), row["snr_db"], "-" if row[key] is None else f"{row[key]:.{digits}f}") for row in rows]
            tables.append(over_snr(f"{name}: {what}", cells))
        return Result(rows, {name: draw(rows, title)}, {"figure": name, "draws": draws}, tables)

    command.__doc__ = f"{text}\n\nThe directory OUTPUT/{name} keeps what is done; an interrupted command goes on."
    return command


def draw(rows: Rows, title: str) -> Figure:
    """Draw a column of two axes for every panel, NMSE above accuracy, a line for each curve and receiver.

    `rows` have ``panel``, ``curve``, ``receiver``, ``snr_db``, ``nmse_db`` (and its interval) and ``accuracy``.
    """
    panels = list(dict.fromkeys(row["panel"] for row in rows))
    receivers = list(dict.fromkeys(row["receiver"] for row in rows))
    everything = list(dict.fromkeys(row["curve"] for row in rows))  # a curve looks the same in every panel
    with drawing(2.2 + 4.6 * len(panels), 7.6, title, **GRID) as figure:
        axes = figure.subplots(2, len(panels), squeeze=False, sharex=True, sharey="row")
        for column, panel in enumerate(panels):
            curves = list(dict.fromkeys(row["curve"] for row in rows if row["panel"] == panel))
            for curve in curves:
                for j, receiver in enumerate(receivers):
                    own = [r for r in rows if (r["panel"], r["curve"], r["receiver"]) == (panel, curve, receiver)]
                    if own:
                        look = look_of(everything.index(curve), j, len(curves) == 1)
                        text = label_of(receiver) if len(curves) == 1 else curve if j == 0 else None
                        _draw(axes[:, column], own, look, text)
            if len(curves) > 1 and len(receivers) > 1:  # solid and dashed lines are explained once a panel
                for j, receiver in enumerate(receivers):
                    axes[0, column].plot([], [], color=INK, ls=DASHES[j % len(DASHES)], label=label_of(receiver))
            axes[0, column].set(title=panel or "NMSE", ylabel="median NMSE in dB" if column == 0 else "")
            axes[1, column].set(xlabel="SNR in dB", ylabel="accuracy of activity" if column == 0 else "")
            axes[0, column].legend(fontsize=10, handlelength=2.6)
    return figure


def label_of(receiver: str) -> str:
    """Name of a receiver in pictures."""
    return _LABELS.get(receiver, f"Langevin, {receiver}")


def look_of(curve: int, receiver: int, single: bool) -> dict[str, Any]:
    """Colour, marker and dashes; those of the receiver if it is told apart by these alone, else those of the curve."""
    at = receiver if single else curve
    look: dict[str, Any] = {"color": _MANY[at % len(_MANY)], "marker": _MARKERS[at % len(_MARKERS)]}
    return look | {"ls": DASHES[(0 if single else receiver) % len(DASHES)], "lw": 1.9, "ms": 6, "mec": "white"}


def _draw(axes: Any, rows: Sequence[dict[str, Any]], look: dict[str, Any], label: str | None) -> None:
    heard = [r for r in rows if r["nmse_db"] is not None]
    snr, level = [r["snr_db"] for r in heard], [r["nmse_db"] for r in heard]
    low, high = ([r[f"nmse_{end}_db"] for r in heard] for end in ("low", "high"))
    axes[0].fill_between(snr, low, high, color=look["color"], alpha=0.12, lw=0)
    axes[0].plot(snr, level, label=label, **look)
    axes[1].plot([r["snr_db"] for r in rows], [r["accuracy"] for r in rows], **look)


def _line(row: dict[str, Any]) -> str:
    return ", ".join(x for x in (row["panel"], row["curve"], row["receiver"]) if x)
