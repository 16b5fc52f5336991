"""The only file that knows TorchScript: networks compiled for inference, run, and written for other programs."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from pathlib import Path
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


def save_compiled(compiled: Any, path: Path) -> Any:
    """Write a compiled network for ``torch.jit.load``, and return it as that function does."""
    with _torchscript():
        compiled.save(path)
        return torch.jit.load(path)


def run_network(
    compiled: Any, z: npt.NDArray[np.complex64], noise_var: npt.NDArray[np.float32]
) -> tuple[npt.NDArray[np.complex64], npt.NDArray[np.float32]]:
    """Run ``forward(z (A, 2 P, M), v (A, M)) -> (mean, var)`` on complex z (A, P, M)."""
    with torch.inference_mode(), torch.autocast("cpu", enabled=False):
        mean, var = compiled(torch.from_numpy(np.concatenate([z.real, z.imag], 1)), torch.from_numpy(noise_var))
    real, imag = np.split(mean.numpy(), 2, axis=1)
    return (real + 1j * imag).astype(np.complex64), var.numpy()
