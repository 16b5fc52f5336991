"""Capture and result files: NumPy ``.npz``, HDF5 ``.h5``, MATLAB ``.mat`` of version 5 (read, written) and 7.3 (read).

Keys of a capture, indices 0-based in all formats:

================  ==========================  ==========================================================
``y``             (T, N, M) complex           received pilots; (B, T, N, M) for `load_blocks`
``pilot_rows``    (T, N) integer              DFT rows of partial-DFT pilots, Cai (66), with ...
``devices``       integer                     ... K
``pilot_power``   real, optional, 1           ... and their power P
``pilot_phases``  (T, N) complex, optional    ... and phases that all devices share
``pilots``        (T, N, K) complex           any pilots, in place of the three above
``noise_var``     real, optional              complex noise variance per entry of y, as a number or as
                                              ``Receiver.detect`` takes it; else it is learned
``activity_rate`` real, optional              prior probability that a device is active
``true_active``   (A,) integer, optional      active devices, for scoring
``true_channels`` (A, N, M) complex, opt.     their channels
================  ==========================  ==========================================================

A result has ``activity`` (K,), ``active`` (A,), ``channels`` (A, N, M), ``channel_var`` (A,), and ``trusted``,
``explained`` (ratio, least, most) and ``reason``.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from . import _check, _extras
from ._hdf5 import read_hdf5
from ._mat import read_mat
from .detection import Detection, equal_fields
from .files import write_atomically
from .metrics import active_indices
from .noise import noise_covariance
from .pilots import Pilots

T = TypeVar("T")
_KEYS = (
    "y",
    "pilot_rows",
    "devices",
    "pilot_power",
    "pilot_phases",
    "pilots",
    "noise_var",
    "activity_rate",
    "true_active",
    "true_channels",
)


@dataclass(frozen=True, eq=False)
class Capture:
    """A received block, the pilots that were sent, and, for scoring, the truth; arrays are copied and read-only.

    Attributes
    ----------
    y : ndarray of complex64, shape (T, N, M)
    pilots : Pilots
        Of T symbols and N subcarriers.
    noise_var : float, ndarray or None
        Complex noise variance per entry of `y` in any form that ``Receiver.detect`` takes; None: not known.
    activity_rate : float or None
        In (0, 1).
    true_active : ndarray of int64, shape (A,), or None
        0-based, distinct.
    true_channels : ndarray of complex64, shape (A, N, M), or None
        Only with `true_active`.

    Raises
    ------
    TypeError, ValueError
        If anything does not fit: the message names the attribute, what was expected and what was found.
    """

    y: npt.NDArray[np.complex64]
    pilots: Pilots
    noise_var: float | npt.NDArray[Any] | None = None
    activity_rate: float | None = None
    true_active: npt.NDArray[np.int64] | None = None
    true_channels: npt.NDArray[np.complex64] | None = None

    def __eq__(self, other: object) -> bool:
        return equal_fields(self, other) if isinstance(other, Capture) else NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def __post_init__(self) -> None:
        if not isinstance(self.pilots, Pilots):
            raise TypeError(f"pilots: expected jadce_fast.Pilots, found {type(self.pilots).__name__}")
        symbols, subcarriers = self.pilots.symbols, self.pilots.subcarriers
        y = _check.owned("y", self.y, (symbols, subcarriers, "M"), np.complex64)
        if y.shape[2] == 0:
            raise ValueError(f"y: expected at least one antenna, found shape {y.shape}")
        checked: dict[str, Any] = {"y": y}
        noise = None if self.noise_var is None else _check.as_array("noise_var", self.noise_var)
        if noise is not None and noise.ndim == 0:
            checked["noise_var"] = _check.real("noise_var", self.noise_var)
        elif noise is not None:
            noise_covariance(noise, *y.shape[1:])
            kind = np.complex128 if noise.dtype.kind == "c" else np.float64
            checked["noise_var"] = _check.owned("noise_var", noise, noise.shape, kind)
        if self.activity_rate is not None:
            checked["activity_rate"] = _check.real("activity_rate", self.activity_rate, 0, 1)
        if self.true_active is not None:
            truth = active_indices("true_active", self.true_active, self.pilots.devices)
            checked["true_active"] = truth
        if self.true_channels is not None:
            if self.true_active is None:
                raise ValueError("true_channels: expected true_active beside them, found none")
            checked["true_channels"] = _check.owned(
                "true_channels", self.true_channels, (len(truth), *y.shape[1:]), np.complex64
            )
        for name, value in checked.items():
            object.__setattr__(self, name, value)


def load_capture(path: str | os.PathLike[str]) -> Capture:
    """Read and check a capture; see the module for its keys.

    MATLAB's habits are undone: vectors and scalars of two dimensions, whole numbers of type double, dropped
    trailing dimensions of size one, and the reversed axes and {real, imag} pairs of version 7.3.

    Parameters
    ----------
    path : path-like
        ``.npz``, ``.h5`` (or ``.hdf5``) or ``.mat``.

    Returns
    -------
    Capture

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file cannot be read as what its name says (empty, truncated, foreign), holds pickled objects
        (they are never loaded), lacks a key, or holds what does not fit. The message names the file, the key,
        what was expected and what was found.
    """
    return _read(path, _build)


def load_blocks(path: str | os.PathLike[str]) -> list[Capture]:
    """Read the received blocks of one file: those of a capture whose ``y`` is (B, T, N, M), or its only one.

    Several share pilots, one ``noise_var`` and ``activity_rate``; of their truth nothing is read.

    Raises
    ------
    FileNotFoundError, ValueError
        As of `load_capture`.
    """
    return _read(path, _build_blocks)


def _read(path: str | os.PathLike[str], build: Callable[[Mapping[str, npt.NDArray[Any]], bool], T]) -> T:
    """What `build` makes of the arrays of a file, which may be MATLAB's."""
    path = Path(path)
    suffix = _suffix(path)
    if not path.exists():
        raise FileNotFoundError(f"{path}: expected a capture, found no such file")
    if not path.is_file():
        raise ValueError(f"{path}: expected a file, found a directory or device")
    if path.stat().st_size == 0:
        raise ValueError(f"{path}: expected a {suffix} capture, found an empty file")
    try:
        values = READERS[suffix](path, _KEYS)
        return build(values, suffix == ".mat")
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from error


