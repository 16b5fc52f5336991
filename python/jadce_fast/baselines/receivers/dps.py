"""Posterior sampling with the score of a prior, DPS in the words of Cai et al.: diffusion guided by the block.

Song, Vahdat, Mardani, Kautz, "Pseudoinverse-Guided Diffusion Models for Inverse Problems", ICLR 2023, on the
variance-exploding diffusion with ancestral sampling.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from ... import _check
from ...pilots import Pilots
from ...priors.protocol import check_prior
from .block_receiver import BlockReceiver, Complex, Found, Power, check_plan, check_power, mean_power, plans_anew
from .covariance import covariance

_FIRST = 25.0  # first noise variance over the power of a device, -14 dB: where the shipped networks begin
_LAST = 0.1  # last noise variance over that of a device whose others are known, noise / (T P)


@plans_anew
def dps(
    pilots: Pilots | npt.ArrayLike,
    antennas: int,
    prior: Any = "cdl-tiny",
    activity_rate: float = 0.05,
    power: Power = "unknown",
    *,
    steps: int = 100,
    seed: int = 0,
) -> BlockReceiver:
    """Plan a sampler of the channels of active devices, which the covariance receiver finds.

    Channels begin as noise, which is taken away in small steps. In a step the prior's denoiser gives their mean in the
    present noise, the block corrects it by the pseudo-inverse of its pilots, as far as that mean is uncertain, and a
    sample is drawn at the next, smaller noise. Activity can not be sampled in this way where T is far below K: a
    device's coefficients in noise tell whether it is active long before a guided mean knows anything of it
    (docs/baselines.md).

    Parameters
    ----------
    pilots : Pilots or array_like of complex, shape (T, N, K)
    antennas : int
        M.
    prior : str or object
        As of :class:`jadce_fast.Receiver`.
    activity_rate : float
    power : "unknown" or float
        Mean received power of an active device.
    steps : int
        Noise levels.
    seed : int
        Of the noise; the same for every block.

    Returns
    -------
    BlockReceiver

    Raises
    ------
    ValueError, TypeError
        If an argument is out of range.
    """
    from ...priors.files import resolve_prior

    planned, m, rate = check_plan(pilots, antennas, activity_rate)
    known = check_prior(
        resolve_prior(prior, planned.subcarriers) if isinstance(prior, str) else prior, planned.subcarriers
    )
    level, count = check_power(power), _check.integer("steps", steps, 2)
    seed = _check.integer("seed", seed, 0)
    first = covariance(planned, m, rate, level)
    width = known.basis.shape[1]

    def search(y: Complex, noise: float) -> Found:
        found = first.detect(y, noise)
        g = mean_power(y, noise, planned, max(len(found.active), 1) / planned.devices, level)
        root = np.float32(math.sqrt(g))
        problem = _Guide(planned, known, found.active, y, noise)
        shape = (len(found.active), width, m)
        last = min(_LAST * noise / (planned.symbols * planned.power), 0.5 * _FIRST * g)
        variances = np.geomspace(_FIRST * g, last, count)
        rng = np.random.default_rng(seed)
        s = _normal(rng, shape) * np.float32(math.sqrt(variances[0]))
        history = []
        uncertain = variances[0]
        for i, v in enumerate(variances):
            told = np.full((shape[0], m), v / g, np.float32)
            mean, var = known.denoise(s / root, told, found.active)
            spread = g * float(np.mean(var)) * planned.subcarriers / width if shape[0] else 0.0
            mean, error = problem.correct(mean * root, spread)
            history.append({"error_var": error * width / planned.subcarriers, "candidates": float(shape[0])})
            if v > noise / (planned.symbols * planned.power):
                uncertain = error  # of the posterior, as long as the sample has not decided itself
            if i + 1 == count:
                break
            part = variances[i + 1] / v
            fresh = math.sqrt(variances[i + 1] * (1 - part))
            s = (np.float32(part) * s + np.float32(1 - part) * mean + np.float32(fresh) * _normal(rng, shape)).astype(
                np.complex64
            )
        channels = np.einsum("np,apm->anm", known.basis, mean, optimize=True)
        if known.beamspace:
            channels = np.fft.ifft(channels, axis=2, norm="ortho")
        # A sample is as far from the posterior's mean as the truth is.
        variance = np.full(shape[0], 2 * uncertain * width / planned.subcarriers)
        end = "fixed point" if found.converged else "iterations"
        return Found(
            found.activity,
            channels.astype(np.complex64),
            variance,
            count,
            end,  # type: ignore[arg-type]
            freedom=float(width),
            history=history,
        )

    return BlockReceiver(planned, m, search)


class _Guide:
    """Linear correction of coefficients of some devices towards a block, in the eigenvectors of their pilots' Gram."""

    def __init__(self, pilots: Pilots, prior: Any, active: npt.NDArray[np.int64], y: Complex, noise: float) -> None:
        atoms = np.einsum("tna,np->tnap", pilots.select(active), prior.basis, optimize=True)
        atoms = atoms.reshape(pilots.symbols * pilots.subcarriers, -1)
        block = np.fft.fft(y, axis=2, norm="ortho") if prior.beamspace else y
        value, vector = np.linalg.eigh((atoms.conj().T @ atoms).astype(np.complex128))
        self._value, self._noise = np.maximum(value, 0.0)[:, None].astype(np.float32), noise
        self._vector = vector.astype(np.complex64)
        self._inverse = np.ascontiguousarray(self._vector.conj().T)
        filtered = atoms.conj().T @ block.reshape(len(atoms), -1).astype(np.complex64)
        self._seen = self._inverse @ filtered

    def correct(self, mean: Complex, spread: float) -> tuple[Complex, float]:
        """Mean (A, P, M) after the block is seen, if it was CN(mean, spread) before, and mean variance after."""
        flat = mean.reshape(len(self._value), mean.shape[2])
        gain = np.float32(spread) / (np.float32(spread) * self._value + np.float32(self._noise))
        correction = self._vector @ (gain * (self._seen - self._value * (self._inverse @ flat)))
        error = float(np.mean(self._noise * gain)) if len(gain) else 0.0
        return mean + correction.reshape(mean.shape), error


def _normal(rng: np.random.Generator, shape: tuple[int, ...]) -> Complex:
    """Entries CN(0, 1)."""
    pairs = rng.standard_normal((*shape, 2), np.float32) * np.float32(math.sqrt(0.5))
    normal: Complex = pairs.view(np.complex64)[..., 0]
    return normal
