"""A beam network that learns from noisy observations of channels, without the channels."""

from __future__ import annotations

import contextlib
import copy
import math

import torch
from torch import Tensor

from ..priors.beam import BeamPrior
from .beam import mean_and_variance_loss, noise_maps, symmetries, turn
from .compiled import compile_blocks, sixteen_bits
from .received import Observations

_SHARE = 0.5  # of the way from an estimate to its observation
_NEAR = (0.8, 6.3)  # noise of most examples, over that of the observation
_LEAST_ADDED = 0.25  # noise that is added to an observation, over its own


class NoisyObjective:
    """A beam prior's network, and noisy observations that it learns from without the truth.

    An observation r = x + CN(0, u) in further noise n of variance w is y = r + n, in noise v = u + w. The target
    t = r - u / w n has noise of variance u + u^2 / w which is not correlated with that of y: E[t | y] = E[x | y]
    (recorrupted to recorrupted, Pang et al. 2021). The squared error to t is least where that to the channel would be,
    and larger by that variance.

    Targets so noisy teach slowly. What takes the place of r is half way between the estimate and the observation: it
    has a quarter of the noise, and half of what the prior did wrong about the estimate. Levels below its noise cannot
    be learned so: there the estimate takes the place of the channel, and keeps the network from forgetting them.

    Parameters
    ----------
    prior : BeamPrior
    data : Observations
    near : float
        Share of the examples that have about the noise of the observations; the others have any.
    fast : bool
        Whether the network is compiled, see `compile_blocks`.
    """

    variance_weight, one_shape, pool = 0.1, True, None

    def __init__(self, prior: BeamPrior, data: Observations, near: float, *, fast: bool = False) -> None:
        self.network = copy.deepcopy(prior.network).requires_grad_(True)
        self.near, self.fast = near, fast
        if fast:
            compile_blocks(self.network)
        self.seen = data.estimate + _SHARE * (data.seen - data.estimate)
        self.noise, self.estimate = _SHARE**2 * data.noise, data.estimate
        names = ("expand.weight", "mix.weight")
        self.inner = [p for name, p in self.network.named_parameters() if name.endswith(names)]

    def losses(self, batch: int, update: int, generator: torch.Generator) -> Tensor:
        """Losses [2] of mean and variance."""
        index = torch.randint(len(self.noise), (batch,), generator=generator)
        seen, noise, estimate = (x[index] for x in (self.seen, self.noise, self.estimate))
        turned = symmetries(batch, noise.shape[1], generator, narrow=True)
        noise = noise * (turned[1].square() + turned[2].square())[:, :, 0]
        v = noise_levels(noise / _SHARE**2, self.near, generator)
        white = torch.randn(seen.shape, generator=generator)
        noisy, level, target, excess = example(turn(seen, turned), noise, turn(estimate, turned), v, white)
        network = self.network
        with sixteen_bits() if self.fast else contextlib.nullcontext():
            mean, var = network(noisy, level)
        own = excess * network.coefficients
        return torch.stack(
            mean_and_variance_loss(mean, var, target, level, network.eigenvalues, network.subcarriers, excess=own)
        )


def noise_levels(noise: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """Noise variances per beam [B, M]: a share near the observations' [B, M], others anywhere, see `noise_maps`."""
    v = noise_maps(noise.shape[0], noise.shape[1], generator)
    low, high = map(math.log, _NEAR)
    times = torch.exp(low + (high - low) * torch.rand(len(v), 1, generator=generator))
    profile = v / v.mean(1, keepdim=True)
    near = torch.arange(len(v))[:, None] < share * len(v)
    return torch.where(near, noise * times * profile.sqrt(), v)


def example(
    seen: Tensor, noise: Tensor, estimate: Tensor, v: Tensor, white: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Inputs and targets of the networks.

    Parameters
    ----------
    seen, noise, estimate : tensors, shapes (B, 2 P, M), (B, M), (B, 2 P, M)
        Of `Observations`.
    v : (B, M) tensor
        Noise that the input shall have; what an observation has already is not taken away.
    white : (B, 2 P, M) tensor
        Of unit variance.

    Returns
    -------
    noisy, level, target, excess : tensors, shapes (B, 2 P, M), (B, M), (B, 2 P, M), (B, M)
        Input and its noise, and the target and the variance of its noise per coefficient.
    """
    known = v.mean(1, keepdim=True) >= noise.mean(1, keepdim=True)
    added = torch.where(known, torch.maximum(v - noise, _LEAST_ADDED * noise), v)
    more = (0.5 * added).sqrt()[:, None] * white
    channel = torch.where(known[:, None], seen, estimate)
    own = torch.where(known, noise, 0.0)
    return channel + more, own + added, channel - (own / added)[:, None] * more, own + own.square() / added
