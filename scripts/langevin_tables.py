"""Tables of docs/langevin.md: Langevin receivers beside message passing and LMMSE on the same draws."""

from __future__ import annotations

import argparse
import time
from typing import Any

import numpy as np
import torch

from jadce_fast import CellPrior, LangevinReceiver, metrics, reference
from jadce_fast.campaigns import CellScenario, draw_cell
from jadce_fast.priors.files import load_cell_prior


def nmse_db(found: np.ndarray, truth: np.ndarray) -> float:
    return float(10 * np.log10(np.sum(np.abs(found - truth) ** 2) / np.sum(np.abs(truth) ** 2)))


def lmmse_activity(x: np.ndarray, scenario: CellScenario) -> np.ndarray:
    """Devices whose LMMSE rows have most energy, as many as expected: a threshold that needs no tuning."""
    energy = np.sum(np.abs(x) ** 2, axis=1)
    count = round(scenario.prior.activity_rate * scenario.devices)
    return energy >= np.sort(energy)[-count]


def measure(
    scenario: CellScenario, draws: int, network: Any = None, **options: Any
) -> dict[str, tuple[float, float, float]]:
    """Median NMSE in dB, mean accuracy of activity and median seconds of every method, where somebody is active.

    With `network`, a prior, also of the Langevin receiver with it.
    """
    errors: dict[str, list[float]] = {}
    right: dict[str, list[float]] = {}
    seconds: dict[str, list[float]] = {}
    prior, rx, learned = CellPrior(), None, None
    for trial in range(draws):
        drop = draw_cell(scenario, 0, trial)
        rx = rx or LangevinReceiver(drop.pilots, scenario.antennas, **options)
        if network is not None:
            learned = learned or LangevinReceiver(drop.pilots, scenario.antennas, network, **options)
        truth, active = drop.x, drop.activity
        start = time.perf_counter()
        p = rx.sample(drop.y, drop.noise_var)
        seconds.setdefault("Langevin", []).append(time.perf_counter() - start)
        turbo, probability = reference.cell_tmp(*drop.matrices, drop.noise_var, prior.posterior)
        linear = reference.cell_lmmse(*drop.matrices, drop.noise_var).T
        rows = {
            "message passing": (turbo.T, probability >= 0.5),
            "Langevin": (p.mean, p.probability >= 0.5),
            "mean of chains": (p.chains.mean(0), p.chain_probability >= 0.5),
            "LMMSE": (linear, lmmse_activity(linear, scenario)),
        }
        if learned is not None:
            start = time.perf_counter()
            p = learned.sample(drop.y, drop.noise_var)
            seconds.setdefault("network", []).append(time.perf_counter() - start)
            rows["network"] = p.mean, p.probability >= 0.5
            rows["network, mean of chains"] = p.chains.mean(0), p.chain_probability >= 0.5
        for name, (x, decided) in rows.items():
            right.setdefault(name, []).append(float(np.mean(decided == active)))
            if active.any():
                errors.setdefault(name, []).append(nmse_db(x, truth))
    return {
        name: (float(np.median(errors[name])), float(np.mean(right[name])), float(np.median(seconds.get(name, [0.0]))))
        for name in errors
    }


def over_snr(draws: int) -> None:
    for symbols in (48, 24):
        for snr in (-10, 0, 10, 20, 30, 45):
            found = measure(CellScenario(symbols=symbols, snr_db=snr), draws, threads=1)
            cells = "  ".join(f"{name} {e:6.2f} dB {a:.4f}" for name, (e, a, _) in found.items())
            print(f"L={symbols} {snr:3d} dB: {cells}", flush=True)


def over_antennas(draws: int) -> None:
    for snr in (-10, 0, 10, 20, 30, 45):
        row = []
        for antennas in (8, 16, 32, 64):
            found = measure(CellScenario(antennas=antennas, snr_db=snr), draws, threads=1)
            row.append(f"M={antennas} {found['Langevin'][0]:6.2f} dB {found['Langevin'][1]:.4f}")
        print(f"{snr:3d} dB: " + "  ".join(row), flush=True)


def over_networks(draws: int, name: str) -> None:
    """The receiver with a score network: L, then M and N on either side of the default."""
    network = load_cell_prior(name)
    columns = ("message passing", "Langevin", "network", "network, mean of chains")
    worlds: list[dict[str, int]] = [{}, {"symbols": 24}]
    worlds += [{"antennas": m} for m in (8, 32, 64)] + [{"devices": n, "symbols": 3 * n // 4} for n in (32, 128)]
    for world in worlds:
        for snr in (-10, 0, 10, 20, 30, 45):
            found = measure(CellScenario(snr_db=snr, **world), draws, network, threads=1)
            cells = "  ".join(f"{c} {found[c][0]:6.2f} dB {found[c][1]:.4f}" for c in columns)
            times = f"{1e3 * found['Langevin'][2]:.0f} / {1e3 * found['network'][2]:.0f} ms"
            print(f"{world} {snr:3d} dB: {cells}  {times}", flush=True)


def over_steps(draws: int) -> None:
    """NMSE of the mean of chains, the plain Monte-Carlo estimate, against steps of a chain."""
    paper = [dict(sampler="paper", levels=100, beta=b, step=s) for b in (0.01, 0.1, 0.9) for s in (0.7, 1.0, 1.4)]
    for snr in (10, 20, 30, 45):
        scenario = CellScenario(snr_db=snr)
        for levels, steps in ((20, 1), (20, 2), (40, 3)):
            found = measure(scenario, draws, levels=levels, steps=steps, threads=1)["mean of chains"]
            print(f"{snr} dB preconditioned, {levels * steps} steps: {found[0]:.2f} dB", flush=True)
        for steps in (2, 6, 30):
            best = min(
                (measure(scenario, draws, steps=steps, threads=1, **o)["mean of chains"][0], o["beta"], o["step"])
                for o in paper
            )
            print(f"{snr} dB paper, {100 * steps} steps: {best[0]:.2f} dB (beta {best[1]}, step {best[2]})", flush=True)


def over_powers(draws: int) -> None:
    """Devices missed, found in error, and NMSE over all draws, with powers told wrongly or learned."""
    for snr in (0, 20, 40):
        drops = [draw_cell(CellScenario(snr_db=snr), 0, trial) for trial in range(draws)]
        for told in (-12, -6, 0, 6, 12, "unknown"):
            power = told if isinstance(told, str) else CellPrior().mean_power * 10 ** (told / 10)
            rx = LangevinReceiver(drops[0].pilots, 16, power=power, threads=1)
            scores = [metrics.score(rx.detect(d.y, d.noise_var), d.active, d.channels) for d in drops]
            total = sum(scores[1:], scores[0])
            print(f"{snr} dB, {told}: {total.missed}, {total.false_alarms} of {total.active}, {total.nmse_db:.2f} dB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("table", choices=("snr", "antennas", "steps", "network", "powers"))
    parser.add_argument("--draws", type=int, default=60)
    parser.add_argument("--prior", default="cell-network", help="of the table `network`")
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.table == "network":
        return over_networks(args.draws, args.prior)
    {"snr": over_snr, "antennas": over_antennas, "steps": over_steps, "powers": over_powers}[args.table](args.draws)


if __name__ == "__main__":
    main()
