"""Prints the table of docs/impairments.md: what imperfect radios and moving devices cost, and whether it is noticed."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

import jadce_fast as jf
from jadce_fast.campaigns.ofdm_drop import Drop, Scenario, draw_drop, draw_pilots
from jadce_fast.channels import synthesize
from jadce_fast.metrics import Score, score

BLOCKS = (
    int(sys.argv[1]) if len(sys.argv) > 1 else 10
)  # and, if given, only rows with the second argument in their name
POINT = Scenario(devices=400)  # T = 20, 10 dB, 5 % active
SPACING, SYMBOL, CARRIER = 30e3, 1e-3 / 28, 3.5e9  # Hz, s with a prefix of 2.34 us, Hz
Array = np.ndarray[Any, Any]


@dataclass
class Block:
    """Pilots (T, N, A) and channels (T, A, N, M) of the active devices over time, and noise (T, N, M)."""

    drop: Drop
    q: Array
    h: Array
    noise: Array
    rng: np.random.Generator

    def received(self) -> Array:
        """What arrives."""
        return np.einsum("tna,tanm->tnm", self.q, self.h) + self.noise


def cn(rng: np.random.Generator, *shape: int) -> Array:
    return (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)) * np.sqrt(0.5)


def turned(angle: Array) -> Array:
    return np.asarray(np.exp(2j * np.pi * angle))


def timing(b: Block, early: float, late: float) -> Array:
    """Devices at random between so many microseconds early and late."""
    when = 1e-6 * b.rng.uniform(-early, late, b.h.shape[1])
    b.h = b.h * turned(-SPACING * when[:, None] * np.arange(b.h.shape[2]))[None, :, :, None]
    return b.received()


def carrier(b: Block, hertz: float) -> Array:
    """Carrier offsets of devices at random up to so many hertz; interference between subcarriers is left out."""
    offset = b.rng.uniform(-hertz, hertz, b.h.shape[1])
    b.h = b.h * turned(SYMBOL * np.arange(len(b.h))[:, None] * offset)[:, :, None, None]
    return b.received()


def oscillator(b: Block, degrees: float) -> Array:
    """Phase noise of the base station: a random walk of so many degrees a symbol."""
    b.h = b.h * turned(np.cumsum(b.rng.normal(0, degrees / 360, len(b.h))))[:, None, None, None]
    return b.received()


def imbalance(b: Block, db: float, mirrored: bool) -> Array:
    """Image of so many dB, of another phase at every antenna: on mirrored subcarriers as OFDM has it, or the same."""
    y = b.received()
    gain = 10 ** (db / 20) * turned(b.rng.random(y.shape[2]))
    return y + gain * (y[:, ::-1] if mirrored else y).conj()


def offset(b: Block, db: float, everywhere: bool) -> Array:
    """A constant of so many dB over a device's power, of every antenna: on all subcarriers, or on that of DC."""
    y, level = b.received(), 10 ** (db / 20) * cn(b.rng, b.noise.shape[2])
    y[:, slice(None) if everywhere else 24] += level if everywhere else np.sqrt(48) * level
    return y


def converter(b: Block, bits: int) -> Array:
    """Converters of so many bits that clip at three deviations, in time."""
    x = np.fft.ifft(b.received(), axis=1, norm="ortho")
    top = 3 * np.sqrt(np.mean(np.abs(x) ** 2) / 2)
    step = 2 * top / 2**bits
    parts = np.ascontiguousarray(x).view(np.float64)
    parts = np.clip((np.floor(parts / step) + 0.5) * step, -top + step / 2, top - step / 2)
    return np.fft.fft(parts.view(np.complex128), axis=1, norm="ortho")


def antenna(b: Block, db: float | None) -> Array:
    """One antenna with so much noise more than the others, or dead."""
    y = b.received()
    if db is None:
        y[:, :, 5] = 0
    else:
        y[:, :, 5] += np.sqrt((10 ** (db / 10) - 1) * b.drop.noise_var) * cn(b.rng, *y.shape[:2])
    return y


def interferer(b: Block, db: float) -> Array:
    """White interference from one direction, of so many dB over the noise at an antenna."""
    y = b.received()
    steering = turned(0.5 * np.sin(b.rng.uniform(-1, 1)) * np.arange(y.shape[2]))
    return y + np.sqrt(10 ** (db / 10) * b.drop.noise_var) * cn(b.rng, *y.shape[:2], 1) * steering


