"""Random problems for all tests: small, awkward in size, and with the truth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from jadce_fast.pilots import Pilots, dft_pilots

# devices is a power of two, prime, odd, one; every other size is one somewhere; nobody and everybody active.
EASY = dict(devices=60, symbols=24, subcarriers=8, antennas=8, active=4, snr_db=15.0)
SIZES = {
    "plain": dict(devices=64, symbols=12, subcarriers=8, antennas=8, active=4),
    "prime": dict(devices=97, symbols=11, subcarriers=7, antennas=5, active=5),
    "odd": dict(devices=105, symbols=16, subcarriers=12, antennas=16, active=6),
    "one-symbol": dict(devices=60, symbols=1, subcarriers=6, antennas=4, active=1),
    "one-antenna": dict(devices=50, symbols=10, subcarriers=9, antennas=1, active=2),
    "one-subcarrier": dict(devices=53, symbols=13, subcarriers=1, antennas=8, active=3),
    "one-device": dict(devices=1, symbols=1, subcarriers=5, antennas=3, active=1),
    "full-length": dict(devices=24, symbols=24, subcarriers=4, antennas=3, active=6),
    "nobody": dict(devices=72, symbols=9, subcarriers=6, antennas=7, active=0),
    "everybody": dict(devices=18, symbols=16, subcarriers=5, antennas=4, active=18),
}


@dataclass(frozen=True)
class Problem:
    """A received block with its truth."""

    pilots: Pilots
    y: np.ndarray  # (T, N, M) complex64
    active: np.ndarray  # (A,) int64, ascending
    channels: np.ndarray  # (A, N, M) complex64
    noise_var: float
    activity_rate: float
    seed: int

    @property
    def x(self) -> np.ndarray:
        """Channels of all devices, zero where inactive, (K, N, M) complex128."""
        x = np.zeros((self.pilots.devices, *self.y.shape[1:]), np.complex128)
        x[self.active] = self.channels
        return x


class WienerPrior:
    """Gaussian prior of channels with a flat delay profile over `delay_spread` subcarrier periods."""

    beamspace, closed_form = True, False

    def __init__(
        self, subcarriers: int, kept: int | None = None, delay_spread: float = 0.15, dtype: type = np.complex64
    ) -> None:
        self.subcarriers = subcarriers
        f = np.arange(subcarriers)
        lag = f[:, None] - f
        covariance = np.sinc(delay_spread * lag) * np.exp(-1j * np.pi * delay_spread * lag)
        values, vectors = np.linalg.eigh(covariance)
        kept = kept or min(subcarriers, 6)
        self.basis = vectors[:, ::-1][:, :kept].astype(dtype)
        self.eigenvalues = np.maximum(values[::-1][:kept], 1e-6).astype(np.float32)
        self.beam_gain = np.array([0.003, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0], np.float32)
        self.beam_weight = np.array([0.25, 0.15, 0.15, 0.15, 0.15, 0.1, 0.05], np.float32)

    def denoise(self, z: np.ndarray, v: np.ndarray, devices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        lam, noise = self.eigenvalues[:, None], v[:, None, :]
        wiener = lam / (lam + noise)
        return wiener * z, (wiener * noise).sum(1) / self.subcarriers


def complex_normal(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """i.i.d. CN(0, 1) entries."""
    return (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)) * np.sqrt(0.5)


def path_channels(
    count: int, subcarriers: int, antennas: int, rng: np.random.Generator, delay_spread: float = 0.15
) -> np.ndarray:
    """Unit-power channels of eight paths with random delays (as `WienerPrior`) and angles, (count, N, M)."""
    gain = complex_normal(rng, count, 8) / np.sqrt(8)
    delay = rng.uniform(0, delay_spread, (count, 8, 1)) * np.arange(subcarriers)
    sine = np.sin(rng.uniform(-np.pi / 2, np.pi / 2, (count, 8, 1)))
    angle = 0.5 * sine * np.arange(antennas)
    a, b = np.exp(-2j * np.pi * delay), np.exp(-2j * np.pi * angle)
    return np.einsum("kl,kln,klm->knm", gain, a, b)


def qpsk_pilots(devices: int, symbols: int, subcarriers: int, seed: int = 0) -> Pilots:
    """Random unit-power QPSK pilots."""
    rng = np.random.default_rng(seed)
    return Pilots(np.exp(0.25j * np.pi * (2 * rng.integers(0, 4, (symbols, subcarriers, devices)) + 1)))


def problem(
    devices: int = 64,
    symbols: int = 12,
    subcarriers: int = 8,
    antennas: int = 8,
    active: int = 4,
    *,
    snr_db: float = 10.0,
    pilots: str | Pilots = "dft",
    channels: str = "paths",
    power_spread_db: float = 0.0,
    delay_spread: float = 0.15,
    seed: int = 0,
) -> Problem:
    """A random problem.

    `pilots` is "dft", "qpsk" or an object; `channels` is "paths" (correlated) or "iid"; received powers are
    uniform in dB over `power_spread_db` around one. The SNR is P over the noise variance at unit-power
    channels.
    """
    rng = np.random.default_rng(seed)
    if not isinstance(pilots, Pilots):
        pilots = (dft_pilots if pilots == "dft" else qpsk_pilots)(devices, symbols, subcarriers, seed)
    index = np.sort(rng.choice(devices, active, replace=False)).astype(np.int64)
    if channels == "iid":
        h = complex_normal(rng, active, subcarriers, antennas)
    else:
        h = path_channels(active, subcarriers, antennas, rng, delay_spread)
    h = h * 10 ** (power_spread_db * rng.uniform(-0.5, 0.5, (active, 1, 1)) / 20)
    noise_var = pilots.power * 10 ** (-snr_db / 10)
    clean = np.einsum("tnk,knm->tnm", pilots.select(index), h)
    y = clean + np.sqrt(noise_var) * complex_normal(rng, symbols, subcarriers, antennas)
    rate = min(max(active / devices, 0.01), 0.99)
    return Problem(pilots, y.astype(np.complex64), index, h.astype(np.complex64), noise_var, rate, seed)


def assert_close(found: np.ndarray, expected: np.ndarray, tolerance: float = 1e-10) -> None:
    """The largest difference is at most `tolerance` of the largest expected magnitude."""
    scale = max(np.max(np.abs(expected), initial=0.0), 1e-300)
    assert np.max(np.abs(found - expected), initial=0.0) <= tolerance * scale
