"""Drops of the cell of Tang et al.: Y = X P + Z with QPSK pilots on one subcarrier."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import _check
from ..priors.cell import CellPrior
from .impairments import BITS, complex_normal, interference, quantise

_PILOT_STREAM, _DROP_STREAM, _OTHER_STREAM = 0, 1, 2  # independent random streams of one seed


@dataclass(frozen=True)
class CellScenario:
    """An operating point, with the defaults of docs/langevin.md.

    Attributes
    ----------
    antennas, devices, symbols : int
        M, K, T, the paper's M, N, L; the pilot density is T / K.
    snr_db : float
        K / noise variance, the paper's definition: received power per entry of Y over noise power.
    prior : CellPrior
        Where devices are and how often they are active.
    active : int, optional
        Exactly this many devices are active; by default each one is with probability ``prior.activity_rate``.
    rician_db : float, optional
        Power of a line-of-sight path over that of the scattered ones, of a linear array with half a wavelength between
        antennas; by default Rayleigh fading.
    shadowing_db : float
        Standard deviation of log-normal shadowing; its median is zero dB.
    correlation : float
        Of scattered paths at neighbouring antennas, in [0, 1); it falls geometrically with distance.
    bits : int, optional
        Resolution of the received pilots, 1 to 4 for each of real and imaginary part.
    interference_db : float, optional
        Mean received power over that of four devices of another cell, which send random QPSK symbols.
    told : bool
        Whether ``noise_var`` of a drop, what receivers are told, includes interference and distortion.

    Raises
    ------
    TypeError, ValueError
        If an attribute is out of range.
    """

    antennas: int = 16
    devices: int = 64
    symbols: int = 48
    snr_db: float = 10.0
    prior: CellPrior = field(default_factory=CellPrior)
    active: int | None = None
    rician_db: float | None = None
    shadowing_db: float = 0.0
    correlation: float = 0.0
    bits: int | None = None
    interference_db: float | None = None
    told: bool = True

    def __post_init__(self) -> None:
        for name in ("antennas", "devices", "symbols"):
            _check.integer(name, getattr(self, name), 1)
        _check.real("snr_db", self.snr_db, -100, 100, closed=True)
        if self.active is not None:
            _check.integer("active", self.active, 0, self.devices)
        for name in ("rician_db", "interference_db"):
            if getattr(self, name) is not None:
                _check.real(name, getattr(self, name), -100, 100, closed=True)
        _check.real("shadowing_db", self.shadowing_db, 0, 30, closed=True)
        _check.real("correlation", self.correlation, 0, 0.9999, closed=True)
        if self.bits is not None:
            _check.integer("bits", self.bits, *BITS)

    @property
    def mean_power(self) -> float:
        """Mean power of an entry of X over the ensemble; one in the training distribution."""
        rate = self.prior.activity_rate if self.active is None else self.active / self.devices
        return float(rate * self.prior.mean_power * np.exp((np.log(10) / 10 * self.shadowing_db) ** 2 / 2))

    @property
    def noise_var(self) -> float:
        """Complex noise variance per entry of Y."""
        return float(self.devices * 10 ** (-self.snr_db / 10))


@dataclass(frozen=True)
class CellDrop:
    """A received block with the truth.

    Attributes
    ----------
    y : ndarray of complex64, shape (T, 1, M)
    pilots : ndarray of complex64, shape (T, 1, K)
    noise_var : float
        What receivers are told of the noise variance per entry of y.
    active : ndarray of int64, shape (A,)
        Ascending.
    channels : ndarray of complex64, shape (A, 1, M)
        Of the active devices; those of the others are zero.
    """

    y: npt.NDArray[np.complex64]
    pilots: npt.NDArray[np.complex64]
    noise_var: float
    active: npt.NDArray[np.int64]
    channels: npt.NDArray[np.complex64]

    @property
    def matrices(self) -> tuple[npt.NDArray[np.complex64], npt.NDArray[np.complex64]]:
        """Y (M, T) and P (K, T), as the paper and :mod:`jadce_fast.reference` have them."""
        return self.y[:, 0].T, self.pilots[:, 0].T

    @property
    def x(self) -> npt.NDArray[np.complex128]:
        """Channels of all devices (K, M), those of idle ones zero: the transpose of the paper's X."""
        x = np.zeros((self.pilots.shape[2], self.y.shape[2]), np.complex128)
        x[self.active] = self.channels[:, 0]
        return x

    @property
    def activity(self) -> npt.NDArray[np.bool_]:
        """True for every active device, (K,)."""
        return np.isin(np.arange(self.pilots.shape[2]), self.active)


