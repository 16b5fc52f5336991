"""A coded grant-free uplink in Sionna: blocks that are lost, by what is known of the channels.

Needs ``pip install jadce-fast[sim]``. Of 400 devices some ten are active. They send eight symbols of pilots and seven
of QPSK data behind a rate-1/2 LDPC code, all on the same resource elements. A base station detects them, equalises
(LMMSE) and decodes; a device that it does not find has lost its block.

    python examples/coded_uplink.py uplink.csv --plot uplink.png
"""

from __future__ import annotations

import argparse
import csv
import time
from pathlib import Path

import numpy as np
import torch
from sionna.phy.fec.ldpc import LDPC5GDecoder, LDPC5GEncoder
from sionna.phy.mapping import Demapper, Mapper
from sionna.phy.ofdm import ResourceGrid, ResourceGridMapper

import jadce_fast as jf
from jadce_fast.sionna import DetectedEqualizer, GrantFreeEstimator, GrantFreePattern

RECEIVERS = {
    "true channels": "true channels",
    "this library": "this library (prior cdl)",
    "gaussian": "Gaussian prior",
    "oracle": "LMMSE, told who is active",
    "somp": "SOMP",
}
COLUMNS = ("snr_db", "receiver", "blocks", "active", "lost", "missed", "false_alarms", "bler", "seconds")


