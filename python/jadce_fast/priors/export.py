"""Networks of priors for other programs."""

from __future__ import annotations

import copy
import os
from typing import Any

import torch
from torch import Tensor

from ..files import write_atomically
from .cascade import CascadePrior
from .described import Described
from .torchscript import load_module, save_module


def export_torchscript(prior: Any, path: str | os.PathLike[str]) -> float:
    """Write a prior's network as TorchScript, atomically, and check it as other programs will load it.

    ``forward(z, v) -> (mean, var)`` in float32 is documented at `ScriptPrior`, a cell's ``forward(x, v) -> mean`` at
    `CellNetwork.forward`. The module of a channel prior also has the attributes that a receiver needs: the tensors
    ``basis``, ``eigenvalues``, ``beam_gain`` and ``beam_weight``, and ``beamspace``; ``prior="FILE.pt"`` takes it.

    Parameters
    ----------
    prior : BeamPrior, NcsnPrior, ScriptPrior or CellNetworkPrior
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
    cell = hasattr(prior, "posterior")
    content = save_module(prior.network if cell else Described(prior))
    with write_atomically(path) as part:
        part.write_bytes(content)
        inside = (2, 7) if cell else (2 * len(prior.eigenvalues),)
        difference, rounding = _compare(load_module(content), prior, inside)
        # Each of the two has a rounding error of about that size of its own; eight leaves room for the luck of one.
        if not difference <= 8 * rounding:
            raise RuntimeError(
                f"path: expected outputs within {8 * rounding:.1e} of the prior's, found {difference:.1e}"
            )
    return difference


def _compare(loaded: Any, prior: Any, inside: tuple[int, ...]) -> tuple[float, float]:
    """Largest difference of a file's network and a prior's, and of the latter from itself in double precision."""
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(4, *inside, 32, generator=generator)
    v = 10 ** (1 - 3 * torch.rand(4, 1, generator=generator)).expand(4, 32).contiguous()
    double = copy.deepcopy(prior.network).double()
    with torch.inference_mode():
        single, exact = _tuple(prior.network(z, v)), _tuple(double(z.double(), v.double()))
        # TorchScript specialises in its first runs.
        pairs = [(_tuple(loaded(z, v)), _tuple(prior.compiled(z, v))) for _ in range(3)]
    difference = max(float((a - b).abs().max()) for one, two in pairs for a, b in zip(one, two, strict=True))
    rounding = max(float((a - b).abs().max()) for a, b in zip(exact, single, strict=True))
    return difference, max(rounding, torch.finfo(torch.float32).eps * float(single[0].abs().max()))


def _tuple(output: Any) -> tuple[Tensor, ...]:
    return output if isinstance(output, tuple) else (output,)
