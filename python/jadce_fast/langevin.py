"""Annealed Langevin dynamics for joint activity detection and channel estimation (Tang et al.).

Chains sample X + sigma N given Y at falling noise levels; their second moments tell every device's interference, and
the posterior of a device given all others follows from its prior (docs/langevin.md).
"""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

import numpy as np
import numpy.typing as npt

from . import _check, _core, ops
from ._namespace import namespace
from .chains import STREAM, Backend, NativeChains, Samples, mean_power, plan, sample
from .cuda import device as cuda_device
from .detection import Detection, Explained, Reason, reason
from .fork_lock import ForkLock
from .pilots import Pilots
from .priors.cell import CellPrior
from .priors.protocol import ColumnPrior, check_column_prior
from .rules import Rules

Progress = Callable[[int, int], None] | None
Result = TypeVar("Result")
# Makes results of some blocks' samples, received blocks, noise variance and unit of X.
Results = Callable[[Samples, Any, float, float], list[Result]]


@dataclass(frozen=True)
class Posterior:
    """Knowledge of the sampler about the channels times activity of all K devices, the transpose of the paper's X.

    Arrays are NumPy's; those of a receiver on a GPU are where the received block was.

    Attributes
    ----------
    mean : ndarray of complex128, shape (K, M)
        Posterior mean.
    variance : ndarray of float64, shape (K,)
        Posterior variance of an entry of each row.
    probability : ndarray of float64, shape (K,)
        Posterior probability that each device is active.
    chains : ndarray of complex128, shape (C, K, M)
        Posterior mean of each chain, averaged over the steps counted. Their mean is the plain Monte-Carlo estimate.
        Chains that diverged to the end are left out.
    chain_probability : ndarray of float64, shape (K,)
        Mean of the chains' probabilities of activity.
    spread : ndarray of float64, shape (K,)
        Variance of an entry over chains.
    restarts : int
        How often a chain diverged and began anew with half the step.
    diverged : int
        Chains that diverged to the end.
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


class LangevinReceiver:
    """Annealed Langevin receiver for one subcarrier, planned once for many received blocks.

    Parameters
    ----------
    pilots : Pilots or array_like, shape (T, K) or (T, 1, K)
        Pilot symbols of every device on one subcarrier; T may be larger than K.
    antennas : int
        M.
    prior : "cell", name, path or ColumnPrior
        Exact score of the paper's cell ("cell": its defaults; else a :class:`jadce_fast.CellPrior`); a trained score
        network, by the name of a shipped one ("cell-network"), from a file, or loaded; or any object of the form of
        :class:`jadce_fast.ColumnPrior`.
    power : float or "unknown", optional
        Mean power of an entry of an active device's column, by default the prior's. "unknown" learns it from every
        block's power above the noise, which is close enough (docs/langevin.md).
    sampler : {"preconditioned", "paper"}
        Steps along the singular vectors of the pilots in proportion to the inverse curvature, or Algorithm 1 as
        printed, with the sign of the likelihood gradient corrected.
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
        Seed of the noise; the same one gives the same result for any number of threads.
    zero_threshold : float, optional
        Decide activity as the paper does: a device is inactive if its row of the posterior mean is zero, that is has
        a mean power below this. By default a device is active if its posterior probability is at least one half.
    device : str or torch.device
        Where to run: "cpu", or "cuda" or "cuda:N" for a GPU. There all blocks run at once; the seed gives the chains
        that it gives on the CPU, up to rounding. A prior that does not take tensors makes every step a copy to the
        host and back.
    threads : int, optional
        Native threads, by default all processors of this process.
    isa : str, optional
        Kernel variant, by default the best one of this processor.

    Attributes
    ----------
    pilots : ndarray of complex64, shape (T, K)
    antennas, prior, device, threads
        As given, or what was chosen for them.
    problem : jadce_fast.chains.Problem
        What chains sample, in units where pilots and channels have mean power one.

    Raises
    ------
    ValueError, TypeError
        If an argument is out of range or does not fit another, or there is no such device; the message names it.

    Notes
    -----
    Methods may be called from several threads; calls on one receiver take turns.
    """

    prior: ColumnPrior

    def __init__(
        self,
        pilots: Pilots | npt.ArrayLike,
        antennas: int,
        prior: Any = "cell",
        *,
        power: float | Literal["unknown"] | None = None,
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
        arguments = {name: value for name, value in locals().items() if name != "self"}
        self.pilots = _one_subcarrier(pilots)
        self.antennas = _check.integer("antennas", antennas, 1, 4096)
        self.prior = _resolve(prior)
        self._learns_power = isinstance(power, str)
        if isinstance(power, str) and power != "unknown":
            raise TypeError(f"power: expected 'unknown' or a real number, found {power!r}")
        if power is not None and not isinstance(power, str):
            self.prior = self.prior.with_power(_check.scale("power", power))
        if sampler not in ("preconditioned", "paper"):
            raise ValueError(f"sampler: expected 'preconditioned' or 'paper', found {sampler!r}")
        levels, steps = _check.integer("levels", levels, 1), _check.integer("steps", steps, 1)
        average = _check.integer("average", average, 1)
        if levels * steps + average >= STREAM:
            raise ValueError(f"levels, steps, average: expected fewer than {STREAM} steps in all")
        if sampler == "preconditioned":
            step = _check.real("step", step, 1e-6, 1.0, closed=True)
        else:
            step = _check.real("step", step)
        self.zero_threshold = None if zero_threshold is None else _check.scale("zero_threshold", zero_threshold)
        self.threads = ops.default_threads() if threads is None else _check.integer("threads", threads, 1, 1024)

        # Inside, pilots have unit mean power and the entries of X have mean power one.
        inside = self.pilots.T.astype(np.complex128)
        amplitude = math.sqrt(np.mean(np.abs(inside) ** 2))
        if not 1e-15 <= amplitude <= 1e15:
            raise ValueError(f"pilots: expected a mean power of 1e-30 to 1e30, found {amplitude**2:g}")
        self._amplitude = amplitude
        self.problem = plan(
            inside / amplitude,
            antennas=self.antennas,
            prior=self.prior.with_power(None),
            sampler=sampler,
            chains=_check.integer("chains", chains, 1, 4096),
            levels=levels,
            steps=steps,
            step=step,
            decay=None if decay is None else _check.real("decay", decay, 0.0, 1.0),
            beta=_check.real("beta", beta, 0.0, np.inf, closed=True),
            average=average,
            seed=_check.integer("seed", seed, 0, 2**63 - 1),
        )
        self._backend: Backend
        if str(device) == "cpu":
            self.device, self._backend = "cpu", NativeChains(self.problem, self.threads, isa)
        else:
            gpu = cuda_device.open_device(device)
            from .cuda.langevin import CudaChains  # needs torch

            self.device, self._backend = str(gpu.device), CudaChains(self.problem, gpu)
        self._lock = ForkLock()
        kept = power if self._learns_power else None  # a given one is the prior's now
        self._arguments = arguments | {"pilots": self.pilots, "prior": self.prior, "power": kept}

    def __reduce__(self) -> tuple[Any, ...]:
        """Let pickle and copy plan anew on the other side: native chains, threads and a GPU's memory do not travel."""
        return functools.partial(type(self), **self._arguments), ()

    def detect(self, y: Any, noise_var: float, progress: Progress = None) -> Detection:
        """Detect the active devices of a received block and estimate their channels.

        Parameters
        ----------
        y : array_like, shape (T, 1, M) or (T, M)
            Received pilots. On a GPU a tensor of it, or anything there with ``__cuda_array_interface__`` or DLPack, is
            used where it is; arrays of the host are copied there.
        noise_var : float
            Complex noise variance per received entry, positive.
        progress : callable, optional
            Called with (levels done, levels in all) after every noise level; an exception in it cancels the detection.
            A GPU waits for the host then, which it otherwise does not.

        Returns
        -------
        Detection
            With channels of shape (A, 1, M). ``iterations`` counts the steps of a chain; ``history`` has ``sigma`` and
            ``spread`` of every level; ``converged`` is False if a chain diverged to the end or the result does not
            explain the block. Arrays are of the kind of `y`.

        Raises
        ------
        ValueError, TypeError
            If `y` has another shape or is not finite, or `noise_var` is not positive.
        """
        return self._all(self._detections, self._blocks(y, False), [y], noise_var, progress)[0]

    def detect_many(self, ys: Any, noise_var: float, progress: Progress = None) -> list[Detection]:
        """Detect in several blocks, which a GPU works on at once.

        Parameters
        ----------
        ys : array_like, shape (B, T, 1, M) or (B, T, M), or iterable of blocks
            Received pilots as for :meth:`detect`.
        noise_var, progress
            As for :meth:`detect`; `progress` counts the levels of every block on the CPU, of many at once on a GPU.

        Returns
        -------
        list of Detection
            One of every block. Errors are those of :meth:`detect`.
        """
        return self._many(self._detections, ys, noise_var, progress)

    def sample(self, y: Any, noise_var: float, progress: Progress = None) -> Posterior:
        """Posterior of all devices, decided or not; arguments and errors as for :meth:`detect`."""
        return self._all(self._posteriors, self._blocks(y, False), [y], noise_var, progress)[0]

    def sample_many(self, ys: Any, noise_var: float, progress: Progress = None) -> list[Posterior]:
        """Posteriors of several blocks; arguments and errors as for :meth:`detect_many`."""
        return self._many(self._posteriors, ys, noise_var, progress)

    def _many(self, results: Results[Result], ys: Any, noise_var: float, progress: Progress) -> list[Result]:
        if hasattr(ys, "ndim"):
            return self._all(results, self._blocks(ys, True), [ys] * len(ys), noise_var, progress)
        each = list(_check.blocks(ys))
        blocks = [self._blocks(y, False) for y in each]
        together = namespace(blocks[0]).concatenate(blocks) if blocks else []
        return self._all(results, together, each, noise_var, progress)

    def _all(
        self, results: Results[Result], blocks: Any, like: list[Any], noise_var: float, progress: Progress
    ) -> list[Result]:
        """Results of blocks (B, M, T), as many at a time as the backend can, of the kinds of `like`."""
        noise = _check.scale("noise_var", noise_var) / self._amplitude**2
        most = 1 if self._learns_power else self._backend.most
        found: list[Result] = []
        with self._lock:
            for first in range(0, len(blocks), most):
                y = blocks[first : first + most]
                unit = self._unit(y, noise)
                y, level = y / unit, noise / unit**2
                found += results(sample(self.problem, self._backend, y, level, progress), y, level, unit)
        return [self._backend.give(one, y) for one, y in zip(found, like, strict=True)]

    def _unit(self, y: Any, noise: float) -> float:
        """Root mean square of the entries of X: the prior's, or what blocks (B, M, T) have above the noise."""
        if not self._learns_power:
            return self.prior.unit
        least = Rules().smallest_mean_power * noise / len(self.pilots)
        return math.sqrt(max(float(mean_power(y, (0, 1, 2))) - noise, least) / self.problem.devices)

    def _blocks(self, y: Any, many: bool) -> Any:
        """Received blocks as (B, M, T) for pilots of mean power one, an array of the backend."""
        y = y if hasattr(y, "ndim") else _check.as_array("y", y)
        flat = (len(self.pilots), self.antennas)
        shape = flat if y.ndim - many == 2 else (flat[0], 1, flat[1])
        return self._backend.receive(y, shape, many) / self._amplitude

    def _detections(self, p: Samples, y: Any, noise: float, unit: float) -> list[Detection]:
        """Decide activity in every block, and whether it explains the block better than silence."""
        xp, problem = namespace(y), self.problem
        received = mean_power(y, (1, 2))
        if self.zero_threshold is None:
            chosen = p.probability >= 0.5
        else:
            chosen = mean_power(p.mean, (2,)) >= self.zero_threshold / unit**2
        rest = y - xp.where(chosen[..., None], p.mean, 0).swapaxes(1, 2) @ self._backend.pilots
        residual = mean_power(rest, (1, 2))
        silent = ~(residual <= received)  # also where a prior's numbers are not finite
        chosen = chosen & ~silent[:, None]
        activity = xp.where(silent[:, None], 0.0, p.probability)
        left = xp.where(silent, received, residual).tolist()
        found = []
        for b, nobody in enumerate(silent.tolist()):
            active = xp.argwhere(chosen[b])[:, 0]
            stopped: Reason = "silence" if nobody else "diverged" if p.diverged[b] else "iterations"
            errors = float(p.variance[b, active].sum()) / noise
            taken = len(active) / len(self.pilots)
            limits = _core.explained_remainder(rules=Rules().native(), taken=taken, errors=errors, excess=0.0)
            explained = Explained(left[b] / noise, *limits)
            found.append(
                Detection(
                    activity=xp.asarray(activity[b], dtype=xp.float32),
                    active=active,
                    channels=xp.asarray(unit * p.mean[b, active], dtype=xp.complex64)[:, None],
                    channel_var=xp.asarray(unit**2 * p.variance[b, active], dtype=xp.float32),
                    iterations=problem.levels * problem.steps + problem.average,
                    converged=not nobody and p.diverged[b] == 0 and explained.ratio <= explained.most,
                    noise_var=left[b] * (self._amplitude * unit) ** 2,
                    explained=explained,
                    stopped_because=stopped,
                    restarts=p.restarts[b],
                    reason=reason(stopped, explained),
                    history=p.history[b],
                )
            )
        return found

    def _posteriors(self, p: Samples, y: Any, noise: float, u: float) -> list[Posterior]:
        """All blocks' posteriors in the units of the pilots given."""
        return [
            Posterior(
                mean=u * p.mean[b],
                variance=u**2 * p.variance[b],
                probability=p.probability[b],
                chains=u * p.chains[b, p.survived[b]],
                chain_probability=p.chain_probability[b],
                spread=u**2 * p.spread[b],
                restarts=p.restarts[b],
                diverged=p.diverged[b],
                history=tuple({"sigma": u * h["sigma"], "spread": u**2 * h["spread"]} for h in p.history[b]),
            )
            for b in range(len(y))
        ]


def _one_subcarrier(pilots: Any) -> npt.NDArray[np.complex64]:
    """Pilot symbols (T, K)."""
    if isinstance(pilots, Pilots):
        if pilots.subcarriers != 1:
            raise ValueError(f"pilots: expected those of one subcarrier, found {pilots.subcarriers} subcarriers")
        pilots = pilots.select()
    pilots = pilots if hasattr(pilots, "ndim") else _check.as_array("pilots", pilots)
    shape = ("T", 1, "K") if pilots.ndim == 3 else ("T", "K")
    array: npt.NDArray[np.complex64] = _check.array("pilots", pilots, shape, np.complex64)
    if 0 in array.shape:
        raise ValueError(f"pilots: expected at least one symbol and device, found shape {array.shape}")
    return array.reshape(len(array), -1)


def _resolve(prior: Any) -> ColumnPrior:
    if isinstance(prior, str) and prior == "cell":
        return CellPrior()
    if isinstance(prior, (str, os.PathLike)):
        from .priors.files import load_cell_prior

        return load_cell_prior(prior)
    return check_column_prior(prior)
