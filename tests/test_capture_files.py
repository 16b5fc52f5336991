"""Files that are no captures: missing, foreign, damaged or hostile ones."""

import io
import multiprocessing.spawn
import pickle
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.io
from captures import K, M, N, T, complex_normal, good, message_of, write_mat5, write_mat73, write_npz

from jadce_fast.capture import Capture, load_capture, save_capture
from jadce_fast.pilots import dft_pilots


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nothing[.]npz: expected a capture, found no such file"):
        load_capture(tmp_path / "nothing.npz")


def test_directory(tmp_path):
    (tmp_path / "folder.npz").mkdir()
    assert message_of(tmp_path / "folder.npz") == "expected a file, found a directory or device"


@pytest.mark.parametrize("name", ["capture.txt", "capture"])
def test_unknown_extension(tmp_path, name):
    (tmp_path / name).write_bytes(b"x")
    wanted = f"expected the extension .npz, .h5, .hdf5, .mat, found {Path(name).suffix or 'none'}"
    assert message_of(tmp_path / name) == wanted
    with pytest.raises(ValueError, match=r"expected the extension [.]npz, .h5"):
        save_capture(tmp_path / name, Capture(complex_normal(T, N, M), dft_pilots(K, T, N), 0.1))
    assert (tmp_path / name).read_bytes() == b"x"


@pytest.mark.parametrize("suffix", [".npz", ".mat"])
def test_empty_file(tmp_path, suffix):
    path = tmp_path / f"capture{suffix}"
    path.touch()
    assert message_of(path) == f"expected a {suffix} capture, found an empty file"


@pytest.mark.parametrize("suffix", [".npz", ".mat"])
@pytest.mark.parametrize(
    "content", [b"PK", b"not a capture at all " * 40, b"\x00" * 700, b"\x89HDF\r\n\x1a\n" + bytes(99)]
)
def test_foreign_file(tmp_path, suffix, content):
    path = tmp_path / f"capture{suffix}"
    path.write_bytes(content)
    assert "expected" in message_of(path)


@pytest.mark.parametrize("head", [b"# Created by Octave 7.3.0, Sat Nov 28 ", b"Octave-1-L\x00"])
def test_files_of_octaves_own_format(tmp_path, head):
    path = tmp_path / "capture.mat"
    path.write_bytes(head + bytes(600))
    wanted = "expected a MATLAB file of version 5 or 7.3, found one of Octave's own (save -v7 writes MATLAB's)"
    assert message_of(path) == wanted


def test_single_npy_array(tmp_path):
    path = tmp_path / "capture.npz"
    with path.open("wb") as file:
        np.save(file, np.ones(3))
    assert message_of(path) == "expected an .npz archive, found a single array"


@pytest.mark.parametrize("fraction", [0.02, 0.3, 0.6, 0.9, 0.99])
def test_truncated_file(write, fraction):
    path = write(good())
    content = path.read_bytes()
    path.write_bytes(content[: int(fraction * len(content))])
    # Version 5 has no index: whole variables may be missing, which is a missing key.
    assert "expected" in message_of(path)


# Every version 7.3 has a process of its own, which takes its time.
@pytest.mark.parametrize(("write", "count"), [("npz", 40), ("mat5", 40), ("mat73", 2)], indirect=["write"])
@pytest.mark.parametrize("seed", range(8))
def test_damaged_bytes_never_escape_as_another_error(write, count, seed):
    path = write(good())
    content = path.read_bytes()
    rng = np.random.default_rng(seed)
    for _ in range(count):
        damaged = bytearray(content)
        for place in rng.integers(0, len(content), 8):
            damaged[place] = rng.integers(256)
        path.write_bytes(damaged)
        try:
            capture = load_capture(path)
        except ValueError as error:
            assert "expected" in str(error)  # noqa: PT017  (a change may also do no harm)
        else:
            assert np.isfinite(capture.y).all()


