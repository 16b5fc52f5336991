"""Numeric arrays of HDF5 files, of which MATLAB's of version 7.3 are some, read in a process of their own.

The HDF5 library does not survive every file of which single bytes were changed. What a damaged file does to it stays in
the child, which is this file run as a program: it writes the arrays to its output, or says what is wrong.
"""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Collection
from multiprocessing import spawn
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

_REFUSED = 3  # exit status of the child with a message
_PATIENCE = 60.0  # seconds
_DEFLATE = 1100  # deflate makes arrays at most this much smaller


def read_hdf5(path: Path, names: Collection[str]) -> dict[str, npt.NDArray[Any]]:
    """Read those of the named datasets that an HDF5 file has; version 7.3 of MATLAB is one, with axes reversed.

    Raises
    ------
    ValueError
        If the file is damaged or of another kind, or a named dataset is not numeric, lies in other files, or is larger
        than what is stored of it can hold.
    """
    from . import _extras  # not for the child, which is no part of a package

    with _extras.named():
        import h5py  # noqa: F401  (the child needs it)

    # What embedding programs set with multiprocessing.set_executable.
    command = [os.fsdecode(spawn.get_executable()), "-P", __file__, os.fspath(path), *names]
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=_PATIENCE)
    except subprocess.TimeoutExpired:
        raise ValueError(f"expected an HDF5 (MATLAB 7.3) file, found one that takes over {_PATIENCE:g} s") from None
    if done.returncode == _REFUSED:
        raise ValueError(done.stderr.decode())
    if done.returncode:
        raise ValueError(
            f"expected an HDF5 (MATLAB 7.3) file, found one that ends its reader with status {done.returncode}: "
            + (done.stderr.decode(errors="replace").strip().splitlines() or ["no message"])[-1]
        )
    with np.load(io.BytesIO(done.stdout)) as arrays:
        return dict(arrays)


def read_datasets(path: str, names: Collection[str]) -> dict[str, npt.NDArray[Any]]:
    """As `read_hdf5`, in this process."""
    import h5py

    found: dict[str, npt.NDArray[Any]] = {}
    try:
        with h5py.File(path, "r") as file:
            for name in names:
                if isinstance(file.get(name, getlink=True), (h5py.HardLink, h5py.SoftLink)):
                    found[name] = _dataset(name, file[name])
    except _RefusedError as error:
        raise ValueError(str(error)) from None
    except MemoryError:
        raise ValueError("expected arrays that fit into memory, found larger ones") from None
    except Exception as error:  # h5py raises half a dozen types for damaged files
        raise ValueError(f"expected an HDF5 (MATLAB 7.3) file, found a damaged one ({error})") from error
    return found


class _RefusedError(Exception):
    """What is wrong with a dataset."""


def _dataset(name: str, item: Any) -> npt.NDArray[Any]:
    """Array of a dataset."""
    if not hasattr(item, "dtype") or not hasattr(item, "shape"):  # MATLAB keeps some kinds in groups, Octave all
        octaves = {"type", "value"} <= set(item)
        what = "Octave's form of HDF5 (save -v7 writes another)" if octaves else "a struct or a sparse matrix"
        raise _RefusedError(f"{name}: expected a numeric array, found {what}")
    if item.attrs.get("MATLAB_class") == b"char":
        raise _RefusedError(f"{name}: expected a numeric array, found text")
    dtype = item.dtype
    is_complex = dtype.names == ("real", "imag")
    if (dtype["real"] if is_complex else dtype).kind not in "biufc":  # "c" is h5py's own, of {r, i} pairs
        raise _RefusedError(f"{name}: expected a numeric array, found dtype {dtype}")
    if item.shape is None:
        raise _RefusedError(f"{name}: expected a numeric array, found an empty dataset")
    if item.is_virtual or item.external:
        raise _RefusedError(f"{name}: expected an array in this file, found one in others")
    stored = item.id.get_storage_size()
    if item.nbytes > _DEFLATE * max(stored, _DEFLATE):
        raise _RefusedError(f"{name}: expected an array of this file, found {item.nbytes} bytes of {stored} stored")
    value: npt.NDArray[Any] = np.asarray(item[()])
    if "MATLAB_empty" in item.attrs:
        return np.zeros([int(size) for size in value[::-1]])  # an empty array is stored as its size
    if is_complex:
        parts = value
        value = np.empty(parts.shape, np.result_type(dtype["real"], np.complex64))
        value.real, value.imag = parts["real"], parts["imag"]
    return value


def _main() -> int:
    try:
        found = read_datasets(sys.argv[1], sys.argv[2:])
    except ValueError as error:
        sys.stderr.write(str(error))
        return _REFUSED
    np.savez(sys.stdout.buffer, **found)  # type: ignore[arg-type]
    return 0


if __name__ == "__main__":
    sys.exit(_main())
