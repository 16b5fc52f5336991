"""Prints the tables of docs/trust.md: ghosts with unknown powers, and blocks that do not fit. A few minutes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

import jadce_fast as jf
from jadce_fast.campaigns.mismatch import hasten, rotate, shuffle
from jadce_fast.campaigns.ofdm_drop import Scenario, draw_drop
from jadce_fast.metrics import Score, score

POINTS = [(20, -15), (20, -12), (20, -10), (20, -8), (5, -10), (3, -10), (2, 0), (2, 10)]
SLOTS, BLOCKS = {"cdl": 3000, "cdl-tiny": 400, "cdl-wide": 400, "gaussian": 400}, 20


def noise(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)) * np.sqrt(0.5)


def idle(prior: str, symbols: int) -> str:
    """Slots in which somebody was found, of how many."""
    rng = np.random.default_rng(symbols)
    rx = jf.Receiver(jf.dft_pilots(800, symbols, 48), 32, prior)
    slots = range(SLOTS[prior])
    ghosts = sum(len(rx.detect(np.sqrt(0.1) * noise(rng, symbols, 48, 32), 0.1).active) > 0 for _ in slots)
    return f"{ghosts} of {len(slots)}"


def errors(scenario: Scenario, power: float | str) -> str:
    """Missed and wrongly found devices of BLOCKS blocks, and blocks that are not trusted."""
    total, doubts = Score(), 0
    for seed in range(BLOCKS):
        drop = draw_drop(scenario, seed=seed)
        out = jf.Receiver(drop.pilots, 32, "cdl", power=power).detect(drop.y, drop.noise_var)
        total += score(out, drop.active, drop.channels)
        doubts += not out.trusted
    return f"{total.missed}, {total.false_alarms} of {total.active} | {doubts}"


def noisy_antenna(y: np.ndarray) -> np.ndarray:
    y = y.copy()
    y[:, :, 5] += np.sqrt(31.6) * noise(np.random.default_rng(0), *y.shape[:2])
    return y


MISMATCHES: dict[str, tuple[Callable[[np.ndarray], np.ndarray], float]] = {
    "none": (lambda y: y, 1.0),
    "subcarriers in FFT order": (lambda y: shuffle(y, 1.0), 1.0),
    "carrier offset, 0.01 cycles a symbol": (lambda y: rotate(y, 0.01), 1.0),
    "timing 0.5 us early": (lambda y: hasten(y, 0.5), 1.0),
    "one antenna with 25 dB more noise": (noisy_antenna, 1.0),
    "noise told 0.3 times": (lambda y: y, 0.3),
    "noise told 10 times": (lambda y: y, 10.0),
}


def main() -> None:
    print("| prior | idle slots with a ghost: T=5 | T=10 | T=20 |\n|---|---|---|---|")
    for prior in SLOTS:
        print(f"| `{prior}` | " + " | ".join(idle(prior, symbols) for symbols in (5, 10, 20)) + " |", flush=True)
    print("\n| T, SNR | powers unknown: missed, ghosts | not trusted | known | not trusted |\n|" + "---|" * 5)
    for symbols, snr_db in POINTS:
        scenario = Scenario(symbols=symbols, snr_db=snr_db)
        cells = " | ".join(errors(scenario, power) for power in ("unknown", 1.0))
        print(f"| {symbols}, {snr_db} dB | {cells} |".replace("-", "−"), flush=True)
    print("\n| mismatch, K=400, T=20, 10 dB | missed, ghosts | left over noise (explained) | trusted |\n|" + "---|" * 4)
    drop = draw_drop(Scenario(devices=400), seed=1)
    for name, (change, told) in MISMATCHES.items():
        out = jf.Receiver(drop.pilots, 32, "cdl").detect(change(drop.y), told * drop.noise_var)
        found, e = score(out, drop.active, drop.channels), out.explained
        cells = f"{found.missed}, {found.false_alarms} | {e.ratio:.2f} ({e.least:.2f} … {e.most:.2f}) | {out.trusted}"
        print(f"| {name} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
