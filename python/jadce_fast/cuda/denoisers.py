"""Denoisers inside a GPU detection: native kernels, or any torch network by TorchScript."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable
from typing import Any, Literal, Protocol

import numpy as np
import torch

from ..priors.beam import BeamPrior
from ..priors.cascade import CascadePrior
from ..priors.gaussian import GaussianPrior
from ..priors.torchscript import compile_network, for_inference, single_precision
from .detector import Detector
from .device import Device

_TRIALS = 3  # TorchScript specialises in its first runs

Network = Literal["auto", "native", "bf16", "fp32", "torchscript"]


class Denoiser(Protocol):
    """Fills `mean` and `var` of a detector from its `z` and `noise`."""

    on_torch: bool
    closed_form: bool
    members: int  # of a cascade, one if it is none

    def enqueue(self, detector: Detector, stream: int) -> None:
        """Enqueue the denoising of the candidates of an iteration."""


class Gaussian:
    """The i.i.d. Gaussian denoiser, BG-TMP, is part of the kernel that gathers its input."""

    on_torch = False
    closed_form = True
    members = 1

    def enqueue(self, detector: Detector, stream: int) -> None:
        """Nothing is left to do."""


class Beams:
    """The native kernel `name` of a beam network, on tensor cores (`tensor`) or in single precision.

    `fields` are those of its struct that belong to the network.
    """

    on_torch = False
    closed_form = False
    members = 1

    def __init__(self, device: Device, network: Any, tensor: bool) -> None:
        native, blocks = device.native, list(network.body)
        layers = [(network.inp, "dense")]
        for block in blocks:
            layers += [(block.depthwise, "depthwise"), (block.expand, "dense"), (block.mix, "dense")]
        layers.append((network.out, "dense"))
        pack = {
            "dense": native.pack_dense_tensor if tensor else native.pack_dense,
            "depthwise": native.pack_depthwise_tensor if tensor else native.pack_depthwise,
        }
        packed = [pack[kind](x.weight.detach().numpy(), x.bias.detach().numpy()) for x, kind in layers]
        self.name = "beam_network_tensor" if tensor else "beam_network"
        dilation = np.array([block.depthwise.dilation for block in blocks], np.int32)
        self.fields = {
            "weights": torch.from_numpy(np.concatenate(packed)).to(device.device),
            "dilation": torch.from_numpy(dilation).to(device.device),
            "eigenvalue": network.eigenvalues.detach().float().to(device.device),
            "shape": _network_shape(device, network),
            "member": 0,  # its place in a cascade
        }

    def enqueue(self, detector: Detector, stream: int) -> None:
        """See `Denoiser`."""
        word = detector.word_address
        words = {"count": word("candidates"), "enabled": word("run"), "turn": word("member")}
        detector.launch(self.name, stream, **words, **self.fields)


class Cascade:
    """Native networks one after another; those whose turn it is not end at once."""

    on_torch = False
    closed_form = False

    def __init__(self, networks: list[Beams]) -> None:
        self._networks, self.members = networks, len(networks)
        for i, network in enumerate(networks):
            network.fields["member"] = i

    def enqueue(self, detector: Detector, stream: int) -> None:
        """See `Denoiser`."""
        for network in self._networks:
            network.enqueue(detector, stream)


class Script:
    """A torch network by TorchScript, ``forward(z (A, 2 P, M), v (A, M)) -> (mean (A, 2 P, M), var (A, M))``.

    It runs for places of candidates, used or not, `chunk` at a time: torch cannot know how many are used.
    """

    on_torch = True
    closed_form = False
    members = 1

    chunk = 64  # devices at once, which bounds torch's memory

    def __init__(self, device: Device, network: torch.nn.Module) -> None:
        self._compiled = compile_network(for_inference(copy.deepcopy(network)).to(device.device))
        self._warm = False

    def enqueue(self, detector: Detector, stream: int) -> None:
        """See `Denoiser`; runs on torch's current stream, which must be `stream`."""
        for _ in range(1 if self._warm else _TRIALS):
            for part in self.parts(detector):
                part()
        self._warm = True

    def parts(self, detector: Detector) -> list[Callable[[], None]]:
        """Functions that enqueue the network for `chunk` places each."""
        places = detector.batch * detector.capacity
        return [functools.partial(self.run, detector, first) for first in range(0, places, self.chunk)]

    def run(self, detector: Detector, first: int) -> None:
        """Enqueue the network for `chunk` places from `first` on."""
        b, some = detector.buffers, slice(first, first + self.chunk)
        p, m = b["z"].shape[-2:]
        z, mean = (torch.view_as_real(b[name]).view(-1, p, m, 2)[some] for name in ("z", "mean"))
        noise, var = (b[name].view(-1, m)[some] for name in ("noise", "var"))
        with torch.inference_mode(), single_precision():
            found, error = self._compiled(z.permute(0, 3, 1, 2).reshape(-1, 2 * p, m), noise)
            mean.copy_(found.view(-1, 2, p, m).permute(0, 2, 3, 1))
            var.copy_(error)


