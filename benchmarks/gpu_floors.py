"""Prints the kernel table of docs/performance.md: bytes, flops, the time that no H200 can beat, and what an H100 took.

Bytes: every input read and every output written once. Flops: counted from the loops, a complex multiply-add as 8, a
K-point transform as 5 K log2 K, a transcendental as 1. Floor: the larger of bytes over bandwidth and flops over rate.
"""

from __future__ import annotations

import json
from math import log2
from pathlib import Path

MEASURED = Path(__file__).parent / "results/gpu-h100-2026-11-27.json"

# H200, by its data sheet: bytes/s, single-precision flop/s outside the tensor cores, bfloat16 flop/s on them.
BANDWIDTH, RATE, TENSOR_RATE = 4.8e12, 67e12, 990e12
N, M, P = 48, 32, 12
NETWORK = 32 * (64 * 37 + 4 * (64 * 7 + 2 * 64 * 128) + 25 * 64)  # multiply-adds of `cdl` a candidate
WEIGHTS = 4 * (64 * 38 + 4 * (64 * 8 + 128 * 65 + 64 * 129) + 25 * 65)  # bytes
# Kernels that do nothing in iterations that screen nobody.
SCREENING = ("spectral", "activity_table", "activity")
TENSOR_KERNEL = "beam_network_tensor"
PRODUCTS, POWERS, GAINS = 21, 10, 12  # the mixture of `cdl` with unknown power


def kernels(k: int, t: int, a: int, identity: bool = False) -> dict[str, tuple[float, ...]]:
    """Bytes, flops and, if on tensor cores, their rate, of every kernel for K devices, T symbols, A candidates.

    identity: of a prior without a KLT basis, whose P = N coefficients are the channel's.
    """
    p, klt = (N, 0) if identity else (P, P)
    state, coefficients, energy = 8 * n_t(t) * M, 8 * a * p * M, 4 * k * p * M
    accumulations = n_t(t) * M * (2 if identity else 8 * P)
    return {
        "residual": (3 * state + coefficients + 4 * N * M, 8 * a * N * M * (klt + t) + 8 * n_t(t) * M),
        "module_a": (3 * state + 4 * N * M, 8 * n_t(t) * M + 2 * N * M),
        "spectral": (state + coefficients + energy + k, accumulations + p * M * (5 * k * log2(k) + 7 * k)),
        "activity_table": (8 * p * M + 4 * p * M * PRODUCTS, 6 * PRODUCTS * p * M),
        "activity": (energy + 9 * k, k * M * (2 * PRODUCTS * p + 2 * PRODUCTS + 2 * POWERS * GAINS + 2 * POWERS)),
        "select_candidates": (9 * k + 12 * a, 4 * k),
        "gather": (state + 2 * coefficients, 8 * a * N * M * (t + klt) + 5 * a * p * M),
        "beam_network": (2 * coefficients + 8 * a * M + WEIGHTS, 2 * a * NETWORK),
        TENSOR_KERNEL: (2 * coefficients + 8 * a * M + WEIGHTS / 2, 2 * a * NETWORK, TENSOR_RATE),
        # S, its mean, the output that is kept, R and R~, and the probabilities of all devices.
        "update": (4 * coefficients + 3 * state + 8 * k, 10 * a * p * M + 6 * n_t(t) * M + 3 * a * M),
    }


def n_t(t: int) -> int:
    return N * t


def floor_us(bytes_moved: float, flops: float, rate: float = RATE) -> float:
    return 1e6 * max(bytes_moved / BANDWIDTH, flops / rate)


def detection_limit_us(
    k: int, t: int, a: int, prior: str, network: str, iterations: int, bound: dict[str, float]
) -> float:
    """Time that no detection can beat at the limits that gpu_timing.limits() found; one iteration screens, no less."""
    left_out = TENSOR_KERNEL if network == "fp32" else "beam_network"
    total = 0.0
    for name, (moved, flops, *_) in kernels(k, t, a, identity=prior == "gaussian").items():
        if name == left_out or (prior == "gaussian" and name in (TENSOR_KERNEL, "beam_network")):
            continue
        rate = bound["bfloat16 Tflop/s" if name == TENSOR_KERNEL else "single Tflop/s"]
        us = max(moved / (1e3 * bound["copy GB/s"]), flops / (1e6 * rate))
        total += us if name in SCREENING else iterations * us
    return total


def main() -> None:
    run = json.loads(MEASURED.read_text())
    measured = {
        ("module_a" if row["kernel"] == "observe" else row["kernel"]): row["p50 us"]
        for title, part in run.items()
        if title.startswith("CUDA kernels")
        for row in reversed(part["rows"])
        if row["prior"] == "cdl"
    }
    small, large = kernels(800, 20, 45), kernels(3000, 40, 165)
    print("| kernel | MB | Mflop | floor, µs | measured, µs | K=3000: MB | Mflop | floor, µs |\n|" + "---|" * 8)
    for name in small:
        cells = [[f"{x:.3g}" for x in (*(v / 1e6 for v in at[name][:2]), floor_us(*at[name]))] for at in (small, large)]
        print(f"| `{name}` | " + " | ".join([*cells[0], f"{measured[name]:.1f}", *cells[1]]) + " |")


if __name__ == "__main__":
    main()
