"""Priors and receivers in deepinv, a library of inverse problems (``pip install jadce-fast[deepinv]``).

Its tensors are real: channels x and received blocks y have an axis of two, the real and the imaginary part, and noise
of standard deviation sigma in each of them is complex noise of variance 2 sigma².
"""

from __future__ import annotations

import os
from typing import Any

import torch
from deepinv.models import Denoiser, Reconstructor
from deepinv.physics import LinearPhysics

from .detection import Detection
from .pilots import Pilots
from .priors.described import Described
from .priors.files import load_prior

__all__ = ["ChannelDenoiser", "GrantFreeReconstructor", "GrantFreeUplink"]


class ChannelDenoiser(Denoiser):  # type: ignore[misc]
    """The network of a prior as a denoiser of channels in white noise, for plug-and-play methods and the like.

    Parameters
    ----------
    prior : str, path or prior object
        As of :func:`jadce_fast.load_prior`, or one that it gave: one network.
    device : str or torch.device, optional

    Raises
    ------
    TypeError
        If the prior has no network, or is a cascade of several.

    Notes
    -----
    ``denoiser(x, sigma)`` takes and gives x (B, 2, N, M) of channels of unit mean power over N subcarriers and M
    antennas, and takes sigma, positive, as a number or one for each of B. It is differentiable in x.
    """

    def __init__(self, prior: Any = "cdl", *, device: Any = "cpu") -> None:
        super().__init__()
        loaded = load_prior(prior) if isinstance(prior, (str, os.PathLike)) else prior
        if not isinstance(getattr(loaded, "network", None), torch.nn.Module):
            raise TypeError(f"prior: expected one with a network, found {type(loaded).__name__}")
        self.prior = Described(loaded)
        self.to(device)

    def forward(self, x: torch.Tensor, sigma: Any, **_: Any) -> torch.Tensor:
        """Posterior mean, as the class says."""
        subcarriers = len(self.prior.basis)
        if x.dim() != 4 or x.shape[1:3] != (2, subcarriers):
            raise ValueError(f"x: expected shape (B, 2, {subcarriers}, M), found {tuple(x.shape)}")
        sigma = self._handle_sigma(sigma, batch_size=len(x), device=x.device, dtype=x.dtype)
        if not (sigma > 0).all():
            raise ValueError(f"sigma: expected positive standard deviations, found {float(sigma.min()):g}")
        noisy = _complex(x)
        if self.prior.beamspace:
            noisy = torch.fft.fft(noisy, norm="ortho")
        basis = self.prior.basis.to(noisy.dtype)
        z = basis.mH @ noisy
        v = (2 * sigma**2)[:, None].expand(len(x), x.shape[3])
        mean, _ = self.prior(torch.cat([z.real, z.imag], 1), v)
        h = basis @ torch.complex(*mean.chunk(2, 1))
        return _parts(torch.fft.ifft(h, norm="ortho") if self.prior.beamspace else h)


class GrantFreeUplink(LinearPhysics):  # type: ignore[misc]
    """Pilots of all devices as a forward operator: from channels x (B, 2, K, N, M) to blocks y (B, 2, T, N, M).

    Parameters
    ----------
    pilots : Pilots or array_like of complex, shape (T, N, K)
    **options
        As of :class:`deepinv.physics.LinearPhysics`, such as `noise_model`.

    Attributes
    ----------
    grant_free : Pilots
    """

    def __init__(self, pilots: Any, **options: Any) -> None:
        super().__init__(**options)
        self.grant_free = pilots if isinstance(pilots, Pilots) else Pilots(pilots)
        self.register_buffer("pilots", torch.from_numpy(self.grant_free.select().copy()))

    def A(self, x: torch.Tensor, **_: Any) -> torch.Tensor:
        """What is received without noise."""
        return _parts(torch.einsum("tnk,bknm->btnm", self.pilots, _complex(x)))

    def A_adjoint(self, y: torch.Tensor, **_: Any) -> torch.Tensor:
        """What correlates with the pilots of each device."""
        return _parts(torch.einsum("tnk,btnm->bknm", self.pilots.conj(), _complex(y)))


class GrantFreeReconstructor(Reconstructor):  # type: ignore[misc]
    """A receiver as a reconstruction of the channels of all devices, zero for those that are not found.

    Parameters
    ----------
    receiver : jadce_fast.Receiver, or a baseline
        Planned for the pilots of the uplink and its antennas.

    Attributes
    ----------
    detections : list of jadce_fast.Detection
        Of the blocks of the last call.

    Notes
    -----
    ``reconstructor(y, physics)`` takes y (B, 2, T, N, M) of a :class:`GrantFreeUplink`, whose noise model has a
    `sigma`; where it has none the receiver learns the noise. Nothing is differentiable.
    """

    def __init__(self, receiver: Any) -> None:
        super().__init__()
        self.receiver = receiver
        self.detections: list[Detection] = []

    def forward(self, y: torch.Tensor, physics: GrantFreeUplink, **_: Any) -> torch.Tensor:
        """Detect and estimate, as the class says."""
        if not isinstance(physics, GrantFreeUplink):
            raise TypeError(f"physics: expected a GrantFreeUplink, found {type(physics).__name__}")
        if physics.grant_free is not self.receiver.pilots and physics.grant_free != self.receiver.pilots:
            raise ValueError("physics: expected the pilots of the receiver, found others")
        blocks = _complex(y.detach()).to(torch.complex64).contiguous()
        sigma = getattr(physics.noise_model, "sigma", None)
        noise: Any = [None] * len(y)
        if sigma is not None:
            noise = (2 * torch.as_tensor(sigma).double().reshape(-1) ** 2).expand(len(y)).tolist()
        if not blocks.is_cuda:  # arrays that share the tensor's memory
            blocks = blocks.numpy()
        self.detections = [self.receiver.detect(block, v) for block, v in zip(blocks, noise, strict=True)]
        x = y.new_zeros(len(y), 2, self.receiver.pilots.devices, *y.shape[3:])
        for b, found in enumerate(self.detections):
            channels = torch.as_tensor(found.channels, device=y.device)
            x[b, :, torch.as_tensor(found.active, device=y.device)] = torch.stack([channels.real, channels.imag]).to(y)
        return x


def _complex(x: torch.Tensor) -> torch.Tensor:
    return torch.complex(x[:, 0], x[:, 1])


def _parts(x: torch.Tensor) -> torch.Tensor:
    return torch.stack([x.real, x.imag], 1)
