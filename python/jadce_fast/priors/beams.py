"""A prior without delay structure: sparse beams, independent subcarriers."""

from __future__ import annotations

import copy

import numpy as np
import numpy.typing as npt

from .. import _check
from ..array import Array
from .protocol import Complex, Real, check_denoise, unstructured

# Powers of a beam, from empty to ten times the mean, and their weights; the mean is one.
_GAIN = np.array([0.003, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0])
_WEIGHT = np.array([0.25, 0.15, 0.15, 0.15, 0.14, 0.11, 0.05])


class BeamsPrior:
    """CN(0, a) entries over subcarriers with one power a per beam, drawn from a mixture with a heavy tail.

    What is left of channels if nothing is known of their delays. Attributes as in `Prior`.
    """

    beamspace = True
    closed_form = False
    exact = True

    def __init__(self, subcarriers: int) -> None:
        self.subcarriers = _check.integer("subcarriers", subcarriers, 1)
        self.basis, self.eigenvalues, *_ = unstructured(self.subcarriers)
        self.beam_gain = (_GAIN / (_GAIN @ _WEIGHT)).astype(np.float32)
        self.beam_weight = _WEIGHT.astype(np.float32)

    def of_array(self, array: Array) -> BeamsPrior:
        """The same on the beams of an array: every beam is for itself."""
        other = copy.copy(self)
        other.beamspace = False
        return other

    def denoise(
        self, z: npt.ArrayLike, noise_var: npt.ArrayLike, devices: npt.ArrayLike | None = None
    ) -> tuple[Complex, Real]:
        """Posterior mean and variance: Wiener estimates of every power, mixed by its posterior given the beam's energy.

        See `Prior.denoise`.
        """
        noisy, v = check_denoise(z, noise_var, self.subcarriers)
        energy = np.abs(noisy.astype(np.complex128) ** 2).sum(axis=1)[..., None]  # (A, M, 1)
        total = v[..., None] + self.beam_gain.astype(np.float64)  # (A, M, G)
        log_weight = np.log(self.beam_weight) - energy / total - self.subcarriers * np.log(total)
        weight = np.exp(log_weight - log_weight.max(-1, keepdims=True))
        weight /= weight.sum(-1, keepdims=True)
        wiener = self.beam_gain / total
        gain = np.sum(weight * wiener, axis=-1)  # (A, M)
        spread = np.sum(weight * wiener**2, axis=-1) - gain**2  # of the mean over powers
        var = gain * v + np.maximum(spread, 0) * energy[..., 0] / self.subcarriers
        return (gain[:, None, :] * noisy).astype(np.complex64), var.astype(np.float32)
