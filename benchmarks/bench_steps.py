"""Time of a detection, part by part of the loop."""

from __future__ import annotations

import numpy as np
from timing import report

import jadce_fast as jf
from jadce_fast.campaigns.ofdm_drop import Scenario, draw_drop

RUNS = 100


def main() -> None:
    drop = draw_drop(Scenario(), seed=1)
    rows = []
    for prior in ("cdl", "cdl-tiny", "gaussian"):
        rx = jf.Receiver(drop.pilots, 32, prior, 0.05, 1.0)
        found = rx.detect(drop.y, drop.noise_var)
        runs = []
        for _ in range(RUNS):
            rx.detect(drop.y, drop.noise_var)
            runs.append(rx.seconds())
        for part in runs[0]:
            p50 = float(np.median([1e3 * run[part] for run in runs]))
            rows.append({"prior": prior, "iterations": found.iterations, "part": part, "p50 ms": p50})
    report(f"Parts of a detection, K=800, T=20, {len(drop.active)} active, power known", rows)


if __name__ == "__main__":
    main()
