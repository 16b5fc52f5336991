"""Chains of annealed Langevin dynamics: the problem, the loop over its noise levels, and chains on the CPU.

Inside, shapes are the paper's: Y (M, T) = X (M, K) P (K, T) + Z, with pilots and entries of X of mean power one.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from . import _check, _core
from ._namespace import namespace
from .anneal import Level, leave_one_out, noise_levels, paper_level, preconditioned_level
from .priors.cell import CellPrior
from .priors.protocol import ColumnPrior

Record = TypeVar("Record")
Progress = Callable[[int, int], None] | None
Complex = npt.NDArray[np.complex128]
Real = npt.NDArray[np.float64]

DIVERGED = 1e3  # mean power of a state that is given up, in units of the first level's
STREAM = 1 << 24  # steps of one attempt, in the counter of the noise
_FIRST_LEVEL = 5.0  # first noise level, in units of the root mean square of X that the block shows
_ATTEMPTS = 6  # attempts of a chain, each with half the step of the one before


@dataclass(frozen=True, eq=False)
class Problem:
    """Problem that chains sample from, and settings by which they do; all that a backend is given.

    Attributes
    ----------
    pilots : ndarray of complex128, shape (K, T)
        P = U S V^H, of mean power one.
    rotation : ndarray of complex128, shape (K, K)
        U.
    singular : ndarray of float64, shape (K,)
        S, falling, zeros behind the rank.
    right : ndarray of complex128, shape (T, rank)
        V.
    antennas : int
        M.
    prior : ColumnPrior
        For entries of X of mean power one.
    sampler, chains, levels, steps, step, decay, beta, average, seed
        As :class:`jadce_fast.LangevinReceiver` takes them.
    """

    pilots: Complex
    rotation: Complex
    singular: Real
    right: Complex
    antennas: int
    prior: ColumnPrior
    sampler: Literal["preconditioned", "paper"]
    chains: int
    levels: int
    steps: int
    step: float
    decay: float | None
    beta: float
    average: int
    seed: int

    @property
    def devices(self) -> int:
        """K."""
        return len(self.pilots)

    def sigmas(self, power: float, noise_var: float) -> Real:
        """Noise levels for a block of this mean power."""
        rms = math.sqrt(max(power / self.devices, 1.0))
        return noise_levels(_FIRST_LEVEL * rms, self.singular, noise_var, self.levels)

    def schedule(self, sigmas: Real, noise_var: float, shrink: float = 1.0) -> list[Level]:
        """Levels at these noises, with steps shorter by a factor."""
        s = self.singular
        if self.sampler == "preconditioned":
            return [preconditioned_level(float(sigma), s, noise_var, self.step * shrink) for sigma in sigmas]
        first = float(sigmas[0]) ** 2
        step = self.step * shrink / (1 / first + float(s.max()) ** 2 / (noise_var + first))
        ratio = self.decay
        if ratio is None:
            ratio = float((sigmas[-1] / sigmas[0]) ** (2 / max(len(sigmas) - 1, 1)))
        return [
            paper_level(float(sigma), s, noise_var, step * ratio**i, self.beta)
            for i, sigma in enumerate(sigmas, start=1)
        ]

    def mixtures(self, variances: Real) -> npt.NDArray[np.float32] | None:
        """Rate, offset and gain (..., 3, G) of the exact prior for the kernels; None for another prior."""
        if not isinstance(self.prior, CellPrior):
            return None
        return np.stack(self.prior.tables(variances, self.antennas), axis=-2).astype(np.float32)


def plan(pilots: Complex, **settings: Any) -> Problem:
    """The problem of pilots (K, T) of mean power one; `settings` are its other attributes."""
    u, s, vh = np.linalg.svd(pilots)
    singular = np.zeros(len(pilots))
    singular[: len(s)] = s
    return Problem(pilots, u, singular, vh[: len(s)].conj().T, **settings)


class Backend(Protocol):
    """Home of the chains of some received blocks: the verbs of `sample`. Chain c of block b has the number b C + c.

    Attributes
    ----------
    most : int
        Blocks at a time.
    pilots : array
        P, an array of the backend as all that its verbs take and return.
    """

    most: int
    pilots: Any

    def receive(self, y: Any, shape: tuple[int, ...], many: bool) -> Any:
        """A received block, or several, of a shape (T, M) or (T, 1, M) as (B, M, T) in double precision.

        Raises
        ------
        ValueError, TypeError
            If it is not finite, or of another shape or device.
        """

    def give(self, record: Record, y: Any) -> Record:
        """A dataclass with its arrays in the kind of `y`, a received block as it came."""

    def put(self, array: npt.NDArray[Any]) -> Any:
        """An array of the backend."""

    def take(self, y: Any) -> None:
        """Blocks (B, M, T) that chains are from now on of; what was counted before is forgotten."""

    def start(self, levels: list[list[Level]], chains: list[int], step: int) -> None:
        """Let chains begin anew, at white noise of counter `step`, under the levels of every block."""

    def anneal(self, levels: range, step: int, average: int) -> None:
        """Go the steps of levels, of counters from `step` on, and note after each which chains diverge.

        Go `average` steps more at the last level, and add up the posteriors of the states that these begin with.
        """

    def end(self) -> tuple[list[int], Real]:
        """Chains that diverged since the start, and the spread (B, levels), mean variances of the state."""

    def sums(self) -> tuple[Any, Any, Any]:
        """Sums of what was counted: of means (B, C, K, M), of |mean|^2 / M + variance (B, C, K), of probabilities."""

    def posterior(self, columns: Any, noise_var: Any) -> tuple[Any, Any, Any]:
        """The prior's posterior of columns (B, K, M)."""

    def wait(self) -> None:
        """Let the host wait for all that it asked for."""


