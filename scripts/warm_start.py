"""Prints the table of docs/performance.md: a loop that begins with the channels that the block before gave.

``python scripts/warm_start.py``, minutes. The second of two blocks is detected by the reference, without memory and
with the first one's estimates; some of its devices are new, and those that stay have moved: every ray turns by a
Doppler shift of its own, as from directions all around the device.
"""

from __future__ import annotations

import argparse
import dataclasses

import numpy as np

import jadce_fast as jf
from jadce_fast import channels, reference
from jadce_fast.campaigns.ofdm_drop import Scenario, draw_drop, received

DEVICES, SYMBOLS, RATE, CARRIER, LIGHT = 200, 5, 0.05, 3.5e9, 299792458.0
CASES = [(0, 10, 0.0), (3, 1, 0.0), (3, 5, 0.0), (3, 10, 0.0), (0, 10, 0.5), (3, 5, 0.5)]  # km/h, ms, part that is new


def moved(drop, speed: float, wait: float, rng: np.random.Generator):
    """Channels (A, N, M) after `wait` milliseconds at `speed` kilometres an hour."""
    doppler = speed / 3.6 * CARRIER / LIGHT * np.cos(rng.uniform(0, 2 * np.pi, drop.paths.phase.shape))
    paths = dataclasses.replace(drop.paths, phase=drop.paths.phase + 2 * np.pi * doppler * wait * 1e-3)
    return channels.unit_power(channels.synthesize(paths, *drop.channels.shape[1:]))


def detected(y, drop, prior, start=None):
    """Iterations until nothing improves, as the receiver ends, and all devices' channels by the best of them."""
    rules = jf.Rules()
    history = reference.beamspace_stmp(y, drop.pilots, prior, drop.noise_var, RATE, iterations=12, start=start)
    error = [step.v.mean() for step in history]
    ends = [i for i in range(1, len(error)) if error[i] > rules.stalled * error[i - 1]]
    count = ends[0] + 1 if ends else len(error)
    best = reference.best(history[:count])
    found = np.zeros((DEVICES, *y.shape[1:]), np.complex128)
    shown = best.candidates[best.probability[best.candidates] >= rules.active]
    at = np.searchsorted(best.candidates, shown)
    basis = np.asarray(prior.basis, np.complex128)
    found[shown] = reference.beamspace(np.einsum("np,apm->anm", basis, best.mean[at]), inverse=True)
    return count, found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--drops", type=int, default=3)
    args = parser.parse_args()
    prior = jf.load_prior("cdl-tiny")
    scenario = Scenario(devices=DEVICES, symbols=SYMBOLS, activity_rate=RATE)
    drops = [draw_drop(scenario, 1, trial) for trial in range(args.drops)]
    memories = [detected(drop.y, drop, prior)[1] for drop in drops]
    print("| devices | new ones | time between | stale error | iterations | with memory | NMSE | with memory |")
    print("|" + "---|" * 8)
    for speed, wait, new in CASES:
        rounds, errors, power, stale = np.zeros(2), np.zeros(2), 0.0, 0.0
        for trial, (drop, memory) in enumerate(zip(drops, memories, strict=True)):
            rng = np.random.default_rng((7, trial))
            h, active = moved(drop, speed, wait, rng), drop.active.copy()
            change = rng.permutation(len(active))[: int(new * len(active))]
            idle = np.setdiff1d(np.arange(DEVICES), active)
            active[change] = rng.permutation(idle)[: len(change)]
            h[change] = draw_drop(scenario, 2, trial).channels[: len(change)]
            order = np.argsort(active)
            active, h = active[order], h[order]
            noise = rng.standard_normal((*drop.y.shape, 2)).view(np.complex128)[..., 0] * np.sqrt(drop.noise_var / 2)
            y = received(drop.pilots, active, h) + noise
            power += np.sum(np.abs(h) ** 2)
            stale += np.sum(np.abs(memory[active] - h) ** 2)
            for i, start in enumerate((None, memory)):
                count, found = detected(y, drop, prior, start)
                rounds[i] += count / args.drops
                errors[i] += np.sum(np.abs(found[active] - h) ** 2)
        decibels = [f"{10 * np.log10(x / power):.1f} dB".replace("-", "−") for x in (stale, *errors)]
        name = f"{speed} km/h" if speed else "static"
        numbers = f"{decibels[0]} | {rounds[0]:.1f} | {rounds[1]:.1f} | {decibels[1]} | {decibels[2]}"
        print(f"| {name} | {new:.0%} | {wait} ms | {numbers} |".replace("%", " %"), flush=True)


if __name__ == "__main__":
    main()
