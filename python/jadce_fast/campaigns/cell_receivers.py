"""The receivers of a cell that campaigns compare: Langevin with any prior, Algorithm 1, message passing, LMMSE."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from .. import reference
from ..langevin import LangevinReceiver, Posterior
from ..priors.cell import CellPrior
from .cell_drop import CellDrop, CellScenario, draw_cell

TMP, LMMSE, ALGORITHM_1, TRUTH = "tmp", "lmmse", "algorithm-1", "truth"
BASELINES = (TMP, LMMSE, ALGORITHM_1)
# Of the grid search (docs/langevin-results.md): the least mean NMSE over three SNRs.
PAPER_STEP: dict[str, Any] = {"levels": 100, "steps": 10, "step": 1.4, "decay": None, "beta": 0.01}
VALIDATION = 1 << 20  # trials from here on are never of a test
_CALIBRATION = 200  # draws for the threshold of LMMSE

Complex = npt.NDArray[np.complex128]
Real = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Estimate:
    """X (M, N), the variance of an entry of every column (N,), who is decided active (N,), and how it went."""

    x: Complex
    variance: Real
    active: npt.NDArray[np.bool_]
    restarts: int = 0
    diverged: int = 0


class CellReceiver(Protocol):
    """One receiver, planned for the pilots of a scenario."""

    fingerprint: str

    def estimate(self, drop: CellDrop) -> Estimate:
        """Estimate X and decide activity."""


class _Langevin:
    def __init__(self, name: str, scenario: CellScenario, belief: CellPrior, drop: CellDrop, **options: Any) -> None:
        prior = belief if name == "cell" else name
        self._receiver = LangevinReceiver(drop.pilots, scenario.antennas, prior, **options)
        self.fingerprint = _fingerprint(self._receiver.prior)

    def estimate(self, drop: CellDrop) -> Estimate:
        p = one_posterior(self._receiver.sample(drop.y, drop.noise_var))
        return Estimate(p.mean, p.variance, p.probability >= 0.5, p.restarts, p.diverged)


class _Algorithm1:
    """Algorithm 1 of Tang with its sign corrected, one chain, and the denoised state at the last level."""

    fingerprint = ""

    def __init__(self, scenario: CellScenario, belief: CellPrior, drop: CellDrop, **options: Any) -> None:
        options = PAPER_STEP | options
        self._receiver = LangevinReceiver(drop.pilots, scenario.antennas, belief, sampler="paper", chains=1, **options)

    def estimate(self, drop: CellDrop) -> Estimate:
        p = one_posterior(self._receiver.sample(drop.y, drop.noise_var))
        mean = p.chains.mean(0) if len(p.chains) else np.zeros_like(p.mean)
        return Estimate(mean, p.variance, p.chain_probability >= 0.5, p.restarts, p.diverged)


class _MessagePassing:
    fingerprint = ""

    def __init__(self, belief: CellPrior) -> None:
        self._belief = belief

    def estimate(self, drop: CellDrop) -> Estimate:
        mean, probability = reference.cell_tmp(drop.y, drop.pilots, drop.noise_var, self._belief.denoise)
        return Estimate(mean, np.zeros(len(drop.pilots)), probability >= 0.5)


class _Lmmse:
    """LMMSE with the true mean power; columns whose share of the energy exceeds a threshold are active.

    The threshold is the best of 200 validation draws of the same operating point. One on the energy itself, on its
    ratio to the largest, or the expected number of strongest columns make more errors at nearly every SNR: most of the
    energy of idle columns is leakage of the strong devices.
    """

    fingerprint = ""

    def __init__(self, scenario: CellScenario, seed: int) -> None:
        self._power = scenario.mean_power
        self._threshold = np.inf
        share, truth = [], []
        for trial in range(VALIDATION, VALIDATION + _CALIBRATION):
            drop = draw_cell(scenario, seed, trial)
            share.append(self._share(self._linear(drop)))
            truth.append(np.isin(np.arange(scenario.devices), drop.active))
        self._threshold = best_threshold(np.ravel(share), np.ravel(truth))

    def estimate(self, drop: CellDrop) -> Estimate:
        x = self._linear(drop)
        p = drop.pilots.astype(np.complex128)
        gram = p.conj().T @ p + drop.noise_var / self._power * np.eye(p.shape[1])
        gain = np.real(np.einsum("nl,ln->n", p, np.linalg.solve(gram, p.conj().T)))
        return Estimate(x, self._power * (1 - gain), self._share(x) >= self._threshold)

    def _linear(self, drop: CellDrop) -> Complex:
        return reference.cell_lmmse(drop.y, drop.pilots, drop.noise_var, self._power)

    def _share(self, x: Complex) -> Real:
        energy = np.sum(np.abs(x) ** 2, axis=0)
        return np.asarray(energy / np.sum(energy))


class _Truth:
    """Knows X: the bound of a coded link."""

    fingerprint = ""

    def estimate(self, drop: CellDrop) -> Estimate:
        x, active = true_matrix(drop)
        return Estimate(x, np.zeros(len(active)), active)


def load_receiver(
    name: str, scenario: CellScenario, belief: CellPrior, seed: int, threads: int | None, options: dict[str, Any]
) -> CellReceiver:
    """Return "tmp", "lmmse", "algorithm-1", "truth", or the Langevin receiver with the prior of that name.

    Raises
    ------
    ValueError, TypeError
        If there is no such prior.
    """
    if name == TMP:
        return _MessagePassing(belief)
    if name == LMMSE:
        return _Lmmse(scenario, seed)
    if name == TRUTH:
        return _Truth()
    drop = draw_cell(scenario, seed)
    if name == ALGORITHM_1:
        return _Algorithm1(scenario, belief, drop, seed=seed, threads=threads)
    return _Langevin(name, scenario, belief, drop, seed=seed, threads=threads, **options)


def one_posterior(found: Posterior | list[Posterior]) -> Posterior:
    """The posterior of a single block."""
    assert isinstance(found, Posterior)
    return found


def true_matrix(drop: CellDrop) -> tuple[Complex, npt.NDArray[np.bool_]]:
    """X (M, N), and who is active (N,)."""
    x = np.zeros((len(drop.y), len(drop.pilots)), np.complex128)
    x[:, drop.active] = drop.channels[:, 0].T
    return x, np.isin(np.arange(x.shape[1]), drop.active)


def best_threshold(statistic: Real, active: npt.NDArray[np.bool_]) -> float:
    """Threshold on a statistic of columns that makes the fewest wrong decisions; infinite if silence makes fewest."""
    order = np.argsort(-statistic)
    # Wrong decisions if the i strongest are taken as active: the missed and the false alarms.
    wrong = np.concatenate([[0], np.cumsum(np.where(active[order], -1, 1))])
    count = int(np.argmin(wrong))
    return float(statistic[order[count - 1]]) if count else float("inf")


def _fingerprint(prior: Any) -> str:
    """Of a network's weights: what was measured with others is of no use."""
    network = getattr(prior, "network", None)
    if network is None:
        return ""
    digest = hashlib.sha256()
    for value in network.state_dict().values():
        digest.update(value.cpu().numpy().tobytes())
    return digest.hexdigest()[:16]