def save_capture(path: str | os.PathLike[str], capture: Capture) -> None:
    """Write a capture to ``.npz`` (compressed), ``.h5`` or ``.mat`` (version 5), atomically.

    Raises
    ------
    ValueError
        If the extension is none of these.
    OSError
        If the file cannot be written; a file that was there before stays as it was.
    """
    pilots = capture.pilots
    values: dict[str, Any] = {"y": capture.y}
    if pilots.rows is None:
        values["pilots"] = pilots.select()
    else:
        values |= {"pilot_rows": pilots.rows, "devices": pilots.devices, "pilot_power": pilots.power}
        if pilots.phases is not None:
            values["pilot_phases"] = pilots.phases
    for name in ("noise_var", "activity_rate", "true_active", "true_channels"):
        if getattr(capture, name) is not None:
            values[name] = getattr(capture, name)
    _write(Path(path), values)


def save_result(path: str | os.PathLike[str], detection: Detection) -> None:
    """Write a detection to ``.npz``, ``.h5`` or ``.mat``, atomically.

    The file has ``activity``, ``active``, ``channels``, ``channel_var``, and ``trusted``, ``explained`` (ratio, least,
    most) and ``reason``.

    Raises
    ------
    ValueError, OSError
        As of ``save_capture``.
    """
    names = ("activity", "active", "channels", "channel_var", "trusted", "explained", "reason")
    _write(Path(path), {name: _on_host(getattr(detection, name)) for name in names})


def _on_host(value: Any) -> npt.NDArray[Any]:
    """An array of a result, copied from a GPU where it is there: torch's by `cpu`, CuPy's by `get`."""
    copy = getattr(value, "cpu", None) or getattr(value, "get", None)
    return np.asarray(value if copy is None else copy())


def _build(values: Mapping[str, npt.NDArray[Any]], matlab: bool) -> Capture:
    """Capture of the arrays of a file."""
    found = ", ".join(sorted(values)) or "none of a capture's keys"
    if "y" not in values:
        raise ValueError(f"y: expected this key, found only {found}")
    if "pilots" in values and "pilot_rows" in values:
        raise ValueError("pilots: expected either pilots or pilot_rows, found both")
    if "pilots" in values:
        pilots = Pilots(_rank("pilots", values, 3, matlab))
    elif "pilot_rows" in values and "devices" in values:
        pilots = Pilots.from_rows(
            _whole(_rank("pilot_rows", values, 2, matlab), matlab),
            _whole(_scalar("devices", values), matlab).item(),
            _check.real("pilot_power", _scalar("pilot_power", values).item()) if "pilot_power" in values else 1.0,
            _rank("pilot_phases", values, 2, matlab) if "pilot_phases" in values else None,
        )
    else:
        raise ValueError(f"pilots: expected the key pilots, or pilot_rows and devices, found only {found}")
    truth = values.get("true_active")
    if truth is not None and (matlab or truth.size == 0):
        truth = _whole(truth.reshape(-1), matlab)  # a MATLAB vector is a matrix of one row or column
    return Capture(
        y=_rank("y", values, 3, matlab),
        pilots=pilots,
        noise_var=_noise(values, matlab),
        activity_rate=_scalar("activity_rate", values).item() if "activity_rate" in values else None,
        true_active=truth,
        true_channels=_true_channels(values, matlab),
    )


def _build_blocks(values: Mapping[str, npt.NDArray[Any]], matlab: bool) -> list[Capture]:
    y = values.get("y")
    if y is None or y.ndim != 4:
        return [_build(values, matlab)]
    if len(y) == 0:
        raise ValueError(f"y: expected at least one block, found shape {y.shape}")
    known = {name: value for name, value in values.items() if not name.startswith("true_")}
    first = _build(known | {"y": y[0]}, matlab)
    return [first, *(replace(first, y=block) for block in y[1:])]


