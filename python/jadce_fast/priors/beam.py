"""The prior of a beam network: the network with the statistics of its channel family."""

from __future__ import annotations

import functools
from typing import Any

import numpy.typing as npt

from .beam_network import BeamNetwork
from .protocol import Complex, Real, check_denoise
from .torchscript import compile_network, run_network


class BeamPrior:
    """A beam network with the statistics of its channel family. Other attributes as in `Prior`.

    Attributes
    ----------
    network : BeamNetwork
        The denoiser, an eager module in evaluation mode on the CPU.
    metadata : dict
        How the prior was made and what was measured.
    """

    beamspace = True
    closed_form = False

    def __init__(
        self, network: BeamNetwork, basis: Complex, beam_gain: Real, beam_weight: Real, metadata: dict[str, Any]
    ) -> None:
        self.subcarriers, self.basis = network.subcarriers, basis
        self.eigenvalues: Real = network.eigenvalues.numpy().copy()
        self.beam_gain, self.beam_weight, self.metadata = beam_gain, beam_weight, metadata
        self.network = network.eval().requires_grad_(False)

    def denoise(
        self, z: npt.ArrayLike, noise_var: npt.ArrayLike, devices: npt.ArrayLike | None = None
    ) -> tuple[Complex, Real]:
        """Posterior mean and error variance by the network; see `Prior.denoise`."""
        return run_network(self.compiled, *check_denoise(z, noise_var, len(self.eigenvalues)))

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what is compiled, which does not travel."""
        return {name: value for name, value in self.__dict__.items() if name != "compiled"}

    @functools.cached_property
    def compiled(self) -> Any:
        """The network as frozen TorchScript, made on first use: receivers have a native kernel for these networks."""
        return compile_network(self.network)
