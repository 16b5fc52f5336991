"""Denoisers inside a GPU detection: native kernels, or any torch network by TorchScript."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable
from typing import Any, Literal, Protocol

import numpy as np
import torch

from ..priors.beam import BeamPrior
from ..priors.gaussian import GaussianPrior
from ..priors.torchscript import compile_network, single_precision
from .device import Machine

_CHUNK = 64  # devices that TorchScript denoises at once, which bounds its memory
_TRIALS = 3  # TorchScript specialises in its first runs

Network = Literal["auto", "bf16", "fp32", "torchscript"]


class Denoiser(Protocol):
    """Fills `mean` and `var` of a detector from its `z` and `noise`."""

    on_torch: bool
    closed_form: bool

    def enqueue(self, detector: Any, count: int, go: int, stream: int) -> None:
        """`count` and `go` are addresses of words of the first block's Control."""


class Gaussian:
    """The i.i.d. Gaussian denoiser, BG-TMP, is part of the kernel that gathers its input."""

    on_torch = False
    closed_form = True

    def enqueue(self, detector: Any, count: int, go: int, stream: int) -> None:
        """Nothing is left to do."""


class Beams:
    """The native kernel of a beam network, on tensor cores (`tensor`) or in single precision."""

    on_torch = False
    closed_form = False

    def __init__(self, machine: Machine, network: Any, tensor: bool) -> None:
        native, blocks = machine.native, list(network.body)
        layers = [(network.inp, "dense")]
        for block in blocks:
            layers += [(block.depthwise, "depthwise"), (block.expand, "dense"), (block.mix, "dense")]
        layers.append((network.out, "dense"))
        suffix = "_tensor" if tensor else ""
        packed = [
            getattr(native, f"pack_{kind}{suffix}")(x.weight.detach().numpy(), x.bias.detach().numpy())
            for x, kind in layers
        ]
        self._kernel = f"cuda_beam_network{suffix}"
        self._weights = torch.from_numpy(np.concatenate(packed)).to(machine.device)
        dilation = np.array([block.depthwise.dilation for block in blocks], np.int32)
        self._dilation = torch.from_numpy(dilation).to(machine.device)
        self._eigenvalue = network.eigenvalues.detach().float().to(machine.device)
        width, taps = blocks[0].depthwise.weight.shape
        self._shape = (width, blocks[0].expand.weight.shape[0], len(blocks), taps)

    def enqueue(self, detector: Any, count: int, go: int, stream: int) -> None:
        """See `Denoiser`."""
        _, n, _, m, p = detector.sizes
        at = detector.address
        tables = (self._eigenvalue.data_ptr(), self._weights.data_ptr(), self._dilation.data_ptr())
        getattr(detector.machine.native, self._kernel)(
            *(at("z"), at("noise"), *tables, count, go, detector.machine.native.control_words, detector.capacity),
            *(n, m, p, *self._shape, detector.batch, at("mean"), at("var"), stream),
        )


class Script:
    """A torch network by TorchScript, ``forward(z (A, 2 P, M), v (A, M)) -> (mean (A, 2 P, M), var (A, M))``.

    It runs for places of candidates, used or not, `chunk` at a time: torch cannot know how many are used.
    """

    on_torch = True
    closed_form = False

    def __init__(self, machine: Machine, network: torch.nn.Module) -> None:
        self._compiled = compile_network(copy.deepcopy(network).eval().requires_grad_(False).to(machine.device))
        self.chunk = _CHUNK
        self._warm = False

    def enqueue(self, detector: Any, count: int, go: int, stream: int) -> None:
        """See `Denoiser`; runs on torch's current stream, which must be `stream`."""
        for _ in range(1 if self._warm else _TRIALS):
            for part in self.parts(detector):
                part()
        self._warm = True

    def parts(self, detector: Any) -> list[Callable[[], None]]:
        """What enqueues the network for `chunk` places each."""
        places = detector.noise.shape[0] * detector.noise.shape[1]
        return [functools.partial(self._run, detector, first) for first in range(0, places, self.chunk)]

    def _run(self, detector: Any, first: int) -> None:
        m, p = detector.sizes[3:]
        some = slice(first, first + self.chunk)
        z, mean = (torch.view_as_real(x).view(-1, p, m, 2)[some] for x in (detector.z, detector.mean))
        noise, var = detector.noise.view(-1, m)[some], detector.var.view(-1, m)[some]
        with torch.inference_mode(), single_precision():
            found, error = self._compiled(z.permute(0, 3, 1, 2).reshape(-1, 2 * p, m), noise)
            mean.copy_(found.view(-1, 2, p, m).permute(0, 2, 3, 1))
            var.copy_(error)


def denoiser(machine: Machine, prior: Any, antennas: int, network: Network) -> Denoiser:
    """The way in which a prior is evaluated on a GPU.

    Raises
    ------
    TypeError
        If the prior can only be evaluated on the host.
    ValueError
        If its network has no kernel of the kind that `network` wants.
    """
    if isinstance(prior, GaussianPrior):
        return Gaussian()
    if not isinstance(getattr(prior, "network", None), torch.nn.Module):
        raise TypeError(
            "prior: expected one with a torch network, forward(z (A, 2 P, M), v (A, M)) -> (mean, var), or the "
            f"Gaussian one with device='cuda', found {type(prior).__name__}"
        )
    if network == "torchscript" or (network == "auto" and not isinstance(prior, BeamPrior)):
        return Script(machine, prior.network)
    if not isinstance(prior, BeamPrior):
        raise ValueError(f"network: expected 'auto' or 'torchscript' for {type(prior).__name__}, found {network!r}")
    takes = [name for name in ("bf16", "fp32") if _fits(machine, prior.network, antennas, name == "bf16")]
    if network == "auto":
        return Beams(machine, prior.network, takes[0] == "bf16") if takes else Script(machine, prior.network)
    if network not in takes:
        raise ValueError(
            f"network: expected {' or '.join(map(repr, ['auto', 'torchscript', *takes]))} for this prior and "
            f"{antennas} antennas, found {network!r}"
        )
    return Beams(machine, prior.network, network == "bf16")


def _fits(machine: Machine, network: Any, antennas: int, tensor: bool) -> bool:
    """Whether the native kernel takes this network and number of antennas."""
    width, taps = network.body[0].depthwise.weight.shape
    hidden, p = network.body[0].expand.weight.shape[0], len(network.eigenvalues)
    if tensor:
        sizes = (antennas, p, width, hidden, len(network.body), taps)
        return bool(machine.native.cuda_beam_network_tensor_fits(*sizes))
    return bool(machine.native.cuda_beam_network_fits(antennas, p, width, hidden, taps))
