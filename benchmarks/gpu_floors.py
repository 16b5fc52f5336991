"""Prints the kernel table of docs/performance.md: bytes, flops and the time that no H200 can beat.

Bytes: every input read and every output written once. Flops: counted from the loops, a complex multiply-add as 8, a
K-point transform as 5 K log2 K, a transcendental as 1. Floor: the larger of bytes over bandwidth and flops over rate.
"""

from __future__ import annotations

from math import ceil, log2

# H200, by its data sheet: bytes/s, single-precision flop/s outside the tensor cores, bfloat16 flop/s on them.
BANDWIDTH, RATE, TENSOR_RATE = 4.8e12, 67e12, 990e12
N, M, P = 48, 32, 12
NETWORK = 32 * (64 * 37 + 4 * (64 * 7 + 2 * 64 * 128) + 25 * 64)  # multiply-adds of `cdl` a candidate
WEIGHTS = 4 * (64 * 38 + 4 * (64 * 8 + 128 * 65 + 64 * 129) + 25 * 65)  # bytes
PROCESSORS = 132
# The estimate of a kernel's time, `body_us`: all of these are assumed.
START_US = 1.0  # time from the end of the kernel before to the first load, overlapping
FIRST_US = 2.5  # time of a kernel outside the loop, everything included
CLOCK = 1830.0  # cycles a microsecond
LATENCY, BARRIER = 280, 40  # cycles of a load from the second-level cache, and of a barrier
L2, ISSUE = 64, 2.0  # bytes and instructions of a warp a cycle and multiprocessor; at best twice as many instructions
# K, T, prior, iterations on the CPU and those of them that screen all devices, derived time of one pass of the network
# (bench_cuda_network.py), its blocks on a multiprocessor, candidates.
DETECTIONS = (
    *(
        (800, 20, "cdl", 7, 3, 4.7, 1, 45),
        (800, 20, "cdl-tiny", 8, 3, 3.4, 2, 45),
        (800, 20, "gaussian", 5, 2, 0, 1, 45),
    ),
    *((3000, 40, "cdl", 10, 4, 4.7, 1, 165), (3000, 40, "cdl-tiny", 10, 4, 3.4, 2, 165)),
    (3000, 40, "gaussian", 4, 2, 0, 1, 165),
    *((800, 20, "cdl", 5, 3, 4.7, 1, 45), (800, 20, "gaussian", 3, 2, 0, 1, 45)),  # ended by max_iterations
)
ONCE = 6  # kernels before and after the loop
# Kernels that do nothing in the other iterations, and the last one, which does less.
SCREENING = ("spectral", "activity_table", "activity", "select_candidates")
TENSOR_KERNEL = "beam_network_tensor"
OTHER_CHOICES = ("beam_network",)  # kernels that an iteration does without
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


def bodies(k: int, t: int, a: int, identity: bool) -> dict[str, tuple[float, float, float, float]]:
    """Work of every kernel on the busiest multiprocessor: dependent loads, barriers, bytes, instructions.

    Counted by hand from the loops of csrc/kernels for the mixture of 12 gains of a known power; instructions are those
    of warps.
    """
    p, groups, products = (N, 4, 1) if identity else (P, P, GAINS)
    chunks, passes = ceil(a / 64), 5 if k == 800 else 6
    each = min(a, 64)
    project = ceil(each / 32) * (6 if identity else 7 * P) * 16 + ceil(t / 2) * (6 * each + 25 * ceil(each / 16) + 40)
    beams = ceil(p * M / PROCESSORS)  # one a block, or four where that leaves no multiprocessor idle
    point = 12 + 14 * passes + 15
    tested = ceil(k / 8 / PROCESSORS)
    test = 6 * p + ceil(products / 4) * (9 * groups + 10) + 11 * products + 30
    gathered = ceil(2 * a / PROCESSORS)
    klt = 0 if identity else ceil(P / 16) * (7 * N + 30)
    return {
        "residual": (
            5 + 3 * (chunks - 1),
            2 * chunks + 1,
            128 * (a * (1 if identity else P) + 3 * t),
            chunks * project,
        ),
        "module_a": (3, 6, 4 * N * M + 16384, 8 * 320),
        "spectral": (5, 5 + 2 * passes, beams * (32 * n_t(t) + 5 * k), beams * (20 * n_t(t) + point * k) / 32),
        "activity_table": (4, 2, 8 * p, 8 * ceil(groups * 4 * ceil(products / 4) / 256) * 60),
        "activity": (3, 2, tested * M * 4 * (8 * p + products * groups), tested * 8 * test),
        "select_candidates": (6, 14, 9 * k, 16 * (60 * ceil(k / 512) + 200)),  # where all are screened, else:
        "assignment": (4, 6, 0, 16 * 100),
        "gather": (6, 3, gathered * 128 * n_t(t), gathered * 8 * (n_t(t) / 16 * 8 + n_t(t) / 256 * 35 + klt)),
        "update": (3, 4, 4 * a * M + 16384, 8 * 400),
    }


