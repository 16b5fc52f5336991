"""Times of the kernels of a detection on an H100, derived from their loops, and what designs of the loop would take.

A kernel takes its start and as many waves as its thread blocks need places. A wave takes as long as its slowest warp:
loads from the second-level cache that wait for one another, instructions, barriers. Counts are by hand from the loops of
csrc/kernels, a `Path` a kernel, instructions as the profiler found them. Rules of counting: of a loop whose loads do not
depend on one another four are in flight, and what remains of it comes one by one (what nvcc makes of it); what a block
has read before, and the rest of a Control, costs an instruction only.

`tests/test_gpu_model.py` holds the model to the times that were measured (benchmarks/results/gpu-h100-2026-11-27.json).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

# NVIDIA H100 80GB HBM3, 2026-11-27. Measured, by benchmarks/gpu_boundaries.cu:
START_US = 1.05  # a kernel after another in a graph, empty
OVERLAPPED_US = 0.79  # the same with programmatic launch
TURN_US = 3.7  # a turn of a graph's loop, beside its kernels
LAUNCH_US = 8.0  # a graph's launch, beside its kernels
PHASE_US = 1.03  # a barrier of all blocks of a persistent kernel
CLUSTER_US = 0.48  # a barrier of two blocks of a cluster
# By the profiler: the clock as found, cycles a microsecond; cycles from one instruction of a warp to its next where it
# waits neither for memory nor at a barrier, the median of all kernels; the same in unrolled sums of products.
CLOCK, STEP, PRODUCT = 1980.0, 5.2, 2.0
BARRIER = 40  # cycles
# A load that waits for the one before, fitted to all kernels. An idle cache takes 0.14 us (273 cycles), and 0.25 us are
# measured where every multiprocessor reads at once (gpu_boundaries.cu).
LOAD_US = 0.22
PROCESSORS, SCHEDULERS = 132, 4

N, M, P, GAINS = 48, 32, 12, 12  # subcarriers, antennas, coefficients and gains of `cdl`
SCREENING = ("spectral", "activity_table", "activity")  # kernels that do nothing in the other iterations


@dataclass(frozen=True)
class Path:
    """A kernel: its thread blocks that have work, those of a multiprocessor at a time, and the slowest warp of one."""

    blocks: float
    resident: int
    loads: float  # that wait for one another
    steps: float  # instructions
    barriers: float
    products: float = 0  # instructions of unrolled sums
    warps: int = 8

    @property
    def wave_us(self) -> float:
        """Time of one wave."""
        cycles = self.steps * STEP + self.products * PRODUCT + self.barriers * BARRIER
        together = min(self.resident, ceil(self.blocks / PROCESSORS))
        issued = together * self.warps * (self.steps + self.products) / SCHEDULERS
        return max(self.loads * LOAD_US + cycles / CLOCK, issued / CLOCK)

    @property
    def body_us(self) -> float:
        """Time without the start."""
        return ceil(self.blocks / (PROCESSORS * self.resident)) * self.wave_us

    @property
    def share_us(self) -> float:
        """Time of all multiprocessors that it takes where there are always more thread blocks."""
        return self.blocks * self.wave_us / (PROCESSORS * self.resident)


def rounds(count: float, threads: float = 1, together: int = 4) -> int:
    """Waits of a loop over `count` that `threads` share and of which `together` loads are in flight."""
    each = int(ceil(count / threads))
    return each // together + each % together


def kernels(k: int, t: int, a: int, prior: str = "cdl", *, known: bool = False) -> dict[str, Path]:
    """The kernels that were measured (commit 1f62e0b), for K devices, T symbols, A candidates.

    prior: "cdl", "cdl-tiny", or "gaussian", whose N coefficients need no basis. known: all devices have unit power.
    """
    identity = prior == "gaussian"
    p, gains = (N, 1) if identity else (P, GAINS)
    groups, powers = (4 if identity else P), (1 if known else 10)
    quads = ceil(gains * powers / 4) if identity else (3 if known else 6)  # products of gains and powers coincide
    shift = 2 if identity and k < 2000 else 0
    points, each = (k << shift) / 256, ceil((k << shift) / 256)
    with_part = min(1.0, a / k * 32 / (1 << shift))  # turns of a warp in which a device has a part of S
    chunks, now = ceil(a / 64), min(a, 64)
    klt = rounds(p) if not identity else 1
    turns = ceil(t / 32)
    halves = 1 if known else 2
    pilots = 2 * ceil(N * t / 256)
    gathered = pilots + ceil(N / 16) * (t // 8 + ceil(t % 8 / 4)) + (3 if identity else 1)
    summed = rounds(a, 8)
    return {
        "residual": Path(
            blocks=2 * N,
            resident=2,
            loads=2 + chunks * (ceil(now / 32) * klt + turns * (1 + 3 * ceil(now / 16))),
            steps=230 + chunks * (110 * ceil(now / 32) * (not identity) + turns * (40 * ceil(now / 16) + 7 * now)),
            barriers=2 * chunks + 1,
            warps=16,
        ),
        "observe": Path(ceil(N * t * M / 1024), 4, 3 + rounds(N, 8), 660 + 8 * M, 5),
        "spectral": Path(
            blocks=p * M / (1 << shift),
            resident=2,
            loads=2 * rounds(k, 256) + 1 + 2 * rounds(N * t << shift, 256) + each * (2 + with_part),
            steps=1063 + 243 * points,
            barriers=10,
        ),
        "activity_table": Path(M, 4, 6, 195, 2),
        "activity": Path(
            blocks=k / 8,
            resident=4,
            loads=4 + p + quads * (1 + rounds(groups)) + rounds(gains) + 1,
            steps=1000 + quads * (100 + 13 * groups) + powers * 10 * gains,
            barriers=2,
        ),
        "select_candidates": Path(1, 1, 4 + 2 * ceil(k / 512), 850 + 200 * ceil(k / 512), 14, warps=16),
        "gather": Path(
            blocks=a * (2 if known else 1),
            resident=4,
            loads=(3 if identity else 6) + halves * gathered + (3 if not known else 0),
            steps=300 + halves * (20 * ceil(N * t / 256) + 9 * 3 * t + (200 if identity else 9 * N)) + 200 * halves,
            barriers=4 * halves + (9 if not known else 0),
        ),
        "beam_network_tensor": Path(a, 2 if prior == "cdl-tiny" else 1, 6, 5940 if prior == "cdl" else 4100, 18),
        "beam_network": Path(a, 2, 285, 5500, 18, products=12500),
        "update": Path(
            a + ceil(N * t * M / 1024), 4, 4 + summed + 2 * ceil(p * M / 512), 250 + 25 * ceil(a / 8) + 200, 14
        ),
    }


def detection_us(k: int, t: int, prior: str, iterations: int, screens: int, a: int, network: str) -> float:
    """A detection of known power, as a graph with a loop: its kernels, and what is around them."""
    paths = kernels(k, t, a, prior, known=True)
    each = ["residual", "observe", "select_candidates", "gather", "update"]
    if prior != "gaussian":
        each.append("beam_network" if network == "fp32" else "beam_network_tensor")
    bodies = sum(paths[name].body_us for name in each)
    screened = sum(paths[name].body_us for name in SCREENING)
    count = len(each) + len(SCREENING)
    # Before and after the loop: two kernels and three, of which one is a residual.
    once = LAUNCH_US + 5 * OVERLAPPED_US + 4 * 3.0 + paths["residual"].body_us
    return iterations * (TURN_US + count * OVERLAPPED_US + bodies) + screens * screened + once


def batched_us(k: int, t: int, prior: str, iterations: int, screens: int, a: int) -> float:
    """The same a received block of many at once."""
    paths = kernels(k, t, a, prior, known=True)
    each = ["residual", "observe", "select_candidates", "gather", "update"]
    if prior != "gaussian":
        each.append("beam_network_tensor")
    return iterations * sum(paths[n].share_us for n in each) + screens * sum(paths[n].share_us for n in SCREENING)
