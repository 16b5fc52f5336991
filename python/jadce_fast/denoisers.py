"""Module B's denoisers as the native loop takes them: beam networks by their kernels, others by their functions."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from . import _check, _core, _extras
from .priors.beam import BeamPrior
from .priors.beam_weights import BeamWeights
from .structure import Shared

NETWORKS = ("auto", "native", "bf16", "fp32", "torchscript")


def choose_network(network: str, members: Sequence[Any]) -> str | None:
    """How networks run on the CPU: by a kernel, by TorchScript if that was asked for, None: by the priors themselves.

    Raises
    ------
    ValueError
        If no network, or not every one, can run so.
    """
    scripted = all(isinstance(member, BeamPrior) or hasattr(member, "network") for member in members)
    native = any(isinstance(member, BeamPrior) for member in members)
    if network == "torchscript" and scripted:
        return network
    if network != "auto" and not native:
        takes = "'auto' or 'torchscript'" if scripted else "'auto'"
        raise ValueError(f"network: expected {takes} for this prior on the CPU, found {network!r}")
    if not native:
        return None
    return "bf16" if network == "bf16" or (network != "fp32" and _core.fast_bf16()) else "fp32"


def native_denoiser(prior: Any, shared: Shared | None, network: str | None) -> Any:
    """What the native loop takes: None for the closed form, a beam network for its kernel, or the prior's function."""
    if prior.closed_form:
        return None
    if network == "torchscript":
        with _extras.named():
            from .priors.script import ScriptPrior
        # Others compile their network themselves.
        scripted = prior if hasattr(prior, "compiled") else ScriptPrior.of(prior)
        return functools.partial(_denoise, scripted, shared)
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
    answer = prior.denoise(z, noise_var, devices)
    if not isinstance(answer, (tuple, list)) or len(answer) != 2:
        raise TypeError(f"prior.denoise: expected a mean and a variance, found {type(answer).__name__}")
    mean = _check.array("prior.denoise: mean", answer[0], z.shape, np.complex64, finite=False)
    var = _check.array("prior.denoise: var", answer[1], noise_var.shape, np.float32, finite=False)
    if (var < 0).any():
        raise ValueError(f"prior.denoise: var: expected none below zero, found {var.min():g}")
    return mean, var
