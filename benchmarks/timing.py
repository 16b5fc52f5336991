"""What all benchmarks share: the timer, the hardware that they were measured on, rates of it, and reports."""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Iterable
from pathlib import Path

from jadce_fast.campaigns.latency import measure, percentiles

__all__ = ["bandwidth_gb_s", "hardware", "measure", "peak_gflop_s", "percentiles", "report"]


def hardware() -> str:
    """Processor and the number of cores this process may use."""
    name = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [line.split(":", 1)[1].strip() for line in cpuinfo.read_text().splitlines() if "model name" in line]
        name = names[0] if names else name
    return f"{name}, {len(os.sched_getaffinity(0))} cores"


def bandwidth_gb_s(threads: int = 1) -> float:
    """Copy bandwidth between arrays far larger than the caches, bytes read plus bytes written."""
    import torch

    torch.set_num_threads(threads)
    source, target = torch.ones(1 << 26), torch.empty(1 << 26)
    return 2 * source.nbytes / measure(lambda: target.copy_(source), seconds=1.0)["p50_ms"] / 1e6


def peak_gflop_s(threads: int = 1, dtype: str = "float32") -> float:
    """Rate of a large matrix product, the practical peak of this machine; `dtype` as torch calls it."""
    import torch

    torch.set_num_threads(threads)
    a = torch.randn(2048, 2048).to(getattr(torch, dtype))
    return 2 * 2048**3 / measure(lambda: a @ a, seconds=1.0)["p50_ms"] / 1e6


def report(name: str, rows: Iterable[dict[str, object]]) -> None:
    """Print rows as a table, and append them with hardware and date to the file named by JADCE_BENCH_JSON, if set.

    Rows may still have to be measured: when that is interrupted or fails, those that are there are kept.
    """
    done: list[dict[str, object]] = []
    try:
        for row in rows:
            done.append(row)
    finally:
        if done:
            _print(name, done)
            _store(name, done)


def _print(name: str, rows: list[dict[str, object]]) -> None:
    print(f"\n{name} ({hardware()}, {time.strftime('%Y-%m-%d')})")
    columns = list(dict.fromkeys(key for row in rows for key in row))
    cells = [[_cell(row.get(c, "")) for c in columns] for row in rows]
    widths = [max(len(c), *(len(r[i]) for r in cells)) for i, c in enumerate(columns)]
    for line in [columns, *cells]:
        print("  ".join(text.ljust(w) for text, w in zip(line, widths, strict=True)))


def _store(name: str, rows: list[dict[str, object]]) -> None:
    target = os.environ.get("JADCE_BENCH_JSON")
    if target:
        path = Path(target)
        everything = json.loads(path.read_text()) if path.exists() else {}
        everything[name] = {"hardware": hardware(), "date": time.strftime("%Y-%m-%d"), "rows": rows}
        part = path.with_suffix(".part")
        part.write_text(json.dumps(everything, indent=1) + "\n")
        os.replace(part, path)


def _cell(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
