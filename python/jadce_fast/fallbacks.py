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

_CLEARLY = 0.7  # error over that of the Gaussian prior from which others are tried


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


def best_of(
    names: Sequence[str],
    found: Detection,
    detect: Callable[[str], Detection],
    *,
    shape: tuple[int, int, int],
    claimed: Callable[[Detection], float],
) -> Detection:
    """The result of the first prior that explains the block, or another one with less error.

    The i.i.d. Gaussian prior, which fits everywhere, would leave A devices of T symbols an error of A / (T - A) of the
    noise. As long as a prior is not clearly better, by what it claims and by what it leaves of the block beside that,
    the next one is tried, and the least error decides; among priors that do not explain the block that of the loop.

    Parameters
    ----------
    names : sequence of str
    found : Detection
        That of the first prior.
    detect : callable
        Detects with the prior of a name.
    shape : (int, int, int)
        T, N, M.
    claimed : callable
        Sum over the devices of a result of the variance that their estimates leave in every entry of the block.
    """
    best = replace(found, prior=names[0])
    error, noise = _error(found, claimed)
    for name in names[1:]:
        count, symbols = len(best.active), shape[0]
        chance = noise / math.sqrt(math.prod(shape))  # standard deviation of what remains
        enough = not 0 < count < symbols or error + chance <= noise * (1 + _CLEARLY * count / (symbols - count))
        if (best.trusted and enough) or best.reason.startswith((DUPLICATE, IMAGE)):  # no prior helps there
            break
        other = detect(name)
        left, its_noise = _error(other, claimed)
        better = left < error if best.trusted else other.trusted or _tracked_error(other) < _tracked_error(best)
        if better and other.trusted >= best.trusted:
            best, error, noise = replace(other, prior=name), left, its_noise
    return best


def _error(found: Detection, claimed: Callable[[Detection], float]) -> tuple[float, float]:
    """The noise's variance with the error of a result, and without.

    At a fixed point noise^2 / (noise + claimed) remains of a block whose prior fits; more is an error too, and less is
    chance, the same for all priors.
    """
    ratio, left = found.explained.ratio, found.noise_var
    noise = left / ratio if ratio > 0 else left
    own = claimed(found) if len(found.active) else 0.0
    error = noise + own + left - noise * noise / (noise + own) if noise > 0 else left
    return (error if math.isfinite(error) else math.inf), noise


def _tracked_error(found: Detection) -> float:
    """Error variance that the loop measured, whatever its prior, in its best iteration."""
    if found.stopped_because == "silence":
        return math.inf
    return min((step["error_var"] for step in found.history), default=math.inf)
