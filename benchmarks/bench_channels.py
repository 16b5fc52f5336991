"""Channels per second: this library's generator against Sionna's, CDL-C, N = 48, M = 32.

Run with ``python benchmarks/bench_channels.py``. Sionna needs one model object per delay spread, so it is
timed with a fixed one, in batches, which favours it.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

from timing import measure, report

from jadce_fast.channels import cdl

CARRIER = 2.6e9


def sionna_generator(batch: int) -> Callable[[], object]:
    from sionna.phy.channel import cir_to_ofdm_channel, subcarrier_frequencies
    from sionna.phy.channel.tr38901 import CDL, PanelArray

    array = {"num_rows_per_panel": 1, "polarization": "single", "polarization_type": "V"}
    array |= {"antenna_pattern": "omni", "carrier_frequency": CARRIER}
    device = PanelArray(num_cols_per_panel=1, **array)
    station = PanelArray(num_cols_per_panel=32, **array)
    model = CDL("C", 200e-9, CARRIER, device, station, "uplink")
    frequencies = subcarrier_frequencies(48, 30e3)
    return lambda: cir_to_ofdm_channel(frequencies, *model(batch, 1, 1.0), normalize=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=64, help="channels of one call of Sionna")
    parser.add_argument("--count", type=int, default=1024, help="channels of one call of ours")
    parser.add_argument("--threads", type=int, default=1, help="threads of torch")
    args = parser.parse_args()
    generators = {
        "jadce_fast": (lambda: cdl(args.count), args.count),
        "jadce_fast, arrival": (lambda: cdl(args.count, angles="arrival"), args.count),
        "jadce_fast, randomised": (lambda: cdl(args.count, randomize=True), args.count),
    }
    try:
        import torch

        torch.set_num_threads(args.threads)
        generators["Sionna"] = (sionna_generator(args.batch), args.batch)
    except ImportError as error:
        print(f"Sionna left out: {error}")
    rows = []
    for name, (run, count) in generators.items():
        time = measure(run)
        rates = {"channels/s": 1e3 * count / time["p50_ms"], "at p99": 1e3 * count / time["p99_ms"]}
        rows.append({"generator": name} | rates)
    report("Channels per second", rows)


if __name__ == "__main__":
    main()
