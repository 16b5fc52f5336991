"""The only file that knows TorchScript: networks compiled for inference and exported for other programs."""

from __future__ import annotations

import contextlib
import copy
import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

if TYPE_CHECKING:
    from .beam import BeamPrior
    from .cell_score import CellScorePrior
    from .ncsn import NcsnPrior


@contextlib.contextmanager
def _torchscript() -> Iterator[None]:
    """Where TorchScript is used: deprecated, but nothing else loads in C++ without a compiler."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        yield


@contextlib.contextmanager
def single_precision() -> Iterator[None]:
    """Where cuDNN computes convolutions in true single precision, not in TF32, and the same bits on every run."""
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
    with _torchscript():
        return torch.jit.freeze(torch.jit.script(network))


def run_network(
    compiled: Any, z: npt.NDArray[np.complex64], noise_var: npt.NDArray[np.float32]
) -> tuple[npt.NDArray[np.complex64], npt.NDArray[np.float32]]:
    """Run ``forward(z (A, 2 P, M), v (A, M)) -> (mean, var)`` on complex z (A, P, M)."""
    with torch.inference_mode():
        mean, var = compiled(torch.from_numpy(np.concatenate([z.real, z.imag], 1)), torch.from_numpy(noise_var))
    real, imag = np.split(mean.numpy(), 2, axis=1)
    return (real + 1j * imag).astype(np.complex64), var.numpy()


def export_torchscript(prior: BeamPrior | NcsnPrior | CellScorePrior, path: str | os.PathLike[str]) -> float:
    """Write a prior's network as frozen TorchScript, atomically, and check it as other programs will load it.

    ``forward(z, v) -> (mean, var)`` in float32 is documented at `BeamNetwork.forward` and `NcsnNetwork.forward`, a
    cell's ``forward(x, v) -> mean`` at `CellNetwork.forward`.

    Parameters
    ----------
    prior : BeamPrior, NcsnPrior or CellScorePrior
        From `load_prior` or `load_cell_prior`.
    path : path
        File to write, for ``torch.jit.load`` or ``torch::jit::load``.

    Returns
    -------
    float
        Largest difference between the loaded file's and the prior's output on random input.

    Raises
    ------
    TypeError
        If `prior` has no network.
    RuntimeError
        If that difference is more than rounding; the file is not written then.
    """
    from .cell_score import CellScorePrior

    if not isinstance(getattr(prior, "network", None), torch.nn.Module):
        raise TypeError(f"prior: expected one with a network, found {type(prior).__name__}")
    part = Path(f"{os.fspath(path)}.part")
    try:
        with _torchscript():
            prior.compiled.save(part)
            loaded = torch.jit.load(part)
        inside = (2, 7) if isinstance(prior, CellScorePrior) else (2 * len(prior.eigenvalues),)
        difference, rounding = _compare(loaded, prior.network, inside)
        # Each of the two has a rounding error of about that size of its own; eight leaves room for the luck of one.
        if not difference <= 8 * rounding:
            raise RuntimeError(
                f"path: expected outputs within {8 * rounding:.1e} of the prior's, found {difference:.1e}"
            )
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
    return difference


def _compare(loaded: Any, network: torch.nn.Module, inside: tuple[int, ...]) -> tuple[float, float]:
    """Largest difference of two single-precision networks, and of the second from itself in double precision."""
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(4, *inside, 32, generator=generator)
    v = 10 ** (1 - 3 * torch.rand(4, 1, generator=generator)).expand(4, 32).contiguous()
    with torch.inference_mode():
        single, double = _tuple(network(z, v)), _tuple(copy.deepcopy(network).double()(z.double(), v.double()))
        outputs = [_tuple(loaded(z, v)) for _ in range(3)]  # TorchScript specialises in its first runs
    difference = max(float((a - b).abs().max()) for output in outputs for a, b in zip(output, single, strict=True))
    rounding = max(float((a - b).abs().max()) for a, b in zip(double, single, strict=True))
    return difference, max(rounding, torch.finfo(torch.float32).eps * float(single[0].abs().max()))


def _tuple(output: Any) -> tuple[Tensor, ...]:
    return output if isinstance(output, tuple) else (output,)
