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

_MOST_BLOCKS = 65535  # an axis of a grid


class CudaChains:
    """Chains on a device; a `jadce_fast.chains.Backend`."""

    def __init__(self, problem: Problem, gpu: Device) -> None:
        self.problem, self._gpu, self._device = problem, gpu, gpu.device
        self.most = max(1, _MOST_BLOCKS // problem.chains)
        self._sizes = {"chains": problem.chains, "devices": problem.devices, "antennas": problem.antennas}
        with gpu.here():
            self._cluster = gpu.native.langevin_cluster()
            sizes = {"devices": problem.devices, "antennas": problem.antennas, "cluster": self._cluster}
            self._exchanges = gpu.native.langevin_exchanges(**sizes)
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
        """Let chains begin anew, with their first steps."""
        problem, device, most = self.problem, self._device, len(self._means)
        self._started = chains
        self._tables = tables = Tables(problem, self._rotation, self._rotated, levels)
        self._rows = torch.tensor(chains, dtype=torch.int32, device=device)
        self._index = self._rows.long()
        sizes = self._sizes | {"blocks": self._blocks}
        self._chosen = sizes | {"chain": self._rows, "rows": len(chains), "cluster": self._cluster}
        if self._exchanges:
            shape = (len(chains), self._gpu.native.langevin_exchange, problem.devices, problem.antennas)
            self._chosen["exchange"] = torch.empty(shape, dtype=torch.complex64, device=device)
        self._x = torch.zeros_like(self._means)
        self._seen = {
            "seen": torch.empty((tables.room, *self._x.shape), dtype=torch.complex64, device=device),
            "energy": torch.zeros((tables.room, most, problem.devices), device=device),
        }
        self._flags = torch.ones(most, dtype=torch.int32, device=device)
        self._flags[self._index] = 0
        for counted in (self._means, self._powers, self._active):
            counted[self._index] = 0
        self._spread = torch.empty((problem.levels, self._blocks), device=device)
        bound = [DIVERGED * block[0].sigma ** 2 for block in levels]
        self._bound = torch.tensor(bound, dtype=torch.float32, device=device)
        self._start: torch.Tensor | None = tables.start

    def anneal(self, levels: range, step: int, average: int) -> None:
        """Go all steps in one launch, as far as there is room and the prior is the exact one."""
        tables, steps = self._tables, self.problem.steps
        for first in range(levels[0], levels[-1] + 1, tables.room):
            some = range(first, min(first + tables.room, levels[-1] + 1))
            more = average if some[-1] == levels[-1] else 0
            if tables.components:
                counted = {"sum": self._means, "power": self._powers, "probability": self._active}
                self._go(some, step, steps=steps, average=more, **self._seen, **counted)
                self._watch(some)
            else:
                for i, level in enumerate(some):
                    self._go_denoised(level, step + i * steps, steps, False)
                    self._watch(range(level, level + 1))
                self._go_denoised(some[-1], step + len(some) * steps, more, True)
            step += len(some) * steps

    def _go_denoised(self, level: int, step: int, steps: int, count: bool) -> None:
        """Go steps one by one with the prior's means."""
        for i in range(steps):
            if self._start is not None:
                self._go(range(level, level + 1), step, levels=0, steps=0)
            mean = self._denoise(self._tables.level[level, :, 3], count)
            seen = {} if count or i + 1 < steps else self._seen
            self._go(range(level, level + 1), step + i, steps=1, mean=mean, **seen)

    def _go(self, some: range, step: int, **fields: Any) -> None:
        counter = {"seed": self.problem.seed, "step": step, "average": 0}
        fields = self._tables.of(some) | self._chosen | counter | fields
        self._launch("langevin_anneal", x=self._x, start=self._start, **fields)
        self._start = None

    def _denoise(self, variance: torch.Tensor, count: bool) -> torch.Tensor:
        """Posterior means of a prior that is not the exact one, at the noise variance (B,) of every block."""
        x, index = self._x, self._index
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

    def _watch(self, levels: range) -> None:
        """Leave on the device which chains diverged, and the spread of the others."""
        after, spread = torch.empty_like(self._flags), self._spread[levels[0]]
        fields = {"x": self._seen["seen"], "energy": self._seen["energy"], "bound": self._bound, "levels": len(levels)}
        self._launch(
            "langevin_watch",
            before=self._flags,
            after=after,
            spread=spread,
            blocks=self._blocks,
            **fields,
            **self._sizes,
        )
        self._flags = after

    def end(self) -> tuple[list[int], np.ndarray[Any, Any]]:
        """Read which chains diverged, and the spread of the others."""
        failed = self._flags[self._index].cpu().numpy()  # the first thing that the host waits for
        chains = [f for f, bad in zip(self._started, failed, strict=True) if bad]
        return chains, self._spread.T.cpu().numpy()

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
