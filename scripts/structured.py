"""Prints the table of docs/structured.md: pilots with structure, beside LMMSE that knows who is active. Minutes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

import jadce_fast as jf
from jadce_fast.campaigns.ofdm_drop import Scenario, draw_drop, received

K, T, N, M, NOISE, BLOCKS = 400, 20, 48, 32, 0.1, 5

Pattern = Callable[[np.random.Generator], np.ndarray]


def qpsk(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return np.exp(0.5j * np.pi * (rng.integers(0, 4, shape) + 0.5))


def comb(spacing: int) -> np.ndarray:
    return np.arange(N)[:, None] % spacing == np.arange(K) % spacing


def guards() -> np.ndarray:
    n = np.arange(N)[:, None]
    return (n >= 6) & (n < 42) & (n != 24)


def some(rng: np.random.Generator) -> np.ndarray:
    return rng.permutation(K) >= 100


def blocks() -> np.ndarray:
    return np.arange(N)[:, None] // 12 == np.arange(K) % 4


PATTERNS: dict[str, Pattern] = {
    "independent": lambda rng: qpsk(rng, T, N, K),
    "independent, 100 devices have none": lambda rng: qpsk(rng, T, N, K) * some(rng),
    "comb of 2": lambda rng: qpsk(rng, T, N, K) * comb(2),
    "comb of 4": lambda rng: qpsk(rng, T, N, K) * comb(4),
    "comb of 8": lambda rng: qpsk(rng, T, N, K) * comb(8),
    "6 guards a side, no DC": lambda rng: qpsk(rng, T, N, K) * guards(),
    "4 blocks of 12": lambda rng: qpsk(rng, T, N, K) * blocks(),
    "one sequence repeated": lambda rng: np.repeat(qpsk(rng, T, 1, K), N, axis=1),
    "repeated, comb of 4": lambda rng: np.repeat(qpsk(rng, T, 1, K), N, axis=1) * comb(4),
    "repeated, guards, no DC": lambda rng: np.repeat(qpsk(rng, T, 1, K), N, axis=1) * guards(),
}


def lmmse(y: np.ndarray, q: np.ndarray, prior: jf.Prior) -> np.ndarray:
    """Channels of known devices under the Gaussian prior of the same Karhunen-Loeve basis; q (T, N, A)."""
    root = np.asarray(prior.basis) * np.sqrt(np.asarray(prior.eigenvalues, np.float64))
    a = np.einsum("tna,np->tnap", q, root).reshape(T * N, -1)
    s = np.linalg.solve(a.conj().T @ a + NOISE * np.eye(a.shape[1]), a.conj().T @ y.reshape(T * N, M))
    return np.einsum("np,apm->anm", root, s.reshape(q.shape[2], -1, M))


def main() -> None:
    prior = jf.load_prior("cdl")
    print("| pilots | missed, ghosts | NMSE | LMMSE | claimed over true variance | not trusted |\n" + "|---" * 6 + "|")
    for name, draw in PATTERNS.items():
        missed = ghosts = active = doubts = 0
        errors = np.zeros(4)
        for seed in range(BLOCKS):
            rng = np.random.default_rng(seed)
            pilots = jf.Pilots(draw(rng))
            drop = draw_drop(Scenario(devices=K), seed)
            sends = np.abs(pilots.select(drop.active)).any(axis=(0, 1))
            devices, h = drop.active[sends], drop.channels[sends]
            noise = (rng.standard_normal((T, N, M, 2)) @ [1, 1j]) * np.sqrt(NOISE / 2)
            y = received(pilots, devices, h) + noise
            out = jf.Receiver(pilots, M, prior).detect(y, NOISE)
            missed += len(set(devices) - set(out.active))
            ghosts += len(set(out.active) - set(devices))
            active += len(devices)
            doubts += not out.trusted
            found = np.zeros(h.shape, np.complex128)
            of = {k: i for i, k in enumerate(out.active.tolist())}
            for i, k in enumerate(devices.tolist()):
                if k in of:
                    found[i] = out.channels[of[k]]
            known = lmmse(y, pilots.select(devices), prior)
            errors += [
                np.sum(np.abs(found - h) ** 2),
                np.sum(np.abs(known - h) ** 2),
                np.sum(np.abs(h) ** 2),
                out.channel_var.sum() * N * M,
            ]
        ours, theirs = (10 * np.log10(errors[i] / errors[2]) for i in (0, 1))
        print(
            f"| {name} | {missed}, {ghosts} of {active} | {ours:.1f} dB | {theirs:.1f} dB | "
            f"{errors[3] / errors[0]:.2f} | {doubts} |".replace("-", "−"),
            flush=True,
        )


if __name__ == "__main__":
    main()
