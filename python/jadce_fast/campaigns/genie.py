"""The genie: a denoiser that knows which paths every active device has, and only not their phases.

Its error bounds that of a denoiser that has to learn the distribution of channels, such as the score network.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from .. import _check, _extras
from ..array import Array
from ..channels import Paths

if TYPE_CHECKING:
    from torch import Tensor

_NEGLIGIBLE = 1e-7  # share of a channel's power below which a direction of a cluster's rays is dropped


class GeniePrior:
    """LMMSE denoiser with each device's true covariance over subcarriers and antennas, for coloured noise.

    Parameters
    ----------
    base : prior
        Its basis and eigenvalues, completed to all N coefficients so that nothing of a channel is cut off,
        and its activity mixture serve the genie too: it detects as the base does and only denoises better.
    spacing : float
        Subcarrier spacing in Hz.

    Notes
    -----
    With a_c the response of a cluster's delay over KLT coefficients and B_c those of its rays over beams, the
    covariance is F F^H, F = [a_c (x) B_c], each B_c reduced to its singular vectors with power. For noise D
    the posterior mean is F (I + F^H D^-1 F)^-1 F^H D^-1 z, where the Gram matrix is an elementwise product of
    one over coefficients and one over beams, as D depends on the beam alone.

    A device that was not revealed is known to be inactive: its estimate is zero and so is the variance.
    """

    beamspace = True
    closed_form = False

    def __init__(self, base: Any, spacing: float = 30e3) -> None:
        self.subcarriers = int(base.subcarriers)
        self.spacing = _check.real("spacing", spacing)
        self.basis, self.eigenvalues = _complete(base.basis, base.eigenvalues)
        self.beam_gain, self.beam_weight = base.beam_gain, base.beam_weight
        self._factors: dict[int, tuple[Tensor, Tensor]] = {}

    def of_array(self, array: Array) -> GeniePrior:
        """The same on the beams of an array, told what this one is told."""
        other = copy.copy(self)
        other.beamspace = False
        return other

    def reveal(self, devices: npt.ArrayLike, paths: Paths, antennas: int | Sequence[int]) -> None:
        """Tell the paths of the active devices; all that was told before is forgotten.

        Parameters
        ----------
        devices : array_like of int, shape (A,)
        paths : Paths
            Of these devices, in this order; powers of each add to one.
        antennas : int or tuple of int
            M, or the sides of an array, as of :class:`jadce_fast.Receiver`; polarisations are independent.
        """
        array = Array.of(antennas)
        index = _check.array("devices", devices, (len(paths),), np.int64)
        self._factors.clear()
        self._factors.update({int(k): self._factor(paths, i, array) for i, k in enumerate(index)})

    def _factor(self, paths: Paths, i: int, array: Array) -> tuple[Tensor, Tensor]:
        """Factors (P, L) over coefficients and (M, L) over beams of one device's covariance."""
        with _extras.named():
            import torch

        n, m = np.arange(self.subcarriers)[:, None], np.arange(array.columns)[:, None, None]
        v = np.arange(array.rows)[:, None]
        over_delay = np.exp(-2j * np.pi * self.spacing * n * paths.delay[i])  # (N, C)
        sine = np.sin(paths.zenith[i]) * np.sin(paths.azimuth[i])  # (C, R)
        turn = m * sine[:, None, None, :] + v * np.cos(paths.zenith[i])[:, None, None, :]
        rays = np.sqrt(paths.power[i])[:, None, None, :] * np.exp(1j * np.pi * turn)  # (C, columns, rows, R)
        over_angle = np.fft.fft2(rays, axes=(1, 2), norm="ortho").reshape(len(rays), -1, rays.shape[-1])
        u, s, _ = np.linalg.svd(over_angle, full_matrices=False)
        cluster, direction = np.nonzero(s**2 > _NEGLIGIBLE * over_angle.shape[1] * paths.power[i].sum())
        coefficients = (self.basis.conj().T @ over_delay)[:, cluster]
        beams = (u[cluster, :, direction] * s[cluster, direction, None]).T
        # Polarisations are counted fastest among beams, and each has the same directions for itself.
        apart = beams[:, None, None, :] * np.eye(array.polarisations)[:, :, None]
        return (
            torch.tensor(np.tile(coefficients, array.polarisations)),
            torch.tensor(apart.reshape(len(beams) * array.polarisations, -1)),
        )

    def denoise(
        self, z: npt.NDArray[np.complex64], v: npt.NDArray[np.float32], devices: npt.NDArray[np.int64]
    ) -> tuple[npt.NDArray[np.complex64], npt.NDArray[np.float32]]:
        """Posterior mean and variance, as of :class:`jadce_fast.Prior`.

        Parameters
        ----------
        z : ndarray, shape (A, N, M)
        v : ndarray, shape (A, M)
        devices : ndarray of int, shape (A,)

        Returns
        -------
        mean : ndarray of complex64, shape (A, N, M)
        var : ndarray of float32, shape (A, M)
        """
        import torch

        mean = np.zeros(z.shape, np.complex64)
        var = np.zeros(v.shape, np.float32)
        threads = torch.get_num_threads()
        torch.set_num_threads(1)  # matrices this small are slower on two threads, far slower on a busy machine
        try:
            for i, k in enumerate(devices):
                if int(k) in self._factors:
                    a, b = self._factors[int(k)]
                    mean[i], var[i] = _lmmse(a, b, torch.tensor(z[i]), torch.tensor(v[i]))
        finally:
            torch.set_num_threads(threads)
        return mean, var


def _lmmse(a: Tensor, b: Tensor, z: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """Posterior mean (P, M) and variance (M,) of sum_l x_l a_l b_l^T, x ~ CN(0, I), in noise v per beam."""
    import torch

    whitened = b.conj() / v.double()[:, None]
    gram_a = a.mH @ a
    precision = gram_a * (whitened.mT @ b)
    precision.diagonal().add_(1)
    inner = torch.cholesky_inverse(torch.linalg.cholesky(precision))
    x = inner @ (a.conj() * (z.to(a.dtype) @ whitened)).sum(0)
    # diag of F inner F^H, summed over coefficients: only entries of inner with their gram_a count.
    var = ((b @ (inner * gram_a.mT)) * b.conj()).sum(1).real
    return (a * x) @ b.mT, var / len(z)


def _complete(
    basis: npt.NDArray[np.complex64], eigenvalues: npt.NDArray[np.float32]
) -> tuple[npt.NDArray[np.complex64], npt.NDArray[np.float32]]:
    """Extend an orthonormal basis (N, P) to (N, N); new vectors get what the eigenvalues leave of N."""
    n, p = basis.shape
    full, _ = np.linalg.qr(np.hstack([basis.astype(np.complex128), np.eye(n)]))
    left = max(n - float(np.sum(eigenvalues)), 1e-6 * n) / max(n - p, 1)
    values = np.concatenate([eigenvalues, np.full(n - p, left)])
    return np.hstack([basis, full[:, p:]]).astype(np.complex64), values.astype(np.float32)
