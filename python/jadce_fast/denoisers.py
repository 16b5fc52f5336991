"""Module B's denoisers as the native loop takes them: beam networks by their kernels, others by their functions."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from . import _check, _core
from .priors.beam import BeamPrior
from .priors.beam_weights import BeamWeights
from .structure import Shared


def choose_network(network: str, members: Iterable[Any]) -> str | None:
    """The kernel by which networks run on the CPU; None if there is none with a kernel."""
    if network == "torchscript":
        raise ValueError("network: expected 'auto', 'bf16' or 'fp32' on the CPU, found 'torchscript'")
    if not any(isinstance(member, BeamPrior) for member in members):
        if network != "auto":
            raise ValueError(f"network: expected 'auto' for this prior on the CPU, found {network!r}")
        return None
    return "bf16" if network == "bf16" or (network == "auto" and _core.fast_bf16()) else "fp32"


def native_denoiser(prior: Any, shared: Shared | None, network: str | None) -> Any:
    """What the native loop takes: None for the closed form, a beam network for its kernel, or the prior's function."""
    if prior.closed_form:
        return None
    if isinstance(prior, BeamPrior):
        return native_network(prior.weights, network == "bf16")
    return functools.partial(_denoise, prior, shared)


def native_network(weights: BeamWeights, bf16: bool) -> _core.BeamNetwork:
    """A beam network for the native kernels, in single precision or with bfloat16 operands."""
    return _core.BeamNetwork(
        subcarriers=weights.subcarriers,
        taps=weights.architecture["taps"],
        dilation=weights.dilations,
        eigenvalue=np.ascontiguousarray(weights.eigenvalues, np.float32),
        layers=weights.layers(),
        bf16=bf16,
    )


def _denoise(
    prior: Any, shared: Shared | None, z: npt.NDArray[Any], noise_var: npt.NDArray[Any], devices: npt.NDArray[Any]
) -> tuple[Any, Any]:
    """The prior's answer as the native loop takes it."""
    devices = devices if shared is None else shared.planned[devices]
    mean, var = prior.denoise(z, noise_var, devices)
    return (
        _check.array("prior.denoise: mean", mean, z.shape, np.complex64, finite=False),
        _check.array("prior.denoise: var", var, noise_var.shape, np.float32, finite=False),
    )
