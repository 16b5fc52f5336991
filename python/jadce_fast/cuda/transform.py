"""Module A on a GPU: the tables of its kernels, and the way to all devices' statistics that fits pilots and sizes."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch

from ..pilots import Pilots
from ..transform import Transform, gram
from .device import Device
from .native import Native


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
        if pilots.rows is None:
            _, tables["rotation"], tables["array"] = gram(pilots)
        else:
            tables["rows"], tables["twiddle"] = pilot_tables(pilots)
        self.tables = {name: self._put(table) for name, table in tables.items() if table is not None}
        self.pilots = device.native.PilotTables(
            rows=self.address("rows"), twiddle=self.address("twiddle"), array=self.address("array")
        )
        self.method: Literal["spectral", "spectral_large", "direct"] = "direct"
        self._held: list[torch.Tensor] = []  # keeps alive the tensors whose addresses structs hold
        self._statistics = self._planned_statistics(pilots)

    def sizes(self, batch: int) -> Any:
        """Sizes of `batch` blocks as kernels take them."""
        plan, pilots = self.plan, self.plan.pilots
        return self.device.native.Sizes(
            devices=pilots.devices,
            subcarriers=pilots.subcarriers,
            symbols=pilots.symbols,
            antennas=plan.antennas,
            coefficients=plan.coefficients,
            batch=batch,
        )

    def address(self, name: str) -> int:
        """Address of a table, zero where there is none."""
        return int(self.tables[name].data_ptr()) if name in self.tables else 0

    def work(self, batch: int) -> dict[str, torch.Tensor]:
        """Memory that `statistics` needs, if any."""
        if self.method != "spectral_large":
            return {}
        shape = (batch, self.plan.antennas, self.plan.pilots.devices)
        return {"work": torch.empty(shape, dtype=torch.complex64, device=self.device.device)}

    def statistics(self, work: dict[str, torch.Tensor], **arguments: Any) -> None:
        """Enqueue the statistics of all devices.

        Arguments are those of DirectArgs that are not planned (csrc/kernels/pilot_transform/pilot_transform_cuda.hpp),
        and `stream`; for the method "spectral" also `idle` and `idle_energy`.
        """
        self._statistics(**{name: tensor.data_ptr() for name, tensor in work.items()}, **arguments)

    def _planned_statistics(self, pilots: Pilots) -> Callable[..., None]:
        """Choose the kernel and give it what does not change."""
        native, k, basis = self.device.native, pilots.devices, self.address("basis")
        direct = functools.partial(native.direct, pilots=self.pilots, basis=basis)
        if pilots.rows is None:
            return direct
        fft = native.fft_tables(k)
        chirp = len(fft[2]) > 0
        points = len(fft[3]) or k
        if points > self.most_points and chirp:
            return direct
        flat = pilots.rows.ravel()
        starts = np.concatenate([[0], np.cumsum(np.bincount(flat, minlength=k))]).astype(np.int32)
        rows = native.RowOrder(
            start=self._keep(starts), measurements=self._keep(np.argsort(flat, kind="stable").astype(np.int32))
        )
        if points <= self.most_points:
            self.method = "spectral"
            amplitude = math.sqrt(pilots.power)
            return functools.partial(native.spectral, rows=rows, amplitude=amplitude, fft=self._fft(fft), basis=basis)
        self.method, first = "spectral_large", native.fft_split(k)
        return functools.partial(
            native.spectral_large,
            rows=rows,
            twiddle=self.address("twiddle"),
            first=first,
            first_fft=self._fft(native.fft_tables(first)),
            second_fft=self._fft(native.fft_tables(k // first)),
            basis=basis,
        )

    def _put(self, table: npt.NDArray[Any]) -> torch.Tensor:
        return torch.from_numpy(np.array(table)).to(self.device.device)

    def _keep(self, table: npt.NDArray[Any]) -> int:
        self._held.append(self._put(table))
        return int(self._held[-1].data_ptr())

    def _fft(self, tables: Sequence[npt.NDArray[Any]]) -> Any:
        names = ("twiddle", "root", "chirp", "chirp_dft")
        return self.device.native.FftTables(
            **{name: self._keep(table) for name, table in zip(names, tables, strict=True)}
        )

    @property
    def memory(self) -> int:
        """Bytes of device memory held."""
        return sum(int(x.nbytes) for x in (*self.tables.values(), *self._held))


def pilot_tables(pilots: Pilots) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.complex64]]:
    """DFT rows (N, T) and twiddles (K,), sqrt(power) exp(+2 pi i k / K), of partial-DFT pilots."""
    assert pilots.rows is not None
    phase = np.exp(2j * np.pi * np.arange(pilots.devices) / pilots.devices)
    return np.ascontiguousarray(pilots.rows.T, np.int32), (math.sqrt(pilots.power) * phase).astype(np.complex64)


def mixture_tables(native: Native, tables: dict[str, torch.Tensor]) -> Any:
    """The tables of `activity_tables` on a GPU as kernels take them."""
    powers, gains = tables["index"].shape
    at = {name: tensor.data_ptr() for name, tensor in tables.items()}
    return native.ActivityView(products=len(tables["product"]), powers=powers, gains=gains, **at)
