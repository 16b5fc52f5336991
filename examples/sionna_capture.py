"""Write a capture with channels of Sionna's CDL models.

Needs only NumPy and ``pip install sionna-no-rt==2.2.0``. Nothing here uses jadce_fast: it shows what another
simulator, or a testbed, has to put into a file.

    python examples/sionna_capture.py capture.npz --model C --devices 800 --symbols 20
    jadce detect capture.npz
"""

from __future__ import annotations

import argparse

import numpy as np
from sionna.phy import config
from sionna.phy.channel import cir_to_ofdm_channel, subcarrier_frequencies
from sionna.phy.channel.tr38901 import CDL, PanelArray

CARRIER = 2.6e9
SPACING = 30e3


def draw_channels(args: argparse.Namespace, count: int, rng: np.random.Generator) -> np.ndarray:
    """Uplink channels (count, N, M) of unit mean power, each with its own azimuth and delay spread."""
    array = {"num_rows_per_panel": 1, "polarization": "single", "polarization_type": "V"}
    array |= {"antenna_pattern": "omni", "carrier_frequency": CARRIER}
    device = PanelArray(num_cols_per_panel=1, **array)
    station = PanelArray(num_cols_per_panel=args.antennas, **array)
    frequencies = subcarrier_frequencies(args.subcarriers, SPACING)
    channels = np.zeros((count, args.subcarriers, args.antennas), np.complex64)
    for channel in channels:
        spread = rng.uniform(*args.delay_spread) * 1e-9
        azimuth = rng.uniform(-np.pi, np.pi)
        model = CDL(args.model, spread, CARRIER, device, station, "uplink", bs_orientation=[azimuth, 0.0, 0.0])
        gains, delays = model(1, 1, 1.0)
        channel[:] = cir_to_ofdm_channel(frequencies, gains, delays)[0, 0, :, 0, 0, 0].numpy().T
        channel /= np.sqrt(np.mean(np.abs(channel) ** 2))
    return channels


def draw_pilots(args: argparse.Namespace, rng: np.random.Generator) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Return the keys of the file that describe the pilots, and the pilots (T, N, K) themselves, of unit power."""
    shape = (args.symbols, args.subcarriers, args.devices)
    if args.pilots == "qpsk":
        pilots = ((1 - 2 * rng.integers(0, 2, shape)) + 1j * (1 - 2 * rng.integers(0, 2, shape))) / np.sqrt(2)
        return {"pilots": pilots.astype(np.complex64)}, pilots
    rows = np.stack([rng.permutation(args.devices)[: args.symbols] for _ in range(args.subcarriers)], axis=1)
    pilots = np.exp(-2j * np.pi * rows[:, :, None] * np.arange(args.devices) / args.devices)
    return {"pilot_rows": rows, "devices": np.array(args.devices)}, pilots


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("output", help="capture to write, .npz")
    parser.add_argument("--model", choices="ABCDE", default="C", help="CDL model")
    parser.add_argument("--pilots", choices=["dft", "qpsk"], default="dft")
    parser.add_argument("--devices", type=int, default=800, metavar="K")
    parser.add_argument("--symbols", type=int, default=20, metavar="T")
    parser.add_argument("--subcarriers", type=int, default=48, metavar="N", help="the shipped prior needs 48")
    parser.add_argument("--antennas", type=int, default=32, metavar="M")
    parser.add_argument("--activity-rate", type=float, default=0.05)
    parser.add_argument("--snr", type=float, default=10.0, help="per device, antenna and subcarrier, in dB")
    parser.add_argument("--delay-spread", type=float, nargs=2, default=[100, 363], metavar=("LOW", "HIGH"),
                        help="range in ns")  # fmt: skip
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()

    rng = np.random.default_rng(args.seed)
    config.seed = args.seed
    in_file, pilots = draw_pilots(args, rng)
    active = np.flatnonzero(rng.random(args.devices) < args.activity_rate)
    channels = draw_channels(args, len(active), rng)
    noise_var = 10 ** (-args.snr / 10)
    shape = (args.symbols, args.subcarriers, args.antennas)
    noise = np.sqrt(noise_var / 2) * (rng.standard_normal(shape) + 1j * rng.standard_normal(shape))
    y = np.einsum("tnk,knm->tnm", pilots[:, :, active], channels) + noise

    np.savez_compressed(
        args.output,
        y=y.astype(np.complex64),
        noise_var=noise_var,
        activity_rate=args.activity_rate,
        # The truth is for scoring only; a capture of a real link does not have it.
        true_active=active,
        true_channels=channels,
        **in_file,
    )
    print(f"{args.output}: CDL-{args.model}, {args.pilots}, {len(active)} of {args.devices} devices active")


if __name__ == "__main__":
    main()
