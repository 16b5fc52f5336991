"""The prior of independent Gaussian entries, whose denoiser has a closed form."""

from __future__ import annotations

import numpy.typing as npt

from .. import _check
from .protocol import Complex, Real, check_denoise, unstructured


class GaussianPrior:
    """Independent CN(0, 1) entries, the channel model of BG-TMP. Attributes as in `Prior`.

    Equal antennas need no beams: the receiver works on antennas, as the paper does, where the noise is white.
    """

    beamspace = False
    closed_form = True

    def __init__(self, subcarriers: int) -> None:
        self.subcarriers = _check.integer("subcarriers", subcarriers, 1)
        self.basis, self.eigenvalues, self.beam_gain, self.beam_weight = unstructured(self.subcarriers)

    def denoise(
        self, z: npt.ArrayLike, noise_var: npt.ArrayLike, devices: npt.ArrayLike | None = None
    ) -> tuple[Complex, Real]:
        """Wiener estimate z / (1 + v) and its error variance v / (1 + v); see `Prior.denoise`."""
        noisy, v = check_denoise(z, noise_var, self.subcarriers)
        return noisy / (1 + v[:, None, :]), v / (1 + v)
