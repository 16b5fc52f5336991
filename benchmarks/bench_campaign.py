"""What the engine of campaigns costs: ``python benchmarks/bench_campaign.py --drops 600 --workers 2``.

Drops of K=800, T=20 are detected in a plain loop; then the engine alone keeps as many whose numbers are at hand:
processor time of a drop of either. At last a campaign detects them in several processes, on a machine that does nothing
else: the share of all processors' time that the loop would have needed, start included.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from jadce_fast import Receiver
from jadce_fast.campaigns import Scenario, draw_drop, simulate
from jadce_fast.campaigns.engine import Point, Stop, run
from jadce_fast.campaigns.odds import count_odds, numbers_of
from jadce_fast.campaigns.ofdm_drop import draw_pilots
from jadce_fast.campaigns.ofdm_outcome import record
from jadce_fast.campaigns.store import Store
from jadce_fast.detection import Detection
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

    def detect(trial: int) -> tuple[Detection, dict[str, float]]:
        drop = draw_drop(scenario, 0, trial, pilots)
        found = receiver.detect(drop.y, drop.noise_var)
        errors = vars(score(found, drop.active, drop.channels)).copy()
        del errors["trials"]
        return found, errors | {"iterations": found.iterations, "converged": found.converged, "seconds": 0.01}

    def loop(count: int) -> None:
        for trial in range(count):
            detect(trial)

    def engine(folder: Path) -> None:
        store = Store(folder, "bench", {})
        lists = store.lists({"prior": options.prior})

        def count(_: int, done: int) -> None:
            record(options.prior, {name: values[done - 1] for name, values in lists.items()}, done - 1, 0)

        def measure(_: int) -> dict[str, float]:
            return numbers | numbers_of(count_odds(found, drop.active))

        run(store, [Point({"": lists}, int, {"": measure})], Stop(drops), progress=count)

    loop(20)  # warms caches
    drop = draw_drop(scenario, 0, 0, pilots)
    found, numbers = detect(0)
    bare, _ = measured(partial(loop, drops))
    print(f"drawing, detecting and scoring: {1e3 * bare / drops:.2f} ms of processor a drop", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        alone, _ = measured(partial(engine, Path(folder) / "engine"))
        print(f"the engine: {1e3 * alone / drops:.3f} ms a drop, {alone / bare:.1%} of that", flush=True)
        simulated = partial(simulate, scenario, (options.prior,), drops, workers=options.workers)
        _, wall = measured(partial(simulated, resume=Path(folder) / "kept"))
    print(f"{options.workers} workers: {wall:.1f} s, {bare / wall / options.workers:.0%} of it drops and detections")


if __name__ == "__main__":
    main()
