"""Chains of the Langevin sampler on a GPU: of many received blocks at once, launched without waiting for the host.

The tests run the same code over the emulated kernels (csrc/emulator), with tensors of the CPU.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from ..anneal import Level
from ..chains import DIVERGED, Problem, Record
from . import arrays
from .device import Device
from .langevin_tables import Tables

_MOST_CHAINS = 65535  # chains of all blocks together, an axis of a grid


class CudaChains:
    """Chains on a device; a `jadce_fast.chains.Backend`."""

    def __init__(self, problem: Problem, gpu: Device) -> None:
        self.problem, self._gpu, self._device = problem, gpu, gpu.device
        self.most = _MOST_CHAINS // problem.chains
        tile: int = gpu.native.langevin_tile(devices=problem.devices, antennas=problem.antennas)
        if tile == 0:
            raise ValueError(f"pilots: expected fewer devices on a GPU, found {problem.devices}")
        self._parts = -(-problem.antennas // tile)
        self._sizes = {"chains": problem.chains, "devices": problem.devices, "antennas": problem.antennas}
        self.pilots, self._rotation, self._right = map(self.put, (problem.pilots, problem.rotation, problem.right))

    def receive(self, y: Any, shape: tuple[int, ...], many: bool) -> torch.Tensor:
        """Check blocks, bring them to the device if they are not there, and turn them over."""
        if y.ndim != len(shape) + many:
            wanted = ", ".join(map(str, ("B", *shape) if many else shape))
            raise ValueError(f"y: expected shape ({wanted}), found {tuple(y.shape)}")
        found = arrays.received(y, shape, self._device)
        if not bool(torch.isfinite(torch.view_as_real(found)).all()):
            raise ValueError("y: expected finite numbers, found NaN or infinite ones")
        return found.to(torch.complex128).reshape(-1, shape[0], shape[-1]).transpose(1, 2).contiguous()

    def give(self, record: Record, y: Any) -> Record:
        """Arrays where and of the kind that `y` is."""
        return arrays.all_like(record, y)

    def put(self, array: np.ndarray[Any, Any]) -> torch.Tensor:
        """Copy to the device."""
        return torch.from_numpy(np.ascontiguousarray(array)).to(self._device)

    def take(self, y: torch.Tensor) -> None:
        """Take all blocks, with memory for what their chains count."""
        self._blocks, self._rotated = len(y), y @ self._right
        shape = (len(y) * self.problem.chains, self.problem.devices, self.problem.antennas)
        self._means = torch.zeros(shape, dtype=torch.complex64, device=self._device)
        self._powers, self._active = (torch.zeros(shape[:2], device=self._device) for _ in range(2))

    def start(self, levels: list[list[Level]], chains: list[int], step: int) -> None:
        """Let chains begin anew."""
        problem, count, most = self.problem, self.problem.levels, len(self._means)
        self._started = chains
        self._tables = Tables(problem, self._rotation, self._rotated, levels)
        self._rows = torch.tensor(chains, dtype=torch.int32, device=self._device)
        self._index = self._rows.long()
        self._chosen = self._sizes | {"chain": self._rows, "rows": len(chains)}
        # State and energy twice: steps write from one to the other.
        self._now, self._next = (
            {
                "x": torch.zeros_like(self._means),
                "energy": torch.zeros((most, self._parts, problem.devices), device=self._device),
            }
            for _ in range(2)
        )
        self._flags = torch.ones((count + 1, most), dtype=torch.int32, device=self._device)
        self._flags[0, self._index] = 0
        for counted in (self._means, self._powers, self._active):
            counted[self._index] = 0
        parts = self._gpu.native.langevin_spread_parts
        self._spread = torch.empty((count, self._blocks, parts), device=self._device)
        bound = [DIVERGED * block[0].sigma ** 2 for block in levels]
        self._bound = torch.tensor(bound, dtype=torch.float32).to(self._device)
        self._step(step, 1, level=self._tables.start, denoised=True, components=0)

    def anneal(self, level: int, step: int, steps: int, count: bool) -> None:
        """Go steps: one launch for all with the exact prior, else one by one with the prior's means."""
        tables = self._tables
        fields = {"level": tables.level[level], "mixture": tables.mixture(level), "components": tables.components}
        matrices = tables.matrices(level) | {"denoised": tables.denoised}
        if tables.components and not count:
            self._step(step, steps, **fields, **matrices)
            return
        for i in range(steps):
            mean = None
            if tables.components:
                counted = {"mean": self._means, "power": self._powers, "probability": self._active}
                self._launch("langevin_posterior", **self._now, **fields, **counted, **self._chosen)
            else:
                mean = self._denoise(fields["level"][:, 3], count)
            self._step(step + i, 1, mean=mean, **fields, **matrices)

    def _step(self, step: int, steps: int, **fields: Any) -> None:
        other = {f"other_{name}": value for name, value in self._next.items()}
        counter = {"seed": self.problem.seed, "step": step, "steps": steps}
        self._launch("langevin_steps", **self._now, **other, **counter, **fields, **self._chosen)
        if steps % 2:
            self._now, self._next = self._next, self._now

    def _denoise(self, variance: torch.Tensor, count: bool) -> torch.Tensor:
        """Posterior means of a prior that is not the exact one, at the noise variance (B,) of every block."""
        x, index = self._now["x"], self._index
        columns = torch.view_as_complex(torch.nan_to_num(torch.view_as_real(x[index]), posinf=0.0, neginf=0.0))
        noise = variance[index // self.problem.chains][:, None].expand(-1, self.problem.devices)
        mean, error, probability = self.posterior(columns, noise)
        result = torch.zeros_like(x)
        result[index] = mean.to(torch.complex64)
        if count:
            self._means[index] += result[index]
            self._powers[index] += ((mean.real**2 + mean.imag**2).mean(-1) + error).float()
            self._active[index] += probability.float()
        return result

    def watch(self, level: int) -> None:
        """Leave on the device which chains diverged, and the spread of the others."""
        self._launch(
            "langevin_watch",
            bound=self._bound,
            before=self._flags[level],
            blocks=self._blocks,
            after=self._flags[level + 1],
            spread=self._spread[level],
            **self._now,
            **self._sizes,
        )

    def end(self) -> tuple[list[int], np.ndarray[Any, Any]]:
        """Read which chains diverged, and the spread of the others."""
        failed = self._flags[-1, self._index].cpu().numpy()  # the first thing that the host waits for
        chains = [f for f, bad in zip(self._started, failed, strict=True) if bad]
        return chains, self._spread.sum(-1).T.cpu().numpy()

    def sums(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Sums of what was counted, in double precision."""
        shape = (self._blocks, self.problem.chains, self.problem.devices)
        means = self._means.reshape(*shape, self.problem.antennas).to(torch.complex128)
        return means, self._powers.reshape(shape).double(), self._active.reshape(shape).double()

    def posterior(self, columns: torch.Tensor, noise_var: torch.Tensor) -> tuple[Any, Any, Any]:
        """The prior's own, on the host if it takes no tensors."""
        prior = self.problem.prior
        if prior.takes_tensors:
            return prior.posterior(columns, noise_var)
        found = prior.posterior(columns.cpu().numpy(), noise_var.cpu().numpy())
        mean, error, probability = (torch.as_tensor(a, device=self._device) for a in found)
        return mean, error, probability

    def wait(self) -> None:
        """Wait for the device."""
        self._gpu.synchronize()

    def _launch(self, name: str, **fields: Any) -> None:
        with self._gpu.here():
            self._gpu.launch(name, **fields)
