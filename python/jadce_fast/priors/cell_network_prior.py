"""A cell's prior with a trained score network in the place of the exact score."""

from __future__ import annotations

import contextlib
import copy
from typing import Any

import numpy as np
import torch

from .cell import CellPrior, in_double
from .cell_network import CellNetwork
from .torchscript import compile_network, single_precision

_LEAST, _MOST = 1e-30, 1e30  # noise variances, within single precision


class CellNetworkPrior:
    """A :class:`jadce_fast.ColumnPrior` whose posterior mean is a network's.

    The posterior mean is the network's, x + v score. The posterior variance and the probability of activity are the
    closed forms of the cell that the network was trained on, for the same noisy column: a score does not hold the
    latter, and the former would need its derivative.

    Attributes
    ----------
    network : CellNetwork
        An eager module in evaluation mode on the CPU.
    cell : CellPrior
        The cell it was trained on, in the units of `posterior`: set its ``power`` if active devices have another mean
        power than 1 / ``activity_rate``. Activity rate and radii are the network's.
    metadata : dict
        How the network was made and what was measured.
    """

    kind = "cell"  # in files
    takes_tensors = True

    def __init__(self, network: CellNetwork, cell: CellPrior, metadata: dict[str, Any]) -> None:
        self.cell, self.metadata = cell, metadata
        self.network = network.eval().requires_grad_(False)
        self.compiled = compile_network(self.network)  # now: a detection shall not wait for it
        self._devices: dict[Any, Any] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        """Let pickle and copy compile anew: TorchScript does not travel."""
        return type(self), (self.network, self.cell, self.metadata)

    @property
    def unit(self) -> float:
        """Root mean square of the entries of X, inactive ones included."""
        return self.cell.unit

    def with_power(self, power: float | None) -> CellNetworkPrior:
        """The same network for active devices of another mean power, by default 1 / activity rate."""
        other = object.__new__(CellNetworkPrior)
        other.__dict__ |= self.__dict__
        other.cell = self.cell.with_power(power)
        return other

    def posterior(self, columns: Any, noise_var: Any) -> tuple[Any, Any, Any]:
        """Posterior of columns in white noise; arguments and results as for :meth:`CellPrior.posterior`.

        Raises
        ------
        ValueError
            If a number of an array is not finite, or a variance not positive; tensors are not checked.
        """
        x, v = in_double(columns, noise_var)
        if not isinstance(x, torch.Tensor):
            if not (v > 0).all() or not np.isfinite(v).all():
                raise ValueError(f"noise_var: expected positive finite variances, found {v.min():g} to {v.max():g}")
            if not np.isfinite(x).all():
                raise ValueError("columns: expected finite numbers, found others")
        _, variance, probability = self.cell.posterior(x, v)
        if isinstance(x, torch.Tensor):
            return self._mean(x, v), variance, probability
        # Torch warns of read-only arrays, as broadcast ones are.
        mean = self._mean(*(torch.from_numpy(np.require(a, requirements=["C", "W"])) for a in (x, v)))
        return mean.numpy(), variance, probability

    def _mean(self, columns: torch.Tensor, noise_var: torch.Tensor) -> torch.Tensor:
        """The network's posterior means of columns (..., K, M) or (M)."""
        if columns.numel() == 0:
            return columns
        devices, antennas = (1, *columns.shape)[-2:]
        matrices = (columns / self.unit).reshape(-1, devices, antennas).transpose(1, 2)
        parts = torch.stack([matrices.real, matrices.imag], 1).float()
        level = (noise_var / self.unit**2).clamp(_LEAST, _MOST).float().reshape(-1, devices)
        exact = single_precision() if columns.is_cuda else contextlib.nullcontext()
        with torch.inference_mode(), torch.autocast(columns.device.type, enabled=False), exact:
            mean = self._on(columns.device)(parts, level).double()
        return self.unit * torch.complex(mean[:, 0], mean[:, 1]).transpose(1, 2).reshape(columns.shape)

    def _on(self, device: torch.device) -> Any:
        """The compiled network on a device, made on first use."""
        if device.type == "cpu":
            return self.compiled
        if device not in self._devices:
            self._devices[device] = compile_network(copy.deepcopy(self.network).to(device))
        return self._devices[device]
