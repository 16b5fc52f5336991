"""The receivers of a cell that campaigns compare, by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..baselines.receivers.algorithm_1 import Algorithm1
from ..baselines.receivers.estimate import Estimate
from ..baselines.receivers.lmmse import Lmmse, best_threshold, energy_share
from ..baselines.receivers.message_passing import MessagePassing
from ..langevin import LangevinReceiver
from ..priors.cell import CellPrior
from .cell_drop import CellDrop, CellScenario, draw_cell, qpsk_pilots
from .store import fingerprint

TMP, LMMSE, ALGORITHM_1, TRUTH = "tmp", "lmmse", "algorithm-1", "truth"
VALIDATION = 1 << 20  # trials from here on are never of a test
_CALIBRATION = 200  # draws for the threshold of LMMSE


@dataclass(frozen=True)
class Contender:
    """A receiver planned for the pilots of a scenario, and the fingerprint of its weights, if it has any."""

    estimate: Callable[[CellDrop], Estimate]
    fingerprint: str = ""


def load_receiver(
    name: str, scenario: CellScenario, belief: CellPrior, seed: int, threads: int | None, options: dict[str, Any]
) -> Contender:
    """Return "tmp", "lmmse", "algorithm-1", "truth", or the Langevin receiver with the prior of that name.

    Raises
    ------
    ValueError, TypeError
        If there is no such prior.
    """
    pilots, antennas = qpsk_pilots(scenario.devices, scenario.symbols, seed), scenario.antennas
    receiver: MessagePassing | Lmmse | Algorithm1
    if name == TRUTH:
        return Contender(_truth)
    if name == TMP:
        receiver = MessagePassing(pilots, belief)
    elif name == LMMSE:
        receiver = _calibrated_lmmse(scenario, pilots, seed)
    elif name == ALGORITHM_1:
        receiver = Algorithm1(pilots, antennas, belief, seed=seed, threads=threads)
    else:
        prior = belief if name == "cell" else name
        langevin = LangevinReceiver(pilots, antennas, prior, seed=seed, threads=threads, **options)
        return Contender(lambda drop: _sampled(langevin, drop), fingerprint(langevin.prior))
    return Contender(lambda drop: receiver.estimate(drop.y, drop.noise_var))


def _truth(drop: CellDrop) -> Estimate:
    """Know X: the bound of a coded link."""
    return Estimate(drop.x, np.zeros(len(drop.x)), drop.activity)


def _sampled(receiver: LangevinReceiver, drop: CellDrop) -> Estimate:
    p = receiver.sample(drop.y, drop.noise_var)
    return Estimate(p.mean, p.variance, p.probability >= 0.5, p.restarts, p.diverged)


def _calibrated_lmmse(scenario: CellScenario, pilots: npt.NDArray[np.complex64], seed: int) -> Lmmse:
    """LMMSE with the best threshold of 200 validation draws of the same operating point."""
    receiver = Lmmse(pilots, scenario.mean_power)
    share, truth = [], []
    for trial in range(VALIDATION, VALIDATION + _CALIBRATION):
        drop = draw_cell(scenario, seed, trial)
        share.append(energy_share(receiver.estimate(drop.y, drop.noise_var).x))
        truth.append(drop.activity)
    return Lmmse(pilots, scenario.mean_power, best_threshold(np.ravel(share), np.ravel(truth)))
