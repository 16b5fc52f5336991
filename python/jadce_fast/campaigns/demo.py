"""The demonstration: one drop, the score prior against the Gaussian one and the genie."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..detection import Detection
from ..metrics import Score, score
from ..priors import DEFAULT
from ..priors.files import load_prior
from ..priors.gaussian import GaussianPrior
from ..receiver import Receiver
from ..rules import Rules
from .genie import GeniePrior
from .ofdm_drop import Drop, Scenario, draw_drop

_REPEATS = 7  # timed detections after one that is not


@dataclass(frozen=True)
class Contender:
    """One receiver on the drop.

    Attributes
    ----------
    prior : str
        Name or file of the prior, "gaussian" or "genie".
    detection : Detection
    score : Score
    milliseconds : float
        Median of a few detections, the first one apart.
    nmse_db : tuple of float
        NMSE after each iteration.
    """

    prior: str
    detection: Detection
    score: Score
    milliseconds: float
    nmse_db: tuple[float, ...]


@dataclass(frozen=True)
class Demonstration:
    """Drop and contenders: score prior, Gaussian prior, genie."""

    scenario: Scenario
    drop: Drop
    contenders: tuple[Contender, Contender, Contender]


def demonstrate(
    scenario: Scenario,
    seed: int = 0,
    prior: str = DEFAULT,
    *,
    threads: int | None = None,
    progress: Callable[[str], None] | None = None,
) -> Demonstration:
    """Draw one drop and detect it three times.

    Parameters
    ----------
    scenario : Scenario
    seed : int
        Of the drop.
    prior : str
        Name or file of the score prior.
    threads : int, optional
        Native threads.
    progress : callable, optional
        Called with the name of each contender before its turn.
    """
    drop = draw_drop(scenario, seed)
    learned = load_prior(prior)
    genie = GeniePrior(learned)
    if drop.paths is not None:
        genie.reveal(drop.active, drop.paths, scenario.antennas)

    def run(name: str, denoiser: object) -> Contender:
        if progress is not None:
            progress(name)

        def plan(rules: Rules | None = None) -> Receiver:
            return Receiver(
                drop.pilots, scenario.antennas, denoiser, scenario.activity_rate, threads=threads, rules=rules
            )

        receiver = plan()
        found = _detect(receiver, drop)
        seconds = []
        for _ in range(1 if name == "genie" else _REPEATS):
            start = time.perf_counter()
            _detect(receiver, drop)
            seconds.append(time.perf_counter() - start)
        # The receiver is deterministic: stopping it early shows what it had after each iteration.
        steps = [_detect(plan(Rules(max_iterations=i)), drop) for i in range(1, found.iterations)]
        scores = [score(d, drop.active, drop.channels) for d in (*steps, found)]
        curve = tuple(s.nmse_db for s in scores)
        return Contender(name, found, scores[-1], 1e3 * float(np.median(seconds)), curve)

    return Demonstration(
        scenario, drop, (run(prior, learned), run("gaussian", GaussianPrior(scenario.subcarriers)), run("genie", genie))
    )


def _detect(receiver: Receiver, drop: Drop) -> Detection:
    return receiver.detect(drop.y, drop.noise_var)
