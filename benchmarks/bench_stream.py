"""Latency after the last symbol of a stream, beside whole calls of ``detect`` and what those take beyond their loop.

    python benchmarks/bench_stream.py                        # minutes: the tables of docs/performance.md
    python benchmarks/bench_stream.py --soak 100000          # small blocks back to back; memory and deadlines
    python benchmarks/bench_stream.py --soak 10000 --full    # the same of large ones
    python benchmarks/bench_stream.py --soak 100000 --fifo --period 5000

Blocks come symbol by symbol, as fast as the receiver takes them, or one every PERIOD microseconds. With ``--fifo`` the
process has the real-time priority of a radio's host: the scheduler prefers it to whatever else is busy, but for a
twentieth of every second where it leaves the others nothing.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

import numpy as np
from timing import measure, percentiles, report

import jadce_fast as jf
from jadce_fast.campaigns.ofdm_drop import Scenario, draw_drop

DROPS = 8


def resident_kib() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS")).split()[1])


def drops(devices: int, symbols: int, antennas: int = 32):
    scenario = Scenario(devices=devices, symbols=symbols, antennas=antennas, snr_db=10.0)
    return [draw_drop(scenario, seed=1, trial=trial) for trial in range(DROPS)]


def nmse_db(out, drop) -> float:
    error = {int(k): h for k, h in zip(out.active, out.channels, strict=True)}
    lost = sum(np.sum(abs(h - error.get(int(k), 0)) ** 2) for k, h in zip(drop.active, drop.channels, strict=True))
    return float(lost / np.sum(abs(drop.channels) ** 2))


def after_the_last_symbol(rx, blocks, deadline: float | None, seconds: float) -> dict[str, object]:
    """Latencies of a stream, whose symbols come one by one, and the error of its results."""
    error, iterations = [], []
    with rx.stream(blocks[0].noise_var, deadline=deadline) as stream:
        until, count = time.perf_counter() + seconds, 0
        while count < 3 * DROPS or time.perf_counter() < until:
            ended = [one for symbol in blocks[count % DROPS].y for one in stream.push(symbol)]
            (found,) = ended + stream.wait()
            if count < DROPS:
                error.append(nmse_db(found.detection, blocks[count]))
            iterations.append(found.detection.iterations)
            count += 1
        said = stream.statistics()
    row = {"NMSE dB": 10 * np.log10(np.mean(error)), "iterations": float(np.mean(iterations))}
    row |= {"p50_ms": said.p50_us / 1e3, "p99_ms": said.p99_us / 1e3, "p99.9_ms": said.p999_us / 1e3}
    return row | {"runs": said.detected, "ended": said.ended, "missed": said.missed}


def whole_calls(rx, blocks, seconds: float) -> dict[str, float]:
    """``detect`` of the same blocks, and the median of what it takes beyond the native loop, in microseconds."""
    turn, times, beyond = 0, [], []
    until = time.perf_counter() + seconds
    while len(times) < 3 * DROPS or time.perf_counter() < until:
        drop = blocks[turn % DROPS]
        begin = time.perf_counter()
        rx.detect(drop.y, drop.noise_var)
        times.append(1e3 * (time.perf_counter() - begin))
        beyond.append(1e3 * times[-1] - 1e6 * sum(rx.seconds().values()))
        turn += 1
    return percentiles(times) | {"beyond the loop us": float(np.median(beyond))}


def soak(count: int, deadline: float, full: bool, period: float) -> None:
    """So many blocks, back to back or one a period (microseconds): memory must not grow, and no result may be late."""
    sizes = (800, 20, 32) if full else (200, 10, 8)
    blocks = drops(*sizes)
    rx = jf.Receiver(blocks[0].pilots, sizes[-1], "cdl-tiny", 0.05, threads=1 if period else None)
    print("blocks, resident MiB, p50, p99, p99.9, worst ms, missed, dropped, load of the machine", flush=True)
    with rx.stream(blocks[0].noise_var, deadline=deadline) as stream:
        begin = time.perf_counter()
        for i in range(count):
            if (early := begin + 1e-6 * period * i - time.perf_counter()) > 0:
                time.sleep(early)
            stream.push(blocks[i % DROPS].y)
            if (i + 1) % max(1, count // 20) == 0:
                s = stream.statistics()
                times = ", ".join(f"{x / 1e3:.2f}" for x in (s.p50_us, s.p99_us, s.p999_us, s.worst_us))
                load, size = os.getloadavg()[0], resident_kib() / 1024
                row = f"{i + 1}, {size:.2f}, {times}, {s.missed}, {s.dropped}, {load:.1f}"
                print(row, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--soak", type=int, default=0, metavar="BLOCKS")
    parser.add_argument("--full", action="store_true", help="soak with blocks of K=800, T=20, M=32")
    parser.add_argument("--deadline", type=float, default=50_000.0, metavar="US", help="of the soak")
    parser.add_argument("--fifo", action="store_true", help="soak at real-time priority (SCHED_FIFO)")
    parser.add_argument("--period", type=float, default=0.0, metavar="US", help="from block to block of the soak")
    parser.add_argument("--seconds", type=float, default=3.0, help="of every measurement")
    args = parser.parse_args()
    if args.fifo:  # before threads are made, which inherit it
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(50))
    if args.soak:
        soak(args.soak, args.deadline, args.full, args.period)
        return
    rows = []
    for prior in ("cdl", "cdl-tiny"):
        blocks = drops(800, 20)
        rx = jf.Receiver(blocks[0].pilots, 32, prior, 0.05)
        name = {"K": 800, "T": 20, "prior": prior}
        rows.append(name | {"what": "detect()"} | whole_calls(rx, blocks, args.seconds))
        rows.append(name | {"what": "stream"} | after_the_last_symbol(rx, blocks, None, args.seconds))
        for part in (0.75, 0.5):
            deadline = 1e3 * part * float(rows[-1 if part == 0.75 else -2]["p50_ms"])
            what = {"what": f"deadline {deadline:.0f} us"}
            rows.append(name | what | after_the_last_symbol(rx, blocks, deadline, args.seconds))
    report("Latency after the last symbol, N=48, M=32, rate 0.05, CDL-C, 10 dB, power unknown", rows)
    small = drops(60, 10, 4)
    rx = jf.Receiver(small[0].pilots, 4, "gaussian", 0.05)
    row = whole_calls(rx, small, args.seconds)
    coming = rx.stream(small[0].noise_var)
    row["symbol us"] = 1e3 * measure(lambda: coming.push(small[0].y[0]), seconds=1.0)["p50_ms"]
    coming.close()
    report("A small detection, K=60, T=10, M=4", [row])


if __name__ == "__main__":
    main()
