"""Noise on a GPU that is not white: module A's kernels with its covariance, docs/math.md (2c), (6c)."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from ..noise import over_beams
from ..transform import Transform

Enqueue = Callable[..., None]  # a kernel by its name, a stream, and fields


class ColoredNoise:
    """Noise of the next detections, and what module A's kernels need for it.

    Parameters
    ----------
    plan : Transform
    batch : int
    device : torch.device
    """

    def __init__(self, plan: Transform, batch: int, device: torch.device) -> None:
        self._plan = plan
        self._known: npt.NDArray[Any] | None = None
        self._noise_var = 1.0
        n, m = plan.pilots.subcarriers, plan.antennas
        shapes: dict[str, tuple[tuple[int, ...], torch.dtype]] = {
            "covariance": ((n, m, m), torch.complex64),
            "inverse": ((n, m, m), torch.complex64),
            "unmix": ((m, m), torch.float32),
            "level": ((m,), torch.float32),
            "filtered": ((batch, n, m), torch.float32),
            "whitened": ((batch, n, m), torch.float32),
            "gain": ((batch, m), torch.float64),
            "mixing": ((batch, m, m), torch.complex128),
            "unknown": ((batch, m), torch.float32),
            "mix": ((batch, m, m), torch.complex64),
        }
        self._fields = {name: torch.zeros(shape, dtype=dtype, device=device) for name, (shape, dtype) in shapes.items()}
        for name in ("covariance", "inverse"):
            self._fields[name].diagonal(dim1=1, dim2=2).fill_(1)
        self._fields["unmix"].fill_diagonal_(1)
        self._fields["level"].fill_(1)

    @property
    def held(self) -> list[torch.Tensor]:
        """All that is in device memory."""
        return list(self._fields.values())

    def tell(self, covariance: npt.NDArray[Any]) -> float:
        """Enqueue a note of the noise, covariances over antennas as `noise_covariance` returns them.

        Returns the variance of white noise that hides signals as much. Noise that is the same as before costs nothing.
        """
        if self._known is None or not np.array_equal(covariance, self._known):
            self._noise_var, tables = over_beams(covariance, self._plan.gram, beamspace=self._plan.beamspace)
            for name, table in tables.items():
                self._fields[name].copy_(torch.from_numpy(table))
            self._known = covariance.copy()
        return self._noise_var

    def power(self, launch: Enqueue, stream: int, y: torch.Tensor, power: torch.Tensor) -> None:
        """Enqueue the power of a block y that has come, in units of the noise: `power` (batch, N)."""
        launch("whiten", stream, **self._fields, r=y, power=power)

    def left(self, launch: Enqueue, stream: int) -> torch.Tensor:
        """Enqueue the power of what the residual holds, in these units: (batch, N, M)."""
        launch("whiten", stream, **self._fields, power=None)
        return self._fields["whitened"]

    def module_a(self, launch: Enqueue, going: int) -> dict[str, Callable[[int], None]]:
        """Kernels in the place of "module_a"; `going` is the address of that word."""
        others: dict[str, dict[str, Any]] = {"whiten": {"enabled": going, "power": None}}
        others |= {name: {} for name in ("noise_mixing", "noise_invert", "noise_message")}

        def enqueue(name: str, fields: dict[str, Any], stream: int) -> None:
            launch(name, stream, **(self._fields | fields))

        return {name: functools.partial(enqueue, name, fields) for name, fields in others.items()}
