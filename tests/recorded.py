"""Twenty detections whose results are kept in data/recorded.npz: ``python tests/recorded.py`` writes the file anew.

Blocks come from `problems` alone, so that a change of the package's own channels leaves them as they are.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from problems import SIZES, WienerPrior, complex_normal, problem

import jadce_fast as jf

FILE = Path(__file__).parent / "data" / "recorded.npz"
GRID = dict(subcarriers=48, antennas=32)  # of the shipped priors
# name: problem, prior, power, other options of the receiver
CASES = {
    "cdl": (dict(devices=800, symbols=20, active=40, seed=1), "cdl", 1.0, {}),
    "cdl-unknown": (dict(devices=800, symbols=20, active=40, seed=2), "cdl", "unknown", {}),
    "cdl-spread": (dict(devices=800, symbols=20, active=30, power_spread_db=20.0, seed=3), "cdl", "unknown", {}),
    "cdl-weak": (dict(devices=800, symbols=20, active=40, snr_db=-5.0, seed=4), "cdl", 1.0, {}),
    "cdl-qpsk": (dict(devices=400, symbols=20, active=20, pilots="qpsk", seed=5), "cdl", "unknown", {}),
    "cdl-prime": (dict(devices=797, symbols=10, active=30, seed=6), "cdl", 1.0, {}),
    "cdl-nobody": (dict(devices=300, symbols=12, active=0, seed=7), "cdl", 1.0, {}),
    "tiny": (dict(devices=800, symbols=10, active=40, seed=8), "cdl-tiny", 1.0, {}),
    "tiny-large": (dict(devices=3000, symbols=40, active=120, seed=9), "cdl-tiny", "unknown", {}),
    "tiny-overflow": (dict(devices=400, symbols=20, active=30, seed=10), "cdl-tiny", 1.0, dict(capacity=20)),
    "large": (dict(devices=400, symbols=8, active=15, seed=11), "cdl-large", 1.0, {}),
    "wide": (dict(devices=400, symbols=20, active=20, pilots="qpsk", seed=12), "cdl-wide", "unknown", {}),
    "gaussian": (dict(devices=400, symbols=40, active=10, channels="iid", seed=13), "gaussian", 1.0, {}),
    "gaussian-unknown": (dict(devices=200, symbols=30, active=8, pilots="qpsk", seed=14), "gaussian", "unknown", {}),
    "python-prior": (dict(**SIZES["odd"], seed=15), "wiener", 1.0, {}),
    "python-prior-unknown": (dict(**SIZES["prime"], pilots="qpsk", seed=16), "wiener", "unknown", {}),
    "everyone-denoised": (dict(**SIZES["everybody"], seed=17), "wiener", 1.0, dict(rules=jf.Rules(screening=False))),
    "predicted-variance": (dict(**SIZES["plain"], seed=18), "wiener", 1.0, dict(rules=jf.Rules(variance="paper"))),
    "one-antenna": (dict(**SIZES["one-antenna"], seed=19), "wiener", "unknown", {}),
    "one-symbol": (dict(**SIZES["one-symbol"], seed=20), "wiener", 1.0, dict(rules=jf.Rules(max_iterations=5))),
}


def detect(name: str) -> jf.Detection:
    """The detection of one case."""
    sizes, prior, power, options = CASES[name]
    p = problem(**(sizes if prior == "wiener" else {**GRID, **sizes}), delay_spread=0.15 if prior == "wiener" else 0.02)
    n, m = p.y.shape[1:]
    if prior not in ("wiener", "gaussian"):
        options = {"network": "fp32"} | options  # the same on all processors
    rx = jf.Receiver(
        p.pilots, m, WienerPrior(n) if prior == "wiener" else prior, p.activity_rate, power, threads=2, **options
    )
    return rx.detect(p.y, p.noise_var)


def fields(found: jf.Detection) -> dict[str, np.ndarray]:
    """Its numbers; of a channel the products with three fixed vectors."""
    count, n, m = found.channels.shape
    vectors = complex_normal(np.random.default_rng(0), n * m, 3)
    return {
        "activity": found.activity,
        "active": found.active,
        "channels": found.channels.reshape(count, n * m) @ vectors / np.sqrt(n * m),
        "channel_var": found.channel_var,
        "numbers": np.array([found.iterations, found.converged, found.overflow]),
        "noise_var": np.array(found.noise_var),
        "error_var": np.array([step["error_var"] for step in found.history]),
        "candidates": np.array([step["candidates"] for step in found.history]),
    }


if __name__ == "__main__":
    everything = {f"{name}/{key}": value for name in CASES for key, value in fields(detect(name)).items()}
    np.savez_compressed(sys.argv[1] if len(sys.argv) > 1 else FILE, **everything)
