"""Every CUDA kernel of an iteration against its floor, in a graph, on a GPU. Says so and ends where there is none.

Data stay in the second-level cache between runs, as between the kernels of a detection.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from gpu_floors import OTHER_CHOICES, M, N, P, floor_us, kernels
from timing import report, summary

from jadce_fast import _core, _cuda, dft_pilots
from jadce_fast.prior import load_prior

REPEATS = 20  # launches in a graph


def launches(native: Any, device: str, k: int, t: int, a: int) -> dict[str, Callable[[int], None]]:
    """Kernels as functions of a stream: K devices, T symbols, A candidates, unknown power."""
    rng = np.random.default_rng(0)
    prior = load_prior("cdl")
    pilots = dft_pilots(k, t, N)
    held: list[torch.Tensor] = []

    def at(values: Any, dtype: Any = np.float32) -> int:
        """Address of a copy on the device."""
        held.append(torch.from_numpy(np.array(values, dtype)).to(device))
        return held[-1].data_ptr()

    def noise(*shape: int) -> int:
        return at(rng.standard_normal((*shape, 2)).view(np.complex128)[..., 0], np.complex64)

    rows, twiddle = _cuda.pilot_tables(pilots)
    order = pilots.rows.ravel()
    start = np.concatenate([[0], np.cumsum(np.bincount(order, minlength=k))])
    levels = 10 ** (np.arange(-18, 9.1, 3) / 10)
    pairs = np.outer(levels, prior.beam_gain)
    _, first, index = np.unique(np.round(1e4 * np.log10(pairs)).astype(int), return_index=True, return_inverse=True)
    product, u, g, j = pairs.ravel()[first], len(first), len(prior.beam_gain), len(levels)
    quads = -(-u // 4)
    network = prior.network
    layers = [network.inp, *(x for b in network.body for x in (b.depthwise, b.expand, b.mix)), network.out]
    packed = {
        suffix: np.concatenate(
            [
                getattr(native, f"pack_{'depthwise' if hasattr(x, 'dilation') else 'dense'}{suffix}")(
                    x.weight.detach().numpy(), x.bias.detach().numpy()
                )
                for x in layers
            ]
        )
        for suffix in ("", "_tensor")
    }
    blocks = network.body
    found = np.sort(rng.choice(k, a, replace=False))
    slot_of = np.full(k, -1)
    slot_of[found] = np.arange(a)
    y, big, r, seen = (noise(t, N, M) for _ in range(4))
    z, mean, s = (noise(a, P, M) for _ in range(3))
    v_a, eta, v_b, level = (at(np.full(max(M, 2), 0.5)) for _ in range(4))
    mean_v, support_counts, counts = at([0.5]), at([a, 0], np.int32), at([a, 0, k - a], np.int32)
    power, gram, noise_var = at(np.ones((N, M))), at(np.full((N, t), k)), at(np.full((a, M), 0.1))
    energy, llr, posterior = at(rng.exponential(size=(P, M, k))), at(np.full(k, -9.0)), at(np.zeros(k))
    quiet, device_list, chosen = at(np.ones(k), np.uint8), at(found, np.int32), at(np.ones(a))
    null, slope, offset = at(np.zeros((P, M))), at(np.zeros((M, quads, P, 4))), at(np.zeros((M, quads, 4)))
    powers, var, place = at(np.ones(a)), at(np.full((a, M), 0.1)), at(np.arange(a), np.int32)
    slot, support = at(slot_of, np.int32), at(found, np.int32)
    by_row = at(np.argsort(order, kind="stable"), np.int32), at(start, np.int32)
    q = (at(rows, np.int32), at(twiddle, np.complex64), 0, at(prior.basis, np.complex64))
    fft = tuple(at(table, np.complex64) for table in native.fft_tables(k))
    extrinsic, lam, ones = at(np.full((2, M), 0.1)), at(prior.eigenvalues), at(np.ones(P))
    sizes = (k, N, t, M, P)
    arguments: dict[str, tuple[Any, ...]] = {
        "residual": (y, gram, big, *q, s, support, support_counts, a, *sizes, r, power),
        "track": (power, gram, level, float(k), 1, 1, k, N, t, M, v_a, eta, v_b),
        "observe": (big, r, gram, level, v_a, eta, v_b, N, t, M, seen, mean_v),
        "spectral": (seen, by_row[1], by_row[0], 1.0, q[3], slot, s, *fft, k, N, M, P, 1, 0, energy),
        "activity_table": (energy, quiet, counts + 8, v_b, ones, lam, at(product), k, M, P, u, null, slope, offset),
        "activity": (
            *(energy, slope, offset, at(prior.beam_weight), at(np.full(j, -np.log(j))), at(index, np.int32), -3.0),
            *(k, M, P, u, g, j, llr, posterior, quiet),
        ),
        "select_candidates": (llr, posterior, quiet, -1.0, k, a, device_list, chosen, counts),
        "gather": (seen, *q, slot, s, device_list, counts, a, *sizes, z),
        "normalise": (v_b, mean_v, counts, a, 0, N, M, P, z, powers, noise_var),
        **{
            f"beam_network{suffix}": (
                *(z, noise_var, lam, at(weights, weights.dtype), at([b.depthwise.dilation for b in blocks], np.int32)),
                *(counts, 0, 1, a, N, M, P, network.inp.weight.shape[0], blocks[0].expand.weight.shape[0]),
                *(len(blocks), blocks[0].depthwise.weight.shape[1], 1, mean, var),
            )
            for suffix, weights in packed.items()
        },
        "extrinsic": (chosen, powers, var, v_b, counts, 1.3, 0.7, 0, k, M, extrinsic, extrinsic + 4 * M, v_a),
        "assign": (device_list, counts, a, slot, support, place, support_counts),
        "combine": (
            *(chosen, powers, mean, extrinsic, extrinsic + 4 * M, mean_v, place, a, 0.7, 0, M, P, slot, support, s),
        ),
        "damp": (seen, extrinsic + 4 * M, 0.7, N * t, M, big),
    }

    def launch(name: str) -> Callable[[int], None]:
        return lambda stream, held=held: getattr(native, f"cuda_{name}")(*arguments[name], stream)

    return {name: launch(name) for name in arguments}


def graph_us(calls: list[Callable[[int], None]]) -> dict[str, float]:
    """Milliseconds of all calls one after another, from replays of a graph that holds them REPEATS times."""
    graph = torch.cuda.CUDAGraph()
    for call in calls:
        call(torch.cuda.current_stream().cuda_stream)
    torch.cuda.synchronize()
    with torch.cuda.graph(graph):
        for _ in range(REPEATS):
            for call in calls:
                call(torch.cuda.current_stream().cuda_stream)
    times = []
    for _ in range(210):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        graph.replay()
        end.record()
        end.synchronize()
        times.append(start.elapsed_time(end) / REPEATS)
    return summary(times[10:])


def main() -> None:
    if not (torch.cuda.is_available() and _core.cuda_built):
        print("CUDA kernels: not measured, no GPU:", _core.cuda_devices()[1])
        return
    rows = []
    for k, t, a in ((800, 20, 47), (3000, 40, 164)):
        calls, floors = launches(_core, "cuda", k, t, a), kernels(k, t, a)
        for name, call in calls.items():
            time, floor = graph_us([call]), floor_us(*floors[name])
            us = {"p50 us": 1e3 * time["p50_ms"], "p99 us": 1e3 * time["p99_ms"], "H200 floor us": floor}
            rows.append({"K": k, "T": t, "kernel": name} | us)
        time = graph_us([call for name, call in calls.items() if name not in OTHER_CHOICES])
        rows.append({"K": k, "T": t, "kernel": "all"} | {f"{p} us": 1e3 * time[f"{p}_ms"] for p in ("p50", "p99")})
    report(f"CUDA kernels on {torch.cuda.get_device_name()}, in a graph", rows)


if __name__ == "__main__":
    main()
