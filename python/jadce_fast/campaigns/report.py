"""Outcomes of what a campaign in an OFDM system has kept, read from its directory."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from typing import Any

from .ofdm_drop import Scenario
from .ofdm_outcome import Record, record, summarize
from .store import DRAW, read_rows, split

POINT = (*(f.name for f in fields(Scenario)), "most_iterations")


@dataclass(frozen=True)
class Report:
    """What a campaign has found so far.

    Attributes
    ----------
    rows : list of dict
        A line for every point and receiver: on what points differ, and the fields of `Outcome`.
    records : list of list of Record
        What every line sums up.
    axes : list of str
        The names on which points differ.
    facts : dict
        Kind, setup and runs.
    """

    rows: list[dict[str, Any]]
    records: list[list[Record]]
    axes: list[str]
    facts: dict[str, Any]


def read_report(path: str | os.PathLike[str]) -> Report:
    """Outcomes of a campaign's directory, while it goes on or after it.

    Raises
    ------
    ValueError
        If it is no directory of such a campaign, or has nothing yet.
    """
    manifest, lines = read_rows(path)
    if manifest.get("kind") != "ofdm" or not lines:
        raise ValueError(
            f"{path}: expected a campaign of jadce simulate, found {manifest.get('kind')}, {len(lines)} draws"
        )
    points: dict[tuple[Any, ...], int] = {}
    found: dict[tuple[int, str], list[Record]] = {}
    try:
        names = _receivers(split(line)[0] for line in lines)
        for line in lines:
            key, texts = split(line)
            point = points.setdefault(tuple(_value(key, name) for name in POINT), len(points))
            numbers = {name: float(text) for name, text in texts.items()}
            name = names[_receiver(key)]
            found.setdefault((point, name), []).append(record(name, numbers, int(line[DRAW]), point))
    except (KeyError, ValueError) as error:
        raise ValueError(f"{path}: expected a campaign of jadce simulate, found a damaged one ({error!r})") from None
    values = list(points)
    axes = [name for i, name in enumerate(POINT) if len({json.dumps(v[i]) for v in values}) > 1]
    rows = [
        {name: values[point][POINT.index(name)] for name in axes} | asdict(summarize(records, prior))
        for (point, prior), records in found.items()
    ]
    return Report(rows, list(found.values()), axes, manifest)


def _receiver(key: dict[str, str]) -> tuple[tuple[str, str], ...]:
    """What a receiver's numbers depend on besides the point: its name, fingerprints of networks and recordings."""
    return tuple((name, text) for name, text in key.items() if name not in POINT and not name.startswith("scenario."))


def _receivers(keys: Iterable[dict[str, str]]) -> dict[tuple[tuple[str, str], ...], str]:
    """Names of all receivers; those of one name have behind it in what they differ."""
    known = list(dict.fromkeys(map(_receiver, keys)))
    names = {}
    for one in known:
        alike = [dict(other) for other in known if dict(other)["prior"] == dict(one)["prior"]]
        unlike = [text for name, text in one if len({other.get(name) for other in alike}) > 1]
        names[one] = " ".join([dict(one)["prior"], *unlike])
    return names


def _value(key: dict[str, str], name: str) -> Any:
    text = key.get(name if name == "most_iterations" else f"scenario.{name}", "null")
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return tuple(value) if isinstance(value, list) else value
