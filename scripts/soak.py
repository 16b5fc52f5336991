"""Random problems without end: nothing crashes, hangs, is not a number, depends on threads, or is wrong and sure of it.

    python scripts/soak.py --problems 100000     # goes on where it was interrupted
    python scripts/soak.py --detections 100000   # one receiver, whose process must not grow

Problem i is drawn from seed i alone, so that `--only i` repeats it. Counts and failures stay in FOLDER/soak.json.
"""

from __future__ import annotations

import argparse
import faulthandler
import json
import os
import resource
import sys
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

import jadce_fast as jf
from jadce_fast.campaigns.ofdm_drop import Drop, Scenario, draw_drop
from jadce_fast.files import write_atomically

Rng = np.random.Generator
MEBIBYTE = 1 << 20
SURE = 1e-3  # probability of being wrong that a claim admits
GROWTH = 8  # MiB that a process may grow by: what its memory allocator keeps


@cache
def prior(name: str) -> Any:
    return jf.load_prior(name)


def scenario(rng: Rng, subcarriers: int, most_devices: int, **fixed: Any) -> Scenario:
    """Sizes from one to awkward, loads from empty to full."""
    devices = int(rng.integers(1, most_devices))
    sizes = dict(
        devices=devices,
        symbols=int(rng.integers(1, min(devices, 24) + 1)),
        subcarriers=subcarriers,
        antennas=int(rng.choice([1, 2, 3, 4, 5, 7, 8, 12, 16, 17, 32, 33, 64])),
        activity_rate=float(rng.choice([0.001, 0.01, 0.05, 0.1, 0.3])),
        snr_db=float(rng.uniform(-20, 40)),
        model=str(rng.choice(["A", "B", "C", "D", "E", "mixed"])),
        angles=str(rng.choice(["departure", "arrival"])),
        pilots=str(rng.choice(["dft", "qpsk"])),
        power_spread_db=float(rng.choice([0, 0, 10, 20])),
    )
    return Scenario(**(sizes | fixed))


def drop_of(rng: Rng, point: Scenario) -> Drop:
    pilots = None
    if point.pilots == "dft" and rng.random() < 0.3:
        pilots = jf.dft_pilots(point.devices, point.symbols, point.subcarriers, 1, scrambled=True)
    return draw_drop(point, int(rng.integers(2**31)), 0, pilots)


def sane(out: jf.Detection, drop: Drop) -> None:
    """Every number of a result is one, and the numbers agree with each other."""
    k, (_, n, m) = drop.pilots.devices, drop.y.shape
    count = len(out.active)
    assert out.activity.shape == (k,)
    assert ((out.activity >= 0) & (out.activity <= 1)).all(), "probabilities"
    assert out.channels.shape == (count, n, m)
    assert out.channel_var.shape == (count,)
    assert np.isfinite(out.channels).all(), "channels"
    assert np.isfinite(out.channel_var).all(), "channel_var"
    assert (out.channel_var >= 0).all(), "channel_var"
    assert np.isfinite(out.explained).all(), "explained"
    assert (np.diff(out.active) > 0).all(), "order"
    assert 0 <= out.overflow <= k, "overflow"
    assert out.trusted == (not out.reason)
    # In noise of several variances what remains is weighted by them.
    assert np.mean(np.abs(drop.y) ** 2, dtype=float) * 1.3 >= out.noise_var >= 0, "worse than silence"


def judge(out: jf.Detection, drop: Drop, rate: float) -> Counter[str]:
    """Errors, and those of them that the result is sure of."""
    sane(out, drop)
    truth = np.zeros(drop.pilots.devices, bool)
    truth[drop.active] = True
    found = np.zeros_like(truth)
    found[out.active] = True
    missed, ghosts = np.count_nonzero(truth & ~found), np.count_nonzero(found & ~truth)
    sure = np.count_nonzero(truth & (out.activity < SURE * rate)) + np.count_nonzero(~truth & (out.activity > 1 - SURE))
    energy = jf.metrics.score(out, drop.active, drop.channels)
    worthless = energy.error_energy > 2 * energy.channel_energy
    gross = out.trusted and (sure > max(1, 0.1 * len(drop.active)) or (worthless and len(out.active) > 0))
    return Counter(
        devices=len(truth),
        active=len(drop.active),
        missed=missed,
        ghosts=ghosts,
        trusted=out.trusted,
        wrong=out.trusted and missed + ghosts > 0,
        gross=gross,
    )


