"""A beam network's prior on another grid of subcarriers: its statistics there, and the weights that suit them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import _check
from .beam import BeamPrior
from .beam_weights import BeamWeights
from .protocol import Complex, Real

SPACING = 30e3  # of the shipped priors' subcarriers, Hz
_TAIL = 1e-6  # share of the energy that coefficients may leave out beside what the prior's own leave out
_NODES = 10  # subcarriers between which eigenvectors are interpolated
_EACH = {"inp.weight": 3, "out.weight": 2, "out.bias": 2}  # groups of a number a coefficient, one more at the end

Wide = npt.NDArray[np.complex128]


def spacing_of(prior: BeamPrior) -> float:
    """Distance of the subcarriers that a prior was trained for, in Hz; `ValueError` or `TypeError` if it is none."""
    settings = prior.metadata.get("settings", {})
    if not isinstance(settings, dict):
        raise TypeError(f"prior: settings: expected an object in its file, found {type(settings).__name__}")
    return _check.real("prior: settings.spacing", settings.get("spacing", SPACING))


def on_grid(prior: BeamPrior, subcarriers: int, spacing: float | None = None) -> BeamPrior:
    """The prior on other subcarriers, as good there as its network gets without training.

    Subcarriers that span no more than the prior's own see the same channels on part of its band, or at other places
    in it: the Karhunen-Loeve basis follows from the prior's, whose eigenvectors are smooth functions of frequency.
    More are taken as several bands of that kind, each of which the network denoises for itself, while all decide on
    activity.

    Parameters
    ----------
    prior : BeamPrior
    subcarriers : int
        N.
    spacing : float, optional
        Their distance in Hz, by default that of the prior's own.

    Returns
    -------
    BeamPrior
        The same object, if nothing changes.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range, or the prior is one of several bands already.
    """
    n = _check.integer("subcarriers", subcarriers, 1, 1 << 16)
    if n == prior.subcarriers and spacing is None:
        return prior
    own = spacing_of(prior)
    distance = own if spacing is None else _check.real("spacing", spacing, high=own * prior.subcarriers * (1 + 1e-9))
    if n == prior.subcarriers and math.isclose(distance, own, rel_tol=1e-9):
        return prior
    if prior.bands > 1:
        raise ValueError(f"prior: expected one of one band, found one of {prior.bands}")
    bands = math.ceil(n * distance / (prior.subcarriers * own) - 1e-9)
    sizes = [len(part) for part in np.array_split(np.arange(n), bands)]
    root = prior.basis.astype(np.complex128) * np.sqrt(prior.eigenvalues.astype(np.float64))
    parts = {size: _principal(root, distance / own, size) for size in set(sizes)}
    power = parts[sizes[0]][1]  # of the largest
    left = 1 - np.cumsum(power) / power.sum()
    kept = min(int(np.count_nonzero(left > _TAIL)) + 1, sizes[-1])
    basis = np.zeros((n, bands * kept), np.complex64)
    for i, (size, start) in enumerate(zip(sizes, np.cumsum([0, *sizes[:-1]]), strict=True)):
        basis[start : start + size, i * kept : (i + 1) * kept] = parts[size][0][:, :kept]
    weights = carried(prior.weights, power[:kept].astype(np.float32), sizes[0])
    weights = BeamWeights(n, weights.architecture, weights.arrays)
    settings = prior.metadata.get("settings", {}) | {"subcarriers": n, "spacing": distance}
    metadata = prior.metadata | {"settings": settings}
    return BeamPrior(weights, basis, prior.beam_gain, prior.beam_weight, metadata)


def _principal(root: Wide, ratio: float, size: int) -> tuple[Wide, npt.NDArray[np.float64]]:
    """Eigenvectors [size, P] and eigenvalues [P], which fall, of the covariance root root^H at other subcarriers.

    These are `ratio` of the old ones' distance apart, in the middle of the old band. Every eigenvector's phase is the
    one for which its coefficient has a positive part of the old coefficient of the same place.
    """
    before = len(root)
    place = (np.arange(size) - (size - 1) / 2) * ratio + (before - 1) / 2
    seen: Wide = _between(place, before) @ root
    basis, power, turn = np.linalg.svd(seen, full_matrices=False)
    own = np.diagonal(turn)[: len(power)]  # conjugate of W[p, p] where the matrix is U S W^H
    phase = own / np.maximum(np.abs(own), 1e-30)
    return basis * phase, power**2


def _between(place: npt.NDArray[np.floating[Any]], before: int) -> npt.NDArray[np.float64]:
    """Weights [size, before] of a polynomial through the nearest of `before` equidistant values, at other places."""
    nodes = min(_NODES, before)
    first = np.clip(np.floor(place).astype(int) - (nodes - 1) // 2, 0, before - nodes)
    weights = np.zeros((len(place), before))
    for row, x, start in zip(weights, place, first, strict=True):
        at = np.arange(start, start + nodes)
        for i in at:
            others = at[at != i]
            row[i] = np.prod((x - others) / (i - others))
    return weights


def carried(before: BeamWeights, eigenvalues: Real, subcarriers: int) -> BeamWeights:
    """Weights for coefficients of other powers, copies: coefficient p keeps its own, as the p-th strongest of both.

    Coefficients that the network did not have begin as their population Wiener estimates. The mean power of
    coefficients is in proportion to the number of subcarriers, and so is the level of the noise to which the network is
    used.
    """
    p, arrays = len(eigenvalues), {name: value.copy() for name, value in before.arrays.items()}
    level = before.arrays["inp.weight"][:, -1] * np.float32(0.25 * math.log(before.subcarriers / subcarriers))
    arrays["eigenvalues"], arrays["inp.bias"] = eigenvalues.copy(), arrays["inp.bias"] + level
    for name, groups in _EACH.items():
        axis = 1 if name.startswith("inp") else 0
        arrays[name] = _resized(before.arrays[name], groups, p, axis)
    return BeamWeights(subcarriers, before.architecture, arrays)


def _resized(values: Real, groups: int, after: int, axis: int) -> Real:
    """Groups of a number a coefficient, cut or filled with zeros along an axis, and the last number as it is."""
    values = np.moveaxis(values, axis, -1)
    parts = values[..., :-1].reshape(*values.shape[:-1], groups, -1)[..., :after]
    grown = np.zeros((*parts.shape[:-1], after), np.float32)
    grown[..., : parts.shape[-1]] = parts
    joined = np.concatenate([grown.reshape(*values.shape[:-1], groups * after), values[..., -1:]], -1)
    return np.ascontiguousarray(np.moveaxis(joined, -1, axis))


def delay_answers(basis: Complex, spacing: float) -> Wide:
    """What every coefficient [P, D] is of a path of so many delays, seen from the middle of the band, by its power.

    The power falls exponentially. A phase that grows with the delay is lost in the random phases of paths.
    """
    delay = np.linspace(0, 2e-6, 1000)
    n = np.arange(len(basis)) - (len(basis) - 1) / 2
    path = np.exp(-2j * np.pi * spacing * n[:, None] * delay - 0.5 * delay / 250e-9)
    return np.asarray(basis.conj().T @ path)