class Evil:
    def __reduce__(self):
        return (pytest.fail, ("the pickle was loaded",))


def test_pickled_objects_are_refused(tmp_path):
    path = tmp_path / "capture.npz"
    objects = np.array([Evil()], dtype=object)
    np.savez(path, **{**good(), "y": objects})
    assert message_of(path) == "y: expected numbers, found pickled Python objects (refused)"
    path.write_bytes(pickle.dumps(Evil()))
    assert message_of(path) == "expected an .npz archive, found another kind of file or pickled objects (refused)"


def test_text_and_structures_are_refused(tmp_path):
    message = message_of(write_npz(tmp_path / "capture.npz", {**good(), "y": np.full((T, N, M), "1")}))
    assert message == "y: expected complex64, found dtype <U1"
    message = message_of(write_mat5(tmp_path / "capture.mat", {**good(), "y": np.full((T, N, M), "1")}))
    assert message.startswith("y: expected a numeric array, found ")
    scipy.io.savemat(tmp_path / "capture.mat", {**good(), "y": {"real": 1, "imag": 2}})
    assert message_of(tmp_path / "capture.mat").startswith("y: expected a numeric array, found ")
    scipy.io.savemat(tmp_path / "capture.mat", {**good(), "y": scipy.sparse.eye(3)})
    assert message_of(tmp_path / "capture.mat").startswith("y: expected a numeric array, found ")
    path = write_mat73(tmp_path / "capture.mat", good())
    with h5py.File(path, "r+") as file:
        del file["y"]
        file.create_group("y")
    assert message_of(path) == "y: expected a numeric array, found a struct or a sparse matrix"
    path = write_mat73(tmp_path / "capture.mat", {**good(), "y": np.array("text")})
    assert message_of(path) == "y: expected a numeric array, found text"


def test_array_that_claims_to_be_huge(tmp_path):
    path = write_npz(tmp_path / "capture.npz", good())
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<c8", "fortran_order": False, "shape": (10**15, N, M)})
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in {**members, "y.npy": header.getvalue()}.items():
            archive.writestr(name, content)
    assert message_of(path).startswith("y: expected an array")


def test_hdf5_arrays_in_other_files_are_refused(tmp_path):
    other, path = tmp_path / "other.h5", tmp_path / "capture.h5"
    (tmp_path / "raw").write_bytes(bytes(800))
    with h5py.File(other, "w") as file:
        file["y"] = np.ones((T, N, M))
    with h5py.File(path, "w") as file:
        file["y"] = h5py.ExternalLink(other.name, "y")
    assert message_of(path) == "y: expected this key, found only none of a capture's keys"
    with h5py.File(path, "w") as file:
        file.create_dataset("y", (100,), np.float64, external=[(str(tmp_path / "raw"), 0, 800)])
    assert message_of(path) == "y: expected an array in this file, found one in others"
    layout = h5py.VirtualLayout((T, N, M), np.float64)
    layout[:] = h5py.VirtualSource(other.name, "y", (T, N, M))
    with h5py.File(path, "w") as file:
        file.create_virtual_dataset("y", layout)
    assert message_of(path) == "y: expected an array in this file, found one in others"


def test_an_hdf5_array_that_nothing_is_stored_of(tmp_path):
    with h5py.File(tmp_path / "capture.h5", "w") as file:
        file.create_dataset("y", (10**6, N, M), np.complex64, chunks=(1, N, M))
    assert message_of(tmp_path / "capture.h5").startswith("y: expected an array of this file, found ")


def test_a_reader_of_hdf5_that_dies_is_an_error_of_the_file(tmp_path):
    with h5py.File(tmp_path / "capture.h5", "w") as file:
        file["y"] = np.ones((T, N, M))
    before = multiprocessing.spawn.get_executable()
    multiprocessing.set_executable("/bin/false")
    try:
        assert "ends its reader with status 1: no message" in message_of(tmp_path / "capture.h5")
    finally:
        multiprocessing.set_executable(before)
