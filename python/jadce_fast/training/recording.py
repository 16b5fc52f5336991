"""Recorded channels from a file: NumPy ``.npz``, MATLAB ``.mat`` of version 5 or 7.3, HDF5."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import torch

from .. import _check
from ..capture import READERS

_KEY = "channels"


def load_channels(path: str | os.PathLike[str]) -> torch.Tensor:
    """Read channels to train on.

    Parameters
    ----------
    path : path
        ``.npz``, ``.mat``, ``.h5`` or ``.hdf5`` with a complex array ``channels`` (S, N, M) of S channels over N
        subcarriers and M antennas. Complex numbers in HDF5 are h5py's: pairs named (r, i) or (real, imag). A file of
        MATLAB 7.3 is read with MATLAB's order of axes, another HDF5 file with its own.

    Returns
    -------
    (S, N, M) complex64 tensor

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError, TypeError
        If it is damaged, or has no such array of finite numbers; the message names the file.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in READERS:
        raise ValueError(f"{path}: expected the extension {', '.join(READERS)}, found {path.suffix or 'none'}")
    if not path.is_file():
        raise FileNotFoundError(f"{path}: expected a file of channels, found none")
    try:
        values = READERS[suffix](path, [_KEY])
        if _KEY not in values:
            raise ValueError(f"{_KEY}: expected an array of this name, found none")
        return torch.from_numpy(_check.array(_KEY, values[_KEY], ("S", "N", "M"), np.complex64))
    except (TypeError, ValueError) as error:
        raise type(error)(f"{path}: {error}") from error
