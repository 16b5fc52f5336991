"""A valid capture, and its files as other programs write them."""

import h5py
import numpy as np
import pytest
import scipy.io

from jadce_fast.capture import load_capture
from jadce_fast.pilots import dft_pilots

T, N, M, K = 4, 3, 2, 9


def complex_normal(*shape):
    rng = np.random.default_rng(sum(shape))
    return (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)).astype(np.complex64)


def good():
    """Arrays of a valid capture with partial-DFT pilots."""
    return {
        "y": complex_normal(T, N, M),
        "pilot_rows": dft_pilots(K, T, N).rows,
        "devices": np.array(K),
        "noise_var": np.array(0.1),
        "activity_rate": np.array(0.05),
        "true_active": np.array([7, 2]),
        "true_channels": complex_normal(2, N, M),
    }


def write_npz(path, values):
    np.savez(path, **values)
    return path


def write_mat5(path, values):
    """As MATLAB would: whole numbers are doubles too, vectors and scalars are matrices."""
    as_double = {k: v if np.iscomplexobj(v) or v.dtype.kind in "OU" else v.astype(float) for k, v in values.items()}
    scipy.io.savemat(path, as_double, oned_as="column")
    return path


def write_mat73(path, values):
    """As MATLAB would: a user block, reversed axes, complex numbers as {real, imag}, large arrays in packed chunks."""
    with h5py.File(path, "w", userblock_size=512) as file:
        file.create_dataset("#refs#/a", data=np.zeros(2, np.uint64)).attrs["MATLAB_class"] = np.bytes_(
            "canonical empty"
        )
        for name, value in values.items():
            value, kind = np.atleast_2d(value), "double"
            if np.iscomplexobj(value):
                part = value.real.dtype
                pairs = np.zeros(value.shape, [("real", part), ("imag", part)])
                pairs["real"], pairs["imag"] = value.real, value.imag
                value, kind = pairs, "single" if part == np.float32 else "double"
            elif value.dtype.kind == "U":
                value, kind = np.array([[ord(letter) for letter in value.flat[0]]], np.uint16), "char"
            elif value.dtype.kind != "S":
                value = value.astype(float)
            if value.size == 0:
                dataset = file.create_dataset(name, data=np.array(value.shape, np.uint64))
                dataset.attrs["MATLAB_empty"] = np.uint8(1)
            else:
                packed = {"compression": "gzip", "compression_opts": 3} if value.size > 20 else {}
                dataset = file.create_dataset(name, data=value.T, **packed)
            dataset.attrs["MATLAB_class"] = np.bytes_(kind)
    header = b"MATLAB 7.3 MAT-file, Platform: GLNXA64, HDF5 schema 1.00 .".ljust(124) + b"\x00\x02IM"
    with open(path, "r+b") as file:
        file.write(header)
    return path


def write_hdf5(path, values):
    """As h5py users would: axes as they are, complex numbers as h5py stores them."""
    with h5py.File(path, "w") as file:
        for name, value in values.items():
            file[name] = value
    return path


WRITERS = {
    "npz": (write_npz, ".npz"),
    "mat5": (write_mat5, ".mat"),
    "mat73": (write_mat73, ".mat"),
    "hdf5": (write_hdf5, ".h5"),
}


def message_of(path):
    with pytest.raises(ValueError) as caught:  # noqa: PT011  (every caller checks the message)
        load_capture(path)
    text = str(caught.value)
    assert text.startswith(f"{path}: ")
    assert "\n" not in text
    return text[len(f"{path}: ") :]
