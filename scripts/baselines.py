"""Prints the tables of docs/baselines.md: receivers beside this library's, on the same drops, with their seconds.

``python scripts/baselines.py``, an hour; goes on from --resume.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from jadce_fast.campaigns import Record, Scenario, simulate, summarize
from jadce_fast.campaigns.ofdm_campaign import GENIE

RECEIVERS = [
    *("lmmse", "mmv-amp", "gmmv-amp", "bg", "covariance", "somp", "oracle"),
    *("tmp-em:4", "tmp-em:6", "tmp-em:12"),
    *("covariance:cdl", "somp:cdl", "oracle:cdl"),
    *("printed-stmp:cdl-tiny", "dps:cdl-tiny", "dps-1000:cdl-tiny", "cdl-tiny", "cdl", GENIE),
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--symbols", type=int, nargs="+", default=[10, 20, 40])
    parser.add_argument("--trials", type=int, default=10)
    parser.add_argument("--receivers", nargs="+", default=RECEIVERS)
    parser.add_argument("--resume", type=Path, help="Directory that keeps what is done.")
    options = parser.parse_args()

    def report(done: int, records: list[Record]) -> None:
        print(f"{done} of {options.trials} drops", file=sys.stderr, flush=True)

    tables = [
        simulate(
            Scenario(symbols=symbols),
            options.receivers,
            options.trials,
            seed=0,
            threads=1,
            resume=options.resume,
            progress=report,
        )
        for symbols in options.symbols
    ]
    print("| receiver | " + " | ".join(f"T={symbols}" for symbols in options.symbols) + " |")
    print("|---" * (1 + len(tables)) + "|")
    for name in options.receivers:
        cells = []
        for records in tables:
            o = summarize(records, name)
            nmse = f"{o.nmse_db:.1f}".replace("-", "−")
            cells.append(f"{nmse} dB, {o.missed} + {o.false_alarms}, {o.seconds_p50:.2g} s")
        print(f"| `{name}` | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