def qpsk_pilots(devices: int, symbols: int, seed: int = 0) -> npt.NDArray[np.complex64]:
    """Random unit-modulus QPSK pilots of one subcarrier, (symbols, 1, devices), fixed by the seed."""
    rng = np.random.default_rng((_check.integer("seed", seed, 0), _PILOT_STREAM))
    quadrant = rng.integers(0, 4, (devices, symbols))
    alphabet: npt.NDArray[np.complex64] = np.exp(0.5j * np.pi * (np.arange(4) + 0.5)).astype(np.complex64)
    return np.ascontiguousarray(alphabet[quadrant].T[:, None])


def draw_cell(scenario: CellScenario, seed: int = 0, trial: int = 0) -> CellDrop:
    """Draw one trial, the same for the same seed and trial; pilots are those of the seed in every trial.

    Powers are normalised over the whole ensemble, not drop by drop: a device near the base station makes a strong drop.
    """
    s = scenario
    seed, trial = _check.integer("seed", seed, 0), _check.integer("trial", trial, 0)
    rng, other = (np.random.default_rng((seed, stream, trial)) for stream in (_DROP_STREAM, _OTHER_STREAM))
    pilots = qpsk_pilots(s.devices, s.symbols, seed)
    if s.active is None:
        active = np.flatnonzero(rng.random(s.devices) < s.prior.activity_rate).astype(np.int64)
    else:
        active = np.sort(rng.permutation(s.devices)[: s.active]).astype(np.int64)
    inner, outer = s.prior.inner, s.prior.outer
    distance = np.sqrt(rng.uniform(inner**2, outer**2, len(active)))  # uniform over the area
    gain = s.prior.gain(distance) * 10 ** (0.1 * s.shadowing_db * other.standard_normal(len(active)))
    h = np.sqrt(gain)[:, None] * _fading(s, complex_normal(rng, len(active), s.antennas), other)
    y = h.T @ pilots[:, 0, active].T + np.sqrt(s.noise_var) * complex_normal(rng, s.antennas, s.symbols)
    disturbance = s.noise_var
    if s.interference_db is not None:
        power = s.devices * s.mean_power * 10 ** (-s.interference_db / 10)
        y, disturbance = y + interference(other, s.antennas, s.symbols, power), disturbance + power
    if s.bits is not None:
        y, distortion = quantise(y, s.bits)
        disturbance += distortion
    told = disturbance if s.told else s.noise_var
    received = np.ascontiguousarray(y.T[:, None], np.complex64)
    return CellDrop(received, pilots, told, active, h.astype(np.complex64)[:, None])


def moved(training: CellPrior, **changes: Any) -> CellPrior:
    """A cell with other attributes, in the unit of power of the training set: the path loss at 1 km stays."""
    cell = replace(training, **changes)
    return replace(cell, power=float(cell.mean_power * training.gain(1000.0) / cell.gain(1000.0)))


def _fading(s: CellScenario, scattered: npt.NDArray[np.complex128], rng: np.random.Generator) -> Any:
    """Unit-power fading of active devices (A, M): correlated, with a line of sight."""
    lag = np.abs(np.subtract.outer(np.arange(s.antennas), np.arange(s.antennas)))
    result = scattered @ np.linalg.cholesky(s.correlation**lag).T if s.correlation else scattered
    if s.rician_db is not None:
        sine, phase = np.sin(rng.uniform(-np.pi, np.pi, len(result))), rng.uniform(0, 2, len(result))
        sight = np.exp(1j * np.pi * (sine[:, None] * np.arange(s.antennas) + phase[:, None]))
        k = 10 ** (s.rician_db / 10)
        result = np.sqrt(k / (k + 1)) * sight + np.sqrt(1 / (k + 1)) * result
    return result
