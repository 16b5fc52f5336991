"""Orthogonal matching pursuit over a separable dictionary of delays and angles."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import fft

from ... import _check
from ._inputs import beam_variance, noisy_channels, single

_Complex = npt.NDArray[np.complex128]
_Floats = npt.NDArray[np.float64]

_CHUNK = 8  # channels at a time, so that their correlations stay in the second-level cache
_DEPENDENT = 1e-9  # squared distance of a unit-norm atom from the span of the chosen ones that counts as zero


def omp(
    y: npt.ArrayLike,
    noise_var: npt.ArrayLike = 1.0,
    *,
    atoms: int = 100,
    oversampling: tuple[int, int] = (4, 4),
    stop_at_noise: bool = False,
) -> npt.NDArray[np.complex64]:
    """Orthogonal matching pursuit, Cai VI-B: greedy delay-angle pairs, coefficients by least squares.

    The dictionary is a_N(tau) (x) b_M(phi) with both frequencies uniform over their whole period (delays over
    1 / subcarrier spacing). Coloured noise is whitened first, atoms with it; white noise has no influence
    unless `stop_at_noise`.

    Parameters
    ----------
    y : array_like of complex64, shape (B, N, M)
        Noisy channels.
    noise_var : float or array_like, shape (M,) or (B, M)
        Complex noise variance, one or one of every beam (``numpy.fft.fft(y, axis=2, norm="ortho")``).
    atoms : int
        Pairs to take. Fewer are taken where the next one is a combination of those chosen.
    oversampling : tuple of two ints
        Dictionary delays per subcarrier and angles per antenna.
    stop_at_noise : bool
        Stop a channel when its whitened residual has the expected energy of the noise.

    Returns
    -------
    ndarray of complex64, shape (B, N, M)

    Raises
    ------
    TypeError, ValueError
        If an argument has a wrong type, shape or range.
    """
    values = noisy_channels(y)
    count, subcarriers, antennas = values.shape
    variance = beam_variance(noise_var, count, antennas)
    atoms = _check.integer("atoms", atoms, 0)
    if not isinstance(oversampling, tuple | list) or len(oversampling) != 2:
        raise TypeError(f"oversampling: expected two integers, found {oversampling!r}")
    grid = (
        subcarriers * _check.integer("oversampling[0]", oversampling[0], 1, 64),
        antennas * _check.integer("oversampling[1]", oversampling[1], 1, 64),
    )
    if not isinstance(stop_at_noise, bool | np.bool_):
        raise TypeError(f"stop_at_noise: expected a bool, found {stop_at_noise!r}")
    out = np.empty(values.shape, np.complex64)
    for start in range(0, count, _CHUNK):
        part = slice(start, start + _CHUNK)
        out[part] = _pursue(values[part], variance[part], min(atoms, values[0].size), grid, bool(stop_at_noise))
    return out


def _pursue(
    y: _Complex, variance: _Floats, atoms: int, grid: tuple[int, int], stop_at_noise: bool
) -> npt.NDArray[np.complex64]:
    """OMP of one chunk. Whitened beams replace antennas: (B, N, M)."""
    count, n, m = y.shape
    whitener = 1 / np.sqrt(variance)
    residual = fft.fft(y, axis=2, norm="ortho") * whitener[:, None]
    scale = np.sqrt(np.mean(np.abs(residual) ** 2, axis=(1, 2), keepdims=True))
    scale[scale == 0] = 1
    residual /= scale
    delays = np.exp(-2j * np.pi / grid[0] * np.outer(np.arange(grid[0]), np.arange(n))) / np.sqrt(n)  # (GN, N)
    angles = np.exp(2j * np.pi / grid[1] * np.outer(np.arange(grid[1]), np.arange(m)))  # (GM, M)
    angles = fft.fft(angles, axis=1, norm="ortho")[None] * whitener[:, None]  # (B, GM, M)
    length = np.linalg.norm(angles, axis=2, keepdims=True)
    angles /= length
    # Single precision is enough to find the largest correlation; all that is kept is double.
    search_delays = delays.conj().astype(np.complex64)
    search_angles = np.ascontiguousarray(angles.conj().transpose(0, 2, 1)).astype(np.complex64)
    chosen_delays = np.zeros((count, atoms, n), np.complex128)
    chosen_angles = np.zeros((count, atoms, m), np.complex128)
    chosen_length = np.ones((count, atoms))
    # Gram matrix of the chosen atoms = L L^H; rows of its inverse make the chosen atoms orthonormal.
    inverse = np.zeros((count, atoms, atoms), np.complex128)
    projection = np.zeros((count, atoms), np.complex128)  # coordinates of y over the orthonormal atoms
    expected = n * m / scale[:, 0, 0] ** 2
    row = np.arange(count)
    going = np.ones(count, bool)
    for k in range(atoms):
        if stop_at_noise:
            going &= np.sum(residual.real**2 + residual.imag**2, axis=(1, 2)) > expected
        correlation = search_delays @ residual.astype(np.complex64) @ search_angles
        best = np.argmax((correlation.real**2 + correlation.imag**2).reshape(count, -1), axis=1)
        delay, angle = delays[best // grid[1]], angles[row, best % grid[1]]
        past_delays, past_angles = chosen_delays[:, :k], chosen_angles[:, :k]
        gram = (past_delays.conj() @ delay[:, :, None] * (past_angles.conj() @ angle[:, :, None]))[:, :, 0]
        part = (inverse[:, :k, :k] @ gram[:, :, None])[:, :, 0]  # the new atom's part within the span
        distance = 1 - np.sum(part.real**2 + part.imag**2, axis=1)
        going &= distance > _DEPENDENT
        if not going.any():
            break
        norm = np.where(going, np.sqrt(np.maximum(distance, _DEPENDENT)), np.inf)
        inverse[:, k, :k] = -(part.conj()[:, None] @ inverse[:, :k, :k])[:, 0] / norm[:, None]
        inverse[:, k, k] = 1 / norm
        chosen_delays[:, k], chosen_angles[:, k] = delay, angle
        chosen_length[:, k] = length[row, best % grid[1], 0]
        weights = inverse[:, k, : k + 1].conj()
        # The new orthonormal atom, and its share of the residual.
        unit = chosen_delays[:, : k + 1].transpose(0, 2, 1) @ (weights[:, :, None] * chosen_angles[:, : k + 1])
        projection[:, k] = np.sum(unit.conj() * residual, axis=(1, 2))
        residual -= unit * projection[:, k, None, None]
    coefficients = (inverse.conj().transpose(0, 2, 1) @ projection[:, :, None])[:, :, 0]
    beams = chosen_delays.transpose(0, 2, 1) @ (coefficients[:, :, None] * chosen_angles)
    return single(fft.ifft(beams * scale / whitener[:, None], axis=2, norm="ortho"))
