"""Plans of the operations in ops.py: the transform between measurements and devices, and the activity test."""

from __future__ import annotations

import contextlib
import copyreg
import functools
import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from . import _check, _core
from .pilots import Pilots

Complex = npt.NDArray[np.complex64]
Float = npt.NDArray[np.float32]


def default_threads() -> int:
    """Threads used where none are asked for: the processors this process may run on, a container's quota included."""
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return math.ceil(min(processors, quota(Path("/sys/fs/cgroup"))))


def quota(cgroup: Path) -> float:
    """Processors' worth of time that the control group (version 2 or 1) grants; infinite without a limit."""
    with contextlib.suppress(OSError, ValueError):
        allowed, period = (cgroup / "cpu.max").read_text().split()
        return int(allowed) / int(period)  # "max": no limit
    with contextlib.suppress(OSError, ValueError):
        allowed, period = ((cgroup / "cpu" / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
        return int(allowed) / int(period) if int(allowed) > 0 else math.inf
    return math.inf


class Transform:
    """Plan of the transforms between measurements and KLT coefficients.

    Parameters
    ----------
    pilots : Pilots
        Partial-DFT pilots use one K-point transform per coefficient and beam, others a tiled product.
    antennas : int
        M.
    basis : array_like of complex, shape (N, P)
        KLT basis over subcarriers, orthonormal columns.
    threads : int, optional
        Threads, by default all processors of this process.
    merge : int
        Energies are summed over this many neighbouring coefficients (1: each on its own).
    beamspace : bool
        Whether :func:`jadce_fast.ops.beamspace` is the DFT over antennas (True) or leaves them as they are.
    isa : str, optional
        Kernel variant ("generic", "avx2", "avx512"), by default the best one of this processor.

    Raises
    ------
    ValueError, TypeError
        If the basis does not fit the pilots, or the processor does not run `isa`.
    """

    def __init__(
        self,
        pilots: Pilots,
        antennas: int,
        basis: npt.ArrayLike,
        *,
        threads: int | None = None,
        merge: int = 1,
        beamspace: bool = True,
        isa: str | None = None,
    ) -> None:
        arguments = {name: value for name, value in locals().items() if name != "self"}
        self.pilots = pilots
        self.antennas = _check.integer("antennas", antennas, 1, 4096)
        self.basis = _check.array("basis", basis, (pilots.subcarriers, "P"), np.complex64)
        self.coefficients = self.basis.shape[1]
        if not 1 <= self.coefficients <= pilots.subcarriers:
            raise ValueError(f"basis: expected 1 to {pilots.subcarriers} columns, found {self.coefficients}")
        self.merge = _check.integer("merge", merge, 1)
        self.groups = -(-self.coefficients // self.merge)
        threads = default_threads() if threads is None else _check.integer("threads", threads, 1, 1024)
        self.gram, self.rotation, array = gram(pilots)
        self.beamspace = bool(beamspace)
        self.on_device: dict[Any, Any] = {}  # a CudaTransform per GPU
        rows = None if pilots.rows is None else np.ascontiguousarray(pilots.rows.T, dtype=np.int32)
        self.native = _core.Transform(
            rows=rows,
            array=array,
            amplitude=float(np.sqrt(pilots.power)),
            basis=self.basis,
            devices=pilots.devices,
            antennas=self.antennas,
            merge=self.merge,
            beamspace=beamspace,
            threads=threads,
            isa=isa,
        )

        self._arguments = arguments | {"basis": self.basis}

    def __reduce__(self) -> tuple[Any, ...]:
        """Let pickle and copy plan anew on the other side: native plans and threads do not travel."""
        return functools.partial(type(self), **self._arguments), ()

    def measurements(self, name: str, r: npt.ArrayLike) -> Complex:
        """`r` as complex64 (T, N, M), or an error that calls it `name`."""
        shape = (self.pilots.symbols, self.pilots.subcarriers, self.antennas)
        return _check.array(name, r, shape, np.complex64)

    def devices(self, devices: npt.ArrayLike) -> npt.NDArray[np.int64]:
        """Indices of devices as int64 (A,), in range."""
        index = _check.array("devices", devices, ("A",), np.int64)
        if index.size and (index.min() < 0 or index.max() >= self.pilots.devices):
            raise ValueError(f"devices: expected 0 to {self.pilots.devices - 1}, found {index.min()} to {index.max()}")
        return index


def gram(pilots: Pilots) -> tuple[Float, Complex | None, Complex | None]:
    """Eigenvalues (N, T) of Q_n Q_n^H, and for arbitrary pilots U_n^H (N, T, T) and U_n^H Q_n (N, K, T).

    Of partial-DFT pilots U_n are the phases of all devices, if there are some.
    """
    if pilots.rows is not None:
        n, t, phases, back = pilots.subcarriers, pilots.symbols, pilots.phases, None
        if phases is not None:
            back = np.ascontiguousarray(phases.T.conj()[:, :, None] * np.eye(t, dtype=np.complex64))
        return np.full((n, t), pilots.devices * pilots.power, np.float32), back, None
    return _core.rotate_pilots(pilots.select(), default_threads())


def unit_power(pilots: Pilots) -> tuple[Pilots, npt.NDArray[np.float64]]:
    """Pilots with unit power for every device, and the amplitudes (K,) that they had."""
    if pilots.rows is not None:
        unit = Pilots.from_rows(pilots.rows, pilots.devices, 1.0, pilots.phases)
        return unit, np.full(pilots.devices, math.sqrt(pilots.power))
    gain = _core.amplitudes(pilots.select())
    return pilots.only(times=1 / gain), gain


def activity_plan(
    eigenvalues: npt.ArrayLike,
    beam_gain: npt.ArrayLike,
    beam_weight: npt.ArrayLike,
    powers: npt.ArrayLike = (1.0,),
    power_weight: npt.ArrayLike = (1.0,),
    multiplicity: npt.ArrayLike | None = None,
) -> _core.ActivityPlan:
    """Plan of :func:`jadce_fast.ops.activity_llr`.

    Parameters
    ----------
    eigenvalues : array_like, shape (P,)
        Mean power of every coefficient of a unit-power channel.
    beam_gain, beam_weight : array_like, shape (G,)
        Mixture of a beam's gain; the weights sum to one.
    powers, power_weight : array_like, shape (J,)
        Mixture of a device's received power; the weights sum to one.
    multiplicity : array_like, shape (P,), optional
        How many coefficients share one energy (default 1).
    """
    return _activity_plan(activity_tables(eigenvalues, beam_gain, beam_weight, powers, power_weight, multiplicity))


def _activity_plan(tables: dict[str, npt.NDArray[Any]]) -> _core.ActivityPlan:
    plan = _core.ActivityPlan(**tables)
    plan.tables, plan.on_device = tables, {}
    return plan


copyreg.pickle(_core.ActivityPlan, lambda plan: (_activity_plan, (plan.tables,)))


def activity_tables(
    eigenvalues: npt.ArrayLike,
    beam_gain: npt.ArrayLike,
    beam_weight: npt.ArrayLike,
    powers: npt.ArrayLike,
    power_weight: npt.ArrayLike,
    multiplicity: npt.ArrayLike | None,
) -> dict[str, npt.NDArray[Any]]:
    """Tables of a mixture for kernels (csrc/kernels/activity/activity.hpp); arguments as of :func:`activity_plan`."""
    gain = _check.array("beam_gain", beam_gain, ("G",), np.float32)
    weight = _check.array("beam_weight", beam_weight, (len(gain),), np.float32)
    power = _check.array("powers", powers, ("J",), np.float32)
    share = _check.array("power_weight", power_weight, (len(power),), np.float32)
    value = _check.array("eigenvalues", eigenvalues, ("P",), np.float32)
    count = np.ones_like(value) if multiplicity is None else multiplicity
    return _core.activity_tables(
        eigenvalue=value,
        gain=gain,
        weight=weight,
        power=power,
        share=share,
        multiplicity=_check.array("multiplicity", count, (len(value),), np.float32),
    )
