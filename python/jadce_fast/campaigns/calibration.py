"""How far probabilities of activity can be believed: counts of them at many points."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, Literal

from .. import _check
from ..receiver import Receiver
from .engine import Point, Stop, run
from .odds import LOG_ODDS, Calibration, count_odds, from_numbers, numbers_of
from .ofdm_drop import Drop, Scenario, draw_drop, draw_pilots
from .store import Lists, Store, fingerprint


@dataclass(frozen=True)
class Contender:
    """A receiver by its prior's name or file, and whether it is told the mean received power, which is one."""

    prior: str = "cdl"
    power: Literal["known", "unknown"] = "unknown"


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
        return numbers_of(count_odds(out, drop.active))


def _calibration(lists: Lists, draws: int) -> Calibration:
    return from_numbers({name: sum(values[:draws]) for name, values in lists.items()}, draws)
