"""One detection, cold pilots planned: this library against the same algorithm in NumPy/SciPy and in torch, same run.

Answers are compared before anything is timed. Also the memory that a very large detection takes.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import torch
from plain_receivers import numpy_detect, torch_detect
from timing import measure, peak_gflop_s, report

import jadce_fast as jf
from jadce_fast.campaigns.ofdm_drop import Scenario, draw_drop


def nmse_db(active, channels, drop):
    error = {int(k): h for k, h in zip(active, channels, strict=True)}
    lost = sum(np.sum(abs(h - error.get(int(k), 0)) ** 2) for k, h in zip(drop.active, drop.channels, strict=True))
    return float(10 * np.log10(lost / np.sum(abs(drop.channels) ** 2)))


def main() -> None:
    threads = jf.ops.default_threads()
    peaks = {name: peak_gflop_s(threads, name) for name in ("float32", "bfloat16")}
    torch.set_num_threads(threads)
    rows = []
    for devices, symbols in ((800, 20), (800, 10), (3000, 40)):
        drop = draw_drop(Scenario(devices=devices, symbols=symbols, snr_db=10.0), seed=1)
        y = torch.from_numpy(drop.y)
        for prior in ("cdl", "cdl-tiny", "cdl-tiny+cdl-large", "gaussian"):
            for power in (1.0, "unknown"):
                rx = jf.Receiver(drop.pilots, 32, prior, 0.05, power)
                out = rx.detect(drop.y, drop.noise_var)
                ours = nmse_db(out.active, out.channels, drop)
                took = measure(lambda rx=rx, drop=drop: rx.detect(drop.y, drop.noise_var))
                network = getattr(rx.prior, "network", None)
                flop = 2 * network.multiplications(32) * sum(h["candidates"] for h in out.history) if network else 0
                row = {"K": devices, "T": symbols, "prior": prior, "power": power, "NMSE dB": ours}
                row |= {"iterations": out.iterations} | took
                peak = peaks["bfloat16" if rx.network == "bf16" else "float32"]
                row |= {"network": rx.network or "", "of peak": flop / took["p50_ms"] / 1e6 / peak if network else ""}
                if power == 1.0 and network:
                    for name, plain in (
                        ("NumPy", lambda: numpy_detect(drop.y, drop.noise_var, 0.05, drop.pilots, rx.prior, threads)),
                        ("torch", lambda: torch_detect(y, drop.noise_var, 0.05, drop.pilots, rx.prior)),
                    ):
                        active, channels = (np.asarray(x) for x in plain())
                        assert np.array_equal(active, out.active), name
                        assert abs(nmse_db(active, channels, drop) - ours) < 0.3, name
                        row[f"{name} p50 ms"] = measure(plain, seconds=1.5, least=3)["p50_ms"]
                        row[f"x {name}"] = row[f"{name} p50 ms"] / took["p50_ms"]
                rows.append(row)
    print("matrix product: " + ", ".join(f"{rate:.0f} Gflop/s in {name}" for name, rate in peaks.items()))
    print("'of peak': the network's flops at that rate, as a share of p50")
    report("Detection, N=48, M=32, rate 0.05, CDL-C, 10 dB", rows)
    report("Memory", [_memory("cdl"), _memory("gaussian")])


def _memory(prior: str) -> dict[str, object]:
    """Peak memory of a process that plans and runs K = 100 000, T = 64, beyond what its imports and input take."""
    answer = subprocess.run(
        [sys.executable, __file__, "--memory", prior], check=True, capture_output=True, text=True
    ).stdout.split()
    return {"K": 100_000, "T": 64, "prior": prior, "peak MB": float(answer[0]), "detection s": float(answer[1])}


def _run_memory(prior: str) -> None:
    drop = draw_drop(Scenario(devices=100_000, symbols=64, snr_db=10.0, activity_rate=0.001))
    jf.load_prior("cdl")
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
    before = _status("VmRSS")
    rx = jf.Receiver(drop.pilots, 32, prior, 0.001)
    start = time.perf_counter()
    out = rx.detect(drop.y, drop.noise_var)
    seconds = time.perf_counter() - start
    assert prior == "gaussian" or np.array_equal(out.active, drop.active)
    print((_status("VmHWM") - before) / 1024, seconds)


def _status(key: str) -> int:
    """A figure of this process in KiB, on Linux."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(key)).split()[1])


if __name__ == "__main__":
    if sys.argv[1:2] == ["--memory"]:
        _run_memory(sys.argv[2])
    else:
        main()
