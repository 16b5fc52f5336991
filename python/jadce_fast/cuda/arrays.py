"""Arrays at the boundary of a GPU receiver: torch, CuPy and others in and out without a copy, NumPy by a transfer."""

from __future__ import annotations

import dataclasses
from typing import Any, TypeVar

import numpy as np
import torch

from .. import _check

Record = TypeVar("Record", bound=Any)
_CUDA_DLPACK = 2  # kDLCUDA


def received(y: Any, shape: tuple[int, ...], device: torch.device) -> torch.Tensor:
    """Return a received block of `shape`, or several (B, *shape), as a complex64 tensor (B, *shape) on `device`.

    Torch tensors, and arrays that speak DLPack or the CUDA array interface, are used where they are, in the order of
    torch's current stream; NumPy arrays and nested lists are copied to the device.

    Raises
    ------
    TypeError, ValueError
        If it is on another device, of another type or shape, or not contiguous.
    """
    tensor = _on_device("y", y, device)
    if tensor is None:
        host = y if hasattr(y, "ndim") else _check.as_array("y", y)
        wanted: tuple[int | str, ...] = shape if host.ndim == len(shape) else ("B", *shape)
        tensor = torch.from_numpy(_check.array("y", host, wanted, np.complex64)).to(device)
    else:
        _check_plain("y", tensor)
        if tensor.ndim - len(shape) not in (0, 1) or tuple(tensor.shape[-len(shape) :]) != shape:
            sizes = ", ".join(map(str, shape))
            raise ValueError(f"y: expected shape ({sizes}) or (B, {sizes}), found {tuple(tensor.shape)}")
    return tensor if tensor.ndim > len(shape) else tensor[None]


def is_one(y: Any, shape: tuple[int, ...]) -> bool:
    """Tell whether `y` is one block and not several."""
    return bool((y.ndim if hasattr(y, "ndim") else np.ndim(y)) == len(shape))


def checked(name: str, array: Any, shape: tuple[int, ...]) -> torch.Tensor:
    """Return an array on some GPU as a contiguous complex64 tensor of `shape`, without a copy, or raise."""
    tensor = _on_device(name, array, None)
    if tensor is None:
        raise TypeError(f"{name}: expected an array on a GPU, found {type(array).__name__}")
    _check_plain(name, tensor)
    if tuple(tensor.shape) != shape:
        raise ValueError(f"{name}: expected shape {shape}, found {tuple(tensor.shape)}")
    return tensor


def checked_real(
    name: str, array: Any, shape: tuple[int | str, ...], device: torch.device | None = None
) -> torch.Tensor:
    """Return an array on a GPU (on `device` if given) as a float32 tensor, of any strides; letters are any size."""
    tensor = _on_device(name, array, device)
    if tensor is None:
        raise TypeError(f"{name}: expected an array on {device or 'a GPU'}, found {type(array).__name__}")
    if tensor.dtype != torch.float32 or tensor.requires_grad:
        grad = " that requires grad" if tensor.requires_grad else ""
        raise TypeError(f"{name}: expected float32 without gradients, found {tensor.dtype}{grad}")
    if tensor.ndim != len(shape) or any(
        isinstance(n, int) and n != m for n, m in zip(shape, tensor.shape, strict=True)
    ):
        raise ValueError(f"{name}: expected shape ({', '.join(map(str, shape))}), found {tuple(tensor.shape)}")
    return tensor


def _check_plain(name: str, tensor: torch.Tensor) -> None:
    if tensor.dtype != torch.complex64:
        raise TypeError(f"{name}: expected complex64 on {tensor.device}, found {tensor.dtype}")
    if tensor.requires_grad:
        raise TypeError(f"{name}: expected an array without gradients, found a tensor that requires grad")
    if tensor.is_conj() or not tensor.is_contiguous():
        raise ValueError(f"{name}: expected a C-contiguous array, found a strided or conjugated view")


def _on_device(name: str, array: Any, device: torch.device | None) -> torch.Tensor | None:
    """`array` as a tensor without a copy if it is a device array; None for what must be transferred."""
    if isinstance(array, torch.Tensor):
        if device is not None and array.device != device:
            raise TypeError(f"{name}: expected a tensor on {device} or a NumPy array, found one on {array.device}")
        return array
    if isinstance(array, np.ndarray) or not (
        hasattr(array, "__dlpack__") or hasattr(array, "__cuda_array_interface__")
    ):
        return None
    if hasattr(array, "__dlpack_device__"):
        kind, number = array.__dlpack_device__()
        if device is not None and device.type == "cuda" and (int(kind), int(number)) != (_CUDA_DLPACK, device.index):
            found = f"DLPack device ({int(kind)}, {number})"
            raise TypeError(f"{name}: expected an array on {device}, found one on {found}")
        try:
            return torch.from_dlpack(array)  # tells the producer the current stream, which then waits for the data
        except (BufferError, RuntimeError, TypeError) as error:
            kind, reason = type(array).__name__, str(error).splitlines()[0]
            raise TypeError(f"{name}: expected an array that DLPack exports, found {kind} ({reason})") from None
    interface = array.__cuda_array_interface__
    tensor = torch.as_tensor(array, device=device or "cuda")
    if tensor.data_ptr() != interface["data"][0]:
        raise TypeError(f"{name}: expected an array on {tensor.device}, found one elsewhere")
    producer = interface.get("stream")
    if producer is not None:  # 1 and 2 are the default streams
        stream = torch.cuda.ExternalStream(0 if producer in (1, 2) else int(producer), device=tensor.device)
        torch.cuda.current_stream(tensor.device).wait_stream(stream)
    return tensor


def on_host(y: Any) -> bool:
    """Tell whether a block is of NumPy's or of Python's, and its results are wanted on the host."""
    if isinstance(y, np.ndarray):
        return True
    return not (hasattr(y, "__cuda_array_interface__") or hasattr(y, "__dlpack__"))


def like(tensor: torch.Tensor, y: Any) -> Any:
    """A result in the kind of array that `y` is: NumPy for what is on the host, CuPy for CuPy, torch otherwise."""
    if on_host(y):
        return tensor.cpu().numpy()
    if type(y).__module__.partition(".")[0] == "cupy":
        import cupy

        return cupy.from_dlpack(tensor)
    return tensor


def all_like(record: Record, y: Any) -> Record:
    """A dataclass whose tensors are of the kind that `y` is."""
    values = {field.name: getattr(record, field.name) for field in dataclasses.fields(record)}
    tensors = {name: like(value, y) for name, value in values.items() if isinstance(value, torch.Tensor)}
    return dataclasses.replace(record, **tensors)
