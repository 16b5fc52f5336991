"""Impairments of received pilots besides noise: interference of another cell, quantisation to a few bits."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

# Max, "Quantizing for minimum distortion", 1960, Table II: step of the best uniform quantiser of a standard normal
# variable with 2^bits levels, and its mean squared error.
_QUANTISERS = {1: (1.596, 0.3634), 2: (0.9957, 0.1188), 3: (0.5860, 0.03744), 4: (0.3352, 0.01154)}
BITS = (min(_QUANTISERS), max(_QUANTISERS))
_INTERFERERS = 4

Complex = npt.NDArray[np.complex128]


def complex_normal(rng: np.random.Generator, *shape: int) -> Complex:
    """CN(0, 1)."""
    real, imaginary = rng.standard_normal((2, *shape))
    return np.asarray(np.sqrt(0.5) * (real + 1j * imaginary))


def quantise(y: Complex, bits: int) -> tuple[Complex, float]:
    """Quantise real and imaginary parts, after a gain control that knows the block's mean power.

    By Bussgang's theorem a Gaussian y leaves a minimum-error quantiser of distortion rho as (1 - rho) y plus
    uncorrelated noise of variance rho (1 - rho) E|y|^2; the result is divided by 1 - rho.

    Returns
    -------
    y : ndarray
        y plus distortion.
    variance : float
        Of the distortion, if y is Gaussian.
    """
    width, rho = _QUANTISERS[bits]
    power = float(np.mean(np.abs(y) ** 2))
    step, top = width * np.sqrt(power / 2), 2 ** (bits - 1) - 0.5
    parts = np.ascontiguousarray(y).view(np.float64)
    levels = np.clip(np.floor(parts / max(step, 1e-300)) + 0.5, -top, top)
    return (step / (1 - rho) * levels).view(np.complex128), power * rho / (1 - rho)


def interference(rng: np.random.Generator, antennas: int, symbols: int, power: float) -> Complex:
    """Four devices of another cell in Rayleigh fading that send QPSK symbols; mean power of an entry `power`."""
    channels = complex_normal(rng, antennas, _INTERFERERS)
    data = np.exp(0.5j * np.pi * (rng.integers(0, 4, (_INTERFERERS, symbols)) + 0.5))
    return np.asarray(np.sqrt(power / _INTERFERERS) * channels @ data)