@dataclass(frozen=True)
class Samples:
    """Posteriors of B blocks, arrays of a backend."""

    mean: Any  # (B, K, M)
    variance: Any  # (B, K)
    probability: Any  # (B, K)
    chains: Any  # (B, C, K, M), averaged posterior means
    survived: Any  # (B, C)
    chain_probability: Any  # (B, K)
    spread: Any  # (B, K)
    restarts: list[int]
    diverged: list[int]
    history: list[tuple[dict[str, float], ...]]


def mean_power(x: Any, axes: tuple[int, ...]) -> Any:
    """Mean squared magnitude over axes."""
    return namespace(x).mean(abs(x) ** 2, axes)


def sample(problem: Problem, backend: Backend, y: Any, noise_var: float, progress: Progress) -> Samples:
    """Sample blocks (B, M, T), and infer every device's posterior from what chains tell of all others."""
    blocks, chains = len(y), problem.chains
    power = mean_power(y, (1, 2)).tolist()
    # Single precision tells states at most 90 dB above the noise from each other.
    noise = [max(noise_var, 1e-9 * p, 1e-12) for p in power]
    sigmas = [problem.sigmas(p, v) for p, v in zip(power, noise, strict=True)]
    backend.take(y)
    waiting, restarts = list(range(blocks * chains)), np.zeros(blocks, int)
    history: list[tuple[dict[str, float], ...]] = []
    for attempt in range(_ATTEMPTS):
        levels = [problem.schedule(s, v, 0.5**attempt) for s, v in zip(sigmas, noise, strict=True)]
        backend.start(levels, waiting, attempt * STREAM)
        _anneal(problem, backend, attempt * STREAM, progress)
        waiting, spread = backend.end()
        history = history or [
            tuple({"sigma": float(s), "spread": float(x)} for s, x in zip(own, seen, strict=True))
            for own, seen in zip(sigmas, spread, strict=True)
        ]
        if not waiting:
            break
        if attempt + 1 < _ATTEMPTS:
            restarts += np.bincount(np.array(waiting) // chains, minlength=blocks)
    survived = ~np.isin(np.arange(blocks * chains), waiting).reshape(blocks, chains)
    return Samples(
        **_infer(problem, backend, y, noise, survived),
        restarts=restarts.tolist(),
        diverged=(~survived).sum(1).tolist(),
        history=history,
    )


def _anneal(problem: Problem, backend: Backend, counter: int, progress: Progress) -> None:
    """Run chains through all levels, and count what they are at the end of the last one."""
    count, together = problem.levels, problem.levels if progress is None else 1
    for first in range(0, count, together):
        last = first + together
        step = counter + 1 + first * problem.steps
        backend.anneal(range(first, last), step, problem.average if last == count else 0)
        if progress is not None:
            backend.wait()
            progress(last, count)


def _infer(
    problem: Problem, backend: Backend, y: Any, noise: list[float], survived: npt.NDArray[np.bool_]
) -> dict[str, Any]:
    """Look at each device once more, all others being Gaussian interference of the power that chains saw."""
    xp, well = namespace(y), backend.put(survived)
    number = xp.clip(well.sum(1), 1, None)

    def over_chains(values: Any) -> Any:  # (B, C, ...); those of diverged chains may not be finite
        rest = [1] * (values.ndim - 2)
        total = xp.where(well.reshape(*well.shape, *rest), values, 0).sum(1)
        return total / number.reshape(-1, *rest)

    means, powers, active = backend.sums()
    means = means / problem.average
    powers, active = over_chains(powers) / problem.average, over_chains(active) / problem.average
    deviation = means - over_chains(means)[:, None]
    spread = over_chains(deviation.real**2 + deviation.imag**2).mean(-1)
    columns, variance = leave_one_out(y, backend.pilots, backend.put(np.array(noise)), powers)
    mean, error, probability = backend.posterior(columns, variance)
    alive = well.any(1)[:, None]
    return {
        "mean": xp.where(alive[..., None], mean, 0),
        "variance": xp.where(alive, error, 0),
        "probability": xp.where(alive, probability, 0),
        "chains": means,
        "survived": well,
        "chain_probability": active,
        "spread": spread,
    }


class NativeChains:
    """Chains on the CPU, of one received block at a time; a `Backend`."""

    most = 1

    def __init__(self, problem: Problem, threads: int, isa: str | None = None) -> None:
        self.problem, self.pilots = problem, problem.pilots
        self.native = _core.Langevin(
            rotation=np.ascontiguousarray(problem.rotation, np.complex64),
            singular=problem.singular.astype(np.float32),
            antennas=problem.antennas,
            chains=problem.chains,
            threads=threads,
            isa=isa,
        )
        rank = problem.right.shape[1]
        self._back = problem.rotation[:, :rank].conj().T.astype(np.complex64)

    def receive(self, y: Any, shape: tuple[int, ...], many: bool) -> Complex:
        """Check blocks, and turn them over."""
        found = _check.array("y", y, ("B", *shape) if many else shape, np.complex64).astype(np.complex128)
        return np.ascontiguousarray(found.reshape(-1, shape[0], shape[-1]).swapaxes(1, 2))

    def give(self, record: Record, y: Any) -> Record:
        """The record itself."""
        return record

    def put(self, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """The array itself."""
        return array

    def take(self, y: Complex) -> None:
        """Take one block."""
        self._rotated = (y[0] @ self.problem.right).astype(np.complex64)

    def start(self, levels: list[list[Level]], chains: list[int], step: int) -> None:
        """Let chains begin anew."""
        (self._levels,) = levels
        self._started, self._alive, self._spread = chains, list(chains), list[float]()
        self._mixtures = self.problem.mixtures(np.array([level.sigma**2 for level in self._levels]))
        self.native.plan(self._levels)
        weight = np.array([level.force[: len(self._back)] for level in self._levels], np.float32)
        weighted = self._rotated * weight[:, None]  # (levels, M, rank), and one product: BLAS forks once
        force = (weighted.reshape(-1, len(self._back)) @ self._back).reshape(*weighted.shape[:2], -1)
        self.native.block(np.ascontiguousarray(force.transpose(0, 2, 1)))
        self.native.start(chains, self.problem.seed, step, self._levels[0].sigma)

    def anneal(self, levels: range, step: int, average: int) -> None:
        """Go the steps of levels, one after another."""
        for level in levels:
            self._go(level, step, self.problem.steps, False)
            self._watch()
            step += self.problem.steps
        if average:
            self._go(levels[-1], step, average, True)

    def _go(self, level: int, step: int, steps: int, count: bool) -> None:
        """Go steps of one level: natively with the exact prior, else one by one with the prior's means."""
        variance = self._levels[level].sigma ** 2
        options: dict[str, Any] = {"chains": self._alive, "seed": self.problem.seed}
        options |= {"level": level, "noise_var": variance}
        if self._mixtures is not None:
            self.native.anneal(step=step, steps=steps, mixture=self._mixtures[level], accumulate=count, **options)
            return
        for i in range(steps if self._alive else 0):
            self._denoise(variance, count)
            self.native.step(step=step + i, **options)

    def _denoise(self, variance: float, count: bool) -> None:
        """Posterior means of a prior that is not the exact one, where the next step finds them."""
        native, chains, m = self.native, self._alive, self.problem.antennas
        # A chain that diverges within a level may have left what numbers hold before anybody watches.
        state = np.nan_to_num(native.columns[chains][..., :m], posinf=0.0, neginf=0.0)
        columns = state[:, :, 0] + 1j * state[:, :, 1]
        mean, error, probability = self.problem.prior.posterior(columns, np.full(columns.shape[:2], variance))
        split = np.zeros((*state.shape[:3], native.mean.shape[3]), np.float32)
        split[:, :, 0, :m], split[:, :, 1, :m] = np.real(mean), np.imag(mean)
        native.mean[chains] = split
        if count:
            n = self.problem.devices
            native.sums[chains] += split
            native.sum_energy[chains, :n] += np.mean(np.abs(mean) ** 2, axis=-1) + error
            native.sum_active[chains, :n] += probability

    def _watch(self) -> None:
        """Give up chains that diverged."""
        bound = DIVERGED * self._levels[0].sigma ** 2
        power = self.native.power(self._alive)
        self._alive = [chain for chain, p in zip(self._alive, power, strict=True) if p < bound]  # false for NaN
        self._spread.append(self.native.spread(self._alive))

    def end(self) -> tuple[list[int], Real]:
        """Chains that were given up, and the spread of the others."""
        return [chain for chain in self._started if chain not in self._alive], np.array([self._spread])

    def sums(self) -> tuple[Complex, Real, Real]:
        """Sums of what was counted, in double precision."""
        native, m, n = self.native, self.problem.antennas, self.problem.devices
        means = native.sums[..., :m].astype(np.float64)
        power, active = (a[None, :, :n].astype(np.float64) for a in (native.sum_energy, native.sum_active))
        return (means[:, :, 0] + 1j * means[:, :, 1])[None], power, active

    def posterior(self, columns: Complex, noise_var: Real) -> tuple[Any, Any, Any]:
        """The prior's own."""
        return self.problem.prior.posterior(columns, noise_var)

    def wait(self) -> None:
        """Nothing runs behind the host's back."""
