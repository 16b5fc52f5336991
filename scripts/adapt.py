"""What `jf.adapt` makes of a prior from received blocks: docs/training.md.

    python scripts/adapt.py --blocks 500 --minutes 30 --output /tmp/adapted.safetensors

draws blocks of CDL-C (departure columns, K=800, T=20, 10 dB, powers unknown), adapts the prior to them, and measures
both on new drops with T=20 and T=10. Interrupted, the same command goes on.
"""

from __future__ import annotations

import argparse

import torch

import jadce_fast as jf
from jadce_fast.campaigns.ofdm_drop import Scenario, draw_drop, draw_pilots
from jadce_fast.metrics import score

RECEIVED, NEW = 77, 0  # seeds


def received(count: int, symbols: int) -> list[jf.Capture]:
    """Blocks as a base station has them: pilots, noise variance, no truth."""
    scenario = Scenario(symbols=symbols)
    pilots = draw_pilots(scenario, RECEIVED)
    drops = (draw_drop(scenario, RECEIVED, trial, pilots) for trial in range(count))
    return [jf.Capture(drop.y, drop.pilots, drop.noise_var, scenario.activity_rate) for drop in drops]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--blocks", type=int, default=500)
    parser.add_argument("--symbols", type=int, default=20, help="of the blocks to learn from")
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--prior", default="cdl-tiny+cdl-large")
    parser.add_argument("--trials", type=int, default=50)
    parser.add_argument("--output", required=True, help="prior to write, .safetensors")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    found = jf.adapt(
        received(options.blocks, options.symbols),
        options.output,
        prior=options.prior,
        minutes=options.minutes,
        threads=options.threads,
        report=lambda done, step, line: print(line, flush=True) if line else None,
    )
    print({name: value for name, value in found.items() if name not in ("history", "losses")}, flush=True)
    for symbols in (20, 10):
        scenario = Scenario(symbols=symbols)
        drops = [draw_drop(scenario, NEW, trial) for trial in range(options.trials)]
        for name in (options.prior, options.output):
            rx = jf.Receiver(drops[0].pilots, 32, name, scenario.activity_rate, threads=options.threads)
            total = sum(score(rx.detect(drop.y, drop.noise_var), drop.active, drop.channels) for drop in drops)
            wrong = f"{total.missed} missed, {total.false_alarms} false alarms"
            print(f"T={symbols} {name}: {total.nmse_db:.2f} dB, {wrong}", flush=True)


if __name__ == "__main__":
    main()
