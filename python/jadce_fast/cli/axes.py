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


def arrays(option: str, text: str, most: int = 3) -> list[int | tuple[int, ...]]:
    """Arrays of antennas of an option: numbers as `numbers`, and sides of arrays such as "8x8" among them.

    Raises
    ------
    ValueError
        If it has others, or one of more than `most` sides.
    """
    found: list[int | tuple[int, ...]] = []
    for part in text.split(","):
        sides = part.split("x")
        if len(sides) == 1:
            found += numbers(option, part, whole=True)
        elif len(sides) > most or not all(side.strip().isdecimal() and int(side) for side in sides):
            raise ValueError(
                f"{option}: expected numbers or {'POLARISATIONSx' * (most - 2)}ROWSxCOLUMNS, found {text!r}"
            )
        else:
            found.append(tuple(map(int, sides)))
    return found
