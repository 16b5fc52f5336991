"""Where a detection's time goes: the native steps of one receiver, called as the receiver calls them."""

from __future__ import annotations

import time

import numpy as np
from timing import report

import jadce_fast as jf
from jadce_fast.campaigns.drop import Scenario, draw_drop

STEPS = ("start", "observe", "screen", "gather", "network", "gaussian", "update", "decide", "channels")


class Timed:
    """Passes calls on to the native receiver and keeps their times."""

    def __init__(self, native):
        self.native, self.times = native, {}

    def __getattr__(self, name):
        value = getattr(self.native, name)
        if name not in STEPS:
            return value

        def call(*arguments):
            begin = time.perf_counter()
            result = value(*arguments)
            self.times.setdefault(name, []).append(1e3 * (time.perf_counter() - begin))
            return result

        return call


def main() -> None:
    drop = draw_drop(Scenario(), seed=1)
    rows = []
    for prior in ("cdl", "cdl-tiny", "gaussian"):
        rx = jf.Receiver(drop.pilots, 32, prior, 0.05, 1.0)
        rx.detect(drop.y, drop.noise_var)
        rx._native = Timed(rx._native)
        runs = 100
        for _ in range(runs):
            rx.detect(drop.y, drop.noise_var)
        for name in STEPS:
            if name in rx._native.times:
                times = rx._native.times[name]
                rows.append(
                    {"prior": prior, "step": name, "calls": len(times) // runs, "p50 ms": float(np.median(times))}
                )
    report(f"Steps of a detection, K=800, T=20, {len(drop.active)} active, power known", rows)


if __name__ == "__main__":
    main()
