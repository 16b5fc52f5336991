"""The objective of the paper's score networks: denoising score matching of first and second order, Cai (47)-(54)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..priors.ncsn import NcsnPrior
from ..priors.ncsn_network import LEVELS, LOWEST_SNR, NcsnNetwork
from .data import Pool, Source
from .evaluate import HeldOutChannels
from .objective import Defaults

DEFAULTS = Defaults(rate=1e-3, warm_up=50, batch=(400, 8), pool=(2**17, 8192))


class NcsnObjective:
    """A new pair of networks, and the channels that it learns from.

    Parameters
    ----------
    source : Source
    width : int
        Of `NcsnNetwork`.
    weighting : float
        Exponent of `losses`.
    pool, seed : int
        Channels to keep, and the seed of their draws.
    device : torch.device
    """

    variance_weight, one_shape = 1.0, True
    normalisation = "channels of unit mean power over subcarriers and antennas"

    def __init__(
        self, source: Source, width: int, weighting: float, *, pool: int, seed: int, device: torch.device
    ) -> None:
        self.network, self.source = NcsnNetwork(source.subcarriers, width=width), source
        self.basis = torch.eye(source.subcarriers, dtype=torch.complex64, device=device)
        self.pool = Pool(source, self.basis, False, size=pool, seed=seed)
        self.inner: list[Tensor] = []
        self.settings = {"width": width, "weighting": weighting}

    def losses(self, batch: int, update: int, generator: torch.Generator) -> Tensor:
        """Losses [2] of the two networks."""
        z = self.pool.pick(batch, generator)
        return torch.stack(losses(self.network, z, generator, exponent=self.settings["weighting"]))

    def examiner(self) -> HeldOutChannels:
        """Channels in white noise."""
        return HeldOutChannels(self.source, self.basis, beamspace=False)

    def prior(self, network: NcsnNetwork, metadata: dict[str, Any]) -> NcsnPrior:
        """The pair as a prior."""
        return NcsnPrior(network, metadata)


def losses(
    network: NcsnNetwork, truth: Tensor, generator: torch.Generator, *, exponent: float = 2.0
) -> tuple[Tensor, Tensor]:
    """Losses of both networks, every channel in noise of one of the 41 levels, drawn at random.

    Parameters
    ----------
    network : NcsnNetwork
        In training mode or not: it has no state besides its weights.
    truth : (B, 2 N, M) tensor
        Channels over antennas: N real parts, then N imaginary parts, of unit mean power each (Cai V-B).
    generator : torch.Generator
        Draws levels and noise, on the device of `truth`.
    exponent : float
        The weights of the levels are tau^exponent and tau^(2 exponent): 2 in Cai, 1 in Song and Ermon 2019,
        whose sigma^2 is tau. With 1 all levels are about as important, with 2 noise far below a channel's power
        counts for nothing until all stronger noise has been learnt.

    Returns
    -------
    first : scalar tensor
        Cai (48), (49) divided by N M: for weights tau^2 the mean squared error per complex entry.
    second : scalar tensor
        Cai (53), (54) divided by (N M)^2: for weights tau^4 the mean squared difference of a channel's promised and
        true squared error per entry. No gradient reaches the first network.
    """
    count, size = len(truth), truth[0].numel() // 2
    clean = truth.reshape(count, 2, truth.shape[1] // 2, truth.shape[2])
    level = torch.randint(LEVELS, (count,), generator=generator, device=truth.device)
    tau = 10 ** (-0.1 * (LOWEST_SNR + level.to(truth.dtype)))
    white = torch.randn(clean.shape, generator=generator, device=truth.device, dtype=truth.dtype)
    noise = (tau / 2).sqrt()[:, None, None, None] * white
    noisy = clean + noise
    difference = network.first(noisy, tau) + noise / tau[:, None, None, None]
    squared = difference.square().sum((1, 2, 3))
    trace = network.second(noisy, tau).sum((1, 2, 3)) / 2  # an entry's two outputs are its real and imaginary part's
    weight = tau**exponent
    first = weight * squared / size
    second = (weight * ((trace - squared.detach()) / size + 1 / tau)).square()
    return first.mean(), second.mean()
