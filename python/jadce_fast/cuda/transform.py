"""Module A on a GPU: the tables of its kernels, and the way to all devices' statistics that fits pilots and sizes."""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch

from .. import ops
from ..pilots import Pilots
from .device import Machine

_MOST_POINTS = 14520  # of a transform in one block's shared memory


class CudaTransform:
    """What kernels read of an `ops.Transform`, on a GPU.

    Attributes
    ----------
    method : {"block", "large", "direct"}
        Statistics of all devices: by a transform in one block's shared memory, in two passes, or by products.
    sizes : tuple of int
        K, N, T, M, P, as kernels take them.
    """

    def __init__(self, machine: Machine, plan: ops.Transform) -> None:
        self.machine, pilots = machine, plan.pilots
        m = plan.antennas
        self.sizes = (pilots.devices, pilots.subcarriers, pilots.symbols, m, plan.coefficients)
        self.method: Literal["block", "large", "direct"] = "direct"
        self._amplitude, self._first = math.sqrt(pilots.power), 1
        tables: dict[str, npt.NDArray[Any]] = {"gram": plan.gram}
        if not np.array_equal(plan.basis, np.eye(*plan.basis.shape)):  # kernels do without an identity
            tables["basis"] = plan.basis
        if plan.beamspace:
            tables["dft"] = (np.exp(-2j * np.pi * np.arange(m) / m) / math.sqrt(m)).astype(np.complex64)
        if pilots.rows is None:
            _, tables["rotation"], tables["array"] = ops._gram(pilots)  # type: ignore[assignment]
        else:
            tables["rows"], tables["twiddle"] = _pilot_tables(pilots)
            tables |= self._fast(pilots.devices, pilots.rows)
        self.tensors = {name: torch.from_numpy(np.array(a)).to(machine.device) for name, a in tables.items()}

    def address(self, *names: str) -> Any:
        """Addresses of tables, zero where there is none."""
        found = [self.tensors[name].data_ptr() if name in self.tensors else 0 for name in names]
        return found[0] if len(found) == 1 else found

    @property
    def pilots(self) -> tuple[int, ...]:
        """Addresses of rows, twiddles, array and basis."""
        return tuple(self.address("rows", "twiddle", "array", "basis"))

    def work(self, batch: int) -> torch.Tensor | None:
        """Memory that `statistics` needs, if any."""
        if self.method != "large":
            return None
        k, _, _, m, _ = self.sizes
        return torch.empty((batch, m, k), dtype=torch.complex64, device=self.machine.device)

    def statistics(
        self,
        r: int,
        slot: int,
        s: int,
        go: int,
        merge: int,
        slots: int,
        batch: int,
        work: torch.Tensor | None,
        z: int,
        energy: int,
        stream: int,
        quiet: int = 0,
        quiet_energy: int = 0,
    ) -> None:
        """Enqueue the statistics of all devices; arrays are addresses.

        See csrc/kernels/pilot_transform/pilot_transform_cuda.hpp. Only the method "block" sums the energies of quiet
        devices.
        """
        native, at = self.machine.native, self.address
        sizes = (go, *self.sizes, merge, slots, batch)
        if self.method == "direct":
            native.cuda_direct(r, *self.pilots, slot, s, *sizes, z, energy, stream)
            return
        rows, fft = at("row_start", "by_row"), at("fft0", "fft1", "fft2", "fft3")
        if self.method == "block":
            native.cuda_spectral(
                *(r, *rows, self._amplitude, at("basis"), slot, s, *fft, *sizes, quiet, z, energy, quiet_energy, stream)
            )
            return
        assert work is not None
        native.cuda_spectral_large(
            *(r, *rows, *at("twiddle", "basis"), slot, s, self._first, *fft, *sizes),
            *(work.data_ptr(), z, energy, stream),
        )

    def _fast(self, k: int, rows: npt.NDArray[Any]) -> dict[str, npt.NDArray[Any]]:
        """Tables of a K-point transform, if there is one that fits."""
        native = self.machine.native
        fft = native.fft_tables(k)
        if (len(fft[3]) or k) <= _MOST_POINTS:
            self.method = "block"
        elif len(fft[2]) == 0:
            self.method, self._first = "large", native.fft_split(k)
            fft = (*native.fft_tables(self._first)[:2], *native.fft_tables(k // self._first)[:2])
        else:
            return {}
        flat = rows.ravel()
        starts = np.concatenate([[0], np.cumsum(np.bincount(flat, minlength=k))]).astype(np.int32)
        order = np.argsort(flat, kind="stable").astype(np.int32)
        return {"row_start": starts, "by_row": order, **{f"fft{i}": table for i, table in enumerate(fft)}}


def _pilot_tables(pilots: Pilots) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.complex64]]:
    """DFT rows (N, T) and twiddles (K,), sqrt(power) exp(+2 pi i k / K), of partial-DFT pilots."""
    assert pilots.rows is not None
    phase = np.exp(2j * np.pi * np.arange(pilots.devices) / pilots.devices)
    return np.ascontiguousarray(pilots.rows.T, np.int32), (math.sqrt(pilots.power) * phase).astype(np.complex64)
