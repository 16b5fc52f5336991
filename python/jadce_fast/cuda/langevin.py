"""The Langevin sampler on a GPU: chains of many received blocks at once, launched without waiting for the host.

The tests run the same code over the emulated kernels (csrc/emulator), with tensors of the CPU.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..anneal import Level, leave_one_out_tensors
from ..detection import Detection
from . import arrays as _cuda_arrays
from .device import Device
from .langevin_tables import Tables, cell_posterior

if TYPE_CHECKING:
    from ..langevin import LangevinReceiver

Progress = Callable[[int, int], None] | None

_DIVERGED = 1e3  # mean power of a state, in units of the first level's
_ATTEMPTS = 6  # of a chain, each with half the step of the one before
_STREAM = 1 << 24  # steps of one attempt, in the counter of the noise
_MOST_CHAINS = 65535  # of all blocks together, an axis of a grid


@dataclass(frozen=True)
class Sampled:
    """Posterior of B blocks, tensors on the device: langevin.Posterior with a leading axis."""

    mean: Any  # (B, M, N) complex128
    variance: Any  # (B, N)
    probability: Any  # (B, N)
    chains: Any  # (B, C, M, N)
    survived: Any  # (B, C)
    chain_probability: Any  # (B, N)
    spread: Any  # (B, N)
    restarts: Any  # (B,)
    diverged: Any  # (B,)
    history: Any  # (B,)


class DeviceSampler:
    """Chains on a device."""

    def __init__(self, receiver: LangevinReceiver, machine: Device) -> None:
        import torch

        self.rx, self.machine, self.kernels, device = receiver, machine, machine.native, machine.device
        self.device = device
        self.tile: int = self.kernels.langevin_tile(receiver.devices, receiver.antennas)
        if self.tile == 0:
            raise ValueError(f"pilots: expected fewer devices on a GPU, found {receiver.devices}")
        self.parts = -(-receiver.antennas // self.tile)

        def put(array: Any, dtype: Any) -> Any:
            return torch.as_tensor(np.ascontiguousarray(array), dtype=dtype, device=device)

        self.rotation, self.right = put(receiver._rotation, torch.complex128), put(receiver._right, torch.complex128)
        self.pilots = put(receiver._pilots, torch.complex128)
        self.power, self.weight = None, None
        if receiver._exact:
            self.power, self.weight = (put(a, torch.float64) for a in receiver._inside.mixture(receiver.antennas))

    def blocks(self, y: Any, noise_var: float) -> tuple[Any, float, bool]:
        """`y` as a tensor (B, M, L) complex128 on the device, in the receiver's units, and whether B was there."""
        import torch

        shape = (self.rx.antennas, self.rx.symbols)
        found = _cuda_arrays.received(y, shape, self.device)
        if len(found) * self.rx.chains > _MOST_CHAINS:
            most = _MOST_CHAINS // self.rx.chains
            raise ValueError(f"y: expected at most {most} blocks of {self.rx.chains} chains, found {len(found)}")
        if not bool(torch.isfinite(torch.view_as_real(found)).all()):
            raise ValueError("y: expected finite numbers, found NaN or infinite ones")
        return found.to(torch.complex128) / self.rx._scale, noise_var, not _cuda_arrays.is_one(y, shape)

    def detect(self, y: Any, noise_var: float, progress: Progress) -> list[Detection]:
        """Detections of blocks y (B, M, L), with tensors of the device."""
        import torch

        if len(y) == 0:
            return []
        rx, p = self.rx, self.sample(y, noise_var, progress)
        received = (y.real**2 + y.imag**2).mean((1, 2))
        if rx.zero_threshold is None:
            chosen = p.probability >= 0.5
        else:
            power = (p.mean.real**2 + p.mean.imag**2).mean(1)
            chosen = power >= rx.zero_threshold / rx._unit**2
        rest = y - (p.mean * chosen[:, None]) @ self.pilots
        residual = (rest.real**2 + rest.imag**2).mean((1, 2))
        silent = residual > received
        chosen &= ~silent[:, None]
        activity = torch.where(silent[:, None], p.probability.clamp(max=0.49), p.probability).float()
        residual = torch.minimum(residual, received).tolist()
        found = []
        for b, quiet in enumerate(silent.tolist()):
            active = torch.nonzero(chosen[b]).flatten()
            found.append(
                Detection(
                    activity=activity[b],
                    active=active,
                    channels=(rx._unit * p.mean[b, :, active].T).to(torch.complex64)[:, None],
                    channel_var=(rx._unit**2 * p.variance[b, active]).float(),
                    iterations=rx.levels * rx.steps + rx.average,
                    converged=not quiet and p.diverged[b] == 0,
                    noise_var=residual[b] * rx._scale**2,
                    residual_ratio=residual[b] / noise_var,
                    stopped_because="silence" if quiet else "diverged" if p.diverged[b] else "iterations",
                    restarts=p.restarts[b],
                    history=p.history[b],
                )
            )
        return found

    def posteriors(self, y: Any, noise_var: float, progress: Progress) -> list[Sampled]:
        """The same block by block, without chains that diverged."""
        if len(y) == 0:
            return []
        p = self.sample(y, noise_var, progress)
        return [
            Sampled(
                *(p.mean[b], p.variance[b], p.probability[b], p.chains[b, p.survived[b]], p.survived[b]),
                *(p.chain_probability[b], p.spread[b], p.restarts[b], p.diverged[b], p.history[b]),
            )
            for b in range(len(y))
        ]

    def sample(self, y: Any, noise_var: float, progress: Progress) -> Sampled:
        """Posteriors of blocks y (B, M, L), in the receiver's units."""
        import torch

        rx, blocks = self.rx, len(y)
        power = torch.mean(y.real**2 + y.imag**2, dim=(1, 2)).tolist()
        noise = [max(noise_var, 1e-9 * p, 1e-12) for p in power]
        sigmas = [rx._sigmas(p, v) for p, v in zip(power, noise, strict=True)]
        shape = (blocks * rx.chains, rx.devices, rx.antennas)
        self.means = torch.zeros(shape, dtype=torch.complex64, device=self.device)
        self.powers, self.active = (torch.zeros(shape[:2], device=self.device) for _ in range(2))
        waiting, restarts = list(range(shape[0])), np.zeros(blocks, int)
        history: list[tuple[dict[str, float], ...]] = []
        for attempt in range(_ATTEMPTS):
            levels = [rx._schedule(s, v, 0.5**attempt) for s, v in zip(sigmas, noise, strict=True)]
            waiting, spread = self._run(y, waiting, levels, attempt, progress)
            if not history:
                history = [
                    tuple(
                        {"sigma": level.sigma, "spread": float(s)}
                        for level, s in zip(levels[b], spread[b], strict=True)
                    )
                    for b in range(blocks)
                ]
            if not waiting:
                break
            if attempt + 1 < _ATTEMPTS:
                restarts += np.bincount(np.array(waiting) // rx.chains, minlength=blocks)
        survived = torch.ones(shape[0], dtype=torch.bool, device=self.device)
        survived[waiting] = False
        diverged = np.bincount(np.array(waiting, int) // rx.chains, minlength=blocks)
        return self._posterior(
            y, noise, survived.reshape(blocks, rx.chains), restarts.tolist(), diverged.tolist(), history
        )

    def _run(
        self, y: Any, waiting: list[int], levels: list[list[Level]], attempt: int, progress: Progress
    ) -> tuple[list[int], Any]:
        """Run chains through all levels; those that diverged, and the spread (B, levels)."""
        import torch

        rx, blocks, count = self.rx, len(y), len(levels[0])
        chains, counter = blocks * rx.chains, attempt * _STREAM
        tables = Tables(rx, self.rotation, y @ self.right, levels)
        x = [torch.zeros(self.means.shape, dtype=torch.complex64, device=self.device) for _ in range(2)]
        energy = [torch.zeros((chains, self.parts, rx.devices), device=self.device) for _ in range(2)]
        state = [(x[0], energy[0]), (x[1], energy[1])]
        rows = torch.tensor(waiting, dtype=torch.int32, device=self.device)
        flags = torch.ones((count + 1, chains), dtype=torch.int32, device=self.device)
        flags[0, rows.long()] = 0
        self.means[rows.long()], self.powers[rows.long()], self.active[rows.long()] = 0, 0, 0
        spread = torch.empty((count, blocks, self.kernels.langevin_spread_parts), device=self.device)
        bound = torch.tensor([_DIVERGED * block[0].sigma ** 2 for block in levels], dtype=torch.float32).to(self.device)

        def steps(level: Any, index: int | None, mean: Any, at: int, number: int) -> None:
            pointers = tables.pointers(index)
            self._launch(
                "cuda_langevin_steps",
                *(*pointers, level, tables.mixture(index), mean, rows, len(rows), rx.chains, rx.devices, rx.antennas),
                *(0 if index is None else tables.components, int(tables.denoised), rx.seed, counter + at, number),
                *(*state[0], *state[1]),
            )
            if number % 2:
                state.reverse()

        def level_steps(index: int, at: int, number: int, accumulate: bool) -> None:
            level = tables.level[index]
            if rx._exact and not accumulate:
                steps(level, index, None, at, number)
                return
            for i in range(number):
                mean = None
                if rx._exact:
                    self._launch(
                        "cuda_langevin_posterior",
                        *(*state[0], level, tables.mixture(index), rows, len(rows), rx.chains, rx.devices),
                        *(rx.antennas, tables.components, self.means, self.powers, self.active),
                    )
                else:
                    mean = self._denoise(state[0][0], rows, [block[index].sigma ** 2 for block in levels], accumulate)
                steps(level, index, mean, at + i, 1)

        steps(tables.start, None, None, 0, 1)
        for i in range(count):
            level_steps(i, 1 + i * rx.steps, rx.steps, False)
            self._launch(
                "cuda_langevin_watch",
                *(*state[0], bound, flags[i], blocks, rx.chains, rx.devices, rx.antennas, flags[i + 1], spread[i]),
            )
            if progress is not None:
                self.machine.synchronize()
                progress(i + 1, count)
        level_steps(count - 1, 1 + count * rx.steps, rx.average, True)
        failed = flags[-1, rows.long()].cpu().numpy()  # the first thing that the host waits for
        return [f for f, bad in zip(waiting, failed, strict=True) if bad], spread.sum(-1).T.cpu().numpy()

    def _denoise(self, x: Any, rows: Any, variances: list[float], accumulate: bool) -> Any:
        """Posterior means of a prior that is not the exact one, by its `denoise_torch` or else on the host."""
        import torch

        rx = self.rx
        index = rows.long()
        columns = torch.view_as_complex(torch.nan_to_num(torch.view_as_real(x[index]), posinf=0.0, neginf=0.0))
        v = torch.tensor(variances, device=self.device)[index // rx.chains]
        noise = v[:, None].expand(-1, rx.devices)
        if hasattr(rx._inside, "denoise_torch"):
            found = rx._inside.denoise_torch(columns, noise)
        else:
            found = rx._inside.denoise(columns.cpu().numpy(), noise.cpu().numpy())
        mean, variance, probability = (torch.as_tensor(a, device=self.device) for a in found)
        result = torch.zeros_like(x)
        result[index] = mean.to(torch.complex64)
        if accumulate:
            self.means[index] += result[index]
            self.powers[index] += ((mean.real**2 + mean.imag**2).mean(-1) + variance).float()
            self.active[index] += probability.float()
        return result

    def _launch(self, name: str, *arguments: Any) -> None:
        import torch

        values = [0 if a is None else a.data_ptr() if isinstance(a, torch.Tensor) else a for a in arguments]
        if self.device.type == "cuda":
            with torch.cuda.device(self.device):
                getattr(self.kernels, name)(*values, torch.cuda.current_stream().cuda_stream)
        else:
            getattr(self.kernels, name)(*values, 0)

    def _posterior(
        self, y: Any, noise: list[float], survived: Any, restarts: list[int], diverged: list[int], history: Any
    ) -> Sampled:
        import torch

        rx, (blocks, chains) = self.rx, survived.shape
        weight = survived.double() / survived.sum(1, keepdim=True).clamp(min=1)

        def over_chains(values: Any) -> Any:  # (B, C, ...), diverged ones may not be finite
            kept = torch.where(survived.reshape(blocks, chains, *[1] * (values.ndim - 2)), values, 0)
            return torch.einsum("bc,bc...->b...", weight.to(kept.dtype), kept)

        means = self.means.reshape(blocks, chains, rx.devices, rx.antennas).to(torch.complex128) / rx.average
        powers = over_chains(self.powers.reshape(blocks, chains, rx.devices).double() / rx.average)
        active = over_chains(self.active.reshape(blocks, chains, rx.devices).double() / rx.average)
        middle = over_chains(means)
        deviation = means - middle[:, None]
        spread = over_chains(deviation.real**2 + deviation.imag**2).mean(-1)
        v = torch.tensor(noise, dtype=torch.float64, device=self.device)
        columns, variance = leave_one_out_tensors(y, self.pilots, v, powers)
        if rx._exact:
            mean, error, probability = cell_posterior(rx._inside, self.power, self.weight, columns, variance)
        elif hasattr(rx._inside, "denoise_torch"):
            mean, error, probability = rx._inside.denoise_torch(columns, variance)
        else:
            found = rx._inside.denoise(columns.cpu().numpy(), variance.cpu().numpy())
            mean, error, probability = (torch.as_tensor(a, device=self.device) for a in found)
        alive = survived.any(1)[:, None]
        return Sampled(
            mean=torch.where(alive[..., None], mean, 0).transpose(1, 2),
            variance=torch.where(alive, error, 0),
            probability=torch.where(alive, probability, 0),
            chains=means.transpose(2, 3),
            survived=survived,
            chain_probability=active,
            spread=spread,
            restarts=restarts,
            diverged=diverged,
            history=history,
        )
