"""Prints the kernel table of docs/performance.md: bytes, flops and the time that no H200 can beat.

Bytes: every input read and every output written once. Flops: counted from the loops, a complex multiply-add as 8, a
K-point transform as 5 K log2 K, a transcendental as 1. Floor: the larger of bytes over bandwidth and flops over rate.
"""

from __future__ import annotations

from math import log2

# H200, by its data sheet: bytes/s, single-precision flop/s outside the tensor cores, bfloat16 flop/s on them.
BANDWIDTH, RATE, TENSOR_RATE = 4.8e12, 67e12, 990e12
N, M, P = 48, 32, 12
NETWORK = 32 * (64 * 37 + 4 * (64 * 7 + 2 * 64 * 128) + 25 * 64)  # multiply-adds of `cdl` a candidate
WEIGHTS = 4 * (64 * 38 + 4 * (64 * 8 + 128 * 65 + 64 * 129) + 25 * 65)  # bytes
PROCESSORS = 132
# What a short kernel takes in a graph from the end of the one before: launch, first loads, last stores. Assumed.
KERNEL_US = 2.5
PER_ITERATION, ONCE = 8, 6  # kernels beside the network, in an iteration and once a detection
# K, T, prior, iterations on the CPU (bench_detect.py), derived time of one pass of the network (bench_cuda_network.py),
# candidates.
DETECTIONS = (
    *((800, 20, "cdl", 8, 4.7, 47), (800, 20, "cdl-tiny", 8, 3.4, 47), (800, 20, "gaussian", 5, KERNEL_US, 47)),
    *((3000, 40, "cdl", 10, 4.7, 164), (3000, 40, "cdl-tiny", 10, 3.4, 164)),
)
TENSOR_KERNEL = "beam_network_tensor"
OTHER_CHOICES = ("beam_network", "gaussian")  # than the kernel of an iteration
PRODUCTS, POWERS, GAINS = 21, 10, 12  # of the mixture of `cdl` with unknown power


def kernels(k: int, t: int, a: int, identity: bool = False) -> dict[str, tuple[float, ...]]:
    """Bytes, flops and, if on tensor cores, their rate, of every kernel for K devices, T symbols, A candidates.

    identity: of a prior without a KLT basis, whose P = N coefficients are the channel's.
    """
    p, klt = (N, 0) if identity else (P, P)
    state, coefficients, energy = 8 * n_t(t) * M, 8 * a * p * M, 4 * k * p * M
    accumulations = n_t(t) * M * (2 if identity else 8 * P)
    return {
        "residual": (3 * state + coefficients + 4 * N * M, 8 * a * N * M * (klt + t) + 8 * n_t(t) * M),
        "observe": (3 * state + 4 * N * M, 8 * n_t(t) * M + 2 * N * M),
        "spectral": (state + coefficients + energy + k, accumulations + p * M * (5 * k * log2(k) + 7 * k)),
        "activity_table": (8 * p * M + 4 * p * M * PRODUCTS, 6 * PRODUCTS * p * M),
        "activity": (energy + 9 * k, k * M * (2 * PRODUCTS * p + 2 * PRODUCTS + 2 * POWERS * GAINS + 2 * POWERS)),
        "select_candidates": (9 * k + 12 * a, 4 * k),
        "gather": (state + 2 * coefficients, 8 * a * N * M * (t + klt) + 5 * a * p * M),
        "beam_network": (2 * coefficients + 8 * a * M + WEIGHTS, 2 * a * NETWORK),
        TENSOR_KERNEL: (2 * coefficients + 8 * a * M + WEIGHTS / 2, 2 * a * NETWORK, TENSOR_RATE),
        # S, its mean, the output that is kept, R and what was seen, and the probabilities of all devices.
        "update": (4 * coefficients + 3 * state + 8 * k, 10 * a * p * M + 6 * n_t(t) * M + 3 * a * M),
    }


def n_t(t: int) -> int:
    return N * t


def floor_us(bytes_moved: float, flops: float, rate: float = RATE) -> float:
    return 1e6 * max(bytes_moved / BANDWIDTH, flops / rate)


def main() -> None:
    small, large = kernels(800, 20, 47), kernels(3000, 40, 164)
    print("| kernel | MB | Mflop | floor, µs | K=3000: MB | Mflop | floor, µs | measured |\n|" + "---|" * 8)
    for name in small:
        cells = [f"{x:.3g}" for at in (small, large) for x in (*(v / 1e6 for v in at[name][:2]), floor_us(*at[name]))]
        print(f"| `{name}` | " + " | ".join(cells) + " | not yet |")
    totals = [sum(floor_us(*v) for name, v in at.items() if name not in OTHER_CHOICES) for at in (small, large)]
    print(f"| an iteration with `cdl` | | | {totals[0]:.3g} | | | {totals[1]:.3g} | not yet |")
    print("\n| K | T | prior | iterations | estimate, ms | measured |\n|---|---|---|---|---|---|")
    for k, t, prior, iterations, pass_us, candidates in DETECTIONS:
        waves = -(-candidates // PROCESSORS)
        us = iterations * (PER_ITERATION * KERNEL_US + waves * pass_us) + ONCE * KERNEL_US
        print(f"| {k} | {t} | `{prior}` | {iterations} | {us / 1e3:.2f} | not yet |")


if __name__ == "__main__":
    main()
