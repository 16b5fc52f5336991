"""A beam network's weights carried to another grid of subcarriers, where training goes on from them."""

from __future__ import annotations

import hashlib
import math
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ..priors.beam import BeamPrior
from ..priors.beam_weights import BeamWeights
from .family import SPACING, Grid

_DECAY = 250e-9  # seconds: the delays at which bases are compared are weighted by an exponential profile
_REACH = 2e-6
_EACH = {"inp.weight": 3, "out.weight": 2, "out.bias": 2}  # groups of numbers a coefficient, one more number at the end


def carry(prior: BeamPrior, basis: Tensor, eigenvalues: Tensor, grid: Grid) -> tuple[BeamWeights, Tensor]:
    """Weights of a network for another basis, and that basis with phases that suit them.

    Coefficient p keeps its weights: it is the p-th strongest of both bases. An eigenvector's phase is free; the one is
    taken for which the new coefficient answers to delays as the old one did, seen from the middles of both bands. (A
    phase that grows with the delay is lost in the random phases of paths.) Coefficients that the prior did not have
    begin as their population Wiener estimates. The mean power of coefficients is in proportion to the number of
    subcarriers, and so is the level of the noise to which the network is used.

    Parameters
    ----------
    prior : BeamPrior
        Whose subcarriers are `settings`["spacing"] of its metadata apart, or 30 kHz.
    basis : (N, P) complex tensor
    eigenvalues : (P,) tensor
    grid : Grid

    Returns
    -------
    weights : BeamWeights
        Copies.
    basis : (N, P) complex tensor

    Raises
    ------
    ValueError
        If the prior is of a panel of other rows.
    """
    before, p = prior.weights, len(eigenvalues)
    shared = min(p, len(before.eigenvalues))
    spacing = prior.metadata.get("settings", {}).get("spacing", SPACING)
    new, old = _answers(basis.numpy(), grid.spacing), _answers(prior.basis, spacing)
    overlap = np.sum(new[:shared] * old[:shared].conj(), 1)
    turned = np.ones(p, np.complex64)
    turned[:shared] = overlap / np.maximum(abs(overlap), 1e-30)

    arrays = {name: value.copy() for name, value in before.arrays.items()}
    arrays["eigenvalues"] = eigenvalues.numpy().astype(np.float32)
    level = before.arrays["inp.weight"][:, -1] * np.float32(0.25 * math.log(before.subcarriers / grid.subcarriers))
    arrays["inp.bias"] += level
    for name, groups in _EACH.items():
        axis = 1 if name.startswith("inp") else 0
        arrays[name] = _resized(before.arrays[name], groups, len(before.eigenvalues), p, axis)
    weights = BeamWeights(grid.subcarriers, _architecture(before, grid.rows), arrays)
    return weights, basis * torch.from_numpy(turned)


def _architecture(before: BeamWeights, rows: int) -> dict[str, Any]:
    """That of the prior; on a panel a network of one row takes every row for itself."""
    if before.rows == rows:
        return before.architecture
    if before.rows > 1:
        raise ValueError(f"init: expected a prior of one row or of {rows} rows of antennas, found one of {before.rows}")
    return before.architecture | {"dilations": [rows * spacing for spacing in before.dilations], "rows": rows}


def fingerprint(prior: BeamPrior) -> str:
    """Digest of a network's weights and of its basis."""
    found = hashlib.sha256(np.ascontiguousarray(prior.basis).tobytes())
    for _, array in sorted(prior.weights.arrays.items()):
        found.update(np.ascontiguousarray(array).tobytes())
    return found.hexdigest()[:16]


def _answers(basis: npt.NDArray[np.complex64], spacing: float) -> npt.NDArray[np.complex128]:
    """What every coefficient [P, D] is of paths of so many delays, weighted by the root of their power."""
    delay = np.linspace(0, _REACH, 1000)
    n = np.arange(len(basis)) - (len(basis) - 1) / 2
    path = np.exp(-2j * np.pi * spacing * n[:, None] * delay - 0.5 * delay / _DECAY)
    return np.asarray(basis.conj().T @ path)


def _resized(
    values: npt.NDArray[np.float32], groups: int, before: int, after: int, axis: int
) -> npt.NDArray[np.float32]:
    """Groups of so many numbers a coefficient, cut or filled with zeros along an axis, and the last number as it is."""
    values = np.moveaxis(values, axis, -1)
    parts = values[..., :-1].reshape(*values.shape[:-1], groups, before)
    grown = np.zeros((*parts.shape[:-1], after), np.float32)
    grown[..., : min(before, after)] = parts[..., :after]
    joined = np.concatenate([grown.reshape(*values.shape[:-1], groups * after), values[..., -1:]], -1)
    return np.ascontiguousarray(np.moveaxis(joined, -1, axis))
