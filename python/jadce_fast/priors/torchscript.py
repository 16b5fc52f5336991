"""The only file that knows TorchScript: networks compiled for inference, run, and written for other programs."""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from .plain_torch import plain_torch


@contextlib.contextmanager
def _torchscript() -> Iterator[None]:
    """Allow TorchScript: it is deprecated, but nothing else loads in C++ without a compiler."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        yield


@contextlib.contextmanager
def single_precision() -> Iterator[None]:
    """Have cuDNN compute convolutions in true single precision, not in TF32, and the same bits on every run."""
    cudnn: Any = torch.backends.cudnn
    # torch names it anew, and refuses the old name where the new one is used.
    holder, name, exact = (
        (cudnn.conv, "fp32_precision", "ieee") if hasattr(cudnn, "conv") else (cudnn, "allow_tf32", False)
    )
    deterministic, precision = cudnn.deterministic, getattr(holder, name)
    try:
        cudnn.deterministic = True
        if precision != exact:
            setattr(holder, name, exact)
        yield
    finally:
        cudnn.deterministic = deterministic
        if precision != exact:
            setattr(holder, name, precision)


def compile_network(network: torch.nn.Module) -> Any:
    """Frozen TorchScript of a network in evaluation mode; takes about a second."""
    with plain_torch(), _torchscript():
        return torch.jit.freeze(torch.jit.script(network))


def for_inference(network: torch.nn.Module) -> Any:
    """The network itself in evaluation mode and without gradients; a script has no `requires_grad_`."""
    for parameter in network.parameters():
        parameter.requires_grad_(False)
    return network.eval()


def script(network: torch.nn.Module) -> Any:
    """TorchScript of a network, whose parameters move to other devices."""
    with plain_torch(), _torchscript():
        return torch.jit.script(network)


def save_module(network: torch.nn.Module) -> bytes:
    """TorchScript of a network as the content of a file for ``torch.jit.load``."""
    content = io.BytesIO()
    scripted = script(network)
    with _torchscript():
        torch.jit.save(scripted, content)
    return content.getvalue()


def load_module(content: bytes) -> Any:
    """The network of a file, on the CPU.

    Raises
    ------
    ValueError
        If it is no TorchScript.
    """
    try:
        with plain_torch(), _torchscript():
            return torch.jit.load(io.BytesIO(content), map_location="cpu")
    except RuntimeError as error:
        raise ValueError(f"expected a file of TorchScript, found another ({str(error).splitlines()[0]})") from None


def run_network(
    compiled: Any, z: npt.NDArray[np.complex64], noise_var: npt.NDArray[np.float32]
) -> tuple[npt.NDArray[np.complex64], npt.NDArray[np.float32]]:
    """Run ``forward(z (A, 2 P, M), v (A, M)) -> (mean, var)`` on complex z (A, P, M)."""
    with torch.inference_mode(), torch.autocast("cpu", enabled=False):
        mean, var = compiled(torch.from_numpy(np.concatenate([z.real, z.imag], 1)), torch.from_numpy(noise_var))
    real, imag = np.split(mean.numpy(), 2, axis=1)
    return (real + 1j * imag).astype(np.complex64), var.numpy()
