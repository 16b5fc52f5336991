"""Numeric arrays of MATLAB files, version 5 by SciPy and version 7.3 by h5py."""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

_HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_USER_BLOCK = 512  # MATLAB's own header before the HDF5 file


def read_mat(path: Path, names: Iterable[str]) -> dict[str, npt.NDArray[Any]]:
    """Read those of the named variables that the file has, with MATLAB's order of axes.

    Raises
    ------
    ValueError
        If the file is not a MATLAB file of version 5 or 7.3, is damaged, or a named variable is not numeric.
    """
    with path.open("rb") as file:
        head = file.read(_USER_BLOCK + len(_HDF5_SIGNATURE))
    if head.startswith(_HDF5_SIGNATURE) or head[_USER_BLOCK:] == _HDF5_SIGNATURE:
        return _read_73(path, names)
    if len(head) < 128 or head[126:128] not in (b"IM", b"MI"):
        raise ValueError("expected a MATLAB file of version 5 or 7.3, found a foreign or truncated one")
    return _read_5(path, names)


def _read_5(path: Path, names: Iterable[str]) -> dict[str, npt.NDArray[Any]]:
    from scipy.io import loadmat

    try:
        content = loadmat(path, variable_names=list(names))
    except MemoryError as error:
        raise ValueError(f"expected arrays that fit into memory, found larger ones ({error})") from error
    except (OSError, ValueError, TypeError, KeyError, IndexError, NotImplementedError, zlib.error) as error:
        raise ValueError(f"expected a MATLAB 5 file, found a damaged or truncated one ({error})") from error
    found = {name: content[name] for name in names if name in content}
    for name, value in found.items():
        if not isinstance(value, np.ndarray) or value.dtype.kind not in "biufc":
            kind = value.dtype if isinstance(value, np.ndarray) else type(value).__name__
            raise ValueError(f"{name}: expected a numeric array, found {kind}")
    return found


def _read_73(path: Path, names: Iterable[str]) -> dict[str, npt.NDArray[Any]]:
    import h5py

    try:
        with h5py.File(path, "r") as file:
            return {name: _dataset(name, file[name]) for name in names if name in file}
    except MemoryError as error:
        raise ValueError(f"expected arrays that fit into memory, found larger ones ({error})") from error
    except (OSError, RuntimeError, KeyError) as error:
        raise ValueError(f"expected a MATLAB 7.3 file, found a damaged one ({error})") from error


def _dataset(name: str, dataset: Any) -> npt.NDArray[Any]:
    if not hasattr(dataset, "dtype"):
        raise ValueError(f"{name}: expected a numeric array, found a struct or a sparse matrix")
    if "MATLAB_empty" in dataset.attrs:
        return np.zeros(tuple(int(size) for size in dataset[()]))  # an empty array is stored as its size
    value: npt.NDArray[Any] = np.asarray(dataset[()])
    if value.dtype.names == ("real", "imag"):
        parts = value
        value = np.empty(parts.shape, np.result_type(parts["real"].dtype, np.complex64))
        value.real, value.imag = parts["real"], parts["imag"]
    if value.dtype.kind not in "biufc":
        raise ValueError(f"{name}: expected a numeric array, found dtype {value.dtype}")
    return value.T
