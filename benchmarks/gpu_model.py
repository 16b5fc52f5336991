"""Times of a detection's kernels on an H100, derived from their loops, and of other designs of the loop.

A kernel takes its start and as many waves as its thread blocks need places. A wave takes as long as its slowest warp:
loads from the second-level cache that wait for one another, instructions, barriers. Counts, a `Path` a kernel, are made
by hand from the loops of csrc/kernels, instructions as the profiler found them. What a block has read before, and the
rest of a Control that it has read from, costs an instruction only.

`python benchmarks/gpu_model.py` prints the tables of docs/gpu.md. `tests/test_gpu_model.py` holds the model to the
times that were measured (benchmarks/results/gpu-h100-2026-11-27.json).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import ceil
from typing import Any

# NVIDIA H100 80GB HBM3, 2026-11-27. Measured by benchmarks/gpu_boundaries.cu, microseconds:
START_US = 1.05  # a kernel after another one in a graph
OVERLAPPED_US = 0.79  # the same with programmatic launch
TURN_US = 3.7  # a turn of a graph's loop, beside its kernels
LAUNCH_US = 8.0  # a graph, beside its kernels
PHASE_US = 1.03  # a barrier of all thread blocks of a kernel
# By the profiler: cycles a microsecond, as found; cycles from an instruction of a warp to its next one where it waits
# neither for memory nor at a barrier, the median of all kernels.
CLOCK, STEP = 1980.0, 5.2
BARRIER, PRODUCT = 40, 2.0  # cycles; PRODUCT: an instruction of unrolled sums of products. Assumed
# A load that waits for the one before, fitted to all kernels together. An idle cache takes 0.14 us (273 cycles, by
# arXiv 2402.13499), 0.25 us are measured where all multiprocessors read at once (gpu_boundaries.cu).
LOAD_US = 0.22
READ = 4500.0  # kB a microsecond from the second-level cache, where all multiprocessors read (gpu_boundaries.cu)
PROCESSORS, SCHEDULERS = 132, 4

N, M, P, GAINS = 48, 32, 12, 12  # subcarriers, antennas; coefficients and gains of `cdl`
ALWAYS = ("residual", "module_a", "select_candidates", "gather", "update")
SCREENING = ("spectral", "activity_table", "activity")  # kernels that do nothing in the other iterations
ROUNDS = 2  # a turn of the graph's loop, now
SMALL_US = 3.0  # a kernel outside the loop, four beside a residual; assumed
# Detections of known power that were measured: K, T, prior, iterations, those of them that screen all devices,
# candidates.
DETECTIONS = (
    *((800, 20, "cdl", 7, 3, 45), (800, 20, "cdl-tiny", 8, 3, 45), (800, 20, "gaussian", 5, 2, 45)),
    *((3000, 40, "cdl", 10, 4, 165), (3000, 40, "cdl-tiny", 10, 4, 165), (3000, 40, "gaussian", 4, 2, 165)),
)


@dataclass(frozen=True)
class Path:
    """A kernel: its thread blocks that have work, those of a multiprocessor at a time, and the slowest warp of one."""

    blocks: float
    resident: int
    loads: float  # that wait for one another
    steps: float  # instructions
    barriers: float
    products: float = 0  # instructions of unrolled sums of products
    warps: int = 8
    most: int = 1  # blocks' work that one does at a time where there is more than all places hold
    again: float = 1  # instructions of each further one's, of the first one's
    waits: float = 0  # and loads that wait, beside the first one's
    read: float = 0  # kB that a block reads, one's work or more, where that can be the limit
    many: Path | None = None  # its other form where many blocks are received

    def wave_us(self, work: int = 1) -> float:
        """Time of one wave, with the work of so many blocks in each."""
        steps = self.steps * (1 + self.again * (work - 1))
        cycles = steps * STEP + self.products * PRODUCT + self.barriers * BARRIER
        together = min(self.resident, ceil(self.blocks / PROCESSORS))
        issued = together * self.warps * (steps + self.products) / SCHEDULERS
        return max((self.loads + self.waits * (work - 1)) * LOAD_US + cycles / CLOCK, issued / CLOCK)

    @property
    def body_us(self) -> float:
        """Time without the start."""
        places = PROCESSORS * self.resident
        work = min(self.most, ceil(self.blocks / places))
        return ceil(self.blocks / (places * work)) * self.wave_us(work)

    @property
    def share_us(self) -> float:
        """Time of all multiprocessors that it takes where there are always more thread blocks."""
        if self.many is not None:
            return self.many.share_us
        each = max(self.wave_us(self.most) / (PROCESSORS * self.resident), self.read / READ)
        return self.blocks * each / self.most


def waits(count: float, threads: int = 1, together: int = 4) -> int:
    """Waits of a loop over `count` that threads share. Nvcc has `together` loads in flight, and of the rest one."""
    each = ceil(count / threads)
    return each // together + each % together


def groups(count: float, threads: int = 1, together: int = 4) -> int:
    """Waits of the same loop where the rest is in flight as well."""
    return ceil(ceil(count / threads) / together)


def measured(k: int, t: int, a: int, prior: str = "cdl", *, known: bool = True) -> dict[str, Path]:
    """The kernels that were measured (commit 1f62e0b), for K devices, T symbols, A candidates.

    prior: "cdl", "cdl-tiny", or "gaussian", whose N coefficients need no basis. known: all devices have unit power.
    """
    identity, tiny = prior == "gaussian", prior == "cdl-tiny"
    p, gains, sums = (N, 1, 4) if identity else (P, GAINS, P)  # sums of energies that a likelihood takes
    powers, halves = (1, 1) if known else (10, 2)
    quads = ceil(powers / 4) if identity else (3 if known else 6)
    shift = 2 if identity and k < 2000 else 0
    each = ceil((k << shift) / 256)
    with_part = min(1.0, 32 * a / (k << shift))  # turns of a warp in which a device has a part of S
    chunks, now, turns = ceil(a / 64), min(a, 64), ceil(t / 32)
    energies = p if not identity else sums * waits(P)  # waits: sums are made as they are needed
    correlations = 3 * (t // 8 + ceil(t % 8 / 4))  # of a beam's subcarriers, by 16 rows of threads
    return {
        "residual": Path(
            blocks=2 * N,
            resident=2,
            loads=2 + chunks * (ceil(now / 32) * (1 if identity else waits(p)) + turns * (1 + 3 * ceil(now / 16))),
            steps=230 + chunks * (110 * ceil(now / 32) * (not identity) + turns * (40 * ceil(now / 16) + 7 * now)),
            barriers=2 * chunks + 1,
            warps=16,
        ),
        "module_a": Path(ceil(N * t * M / 1024), 4, 3 + waits(N, 8), 660 + 8 * M, 5),
        "spectral": Path(
            blocks=p * M / (1 << shift),
            resident=2,
            loads=1 + 2 * waits(k, 256) + 2 * waits(N * t << shift, 256) + each * (2 + with_part),
            steps=1063 + 243 * (k << shift) / 256,
            barriers=10,
        ),
        "activity_table": Path(M, 4, 6, 195, 2),
        "activity": Path(
            blocks=k / 8,
            resident=4,
            loads=5 + energies + quads * (1 + waits(sums)) + waits(gains),
            steps=1000 + quads * (100 + 13 * sums) + 10 * powers * gains,
            barriers=2,
        ),
        "select_candidates": Path(1, 1, 4 + 2 * ceil(k / 512), 850 + 200 * ceil(k / 512), 14, warps=16),
        "gather": Path(
            blocks=a * (2 if known else 1),
            resident=4,
            loads=(3 if identity else 6) + halves * (2 * waits(N * t, 256, 1) + correlations + (3 if identity else 1)),
            steps=300 + halves * (200 + 20 * ceil(N * t / 256) + 27 * t + (200 if identity else 9 * N)),
            barriers=4 * halves + (not known) * 9,
            read=halves * N * t * 16 * 8 / 1000,
        ),
        "beam_network_tensor": Path(a, 2 if tiny else 1, 6, 4100 if tiny else 5940, 18),
        "beam_network": Path(a, 2, 285, 5500, 18, products=12500),
        "update": Path(
            a + ceil(N * t * M / 1024), 4, 4 + waits(a, 8) + 2 * ceil(p * M / 512), 450 + 25 * ceil(a / 8), 14
        ),
    }


def present(k: int, t: int, a: int, prior: str = "cdl", *, known: bool = True) -> dict[str, Path]:
    """The kernels as they are now; none of them has been measured."""
    before = measured(k, t, a, prior, known=known)
    identity, tiny = prior == "gaussian", prior == "cdl-tiny"
    p, sums = (N, 4) if identity else (P, P)
    chunks, now, even = ceil(a / 64), min(a, 64), 2 * ceil(t / 2)
    shift = 2 if identity and k < 2000 else 0
    each, halves = ceil((k << shift) / 256), 1 if known else 2
    quads = ceil((1 if known else 10) / 4) if identity else (3 if known else 6)
    shared = (16 * (k << shift) + 12 * k) / 1024  # kB of a block's buffers and tables

    def of_residual(rows: int) -> dict[str, Any]:
        """Loads and instructions where so many rows of threads take two devices at a time each, then symbols."""
        pairs, turns = ceil(now / (2 * rows)), ceil(t / rows)
        projection = pairs * (1 if identity else groups(p, together=4))
        products = turns * (40 * ceil(now / 16) + 5 * now)
        return {
            "resident": 64 // rows,  # 64 registers a thread
            "warps": rows // 2,
            "loads": 2 + chunks * (projection + turns * 2),
            "steps": 230 + chunks * (180 * pairs * (not identity) + products),
        }

    new = {
        "residual": of_residual(max(32, even) if even <= 64 else 32),
        "module_a": {"loads": 3 + groups(N, 8), "steps": 660 + 50},
        "spectral": {
            "resident": min(3, int(227 / shared)),
            "loads": 1 + 2 * groups(k, 256) + 2 * groups(N * t << shift, 256) + 2 * groups(each),
        },
        "activity": {
            "loads": 5
            + (sums * waits(P) if identity else groups(p, together=6))
            + (quads + groups(M * quads * sums, 256) if k < 2000 or known else quads * (1 + waits(sums)))
        },
        # A product and a sum are four instructions, once six. Candidates that are gathered together read R once.
        "gather": {
            "resident": 3,
            "loads": 3 + (not identity) + halves * (2 * groups(N * t, 256) + groups(t)) + (0 if known else 3),
            "most": 4 if t <= 20 else 2,
            "steps": before["gather"].steps - 2 * halves * (3 * t + N * (not identity)),
            "again": (100 + halves * (20 * ceil(N * t / 256) + 14 * t + 5 * N * (not identity)))
            / before["gather"].steps,
            "waits": 1 + halves * (3 * groups(t, together=8) - groups(t)) / (3 if t <= 20 else 1),
        },
        # Sixteen warps share what eight did; the slowest one is taken to have a fifth more than its share. By the
        # machine code, candidates that are worked on together share the ways to the layers and the tiles of `mix`,
        # which one alone has for half of the warps.
        "beam_network_tensor": {
            "resident": 1,
            "steps": 0.6 * before["beam_network_tensor"].steps,
            "warps": 16,
            "most": 4 if tiny else 2,
            "again": 0.5 if tiny else 0.4,
        },
        # Four sums over the warps without a loop.
        "select_candidates": {"steps": before["select_candidates"].steps - 4 * 90},
        "update": {"loads": 3 + groups(a, 8) + groups(p * M, 512, 1), "barriers": 6},
    }
    found = before | {name: replace(before[name], **fields) for name, fields in new.items()}
    # Where many blocks are received no rows of `residual` are without a symbol.
    rows = min(32, even)
    many = replace(found["residual"], **of_residual(rows))
    found["residual"] = replace(found["residual"], many=many)
    return found


def colored(t: int, a: int) -> dict[str, Path]:
    """Kernels in the place of `module_a` where noise is not white; pilots of one power. None has been measured."""
    turns, row = ceil(t / 8), groups(M, together=8)
    return {
        "whiten": Path(N, 8, 1 + turns * row, 300 + turns * 12 * M, 5),
        "noise_mixing": Path(M, 4, 3 + groups(N, 8) + row + 2 * ceil(N / 8), 300 + 4 * M + 250 * ceil(N / 8), 10),
        # A step waits for shared memory twice, and divides in double precision.
        "noise_invert": Path(1, 1, 4 + groups(a, 8), 800 + M * (14 * ceil(M / 8) * ceil(M / 32) + 70), 2 * M + 12),
        "noise_message": Path(N, 4, 2 + turns * (2 + row), 100 + turns * (60 + 10 * M), 0),
    }


CLUSTER_US = 0.62  # a barrier of eight thread blocks; measured by an earlier form of gpu_boundaries.cu
LOCAL = 25 / CLOCK  # a shuffle or a load from shared memory that the next instruction waits for, us; assumed


def langevin_us(m: int, n: int, chains: int, blocks: int, steps: int = 121, components: int = 56) -> float:
    """The sampler's one kernel, clusters of eight thread blocks a chain (csrc/kernels/langevin/langevin.cu).

    A step: columns' energies and gains, the barrier of the cluster, or the products with noise and its draws if they
    take longer, and the products with the denoised columns.
    """
    cluster, warps, resident = 8, 8, 2  # registers allow two thread blocks a multiprocessor
    columns = ceil(ceil(n / cluster) / warps)
    tile = min(32, 1 << (m - 1).bit_length())
    terms = ceil(m / tile) * ceil(n * tile / 32)  # of a lane, for one column
    # Trees of five shuffles: energy, largest exponent, two sums; exponentials, and eight stores to the cluster.
    gains = columns * ((20 + 2) * LOCAL + (100 + 30 * ceil(components / 32) + 40 * ceil(m / 32)) * STEP / CLOCK)
    product = columns * ((7 * terms * PRODUCT + 60 * STEP) / CLOCK + 4 * LOCAL)
    draws = ceil(ceil(n / 2) * m / (cluster * 32 * warps)) * 220 * STEP / CLOCK
    step = gains + max(CLUSTER_US, product / 2 + draws) + product
    waves = ceil(chains * blocks * cluster / (PROCESSORS * resident))
    return waves * steps * step


def in_loop(prior: str, network: str = "auto") -> list[str]:
    """Kernels that have work in every iteration."""
    if prior == "gaussian":
        return list(ALWAYS)
    return [*ALWAYS, "beam_network" if network == "fp32" else "beam_network_tensor"]


# `select_candidates` where no activity is tested: it finds places for the candidates. Assumed.
ASSIGN = Path(1, 1, 4, 350, 8, warps=16)


def between_us(paths: dict[str, Path], prior: str, iterations: int, screens: int, network: str = "auto") -> float:
    """What a detection's kernels in the loop take, without what is between them."""
    often, select = in_loop(prior, network), paths["select_candidates"].body_us
    each = sum(paths[name].body_us for name in often) - select + ASSIGN.body_us
    return iterations * each + screens * (select - ASSIGN.body_us + sum(paths[name].body_us for name in SCREENING))


