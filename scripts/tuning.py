"""Prints the tables of docs/design.md: how the loop's constants act. ``python scripts/tuning.py``, some minutes."""

from __future__ import annotations

import jadce_fast.receiver as receiver
from jadce_fast.campaigns.ofdm_campaign import simulate, summarize
from jadce_fast.campaigns.ofdm_drop import Scenario

POINTS = {
    "T=20": (Scenario(), 8),
    "T=10": (Scenario(symbols=10), 8),
    "T=5": (Scenario(symbols=5), 8),
    "K=3000, T=40": (Scenario(devices=3000, symbols=40), 2),
    "K=8000, T=40": (Scenario(devices=8000, symbols=40), 1),
}
LOOPS = [(0.7, 2, 0.7), (1.0, 2, 0.7), (1.3, 2, 0.7), (1.7, 2, 0.7), (1.0, 2, 0.5), (1.0, 99, 1.0), (1.3, 99, 1.0)]
SPREAD = {"T=20": Scenario(power_spread_db=20.0), "T=5": Scenario(symbols=5, power_spread_db=20.0)}


def main() -> None:
    usual = receiver._CAUTION, receiver._DAMP_FROM, receiver._DAMPING, receiver._THRESHOLD
    print("| α, γ | " + " | ".join(POINTS) + " |\n|" + "---|" * (len(POINTS) + 1))
    for caution, start, damping in LOOPS:
        receiver._CAUTION, receiver._DAMP_FROM, receiver._DAMPING = caution, start, damping
        cells = []
        for scenario, trials in POINTS.values():
            o = summarize(simulate(scenario, ("cdl-tiny",), trials, power="known"), "cdl-tiny")
            cells.append(f"{o.nmse_db:.1f} ({o.iterations:.1f})".replace("-", "−"))
        damped = f"{damping:g}" if start < 99 else "no damping"
        print(f"| {caution:g} var/v, {damped} | " + " | ".join(cells) + " |", flush=True)
    receiver._CAUTION, receiver._DAMP_FROM, receiver._DAMPING, _ = usual
    print("\n| threshold | " + " | ".join(SPREAD) + " |\n|" + "---|" * (len(SPREAD) + 1))
    for threshold in (0.001, 0.01, 0.02, 0.05):
        receiver._THRESHOLD = threshold
        cells = []
        for scenario in SPREAD.values():
            o = summarize(simulate(scenario, ("cdl-tiny",), 20), "cdl-tiny")
            cells.append(f"{o.nmse_db:.2f}, {o.missed + o.false_alarms} wrong".replace("-", "−"))
        print(f"| {threshold:g} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
