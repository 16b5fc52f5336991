"""Checks at the boundary: every message names the argument, what was expected and what was found."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt


def integer(name: str, value: object, low: int, high: int | None = None) -> int:
    """Return `value` as an int in [low, high] or raise."""
    if isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name}: expected an integer, found bool {value!r}")
    try:
        number = operator.index(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, RuntimeError):
        raise TypeError(f"{name}: expected an integer, found {type(value).__name__} {value!r}") from None
    if number < low or (high is not None and number > high):
        bounds = f"at least {low}" if high is None else f"{low} to {high}"
        raise ValueError(f"{name}: expected {bounds}, found {number}")
    return number


def real(name: str, value: object, low: float = 0.0, high: float = np.inf, *, closed: bool = False) -> float:
    """Return `value` as a finite float in (low, high), or [low, high] if `closed`, or raise."""
    # Of arrays float() takes those of one entry, of texts and without imaginary parts too.
    kind = getattr(getattr(value, "dtype", None), "kind", "f")
    if isinstance(value, (str, bytes, bool, np.ma.MaskedArray)) or kind not in "iuf" or getattr(value, "ndim", None):
        raise TypeError(f"{name}: expected a real number, found {type(value).__name__}")
    try:
        number = float(value)  # type: ignore[arg-type]
    except OverflowError:
        number = np.inf
    except (TypeError, ValueError, RuntimeError):
        raise TypeError(f"{name}: expected a real number, found {type(value).__name__}") from None
    inside = low <= number <= high if closed else low < number < high
    if not (math.isfinite(number) and inside):
        left, right = "[]" if closed else "()"
        raise ValueError(f"{name}: expected a finite number in {left}{low:g}, {high:g}{right}, found {number:g}")
    return number


def as_array(name: str, value: object) -> npt.NDArray[Any]:
    """``np.asarray`` with an error that names the argument, also for tensors that torch does not export."""
    if isinstance(value, np.ma.MaskedArray):
        raise TypeError(f"{name}: expected an array without a mask, found a masked array; fill it or select from it")
    try:
        return np.asarray(value)
    except (TypeError, ValueError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise TypeError(f"{name}: expected an array, found {type(value).__name__} ({reason})") from None


def array(
    name: str, value: object, shape: tuple[int | str | None, ...], dtype: npt.DTypeLike, *, finite: bool = True
) -> npt.NDArray[Any]:
    """Return `value` as a C-contiguous native array of `dtype` and `shape` or raise.

    `shape` holds a number where a size is fixed and a name (or None) where it is free. Real input is accepted where
    complex is wanted; complex where real is wanted is an error, as is anything that is not numeric. A torch tensor or
    another array on another device is refused, never copied silently.
    """
    if type(value) is np.ndarray and value.dtype == dtype and value.shape == shape and not finite:
        return np.ascontiguousarray(value)  # what a receiver is usually given, in a microsecond
    device = getattr(value, "device", "cpu")
    if str(device) != "cpu":
        raise TypeError(f"{name}: expected an array on the CPU, found one on {device}")
    if getattr(value, "requires_grad", False):
        raise TypeError(f"{name}: expected an array without gradients, found a tensor that requires grad")
    found = as_array(name, value)
    want = np.dtype(dtype)
    if found.dtype.kind not in "biufc":
        raise TypeError(f"{name}: expected {want.name}, found dtype {found.dtype}")
    if want.kind in "iu" and found.dtype.kind not in "iu":
        raise TypeError(f"{name}: expected integers, found dtype {found.dtype}")
    if want.kind == "f" and found.dtype.kind == "c":
        raise TypeError(f"{name}: expected real numbers, found dtype {found.dtype}")
    wanted = "(" + ", ".join("?" if s is None else str(s) for s in shape) + ("," if len(shape) == 1 else "") + ")"
    if found.ndim != len(shape):
        raise ValueError(f"{name}: expected shape {wanted}, found {found.shape}")
    if any(isinstance(s, int) and s != d for s, d in zip(shape, found.shape, strict=True)):
        raise ValueError(f"{name}: expected shape {wanted}, found {found.shape}")
    if finite and found.dtype.kind in "fc" and not np.isfinite(found).all():
        bad = int(np.count_nonzero(~np.isfinite(found)))
        raise ValueError(f"{name}: expected finite numbers, found {bad} NaN or infinite of {found.size}")
    with np.errstate(over="ignore", invalid="ignore"):
        result = np.ascontiguousarray(found, dtype=want.newbyteorder("="))
    if finite and result.dtype.kind in "fc" and not np.isfinite(result).all():
        raise ValueError(f"{name}: expected numbers that fit {want.name}, found larger ones")
    return result


def blocks(value: object) -> Iterable[Any]:
    """Return several received blocks, an array or any iterable, or raise; each is checked where it is detected."""
    if not isinstance(value, Iterable) or getattr(value, "ndim", 1) == 0:
        raise TypeError(f"ys: expected an array (B, T, N, M) or an iterable of blocks, found {type(value).__name__}")
    return value


def owned(name: str, value: object, shape: tuple[int | str | None, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """`array` as a read-only copy, for what is planned once: the caller may use the buffer again."""
    result = array(name, value, shape, dtype)
    if hasattr(value, "__array__"):  # an array's or a tensor's memory may be the caller's
        result = result.copy()
    result.flags.writeable = False
    return result


def scale(name: str, value: object) -> float:
    """Return a power or variance as a float in [1e-30, 1e30], which single precision can work with, or raise."""
    return real(name, value, 1e-30, 1e30, closed=True)
