"""Numbers of draws in a directory, a line of a CSV a draw and contender, from which an interrupted campaign goes on."""

from __future__ import annotations

import csv
import fcntl
import hashlib
import io
import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import info
from ..files import write_atomically
from ..priors.beam import BeamPrior

SAVE_EVERY = 1.0  # seconds between writes
TABLE, MANIFEST = "results.csv", "manifest.json"
DRAW = "draw"  # the column between those that say what was measured and its numbers


class Lists(dict[str, list[float]]):
    """Lists of numbers by name, one entry a draw; `key` says what was measured, as texts by column."""

    def __init__(self, key: dict[str, str]) -> None:
        super().__init__()
        self.key = key


class Store:
    """Lists of numbers, one entry a draw, by what was measured; kept in memory alone if there is no path.

    Draws are appended to the table as whole lines: a line that was cut off is no line. The manifest beside it says of
    every run its command, time, commit, versions and hardware.

    Parameters
    ----------
    path : path-like, optional
        Directory.
    kind : str
        What is measured; a directory of something else is refused.
    setup : dict
        What all of it depends on.

    Raises
    ------
    ValueError
        If the directory is another one, or of another setup.
    """

    def __init__(self, path: str | os.PathLike[str] | None, kind: str, setup: dict[str, Any]) -> None:
        self._path = None if path is None else Path(path)
        self._kind, self._setup = kind, json.loads(json.dumps(setup))
        self._entries: dict[tuple[tuple[str, str], ...], Lists] = {}
        self._waiting: list[dict[str, str]] = []
        self._columns: list[str] = []
        self._size, self._runs = 0, []  # type: tuple[int, list[Any]]
        self._told = False
        self._saved = time.monotonic()
        if self._path is not None and (self._path / MANIFEST).exists():
            self._load(self._path)
        elif self._path is not None and self._path.exists() and (self._path.is_file() or any(self._path.iterdir())):
            raise ValueError(f"{path}: expected a campaign to resume, or nothing, found something else")

    def lists(self, key: Mapping[str, Any]) -> Lists:
        """Return the lists measured so far for `key`, any values of JSON by name."""
        return self._entry({name: text for name, text in _flat(key) if text})

    def add(self, lists: Lists, values: Mapping[str, npt.ArrayLike]) -> None:
        """Append one draw, or as many as the values are long."""
        if both := lists.key.keys() & values.keys():
            raise ValueError(f"values: expected other names than those of the key, found {', '.join(sorted(both))}")
        # Seven digits are enough and keep the file small.
        texts = {name: [f"{x:.7g}" for x in _several(value)] for name, value in values.items()}
        for at, row in enumerate(zip(*texts.values(), strict=True), count_draws(lists)):
            self._waiting.append(lists.key | {DRAW: str(at)} | dict(zip(texts, row, strict=True)))
        for name, column in texts.items():
            lists.setdefault(name, []).extend(map(float, column))

    def save(self, interval: float = 0.0) -> None:
        """Append what is new to the table, unless the last time is less than `interval` seconds ago.

        Raises
        ------
        ValueError
            If another campaign has written into the directory in the meantime.
        OSError
            If it cannot be written.
        """
        if self._path is None or not self._waiting or time.monotonic() - self._saved < interval:
            return
        self._path.mkdir(parents=True, exist_ok=True)
        table = self._path / TABLE
        with (self._path / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            found = table.stat().st_size if table.exists() else 0
            if found < self._size or (found > self._size and b"\n" in table.read_bytes()[self._size :]):
                raise ValueError(f"{self._path}: expected to be the only campaign in it, found lines of another")
            if not self._told:
                self._tell(self._path)
            columns = _columns(self._columns, self._waiting)
            if columns != self._columns:
                with write_atomically(table) as part:
                    part.write_text(_lines(columns, [dict(zip(columns, columns, strict=True))]))
                    with part.open("a") as file:
                        file.write(_lines(columns, _rows(table.read_bytes()[: self._size] if self._size else b"")))
                self._columns, self._size = columns, table.stat().st_size
            self._append(table)
        self._saved = time.monotonic()

    def _append(self, table: Path) -> None:
        """Write the waiting lines behind the known ones, all or none: an interrupt may come anywhere."""
        size, waiting = self._size, self._waiting
        with table.open("r+b") as file:
            try:
                file.truncate(size)  # a line that was cut off
                file.seek(size)
                file.write(text := _lines(self._columns, waiting).encode())
                file.flush()
                self._size, self._waiting = size + len(text), []
            except BaseException:
                self._size, self._waiting = size, waiting
                file.truncate(size)
                raise

    def _entry(self, key: dict[str, str]) -> Lists:
        return self._entries.setdefault(tuple(sorted(key.items())), Lists(key))

    def _tell(self, path: Path) -> None:
        """Write what this run is."""
        facts = info.collect()
        run = {
            "command": shlex.join(sys.argv),
            "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            "commit": _commit(),
            **{name: facts.get(name) for name in ("jadce_fast", "python", "packages", "platform", "processor")},
            **{name: facts.get(name) for name in ("kernels", "network", "threads")},
        }
        found = {"kind": self._kind, "setup": self._setup, "runs": [*self._runs, run]}
        with write_atomically(path / MANIFEST) as part:
            part.write_text(json.dumps(found, indent=1, allow_nan=False))
        self._told = True

    def _load(self, path: Path) -> None:
        try:
            found = json.loads((path / MANIFEST).read_text())
            kind, setup, self._runs = found["kind"], dict(found["setup"]), list(found["runs"])
            table = path / TABLE
            text = table.read_bytes() if table.exists() else b""
            self._size = text.rfind(b"\n") + 1
            rows = list(_rows(text))
            self._columns = _header(text[: self._size])
            for row in rows:
                self._take(row)
        except (ValueError, KeyError, TypeError, AttributeError, csv.Error) as error:
            raise ValueError(f"{path}: expected a campaign to resume, found something else ({error})") from None
        if kind != self._kind:
            raise ValueError(f"{path}: expected a campaign of kind {self._kind}, found {kind}")
        for name in setup | self._setup:
            wanted, was = self._setup.get(name), setup.get(name)
            if wanted != was:
                raise ValueError(f"{path}: expected a campaign with {name}={wanted}, found {was}")

    def _take(self, row: dict[str, str]) -> None:
        lists = self._entry(split(row)[0])
        if int(row[DRAW]) != count_draws(lists):
            raise ValueError(f"draw {count_draws(lists)} is missing before {row[DRAW]}")
        for name, text in split(row)[1].items():
            lists.setdefault(name, []).append(float(text))


def read_rows(path: str | os.PathLike[str]) -> tuple[dict[str, Any], list[dict[str, str]]]:
    """Manifest and whole lines of a campaign's directory.

    Raises
    ------
    ValueError
        If it is none.
    """
    try:
        manifest = json.loads((Path(path) / MANIFEST).read_text())
        return dict(manifest), list(_rows((Path(path) / TABLE).read_bytes()))
    except (OSError, ValueError, TypeError, csv.Error) as error:
        raise ValueError(f"{path}: expected the directory of a campaign, found none ({error})") from None


def split(row: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """What a line says was measured, and its numbers; empty cells are neither."""
    names = list(row)
    at = names.index(DRAW)
    return {n: row[n] for n in names[:at] if row[n]}, {n: row[n] for n in names[at + 1 :] if row[n]}


def count_draws(lists: Lists) -> int:
    """Number of draws that lists hold."""
    return len(next(iter(lists.values()), ()))


def fingerprint(prior: Any) -> str:
    """Fingerprint of the weights of a prior's networks: what was measured with others is of no use."""
    if hasattr(prior, "members"):
        return "+".join(map(fingerprint, prior.members))
    if isinstance(prior, BeamPrior):
        weights = prior.weights
        values = [weights.eigenvalues, *(value for layer in weights.layers() for value in layer)]
    elif hasattr(prior, "network"):
        values = [value.cpu().numpy() for value in prior.network.state_dict().values()]
    else:
        return ""
    digest = hashlib.sha256(getattr(prior, "basis", np.empty(0)).tobytes())
    for value in values:
        digest.update(value.tobytes())
    return digest.hexdigest()[:16]


def _several(value: npt.ArrayLike) -> Iterable[float]:
    """One or more numbers; one, as most are, without the detour over an array."""
    return (value,) if isinstance(value, int | float) else np.atleast_1d(np.asarray(value))


def _flat(key: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, str]]:
    """Names and texts; names inside have the outer one before theirs, so that they are none of a number's."""
    for name, value in key.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value if isinstance(value, str) else json.dumps(value)


def _columns(known: Sequence[str], rows: Iterable[Mapping[str, str]]) -> list[str]:
    """Columns for these rows too: what was measured, the draw, the numbers."""
    at = known.index(DRAW) if known else 0
    parts = [dict.fromkeys(known[:at]), dict.fromkeys(known[at + 1 :])]
    for row in rows:
        names = list(row)
        own = names.index(DRAW)
        parts[0].update(dict.fromkeys(names[:own]))
        parts[1].update(dict.fromkeys(names[own + 1 :]))
    return [*parts[0], DRAW, *parts[1]]


def _lines(columns: Sequence[str], rows: Iterable[Mapping[str, str]]) -> str:
    text = io.StringIO()
    csv.DictWriter(text, columns, restval="", lineterminator="\n").writerows(rows)
    return text.getvalue()


def _rows(table: bytes) -> Iterable[dict[str, str]]:
    """Whole lines of a table."""
    return csv.DictReader(io.StringIO(table[: table.rfind(b"\n") + 1].decode()), strict=True)


def _header(text: bytes) -> list[str]:
    return next(csv.reader(io.StringIO(text.decode())), [])


def _commit() -> str:
    """Commit of the sources if they are a checkout, with a + if they have changed."""

    def git(*words: str) -> str:
        run = ["git", "-C", str(Path(__file__).parent), *words]
        return subprocess.run(run, capture_output=True, text=True, check=True, timeout=20).stdout.strip()

    try:
        return git("rev-parse", "HEAD") + ("+" if git("status", "--porcelain", "--untracked-files=no", ".") else "")
    except (OSError, subprocess.SubprocessError):
        return ""
