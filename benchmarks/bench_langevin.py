"""Steps of the Langevin sampler with the exact score over a whole detection, against torch; and whole detections.

A step is one of the 120 of every chain, all noise levels in turn: what a step costs depends on the level. The matrices
of the levels count in the detection only, not in a step of either side.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass

import gpu_floors
import numpy as np
import torch
from timing import measure, report

from jadce_fast import LangevinReceiver, reference
from jadce_fast.anneal import Level
from jadce_fast.campaigns import CellScenario, draw_cell
from jadce_fast.chains import NativeChains, mean_power
from jadce_fast.cuda.device import devices

SIZES = ((16, 64, 48, 1), (16, 64, 48, 8), (64, 64, 48, 8), (16, 256, 128, 8))


@dataclass
class Problem:
    """A receiver, a block, and the levels of its detection."""

    antennas: int
    devices: int
    symbols: int
    chains: int
    threads: int

    def __post_init__(self) -> None:
        scenario = CellScenario(antennas=self.antennas, devices=self.devices, symbols=self.symbols)
        self.drop = draw_cell(scenario, 0, 1)
        self.rx = LangevinReceiver(self.drop.pilots, self.antennas, chains=self.chains, threads=self.threads)
        self.problem, noise = self.rx.problem, self.drop.noise_var  # pilots and prior are of unit power already
        self.sampler = NativeChains(self.problem, self.threads)
        self.native = self.sampler.native
        self.block = self.sampler.receive(self.drop.y, self.drop.y.shape, False)
        self.sampler.take(self.block)
        sigmas = self.problem.sigmas(float(mean_power(self.block, (0, 1, 2))), noise)
        self.levels: list[Level] = self.problem.schedule(sigmas, noise)
        self.mixtures = self.problem.mixtures(sigmas**2)
        self.start()
        self.native.matrices(0)

    def start(self) -> None:
        """All chains begin, under levels whose matrices are made."""
        self.sampler.start([self.levels], list(range(self.chains)), 0)

    def run(self) -> None:
        """All steps of all chains, natively."""
        steps = self.problem.steps
        self.native.start(list(range(self.chains)), 0, 0, self.levels[0].sigma)
        for i in range(len(self.levels)):
            self.sampler.anneal(i, 1 + i * steps, steps, False)

    def share(self) -> float:
        """Mean share of columns that enter the product."""
        total, steps = 0.0, self.problem.steps
        self.start()
        for i in range(len(self.levels) * steps):
            self.sampler.anneal(i // steps, 1 + i, 1, False)
            total += float(self.native.counted.mean()) / self.devices
        return total / len(self.levels) / steps


class Torch:
    """Common part of both versions in torch: complex64 tensors, the exact posterior, noise from torch's generator."""

    def __init__(self, p: Problem) -> None:
        self.p = p
        self.mixtures = [torch.from_numpy(m) for m in p.mixtures]
        self.u = torch.from_numpy(p.problem.rotation).to(torch.complex64)
        self.back = self.u.mH.contiguous()
        self.shape = (p.chains, p.antennas, p.devices)

    def gain(self, x: torch.Tensor, i: int) -> torch.Tensor:
        """Gain of the exact posterior mean at level i, (C, N)."""
        rate, offset, gain = self.mixtures[i]
        energy = (x.real**2 + x.imag**2).sum(1)
        exponent = offset - energy[..., None] * rate
        zero = -energy / self.p.levels[i].sigma ** 2
        top = torch.maximum(exponent.amax(-1), zero)
        weight = torch.exp(exponent - top[..., None])
        total = weight.sum(-1) + torch.exp(zero - top)
        return (weight @ gain) / total

    def run(self) -> torch.Tensor:
        """All steps of all chains."""
        x = self.p.levels[0].sigma * torch.randn(self.shape, dtype=torch.complex64)
        for i in range(len(self.p.levels)):
            for _ in range(self.p.problem.steps):
                x = self.step(x, i, torch.randn(self.shape, dtype=torch.complex64))
        return x


class Rotated(Torch):
    """Take the step as docs/langevin.md derives it: rotate, move every coordinate, rotate back."""

    def __init__(self, p: Problem) -> None:
        super().__init__(p)
        rank = p.problem.right.shape[1]
        rotated = np.zeros((p.antennas, p.devices), complex)
        rotated[:, :rank] = p.block[0] @ p.problem.right
        self.coordinates = []
        for level in p.levels:
            pull, variance = level.diagonals(p.problem.singular)
            numbers = (pull, level.force * rotated, np.sqrt(np.maximum(variance, 0)))
            self.coordinates.append([torch.from_numpy(np.asarray(a)) for a in numbers])
            self.coordinates[-1] = [
                a.to(torch.complex64 if a.is_complex() else torch.float32) for a in self.coordinates[-1]
            ]

    def run(self) -> torch.Tensor:
        """All steps of all chains."""
        x = self.p.levels[0].sigma * torch.randn(self.shape, dtype=torch.complex64)
        a = x @ self.u
        for i, level in enumerate(self.p.levels):
            pull, force, noise = self.coordinates[i]
            for _ in range(self.p.problem.steps):
                d = (x * self.gain(x, i)[:, None]) @ self.u
                a = level.keep * a + pull * d + force + noise * torch.randn(self.shape, dtype=torch.complex64)
                x = a @ self.back
        return x


