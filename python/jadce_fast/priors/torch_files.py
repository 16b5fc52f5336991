"""Priors that torch alone evaluates, from what a file holds of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from .cell import CellPrior
from .cell_network import CellNetwork
from .cell_network_prior import CellNetworkPrior
from .ncsn import NcsnPrior
from .ncsn_network import NcsnNetwork
from .plain_torch import plain_torch
from .protocol import Real
from .script import ScriptPrior
from .torchscript import load_module


def ncsn_prior(
    subcarriers: int, architecture: dict[str, Any], weights: dict[str, Real], metadata: dict[str, Any]
) -> NcsnPrior:
    """The paper's pair of networks."""
    with plain_torch():
        with torch.device("meta"):  # allocates nothing, however wide the header says
            pair = NcsnNetwork(subcarriers, **architecture)
        return NcsnPrior(_with(pair, weights), metadata)


def cell_prior(
    architecture: dict[str, Any], weights: dict[str, Real], cell: dict[str, Any], metadata: dict[str, Any]
) -> CellNetworkPrior:
    """A cell's score network."""
    with plain_torch():
        with torch.device("meta"):
            network = CellNetwork(**architecture)
        return CellNetworkPrior(_with(network, weights), CellPrior(**cell), metadata)


def script_prior(path: Path) -> ScriptPrior:
    """A network in TorchScript that holds its statistics; `ValueError` if it is none."""
    try:
        return ScriptPrior(load_module(path.read_bytes()))
    except (ValueError, TypeError) as error:
        raise ValueError(f"prior: {str(path)!r}: {error}") from None


def _with(network: Any, weights: dict[str, Real]) -> Any:
    network.load_state_dict({name: torch.from_numpy(value) for name, value in weights.items()}, assign=True)
    return network
