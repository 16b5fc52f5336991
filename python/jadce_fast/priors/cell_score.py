"""A cell's prior with a trained score network in the place of the exact score."""

from __future__ import annotations

import contextlib
import copy
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from ..cuda.langevin_tables import cell_posterior
from .cell import CellPrior, Complex, Real
from .cell_network import CellNetwork
from .torchscript import compile_network, single_precision

_LEAST, _MOST = 1e-30, 1e30  # noise variances, within single precision


class CellScorePrior:
    """What :class:`jadce_fast.LangevinReceiver` asks of a prior, with channels estimated by a network.

    The posterior mean is the network's, x + v score. The posterior variance and the probability of activity are the
    closed forms of the cell that the network was trained on, for the same noisy column: a score does not hold the
    latter, and the former would need its derivative.

    Attributes
    ----------
    network : CellNetwork
        An eager module in evaluation mode on the CPU.
    cell : CellPrior
        The cell it was trained on, in the units of `denoise`: set its ``power`` if active devices have another mean
        power than 1 / ``activity_rate``. Activity rate and radii are the network's.
    metadata : dict
        How the network was made and what was measured.
    """

    def __init__(self, network: CellNetwork, cell: CellPrior, metadata: dict[str, Any]) -> None:
        self.cell, self.metadata = cell, metadata
        self.network = network.eval().requires_grad_(False)
        self.compiled = compile_network(self.network)  # now: a detection shall not wait for it
        self._devices: dict[Any, Any] = {}

    @property
    def unit(self) -> float:
        """Root mean square of the entries of X, inactive ones included."""
        return self.cell.unit

    def with_power(self, power: float | None) -> CellScorePrior:
        """The same network for active devices of another mean power, by default 1 / activity rate."""
        other = object.__new__(CellScorePrior)
        other.__dict__ |= self.__dict__
        other.cell = self.cell.with_power(power)
        return other

    def denoise(self, columns: npt.ArrayLike, noise_var: npt.ArrayLike) -> tuple[Complex, Real, Real]:
        """Posterior of columns in white noise; arguments and results as for :meth:`CellPrior.denoise`.

        Raises
        ------
        ValueError
            If a number is not finite, or a variance not positive.
        """
        x = np.asarray(columns, np.complex128)
        v = np.broadcast_to(np.asarray(noise_var, np.float64), x.shape[:-1])
        if not (v > 0).all() or not np.isfinite(v).all():
            raise ValueError(f"noise_var: expected positive finite variances, found {v.min():g} to {v.max():g}")
        if not np.isfinite(x).all():
            raise ValueError("columns: expected finite numbers, found others")
        devices, antennas = (1, *x.shape)[-2:]
        _, variance, probability = self.cell.denoise(x, v)
        if x.size == 0:
            return x, variance, probability
        matrices = np.swapaxes(x.reshape(-1, devices, antennas) / self.unit, 1, 2)
        parts = torch.from_numpy(np.stack([matrices.real, matrices.imag], 1).astype(np.float32))
        level = torch.from_numpy(np.clip(v.reshape(-1, devices) / self.unit**2, _LEAST, _MOST).astype(np.float32))
        with torch.inference_mode():
            mean = self.compiled(parts, level).numpy().astype(np.float64)
        found = np.swapaxes(mean[:, 0] + 1j * mean[:, 1], 1, 2).reshape(x.shape)
        return self.unit * found, variance, probability

    def denoise_torch(self, columns: torch.Tensor, noise_var: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """:meth:`denoise` of tensors on one device, where everything stays; nothing is checked.

        Parameters
        ----------
        columns : complex tensor, shape (..., N, M)
        noise_var : real tensor, shape (..., N)

        Returns
        -------
        mean (complex128), variance, probability : tensor
        """
        compiled, power, weight = self._on(columns.device, columns.shape[-1])
        x, v = columns.to(torch.complex128), noise_var.double()
        _, variance, probability = cell_posterior(self.cell, power, weight, x, v)
        matrices = (x / self.unit).reshape(-1, *x.shape[-2:]).transpose(1, 2)
        parts = torch.view_as_real(matrices).permute(0, 3, 1, 2).float().contiguous()
        level = (v / self.unit**2).clamp(_LEAST, _MOST).float().reshape(-1, x.shape[-2])
        exact = single_precision() if columns.is_cuda else contextlib.nullcontext()
        with torch.inference_mode(), exact:
            mean = compiled(parts, level).double()
        found = torch.complex(mean[:, 0], mean[:, 1]).transpose(1, 2).reshape(x.shape)
        return self.unit * found, variance, probability

    def _on(self, device: torch.device, antennas: int) -> tuple[Any, torch.Tensor, torch.Tensor]:
        """The compiled network and the cell's mixture on a device, made on first use."""
        key = (device, antennas, self.cell)
        if key not in self._devices:
            compiled = (
                self.compiled if device.type == "cpu" else compile_network(copy.deepcopy(self.network).to(device))
            )
            mixture = (torch.from_numpy(np.array(a, np.float64)).to(device) for a in self.cell.mixture(antennas))
            self._devices[key] = (compiled, *mixture)
        found: tuple[Any, torch.Tensor, torch.Tensor] = self._devices[key]
        return found
