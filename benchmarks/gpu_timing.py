"""Timers of the GPU benchmarks: events on the device, graphs, cold caches, and the limits measured in the same run."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch
from timing import percentiles

REPEATS = 20  # calls in a graph
_FLUSH = 1 << 28  # bytes, more than any second-level cache


def events(
    call: Callable[[], Any],
    runs: int = 1000,
    *,
    cold: bool = False,
    before: Callable[[], Any] | None = None,
    seconds: float = 1.5,
    least: int = 50,
) -> dict[str, float]:
    """Device milliseconds of `call` from an event before to one after it; `cold`: with nothing in the caches.

    `before` is called before every run. After `seconds` only what is missing to `least` runs is made.
    """
    junk = torch.empty(_FLUSH, dtype=torch.uint8, device="cuda") if cold else None
    end_by = time.perf_counter() + seconds
    for _ in range(20):
        call()
        torch.cuda.synchronize()
        if time.perf_counter() > end_by:
            break
    times: list[float] = []
    while len(times) < runs and (len(times) < least or time.perf_counter() < end_by):
        if before is not None:
            before()
        if junk is not None:
            junk.zero_()
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        call()
        end.record()
        end.synchronize()
        times.append(start.elapsed_time(end))
    return percentiles(times)


def graph_ms(
    calls: list[Callable[[int], Any]], before: Callable[[], Any] | None = None, *, seconds: float = 0.3
) -> dict[str, float]:
    """Milliseconds of all calls, functions of a stream, one after another in a graph that holds them REPEATS times.

    `before` is called before every replay. Calls that would not be done often in `seconds` are held less often.
    """
    graph = torch.cuda.CUDAGraph()

    def all_of_them() -> None:
        for call in calls:
            call(torch.cuda.current_stream().cuda_stream)

    once = events(all_of_them, 3, before=before, least=3, seconds=seconds)["p50_ms"]
    repeats = max(1, min(REPEATS, int(1e3 * seconds / 30 / once)))
    if before is not None:
        before()
    with torch.cuda.graph(graph):
        for _ in range(repeats):
            all_of_them()
    time = events(graph.replay, 200, before=before, least=10, seconds=seconds)
    return {name: value if name == "runs" else value / repeats for name, value in time.items()}


def limits() -> dict[str, float]:
    """Copy bandwidth in GB/s (read plus written), and rates of large matrix products in Tflop/s."""
    a, b = (torch.empty(1 << 28, dtype=torch.uint8, device="cuda") for _ in range(2))
    found = {"copy GB/s": 2 * a.nbytes / events(lambda: b.copy_(a), 50)["p50_ms"] / 1e6}
    size = 8192
    torch.backends.cuda.matmul.allow_tf32 = False
    for name, dtype in (("single Tflop/s", torch.float32), ("bfloat16 Tflop/s", torch.bfloat16)):
        x = torch.randn(size, size, device="cuda", dtype=dtype)
        found[name] = 2 * size**3 / events(lambda x=x: x @ x, 20)["p50_ms"] / 1e9
    return found