def _true_channels(values: Mapping[str, npt.NDArray[Any]], matlab: bool) -> npt.NDArray[Any] | None:
    if "true_channels" not in values:
        return None
    channels = _rank("true_channels", values, 3, matlab)
    if channels.size == 0 and matlab:
        return np.zeros((0, *_rank("y", values, 3, matlab).shape[1:]), np.complex64)  # [] of MATLAB is 0 x 0
    return channels


def _rank(name: str, values: Mapping[str, npt.NDArray[Any]], rank: int, matlab: bool) -> npt.NDArray[Any]:
    """Restore the trailing dimensions of size one that MATLAB drops beyond the second."""
    value = values[name]
    if matlab and 2 <= value.ndim < rank:
        value = value.reshape(value.shape + (1,) * (rank - value.ndim))
    return value


def _noise(values: Mapping[str, npt.NDArray[Any]], matlab: bool) -> Any:
    """A number however it was stored, or an array; MATLAB's vectors are matrices of one row or column."""
    value = values.get("noise_var")
    if value is not None and value.size == 1:
        return _scalar("noise_var", values).item()
    if value is None or not matlab or value.ndim != 2 or 1 not in value.shape:
        return value
    n, m = _rank("y", values, 3, matlab).shape[1:]
    return value if value.shape in ((1, m), (n, 1)) else value.reshape(-1)


def _scalar(name: str, values: Mapping[str, npt.NDArray[Any]]) -> npt.NDArray[Any]:
    value = values[name]
    if value.size != 1:
        raise ValueError(f"{name}: expected one number, found an array of shape {value.shape}")
    if value.dtype.kind not in "iuf":
        raise ValueError(f"{name}: expected a real number, found dtype {value.dtype}")
    return value.reshape(())


def _whole(value: npt.NDArray[Any], matlab: bool) -> npt.NDArray[Any]:
    """Whole numbers as int64 where MATLAB stored doubles; the rest is left for the checks to refuse."""
    if not matlab or value.dtype.kind != "f" or not (np.abs(value) < 2**53).all():
        return value
    return value.astype(np.int64) if (value == np.floor(value)).all() else value


def read_npz(path: Path, names: Collection[str]) -> dict[str, npt.NDArray[Any]]:
    """Read those of the named arrays that the archive has; `ValueError` if it is damaged or holds pickled objects."""
    with path.open("rb") as file:
        head = file.read(6)
        file.seek(0)
        if head == b"\x93NUMPY":
            raise ValueError("expected an .npz archive, found a single array")
        if not head.startswith(b"PK"):  # NumPy would take it for a pickle
            raise ValueError("expected an .npz archive, found another kind of file or pickled objects (refused)")
        try:
            archive = np.load(file, allow_pickle=False)
        except Exception as error:  # zipfile raises half a dozen types for damaged archives
            raise ValueError(f"expected an .npz archive, found a damaged or truncated one ({error})") from error
        return {key: _member(archive, key) for key in names if key in archive}


def _member(archive: np.lib.npyio.NpzFile, key: str) -> npt.NDArray[Any]:
    try:
        value = archive[key]
    except MemoryError:
        raise ValueError(f"{key}: expected an array that fits into memory, found a larger one") from None
    except Exception as error:  # zipfile, zlib and NumPy's parser raise a dozen types for damaged members
        if "Object arrays" in str(error):
            raise ValueError(f"{key}: expected numbers, found pickled Python objects (refused)") from None
        raise ValueError(f"{key}: expected an array, found a damaged one ({error})") from error
    if not isinstance(value, np.ndarray):
        raise ValueError(f"{key}: expected an array, found another kind of archive member")
    return value


WRITTEN_BY = {".mat": "scipy.io", ".h5": "h5py", ".hdf5": "h5py"}  # packages without which files cannot be written
READERS = {".npz": read_npz, ".h5": read_hdf5, ".hdf5": read_hdf5, ".mat": read_mat}


def _suffix(path: Path) -> str:
    suffix = path.suffix.lower()
    if suffix not in READERS:
        raise ValueError(f"{path}: expected the extension {', '.join(READERS)}, found {path.suffix or 'none'}")
    return suffix


def _write(path: Path, values: Mapping[str, Any]) -> None:
    """Write beside the target and rename, so that no reader ever sees half a file."""
    buffer = io.BytesIO()
    suffix = _suffix(path)
    if suffix == ".mat":
        with _extras.named():
            from scipy.io import savemat

        # Octave and MATLAB multiply no whole numbers by others: they are doubles there, as MATLAB's own are.
        values = {
            name: v.astype(np.float64) if (v := np.asarray(x)).dtype.kind in "iu" else x for name, x in values.items()
        }
        savemat(buffer, dict(values), do_compression=True)  # type: ignore[arg-type]
    elif suffix == ".npz":
        np.savez_compressed(buffer, **values)
    else:
        with _extras.named():
            import h5py

        with h5py.File(buffer, "w") as file:
            for name, value in values.items():
                file[name] = str(value) if np.asarray(value).dtype.kind == "U" else value
    with write_atomically(path) as part:
        part.write_bytes(buffer.getbuffer())
