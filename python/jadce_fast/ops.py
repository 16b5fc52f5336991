"""Stateless operations on arrays: the kernels one by one, for tests, benchmarks and other algorithms.

NumPy arrays stay on the CPU. :func:`beamspace`, :func:`matched_filter`, :func:`energies`, :func:`gather` and
:func:`project` also take torch, CuPy and other arrays on a GPU, run there on torch's current stream, and return arrays
of the same kind.

Operations on one plan may be called from several threads; they take turns.

A :class:`Transform` plans pilots, basis and transform once; the operations take it with arrays, and write into ``out``
where one is given. Receivers run the same kernels without allocating.
"""

from __future__ import annotations

import os
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from . import _check, _core
from .pilots import Pilots

Complex = npt.NDArray[np.complex64]
Float = npt.NDArray[np.float32]


def default_threads() -> int:
    """Threads used where none are asked for: the processors this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


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
        Whether :func:`beamspace` is the DFT over antennas (True) or leaves them as they are.
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
        self.pilots = pilots
        self.antennas = _check.integer("antennas", antennas, 1, 4096)
        self.basis = _check.array("basis", basis, (pilots.subcarriers, "P"), np.complex64)
        self.coefficients = self.basis.shape[1]
        if not 1 <= self.coefficients <= pilots.subcarriers:
            raise ValueError(f"basis: expected 1 to {pilots.subcarriers} columns, found {self.coefficients}")
        self.merge = _check.integer("merge", merge, 1)
        self.groups = -(-self.coefficients // self.merge)
        threads = default_threads() if threads is None else _check.integer("threads", threads, 1, 1024)
        self.gram, self.rotation, array = _gram(pilots)
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

    def _measurements(self, name: str, r: npt.ArrayLike) -> Complex:
        shape = (self.pilots.symbols, self.pilots.subcarriers, self.antennas)
        return _check.array(name, r, shape, np.complex64)

    def _devices(self, devices: npt.ArrayLike) -> npt.NDArray[np.int64]:
        index = _check.array("devices", devices, ("A",), np.int64)
        if index.size and (index.min() < 0 or index.max() >= self.pilots.devices):
            raise ValueError(f"devices: expected 0 to {self.pilots.devices - 1}, found {index.min()} to {index.max()}")
        return index


def _gram(pilots: Pilots) -> tuple[Float, Complex | None, Complex | None]:
    """Eigenvalues (N, T) of Q_n Q_n^H, and for arbitrary pilots U_n^H (N, T, T) and U_n^H Q_n (N, K, T)."""
    n, t = pilots.subcarriers, pilots.symbols
    if pilots.rows is not None:
        return np.full((n, t), pilots.devices * pilots.power, np.float32), None, None
    q = pilots.select().transpose(1, 0, 2)  # (N, T, K)
    gram = np.empty((n, t), np.float32)
    rotation = np.empty((n, t, t), np.complex64)
    rotated = np.empty((n, pilots.devices, t), np.complex64)
    for i in range(n):
        wide = q[i].astype(np.complex128)
        value, vector = np.linalg.eigh(wide @ wide.conj().T)
        gram[i] = np.maximum(value, 0)
        rotation[i] = vector.conj().T
        rotated[i] = (vector.conj().T @ wide).T
    return gram, rotation, rotated


def _out(out: Any, shape: tuple[int, ...], dtype: npt.DTypeLike) -> Any:
    if out is None:
        return np.empty(shape, dtype)
    if not isinstance(out, np.ndarray) or out.dtype != dtype or out.shape != shape:
        found = f"{out.dtype} {out.shape}" if isinstance(out, np.ndarray) else type(out).__name__
        raise ValueError(f"out: expected a {np.dtype(dtype).name} array of shape {shape}, found {found}")
    if not (out.flags.c_contiguous and out.flags.writeable):
        raise ValueError("out: expected a C-contiguous writeable array")
    return out


def _gpu(array: Any, out: Any = None) -> Any:
    """The operations on a GPU if `array` is there, else None."""
    if isinstance(array, np.ndarray) or not (
        getattr(array, "is_cuda", False) or hasattr(array, "__cuda_array_interface__")
    ):
        return None
    if out is not None:
        raise ValueError("out: expected None with arrays on a GPU")
    from .cuda import ops as _cuda_ops

    return _cuda_ops


def beamspace(plan: Transform, y: npt.ArrayLike) -> Complex:
    """Unitary DFT over antennas, (T, N, M) to (T, N, M); it commutes with the pilots."""
    if (gpu := _gpu(y)) is not None:
        return cast(Complex, gpu.beamspace(plan, y))
    result: Complex = plan.native.beamspace(plan._measurements("y", y))
    return result


def matched_filter(plan: Transform, r: npt.ArrayLike, out: Complex | None = None) -> Complex:
    """Matched-filter statistics of all devices in the KLT basis.

    z[k, p, b] = sum_n conj(V[n, p]) (Q^H r)[k, n, b]; Cai (7), with r in the place of y - Q x.

    Parameters
    ----------
    plan : Transform
        For other than partial-DFT pilots, `r` and the pilots are rotated by the eigenvectors of Q_n Q_n^H
        (``plan.rotation``): r = U_n^H (y_n - Q_n x_n).
    r : array_like, shape (T, N, M)
        Measurements in beamspace.
    out : ndarray of complex64, shape (K, P, M), optional
        Where to write.

    Returns
    -------
    ndarray of complex64, shape (K, P, M)
    """
    if (gpu := _gpu(r, out)) is not None:
        return cast(Complex, gpu.matched_filter(plan, r))
    result: Complex = _out(out, (plan.pilots.devices, plan.coefficients, plan.antennas), np.complex64)
    plan.native.statistics(plan._measurements("r", r), result)
    return result


def energies(plan: Transform, r: npt.ArrayLike, out: Float | None = None) -> Float:
    """Energies |z|^2 of all devices, (K, groups, M) float32, without storing the statistics themselves."""
    if (gpu := _gpu(r, out)) is not None:
        return cast(Float, gpu.energies(plan, r))
    result: Float = _out(out, (plan.pilots.devices, plan.groups, plan.antennas), np.float32)
    plan.native.energies(plan._measurements("r", r), result)
    return result


def gather(plan: Transform, r: npt.ArrayLike, devices: npt.ArrayLike, out: Complex | None = None) -> Complex:
    """Matched-filter statistics of some devices, (A, P, M): rows `devices` of :func:`matched_filter`."""
    if (gpu := _gpu(r, out)) is not None:
        return cast(Complex, gpu.gather(plan, r, devices))
    index = plan._devices(devices)
    result: Complex = _out(out, (len(index), plan.coefficients, plan.antennas), np.complex64)
    plan.native.gather(plan._measurements("r", r), index, result)
    return result


def project(
    plan: Transform, devices: npt.ArrayLike, coefficients: npt.ArrayLike, out: Complex | None = None
) -> Complex:
    """Received signal Q S of some devices from their KLT coefficients.

    Parameters
    ----------
    plan : Transform
        As for :func:`matched_filter`.
    devices : array_like of int, shape (A,)
        Devices, distinct.
    coefficients : array_like, shape (A, P, M)
        S in beamspace.
    out : ndarray of complex64, shape (T, N, M), optional
        Where to write.

    Returns
    -------
    ndarray of complex64, shape (T, N, M)
    """
    if (gpu := _gpu(coefficients, out)) is not None:
        return cast(Complex, gpu.project(plan, devices, coefficients))
    index = plan._devices(devices)
    shape = (plan.pilots.symbols, plan.pilots.subcarriers, plan.antennas)
    values = _check.array("coefficients", coefficients, (len(index), plan.coefficients, plan.antennas), np.complex64)
    result: Complex = _out(out, shape, np.complex64)
    plan.native.project(index, values, result)
    return result


def activity_plan(
    eigenvalues: npt.ArrayLike,
    beam_gain: npt.ArrayLike,
    beam_weight: npt.ArrayLike,
    powers: npt.ArrayLike = (1.0,),
    power_weight: npt.ArrayLike = (1.0,),
    multiplicity: npt.ArrayLike | None = None,
) -> _core.ActivityPlan:
    """Plan of :func:`activity_llr`.

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
    tables = activity_tables(eigenvalues, beam_gain, beam_weight, powers, power_weight, multiplicity)
    plan = _core.ActivityPlan(**{"index" if name == "index_of" else name: table for name, table in tables.items()})
    plan.tables, plan.on_device = tables, {}
    return plan


