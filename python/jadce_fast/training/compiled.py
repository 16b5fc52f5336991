"""Beam networks compiled for training on this processor, where that is worth its time."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess

import torch

from ..priors.beam_network import BeamNetwork

_MINUTES, _UPDATES = 3.0, 3000  # from which the minute that compiling takes is worth it


def worth_compiling(minutes: float, steps: int | None, device: torch.device) -> bool:
    """Tell whether a training is long enough to compile its networks, and this machine is able to."""
    enough = minutes >= _MINUTES if steps is None else steps >= _UPDATES
    return device.type == "cpu" and enough and able()


def compile_blocks(network: BeamNetwork) -> None:
    """Compile the blocks in place; a copy of the network is not compiled.

    The steps between dense layers become one loop each, which is twice as fast. Blocks of one spacing share their code.
    """
    for block in network.body:
        block.compile(dynamic=False, options={"compile_threads": 1})


def sixteen_bits() -> torch.autocast:
    """Operands of dense layers rounded to bfloat16 where this processor multiplies them faster than others."""
    able_to: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()  # torch may be too old to tell
    return torch.autocast("cpu", torch.bfloat16, enabled=bool(able_to.get("amx_bf16")))


@functools.cache
def able() -> bool:
    """Tell whether a loop can be compiled: there may be no compiler, and if there is, no headers or no room."""
    if shutil.which(os.environ.get("CXX", "g++")) is None:
        return False
    try:
        torch.compile(torch.sin, options={"compile_threads": 1})(torch.zeros(64))
    except (RuntimeError, OSError, subprocess.SubprocessError):
        return False
    return True
