"""Result of a figure's command, and the options that such commands share."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Rows = list[dict[str, Any]]
Progress = Callable[[int, int, str], None]  # takes what is done, what is to be done, and a note
Output = Annotated[Path, typer.Option(help="Directory of pictures, table and what the command goes on from.")]
Snr = Annotated[str, typer.Option(help="SNRs in dB: a list 0,10,20 or LOW:HIGH:STEP.")]
Quick = Annotated[bool, typer.Option("--quick", help="A few blocks of a few points, in seconds.")]
Seed = Annotated[int, typer.Option(help="Random seed.")]
Threads = Annotated[int | None, typer.Option(help="Native threads.", show_default="all processors")]
Priors = Annotated[
    list[str] | None, typer.Option(help="cell (exact score), cell-network or a file; repeat.", show_default="cell")
]


@dataclass(frozen=True)
class Table:
    """A title, names of columns, and lines of text."""

    title: str
    columns: list[str]
    lines: list[list[str]]


@dataclass(frozen=True)
class Result:
    """A figure that was measured and drawn.

    Attributes
    ----------
    rows : list of dict
        The lines of its table file.
    pictures : dict
        By file name without extension.
    facts : dict
        What goes before the rows in JSON.
    tables : list of Table
        What a reader is shown, and ...
    text : str
        ... a line before it.
    """

    rows: Rows
    pictures: dict[str, Figure]
    facts: dict[str, Any]
    tables: list[Table] = field(default_factory=list)
    text: str = ""


def snr_levels(text: str) -> list[float]:
    """SNRs of a list such as "0,10,20" or a range "LOW:HIGH:STEP"."""
    return levels("--snr", text)


def levels(option: str, text: str) -> list[float]:
    """Numbers of a list or a range.

    Raises
    ------
    ValueError
        If it is neither.
    """
    wanted = ValueError(f"{option}: expected a list such as 0,10,20 or LOW:HIGH:STEP, found {text!r}")
    try:
        if ":" not in text:
            found = [float(part) for part in text.split(",")]
            if not all(map(math.isfinite, found)):
                raise wanted
            return found
        low, high, step = (float(part) for part in text.split(":"))
    except ValueError:
        raise wanted from None
    if not (step > 0 and 0 <= high - low <= 1000 * step):
        raise wanted
    return [low + i * step for i in range(int((high - low) / step + 1e-9) + 1)]


def over_snr(
    title: str,
    cells: Sequence[tuple[str, float, str]],
    heads: Sequence[str] = (),
    tails: Mapping[str, Sequence[str]] | None = None,
) -> Table:
    """Table with a line for every name and a column for every SNR, of (name, SNR, text); `tails` end the lines."""
    lines: dict[str, list[str]] = {}
    for name, _, text in cells:
        lines.setdefault(name, []).append(text)
    columns = ["SNR, dB", *(f"{level:g}" for level in dict.fromkeys(snr for _, snr, _ in cells)), *heads]
    return Table(title, columns, [[name, *own, *(tails or {}).get(name, ())] for name, own in lines.items()])
