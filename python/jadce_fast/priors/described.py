"""A network that says itself what a receiver has to know of it."""

# No postponed annotations here: TorchScript could not resolve them.

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn


class Described(nn.Module):  # type: ignore[misc]
    """The network of a prior with the prior's statistics as buffers: what `ScriptPrior` reads from a file."""

    def __init__(self, prior: Any) -> None:
        super().__init__()
        if getattr(prior, "bands", 1) > 1:
            raise ValueError(f"prior: expected one of one band, found one of {prior.bands}")
        self.network, self.beamspace = prior.network, bool(prior.beamspace)
        for name in ("basis", "eigenvalues", "beam_gain", "beam_weight"):
            self.register_buffer(name, torch.from_numpy(np.array(getattr(prior, name))))

    def forward(self, z: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Denoise; see `ScriptPrior`."""
        mean, var = self.network(z, v)
        return mean, var
