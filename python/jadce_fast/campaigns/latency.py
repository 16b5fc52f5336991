"""How long a detection takes on this machine, for ``jadce bench`` and the benchmarks."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from .. import _check
from ..metrics import score
from ..receiver import Receiver
from .ofdm_drop import Scenario, draw_drop


def measure(call: Callable[[], object], *, seconds: float = 2.0, least: int = 10) -> dict[str, float]:
    """Time `call` for about `seconds` after a warm-up; milliseconds."""
    for _ in range(3):
        call()
    times: list[float] = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(times) < least:
        start = time.perf_counter()
        call()
        times.append(1e3 * (time.perf_counter() - start))
    return percentiles(times)


def percentiles(times: Sequence[float]) -> dict[str, float]:
    """Median, 99th and 99.9th percentile, maximum and number of runs."""
    found = dict(zip(("p50_ms", "p99_ms", "p99.9_ms"), map(float, np.percentile(times, [50, 99, 99.9])), strict=True))
    return found | {"max_ms": float(max(times)), "runs": len(times)}


def latencies(
    scenario: Scenario,
    priors: Sequence[str],
    *,
    device: str = "cpu",
    threads: int | None = None,
    seconds: float = 2.0,
    seed: int = 0,
) -> Iterator[dict[str, Any]]:
    """Time whole detections in one drop, planned, with known and with unknown powers.

    The answer is checked before it is timed.

    Parameters
    ----------
    scenario : Scenario
    priors : sequence of str
    device, threads
        As of :class:`jadce_fast.Receiver`.
    seconds : float
        Measuring time of each line.
    seed : int

    Yields
    ------
    dict
        `prior`, `power` ("known" or "unknown"), `network`, `nmse_db`, `iterations`, and what `measure` returns.

    Raises
    ------
    ValueError, TypeError
        As of `Receiver`; if a detection is not right, which a drop of too few symbols makes.
    """
    _check.real("seconds", seconds)
    drop = draw_drop(scenario, seed)
    for prior in priors:
        for power in ("known", "unknown"):
            level: Any = 1.0 if power == "known" else "unknown"
            rx = Receiver(
                drop.pilots, scenario.antennas, prior, scenario.activity_rate, level, device=device, threads=threads
            )
            out = rx.detect(drop.y, drop.noise_var)
            found = score(out, drop.active, drop.channels)
            if not out.trusted or found.missed + found.false_alarms:
                wrong = f"{found.missed} missed and {found.false_alarms} false with prior {prior}, power {power}"
                raise ValueError(f"scenario: expected a drop that is detected without an error, found {wrong}")
            line = {"prior": prior, "power": power, "network": rx.network or "", "nmse_db": found.nmse_db}
            line |= {"iterations": out.iterations}
            yield line | measure(lambda rx=rx: rx.detect(drop.y, drop.noise_var), seconds=seconds)  # type: ignore[misc]