class OnColumns(Torch):
    """The kernel's own algorithm as far as torch has it: products with the columns that count and with the noise."""

    def __init__(self, p: Problem) -> None:
        super().__init__(p)
        n = p.devices
        tables = [p.native.matrices(i)[:, :n, :, :n].copy() for i in range(len(p.levels))]
        self.tables = [torch.from_numpy((t[:, :, 0] + 1j * t[:, :, 1]).astype(np.complex64)) for t in tables]
        back, rotated = p.problem.rotation.conj().T, p.block[0] @ p.problem.right
        rank = rotated.shape[1]
        force = [(rotated * level.force[:rank]) @ back[:rank] for level in p.levels]
        self.force = [torch.from_numpy(f.astype(np.complex64)) for f in force]

    def step(self, x: torch.Tensor, i: int, zeta: torch.Tensor) -> torch.Tensor:
        """One step at level i."""
        level, (matrix, factor) = self.p.levels[i], self.tables[i]
        gain = self.gain(x, i)
        energy = (x.real**2 + x.imag**2).sum(1)
        counts = (gain**2 * energy > (4e-6 * level.sigma) ** 2 * self.p.antennas).any(0)
        columns = torch.nonzero(counts).flatten()
        d = x * gain[:, None]
        if len(columns) < self.p.devices:
            d, matrix = d[..., columns], matrix[columns]
        return level.keep * x + d @ matrix + self.force[i] + zeta @ factor


def check(p: Problem, torch_version: OnColumns) -> None:
    """The same step from the same state with the same noise, at an early and a late level."""
    chain, m = 0, p.antennas
    for i in (len(p.levels) // 4, len(p.levels) - 1):
        p.native.start([chain], 5, 0, p.levels[i].sigma)
        before, after = (np.empty((m, p.devices), np.complex64) for _ in range(2))
        for target in (before, after):
            split = p.native.columns[chain]
            target[:] = (split[:, 0, :m] + 1j * split[:, 1, :m]).T
            if target is before:
                numbers = {"noise_var": p.levels[i].sigma ** 2, "mixture": p.mixtures[i], "accumulate": False}
                p.native.anneal(chains=[chain], seed=5, step=1, steps=1, level=i, **numbers)
        zeta = reference.langevin_noise(5, chain, 1, m, p.devices).astype(np.complex64)
        found = torch_version.step(torch.from_numpy(before)[None], i, torch.from_numpy(zeta)[None])[0].numpy()
        error = np.linalg.norm(found - after) / np.linalg.norm(after)
        assert error < 1e-4, f"steps differ by {error:g}"


def on_cpu(threads: int) -> None:
    torch.set_num_threads(threads)
    rows, detections = [], []
    for size in SIZES:
        p = Problem(*size, threads)
        rotated, columns = Rotated(p), OnColumns(p)
        check(p, columns)
        steps = len(p.levels) * p.problem.steps
        ours, theirs, fair = (1e3 * measure(x.run)["p50_ms"] / steps for x in (p, rotated, columns))
        names = dict(zip(("M", "N", "L", "chains"), size, strict=True))
        times = {"step, us": ours, "torch, us": theirs, "ratio": theirs / ours, "torch on columns, us": fair}
        rows.append(names | times | {"ratio ": fair / ours, "columns": p.share()})
        detections.append(names | measure(lambda: p.rx.detect(p.drop.y, p.drop.noise_var), seconds=1.0))
    report(f"Langevin step with exact score, all chains, {threads} threads", rows)
    report(f"Langevin detection, 121 steps of all chains, {threads} threads", detections)


def floor_us(m: int, n: int, chains: int, blocks: int, columns: float) -> float:
    """Time that no H200 can beat for a step of all chains: every array once, flops counted from the kernel."""
    each = 8 * m * n * (columns * n + n / 2) + 60 * m * n + 200 * n  # products, noise, exact score
    moved = blocks * (8 * n * n * (columns + 0.5) + 8 * m * n) + 2 * blocks * chains * 8 * m * n
    return gpu_floors.floor_us(moved, blocks * chains * each)


def on_gpu() -> None:
    """Whole detections of one and of 32 blocks, device against CPU before anything is timed."""
    if devices()[0] == 0:
        print("Langevin receiver on a GPU: not measured, no GPU:", devices()[1])
        return
    rows = []
    for m, n, length, chains in SIZES[1:]:
        p = Problem(m, n, length, chains, 1)
        rx = LangevinReceiver(p.drop.pilots, m, chains=chains, device="cuda")
        expected, found = p.rx.detect(p.drop.y, p.drop.noise_var), rx.detect(p.drop.y, p.drop.noise_var)
        assert expected.active.tolist() == found.active.tolist()
        error = np.linalg.norm(found.channels - expected.channels)
        assert error <= 1e-2 * np.linalg.norm(expected.channels), f"channels differ by {error:g}"
        for blocks in (1, 32):
            y = torch.from_numpy(np.stack([p.drop.y] * blocks)).cuda()

            def detect() -> None:
                rx.detect_many(y, p.drop.noise_var)
                torch.cuda.synchronize()

            time = measure(detect)
            floor = 121e-3 * floor_us(m, n, chains, blocks, p.share())
            names = {"M": m, "N": n, "L": length, "chains": chains, "blocks": blocks}
            rows.append(names | time | {"H200 floor of the steps, ms": floor})
    report(f"Langevin detection on {torch.cuda.get_device_name()}, 121 steps of all chains", rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, nargs="*", default=[1, 2])
    args = parser.parse_args()
    for threads in args.threads:
        on_cpu(threads)
    on_gpu()


if __name__ == "__main__":
    main()
