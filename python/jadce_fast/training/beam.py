"""The objective of beam networks: noise maps, symmetries of the array, and the two losses."""

from __future__ import annotations

import contextlib
import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..priors.beam import BeamPrior
from ..priors.beam_network import BeamNetwork
from .carry import carry
from .compiled import compile_blocks, sixteen_bits
from .data import Pool, Source
from .evaluate import HeldOutChannels
from .mixture import fit_beam_powers
from .objective import Defaults

SIZES: dict[str, dict[str, Any]] = {
    "tiny": {"width": 40, "hidden": 80, "blocks": 4, "taps": 7, "dilations": (1, 2)},
    "base": {"width": 64, "hidden": 128, "blocks": 4, "taps": 7, "dilations": (1, 2)},
    "large": {"width": 96, "hidden": 192, "blocks": 8, "taps": 7, "dilations": (1, 2)},
}
DEFAULTS = Defaults(rate=8e-3, warm_up=500, batch=(4096, 64), pool=(2**20, 8192))


class BeamObjective:
    """A beam network, and the channels that it learns from.

    Parameters
    ----------
    network : BeamNetwork
    source : Source
    statistics : (basis (N, P), beam_gain (G,), beam_weight (G,)) tensors
        Of the prior.
    pool, seed : int
        Channels to keep, and the seed of their draws.
    device : torch.device
    fast : bool
        Whether a CPU shall run the network compiled, see `compile_blocks`.
    """

    variance_weight, one_shape = 0.1, True
    normalisation = "channels of unit mean power over subcarriers and antennas"

    def __init__(
        self,
        network: BeamNetwork,
        source: Source,
        statistics: tuple[Tensor, Tensor, Tensor],
        *,
        pool: int,
        seed: int,
        device: torch.device,
        fast: bool = False,
    ) -> None:
        self.network, self.source, self.statistics = network, source, statistics
        self.basis = statistics[0].to(device)
        self.pool = Pool(source, self.basis, True, size=pool, seed=seed)
        cuda = device.type == "cuda"
        # Muon takes no rate from a tensor: in a graph Adam does it all.
        names = () if cuda else ("expand.weight", "mix.weight")
        self.inner = [p for name, p in network.named_parameters() if name.endswith(names)] if names else []
        self.settings: dict[str, Any] = {}
        self._losses = torch.compile(losses, dynamic=False) if cuda else losses
        self._operands = sixteen_bits if fast else contextlib.nullcontext
        if fast:
            compile_blocks(network)

    def losses(self, batch: int, update: int, generator: torch.Generator) -> Tensor:
        """Losses [2] of mean and variance."""
        z = self.pool.pick(batch, generator)
        noise = torch.randn(z.shape, generator=generator, device=z.device)
        rows = self.source.grid.rows
        v = noise_maps(batch, z.shape[2], generator, rows=rows)
        turned = symmetries(batch, z.shape[2], generator, narrow=self.source.narrow, rows=rows)
        with self._operands():
            result: Tensor = self._losses(self.network, z, turned, v, noise)
        return result

    def examiner(self) -> HeldOutChannels:
        """Channels in white noise."""
        return HeldOutChannels(self.source, self.basis, beamspace=True)

    def prior(self, network: BeamNetwork, metadata: dict[str, Any]) -> BeamPrior:
        """The network with the statistics of its family."""
        basis, gain, weight = (np.asarray(x.cpu()) for x in self.statistics)
        return BeamPrior(network, basis, gain, weight, metadata)


def beam_objective(
    size: str,
    source: Source,
    generator: torch.Generator,
    *,
    pool: int,
    seed: int,
    init: BeamPrior | None = None,
    fast: bool = False,
) -> BeamObjective:
    """A network of one of `SIZES`, or one that goes on from a prior's, with the statistics of a source of channels."""
    basis, eigenvalues = source.klt(generator)
    gain, weight = fit_beam_powers(source, basis.to(generator.device), eigenvalues, generator)
    if init is None:
        network = BeamNetwork(eigenvalues, source.subcarriers, **_architecture(size, source.grid.rows))
    else:
        weights, basis = carry(init, basis, eigenvalues, source.grid)
        network = BeamNetwork.of(weights)
    statistics, device = (basis, gain, weight), generator.device
    return BeamObjective(network, source, statistics, pool=pool, seed=seed, device=device, fast=fast)


def _architecture(size: str, rows: int) -> dict[str, Any]:
    """Arguments of a network of this size for a panel, whose blocks mix beams in azimuth and in elevation in turn."""
    return SIZES[size] | ({"dilations": (rows, 1, 2 * rows, 1), "rows": rows} if rows > 1 else {})


