"""Variational line-spectrum inference (VALSE) in delay and angle."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import fft

from ... import _check
from ._inputs import beam_variance, noisy_channels, single
from ._lines import Bools, Lines
from ._von_mises import Complex, Floats

_CHUNK = 16  # channels at a time: 128 components of one take 1 MB
_SPARE = 16  # slots for components that the start did not find
_LEAST = 1e-10  # noise variance of unit-power channels below which Gram matrices would be singular


@dataclass(frozen=True)
class LineSpectra:
    """Components found in B channels; L slots, of which ``active`` ones hold a component.

    Attributes
    ----------
    channels : ndarray of complex64, shape (B, N, M)
        Posterior means.
    active : ndarray of bool, shape (B, L)
    amplitudes : ndarray of complex128, shape (B, L)
        Of sum_l w_l e^{j (n - N//2) theta_l} e^{j (m - M//2) phi_l}.
    frequencies : ndarray of float64, shape (B, L, 2)
        (theta, phi) in radians per subcarrier and per antenna, in [-pi, pi): a delay tau has
        theta = -2 pi tau times the subcarrier spacing.
    concentrations : ndarray of float64, shape (B, L, 2)
        Of their von Mises posteriors; about one over the variance.
    noise_var : ndarray of float64, shape (B,)
        White noise variance, given or learned; in coloured noise the harmonic mean over beams.
    iterations : ndarray of int64, shape (B,)
    """

    channels: npt.NDArray[np.complex64]
    active: Bools
    amplitudes: Complex
    frequencies: Floats
    concentrations: Floats
    noise_var: Floats
    iterations: npt.NDArray[np.int64]


def valse(
    y: npt.ArrayLike,
    noise_var: npt.ArrayLike | None = None,
    *,
    components: int = 128,
    iterations: int = 150,
    tolerance: float = 2e-3,
) -> npt.NDArray[np.complex64]:
    """Channels as sums of plane waves by ``valse_lines``, which has the parameters: (B, N, M) complex64."""
    return valse_lines(y, noise_var, components=components, iterations=iterations, tolerance=tolerance).channels


def valse_lines(
    y: npt.ArrayLike,
    noise_var: npt.ArrayLike | None = None,
    *,
    components: int = 128,
    iterations: int = 150,
    tolerance: float = 2e-3,
) -> LineSpectra:
    """Badiu, Hansen and Fleury, "Variational Bayesian inference of line spectra", in delay and angle.

    Posteriors of frequencies are von Mises, of amplitudes Gaussian, the support is a point estimate; activity
    rate, amplitude variance and (unless given) noise variance are re-estimated in every iteration. Noise that is
    coloured over beams is in the model: nothing is averaged.

    Parameters
    ----------
    y : array_like of complex64, shape (B, N, M)
        Noisy channels.
    noise_var : float or array_like, shape (M,) or (B, M), or None
        Complex noise variance, one or one of every beam (``numpy.fft.fft(y, axis=2, norm="ortho")``); None
        learns a white one for each channel.
    components : int
        L, the most components of a channel.
    iterations : int
        The most iterations.
    tolerance : float
        A channel is done when an iteration moves its estimate by less than this fraction of the noise (both as
        root mean squares over entries).

    Returns
    -------
    LineSpectra

    Raises
    ------
    TypeError, ValueError
        If an argument has a wrong type, shape or range.
    """
    values = noisy_channels(y)
    count, n, m = values.shape
    variance = None if noise_var is None else beam_variance(noise_var, count, m)
    slots = min(_check.integer("components", components, 1), n * m)
    iterations = _check.integer("iterations", iterations, 0)
    tolerance = _check.real("tolerance", tolerance, 0, 1, closed=True)
    out = LineSpectra(
        channels=np.zeros(values.shape, np.complex64),
        active=np.zeros((count, slots), bool),
        amplitudes=np.zeros((count, slots), np.complex128),
        frequencies=np.zeros((count, slots, 2)),
        concentrations=np.zeros((count, slots, 2)),
        noise_var=np.zeros(count),
        iterations=np.zeros(count, np.int64),
    )
    for start in range(0, count, _CHUNK):
        rows = np.arange(start, min(start + _CHUNK, count))
        _infer(values[rows], None if variance is None else variance[rows], rows, out, iterations, tolerance)
    return out


def _infer(
    y: Complex,
    variance: Floats | None,
    rows: npt.NDArray[np.int64],
    out: LineSpectra,
    iterations: int,
    tolerance: float,
) -> None:
    """Run one chunk; `rows` are its places in `out`."""
    scale = np.sqrt(np.mean(np.abs(y) ** 2, axis=(1, 2)))
    scale[scale == 0] = 1
    y = y / scale[:, None, None]
    if variance is None:
        weights, noise = np.ones((len(y), y.shape[2])), _noise_floor(y)
    else:
        noise = 1 / np.mean(1 / variance, axis=1)
        weights, noise = noise[:, None] / variance, np.maximum(noise / scale**2, _LEAST)
    lines = Lines(y, weights, noise, variance is None, out.active.shape[1])
    while lines.propose().any():
        pass
    lines.trim(_SPARE)
    lines.update_parameters()
    lines.refresh()
    lines.choose_support()
    before = lines.reconstruction()
    for step in range(iterations + 1):
        done = np.full(len(rows), step == iterations)
        if step < iterations:
            lines.update_frequencies()
            lines.refresh()
            lines.propose()
            lines.choose_support()
            lines.update_parameters()
            now = lines.reconstruction()
            moved = np.linalg.norm(now - before, axis=(1, 2))
            done = moved <= tolerance * np.sqrt(lines.noise * now[0].size)
            before = now
        if done.any():
            at, factor = rows[done], scale[done]
            out.channels[at] = single(before[done] * factor[:, None, None])
            out.active[at, : lines.slots] = lines.active[done]
            out.amplitudes[at, : lines.slots] = lines.w[done] * factor[:, None]
            frequencies = np.stack([lines.theta[done], lines.phi[done]], axis=-1)
            out.frequencies[at, : lines.slots] = (frequencies + np.pi) % (2 * np.pi) - np.pi
            out.concentrations[at, : lines.slots] = np.stack([lines.kappa_theta[done], lines.kappa_phi[done]], axis=-1)
            out.noise_var[at] = lines.noise[done] * factor**2
            out.iterations[at] = min(step + 1, iterations)
            rows, scale, before = rows[~done], scale[~done], before[~done]
            lines.keep(~done)
        if not rows.size:
            return


def _noise_floor(y: Complex) -> Floats:
    """First guess of the noise variance of each channel: median of a windowed periodogram."""
    windows = [np.sin(np.pi * (np.arange(size) + 0.5) / size) for size in y.shape[1:]]
    window = np.outer(*windows)
    window /= np.linalg.norm(window)
    power = np.abs(fft.fft2(y * window)) ** 2
    floor = np.median(power, axis=(1, 2)) / np.log(2)
    return np.asarray(np.maximum(floor, _LEAST))
