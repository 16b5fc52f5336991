"""Prints the tables of docs/cai-results.md, and draws its pictures, from what campaigns of `jadce figures` have kept.

``python scripts/cai_tables.py out/cai --pictures docs/images``, after ``jadce figures all --output out/cai``. Every
receiver is shown with all the drops that it has; what another one is behind is told on the drops that both have.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jadce_fast.campaigns import Record, summarize
from jadce_fast.campaigns.report import read_report
from jadce_fast.figures import cai
from jadce_fast.figures.cai_5 import draw
from jadce_fast.figures.style import save_figure
from jadce_fast.figures.sweep import LABELS, rates_figure, sweep_figure

AXES = {
    "cai-5": "most_iterations",
    "cai-6": "snr_db",
    "cai-8": "devices",
    "cai-9": "activity_rate",
    "cai-10": "symbols",
}
OURS = cai.OURS[0]


def number(value: float | None, digits: int = 1) -> str:
    return "" if value is None else f"{value:.{digits}f}".replace("-", "−")


def cell(row: dict[str, Any] | None) -> str:
    if row is None:
        return ""
    level = number(row["nmse_db"])
    if row["nmse_low_db"] is not None and row["nmse_high_db"] is not None:
        level += f" ± {(row['nmse_high_db'] - row['nmse_low_db']) / 2:.1f}"
    return f"{level}, {row['missed']} + {row['false_alarms']} of {row['active']}"


def behind(own: Sequence[Record], other: Sequence[Record]) -> float:
    """Decibels by which `other` is worse than `own` on the drops of both."""
    shared = {r.trial for r in own} & {r.trial for r in other}
    levels = [summarize([r for r in some if r.trial in shared], some[0].prior).nmse_db or 0.0 for some in (own, other)]
    return levels[1] - levels[0]


def print_table(rows: list[dict[str, Any]], records: list[list[Record]], axis: str) -> None:
    values = sorted({row[axis] for row in rows})
    at = {(row["prior"], row[axis]): i for i, row in enumerate(rows)}
    print(f"| {axis} | drops | " + " | ".join(f"{v:g}" for v in values) + " |")
    print("|---" * (2 + len(values)) + "|")
    receivers = [name for name in LABELS if any(row["prior"] == name for row in rows)]
    for receiver in receivers:
        own = [at.get((receiver, v)) for v in values]
        drops = sorted({rows[i]["trials"] for i in own if i is not None})
        count = "–".join(map(str, dict.fromkeys((drops[0], drops[-1]))))
        cells = [cell(None if i is None else rows[i]) for i in own]
        print(f"| {LABELS[receiver]} | {count} | " + " | ".join(cells) + " |")
    for label, allowed in (("the paper's baselines", cai.PAPERS), ("all baselines", (*cai.PAPERS, *cai.OTHERS))):
        leads = []
        for v in values:
            apart = {
                name: behind(records[at[OURS, v]], records[at[name, v]])
                for name in allowed
                if (OURS, v) in at and (name, v) in at
            }
            best = min(apart, key=lambda name: apart[name], default="")
            leads.append(f"{number(apart[best])} dB, {LABELS[best]}" if best else "")
        print(f"| before {label} | | " + " | ".join(leads) + " |")
    print()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--pictures", type=Path)
    options = parser.parse_args()
    for name, axis in AXES.items():
        if not (options.folder / name).is_dir():
            continue
        report = read_report(options.folder / name)
        pictures: dict[str, Any] = {}
        print(f"### {name}\n")
        if name == "cai-5":
            for devices in sorted({row["devices"] for row in report.rows}):
                own = [i for i, row in enumerate(report.rows) if row["devices"] == devices]
                print(f"K={devices}\n")
                print_table([report.rows[i] for i in own], [report.records[i] for i in own], axis)
            pictures[name] = draw(report.rows, "T=30, λ=0.05, 10 dB")
        else:
            print_table(report.rows, report.records, axis)
            pictures[name] = sweep_figure(report.rows, axis, "", rates=name != "cai-6")
        if name == "cai-6":
            pictures["cai-7"] = rates_figure(report.rows, axis)
        if options.pictures is not None:
            for picture, figure in pictures.items():
                save_figure(figure, options.pictures / f"{picture}.png")
    path = options.folder / "complexity.csv"
    if path.exists():
        print("| receiver | iterations | Gflop | ms | Gflop/s |\n|---|---|---|---|---|")
        for row in csv.DictReader(path.open()):
            label, its = LABELS.get(row["prior"], row["prior"]), number(float(row["iterations"]))
            gflop, rate = (f"{float(row[n]):.3g}" for n in ("gflop", "gflop_per_second"))
            print(f"| {label} | {its} | {gflop} | {1e3 * float(row['seconds_p50']):.3g} | {rate} |")


if __name__ == "__main__":
    main()