def body_us(loads: float, barriers: float, moved: float, instructions: float) -> float:
    return (loads * LATENCY + barriers * BARRIER + max(moved / L2, instructions / ISSUE)) / CLOCK


def detection_us(k: int, t: int, prior: str, iterations: int, screens: int, net_us: float, net: int, a: int) -> float:
    """A detection by the sum of its kernels' estimates."""
    times = {name: START_US + body_us(*body) for name, body in bodies(k, t, a, prior == "gaussian").items()}
    each = sum(us for name, us in times.items() if name not in SCREENING) + len(SCREENING[:-1]) * START_US
    screening = sum(times[name] - START_US for name in SCREENING[:-1]) + times[SCREENING[-1]] - times["assignment"]
    network = START_US + ceil(a / (net * PROCESSORS)) * net_us if net_us else 0.0
    return iterations * (each + network) + screens * screening + ONCE * FIRST_US


def batched_us(k: int, t: int, prior: str, iterations: int, screens: int, net_us: float, net: int, a: int) -> float:
    """The same a received block of many: all multiprocessors share the work, and starts no longer count."""
    identity = prior == "gaussian"
    p, elements = (N if identity else P), ceil(n_t(t) * M / 1024)
    busy = {  # thread blocks of a received block, over those that `bodies` counts
        **{"residual": 2 * N, "module_a": elements, "spectral": p * M / ceil(p * M / PROCESSORS), "activity_table": M},
        **{"activity": k / 8 / ceil(k / 8 / PROCESSORS), "select_candidates": 1, "assignment": 1},
        **{"gather": 2 * a / ceil(2 * a / PROCESSORS), "update": a + elements},
    }
    times = {
        name: busy[name] / PROCESSORS * body_us(0, 0, moved, instructions)
        for name, (_, _, moved, instructions) in bodies(k, t, a, identity).items()
    }
    screening = sum(times[name] for name in SCREENING)
    return iterations * (sum(times.values()) - screening + a * net_us / (net * PROCESSORS)) + screens * screening


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
    print("\n| kernel, K=800 | " + " | ".join(bodies(800, 20, 45, False)) + " |\n|" + "---|" * 10)
    for prior in ("cdl", "gaussian"):
        us = [START_US + body_us(*body) for body in bodies(800, 20, 45, prior == "gaussian").values()]
        print(f"| `{prior}`, µs | " + " | ".join(f"{x:.1f}" for x in us) + " |")
    header = "| K | T | prior | iterations | of these screen | estimate, ms | a block of many, ms | times | measured |"
    print(f"\n{header}\n|" + "---|" * 9)
    for detection in DETECTIONS:
        k, t, prior, iterations, screens, *_ = detection
        us, many = detection_us(*detection), batched_us(*detection)
        cells = f"{us / 1e3:.2f} | {many / 1e3:.3f} | {us / many:.1f}"
        print(f"| {k} | {t} | `{prior}` | {iterations} | {screens} | {cells} | not yet |")
    k, t, _, iterations, screens, *_, a = next(d for d in DETECTIONS if d[2] == "gaussian")
    transforms = screens * body_us(*bodies(k, t, a, True)["spectral"])
    print(f"\nGaussian prior: {iterations * 8 * START_US:.0f} us starts of kernels, {transforms:.0f} us transforms")
    for k, t, a in ((800, 20, 45), (3000, 40, 165)):
        # Zeros, the FFT's input and output, the KLT's, squares of its output: the dense way, in six kernels.
        moved = 8 * k * N * M * 4 + 8 * k * P * M * 2 + 4 * k * P * M
        dense, ours = 1e6 * moved / BANDWIDTH + 6 * FIRST_US, body_us(*bodies(k, t, a, False)["spectral"])
        share = floor_us(*kernels(k, t, a)["spectral"]) / ours
        print(
            f"Statistics, K={k}: the dense way {moved / 1e6:.0f} MB, {dense:.0f} us; "
            f"spectral {ours + START_US:.1f} us, {dense / (ours + START_US):.1f} times, {share:.2f} of its limit"
        )


if __name__ == "__main__":
    main()
