"""Prints a table of detections by libjadce in a C++ program (docs/embedding.md) beside Python's, in one capture.

``python scripts/embedding.py FOLDER`` builds examples/cpp in FOLDER and takes a minute. Python and the program take
turns, so that both meet what else the machine does, and both at real-time priority where this process may have it; a
block arrives every 40 ms.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from importlib import resources
from pathlib import Path

import jadce_fast as jf
from jadce_fast.campaigns.ofdm_drop import Scenario, draw_drop

ROOT = Path(__file__).parents[1]
WEIGHTS = resources.files("jadce_fast.priors") / "weights"
ROUNDS, BLOCKS, PERIOD = 5, 20, 0.04
CASES = [(prior, threads) for prior in ("cdl", "cdl-tiny", "gaussian") for threads in (1, 2)]


def build(folder: Path) -> Path:
    """The harness of examples/cpp."""
    where = subprocess.run(
        [sys.executable, "-m", "jadce_fast", "--cmake-dir"], check=True, capture_output=True, text=True
    ).stdout.strip()
    subprocess.run(["cmake", "-S", str(ROOT / "examples/cpp"), "-B", str(folder), f"-Djadce_DIR={where}"], check=True)
    subprocess.run(["cmake", "--build", str(folder)], check=True)
    return folder / "latency"


def main() -> None:
    folder = Path(sys.argv[1])
    program = build(folder)
    try:  # as the program does: without it a wake-up late in the queue is half of a detection's time
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(80))
    except PermissionError:
        print("Python's priority is the usual one", file=sys.stderr)
    drop = draw_drop(Scenario(snr_db=10.0), seed=1)
    capture = folder / "capture.npz"
    jf.save_capture(capture, jf.Capture(drop.y, drop.pilots, drop.noise_var, 0.05))
    print("| prior | threads | Python p50 | C++ p50 | Python most | C++ most |\n|---|---|---|---|---|---|")
    for prior, threads in CASES:
        rx = jf.Receiver(drop.pilots, 32, prior, 0.05, 1.0, threads=threads)
        file = prior if prior == "gaussian" else str(WEIGHTS / f"{prior}.safetensors")
        ours, theirs = [], []  # microseconds: medians and maxima of rounds
        rx.detect(drop.y, drop.noise_var)
        for _ in range(ROUNDS):
            times = []
            for _ in range(BLOCKS):
                time.sleep(max(0.0, PERIOD - times[-1] / 1e6) if times else PERIOD)
                start = time.perf_counter()
                rx.detect(drop.y, drop.noise_var)
                times.append(1e6 * (time.perf_counter() - start))
            ours.append((sorted(times)[BLOCKS // 2], max(times)))
            words = [str(program), str(capture), file, f"{1e6 * PERIOD:.0f}", str(BLOCKS), str(threads), "1"]
            text = subprocess.run(words, check=True, capture_output=True, text=True).stdout
            theirs.append(tuple(float(x) for x in re.search(r"p50 (\d+).*most (\d+)", text).groups()))
        median = [sorted(x[0] for x in which)[ROUNDS // 2] for which in (ours, theirs)]
        most = [max(x[1] for x in which) for which in (ours, theirs)]
        cells = [f"{x / 1e3:.2f} ms" for x in (*median, *most)]
        print(f"| `{prior}` | {threads} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
