"""Time of a detection, part by part of the loop, beside the rate of a large matrix product in the same run."""

from __future__ import annotations

import math

import numpy as np
from timing import peak_gflop_s, report

import jadce_fast as jf
from jadce_fast.campaigns.ofdm_drop import Scenario, draw_drop

RUNS = 60
MERGED = 12
LEVELS = range(-18, 12, 3)  # dB, of a power that is not known
EXPONENTIAL, LOGARITHM = 16, 24  # flops of one
DEFAULT = "cdl-tiny+cdl-large"
CASES = (
    *((DEFAULT, power, "bf16") for power in (1.0, "unknown")),
    *((prior, 1.0, network) for prior in ("cdl", "cdl-tiny") for network in ("bf16", "fp32")),
    ("gaussian", 1.0, "auto"),
)


def flops(rx: jf.Receiver, found: jf.Detection) -> dict[str, float]:
    """Floating-point operations of the parts, counted by hand from the loops; eight a complex multiply-add."""
    (t, n), m, k = rx.pilots.rows.shape, rx.antennas, rx.pilots.devices
    p, errors = len(rx.prior.eigenvalues), [step["error_var"] for step in found.history]
    candidates = sum(step["candidates"] for step in found.history)
    # Tests of activity: the first one leaves nobody in doubt; weaker powers than it looked for need another.
    tests, powers = (1, 1) if rx.power else (2, len(LEVELS))
    gains = len(rx.prior.beam_gain)
    flat = rx.prior.closed_form  # the basis is the identity, energies are summed over MERGED subcarriers
    groups = p // MERGED if flat else p
    likelihood = k * m * ((gains + powers - 1) * (2 * groups + EXPONENTIAL) + powers * (2 * gains + LOGARITHM))
    basis = 8 * n * m * (1 if flat else p)
    device = 8 * n * t * m + basis  # through the pilots and the basis
    products = 4 * n * m * t * (t - 1) if flat else t * basis  # of pairs of symbols, or with the basis
    spectrum = products + m * groups * (5 * k * math.log2(k) + 3 * k)
    return {
        "start": 8.0 * n * t * m * m,
        "module_a": (candidates - found.history[-1]["candidates"]) * device + 10.0 * len(errors) * n * t * m,
        "activity": tests * (spectrum + likelihood),
        "gather": candidates * device,
        "denoise": 2.0 * sum(denoiser(rx, found)),
        "update": 8.0 * candidates * p * m + 6.0 * len(errors) * n * t * m,
        "decide": len(found.active) * device + 10.0 * n * t * m,
        "channels": 8.0 * len(found.active) * n * m * (m + (1 if flat else p)),
    }


def denoiser(rx: jf.Receiver, found: jf.Detection) -> list[float]:
    """Multiplications of the denoiser in every iteration."""
    members, before, turn, done = getattr(rx.prior, "members", (rx.prior,)), math.inf, 0, []
    for step in found.history:
        if turn + 1 < len(members) and step["error_var"] > rx.rules.handover * before:
            turn += 1
        before = step["error_var"]
        network = getattr(members[turn], "network", None)
        one = network.multiplications(rx.antennas) if network else 2 * rx.pilots.subcarriers * rx.antennas
        done.append(step["candidates"] * one)
    return done


def main() -> None:
    drop = draw_drop(Scenario(), seed=1)
    threads = jf.ops.default_threads()
    peak = {name: peak_gflop_s(threads, name) for name in ("float32", "bfloat16")}
    print("matrix product: " + ", ".join(f"{rate:.0f} Gflop/s in {name}" for name, rate in peak.items()))
    rows = []
    for prior, power, network in CASES:
        rx = jf.Receiver(drop.pilots, 32, prior, 0.05, power, network=network)
        found = rx.detect(drop.y, drop.noise_var)
        runs = []
        for _ in range(RUNS):
            rx.detect(drop.y, drop.noise_var)
            runs.append(rx.seconds())
        for part, count in flops(rx, found).items():
            seconds = float(np.median([run[part] for run in runs]))
            kind = "bfloat16" if part == "denoise" and rx.network == "bf16" else "float32"
            row = {
                "prior": prior,
                "power": power,
                "network": rx.network or "",
                "iterations": found.iterations,
                "part": part,
            }
            row |= {"p50 ms": 1e3 * seconds, "Mflop": count / 1e6, "Gflop/s": count / seconds / 1e9}
            rows.append(row | {"of a product": count / seconds / 1e9 / peak[kind]})
    report(f"Parts of a detection, K=800, T=20, {len(drop.active)} active", rows)


if __name__ == "__main__":
    main()
