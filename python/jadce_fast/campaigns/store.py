"""Numbers of every draw, in a JSON file from which an interrupted campaign goes on."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

from .ofdm_campaign import write_text

Lists = dict[str, list[float]]


class Store:
    """Lists of numbers, one entry a draw, by what was measured; kept in memory alone if there is no path.

    Parameters
    ----------
    path : path-like, optional
    kind : str
        What is measured; a file of something else is refused.
    setup : dict
        What all of it depends on.

    Raises
    ------
    ValueError
        If the file is another one, or of another setup.
    """

    def __init__(self, path: str | os.PathLike[str] | None, kind: str, setup: dict[str, Any]) -> None:
        self._path = None if path is None else Path(path)
        self._kind, self._setup = kind, json.loads(json.dumps(setup))
        self._entries: dict[str, Lists] = {}
        self._saved = time.monotonic()
        if self._path is not None and self._path.exists():
            self._load(self._path)

    def lists(self, key: dict[str, Any]) -> Lists:
        """What is measured so far of `key`, any values of JSON."""
        return self._entries.setdefault(json.dumps(key, sort_keys=True), {})

    def add(self, lists: Lists, values: dict[str, float]) -> None:
        """Append one draw."""
        for name, value in values.items():
            lists.setdefault(name, []).append(float(f"{value:.7g}"))  # enough, and keeps the file small

    def save(self, interval: float = 0.0) -> None:
        """Write the file, unless the last time is less than `interval` seconds ago."""
        if self._path is None or time.monotonic() - self._saved < interval:
            return
        entries = [{"key": json.loads(key), "lists": lists} for key, lists in self._entries.items() if lists]
        found = {"kind": self._kind, "setup": self._setup, "entries": entries}
        write_text(self._path, json.dumps(found, allow_nan=False))
        self._saved = time.monotonic()

    def _load(self, path: Path) -> None:
        try:
            found = json.loads(path.read_text())
            kind, setup = found["kind"], dict(found["setup"])
            for entry in found["entries"]:
                lists = {str(name): [float(x) for x in values] for name, values in entry["lists"].items()}
                whole = min(map(len, lists.values()))  # an interrupt may have come between two lists
                key = json.dumps(entry["key"], sort_keys=True)
                self._entries[key] = {name: values[:whole] for name, values in lists.items()}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{path}: expected a campaign to resume, found another file ({error})") from None
        if kind != self._kind:
            raise ValueError(f"{path}: expected a campaign of kind {self._kind}, found {kind}")
        for name, value in self._setup.items():
            if setup.get(name) != value:
                raise ValueError(f"{path}: expected a campaign with {name}={value}, found {setup.get(name)}")
