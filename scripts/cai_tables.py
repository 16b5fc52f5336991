"""Prints the tables of docs/cai-results.md from the CSVs of `jadce figures`.

``python scripts/cai_tables.py out``, after ``jadce figures all --output out``.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path
from typing import Any

from jadce_fast.figures.sweep import LABELS

AXES = {"cai-6": "snr_db", "cai-8": "devices", "cai-9": "activity_rate", "cai-10": "symbols"}


def number(text: str, digits: int = 1) -> str:
    return f"{float(text):.{digits}f}".replace("-", "−") if text else ""


def cell(row: dict[str, str] | None) -> str:
    if row is None:
        return ""
    level = number(row["nmse_db"])
    if row["nmse_low_db"] and row["nmse_high_db"]:
        level += f" ± {(float(row['nmse_high_db']) - float(row['nmse_low_db'])) / 2:.1f}"
    return f"{level}, {row['missed']} + {row['false_alarms']}"


def print_table(rows: list[dict[str, str]], axis: str) -> None:
    values = sorted({row[axis] for row in rows}, key=float)
    active = {row[axis]: row["active"] for row in rows}
    print(f"| {axis} | " + " | ".join(f"{float(v):g}" for v in values) + " |")
    print("|---" * (1 + len(values)) + "|")
    print("| active devices | " + " | ".join(active[v] for v in values) + " |")
    for receiver in dict.fromkeys(row["prior"] for row in rows):
        own: dict[str, Any] = {row[axis]: row for row in rows if row["prior"] == receiver}
        print(f"| {LABELS.get(receiver, receiver)} | " + " | ".join(cell(own.get(v)) for v in values) + " |")
    print()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    for name in ("cai-5", *AXES):
        path = folder / f"{name}.csv"
        if not path.exists():
            continue
        rows = list(csv.DictReader(path.open()))
        print(f"### {name}, {rows[0]['trials']} drops a point\n")
        for devices in sorted({row["devices"] for row in rows}) if name == "cai-5" else [""]:
            if devices:
                print(f"K={devices}\n")
            print_table([r for r in rows if not devices or r["devices"] == devices], AXES.get(name, "most_iterations"))
    path = folder / "complexity.csv"
    if path.exists():
        print("| receiver | iterations | Gflop | ms | Gflop/s |\n|---|---|---|---|---|")
        for row in csv.DictReader(path.open()):
            label, its = LABELS.get(row["prior"], row["prior"]), number(row["iterations"])
            gflop, rate = (f"{float(row[n]):.3g}" for n in ("gflop", "gflop_per_second"))
            print(f"| {label} | {its} | {gflop} | {1e3 * float(row['seconds_p50']):.3g} | {rate} |")


if __name__ == "__main__":
    main()