def detected(rng: Rng, drop: Drop, point: Scenario, network: Any) -> jf.Detection:
    """Detect by a receiver with some choice of all options, and compare what must not matter."""
    knows = point.power_spread_db == 0 and rng.random() < 0.3
    options: dict[str, Any] = dict(
        activity_rate=None if rng.random() < 0.3 else point.activity_rate, power=1.0 if knows else "unknown"
    )
    rx = jf.Receiver(drop.pilots, point.antennas, network, threads=1, **options)
    noise: Any = drop.noise_var
    try:
        form = rng.integers(6)
        if form == 1:
            noise = np.full((1, point.antennas), noise) * rng.uniform(0.9, 1.1, point.antennas)
        elif form == 2:
            noise = np.full((point.subcarriers, 1), noise) * rng.uniform(0.9, 1.1, (point.subcarriers, 1))
        elif form == 3:
            noise = np.eye(point.antennas) * complex(noise)
        elif form == 4:
            noise = None
        out = rx.detect(drop.y, noise)
    except ValueError as error:
        if "expected one variance for pilots" not in str(error):  # that leave subcarriers out, or repeat
            raise
        noise = drop.noise_var
        out = rx.detect(drop.y, noise)
    if rng.random() < 0.25:
        other = jf.Receiver(drop.pilots, point.antennas, network, threads=int(rng.integers(2, 5)), **options)
        assert other.detect(drop.y, noise) == out, "threads change the result"
        assert rx.detect(drop.y, noise) == out, "a receiver remembers"
    if rng.random() < 0.1:
        kind = rng.choice(["c16", ">c8", "F"])
        same = np.asfortranarray(drop.y) if kind == "F" else drop.y.astype(kind)
        assert rx.detect(same, noise) == out, f"{kind} changes the result"
    return out


def any_size(rng: Rng) -> Counter[str]:
    """Sizes as they come, priors without a network."""
    point = scenario(rng, int(rng.choice([1, 2, 3, 5, 12, 24, 31])), 130)
    drop = drop_of(rng, point)
    return judge(detected(rng, drop, point, str(rng.choice(["beams", "gaussian"]))), drop, point.activity_rate)


def shipped(rng: Rng) -> Counter[str]:
    """The grid of the shipped priors."""
    point = scenario(rng, 48, 400)
    drop = drop_of(rng, point)
    names = ["cdl-tiny", "cdl-tiny", "cdl", "cdl-wide", "cdl-tiny+cdl"]
    return judge(detected(rng, drop, point, prior(str(rng.choice(names)))), drop, point.activity_rate)


