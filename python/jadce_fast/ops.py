"""Stateless operations on arrays: the kernels one by one, for tests, benchmarks and other algorithms.

NumPy arrays stay on the CPU. All operations also take torch, CuPy and other arrays on a GPU, run there on torch's
current stream, and return arrays of the same kind.

Operations on one plan may be called from several threads; they take turns.

A :class:`Transform` plans pilots, basis and transform once; the operations take it with arrays, and write into ``out``
where one is given. Receivers run the same kernels without allocating.
"""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import numpy.typing as npt

from . import _check, _core
from .transform import Complex, Float
from .transform import Transform as Transform
from .transform import activity_plan as activity_plan
from .transform import activity_tables as activity_tables
from .transform import default_threads as default_threads


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
    from .cuda import ops as cuda_ops  # loads torch

    return cuda_ops


def beamspace(plan: Transform, y: npt.ArrayLike) -> Complex:
    """Unitary DFT over antennas, (T, N, M) to (T, N, M); it commutes with the pilots."""
    if (gpu := _gpu(y)) is not None:
        return cast(Complex, gpu.beamspace(plan, y))
    result: Complex = plan.native.beamspace(plan.measurements("y", y))
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
    plan.native.statistics(plan.measurements("r", r), result)
    return result


def energies(plan: Transform, r: npt.ArrayLike, out: Float | None = None) -> Float:
    """Energies |z|^2 of all devices, (K, groups, M) float32, without storing the statistics themselves."""
    if (gpu := _gpu(r, out)) is not None:
        return cast(Float, gpu.energies(plan, r))
    result: Float = _out(out, (plan.pilots.devices, plan.groups, plan.antennas), np.float32)
    plan.native.energies(plan.measurements("r", r), result)
    return result


def gather(plan: Transform, r: npt.ArrayLike, devices: npt.ArrayLike, out: Complex | None = None) -> Complex:
    """Matched-filter statistics of some devices, (A, P, M): rows `devices` of :func:`matched_filter`."""
    if (gpu := _gpu(r, out)) is not None:
        return cast(Complex, gpu.gather(plan, r, devices))
    index = plan.devices(devices)
    result: Complex = _out(out, (len(index), plan.coefficients, plan.antennas), np.complex64)
    plan.native.gather(plan.measurements("r", r), index, result)
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
    index = plan.devices(devices)
    if len(np.unique(index)) < len(index):
        raise ValueError("devices: expected distinct devices, found one twice")
    shape = (plan.pilots.symbols, plan.pilots.subcarriers, plan.antennas)
    values = _check.array("coefficients", coefficients, (len(index), plan.coefficients, plan.antennas), np.complex64)
    result: Complex = _out(out, shape, np.complex64)
    plan.native.project(index, values, result)
    return result


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
