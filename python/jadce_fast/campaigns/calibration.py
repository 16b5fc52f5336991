"""How far probabilities of activity can be believed: histograms of them, apart for active and inactive devices."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from functools import partial
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from .. import _check
from ..detection import Detection
from ..receiver import Receiver
from .engine import Point, Stop, run
from .ofdm_drop import Drop, Scenario, draw_drop, draw_pilots
from .store import Lists, Store, fingerprint

# Probabilities 0.01, 1/2 and 0.99 are edges; the last one is as far as single precision tells.
_STEP = float(np.log(99)) / 4
LOG_ODDS = _STEP * np.arange(-14, 15)
_UNLIKELY, _HALF, _SURE = (int(np.argmin(np.abs(LOG_ODDS - _STEP * i))) + 1 for i in (-4, 0, 4))  # first bin above
_LISTS = ("idle", "active", "promised")

Counts = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Contender:
    """A receiver by its prior's name or file, and whether it is told the mean received power, which is one."""

    prior: str = "cdl"
    power: Literal["known", "unknown"] = "unknown"


@dataclass(frozen=True)
class Calibration:
    """Devices of many blocks in bins of their posterior log odds, between the edges `LOG_ODDS`; adds.

    Attributes
    ----------
    idle, active : ndarray, shape (B,)
        Inactive and active devices.
    promised : ndarray, shape (B,)
        Sum of their probabilities.
    blocks, trusted : int
    """

    idle: Counts
    active: Counts
    promised: Counts
    blocks: int
    trusted: int

    def __add__(self, other: Calibration) -> Calibration:
        return Calibration(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))

    @property
    def missed(self) -> int:
        """Active devices of a probability below one half."""
        return int(self.active[:_HALF].sum())

    @property
    def false_alarms(self) -> int:
        """Inactive devices of at least one half."""
        return int(self.idle[_HALF:].sum())

    @property
    def sure(self) -> int:
        """Devices of a probability above 0.99."""
        return int((self.idle + self.active)[_SURE:].sum())

    @property
    def sure_wrong(self) -> int:
        """Inactive ones among them."""
        return int(self.idle[_SURE:].sum())

    def error(self, *, plausible: bool = False) -> float:
        """Expected calibration error.

        Mean over devices of the distance between the mean probability of their bin and the share of its devices that
        are active; of all devices, or of those above 0.01, lest thousands of obvious zeros hide errors. 0 of nobody.
        """
        first = _UNLIKELY if plausible else 0
        count = (self.idle + self.active)[first:].sum()
        distance = np.abs(self.promised - self.active)[first:].sum()
        return float(distance / count) if count else 0.0

    def curve(self) -> tuple[Counts, Counts]:
        """Inactive and active devices above each of `LOG_ODDS`."""
        above = [np.cumsum(x[::-1])[::-1][1:] for x in (self.idle, self.active)]
        return above[0], above[1]

    def row(self) -> dict[str, Any]:
        """Numbers of a table's line."""
        return {
            "blocks": self.blocks,
            "devices": int((self.idle + self.active).sum()),
            "active": int(self.active.sum()),
            "missed": self.missed,
            "false_alarms": self.false_alarms,
            "calibration_error": self.error(),
            "calibration_error_plausible": self.error(plausible=True),
            "sure": self.sure,
            "sure_wrong": self.sure_wrong,
            "trusted": self.trusted,
        }


def measure_calibration(
    scenarios: Sequence[Scenario],
    contenders: Sequence[Contender],
    draws: int,
    seed: int = 0,
    *,
    threads: int | None = None,
    resume: Any = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[list[Calibration]]:
    """Detect the same drops with several receivers, and count their probabilities.

    Parameters
    ----------
    scenarios : sequence of Scenario
        Operating points.
    contenders : sequence of Contender
    draws : int
        Blocks at each point.
    seed : int
    threads : int, optional
        Native threads.
    resume : path-like, optional
        Directory that keeps what is done.
    progress : callable, optional
        Called with the number of blocks that are done, and of all.

    Returns
    -------
    list of list of Calibration
        By scenario and contender.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range, or the directory is of another campaign.
    """
    from ..priors.files import resolve_prior

    draws = _check.integer("draws", draws, 1)
    store = Store(resume, "calibration", {"seed": _check.integer("seed", seed, 0), "log_odds": LOG_ODDS.tolist()})
    found = []
    for i, s in enumerate(scenarios):
        priors = {c: resolve_prior(c.prior, s.subcarriers) for c in contenders}
        about = {c: asdict(c) | {"fingerprint": fingerprint(priors[c])} for c in contenders}
        kept = {c: store.lists({"scenario": asdict(s)} | about[c]) for c in contenders}
        bench = _Bench(s, priors, seed, threads)

        def count(_: int, done: int, i: int = i) -> None:
            if progress is not None:
                progress(i * draws + done, len(scenarios) * draws)

        point = Point(kept, bench.draw, {c: partial(bench.detect, c) for c in contenders})
        run(store, [point], Stop(draws), progress=count)
        found.append([_calibration(kept[c], draws) for c in contenders])
    return found


class _Bench:
    """The receivers of one operating point, planned when they are needed."""

    def __init__(self, scenario: Scenario, priors: dict[Contender, Any], seed: int, threads: int | None) -> None:
        self._scenario, self._priors, self._seed, self._threads = scenario, priors, seed, threads
        self._receivers: dict[Contender, Receiver] = {}

    def draw(self, trial: int) -> Drop:
        """One block; a point that is kept draws none."""
        if trial == 0 or not self._receivers:
            self._pilots = draw_pilots(self._scenario, self._seed)
        return draw_drop(self._scenario, self._seed, trial, self._pilots)

    def detect(self, contender: Contender, drop: Drop) -> dict[str, float]:
        """Numbers of one block: devices by bins of their probability."""
        if contender not in self._receivers:
            power: Any = 1.0 if contender.power == "known" else "unknown"
            s = self._scenario
            self._receivers[contender] = Receiver(
                drop.pilots, s.antennas, self._priors[contender], s.activity_rate, power, threads=self._threads
            )
        out = self._receivers[contender].detect(drop.y, drop.noise_var)
        counts = histogram(out, drop.active)
        numbers = {
            f"{name} {b}": value for name, each in zip(_LISTS, counts, strict=True) for b, value in enumerate(each)
        }
        return numbers | {"trusted": out.trusted}


def histogram(out: Detection, truth: npt.NDArray[np.int64]) -> tuple[Counts, Counts, Counts]:
    """Inactive devices, active ones, and the sum of their probabilities, in bins of the log odds."""
    probability = out.activity.astype(np.float64)
    with np.errstate(divide="ignore"):
        odds = np.log(probability) - np.log1p(-probability)
    at = np.searchsorted(LOG_ODDS, odds, side="right")
    active = np.zeros(len(probability), bool)
    active[truth] = True
    bins = len(LOG_ODDS) + 1
    idle, found = np.bincount(at[~active], minlength=bins), np.bincount(at[active], minlength=bins)
    promised = np.bincount(at, probability, bins).astype(np.float64)
    return idle.astype(np.float64), found.astype(np.float64), promised


def _calibration(lists: Lists, draws: int) -> Calibration:
    bins = range(len(LOG_ODDS) + 1)
    idle, active, promised = (np.array([sum(lists[f"{name} {b}"][:draws]) for b in bins]) for name in _LISTS)
    return Calibration(idle, active, promised, draws, int(sum(lists["trusted"][:draws])))
