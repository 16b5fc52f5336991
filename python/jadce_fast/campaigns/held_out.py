"""Held-out channels in white or coloured noise: what the denoising benchmark denoises."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from .. import _check
from ..channels import Paths, draw_paths, synthesize, unit_power

CHUNK = 25  # channels that are drawn, and denoised, at once
NOISES = ("white", "coloured")
_STREAM = 0x43414934  # key of the random stream; no other part of the library draws from it
_HARMONICS = 3
_RATIO = 10.0  # variance of the noisiest beam over that of the quietest in coloured noise

_Complex = npt.NDArray[np.complex64]
_Real = npt.NDArray[np.float32]


@dataclass(frozen=True)
class HeldOut:
    """Channels of one CDL table as it stands, random azimuth, each of unit power, and their noise.

    Attributes
    ----------
    model : str
        CDL model "A" ... "E".
    angles : str
        Column of base-station angles, "arrival" or "departure".
    subcarriers, antennas : int
        N, M >= 2.
    delay_spread : (float, float)
        Range in seconds of the uniform RMS delay spread.
    seed : int
        Channel i and its noise are the same whatever the number of channels.

    Raises
    ------
    TypeError, ValueError
        If an attribute is out of range or unknown.
    """

    model: str = "C"
    angles: str = "arrival"
    subcarriers: int = 48
    antennas: int = 32
    delay_spread: tuple[float, float] = (100e-9, 363e-9)
    seed: int = 0

    def __post_init__(self) -> None:
        _check.integer("subcarriers", self.subcarriers, 1)
        _check.integer("antennas", self.antennas, 2)
        _check.integer("seed", self.seed, 0)
        draw_paths(0, self.model, angles=self.angles, delay_spread=self.delay_spread)  # this checks them

    def chunk(self, index: int) -> Chunk:
        """Draw channels 25 index ... 25 index + 24."""
        rng = np.random.default_rng((self.seed, _STREAM, index))
        paths = draw_paths(CHUNK, self.model, delay_spread=self.delay_spread, angles=self.angles, seed=rng)
        h = unit_power(synthesize(paths, self.subcarriers, self.antennas))
        noise = rng.standard_normal((*h.shape, 2), np.float32).view(np.complex64)[..., 0] / np.float32(np.sqrt(2))
        profile = noise_profiles(CHUNK, self.antennas, rng)
        probe = np.exp(2j * np.pi * rng.random(h.shape)).astype(np.complex64)
        return Chunk(paths, h, noise, profile, probe)


@dataclass(frozen=True)
class Chunk:
    """Some channels with the noise they will get.

    Attributes
    ----------
    paths : Paths
    h : (B, N, M) complex64
        Channels, antenna domain.
    noise : (B, N, M) complex64
        White noise of unit variance in beamspace.
    profile : (B, M) float32
        Coloured noise: variance of every beam over their mean.
    probe : (B, N, M) complex64
        Numbers of unit modulus and random phase, for a probe of the divergence.
    """

    paths: Paths
    h: _Complex
    noise: _Complex
    profile: _Real
    probe: _Complex

    def __len__(self) -> int:
        return len(self.h)

    def part(self, start: int, stop: int) -> Chunk:
        """Return some of the channels."""
        return Chunk(**{f.name: getattr(self, f.name)[start:stop] for f in fields(self)})

    def observe(self, noise: str, snr_db: float) -> tuple[_Complex, _Real]:
        """Noisy channels (B, N, M), antenna domain, and the noise variance of every beam (B, M)."""
        colour = self.profile if noise == "coloured" else np.ones_like(self.profile)
        v = np.float32(10 ** (-snr_db / 10)) * colour
        return self.h + to_antennas(np.sqrt(v)[:, None, :] * self.noise), v


def noise_profiles(count: int, antennas: int, rng: np.random.Generator) -> _Real:
    """Coloured noise: variances of beams, smooth over the circle of beams, of mean one and max/min of ten.

    Their logarithm is a sum of the first three circular harmonics with independent CN(0, 1) amplitudes,
    stretched to that range.

    Returns
    -------
    ndarray of float32, shape (count, antennas)
    """
    amplitude = rng.standard_normal((count, _HARMONICS, 2)).view(np.complex128)[..., 0]
    turn = np.arange(1, _HARMONICS + 1)[:, None] * np.arange(antennas) / antennas
    level = (amplitude @ np.exp(2j * np.pi * turn)).real
    low, high = level.min(1, keepdims=True), level.max(1, keepdims=True)
    profile = _RATIO ** ((level - low) / (high - low))
    return np.asarray(profile / profile.mean(1, keepdims=True), np.float32)


def to_beams(h: npt.NDArray[np.complexfloating]) -> _Complex:
    """Unitary DFT over antennas."""
    return np.fft.fft(h, axis=-1, norm="ortho").astype(np.complex64)


def to_antennas(h: npt.NDArray[np.complexfloating]) -> _Complex:
    """Inverse of ``to_beams``."""
    return np.fft.ifft(h, axis=-1, norm="ortho").astype(np.complex64)
