"""The prior of the paper's pair of score networks (Cai IV)."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from .ncsn_network import NcsnNetwork
from .protocol import Complex, Real, check_denoise, unstructured
from .torchscript import compile_network, run_network

_CHUNK = 64  # devices that the networks denoise at once, which bounds their memory


class NcsnPrior:
    """The paper's pair of score networks, on antennas and all subcarriers. Other attributes as in `Prior`.

    The networks know white noise only: of a device's noise variances they are told the mean.

    Attributes
    ----------
    network : NcsnNetwork
        An eager module in evaluation mode on the CPU.
    compiled : ScriptModule
        The same as frozen TorchScript.
    metadata : dict
        How the prior was made and what was measured.
    """

    kind = "ncsn"  # in files
    beamspace = False
    closed_form = False

    def __init__(self, network: NcsnNetwork, metadata: dict[str, Any]) -> None:
        self.subcarriers, self.metadata = network.subcarriers, metadata
        self.basis, self.eigenvalues, self.beam_gain, self.beam_weight = unstructured(self.subcarriers)
        self.network = network.eval().requires_grad_(False)
        self.compiled: Any = compile_network(self.network)  # now: a detection shall not wait for it

    def __reduce__(self) -> tuple[Any, ...]:
        """Let pickle and copy compile anew: TorchScript does not travel."""
        return type(self), (self.network, self.metadata)

    def denoise(
        self, z: npt.ArrayLike, noise_var: npt.ArrayLike, devices: npt.ArrayLike | None = None
    ) -> tuple[Complex, Real]:
        """Posterior mean and error variance by Tweedie's formulas; see `Prior.denoise`."""
        noisy, v = check_denoise(z, noise_var, self.subcarriers)
        starts = range(0, max(len(noisy), 1), _CHUNK)
        parts = [run_network(self.compiled, noisy[i : i + _CHUNK], v[i : i + _CHUNK]) for i in starts]
        means, variances = zip(*parts, strict=True)
        return np.concatenate(means), np.concatenate(variances)