def boundaries_us(kernels: int, iterations: int, rounds: int) -> tuple[int, float]:
    """Boundaries in a graph's loop of so many rounds a turn, and their time."""
    turns = ceil(iterations / rounds)
    return turns * rounds * kernels, turns * (TURN_US + rounds * kernels * OVERLAPPED_US)


def detection_us(
    paths: dict[str, Path], prior: str, iterations: int, screens: int, network: str = "auto", *, rounds: int = 1
) -> float:
    """A detection by a graph with a loop."""
    once = LAUNCH_US + 5 * OVERLAPPED_US + 4 * SMALL_US + paths["residual"].body_us
    between = between_us(paths, prior, iterations, screens, network)
    return once + between + boundaries_us(len(in_loop(prior, network)) + len(SCREENING), iterations, rounds)[1]


def batched_us(paths: dict[str, Path], prior: str, iterations: int, screens: int) -> float:
    """The same a received block of many at once."""
    return iterations * sum(paths[name].share_us for name in in_loop(prior)) + screens * sum(
        paths[name].share_us for name in SCREENING
    )


def designs(
    paths: dict[str, Path], prior: str, iterations: int, screens: int, most: int
) -> dict[str, tuple[int, float, float]]:
    """Other designs with the same arithmetic: boundaries of a detection, their time, and that of what is between.

    Merged: the residual and the update of S are one step, the message is formed by who reads it, and a candidate's
    statistics, network and output are one step: two in every iteration, four more where all devices are screened.
    """
    always, steps = in_loop(prior), len(in_loop(prior)) + len(SCREENING)
    now = between_us(paths, prior, iterations, screens)
    merged = now - iterations * (paths["module_a"].body_us - 2 * LOAD_US)
    # A persistent kernel has its Control in registers and R, y, pilots and basis in shared memory: `residual` and
    # `gather` wait for the cache four times each, the others not for a Control and a count.
    fewer = paths["residual"].loads + paths["gather"].loads - 8 + 2 * (len(always) - 3)
    kept = merged - LOAD_US * (iterations * fewer + screens * 2 * len(SCREENING))
    phases = 2 * iterations + 4 * screens
    return {
        "a loop of kernels": (*boundaries_us(steps, iterations, 1), now),
        "a loop of two rounds of them, as it is": (*boundaries_us(steps, iterations, ROUNDS), now),
        "straight, six merged kernels, all rounds": (6 * most, 6 * most * OVERLAPPED_US, merged),
        "a loop of four rounds of these": (*boundaries_us(6, iterations, 4), merged),
        "one persistent kernel": (phases, phases * PHASE_US, kept),
    }


