"""Draws measured one after the other, and their numbers in a JSON file from which an interrupted campaign goes on."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from ..files import write_atomically
from ..priors.beam import BeamPrior

SAVE_EVERY = 10.0  # seconds between writes of the file to resume from
Lists = dict[str, list[float]]
Name = TypeVar("Name")
Drop = TypeVar("Drop")


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
        """Return the lists measured so far for `key`, any values of JSON."""
        return self._entries.setdefault(json.dumps(key, sort_keys=True), {})

    def add(self, lists: Lists, values: Mapping[str, npt.ArrayLike]) -> None:
        """Append one draw, or as many as the values are long."""
        for name, value in values.items():
            # Seven digits are enough and keep the file small.
            lists.setdefault(name, []).extend(float(f"{x:.7g}") for x in np.atleast_1d(np.asarray(value)))

    def save(self, interval: float = 0.0) -> None:
        """Write the file, unless the last time is less than `interval` seconds ago."""
        if self._path is None or time.monotonic() - self._saved < interval:
            return
        entries = [{"key": json.loads(key), "lists": lists} for key, lists in self._entries.items() if lists]
        found = {"kind": self._kind, "setup": self._setup, "entries": entries}
        with write_atomically(self._path) as part:
            part.write_text(json.dumps(found, allow_nan=False))
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


def count_draws(lists: Lists) -> int:
    """Number of draws that lists hold."""
    return len(next(iter(lists.values()), ()))


def measure_draws(
    store: Store,
    kept: Mapping[Name, Lists],
    draws: int,
    draw: Callable[[int], Drop],
    measure: Mapping[Name, Callable[[Drop], Mapping[str, float]]],
    progress: Callable[[int], None],
) -> None:
    """Measure what is not kept yet of every draw, for several contenders on the same draws.

    Parameters
    ----------
    store : Store
        Written now and then, and at the end, whatever happens.
    kept : dict
        Its lists, by contender.
    draws : int
    draw : callable
        Makes a draw of its number.
    measure : dict of callable
        Numbers of a draw, always of the same names, by contender.
    progress : callable
        Called with the number of draws that are done, after every draw, kept ones included; an exception cancels.
    """
    try:
        for i in range(draws):
            waiting = [name for name, lists in kept.items() if count_draws(lists) <= i]
            if waiting:
                drop = draw(i)
                for name in waiting:
                    store.add(kept[name], measure[name](drop))
                store.save(SAVE_EVERY)
            progress(i + 1)
    finally:
        store.save()


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
