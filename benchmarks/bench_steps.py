"""Time of a detection, part by part of the loop, beside the rate of a large matrix product in the same run."""

from __future__ import annotations

import math

import numpy as np
from timing import peak_gflop_s, report

import jadce_fast as jf
from jadce_fast.campaigns.ofdm_drop import Scenario, draw_drop

RUNS = 100
CASES = (("cdl", "bf16"), ("cdl", "fp32"), ("cdl-tiny", "bf16"), ("cdl-tiny", "fp32"), ("gaussian", "auto"))


def flops(rx: jf.Receiver, found: jf.Detection) -> dict[str, float]:
    """Floating-point operations of the parts, counted by hand from the loops; eight a complex multiply-add."""
    (t, n), m, k = rx.pilots.rows.shape, rx.antennas, rx.pilots.devices
    p, errors = len(rx.prior.eigenvalues), [step["error_var"] for step in found.history]
    candidates = sum(step["candidates"] for step in found.history)
    tests = 1  # of activity: the power is known and the first one leaves nobody in doubt
    basis = 8 * n * m * (1 if rx.prior.closed_form else p)  # the Gaussian prior's is the identity
    device = 8 * n * t * m + basis  # through the pilots and the basis
    spectrum = t * basis + m * p * (5 * k * math.log2(k) + 3 * k)
    network = getattr(rx.prior, "network", None)
    return {
        "start": 8.0 * n * t * m * m,
        "module_a": (candidates - found.history[-1]["candidates"]) * device + 10.0 * len(errors) * n * t * m,
        "activity": tests * spectrum,
        "gather": candidates * device,
        "denoise": 2.0 * candidates * (network.multiplications(m) if network else 2 * n * m),
        "update": 8.0 * candidates * p * m + 6.0 * len(errors) * n * t * m,
        "decide": len(found.active) * device + 10.0 * n * t * m,
    }


def main() -> None:
    drop = draw_drop(Scenario(), seed=1)
    threads = jf.ops.default_threads()
    peak = {name: peak_gflop_s(threads, name) for name in ("float32", "bfloat16")}
    print("matrix product: " + ", ".join(f"{rate:.0f} Gflop/s in {name}" for name, rate in peak.items()))
    rows = []
    for prior, network in CASES:
        rx = jf.Receiver(drop.pilots, 32, prior, 0.05, 1.0, network=network)
        found = rx.detect(drop.y, drop.noise_var)
        runs = []
        for _ in range(RUNS):
            rx.detect(drop.y, drop.noise_var)
            runs.append(rx.seconds())
        for part, count in flops(rx, found).items():
            seconds = float(np.median([run[part] for run in runs]))
            kind = "bfloat16" if part == "denoise" and rx.network == "bf16" else "float32"
            row = {"prior": prior, "network": rx.network or "", "iterations": found.iterations, "part": part}
            row |= {"p50 ms": 1e3 * seconds, "Mflop": count / 1e6, "Gflop/s": count / seconds / 1e9}
            rows.append(row | {"of a product": count / seconds / 1e9 / peak[kind]})
    report(f"Parts of a detection, K=800, T=20, {len(drop.active)} active, power known", rows)


if __name__ == "__main__":
    main()
