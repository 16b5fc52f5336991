"""Prints the table of docs/performance.md: NMSE of a detection that ends after fewer iterations than it would.

``python scripts/iterations.py``, a minute.
"""

from __future__ import annotations

import numpy as np

import jadce_fast as jf
from jadce_fast.campaigns.ofdm_drop import Scenario, draw_drop
from jadce_fast.metrics import score

LIMITS, DROPS = (3, 4, 5, 6, 24), 20
CASES = [(prior, symbols) for prior in ("cdl", "cdl-tiny", "gaussian") for symbols in (20, 10)]


def main() -> None:
    print(f"| prior | T | {' | '.join(map(str, LIMITS))} | iterations then | wrong |\n|" + "---|" * (len(LIMITS) + 4))
    for prior, symbols in CASES:
        drops = [draw_drop(Scenario(symbols=symbols), trial=trial) for trial in range(DROPS)]
        cells, rounds, wrong = [], 0.0, []
        for limit in LIMITS:
            errors, mistakes = [], 0
            for drop in drops:
                rx = jf.Receiver(drop.pilots, drop.y.shape[2], prior, 0.05, 1.0, rules=jf.Rules(max_iterations=limit))
                out = rx.detect(drop.y, drop.noise_var)
                found = score(out, drop.active, drop.channels)
                errors.append(found.nmse)
                mistakes += found.missed + found.false_alarms
                rounds += out.iterations / DROPS if limit == LIMITS[-1] else 0
            cells.append(f"{10 * np.log10(np.mean(errors)):.2f}".replace("-", "−"))
            wrong.append(str(mistakes))
        print(f"| `{prior}` | {symbols} | {' | '.join(cells)} | {rounds:.1f} | {', '.join(wrong)} |", flush=True)


if __name__ == "__main__":
    main()
