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
    """Fills `mean` and `var` of a detector from its `z` and `noise`.

    Attributes
    ----------
    on_torch : bool
        Whether it enqueues torch's operators.
    closed_form : bool
        Whether it is part of the kernel that gathers its input.
    tables : list
        Networks with native kernels, which take turns, as native structs.
    held : list of torch.Tensor
        What these point to.
    """

    on_torch: bool
    closed_form: bool
    tables: list[Any]
    held: list[torch.Tensor]


class Gaussian:
    """The i.i.d. Gaussian denoiser, BG-TMP."""

    on_torch = False
    closed_form = True
    tables: list[Any] = []  # noqa: RUF012
    held: list[torch.Tensor] = []  # noqa: RUF012


class Beams:
    """A beam network with native kernels, on tensor cores (`tensor`) or in single precision."""

    on_torch = False
    closed_form = False

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
        dilation = np.array([block.depthwise.dilation for block in blocks], np.int32)
        fields = {
            "weights": torch.from_numpy(np.concatenate(packed)).to(device.device),
            "dilation": torch.from_numpy(dilation).to(device.device),
            "eigenvalue": network.eigenvalues.detach().float().to(device.device),
        }
        self.held = list(fields.values())
        shape = _network_shape(device, network)
        self.tables = [device.struct("NetworkTables", **fields, shape=shape, tensor=int(tensor))]


class Cascade:
    """Native networks one after another."""

    on_torch = False
    closed_form = False

    def __init__(self, networks: list[Beams]) -> None:
        self.tables = [table for network in networks for table in network.tables]
        self.held = [tensor for network in networks for tensor in network.held]


class Script:
    """A torch network by TorchScript, ``forward(z (A, 2 P, M), v (A, M)) -> (mean (A, 2 P, M), var (A, M))``.

    It runs for places of candidates, used or not, `chunk` at a time: torch cannot know how many are used.
    """

    on_torch = True
    closed_form = False
    tables: list[Any] = []  # noqa: RUF012
    held: list[torch.Tensor] = []  # noqa: RUF012

    chunk = 64  # devices at once, which bounds torch's memory

    def __init__(self, device: Device, network: torch.nn.Module) -> None:
        self._compiled = compile_network(for_inference(copy.deepcopy(network)).to(device.device))
        self._warm = False

    def enqueue(self, detector: Detector, stream: int) -> None:
        """Enqueue the denoising of an iteration's candidates on torch's current stream, which must be `stream`."""
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
