"""Priors of ``prior="auto"``, which take turns until one explains the block."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from .detection import Detection
from .images import IMAGE
from .priors import DEFAULT
from .structure import DUPLICATE


def fallbacks(subcarriers: int, antennas: int, gpu: Any) -> tuple[str, ...]:
    """Names of the priors, from what knows most of channels to what assumes nothing; those that a GPU takes on it."""
    if gpu is None:
        return (DEFAULT, "cdl-wide", "beams", "gaussian")
    from .cuda.denoisers import has_kernels
    from .priors.files import load_prior

    first = load_prior(DEFAULT)
    if subcarriers > first.subcarriers:  # a GPU takes one band
        return ("gaussian",)
    # The large network of the cascade fits into a GPU's shared memory up to 128 antennas.
    return (DEFAULT if has_kernels(gpu, first, antennas) else "cdl", "cdl-wide", "gaussian")


def best_of(names: Sequence[str], found: Detection, detect: Callable[[str], Detection]) -> Detection:
    """The result of the first prior that explains the block, or else the one of least error.

    Parameters
    ----------
    names : sequence of str
    found : Detection
        That of the first prior.
    detect : callable
        Detects with the prior of a name.
    """
    best, least = replace(found, prior=names[0]), _tracked_error(found)
    for name in names[1:]:
        if best.trusted or best.reason.startswith((DUPLICATE, IMAGE)):  # no prior helps there
            break
        other = detect(name)
        error = _tracked_error(other)
        if other.trusted or error < least:
            best, least = replace(other, prior=name), error
    return best


def _tracked_error(found: Detection) -> float:
    """Error variance that the loop measured, whatever its prior, in its best iteration."""
    if found.stopped_because == "silence":
        return math.inf
    return min((step["error_var"] for step in found.history), default=math.inf)
