"""Intervals of docs/langevin-results.md, from the draws that `jadce figures tang-5` and `tang-6` left in a directory.

python scripts/cell_intervals.py out 300
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

from jadce_fast.campaigns.cell_campaign import CellRecord, bootstrap, simulate_cell
from jadce_fast.figures import tang_5, tang_6
from jadce_fast.figures.cell_curves import TRAINING


def records(name: str, curve: int, snr: float, receiver: str, folder: Path, draws: int) -> list[CellRecord]:
    """Records of one receiver at one point, kept or measured now."""
    point = replace({"tang-5": tang_5, "tang-6": tang_6}[name].CURVES[curve].scenario, snr_db=snr)
    return simulate_cell([point], [receiver], draws, belief=TRAINING, threads=1, resume=folder / name)


def level(ratios: np.ndarray, statistic: str) -> float:
    """NMSE in dB of the draws' ratios of energies."""
    db = 10 * np.log10(np.maximum(ratios, 1e-30))
    if statistic == "median":
        return float(np.median(db))
    return float(db.mean()) if statistic == "mean of dB" else float(10 * np.log10(ratios.mean()))


def ratios(found: list[CellRecord]) -> np.ndarray:
    """Error over channel energy of draws with an active device."""
    return np.array([r.error_energy / r.channel_energy for r in found if r.channel_energy > 0])


def main() -> None:
    folder, draws = Path(sys.argv[1]), int(sys.argv[2])
    print("against LMMSE: dB and accuracy\n| SNR, dB | NMSE below LMMSE's | accuracy above LMMSE's |\n|---|---|---|")
    for snr in (-10.0, 0.0, 10.0, 20.0, 30.0, 40.0, 45.0, 50.0):
        cell, other = (records("tang-5", 0, snr, name, folder, draws) for name in ("cell", "lmmse"))
        wrong = [np.array([r.missed + r.false_alarms for r in x]) / 64 for x in (cell, other)]
        gain = bootstrap(lambda a, b: level(b, "median") - level(a, "median"), ratios(cell), ratios(other))
        better = bootstrap(lambda a, b: float((b - a).mean()), *wrong)
        cells = ["{:.2f} [{:.2f}, {:.2f}]".format(*gain), "{:.4f} [{:.4f}, {:.4f}]".format(*better)]
        print(f"| {snr:g} | " + " | ".join(cells) + " |")
    print("\nlargest move over M = 8, 16, 32, 64, in dB")
    print("| SNR, dB | median | mean of dB | mean of ratios |\n|---|---|---|---|")
    for snr in (-10.0, 0.0, 10.0, 20.0, 30.0, 45.0):
        columns = [ratios(records("tang-6", i, snr, "cell", folder, draws)) for i in range(4)]
        cells = []
        for statistic in ("median", "mean of dB", "mean of ratios"):

            def move(*x: np.ndarray, statistic: str = statistic) -> float:
                return float(np.ptp([level(column, statistic) for column in x]))

            cells.append("{:.2f} [{:.2f}, {:.2f}]".format(*bootstrap(move, *columns)))
        print(f"| {snr:g} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