def ageing(b: Block, speed: float) -> Array:
    """Devices that move with so many km/h: every ray has a Doppler shift of its own."""
    paths = b.drop.paths
    doppler = speed / 3.6 / 299792458 * CARRIER * np.cos(2 * np.pi * b.rng.random(paths.phase.shape))
    size = np.sqrt(np.mean(np.abs(b.drop.channels) ** 2, axis=(1, 2)))
    for t in range(len(b.h)):
        moved = replace(paths, phase=paths.phase + 2 * np.pi * doppler * SYMBOL * (t - len(b.h) // 2))
        now = synthesize(moved, *b.h.shape[2:])
        if t == 0:
            size /= np.sqrt(np.mean(np.abs(synthesize(paths, *b.h.shape[2:])) ** 2, axis=(1, 2)))
        b.h[t] = now * size[:, None, None]
    return b.received()


DOUBTED = ", noise told as 30 dB more there"


def rows() -> Iterator[tuple[str, Any, Scenario, bool]]:
    """Name, impairment, scenario, and whether pilots are scrambled."""
    yield "none", Block.received, POINT, False
    for us in (0.1, 0.3, 0.6, 1.17):
        yield f"up to {us} µs late", lambda b, us=us: timing(b, 0, us), POINT, False
    yield "up to 1.17 µs late and early, the window 1.17 µs earlier", lambda b: timing(b, 0, 2.34), POINT, False
    for us in (0.05, 0.1, 0.3, 0.6, 1.17):
        yield f"up to {us} µs early", lambda b, us=us: timing(b, us, 0), POINT, False
    for hertz in (20, 50, 100, 200, 500):
        yield f"carriers up to {hertz} Hz off", lambda b, f=hertz: carrier(b, f), POINT, False
    for degrees in (0.3, 1, 3, 10):
        yield f"phase noise, {degrees}° a symbol", lambda b, d=degrees: oscillator(b, d), POINT, False
    for db in (-40, -30, -20):
        yield f"I/Q image {db} dB, mirrored subcarriers", lambda b, db=db: imbalance(b, db, True), POINT, False
        for scrambled in (False, True):
            name = f"I/Q image {db} dB, same subcarriers{', scrambled' if scrambled else ''}"
            yield name, lambda b, db=db: imbalance(b, db, False), POINT, scrambled
    for db in (-20, -10, 0):
        for doubted in ("", DOUBTED):
            name = f"offset {db} dB on the subcarrier of DC{doubted}"
            yield name, lambda b, db=db: offset(b, db, False), POINT, False
        for scrambled in (False, True):
            name = f"offset {db} dB everywhere{', scrambled' if scrambled else ''}"
            yield name, lambda b, db=db: offset(b, db, True), POINT, scrambled
    for bits in (8, 6, 5, 4):
        yield f"{bits} bits", lambda b, n=bits: converter(b, n), POINT, False
    spread = replace(POINT, power_spread_db=30.0)
    yield "powers over 30 dB", Block.received, spread, False
    for bits in (8, 6, 4):
        yield f"powers over 30 dB, {bits} bits", lambda b, n=bits: converter(b, n), spread, False
    yield "one antenna dead", lambda b: antenna(b, None), POINT, False
    for db in (5, 10, 25):
        yield f"one antenna with {db} dB more noise", lambda b, db=db: antenna(b, db), POINT, False
    for db in (-10, 0, 10, 20):
        yield f"interferer, {db} dB over the noise", lambda b, db=db: interferer(b, db), POINT, False
    for speed in (3, 10, 30):
        yield f"{speed} km/h", lambda b, v=speed: ageing(b, v), POINT, False


@dataclass
class Column:
    """Results of one way to detect."""

    total: Score = field(default_factory=Score)
    trusted: int = 0
    silent: int = 0

    def add(self, out: jf.Detection, drop: Drop, true: Array) -> None:
        """Count one block."""
        one = score(out, drop.active, true)
        self.total, self.trusted = self.total + one, self.trusted + out.trusted
        self.silent += out.trusted and one.missed + one.false_alarms > 0

    def __str__(self) -> str:
        s = self.total
        return f"{s.nmse_db:.1f} dB, {s.missed}, {s.false_alarms}, {self.trusted}, {self.silent}"


def main() -> None:
    print("| impairment | as it is | noise learned | compensated | both |\n|" + "---|" * 5, flush=True)
    for name, impair, scenario, scrambled in rows():
        if len(sys.argv) > 2 and sys.argv[2] not in name:
            continue
        pilots = draw_pilots(scenario)
        if scrambled:
            pilots = jf.dft_pilots(scenario.devices, scenario.symbols, scenario.subcarriers, scrambled=True)
        receivers = [jf.Receiver(pilots, scenario.antennas, "cdl", compensate=c) for c in (False, True)]
        columns = [Column() for _ in range(4)]
        for trial in range(BLOCKS):
            drop = draw_drop(scenario, 0, trial, pilots)
            rng = np.random.default_rng(trial)
            h = np.repeat(drop.channels[None].astype(np.complex128), scenario.symbols, 0)
            noise = np.sqrt(drop.noise_var) * cn(rng, *drop.y.shape)
            b = Block(drop, pilots.select(drop.active), h, noise, rng)
            y = impair(b).astype(np.complex64)
            true = b.h.mean(0).astype(np.complex64)
            told = (
                drop.noise_var * np.where(np.arange(48) == 24, 1e3, 1.0) if name.endswith(DOUBTED) else drop.noise_var
            )
            for column, (rx, noise_var) in zip(columns, itertools.product(receivers, (told, None)), strict=True):
                column.add(rx.detect(y, noise_var), drop, true)
        print(f"| {name} | {' | '.join(map(str, columns))} |".replace("-", "−"), flush=True)


if __name__ == "__main__":
    main()
