"""Options of a campaign that take one value or several: a list "10,20", or a range "LOW:HIGH:STEP"."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..figures.result import levels


def numbers(option: str, text: str, *, whole: bool = False) -> list[Any]:
    """Numbers of an option, integers if it counts.

    Raises
    ------
    ValueError
        If it has others.
    """
    found = levels(option, text)
    if not whole:
        return found
    for value in found:
        if value != int(value):
            raise ValueError(f"{option}: expected integers, found {text!r}")
    return [int(value) for value in found]


def words(text: str) -> list[str]:
    """Words of an option."""
    return [word.strip() for word in text.split(",")]


def ranges(option: str, texts: Sequence[str], unit: float = 1.0) -> list[tuple[float, float]]:
    """Ranges of an option with two values LOW and HIGH, each one number or a list of as many."""
    low, high = (numbers(option, text) for text in texts)
    if len(low) != len(high):
        raise ValueError(f"{option}: expected as many values LOW as HIGH, found {len(low)} and {len(high)}")
    return [(unit * a, unit * b) for a, b in zip(low, high, strict=True)]


def panel(option: str, text: str) -> tuple[int, int]:
    """Rows and columns of "8x8", or of "32" in one row.

    Raises
    ------
    ValueError
        If it is neither.
    """
    parts = text.split("x")
    if len(parts) > 2 or not all(part.strip().isdecimal() and int(part) for part in parts):
        raise ValueError(f"{option}: expected a number or ROWSxCOLUMNS, found {text!r}")
    columns = int(parts[-1])
    return (int(parts[0]) if len(parts) == 2 else 1), columns
