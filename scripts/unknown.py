"""Prints the tables of docs/unknown.md: noise of several variances, what is learned, and priors that step in."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

import jadce_fast as jf
from jadce_fast.campaigns.ofdm_drop import Scenario, draw_drop
from jadce_fast.metrics import Score, score
from jadce_fast.priors import DEFAULT

BLOCKS, SLOTS = 3, 60


def noise(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)) * np.sqrt(0.5)


def line(*cells: object) -> None:
    print("| " + " | ".join(map(str, cells)).replace("-", "−") + " |", flush=True)


def colours() -> None:
    print("| noise, K=400, T=20, 10 dB | as one variance: missed, ghosts, NMSE | as it is | trusted |\n|" + "---|" * 4)
    drop, rng = draw_drop(Scenario(devices=400), seed=1), np.random.default_rng(0)
    least, rx = drop.noise_var, jf.Receiver(drop.pilots, 32, "cdl")
    direction = np.exp(0.2j * np.pi * np.arange(32))
    spread = least * 10 ** (rng.uniform(-10, 10, 32) / 10)
    tilt = least * 10 ** (rng.uniform(-10, 20, 48) / 10)
    antenna = np.where(np.arange(32) == 5, 316.0 * least, 0)
    cases = {
        "white": (np.zeros((20, 48, 32)), np.full(32, least)),
        "one antenna with 25 dB more": (noise(rng, 20, 48, 32) * np.sqrt(antenna), least + antenna),
        "antennas that differ by 13 dB": (noise(rng, 20, 48, 32) * np.sqrt(spread), least + spread),
        "subcarriers that differ by 20 dB": (noise(rng, 20, 48, 32) * np.sqrt(tilt)[:, None], least + tilt),
        "interference from one direction": (
            np.sqrt(3) * noise(rng, 20, 48, 1) * direction,
            least * np.eye(32) + 3 * np.outer(direction, direction.conj()),
        ),
    }
    for name, (added, told) in cases.items():
        mean = float(np.mean(np.diagonal(told).real)) if told.ndim == 2 else float(told.mean())
        found = [rx.detect(drop.y + added, given) for given in (mean, told)]
        cells = [f"{s.missed}, {s.false_alarms}, {s.nmse_db:.2f} dB" for s in (rate(drop, out) for out in found)]
        line(name, *cells, found[1].trusted)


def rate(drop: object, out: jf.Detection) -> Score:
    return score(out, drop.active, drop.channels)  # type: ignore[attr-defined]


def learned() -> None:
    head = "| T, SNR, rate | told: missed, ghosts, NMSE | learned | noise learned over true |"
    print(head + "\n|" + "---|" * 4)
    for symbols in (5, 10, 20):
        for snr_db in (-10, 0, 10, 20):
            for activity in (0.01, 0.05, 0.15):
                told, free, ratios = Score(), Score(), []
                for seed in range(BLOCKS):
                    drop = draw_drop(Scenario(symbols=symbols, snr_db=snr_db, activity_rate=activity), seed=seed)
                    rx = jf.Receiver(drop.pilots, 32, "cdl", activity)
                    told += rate(drop, rx.detect(drop.y, drop.noise_var))
                    rx = jf.Receiver(drop.pilots, 32, "cdl", None)
                    out = rx.detect(drop.y)
                    free += rate(drop, out)
                    ratios.append((out.learned_noise_var or 0) / drop.noise_var)
                cells = [f"{s.missed}, {s.false_alarms}, {s.nmse_db:.2f} dB" for s in (told, free)]
                line(f"{symbols}, {snr_db} dB, {activity}", *cells, f"{min(ratios):.2f} … {max(ratios):.2f}")


def priors(measured: str | None) -> None:
    names = (DEFAULT, "cdl-wide", "beams", "gaussian", "auto")
    print("| block, T=20, 10 dB | " + " | ".join(f"`{name}`" for name in names) + " |\n|" + "---|" * 6)
    drop, rng = draw_drop(Scenario(devices=400), seed=1), np.random.default_rng(0)
    turn = np.exp(2j * np.pi * 30e3 * 0.5e-6 * np.arange(48))[:, None]
    independent = noise(rng, len(drop.active), 48, 32)
    blocks = {
        "matched": drop.channels,
        "0.5 us early": drop.channels * turn,
        "independent subcarriers": independent,
        "subcarriers in FFT order": None,
    }
    for path in sorted(Path(measured).glob("*.npz")) if measured else []:
        rows = np.load(path)["channels"]
        blocks[path.stem] = rows[rng.choice(len(rows), 12, replace=False)].astype(np.complex64)
    for name, channels in blocks.items():
        known = drop.channels if channels is None else channels
        active = drop.active[: len(known)]
        y = np.einsum("tna,anm->tnm", drop.pilots.select(active), known)
        y = y + np.sqrt(drop.noise_var) * noise(rng, *y.shape)
        y = np.fft.fftshift(y, axes=1) if channels is None else y
        cells = []
        for prior in names:
            out = jf.Receiver(drop.pilots, y.shape[2], prior).detect(y.astype(np.complex64), drop.noise_var)
            s = score(out, active, known.astype(np.complex64))
            cells.append(f"{s.missed}, {s.false_alarms}, {s.nmse_db:.2f} dB, {out.trusted} {out.prior}".rstrip())
        line(name, *cells)


def idle() -> None:
    rng = np.random.default_rng(0)
    for prior in ("cdl", "cdl-tiny", "cdl-wide", "gaussian", "beams"):
        for symbols in (5, 10, 20):
            rx = jf.Receiver(jf.dft_pilots(800, symbols, 48), 32, prior, None)
            ghosts = sum(len(rx.detect(noise(rng, symbols, 48, 32)).active) > 0 for _ in range(SLOTS))
            line(prior, symbols, f"{ghosts} of {SLOTS} idle slots with a ghost")


if __name__ == "__main__":
    colours()
    print()
    priors(sys.argv[1] if len(sys.argv) > 1 else None)
    print()
    learned()
    print()
    idle()
