"""Drops of the cell of Tang et al.: Y = X P + Z with QPSK pilots on one subcarrier."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from .. import _check
from ..cell import CellPrior

_PILOT_STREAM, _DROP_STREAM = 0, 1  # independent random streams of one seed


@dataclass(frozen=True)
class CellScenario:
    """An operating point, with the defaults of docs/langevin.md.

    Attributes
    ----------
    antennas, devices, symbols : int
        M, N, L of the paper; the pilot density is L / N.
    snr_db : float
        N / noise variance, the paper's definition: received power per entry of Y over noise power.
    prior : CellPrior
        Where devices are and how often they are active.
    active : int, optional
        Exactly this many devices are active; by default each one is with probability ``prior.activity_rate``.

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

    def __post_init__(self) -> None:
        for name in ("antennas", "devices", "symbols"):
            _check.integer(name, getattr(self, name), 1)
        _check.real("snr_db", self.snr_db, -100, 100, closed=True)
        if self.active is not None:
            _check.integer("active", self.active, 0, self.devices)

    @property
    def noise_var(self) -> float:
        """Complex noise variance per entry of Y."""
        return float(self.devices * 10 ** (-self.snr_db / 10))


@dataclass(frozen=True)
class CellDrop:
    """A received block with the truth.

    Attributes
    ----------
    y : ndarray of complex64, shape (M, L)
    pilots : ndarray of complex64, shape (N, L)
    noise_var : float
    active : ndarray of int64, shape (A,)
        Ascending.
    channels : ndarray of complex64, shape (A, 1, M)
        Of the active devices; X has them as columns, the others are zero.
    """

    y: npt.NDArray[np.complex64]
    pilots: npt.NDArray[np.complex64]
    noise_var: float
    active: npt.NDArray[np.int64]
    channels: npt.NDArray[np.complex64]


def qpsk_pilots(devices: int, symbols: int, seed: int = 0) -> npt.NDArray[np.complex64]:
    """Random unit-modulus QPSK pilots P, (devices, symbols), fixed by the seed."""
    rng = np.random.default_rng((_check.integer("seed", seed, 0), _PILOT_STREAM))
    quadrant = rng.integers(0, 4, (devices, symbols))
    alphabet: npt.NDArray[np.complex64] = np.exp(0.5j * np.pi * (np.arange(4) + 0.5)).astype(np.complex64)
    return alphabet[quadrant]


def draw_cell(scenario: CellScenario, seed: int = 0, trial: int = 0) -> CellDrop:
    """Draw one trial, the same for the same seed and trial; pilots are those of the seed in every trial.

    Powers are normalised over the whole ensemble, not drop by drop: a device near the base station makes a strong drop.
    """
    s = scenario
    rng = np.random.default_rng((_check.integer("seed", seed, 0), _DROP_STREAM, _check.integer("trial", trial, 0)))
    pilots = qpsk_pilots(s.devices, s.symbols, seed)
    if s.active is None:
        active = np.flatnonzero(rng.random(s.devices) < s.prior.activity_rate).astype(np.int64)
    else:
        active = np.sort(rng.permutation(s.devices)[: s.active]).astype(np.int64)
    inner, outer = s.prior.inner, s.prior.outer
    distance = np.sqrt(rng.uniform(inner**2, outer**2, len(active)))  # uniform over the area
    h = np.sqrt(s.prior.gain(distance))[:, None] * _complex_normal(rng, len(active), s.antennas)
    y = h.T @ pilots[active] + np.sqrt(s.noise_var) * _complex_normal(rng, s.antennas, s.symbols)
    return CellDrop(y.astype(np.complex64), pilots, s.noise_var, active, h.astype(np.complex64)[:, None])


def _complex_normal(rng: np.random.Generator, *shape: int) -> npt.NDArray[np.complex128]:
    real, imaginary = rng.standard_normal((2, *shape))
    return np.asarray(np.sqrt(0.5) * (real + 1j * imaginary))
