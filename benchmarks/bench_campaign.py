"""What the engine of campaigns costs: ``python benchmarks/bench_campaign.py --drops 600 --workers 2``.

The same drops of K=800, T=20 are detected in a plain loop, by a campaign in one process, and by one in several:
processor time of a drop, and the share of all processors' time that the loop would have needed, start included. On a
machine that does nothing else.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from jadce_fast import Receiver
from jadce_fast.campaigns import Scenario, draw_drop, simulate
from jadce_fast.campaigns.ofdm_drop import draw_pilots
from jadce_fast.metrics import score


def measured(what: Callable[[], object]) -> tuple[float, float]:
    """Seconds of processors in this process, and seconds."""
    before, start = time.process_time(), time.perf_counter()
    what()
    return time.process_time() - before, time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--drops", type=int, default=600)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--prior", default="cdl-tiny+cdl-large")
    options = parser.parse_args()
    scenario, drops = Scenario(), options.drops
    pilots = draw_pilots(scenario)
    receiver = Receiver(pilots, 32, options.prior, scenario.activity_rate, threads=1)

    def loop(drops: int = drops) -> None:
        for trial in range(drops):
            drop = draw_drop(scenario, 0, trial, pilots)
            score(receiver.detect(drop.y, drop.noise_var), drop.active, drop.channels)

    def campaign(workers: int) -> None:
        with tempfile.TemporaryDirectory() as folder:
            kept = Path(folder) / "kept"
            simulate(scenario, (options.prior,), drops, threads=1, workers=workers, resume=kept)

    loop(20)  # warms caches
    bare, _ = measured(loop)
    print(f"plain loop: {1e3 * bare / drops:.2f} ms of processor a drop")
    one, _ = measured(lambda: campaign(1))
    print(f"campaign, one process: {1e3 * one / drops:.2f} ms a drop, {one / bare - 1:+.1%}")
    _, wall = measured(lambda: campaign(options.workers))
    print(
        f"campaign, {options.workers} workers: {1e3 * wall / drops:.2f} ms a drop, {wall:.1f} s, "
        f"{bare / wall / options.workers:.0%} of the processors' time is drops and detections"
    )


if __name__ == "__main__":
    main()
