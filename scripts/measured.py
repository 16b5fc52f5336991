"""Measure the table of docs/measured.md: recorded channels, and CDL channels over as many antennas.

python scripts/measured.py channels.npz [--rows 480 960] [--prior auto --prior mine.safetensors] [--drops 20]

The file has `channels` (S, N, M); `--rows` takes some of them, such as those of one place, and `--write FILE` writes
these for `jadce train --channels`. Without a file it measures CDL-C and CDL-D. Every line: misses and ghosts over all
drops, drops whose result was not trusted, and those that were trusted in spite of an error (silent).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

import jadce_fast as jf
from jadce_fast.campaigns.ofdm_drop import Scenario, received
from jadce_fast.channels import cdl, unit_power
from jadce_fast.metrics import score

SNR_DB = (0, 10, 20)


def measure(h: np.ndarray, prior: str, snr_db: float, drops: int, scenario: Scenario) -> str:
    """One line of the table, of channels (S, N, M) that the active devices draw."""
    pilots = jf.dft_pilots(scenario.devices, scenario.symbols, h.shape[1], seed=0)
    rx = jf.Receiver(pilots, h.shape[2], prior, scenario.activity_rate, threads=1)
    rng, noise_var, count = (
        np.random.default_rng(5),
        10 ** (-snr_db / 10),
        round(scenario.devices * scenario.activity_rate),
    )
    missed = ghosts = untrusted = silent = 0
    error = energy = 0.0
    used: list[str] = []
    for _ in range(drops):
        active = np.sort(rng.choice(scenario.devices, count, replace=False))
        truth = h[rng.choice(len(h), count, replace=False)]
        y = received(pilots, active, truth)
        y = y + np.sqrt(noise_var / 2) * rng.standard_normal((*y.shape, 2)).view(complex)[..., 0]
        out = rx.detect(y.astype(np.complex64), noise_var)
        scored = score(out, active, truth)
        errors = scored.missed + scored.false_alarms
        error, energy = error + scored.error_energy, energy + scored.channel_energy
        missed, ghosts = missed + scored.missed, ghosts + scored.false_alarms
        untrusted, silent = untrusted + (not out.trusted), silent + bool(out.trusted and errors)
        used.append(out.prior or prior)
    most = max(set(used), key=used.count)
    nmse = 10 * np.log10(error / energy)
    return f"{snr_db:3d} dB  {prior:24s} {nmse:7.2f} dB  {missed:4d} {ghosts:4d} {untrusted:4d} {silent:4d}  {most}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path, nargs="?")
    parser.add_argument("--rows", type=int, nargs=2, metavar=("FIRST", "END"))
    parser.add_argument("--write", type=Path)
    parser.add_argument("--prior", action="append")
    parser.add_argument("--drops", type=int, default=20)
    parser.add_argument("--antennas", type=int, default=4, help="of CDL channels")
    args = parser.parse_args()
    if args.file is None:
        sets = {f"CDL-{model}": cdl(1000, model, 48, args.antennas, seed=1) for model in "CD"}
    else:
        with np.load(args.file) as data:
            sets = {args.file.stem: unit_power(data["channels"][slice(*args.rows) if args.rows else slice(None)])}
    if args.write is not None:
        np.savez_compressed(args.write, channels=next(iter(sets.values())))
        return
    for name, h in sets.items():
        print(
            f"{name}: SNR, prior, NMSE, misses, ghosts, drops not trusted, silent errors, prior used most", flush=True
        )
        for prior in args.prior or ["auto"]:
            for snr_db in SNR_DB:
                print(measure(h, prior, snr_db, args.drops, Scenario()), flush=True)


if __name__ == "__main__":
    main()
