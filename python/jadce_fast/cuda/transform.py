"""Module A on a GPU: the tables of its kernels, and the way to all devices' statistics that fits pilots and sizes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch

from ..pilots import Pilots
from ..transform import Transform, gram
from .device import Device


class CudaTransform:
    """Tables of a `Transform` on a GPU, for kernels.

    Attributes
    ----------
    most_points : int
        Longest transform in one block's shared memory, a constant of the class.
    method : {"spectral", "spectral_large", "direct"}
        Kernel of the statistics of all devices: a transform in one block's shared memory, one in two passes, or
        products.
    tables : dict of str to torch.Tensor
        "gram", and those of "basis", "dft", "rotation", "array", "rows", "twiddle" that the plan needs.
    pilots : PilotTables
        Addresses of the pilots' tables, a native struct.
    planned : dict
        Fields of the kernel `method` that do not change from launch to launch, but for memory to work in.
    """

    most_points = 14520

    def __init__(self, device: Device, plan: Transform) -> None:
        self.device, self.plan, pilots = device, plan, plan.pilots
        m = plan.antennas
        tables: dict[str, npt.NDArray[Any] | None] = {"gram": plan.gram}
        if not np.array_equal(plan.basis, np.eye(*plan.basis.shape)):  # kernels do without an identity
            tables["basis"] = plan.basis
        if plan.beamspace:
            tables["dft"] = (np.exp(-2j * np.pi * np.arange(m) / m) / math.sqrt(m)).astype(np.complex64)
        _, tables["rotation"], tables["array"] = gram(pilots)
        if pilots.rows is not None:
            tables["rows"], tables["twiddle"] = pilot_tables(pilots)
        self.tables = {name: self._put(table) for name, table in tables.items() if table is not None}
        of_pilots = {name: self.tables.get(name) for name in ("rows", "twiddle", "array")}
        self.pilots = device.struct("PilotTables", **of_pilots)
        self._held: list[torch.Tensor] = []  # keeps alive the tensors whose addresses structs hold
        self.method: Literal["spectral", "spectral_large", "direct"] = "direct"
        self.planned = {"pilots": self.pilots, "basis": self.tables.get("basis")}
        if pilots.rows is not None:
            self._plan_spectral(pilots)

    def sizes(self, batch: int) -> Any:
        """Sizes of `batch` blocks as kernels take them."""
        plan, pilots = self.plan, self.plan.pilots
        of_pilots = {name: getattr(pilots, name) for name in ("devices", "subcarriers", "symbols")}
        of_plan = {name: getattr(plan, name) for name in ("antennas", "coefficients")}
        return self.device.struct("Sizes", **of_pilots, **of_plan, batch=batch)

    def statistics(self, batch: int) -> dict[str, Any]:
        """Fields of the kernel `method` that are planned, with memory for `batch` blocks if it needs some."""
        if self.method != "spectral_large":
            return self.planned
        shape = (batch, self.plan.antennas, self.plan.pilots.devices)
        return self.planned | {"work": torch.empty(shape, dtype=torch.complex64, device=self.device.device)}

    def _plan_spectral(self, pilots: Pilots) -> None:
        """Choose a kernel that transforms, if there is one."""
        native, k = self.device.native, pilots.devices
        fft = native.fft_tables(k)
        chirp = len(fft[2]) > 0
        points = len(fft[3]) or k
        if points > self.most_points and chirp:
            return
        flat = np.asarray(pilots.rows).ravel()
        starts = np.concatenate([[0], np.cumsum(np.bincount(flat, minlength=k))]).astype(np.int32)
        measurements = np.argsort(flat, kind="stable").astype(np.int32)
        rows = self.device.struct("RowOrder", start=self._keep(starts), measurements=self._keep(measurements))
        self.planned = {"rows": rows, "basis": self.tables.get("basis")}
        if points <= self.most_points:
            self.method = "spectral"
            self.planned |= {"amplitude": math.sqrt(pilots.power), "fft": self._fft(fft)}
            return
        self.method, first = "spectral_large", native.fft_split(k)
        self.planned |= {
            "twiddle": self.tables["twiddle"],
            "first": first,
            "first_fft": self._fft(native.fft_tables(first)),
            "second_fft": self._fft(native.fft_tables(k // first)),
        }

    def _put(self, table: npt.NDArray[Any]) -> torch.Tensor:
        return torch.from_numpy(np.array(table)).to(self.device.device)

    def _keep(self, table: npt.NDArray[Any]) -> torch.Tensor:
        self._held.append(self._put(table))
        return self._held[-1]

    def _fft(self, tables: Sequence[npt.NDArray[Any]]) -> Any:
        names = ("twiddle", "root", "chirp", "chirp_dft")
        return self.device.struct("FftTables", **dict(zip(names, map(self._keep, tables), strict=True)))

    @property
    def held(self) -> list[torch.Tensor]:
        """All that is in device memory."""
        return [*self.tables.values(), *self._held]


def pilot_tables(pilots: Pilots) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.complex64]]:
    """DFT rows (N, T) and twiddles (K,), sqrt(power) exp(+2 pi i k / K), of partial-DFT pilots."""
    assert pilots.rows is not None
    phase = np.exp(2j * np.pi * np.arange(pilots.devices) / pilots.devices)
    return np.ascontiguousarray(pilots.rows.T, np.int32), (math.sqrt(pilots.power) * phase).astype(np.complex64)


def mixture_tables(device: Device, tables: dict[str, torch.Tensor]) -> Any:
    """The tables of `activity_tables` on a GPU as kernels take them."""
    powers, gains = tables["index"].shape
    return device.struct("ActivityView", products=len(tables["product"]), powers=powers, gains=gains, **tables)