class Uplink:
    """A link and its receivers."""

    def __init__(
        self,
        *,
        devices: int = 400,
        antennas: int = 32,
        subcarriers: int = 48,
        pilot_symbols: int = 8,
        data_symbols: int = 7,
    ) -> None:
        self.antennas, self.subcarriers, self.devices = antennas, subcarriers, devices
        self.rate = 10 / devices
        self.pilots = jf.dft_pilots(devices, pilot_symbols, subcarriers)
        self.grid = ResourceGrid(
            num_ofdm_symbols=pilot_symbols + data_symbols,
            fft_size=subcarriers,
            subcarrier_spacing=30e3,
            num_tx=devices,
            pilot_pattern=GrantFreePattern(self.pilots, pilot_symbols + data_symbols),
        )
        coded = 2 * data_symbols * subcarriers
        self.encoder = LDPC5GEncoder(coded // 2, coded)
        self.mapper, self.to_grid = Mapper("qam", 2), ResourceGridMapper(self.grid)
        self.equalizer, self.demapper = DetectedEqualizer(self.grid), Demapper("app", "qam", 2)
        self.decoder = LDPC5GDecoder(self.encoder, hard_out=True)
        ours = jf.Receiver(self.pilots, antennas, "cdl", self.rate, power=1.0)
        self.planned = {
            "this library": ours,
            "gaussian": jf.Receiver(self.pilots, antennas, "gaussian", self.rate, power=1.0),
            "somp": jf.baselines.somp(self.pilots, antennas, self.rate, 1.0, prior="cdl"),
        }
        self.estimator = GrantFreeEstimator(self.grid, ours)

    def send(self, snr_db: float, rng: np.random.Generator):
        """Bits (A, k), who is active (A,), channels [1, 1, M, K, 1, 1, N] and received grids [1, 1, M, symbols, N]."""
        active = np.flatnonzero(rng.random(self.devices) < self.rate)
        paths = jf.channels.draw_paths(len(active), "C", seed=rng)
        h = np.zeros((self.antennas, self.devices, self.subcarriers), np.complex64)
        drawn = jf.channels.unit_power(jf.channels.synthesize(paths, self.subcarriers, self.antennas))
        h[:, active] = drawn.transpose(2, 0, 1)
        bits = torch.from_numpy(rng.integers(0, 2, (len(active), self.encoder.k)).astype(np.float32))
        data = torch.zeros(1, self.devices, 1, self.grid.num_data_symbols, dtype=torch.complex64)
        data[0, active, 0] = self.mapper(self.encoder(bits))
        x = self.to_grid(data)[0, active, 0]  # (A, symbols, N)
        channels = torch.from_numpy(h)
        y = torch.einsum("man,atn->mtn", channels[:, active], x)
        noise = torch.from_numpy(rng.standard_normal((*y.shape, 2), np.float32)).view(torch.complex64)[..., 0]
        y = y + np.float32(np.sqrt(10 ** (-snr_db / 10) / 2)) * noise
        return bits, active, channels[None, None, :, :, None, None], y[None, None]

    def lost(self, name: str, sent, no: torch.Tensor) -> tuple[int, int, int]:
        """Active devices whose blocks are lost, those of them that were not found, and false alarms."""
        bits, active, channels, y = sent
        if name == "true channels":
            shape = (*channels.shape[:5], self.grid.num_ofdm_symbols, self.subcarriers)
            h, var, found = channels.expand(shape), torch.zeros(()), active
        else:
            planned = self.planned.get(name) or jf.baselines.oracle(
                self.pilots, self.antennas, active, prior="cdl", power=1.0
            )
            self.estimator.receiver = planned
            h, var = self.estimator(y, no)
            found = self.estimator.detections[0][0].active
        x, no_eff = self.equalizer(y, h, var, no)
        there = np.isin(active, found)
        llr = self.demapper(x[0, active, 0], no_eff[0, active, 0])
        right = (self.decoder(llr) == bits).all(-1).numpy() & there
        return int((~right).sum()), int((~there).sum()), len(np.setdiff1d(found, active))


def rows(link: Uplink, snrs: list[float], blocks: int, seed: int = 0):
    """A row a signal-to-noise ratio and receiver; all of them see the same blocks."""
    for snr_db in snrs:
        no = torch.tensor(10 ** (-snr_db / 10))
        total = {name: [0, 0, 0] for name in RECEIVERS}
        seconds, active = dict.fromkeys(RECEIVERS, 0.0), 0
        for block in range(blocks):
            sent = link.send(snr_db, np.random.default_rng((seed, block)))
            active += len(sent[1])
            for name in RECEIVERS if len(sent[1]) else ():
                begin = time.perf_counter()
                total[name] = [a + b for a, b in zip(total[name], link.lost(name, sent, no), strict=True)]
                seconds[name] += time.perf_counter() - begin
        for name, (lost, missed, alarms) in total.items():
            row = {"snr_db": snr_db, "receiver": name, "blocks": blocks, "active": active, "lost": lost}
            row |= {"missed": missed, "false_alarms": alarms, "bler": round(lost / max(active, 1), 5)}
            yield row | {"seconds": round(seconds[name], 1)}


def plot(found: list[dict], target: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(6.4, 4.2), layout="constrained")
    for (name, label), marker in zip(RECEIVERS.items(), "xo^sd", strict=True):
        points = [(row["snr_db"], row["bler"]) for row in found if row["receiver"] == name and row["bler"] > 0]
        axes.semilogy(*zip(*points, strict=True), marker=marker, label=label)
    axes.set(xlabel="SNR a device, antenna and subcarrier, dB", ylabel="lost blocks", ylim=(1e-3, 1.2))
    axes.grid(alpha=0.3, which="both")
    axes.legend()
    figure.savefig(target, dpi=120)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("output", type=Path, help="table to write, .csv")
    parser.add_argument("--snr", type=float, nargs="+", default=[-14, -13, -12, -11, -10, -9, -8, -4, 0, 4])
    parser.add_argument("--blocks", type=int, default=100)
    parser.add_argument("--plot", type=Path)
    args = parser.parse_args(arguments)
    found = []
    with open(args.output, "w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        for row in rows(Uplink(), args.snr, args.blocks):
            found.append(row)
            writer.writerow(row)
            file.flush()
            print(row, flush=True)
    if args.plot:
        plot(found, args.plot)


if __name__ == "__main__":
    torch.set_num_threads(1)  # operators are small: threads would wait for one another
    main()
