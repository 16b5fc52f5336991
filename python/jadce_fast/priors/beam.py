"""The prior of a beam network: the network with the statistics of its channel family."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from .. import _extras
from ..array import Array
from .beam_weights import BeamWeights
from .protocol import Complex, Real, check_denoise

if TYPE_CHECKING:
    from .beam_network import BeamNetwork


class BeamPrior:
    """A beam network with the statistics of its channel family. Other attributes as in `Prior`.

    Receivers run these networks by kernels of their own; `denoise` and `network` need torch.

    Attributes
    ----------
    bands : int
        Parts of the coefficients that the network denoises one by one; the receiver puts their activity together.
    metadata : dict
        How the prior was made and what was measured.
    """

    kind = "beam"  # in files
    beamspace = True
    closed_form = False

    def __init__(
        self,
        network: BeamNetwork | BeamWeights,
        basis: Complex,
        beam_gain: Real,
        beam_weight: Real,
        metadata: dict[str, Any],
    ) -> None:
        if isinstance(network, BeamWeights):
            self._weights = network
        else:
            self.network = network.eval().requires_grad_(False)
        weights = self.weights
        self.subcarriers, self.basis = weights.subcarriers, basis
        self.bands = max(basis.shape[1] // len(weights.eigenvalues), 1)
        self.eigenvalues = np.tile(weights.eigenvalues, self.bands)
        self.beam_gain, self.beam_weight, self.metadata = beam_gain, beam_weight, metadata

    @functools.cached_property
    def network(self) -> BeamNetwork:
        """The denoiser, an eager module in evaluation mode on the CPU."""
        with _extras.named():
            from .beam_network import BeamNetwork

        network: BeamNetwork = BeamNetwork.of(self._weights).eval().requires_grad_(False)
        return network

    @property
    def weights(self) -> BeamWeights:
        """The denoiser's weights, those of `network` as they are now if there is one."""
        return self.network.weights() if "network" in self.__dict__ else self._weights

    @property
    def rows(self) -> int:
        """Rows of the panel that it was made for, 1 if it knows of none."""
        return self.weights.rows

    def of_array(self, array: Array) -> BeamPrior:
        """The same on the beams of an array, every polarisation for itself, and every row if it knows of none."""
        step, weights = array.stride // self.rows, self.weights
        dilations = [step * spacing for spacing in weights.dilations]
        spread = BeamWeights(weights.subcarriers, weights.architecture | {"dilations": dilations}, weights.arrays)
        other = BeamPrior(spread, self.basis, self.beam_gain, self.beam_weight, self.metadata)
        other.beamspace = False
        return other

    def denoise(
        self, z: npt.ArrayLike, noise_var: npt.ArrayLike, devices: npt.ArrayLike | None = None
    ) -> tuple[Complex, Real]:
        """Posterior mean and error variance by the network; see `Prior.denoise`."""
        compiled = self.compiled
        from .torchscript import run_network

        noisy, noise = check_denoise(z, noise_var, len(self.eigenvalues))
        count, coefficients, beams = noisy.shape
        parts = noisy.reshape(count * self.bands, coefficients // self.bands, beams)
        mean, var = run_network(compiled, parts, np.repeat(noise, self.bands, axis=0))
        return mean.reshape(noisy.shape), var.reshape(count, self.bands, beams).sum(1)

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what is compiled, which does not travel."""
        return {name: value for name, value in self.__dict__.items() if name != "compiled"}

    @functools.cached_property
    def compiled(self) -> Any:
        """The network as frozen TorchScript, made on first use: receivers have a native kernel for these networks."""
        network = self.network
        from .torchscript import compile_network

        return compile_network(network)
