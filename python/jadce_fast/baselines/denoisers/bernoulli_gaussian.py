"""Element-wise MMSE in the delay-beam domain under an i.i.d. Bernoulli-Gaussian prior."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import fft
from scipy.special import expit

from ... import _check
from ._inputs import beam_variance, noisy_channels, single

_Floats = npt.NDArray[np.float64]

_STEPS = 200  # most steps of expectation maximisation
_TOLERANCE = 1e-4  # relative change of sparsity and variance at which it stops
_CHUNK = 64  # channels at a time


def bernoulli_gaussian(
    y: npt.ArrayLike, noise_var: npt.ArrayLike, *, sparsity: float | str = 0.15
) -> npt.NDArray[np.complex64]:
    """Element-wise MMSE estimate, Cai VI-B: delay-beam coefficients are zero or complex Gaussian, independently.

    The domain is the unitary two-dimensional DFT, in which noise stays white over delays and keeps its variance
    in every beam. A coefficient is nonzero with probability `sparsity` and has variance 1/sparsity then: channels
    of unit mean power.

    Parameters
    ----------
    y : array_like of complex64, shape (B, N, M)
        Noisy channels.
    noise_var : float or array_like, shape (M,) or (B, M)
        Complex noise variance, one or one of every beam (``numpy.fft.fft(y, axis=2, norm="ortho")``).
    sparsity : float or "em"
        In (0, 1]. "em" learns sparsity and variance of each channel by expectation maximisation (Vila and
        Schniter, "Expectation-maximization Gaussian-mixture approximate message passing", 2013, with one
        component of mean zero); channels may have any power then.

    Returns
    -------
    ndarray of complex64, shape (B, N, M)
        Posterior mean.

    Raises
    ------
    TypeError, ValueError
        If an argument has a wrong type, shape or range.
    """
    values = noisy_channels(y)
    count, _, antennas = values.shape
    variance = beam_variance(noise_var, count, antennas)
    learned = isinstance(sparsity, str)
    if learned and sparsity != "em":
        raise ValueError(f'sparsity: expected a number in (0, 1] or "em", found {sparsity!r}')
    rate = 0.15 if learned else _check.real("sparsity", sparsity, 1e-12, 1.0, closed=True)
    out = np.empty(values.shape, np.complex64)
    for start in range(0, count, _CHUNK):
        part = slice(start, start + _CHUNK)
        coefficients = fft.fft2(values[part], norm="ortho")
        energy = coefficients.real**2 + coefficients.imag**2
        noise = variance[part, None, :]
        rates = np.full((len(energy), 1, 1), rate)
        signal = 1 / rates
        if learned:
            rates, signal = _expectation_maximisation(energy, noise, rates)
        gain = signal / (signal + noise)
        mean = _probability(energy, noise, rates, signal) * gain * coefficients
        out[part] = single(fft.ifft2(mean, norm="ortho"))
    return out


def _probability(energy: _Floats, noise: _Floats, rates: _Floats, signal: _Floats) -> _Floats:
    """Posterior probability that a coefficient is nonzero, from log-odds: nothing overflows."""
    ratio = signal / noise
    gain = ratio / (1 + ratio)
    with np.errstate(divide="ignore"):
        prior = np.log(rates) - np.log1p(-rates)  # infinite at sparsity 1, as it should be
    odds = prior - np.log1p(ratio) + energy / noise * gain
    return np.asarray(expit(odds), np.float64)


def _expectation_maximisation(energy: _Floats, noise: _Floats, rates: _Floats) -> tuple[_Floats, _Floats]:
    """Sparsity and variance of each channel, shapes (B, 1, 1)."""
    size = energy.shape[1] * energy.shape[2]
    rates = rates.copy()
    # The power above the noise is at least a little: EM cannot leave a variance of zero.
    floor = 1e-3 * noise.mean((1, 2), keepdims=True)
    signal = np.maximum((energy - noise).mean((1, 2), keepdims=True), floor) / rates
    going = np.arange(len(energy))
    for _ in range(_STEPS):
        here, before = noise[going], signal[going]
        probability = _probability(energy[going], here, rates[going], before)
        gain = before / (before + here)
        second_moment = gain * gain * energy[going] + gain * here
        total = np.maximum(probability.sum((1, 2), keepdims=True), 1e-9)
        new_rate = np.clip(total / size, 1e-9, 1 - 1e-9)
        new_signal = np.maximum((probability * second_moment).sum((1, 2), keepdims=True) / total, 1e-30)
        moved = np.maximum(np.abs(new_rate / rates[going] - 1), np.abs(new_signal / before - 1))
        rates[going], signal[going] = new_rate, new_signal
        going = going[moved.ravel() > _TOLERANCE]
        if not going.size:
            break
    return rates, signal