def noise_maps(count: int, antennas: int, generator: torch.Generator, *, rows: int = 1) -> Tensor:
    """Noise variances per beam [count, M]: SNR -16...36 dB, times a random smooth profile, a quarter flat.

    A receiver's effective noise is made of other devices' errors and differs 10:1 and more between beams. Each of
    a panel's `rows` beams in elevation has a profile of its own over the beams in azimuth.
    """
    device = generator.device
    level, reach, depth, flat = torch.rand(4, count, 1, generator=generator, device=device)
    lag = torch.fft.fftfreq(antennas // rows, rows / antennas, device=device)
    window = torch.exp(-0.5 * (lag / (1 + 6 * reach)) ** 2)
    white = torch.randn(count, antennas, generator=generator, device=device).unflatten(1, (-1, rows))
    smooth = torch.fft.ifft(torch.fft.fft(white, dim=1) * window[..., None], dim=1).real.flatten(1)
    smooth = smooth - smooth.mean(1, keepdim=True)
    smooth = smooth / smooth.std(1, keepdim=True, correction=0).clamp_min(1e-3)  # one antenna has no profile
    profile = torch.exp(smooth * torch.where(flat < 0.25, 0.0, 1.2 * depth))
    return (10 ** (1.6 - 5.2 * level) * profile / profile.mean(1, keepdim=True)).clamp(3e-5, 3e2)


def symmetries(
    count: int, antennas: int, generator: torch.Generator, *, narrow: bool = False, rows: int = 1
) -> tuple[Tensor, Tensor, Tensor]:
    """Random circular shift, mirror image, phase and gain (0.5 dB rms) of channels in beamspace.

    A `narrow` family, one table as it stands or a recording, has neither of the first two symmetries; a panel of
    several `rows` has them in azimuth.

    Returns the beam that each beam is read from, [count, 1, M], and its factor's real and imaginary part.
    """
    device = generator.device
    phase, shift, mirror = torch.rand(3, count, 1, 1, generator=generator, device=device)
    if narrow:
        shift, mirror = torch.zeros_like(shift), torch.ones_like(mirror)
    gain = 10 ** (0.025 * torch.randn(count, 1, 1, generator=generator, device=device))
    beam, columns = torch.arange(antennas, device=device), antennas // rows
    flip = mirror < 0.5
    # Antennas in reverse order: beam -b, and one antenna's phase ramp because the array does not wrap around.
    source = (torch.where(flip, -(beam // rows), beam // rows) + (shift * columns).long()) % columns
    turn = 2 * math.pi * (phase + torch.where(flip, -source / columns, 0.0))
    source = source * rows + beam % rows
    return source, gain * turn.cos(), gain * turn.sin()


def turn(z: Tensor, turned: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    """Channels z [B, 2 P, M] turned by `symmetries`."""
    source, real, imag = turned
    a, b = z.gather(2, source.expand_as(z)).chunk(2, 1)
    return torch.cat([a * real - b * imag, a * imag + b * real], 1)


def losses(network: BeamNetwork, z: Tensor, turned: tuple[Tensor, Tensor, Tensor], v: Tensor, noise: Tensor) -> Tensor:
    """Losses [2] of mean and variance for channels z [B, 2 P, M] turned by `symmetries`, in noise v [B, M].

    `noise` is normal, of the shape of z.
    """
    truth = turn(z, turned)
    noisy = truth + noise * (0.5 * v[:, None]).sqrt()
    with torch.autocast("cuda", torch.bfloat16, enabled=z.device.type == "cuda"):
        mean, var = network(noisy, v)
    return torch.stack(mean_and_variance_loss(mean, var, truth, v, network.eigenvalues, network.subcarriers))


def mean_and_variance_loss(
    mean: Tensor,
    var: Tensor,
    truth: Tensor,
    v: Tensor,
    eigenvalues: Tensor,
    subcarriers: int,
    *,
    excess: Tensor | float = 0.0,
) -> tuple[Tensor, Tensor]:
    """Loss of the mean, the error per beam in units of the population Wiener error, and of the variance.

    The latter, log s + e / s with the mean's error e held fixed, is least where s is the expected error. A `truth` that
    is itself observed in noise of energy `excess` per beam [B, M] raises the error by that, which is taken off, and its
    variance, by which it counts less: least where it was.
    """
    lam, noise = eigenvalues[None, :, None], v[:, None, :]
    unit = (lam * noise / (lam + noise)).sum(1)
    weight = 1 / (1 + excess / unit)
    error = ((mean - truth).square().sum(1) - excess) / unit
    spread = var * subcarriers / unit
    return (weight * error).mean(), (weight * (spread.log() + error.detach() / spread)).mean()
