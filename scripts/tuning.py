"""Prints the tables of docs/design.md: how the loop's constants act. ``python scripts/tuning.py``, some minutes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

import jadce_fast as jf
from jadce_fast.campaigns.ofdm_drop import Scenario, draw_drop
from jadce_fast.metrics import Score, score

POINTS = {
    "T=20": (Scenario(), 8),
    "T=10": (Scenario(symbols=10), 8),
    "T=5": (Scenario(symbols=5), 8),
    "K=3000, T=40": (Scenario(devices=3000, symbols=40), 2),
    "K=8000, T=40": (Scenario(devices=8000, symbols=40), 1),
}
LOOPS = [(0.7, 2, 0.7), (1.0, 2, 0.7), (1.3, 2, 0.7), (1.7, 2, 0.7), (1.0, 2, 0.5), (1.0, 99, 1.0), (1.3, 99, 1.0)]
CASCADES = [
    ("cdl-tiny", {}),
    ("cdl", {}),
    ("cdl-large", {}),
    *(("cdl-tiny+cdl-large", {"handover": fall}) for fall in (0.6, 0.8, 0.9, 0.93, 0.95)),
    ("cdl-tiny+cdl", {}),
    ("cdl-tiny+cdl+cdl-large", {}),
    *(("cdl-tiny+cdl-large", {"damping": damping}) for damping in (0.8, 0.9)),
]
SPREAD = {"T=20": Scenario(power_spread_db=20.0), "T=5": Scenario(symbols=5, power_spread_db=20.0)}


def measured(
    scenario: Scenario, trials: int, power: Any, prior: str = "cdl-tiny", **constants: Any
) -> tuple[Score, float]:
    """Sum of the scores of some drops, and mean iterations, with other constants than the library's."""
    total, iterations = Score(), []
    for trial in range(trials):
        drop, rules = draw_drop(scenario, trial=trial), jf.Rules(**constants)
        rx = jf.Receiver(drop.pilots, scenario.antennas, prior, scenario.activity_rate, power, rules=rules)
        found = rx.detect(drop.y, drop.noise_var)
        total += score(found, drop.active, drop.channels)
        iterations.append(found.iterations)
    return total, float(np.mean(iterations))


def line(label: str, cells: Iterable[str]) -> None:
    print(f"| {label} | " + " | ".join(cell.replace("-", "−") for cell in cells) + " |", flush=True)


def main() -> None:
    line("α, γ", POINTS)
    print("|---" * (len(POINTS) + 1) + "|")
    for caution, start, damping in LOOPS:
        constants = {"caution": caution, "damp_from": start, "damping": damping}
        found = (measured(scenario, trials, 1.0, **constants) for scenario, trials in POINTS.values())
        damped = f"{damping:g}" if start < 99 else "no damping"
        line(f"{caution:g} var/v, {damped}", (f"{s.nmse_db:.1f} ({iterations:.1f})" for s, iterations in found))
    print()
    line("prior", POINTS)
    print("|---" * (len(POINTS) + 1) + "|")
    for prior, constants in CASCADES:
        found = (measured(scenario, trials, 1.0, prior, **constants) for scenario, trials in POINTS.values())
        changed = "".join(f", {name} {value:g}" for name, value in constants.items())
        line(f"`{prior}`{changed}", (f"{s.nmse_db:.2f} ({iterations:.1f})" for s, iterations in found))
    print()
    line("threshold", SPREAD)
    print("|---" * (len(SPREAD) + 1) + "|")
    for threshold in (0.001, 0.01, 0.02, 0.05):
        found = (measured(scenario, 20, "unknown", threshold=threshold) for scenario in SPREAD.values())
        line(f"{threshold:g}", (f"{s.nmse_db:.2f}, {s.missed + s.false_alarms} wrong" for s, _ in found))


if __name__ == "__main__":
    main()
