"""Prints a table of docs/design.md: error after every pass of loops that could need fewer.

``python scripts/acceleration.py``, a minute. The loops are told who is active, and all denoise with `cdl-tiny`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import jadce_fast as jf
from jadce_fast.campaigns.ofdm_drop import Drop, Scenario, draw_drop
from jadce_fast.reference import beamspace

PASSES, DROPS = 7, 4
PRIOR = jf.load_prior("cdl-tiny")
Array = np.ndarray[Any, Any]


class Block:
    """A received block over beams; states are S (A, P, M) and R (N, T, M), with x = V S + Q^H R."""

    def __init__(self, drop: Drop) -> None:
        q = drop.pilots.select(drop.active).transpose(1, 0, 2)  # (N, T, A)
        self.q, self.noise, self.devices, self.symbols = q, drop.noise_var, drop.pilots.devices, drop.pilots.symbols
        self.y = beamspace(drop.y).astype(np.complex64).transpose(1, 0, 2)
        self.h = beamspace(drop.channels)

    def project(self, s: Array) -> Array:
        """Q V S."""
        return np.asarray(self.q @ np.einsum("np,apm->nam", PRIOR.basis, s, optimize=True))

    def match(self, r: Array) -> Array:
        """V^H Q^H R at the active devices."""
        return np.asarray(np.einsum("np,nam->apm", PRIOR.basis.conj(), self.q.conj().transpose(0, 2, 1) @ r))

    def error_db(self, mean: Array) -> float:
        """NMSE of an estimate."""
        left = np.einsum("np,apm->anm", PRIOR.basis, mean) - self.h
        return float(10 * np.log10(np.sum(np.abs(left) ** 2) / np.sum(np.abs(self.h) ** 2)))

    def denoise(self, z: Array, v: Array) -> tuple[Array, Array]:
        """The network's answer at noise v (M,)."""
        noise = np.broadcast_to(v, (len(z), len(v))).astype(np.float32)
        mean, var = PRIOR.denoise(z.astype(np.complex64), noise)
        return mean, var


def power(r: Array) -> Array:
    """Mean square of every beam."""
    return np.asarray(np.mean(np.abs(r) ** 2, (0, 1)))


def damped(gamma: float, caution: float, block: Block) -> list[float]:
    """The library's loop with another damping; 0: in every beam the one that leaves the least residual."""
    b, found = block, []
    s, r_pri, r = np.zeros((b.h.shape[0], *PRIOR.basis.shape[1:], b.h.shape[2]), np.complex64), 0 * b.y, b.y
    for i in range(PASSES):
        v_a = np.maximum((power(r) - b.noise) / b.devices, 1e-3 * b.noise / b.devices)
        v = (b.devices * v_a + b.noise) / b.symbols - v_a
        r_b = r_pri + r / b.symbols
        mean, var = b.denoise(s + b.match(r_b), v)
        found.append(b.error_db(mean))
        alpha = np.clip(caution * var.sum(0) / (b.devices * v), 1e-9, 0.95)
        new_s, new_r = (mean - alpha * s) / (1 - alpha), -alpha / (1 - alpha) * r_b
        new = b.y - b.project(new_s) - b.devices * new_r
        step = np.full(len(v), 1.0 if i < 2 else gamma)
        if not gamma:
            step = np.sum(np.real((r - new).conj() * r), (0, 1)) / np.sum(np.abs(r - new) ** 2, (0, 1))
        s, r_pri, r = (old + step * (now - old) for now, old in ((new_s, s), (new_r, r_pri), (new, r)))
    return found


def lmmse(steps: tuple[int, ...], block: Block) -> list[float]:
    """Module A that knows who is active and what every coefficient's error is: conjugate gradients, `steps` a pass."""
    b, found, v = block, [], power(block.y) / block.symbols
    z, mean, d = b.match(b.y / b.symbols), np.empty(0), np.empty(0)
    for i in range(PASSES):
        if i:
            share = d / b.y[:, :, 0].size
            for _ in range(50):
                v = b.noise / b.symbols + np.sum(share * v / (d + v), (0, 1))
            z = mean + (d + v) * b.match(solve(b, d, b.y - b.project(mean), steps[min(i, len(steps)) - 1]))
        mean, var = b.denoise(z, v)
        found.append(b.error_db(mean))
        shape = PRIOR.eigenvalues[:, None] * v / (PRIOR.eigenvalues[:, None] + v)
        d = var[:, None] * PRIOR.subcarriers * shape / shape.sum(0)
    return found


def solve(b: Block, d: Array, r: Array, steps: int) -> Array:
    """(A D A^H + noise)^-1 r, all beams at once."""
    x, p, rest = 0 * r, r, r
    for _ in range(steps):
        image = b.project((d * b.match(p)).astype(np.complex64)) + b.noise * p
        energy = np.sum(np.abs(rest) ** 2, (0, 1))
        gain = energy / np.maximum(np.sum(np.real(p.conj() * image), (0, 1)), 1e-30)
        x, rest = x + gain * p, rest - gain * image
        p = rest + np.sum(np.abs(rest) ** 2, (0, 1)) / np.maximum(energy, 1e-30) * p
    return x


LOOPS: dict[str, Callable[[Block], list[float]]] = {
    "γ = 0.7, as it is": lambda block: damped(0.7, 1.3, block),
    "γ = 0.85": lambda block: damped(0.85, 1.3, block),
    "γ = 1": lambda block: damped(1.0, 1.3, block),
    "γ by beam, least residual": lambda block: damped(0.0, 1.3, block),
    "the same, α = 1 var/v": lambda block: damped(0.0, 1.0, block),
    "LMMSE of the active, 50 steps a pass": lambda block: lmmse((50,), block),
    "the same, 16, 8 and 4 steps": lambda block: lmmse((16, 8, 4), block),
}


def main() -> None:
    print("| T | loop | " + " | ".join(map(str, range(1, PASSES + 1))) + " |\n|" + "---|" * (PASSES + 2))
    for symbols in (20, 10, 5):
        blocks = [Block(draw_drop(Scenario(symbols=symbols), trial=trial)) for trial in range(DROPS)]
        for name, loop in LOOPS.items():
            mean = np.mean([loop(block) for block in blocks], 0)
            print(
                f"| {symbols} | {name} | " + " | ".join(f"{x:.1f}".replace("-", "−") for x in mean) + " |", flush=True
            )


if __name__ == "__main__":
    main()
