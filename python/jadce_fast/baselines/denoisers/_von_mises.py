"""Von Mises posteriors of one frequency: fit to a trigonometric polynomial, and moments."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import fft
from scipy.special import ive

Complex = npt.NDArray[np.complex128]
Floats = npt.NDArray[np.float64]

_NEWTON = 4  # steps: from an eighth of a period of the fastest term, to double precision
_LEAST, _LARGEST = 1e-3, 1e10  # concentrations


def fit(coefficients: Complex, index: Floats) -> tuple[Floats, Floats]:
    """Mean and concentration of the von Mises density next to exp(Re sum_n c_n e^{-jn theta}).

    The mean is the mode, found over the whole circle; the concentration is the curvature there
    (the second of the approximations of Badiu, Hansen and Fleury).

    Parameters
    ----------
    coefficients : (B, N)
    index : (N,) consecutive integers n

    Returns
    -------
    mean, concentration : (B,), (B,)
    """
    size = fft.next_fast_len(4 * len(index))
    grid = 2 * np.pi / size * np.arange(size)
    values = fft.fft(coefficients, size, axis=1) * np.exp(-1j * index[0] * grid)
    theta = grid[np.argmax(values.real, axis=1)]
    limit = np.pi / size
    for step in range(_NEWTON + 1):
        terms = coefficients * np.exp(-1j * theta[:, None] * index)
        curvature = terms.real @ index**2
        if step < _NEWTON:
            theta = theta + _step(terms.imag @ index, curvature, limit)
    return theta, curvature.clip(_LEAST, _LARGEST)


def peak(coefficients: Complex, index: Floats, theta: Floats, lags: Complex) -> tuple[Floats, Floats]:
    """Mean and concentration next to exp(|sum_n c_n e^{-jn theta}|^2 / g), from a start within the main lobe.

    g = Re sum_d lags_d e^{-jd theta}, d = 0, 1, ... is the squared length of the steering vector.
    """
    limit = np.pi / (4 * len(index))
    lag = np.arange(lags.shape[1], dtype=np.float64)
    for step in range(_NEWTON + 1):
        terms = coefficients * np.exp(-1j * theta[:, None] * index)
        value, first, second = terms.sum(1), -1j * (terms @ index), -(terms @ index**2)
        length = lags * np.exp(-1j * theta[:, None] * lag)
        g, g1, g2 = length.real.sum(1).clip(1e-9), length.imag @ lag, -(length.real @ lag**2)
        ratio = np.abs(value) ** 2 / g
        slope = (2 * (first * value.conj()).real - ratio * g1) / g
        bend = 2 * (second * value.conj()).real + 2 * np.abs(first) ** 2
        curvature = -(bend - 2 * slope * g1 - ratio * g2) / g
        if step < _NEWTON:
            theta = theta + _step(slope, curvature, limit)
    return theta, curvature.clip(_LEAST, _LARGEST)


def _step(slope: Floats, curvature: Floats, limit: float) -> Floats:
    """Newton's step uphill, no longer than `limit`, also where the curvature has the wrong sign."""
    return np.asarray(slope / np.maximum(curvature, np.abs(slope) / limit + 1e-300))


def moments(mean: Floats, concentration: Floats, index: Floats) -> Complex:
    """E e^{jn theta} = I_n(kappa) / I_0(kappa) e^{jn mean}, shape (B, N)."""
    kappa, n = concentration[:, None], np.abs(index)
    # Debye's expansion, in a form without cancellation; its relative error is below 1e-5 from 30 on.
    root = np.hypot(n, kappa)
    cosine2 = (n / root) ** 2
    series = 1 + (3 - 5 * cosine2) / (24 * root) + (81 - 462 * cosine2 + 385 * cosine2**2) / (1152 * root**2)
    start = 1 + 3 / (24 * kappa) + 81 / (1152 * kappa**2)
    log_ratio = n**2 / (root + kappa) - n * np.arcsinh(n / kappa) - 0.25 * np.log1p((n / kappa) ** 2)
    ratio = np.exp(log_ratio) * series / start
    low = concentration < 30
    if low.any():
        ratio[low] = ive(n, kappa[low]) / ive(0, kappa[low])
    return np.asarray(ratio * np.exp(1j * mean[:, None] * index))
