"""Annealed Langevin dynamics for joint activity detection and channel estimation (Tang et al.).

Chains sample X + sigma N given Y at falling noise levels; their second moments tell every device's interference, and
the posterior of a device given all others follows from its prior (docs/langevin.md).
"""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from . import _check, _core, ops
from .anneal import Level, coefficients, leave_one_out, noise_levels, paper_level, preconditioned_level
from .cuda import device as cuda_device
from .detection import Detection
from .priors.cell import CellPrior

_FIRST_LEVEL = 5.0  # in units of the root mean square of X that the block shows
_DIVERGED = 1e3  # mean power of a state, in units of the first level's
_ATTEMPTS = 6  # of a chain, each with half the step of the one before
_STREAM = 1 << 24  # steps of one attempt, in the counter of the noise


@dataclass(frozen=True)
class Posterior:
    """What the sampler knows about X (M, N), the channels times activity.

    Attributes
    ----------
    mean : ndarray of complex128, shape (M, N)
        Posterior mean.
    variance : ndarray of float64, shape (N,)
        Posterior variance of an entry of each column.
    probability : ndarray of float64, shape (N,)
        Posterior probability that each device is active.
    chains : ndarray of complex128, shape (C, M, N)
        Posterior mean of each chain, averaged over the steps counted. Their mean is the plain Monte-Carlo estimate.
    chain_probability : ndarray of float64, shape (N,)
        Mean of the chains' probabilities of activity.
    spread : ndarray of float64, shape (N,)
        Variance of an entry over chains.
    restarts : int
        How often a chain diverged and began anew with half the step.
    diverged : int
        Chains that diverged to the end and are left out.
    history : tuple of dict
        Per level: ``sigma`` and ``spread``, the mean variance of the state over chains.
    """

    mean: npt.NDArray[np.complex128]
    variance: npt.NDArray[np.float64]
    probability: npt.NDArray[np.float64]
    chains: npt.NDArray[np.complex128]
    chain_probability: npt.NDArray[np.float64]
    spread: npt.NDArray[np.float64]
    restarts: int
    diverged: int
    history: tuple[dict[str, float], ...] = field(default=(), repr=False)


def _resolve(prior: Any) -> Any:
    if isinstance(prior, str) and prior == "cell":
        return CellPrior()
    if isinstance(prior, (str, os.PathLike)):
        from .priors.files import load_cell_prior

        return load_cell_prior(prior)
    if isinstance(prior, type) or not hasattr(prior, "denoise"):
        raise TypeError(f"prior: expected 'cell', a name, a file or an object that denoises, found {prior!r}")
    return prior


