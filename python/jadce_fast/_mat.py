"""Numeric arrays of MATLAB files of versions 5 and 7.3.

Version 5 is read here, not by ``scipy.io.loadmat``, which crashes the interpreter on some damaged files. The
format is described in MathWorks' "MAT-File Format" (Level 5). Version 7.3 is HDF5.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ._hdf5 import read_hdf5

_HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_USER_BLOCK = 512  # MATLAB's own header before the HDF5 file
_HEADER = 128  # bytes before the data of version 5

# Types of data elements, and classes of arrays, of version 5.
_TYPES = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_COMPRESSED, _MATRIX = 15, 14
_NUMERIC = {6: "f8", 7: "f4", 8: "i1", 9: "u1", 10: "i2", 11: "u2", 12: "i4", 13: "u4", 14: "i8", 15: "u8"}
_OTHER = {1: "a cell array", 2: "a struct", 3: "an object", 4: "text", 5: "a sparse matrix"}
_COMPLEX_FLAG = 0x800


def read_mat(path: Path, names: Collection[str]) -> dict[str, npt.NDArray[Any]]:
    """Read those of the named variables that the file has, with MATLAB's order of axes.

    Raises
    ------
    ValueError
        If the file is not a MATLAB file of version 5 or 7.3, is damaged, or a named variable is not numeric.
    """
    with path.open("rb") as file:
        head = file.read(_USER_BLOCK + len(_HDF5_SIGNATURE))
    if head.startswith(_HDF5_SIGNATURE) or head[_USER_BLOCK:] == _HDF5_SIGNATURE:
        return {name: value.T for name, value in read_hdf5(path, names).items()}
    if head.startswith((b"# Created by Octave", b"Octave-1-")):
        raise ValueError(
            "expected a MATLAB file of version 5 or 7.3, found one of Octave's own (save -v7 writes MATLAB's)"
        )
    if head[126:128] not in (b"IM", b"MI"):
        raise ValueError("expected a MATLAB file of version 5 or 7.3, found another or a truncated file")
    return _read_5(path.read_bytes(), names)


def _read_5(content: bytes, names: Collection[str]) -> dict[str, npt.NDArray[Any]]:
    order = "<" if content[126:128] == b"IM" else ">"
    found: dict[str, npt.NDArray[Any]] = {}
    for kind, data in _elements(memoryview(content)[_HEADER:], order):
        if kind == _COMPRESSED:
            unpacker = zlib.decompressobj()
            try:
                # What is inside says how large it is; compression may hold a thousand times more.
                unpacked = unpacker.decompress(data, 8)
                size = int(np.frombuffer(unpacked[4:], order + "u4")[0]) if len(unpacked) == 8 else 0
                unpacked += unpacker.decompress(unpacker.unconsumed_tail, max(size, 1))
            except zlib.error as error:
                raise ValueError(f"expected a MATLAB file, found damaged compression ({error})") from error
            kind, data = next(_elements(memoryview(unpacked), order), (0, data))
        if kind == _MATRIX:
            parts = list(_elements(data, order))
            name = bytes(parts[2][1]).decode("latin-1") if len(parts) > 2 else ""
            if name in names:
                found[name] = _matrix(name, parts, order)
    return found


def _elements(content: memoryview, order: str) -> Iterator[tuple[int, memoryview]]:
    """Type and data of consecutive data elements."""
    place = 0
    while place + 8 <= len(content):
        kind, size = (int(v) for v in np.frombuffer(content[place : place + 8], order + "u4"))
        start = place + 8
        if kind >> 16:  # a small element: size and type share the first word, the data is in the second
            kind, size, start = kind & 0xFFFF, kind >> 16, place + 4
            place = start + 4
        else:
            place = start + (size if kind == _COMPRESSED else -(-size // 8) * 8)
        if start + size > len(content) or (start == place - 4 and size > 4):
            raise ValueError("expected a MATLAB file, found a damaged or truncated one")
        yield kind, content[start : start + size]
    if place < len(content):
        raise ValueError("expected a MATLAB file, found a damaged or truncated one")


def _matrix(name: str, parts: list[tuple[int, memoryview]], order: str) -> npt.NDArray[Any]:
    """Array of the parts of a matrix element: flags, sizes, name, real part, imaginary part."""
    flags = _values(name, parts[0], order)
    array_class = int(flags[0]) & 0xFF if len(flags) else 0
    if array_class not in _NUMERIC:
        raise ValueError(f"{name}: expected a numeric array, found {_OTHER.get(array_class, 'another kind')}")
    shape = tuple(int(size) for size in _values(name, parts[1], order))
    is_complex = bool(int(flags[0]) & _COMPLEX_FLAG)
    numbers = [_values(name, part, order) for part in parts[3:]]
    fits = len(shape) >= 2 and min(shape) >= 0 and all(len(v) == math.prod(shape) for v in numbers)
    if len(numbers) != 1 + is_complex or not fits:
        raise ValueError(f"{name}: expected an array, found a damaged one")
    dtype = np.dtype(_NUMERIC[array_class])
    # Whole numbers are stored in the smallest type that holds them, whatever the class.
    with np.errstate(invalid="ignore"):
        real, *imag = (v.astype(dtype) for v in numbers)
    if not imag:
        return real.reshape(shape, order="F")
    value = np.empty(real.shape, np.result_type(dtype, np.complex64))
    value.real, value.imag = real, imag[0]
    return value.reshape(shape, order="F")


def _values(name: str, part: tuple[int, memoryview], order: str) -> npt.NDArray[Any]:
    kind, data = part
    if kind not in _TYPES or len(data) % np.dtype(_TYPES[kind]).itemsize:
        raise ValueError(f"{name}: expected an array, found a damaged one")
    return np.frombuffer(data, order + _TYPES[kind])