def main() -> None:
    print("| kernel, K=800, µs | measured form | now | a detection gains | a block of many, measured form | now |")
    print("|---" * 6 + "|")
    for prior in ("cdl", "gaussian"):
        k, t, _, iterations, screens, a = next(d for d in DETECTIONS if d[2] == prior)
        before, after = measured(k, t, a, prior), present(k, t, a, prior)
        for name in [*in_loop(prior), *SCREENING]:
            old, new = before[name].body_us, after[name].body_us
            times = iterations if name in in_loop(prior) else screens
            many = " | ".join(f"{times * paths[name].share_us:.1f}" for paths in (before, after))
            print(f"| `{prior}`, `{name}` | {old:.1f} | {new:.1f} | {times * (old - new):.0f} | {many} |")
    print("\n| K | T | prior | measured form, ms | now | one test | of many blocks, measured form | now | one test |")
    print("|---" * 9 + "|")
    for k, t, prior, iterations, screens, a in DETECTIONS:
        before, after = measured(k, t, a, prior), present(k, t, a, prior)
        alone, many = [], []
        for paths, rounds, tests in ((before, 1, screens), (after, ROUNDS, screens), (after, ROUNDS, 1)):
            alone.append(f"{detection_us(paths, prior, iterations, tests, rounds=rounds) / 1e3:.2f}")
            many.append(f"{batched_us(paths, prior, iterations, tests) / 1e3:.3f}")
        print(f"| {k} | {t} | `{prior}` | " + " | ".join((*alone, *many)) + " |")
    print("\n| kernel where noise is not white, K=800, T=20 | µs an iteration |\n|---|---|")
    for name, path in colored(20, 45).items():
        print(f"| `{name}` | {path.body_us:.1f} |")
    print("\n| Langevin, M | N | chains | blocks | kernel of 121 steps, ms |\n|" + "---|" * 5)
    for m, n, components, blocks in ((16, 64, 56, 1), (16, 64, 56, 32), (64, 64, 96, 1), (64, 64, 96, 32)):
        print(f"| {m} | {n} | 8 | {blocks} | {langevin_us(m, n, 8, blocks, components=components) / 1e3:.2f} |")
    print("\n| design, K=800 | prior | boundaries | their µs | between them, µs | together |\n|" + "---|" * 6)
    for prior in ("cdl", "gaussian"):
        k, t, _, iterations, screens, a = next(d for d in DETECTIONS if d[2] == prior)
        for name, (count, boundary, body) in designs(present(k, t, a, prior), prior, iterations, screens, 24).items():
            print(f"| {name} | `{prior}` | {count} | {boundary:.0f} | {body:.0f} | {boundary + body:.0f} |")


if __name__ == "__main__":
    main()