def mismatched(rng: Rng) -> Counter[str]:
    """What is told is not what is: noise, pilots, order of subcarriers, rate, devices that leave in the middle."""
    point = scenario(rng, 48, 200)
    drop = drop_of(rng, point)
    y, noise, rate = drop.y, drop.noise_var, point.activity_rate
    what = rng.integers(6)
    if what == 0:
        noise *= float(10 ** rng.uniform(-2, 2))
    elif what == 1:
        drop = replace(drop, pilots=jf.dft_pilots(point.devices, point.symbols, 48, seed=999))
    elif what == 2:
        y = np.ascontiguousarray(np.roll(y, 24, axis=1))
    elif what == 3:
        rate = min(max(rate * float(10 ** rng.uniform(-2, 1)), 1e-6), 0.9)
    elif what == 4:
        y = y.copy()
        y[len(y) // 2 :] *= 0.3
    else:
        y = y * np.exp(2j * np.pi * rng.uniform(0, 0.3) * np.arange(len(y)))[:, None, None].astype(np.complex64)
    rx = jf.Receiver(drop.pilots, point.antennas, prior("cdl-tiny"), rate, threads=1)
    return judge(rx.detect(y, noise), replace(drop, y=y), rate)


def structured(rng: Rng) -> Counter[str]:
    """Combs, guards, one sequence on all subcarriers, pilots that are shared or missing, other powers."""
    point = scenario(rng, 48, 120, pilots="qpsk")
    q = drop_of(rng, point).pilots.select()
    what = rng.integers(5)
    if what == 0:
        comb = int(rng.choice([2, 3, 4]))
        q = q * (np.arange(48)[:, None] % comb == np.arange(point.devices) % comb)
    elif what == 1:
        q[:, : int(rng.integers(1, 8))] = 0
    elif what == 2:
        q = np.repeat(q[:, :1], 48, axis=1) * np.exp(2j * np.pi * rng.random((point.symbols, 48, 1)))
    elif what == 3:
        q[:, :, rng.integers(point.devices, size=2)] = q[:, :, :1] * 2j
        q[:, :, rng.integers(point.devices)] = 0
    else:
        q = q * 10 ** rng.uniform(-1, 1, point.devices)
    drop = drop_of(rng, replace(point, power_spread_db=0.0))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        try:
            pilots = jf.Pilots(q)
            rx = jf.Receiver(pilots, point.antennas, prior("cdl-tiny"), threads=1)
        except ValueError as error:
            if not str(error).startswith("pilots:"):
                raise
            return Counter(refused=1)
    sent = pilots.select(drop.active)
    noise = np.sqrt(drop.noise_var / 2) * rng.standard_normal((*drop.y.shape, 2)).view(complex)[..., 0]
    y = (np.einsum("tna,anm->tnm", sent, drop.channels) + noise).astype(np.complex64)
    drop = replace(drop, y=y, pilots=pilots)
    sent_any = np.abs(sent).max((0, 1), initial=0) > 0
    drop = replace(drop, active=drop.active[sent_any], channels=drop.channels[sent_any])
    return judge(rx.detect(y, drop.noise_var), drop, 0.05)


def hostile(rng: Rng) -> Counter[str]:
    """Blocks of any numbers, in any units, with noise as it comes."""
    point = scenario(rng, 48 if rng.random() < 0.5 else 6, 60)
    drop = drop_of(rng, point)
    y = drop.y.astype(complex)
    noise = drop.noise_var
    what = rng.integers(8)
    place = tuple(rng.integers(size) for size in y.shape)
    if what == 0:
        y[place] = rng.choice([np.nan, np.inf, -np.inf, 1e39, 1e200])
    elif what == 1:
        y[place] = rng.choice([1e6, 1e15, 1e30, 3e38])
    elif what == 2:
        y *= 10 ** rng.uniform(-45, 38)
    elif what == 3:
        noise *= float(10 ** rng.uniform(-40, 40))
    elif what == 4:
        y = np.frombuffer(rng.bytes(y.size * 8), np.complex64).reshape(y.shape)
    elif what == 5:
        y[:] = rng.choice([0, 1, 1e-40, 1e20])
    elif what == 6:
        y[..., int(rng.integers(point.antennas))] = 0
        y[int(rng.integers(point.symbols))] *= 1e8
    else:
        scale = 10 ** rng.uniform(-15, 15)
        y, noise = y * scale, noise * scale**2
    name = "cdl-tiny" if point.subcarriers == 48 else str(rng.choice(["beams", "gaussian"]))
    network = prior(name) if name == "cdl-tiny" else name
    rx = jf.Receiver(drop.pilots, point.antennas, network, threads=1)
    try:
        out = rx.detect(y, noise if rng.random() < 0.8 else None)
    except ValueError as error:
        if not str(error).startswith(("y:", "noise_var:")):
            raise
        return Counter(refused=1)
    with np.errstate(over="ignore"):
        sane(out, replace(drop, y=np.asarray(y)))
    return Counter(devices=point.devices, active=len(drop.active), trusted=out.trusted)


def cell(rng: Rng) -> Counter[str]:
    """The Langevin receiver on one subcarrier."""
    devices, antennas = int(rng.integers(1, 40)), int(rng.integers(1, 9))
    point = scenario(rng, 1, 2, devices=devices, symbols=int(rng.integers(1, devices + 1)), antennas=antennas)
    drop = drop_of(rng, point)
    sampler = str(rng.choice(["preconditioned", "preconditioned", "paper"]))
    options = dict(power="unknown", sampler=sampler, levels=int(rng.integers(2, 12)), steps=1, chains=2)
    rx = jf.LangevinReceiver(drop.pilots, antennas, threads=1, **options)
    out = rx.detect(drop.y, drop.noise_var)
    sane(out, drop)
    if rng.random() < 0.25:
        other = jf.LangevinReceiver(drop.pilots, antennas, threads=3, **options)
        assert other.detect(drop.y, drop.noise_var) == out, "threads change the result"
    return Counter(devices=devices, active=len(drop.active), trusted=out.trusted)


KINDS: dict[str, tuple[float, Callable[[Rng], Counter[str]]]] = {
    "any size": (0.35, any_size),
    "shipped priors": (0.2, shipped),
    "mismatched": (0.15, mismatched),
    "structured pilots": (0.1, structured),
    "hostile numbers": (0.15, hostile),
    "one subcarrier, Langevin": (0.05, cell),
}


def solve(i: int) -> tuple[str, Counter[str]]:
    """Problem i: its kind and counts."""
    rng = np.random.default_rng([17, i])
    kind = str(rng.choice(list(KINDS), p=[weight for weight, _ in KINDS.values()]))
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        return kind, KINDS[kind][1](rng)


def problems(path: Path, count: int) -> int:
    """Solve those problems that no run before has; return how many failed or were grossly wrong in all."""
    state: dict[str, Any] = {"done": 0, "seconds": 0.0, "counts": {}, "failures": [], "gross": []}
    if path.exists():
        state = json.loads(path.read_text())
    counts = {kind: Counter(state["counts"].get(kind, {})) for kind in KINDS}
    saved = time.monotonic()
    for i in range(state["done"], count):
        faulthandler.dump_traceback_later(600, exit=True)
        try:
            kind, tally = solve(i)
            counts[kind] += tally + Counter(problems=1)
            if tally["gross"]:
                state["gross"].append(i)
        except Exception:
            state["failures"].append([i, traceback.format_exc(limit=-3)])
            print(f"problem {i}: {state['failures'][-1][1]}", flush=True)
        faulthandler.cancel_dump_traceback_later()
        state["done"] = i + 1
        if (now := time.monotonic()) - saved > 10 or i + 1 == count:
            state["seconds"] += now - saved
            state["counts"] = {kind: {name: int(n) for name, n in c.items()} for kind, c in counts.items()}
            with write_atomically(path) as part:
                part.write_text(json.dumps(state))
            saved = now
            left = state["seconds"] / (i + 1) * (count - i - 1)
            print(
                f"{i + 1} of {count} problems, {len(state['failures'])} failed, {len(state['gross'])} trusted and "
                f"grossly wrong, {left / 60:.0f} minutes left",
                flush=True,
            )
    columns = ("problems", "refused", "devices", "active", "missed", "ghosts", "trusted", "wrong", "gross")
    print(f"| kind | {' | '.join(columns)} |\n|{'---|' * (len(columns) + 1)}")
    for kind, c in counts.items():
        print(f"| {kind} | {' | '.join(str(c[name]) for name in columns)} |")
    print(f"failed: {len(state['failures'])}; grossly wrong: {state['gross'][:20]}")
    return len(state["failures"]) + len(state["gross"])


def resident() -> float:
    """MiB of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / MEBIBYTE


def detections(count: int) -> int:
    """Detect over and over with one receiver, in told and learned noise, in streams; plan others in between."""
    point = Scenario(devices=100, symbols=8, antennas=8)
    drops = [draw_drop(point, 0, trial) for trial in range(20)]
    rx = jf.Receiver(drops[0].pilots, 8, prior("cdl-tiny"), threads=2)
    stream = rx.stream(0.1)
    first = 0.0
    for i in range(count):
        drop = drops[i % 20]
        rx.detect(drop.y, None if i % 10 == 9 else drop.noise_var)
        if i % 10 == 5:
            stream.push(drop.y)
            stream.wait()
        if i % 100 == 0:
            jf.Receiver(drop.pilots, 8, "gaussian", threads=2).detect(drop.y, 0.1)
        if i == count // 10:
            first = resident()
        if i % max(count // 20, 1) == 0:
            print(f"{i} of {count} detections, {resident():.1f} MiB", flush=True)
    stream.close()
    grown = resident() - first
    print(f"{count} detections: grown by {grown:.1f} MiB after the first tenth, to {resident():.1f} MiB")
    return int(grown > GROWTH)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problems", type=int, default=0)
    parser.add_argument("--detections", type=int, default=0)
    parser.add_argument("--only", type=int, help="solve this problem alone, and say what came of it")
    parser.add_argument("--folder", type=Path, default=Path("out"))
    options = parser.parse_args()
    if options.only is not None:
        print(*solve(options.only))
        return
    options.folder.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    bad = problems(options.folder / "soak.json", options.problems) if options.problems else 0
    bad += detections(options.detections) if options.detections else 0
    sys.exit(min(bad, 1))


if __name__ == "__main__":
    main()