def denoiser(device: Device, prior: Any, antennas: int, network: Network) -> Denoiser:
    """The way in which a prior is evaluated on a GPU.

    Members of a cascade take turns if all of them have native kernels; otherwise the last one works alone.

    Raises
    ------
    TypeError
        If the prior can only be evaluated on the host.
    ValueError
        If its network has no kernel of the kind that `network` wants.
    """
    if isinstance(prior, CascadePrior):
        members = [denoiser(device, member, antennas, network) for member in prior.members]
        native = [member for member in members if isinstance(member, Beams)]
        return Cascade(native) if len(native) == len(members) else members[-1]
    if isinstance(prior, GaussianPrior):
        return Gaussian()
    if not isinstance(getattr(prior, "network", None), torch.nn.Module):
        raise TypeError(
            "prior: expected one with a torch network, forward(z (A, 2 P, M), v (A, M)) -> (mean, var), or the "
            f"Gaussian one with device='cuda', found {type(prior).__name__}"
        )
    if network == "torchscript" or (network == "auto" and not isinstance(prior, BeamPrior)):
        return Script(device, prior.network)
    if not isinstance(prior, BeamPrior):
        raise ValueError(f"network: expected 'auto' or 'torchscript' for {type(prior).__name__}, found {network!r}")
    takes = _kernels(device, prior.network, antennas)
    if network == "auto" and not takes:
        return Script(device, prior.network)
    if network in ("auto", "native") and takes:
        return Beams(device, prior.network, takes[0] == "bf16")
    if network not in takes:
        raise ValueError(
            f"network: expected {' or '.join(map(repr, ['auto', 'torchscript', *takes]))} for this prior and "
            f"{antennas} antennas, found {network!r}"
        )
    return Beams(device, prior.network, network == "bf16")


def has_kernels(device: Device, prior: Any, antennas: int) -> bool:
    """Tell whether every network of a cascade has a native kernel for so many antennas."""
    return all(_kernels(device, member.network, antennas) for member in prior.members)


def _kernels(device: Device, network: Any, antennas: int) -> list[str]:
    """The native kernels, by their precision, that take this network and number of antennas."""
    return [name for name in ("bf16", "fp32") if _fits(device, network, antennas, name == "bf16")]


def _network_shape(device: Device, network: Any) -> Any:
    """The architecture of a beam network as kernels take it."""
    width, taps = network.body[0].depthwise.weight.shape
    hidden = network.body[0].expand.weight.shape[0]
    return device.struct("NetworkShape", width=width, hidden=hidden, blocks=len(network.body), taps=taps)


def _fits(device: Device, network: Any, antennas: int, tensor: bool) -> bool:
    """Tell whether the native kernel takes this network and number of antennas."""
    fits = device.native.beam_network_tensor_fits if tensor else device.native.beam_network_fits
    shape, coefficients = _network_shape(device, network), len(network.eigenvalues)
    return fits(shape=shape, coefficients=coefficients, antennas=antennas)
