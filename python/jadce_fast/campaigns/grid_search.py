"""Grid search of the paper's sampler, Algorithm 1 of Tang et al.: step alpha_0, decay r, noise beta, levels, steps."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial

import numpy as np

from .. import _check
from ..baselines.receivers.algorithm_1 import Algorithm1
from .cell_drop import CellDrop, CellScenario, draw_cell, qpsk_pilots
from .cell_receivers import VALIDATION
from .engine import Point, Stop, run
from .store import Lists, Store


@dataclass(frozen=True)
class Setting:
    """Hyperparameters of the paper's sampler as :class:`jadce_fast.LangevinReceiver` takes them.

    Attributes
    ----------
    step : float
        alpha_0 over the inverse of the largest curvature at the first level.
    decay : float or None
        r; None: steps follow sigma^2.
    beta : float
    levels, steps : int
        L and Q of the paper.
    """

    step: float
    decay: float | None
    beta: float
    levels: int = 100
    steps: int = 3


@dataclass(frozen=True)
class GridRow:
    """Median NMSE in dB of one setting at every SNR, their mean, accuracy likewise, and restarts of chains."""

    setting: Setting
    nmse_db: tuple[float, ...]
    accuracy: tuple[float, ...]
    mean_nmse_db: float
    restarts: int


def grid_search(
    settings: Sequence[Setting],
    scenario: CellScenario | None = None,
    snr_db: Sequence[float] = (0, 10, 20, 30, 45),
    draws: int = 500,
    seed: int = 0,
    *,
    threads: int | None = None,
    resume: str | os.PathLike[str] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[GridRow]:
    """Run one chain of the paper's sampler with every setting on the same validation draws.

    Parameters
    ----------
    settings : sequence of Setting
    scenario : CellScenario, optional
        Its SNR does not matter.
    snr_db : sequence of float
    draws : int
        Validation draws, the paper's 500; they are never those of a campaign with the same seed.
    seed : int
    threads : int, optional
        Native threads.
    resume : path-like, optional
        Directory that keeps what is done.
    progress : callable, optional
        Called with the number of chains done and that of all; an exception in it cancels, and what is done is kept.

    Returns
    -------
    list of GridRow
        The best first: that of the lowest mean over SNRs of the median NMSE in dB, the estimate being the chain's
        denoised state.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range, or the directory to resume from is of another search.
    """
    draws, seed = _check.integer("draws", draws, 1), _check.integer("seed", seed, 0)
    levels = [_check.real("snr_db", snr, -100, 100, closed=True) for snr in dict.fromkeys(snr_db)]
    grid = list(dict.fromkeys(settings))
    for argument, given in (("settings", grid), ("snr_db", levels)):
        if not given:
            raise ValueError(f"{argument}: expected at least one, found none")
    cell = scenario or CellScenario()
    fixed = {k: v for k, v in asdict(cell).items() if k != "snr_db"}
    store = Store(resume, "grid search", {"seed": seed, "scenario": fixed})
    pilots = qpsk_pilots(cell.devices, cell.symbols, seed)
    receivers = {
        s: Algorithm1(pilots, cell.antennas, cell.prior, seed=seed, threads=threads, **asdict(s)) for s in grid
    }
    measure = {s: partial(_measure, receiver) for s, receiver in receivers.items()}

    def run_level(index: int, snr: float) -> None:
        def draw(trial: int) -> CellDrop:
            return draw_cell(replace(cell, snr_db=snr), seed, VALIDATION + trial)

        def count(_: int, done: int) -> None:
            if progress is not None:
                progress((index * draws + done) * len(grid), len(levels) * draws * len(grid))

        point = Point({s: _lists(store, s, snr) for s in grid}, draw, measure)
        run(store, [point], Stop(draws), progress=count)

    for index, snr in enumerate(levels):
        run_level(index, snr)
    return sorted((_row(s, levels, draws, store) for s in grid), key=lambda row: row.mean_nmse_db)


def grid(
    step: Sequence[float],
    decay: Sequence[float | None],
    beta: Sequence[float],
    levels: Sequence[int] = (100,),
    steps: Sequence[int] = (3,),
) -> list[Setting]:
    """All combinations."""
    return [Setting(*values) for values in itertools.product(step, decay, beta, levels, steps)]


def _lists(store: Store, setting: Setting, snr: float) -> Lists:
    return store.lists(asdict(setting) | {"snr_db": snr})


def _measure(receiver: Algorithm1, drop: CellDrop) -> dict[str, float]:
    found = receiver.estimate(drop.y, drop.noise_var)
    x = drop.x
    energy = float(np.sum(np.abs(x) ** 2))
    # A draw with nobody active does not count.
    nmse = float(np.sum(np.abs(found.x - x) ** 2)) / energy if energy > 0 else -1.0
    return {"nmse": nmse, "wrong": float(np.mean(found.active != drop.activity)), "restarts": found.restarts}


def _row(setting: Setting, levels: list[float], draws: int, store: Store) -> GridRow:
    nmse, accuracy, restarts = [], [], 0
    for snr in levels:
        lists = _lists(store, setting, snr)
        ratios = np.array(lists["nmse"][:draws])
        heard = ratios[ratios >= 0]
        nmse.append(10 * float(np.log10(max(np.median(heard), 1e-30))) if len(heard) else 0.0)
        accuracy.append(1 - float(np.mean(lists["wrong"][:draws])))
        restarts += int(sum(lists["restarts"][:draws]))
    return GridRow(setting, tuple(nmse), tuple(accuracy), float(np.mean(nmse)), restarts)