def activity_tables(
    eigenvalues: npt.ArrayLike,
    beam_gain: npt.ArrayLike,
    beam_weight: npt.ArrayLike,
    powers: npt.ArrayLike,
    power_weight: npt.ArrayLike,
    multiplicity: npt.ArrayLike | None,
) -> dict[str, npt.NDArray[Any]]:
    """What kernels read of a mixture (csrc/kernels/activity/activity.hpp); arguments as for :func:`activity_plan`."""
    gain = _check.array("beam_gain", beam_gain, ("G",), np.float32)
    weight = _check.array("beam_weight", beam_weight, (len(gain),), np.float32)
    power = _check.array("powers", powers, ("J",), np.float32)
    share = _check.array("power_weight", power_weight, (len(power),), np.float32)
    value = _check.array("eigenvalues", eigenvalues, ("P",), np.float32)
    count = np.ones_like(value) if multiplicity is None else multiplicity
    # Gains and powers on one logarithmic grid share products; a thousandth of a decibel tells products apart.
    product = (power[:, None] * gain[None]).astype(np.float64)
    key = np.round(1e4 * np.log10(product)).astype(np.int64)
    _, first, index = np.unique(key, return_index=True, return_inverse=True)
    return {
        "product": product.ravel()[first].astype(np.float32),
        "weight": weight,
        "log_power_weight": np.log(share),
        "index_of": np.ascontiguousarray(index.reshape(product.shape), dtype=np.int32),
        "eigenvalue": value,
        "multiplicity": _check.array("multiplicity", count, (len(value),), np.float32),
    }