class LangevinReceiver:
    """Annealed Langevin receiver for Y = X P + Z, planned once for many received blocks.

    Parameters
    ----------
    pilots : array_like, shape (N, L)
        P, the pilot sequence of every device; L may be larger than N.
    antennas : int
        M.
    prior : "cell", CellPrior, name, path, CellScorePrior or object
        Exact score of the paper's cell ("cell": its defaults); a trained score network, by the name of a shipped one
        ("cell-network"), from a file, or loaded; or any object whose
        ``denoise(columns (..., N, M), noise_var (..., N))`` returns posterior mean, variance (..., N) and
        probability of activity (..., N), as :meth:`jadce_fast.priors.cell.CellPrior.denoise` does.
    sampler : {"preconditioned", "paper"}
        Steps along the singular vectors of P in proportion to the inverse curvature, or Algorithm 1 as printed, with
        the sign of the likelihood gradient corrected.
    chains : int
        Independent chains.
    levels : int
        Noise levels (the paper's L), geometric.
    steps : int
        Q, steps per level.
    step : float
        In units of the inverse of the largest curvature: of every coordinate at every level, in (0, 1], if
        preconditioned; of the first level for the paper's alpha_0, the step of level i being alpha_0 r^i.
    decay : float, optional
        r of the paper's sampler, in (0, 1); by default steps follow sigma^2.
    beta : float
        Noise of the paper's sampler.
    average : int
        Steps at the last level whose posteriors are averaged, from 1.
    seed : int
        Of the noise; the same seed gives the same result for any number of threads.
    zero_threshold : float, optional
        Decide activity as the paper does: a device is inactive if its column of the posterior mean is zero, that is has
        a mean power below this. By default a device is active if its posterior probability is at least one half.
    device : {"cpu", "cuda"} or torch.device
        Where to run. On a GPU blocks may be tensors of it (or anything with ``__cuda_array_interface__`` or DLPack),
        arrays of the host are copied there; results are tensors of it. The seed gives the chains that it gives on the
        CPU, up to rounding. A `prior` that has ``denoise_torch``, as ``denoise`` but of tensors, runs there too;
        another one makes every step a copy to the host and back.
    threads : int, optional
        Native threads, by default all processors of this process.
    isa : str, optional
        Kernel variant, by default the best one of this processor.

    Raises
    ------
    ValueError, TypeError
        If an argument is out of range or does not fit another, or there is no such device; the message names it.

    Notes
    -----
    Methods may be called from several threads; calls on one receiver take turns.
    """

    def __init__(
        self,
        pilots: npt.ArrayLike,
        antennas: int,
        prior: Any = "cell",
        *,
        sampler: Literal["preconditioned", "paper"] = "preconditioned",
        chains: int = 8,
        levels: int = 40,
        steps: int = 3,
        step: float = 0.7,
        decay: float | None = None,
        beta: float = 0.9,
        average: int = 1,
        seed: int = 0,
        zero_threshold: float | None = None,
        device: Any = "cpu",
        threads: int | None = None,
        isa: str | None = None,
    ) -> None:
        array = _check.array("pilots", pilots, ("N", "L"), np.complex64).astype(np.complex128)
        if 0 in array.shape:
            raise ValueError(f"pilots: expected at least one device and symbol, found shape {array.shape}")
        self.devices, self.symbols = array.shape
        self.antennas = _check.integer("antennas", antennas, 1, 4096)
        self.prior = _resolve(prior)
        if sampler not in ("preconditioned", "paper"):
            raise ValueError(f"sampler: expected 'preconditioned' or 'paper', found {sampler!r}")
        self.sampler = sampler
        self.chains = _check.integer("chains", chains, 1, 4096)
        self.levels = _check.integer("levels", levels, 1)
        self.steps = _check.integer("steps", steps, 1)
        self.average = _check.integer("average", average, 1)
        if self.levels * self.steps + self.average >= _STREAM:
            raise ValueError(f"levels, steps, average: expected fewer than {_STREAM} steps in all")
        if sampler == "preconditioned":
            self.step = _check.real("step", step, 1e-6, 1.0, closed=True)
        else:
            self.step = _check.real("step", step)
        self.decay = None if decay is None else _check.real("decay", decay, 0.0, 1.0)
        self.beta = _check.real("beta", beta, 0.0, np.inf, closed=True)
        self.seed = _check.integer("seed", seed, 0, 2**63 - 1)
        self.zero_threshold = None if zero_threshold is None else _check.scale("zero_threshold", zero_threshold)
        self.threads = ops.default_threads() if threads is None else _check.integer("threads", threads, 1, 1024)

        # Inside, pilots have unit mean power and the entries of X have mean power one.
        amplitude = math.sqrt(np.mean(np.abs(array) ** 2))
        if not 1e-15 <= amplitude <= 1e15:
            raise ValueError(f"pilots: expected a mean power of 1e-30 to 1e30, found {amplitude**2:g}")
        self._exact = isinstance(self.prior, CellPrior)
        self._unit = getattr(self.prior, "unit", 1.0)
        self._inside: Any = self.prior.with_power(None) if hasattr(self.prior, "with_power") else self.prior
        self._scale = amplitude * self._unit
        self._pilots = array / amplitude
        u, s, vh = np.linalg.svd(self._pilots)
        self._singular = np.zeros(self.devices)
        self._singular[: len(s)] = s
        self._rotation, self._right = u, vh[: len(s)].conj().T
        self._device: Any = None
        if str(device) != "cpu":
            from .cuda.langevin import DeviceSampler

            self._device = DeviceSampler(self, cuda_device.open_device(device))
        self._lock = threading.Lock()
        if self._device is not None:
            return
        self._native = _core.Langevin(
            rotation=np.ascontiguousarray(u, np.complex64),
            singular=self._singular.astype(np.float32),
            antennas=self.antennas,
            chains=self.chains,
            threads=self.threads,
            isa=isa,
        )

    def detect(
        self, y: Any, noise_var: float, progress: Callable[[int, int], None] | None = None
    ) -> Detection | list[Detection]:
        """Detect the active devices of a received block and estimate their channels.

        Parameters
        ----------
        y : array_like, shape (M, L) or (B, M, L)
            Received pilots. A leading axis holds independent blocks, which a GPU works on at once.
        noise_var : float
            Complex noise variance per entry of Y, positive.
        progress : callable, optional
            Called with (levels done, levels in all) after every noise level, on the CPU for every block; an exception
            in it cancels the detection. A GPU waits for the host then, which it otherwise does not.

        Returns
        -------
        Detection, or a list of B of them
            With channels of shape (A, 1, M). ``iterations`` counts the steps of a chain; ``history`` has ``sigma`` and
            ``spread`` of every level; ``converged`` is False if a chain diverged to the end or the result explained the
            block worse than silence. On a GPU, arrays of the kind of `y`.

        Raises
        ------
        ValueError, TypeError
            If `y` has another shape or is not finite, or `noise_var` is not positive.
        """
        blocks, noise, several = self._inputs(y, noise_var)
        with self._lock:
            found: list[Detection]
            if self._device is not None:
                from .cuda import arrays as _cuda_arrays

                found = [_cuda_arrays.all_like(d, y) for d in self._device.detect(blocks, noise, progress)]
            else:
                found = [self._detect(block, noise, progress) for block in blocks]
        return found if several else found[0]

    def _detect(
        self, block: npt.NDArray[np.complex128], noise: float, progress: Callable[[int, int], None] | None
    ) -> Detection:
        p = self._sample(block, noise, progress)
        received = float(np.mean(np.abs(block) ** 2))
        if self.zero_threshold is None:
            chosen = p.probability >= 0.5
        else:
            chosen = np.mean(np.abs(p.mean) ** 2, axis=0) >= self.zero_threshold / self._unit**2
        residual = float(np.mean(np.abs(block - p.mean[:, chosen] @ self._pilots[chosen]) ** 2))
        probability, silent = p.probability, residual > received
        if silent:
            chosen, residual, probability = np.zeros_like(chosen), received, np.minimum(probability, 0.49)
        active = np.flatnonzero(chosen).astype(np.int64)
        return Detection(
            activity=probability.astype(np.float32),
            active=active,
            channels=(self._unit * p.mean[:, active].T).astype(np.complex64)[:, None],
            channel_var=(self._unit**2 * p.variance[active]).astype(np.float32),
            iterations=self.levels * self.steps + self.average,
            converged=not silent and p.diverged == 0,
            noise_var=residual * self._scale**2,
            residual_ratio=residual / noise,
            stopped_because="silence" if silent else "diverged" if p.diverged else "iterations",
            restarts=p.restarts,
            history=p.history,
        )

    def sample(
        self, y: Any, noise_var: float, progress: Callable[[int, int], None] | None = None
    ) -> Posterior | list[Posterior]:
        """Posterior of all devices, decided or not; arguments and errors as for :meth:`detect`."""
        blocks, noise, several = self._inputs(y, noise_var)
        with self._lock:
            if self._device is not None:
                found = self._device.posteriors(blocks, noise, progress)
            else:
                found = [self._sample(block, noise, progress) for block in blocks]
        u = self._unit
        scaled = [
            Posterior(
                u * p.mean,
                u**2 * p.variance,
                p.probability,
                u * p.chains,
                p.chain_probability,
                u**2 * p.spread,
                p.restarts,
                p.diverged,
                tuple({k: v * (u if k == "sigma" else u**2) for k, v in h.items()} for h in p.history),
            )
            for p in found
        ]
        if self._device is not None:
            from .cuda import arrays as _cuda_arrays

            scaled = [_cuda_arrays.all_like(p, y) for p in scaled]
        return scaled if several else scaled[0]

    def _inputs(self, y: Any, noise_var: float) -> tuple[Any, float, bool]:
        """Blocks (B, M, L) and noise variance in the receiver's units, and whether there was a leading axis."""
        noise = _check.scale("noise_var", noise_var) / self._scale**2
        if self._device is not None:
            blocks: tuple[Any, float, bool] = self._device.blocks(y, noise)
            return blocks
        if not hasattr(y, "ndim"):
            y = _check.as_array("y", y)
        several = y.ndim == 3
        shape: tuple[int | str, ...] = (self.antennas, self.symbols)
        found = _check.array("y", y, ("B", *shape) if several else shape, np.complex64)
        return found.astype(np.complex128).reshape(-1, self.antennas, self.symbols) / self._scale, noise, several

    def _sample(
        self, y: npt.NDArray[np.complex128], noise: float, progress: Callable[[int, int], None] | None
    ) -> Posterior:
        power = float(np.mean(np.abs(y) ** 2))
        # Single precision tells states at most 90 dB above the noise from each other.
        noise = max(noise, 1e-9 * power, 1e-12)
        sigmas = self._sigmas(power, noise)
        waiting, restarts = list(range(self.chains)), 0
        history: tuple[dict[str, float], ...] = ()
        for attempt in range(_ATTEMPTS):
            levels = self._schedule(sigmas, noise, 0.5**attempt)
            self._native.plan(coefficients(levels))
            self._native.block(self._force(y, levels))
            waiting, seen = self._run(waiting, levels, attempt, progress)
            history = history or seen
            if not waiting:
                break
            restarts += len(waiting) if attempt + 1 < _ATTEMPTS else 0
        return self._posterior(y, noise, sorted(set(range(self.chains)) - set(waiting)), restarts, history)

    def _sigmas(self, power: float, noise: float) -> npt.NDArray[np.float64]:
        """Noise levels for a block of this mean power."""
        rms = math.sqrt(max(power / self.devices, 1.0))
        return noise_levels(_FIRST_LEVEL * rms, self._singular, noise, self.levels)

    def _schedule(self, sigmas: npt.NDArray[np.float64], noise: float, shrink: float) -> list[Level]:
        s = self._singular
        if self.sampler == "preconditioned":
            return [preconditioned_level(float(sigma), s, noise, self.step * shrink) for sigma in sigmas]
        first = float(sigmas[0]) ** 2
        step = self.step * shrink / (1 / first + float(s.max()) ** 2 / (noise + first))
        ratio = self.decay
        if ratio is None:
            ratio = float((sigmas[-1] / sigmas[0]) ** (2 / max(len(sigmas) - 1, 1)))
        return [
            paper_level(float(sigma), s, noise, step * ratio**i, self.beta) for i, sigma in enumerate(sigmas, start=1)
        ]

    def _force(self, y: npt.NDArray[np.complex128], levels: list[Level]) -> npt.NDArray[np.complex64]:
        """Of all levels, (levels, N, M)."""
        rank = self._right.shape[1]
        rotated = (y @ self._right).astype(np.complex64)
        weight = np.array([level.force[:rank] for level in levels], np.float32)
        force = (rotated * weight[:, None]) @ self._rotation[:, :rank].conj().T.astype(np.complex64)  # (levels, M, N)
        return np.ascontiguousarray(force.transpose(0, 2, 1))

    def _run(
        self, chains: list[int], levels: list[Level], attempt: int, progress: Callable[[int, int], None] | None
    ) -> tuple[list[int], tuple[dict[str, float], ...]]:
        """Run chains through all levels; return those that diverged, and the history."""
        native, counter = self._native, attempt * _STREAM
        native.start(chains, self.seed, counter, levels[0].sigma)
        bound = _DIVERGED * levels[0].sigma ** 2
        tables = self._mixtures(levels)
        alive, history = list(chains), []
        for i, level in enumerate(levels):
            self._anneal(alive, counter + 1 + i * self.steps, self.steps, i, level, tables, False)
            alive = [chain for chain, p in zip(alive, native.power(alive), strict=True) if p < bound]  # false for NaN
            history.append({"sigma": level.sigma, "spread": native.spread(alive)})
            if progress is not None:
                progress(i + 1, len(levels))
        self._anneal(alive, counter + 1 + len(levels) * self.steps, self.average, i, level, tables, True)
        return [chain for chain in chains if chain not in alive], tuple(history)

    def _mixtures(self, levels: list[Level]) -> npt.NDArray[np.float32] | None:
        """Rate, offset and gain of every level, (levels, 3, G), if the prior is the exact one."""
        if not self._exact:
            return None
        variances = np.array([level.sigma**2 for level in levels])
        return np.stack(self._inside.tables(variances, self.antennas), axis=1).astype(np.float32)

    def _anneal(
        self,
        chains: list[int],
        counter: int,
        steps: int,
        index: int,
        level: Level,
        tables: npt.NDArray[np.float32] | None,
        accumulate: bool,
    ) -> None:
        native, v = self._native, level.sigma**2
        if tables is not None:
            native.anneal(chains, self.seed, counter, steps, index, v, tables[index], accumulate)
            return
        m, n = self.antennas, self.devices
        for i in range(steps if chains else 0):
            state = native.columns[chains][..., :m]
            columns = state[:, :, 0] + 1j * state[:, :, 1]
            mean, variance, probability = self._inside.denoise(columns, v)
            split = np.zeros((*state.shape[:3], native.mean.shape[3]), np.float32)
            split[:, :, 0, :m], split[:, :, 1, :m] = np.real(mean), np.imag(mean)
            native.mean[chains] = split
            if accumulate:
                native.sums[chains] += split
                native.sum_energy[chains, :n] += np.mean(np.abs(mean) ** 2, axis=-1) + variance
                native.sum_active[chains, :n] += probability
            native.step(chains, self.seed, counter + i, index, v)

    def _posterior(
        self,
        y: npt.NDArray[np.complex128],
        noise: float,
        chains: list[int],
        restarts: int,
        history: tuple[dict[str, float], ...],
    ) -> Posterior:
        native, n, m = self._native, self.devices, self.antennas
        if not chains:
            zero = np.zeros(n)
            nothing = np.zeros((0, m, n), np.complex128)
            return Posterior(np.zeros((m, n), np.complex128), zero, zero, nothing, zero, zero, restarts, self.chains)
        sums = native.sums[chains][..., :m].astype(np.float64) / self.average
        means = (sums[:, :, 0] + 1j * sums[:, :, 1]).transpose(0, 2, 1)
        power = native.sum_energy[chains, :n].astype(np.float64).mean(0) / self.average
        columns, variance = leave_one_out(y, self._pilots, noise, power)
        mean, error, probability = self._inside.denoise(columns, variance)
        return Posterior(
            mean=np.asarray(mean).T,
            variance=error,
            probability=probability,
            chains=means,
            chain_probability=native.sum_active[chains, :n].astype(np.float64).mean(0) / self.average,
            spread=np.mean(np.var(means, axis=0), axis=0),
            restarts=restarts,
            diverged=self.chains - len(chains),
            history=history,
        )
