"""A beam network's weights carried to the basis of other channels or another grid, where training goes on from them."""

from __future__ import annotations

import hashlib

import numpy as np
import torch
from torch import Tensor

from ..priors.beam import BeamPrior
from ..priors.beam_network import BeamNetwork
from ..priors.beam_weights import BeamWeights
from ..priors.grids import carried, delay_answers, spacing_of
from .family import Grid


def carry(prior: BeamPrior, basis: Tensor, eigenvalues: Tensor, grid: Grid) -> tuple[BeamWeights, Tensor]:
    """Weights of a network for another basis, and that basis with phases that suit them.

    An eigenvector's phase is free; the one is taken for which the new coefficient answers to delays as the old one of
    the same place did.

    Parameters
    ----------
    prior : BeamPrior
    basis : (N, P) complex tensor
    eigenvalues : (P,) tensor
    grid : Grid

    Returns
    -------
    weights : BeamWeights
        Copies. On a panel a network of one row takes every row for itself, and each of its blocks is followed by a new
        one, which begins as doing nothing, for beams in elevation.
    basis : (N, P) complex tensor

    Raises
    ------
    ValueError
        If the prior is of a panel of other rows, or of several bands.
    """
    before = prior.weights
    if before.rows not in (1, grid.rows):
        raise ValueError(
            f"init: expected a prior of one row or of {grid.rows} rows of antennas, found one of {before.rows}"
        )
    if prior.bands > 1:
        raise ValueError(f"init: expected a prior of one band, found one of {prior.bands}")
    shared = min(len(eigenvalues), len(before.eigenvalues))
    new, old = delay_answers(basis.numpy(), grid.spacing), delay_answers(prior.basis, spacing_of(prior))
    overlap = np.sum(new[:shared] * old[:shared].conj(), 1)
    turned = np.ones(len(eigenvalues), np.complex64)
    turned[:shared] = overlap / np.maximum(abs(overlap), 1e-30)
    weights = carried(before, eigenvalues.numpy().astype(np.float32), grid.subcarriers)
    if before.rows != grid.rows:
        weights = _with_elevation(weights, grid.rows)
    return weights, basis * torch.from_numpy(turned)


def _with_elevation(row: BeamWeights, rows: int) -> BeamWeights:
    """A panel's network from that of one row: its blocks step from row to row, and each is followed by a new one."""
    dilations = [spacing for own in row.dilations for spacing in (rows * own, 1)]
    architecture = row.architecture | {"blocks": len(dilations), "dilations": dilations, "rows": rows}
    made = BeamNetwork(torch.from_numpy(row.eigenvalues), row.subcarriers, **architecture).weights()
    for name, array in row.arrays.items():
        place = name.split(".")
        if place[0] == "body":
            place[1] = str(2 * int(place[1]))
        made.arrays[".".join(place)] = array
    return made


def fingerprint(prior: BeamPrior) -> str:
    """Digest of a network's weights and of its basis."""
    found = hashlib.sha256(np.ascontiguousarray(prior.basis).tobytes())
    for _, array in sorted(prior.weights.arrays.items()):
        found.update(np.ascontiguousarray(array).tobytes())
    return found.hexdigest()[:16]
