"""Networks of priors for other programs."""

from __future__ import annotations

import copy
import os
from typing import Any

import torch
from torch import Tensor

from ..files import write_atomically
from .cascade import CascadePrior
from .cell_network_prior import CellNetworkPrior
from .files import AnyPrior
from .torchscript import save_compiled


def export_torchscript(prior: AnyPrior, path: str | os.PathLike[str]) -> float:
    """Write a prior's network as frozen TorchScript, atomically, and check it as other programs will load it.

    ``forward(z, v) -> (mean, var)`` in float32 is documented at `BeamNetwork.forward` and `NcsnNetwork.forward`, a
    cell's ``forward(x, v) -> mean`` at `CellNetwork.forward`.

    Parameters
    ----------
    prior : BeamPrior, NcsnPrior or CellNetworkPrior
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
        If `prior` has no network, or several: the members of a cascade are exported one by one.
    RuntimeError
        If that difference is more than rounding; the file is not written then.
    """
    if isinstance(prior, CascadePrior) or not isinstance(getattr(prior, "network", None), torch.nn.Module):
        hint = "; export its members" if isinstance(prior, CascadePrior) else ""
        raise TypeError(f"prior: expected one with a network, found {type(prior).__name__}{hint}")
    with write_atomically(path) as part:
        loaded = save_compiled(prior.compiled, part)
        inside = (2, 7) if isinstance(prior, CellNetworkPrior) else (2 * len(prior.eigenvalues),)
        difference, rounding = _compare(loaded, prior.network, inside)
        # Each of the two has a rounding error of about that size of its own; eight leaves room for the luck of one.
        if not difference <= 8 * rounding:
            raise RuntimeError(
                f"path: expected outputs within {8 * rounding:.1e} of the prior's, found {difference:.1e}"
            )
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