def activity_llr(
    plan: _core.ActivityPlan,
    energy: npt.ArrayLike,
    null: npt.ArrayLike,
    out: Float | None = None,
    *,
    threads: int = 1,
    isa: str | None = None,
) -> Float:
    """Structured log-likelihood ratio of activity, without the prior's log odds.

    log sum_j w_j prod_b sum_i w_i prod_p CN(z; 0, null + g_i s_j lambda_p) / CN(z; 0, null), in the log domain; it
    takes the place of the ratio in Cai (30).

    Parameters
    ----------
    plan : ActivityPlan
        From :func:`activity_plan`.
    energy : array_like, shape (K, P, M)
        |z|^2, summed over ``multiplicity`` coefficients.
    null : array_like, shape (P, M)
        Mean of |z|^2 of one coefficient if the device is inactive, positive.
    out : ndarray of float32, shape (K,), optional
        Where to write.
    threads : int
        Threads.
    isa : str, optional
        Kernel variant.

    Returns
    -------
    ndarray of float32, shape (K,)
    """
    if (gpu := _gpu(energy, out)) is not None:
        return cast(Float, gpu.activity_llr(plan, energy, null))
    e = _check.array("energy", energy, ("K", "P", "M"), np.float32)
    floor = _check.array("null", null, e.shape[1:], np.float32)
    if floor.size and floor.min() <= 0:
        raise ValueError(f"null: expected positive variances, found {floor.min():g}")
    result: Float = _out(out, (len(e),), np.float32)
    _core.activity_llr(plan, e, floor, result, threads, isa)
    return result
