import dataclasses
import tracemalloc
import zlib
from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.io
import torch
from captures import K, M, N, T, complex_normal, good, message_of, write_mat5, write_mat73, write_npz

from jadce_fast.capture import Capture, load_capture, save_capture, save_result
from jadce_fast.detection import Detection, Explained
from jadce_fast.pilots import Pilots, dft_pilots

DATA = Path(__file__).parent / "data"


# --- what is accepted ---


def test_every_format_reads_the_same(write):
    values = good()
    capture = load_capture(write(values))
    assert capture.y.dtype == np.complex64
    np.testing.assert_array_equal(capture.y, values["y"])
    np.testing.assert_array_equal(capture.pilots.rows, values["pilot_rows"])
    assert (capture.pilots.devices, capture.noise_var, capture.activity_rate) == (K, 0.1, 0.05)
    np.testing.assert_array_equal(capture.true_active, [7, 2])
    np.testing.assert_array_equal(capture.true_channels, values["true_channels"])


def test_any_pilots_and_no_truth(write):
    pilots = complex_normal(T, N, K)
    capture = load_capture(write({"y": good()["y"], "pilots": pilots, "noise_var": np.array(1)}))
    np.testing.assert_array_equal(capture.pilots.select(), pilots)
    assert capture.noise_var == 1
    assert capture.activity_rate is capture.true_active is capture.true_channels is None


def test_nobody_active(write):
    truth = {"true_active": np.zeros(0), "true_channels": np.zeros((0, N, M))}
    capture = load_capture(write({**good(), **truth}))
    assert (capture.true_active.shape, capture.true_channels.shape) == ((0,), (0, N, M))


def test_single_antenna_and_single_device(write):
    # MATLAB drops trailing dimensions of size one.
    values = {"y": complex_normal(1, N), "pilots": complex_normal(1, N), "noise_var": np.array(0.1)}
    path = write(values)
    if path.suffix != ".mat":
        assert message_of(path) == "pilots: expected shape (T, N, K), found (1, 3)"
    else:
        capture = load_capture(path)
        assert (capture.y.shape, capture.pilots.devices) == ((1, N, 1), 1)


def test_matlab_empty_matrix(tmp_path):
    truth = {"true_active": np.zeros((0, 0)), "true_channels": np.zeros((0, 0))}
    for writer in (write_mat5, write_mat73):
        capture = load_capture(writer(tmp_path / "capture.mat", {**good(), **truth}))
        assert capture.true_channels.shape == (0, N, M)


@pytest.mark.parametrize("change", [lambda a: a.astype(a.dtype.newbyteorder()), np.asfortranarray, np.complex128])
def test_byte_swapped_fortran_ordered_and_double(tmp_path, change):
    values = good()
    capture = load_capture(write_npz(tmp_path / "capture.npz", {**values, "y": change(values["y"])}))
    np.testing.assert_array_equal(capture.y, values["y"])
    assert capture.y.flags.c_contiguous
    assert capture.y.dtype == np.dtype(np.complex64)
    assert capture.y.dtype.isnative


def test_strided_views_in_memory():
    values = good()
    wide = np.repeat(values["y"], 2, axis=2)
    capture = Capture(wide[:, :, ::2], dft_pilots(K, T, N), 0.1)
    np.testing.assert_array_equal(capture.y, values["y"])


@pytest.mark.parametrize("suffix", [".npz", ".mat", ".NPZ", ".h5", ".hdf5"])
@pytest.mark.parametrize("pilots", [dft_pilots(K, T, N, power=4.0), Pilots(complex_normal(T, N, K))])
@pytest.mark.parametrize("truth", [{}, {"true_active": [5, 0], "true_channels": complex_normal(2, N, M)},
                                   {"true_active": [], "true_channels": np.zeros((0, N, M))}])  # fmt: skip
def test_round_trip(tmp_path, suffix, pilots, truth):
    capture = Capture(complex_normal(T, N, M), pilots, 0.25, 0.1, **truth)
    save_capture(tmp_path / f"capture{suffix}", capture)
    again = load_capture(tmp_path / f"capture{suffix}")
    np.testing.assert_array_equal(again.y, capture.y)
    np.testing.assert_array_equal(again.pilots.select(), pilots.select())
    assert (again.noise_var, again.activity_rate, again.pilots.power) == (0.25, 0.1, pilots.power)
    for name in ("true_active", "true_channels"):
        if truth:
            np.testing.assert_array_equal(getattr(again, name), getattr(capture, name))
            assert getattr(again, name).dtype == getattr(capture, name).dtype
        else:
            assert getattr(again, name) is None
    assert [p.name for p in tmp_path.iterdir()] == [f"capture{suffix}"]


@pytest.mark.parametrize("name", ["sionna_cdl_c_dft.npz", "sionna_cdl_a_qpsk.npz"])
def test_captures_of_another_simulator(name):
    capture = load_capture(DATA / name)
    sent = capture.pilots.select(capture.true_active)
    noise = capture.y - np.einsum("tnk,knm->tnm", sent, capture.true_channels)
    # The mean of T N M = 18 432 exponential variables and more, five sigma.
    assert np.mean(np.abs(noise) ** 2) == pytest.approx(0.1, rel=5 / np.sqrt(noise.size))


@pytest.mark.parametrize("suffix", [".npz", ".mat", ".h5"])
def test_result(tmp_path, suffix):
    channels = complex_normal(2, N, M)
    activity = np.array([0, 1, 0, 1], np.float32)
    detection = Detection(
        activity,
        np.array([1, 3]),
        channels,
        np.ones(2, np.float32),
        3,
        True,
        0.1,
        Explained(1.0, 0.8, 1.2),
        "fixed point",
    )
    path = tmp_path / f"result{suffix}"
    save_result(path, dataclasses.replace(detection, activity=torch.from_numpy(activity)))  # as of a GPU
    if suffix == ".h5":
        with h5py.File(path) as file:
            found = {name: value[()] for name, value in file.items()}
    else:
        found = np.load(path) if suffix == ".npz" else scipy.io.loadmat(path, squeeze_me=True)
    if suffix == ".mat":
        assert found["active"].dtype == np.float64  # Octave multiplies no int64 by a number
    for name in ("activity", "active", "channels", "channel_var"):
        np.testing.assert_array_equal(found[name], getattr(detection, name))


# --- what is refused: every format ---

NAN = complex_normal(T, N, M) * np.array([1, np.nan])
BAD = {
    "y with too few antennas": ({"y": np.zeros((T, N, 0))}, "y: expected at least one antenna, found shape"),
    "y of other pilots": ({"y": complex_normal(N, T, M)}, "y: expected shape (4, 3, M), found (3, 4, 2)"),
    "y with a batch": ({"y": complex_normal(1, T, N, M)}, "y: expected shape (4, 3, M), found (1, 4, 3, 2)"),
    "NaN": ({"y": NAN}, "y: expected finite numbers, found 12 NaN or infinite of 24"),
    "infinite": ({"y": np.full((T, N, M), np.inf)}, "y: expected finite numbers, found 24 NaN or infinite of 24"),
    "too large": ({"y": np.full((T, N, M), 1e200)}, "y: expected numbers that fit complex64, found larger ones"),
    "no noise": ({"noise_var": np.array(0.0)}, "noise_var: expected a finite number in (0, inf), found 0"),
    "negative noise": ({"noise_var": np.array(-1.0)}, "noise_var: expected a finite number in (0, inf), found -1"),
    "NaN noise": ({"noise_var": np.array(np.nan)}, "noise_var: expected a finite number in (0, inf), found nan"),
    "seven noises": ({"noise_var": np.ones((1, 7))}, "noise_var: expected a number, or shape (2,), (3,), (3, 2)"),
    "complex noise": ({"noise_var": np.array(1j)}, "noise_var: expected a real number, found dtype complex128"),
    "rate 0": ({"activity_rate": np.array(0.0)}, "activity_rate: expected a finite number in (0, 1), found 0"),
    "rate 1": ({"activity_rate": np.array(1.0)}, "activity_rate: expected a finite number in (0, 1), found 1"),
    "few devices": ({"devices": np.array(3)}, "pilots: expected at most as many symbols as devices (T <= K)"),
    "no devices": ({"devices": np.array(0)}, "devices: expected 1 to 16777216, found 0"),
    "half a device": ({"devices": np.array(9.5)}, "devices: expected an integer, found float 9.5"),
    "row K": ({"pilot_rows": np.arange(T)[:, None] + [5, 6, 1]}, "pilot_rows: expected 0 to 8, found 1 to 9"),
    "row -1": ({"pilot_rows": np.arange(T)[:, None] - [1, 0, 0]}, "pilot_rows: expected 0 to 8, found -1 to 3"),
    "row twice": (
        {"pilot_rows": np.array([[0, 1, 2], [3, 4, 5], [6, 7, 2], [1, 2, 3]])},
        "pilot_rows: expected distinct rows on every subcarrier, found a repeated row on subcarrier 2",
    ),
    "row of half": ({"pilot_rows": np.full((T, N), 0.5)}, "pilot_rows: expected integers, found dtype float64"),
    "rows of another rank": (
        {"pilot_rows": np.zeros((T, N, 2), int)},
        "pilot_rows: expected shape (T, N), found (4, 3, 2)",
    ),
    "both pilots": ({"pilots": complex_normal(T, N, K)}, "pilots: expected either pilots or pilot_rows, found both"),
    "no power": ({"pilot_power": np.array(0.0)}, "pilot_power: expected a finite number in (0, inf), found 0"),
    "device K": ({"true_active": np.array([2, K])}, "true_active: expected 0 to 8, found 2 to 9"),
    "device -1": ({"true_active": np.array([-1, 2])}, "true_active: expected 0 to 8, found -1 to 2"),
    "device twice": ({"true_active": np.array([2, 2])}, "true_active: expected distinct devices, found 2 repeated"),
    "device 1.5": ({"true_active": np.array([1.5, 2])}, "true_active: expected integers, found dtype float64"),
    "one channel more": (
        {"true_channels": complex_normal(3, N, M)},
        "true_channels: expected shape (2, 3, 2), found (3, 3, 2)",
    ),
    "NaN channel": ({"true_channels": NAN[:2]}, "true_channels: expected finite numbers, found 6 NaN"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_values(write, case):
    change, message = BAD[case]
    assert message in message_of(write({**good(), **change}))


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("y", "y: expected this key, found only activity_rate, devices, noise_var, pilot_rows"),
        ("devices", "pilots: expected the key pilots, or pilot_rows and devices, found only"),
        ("pilot_rows", "pilots: expected the key pilots, or pilot_rows and devices, found only"),
        ("true_active", "true_channels: expected true_active beside them, found none"),
    ],
)
def test_missing_key(write, key, message):
    values = good()
    del values[key]
    assert message in message_of(write(values))


def test_noise_in_other_forms_or_unknown(write, tmp_path):
    """Variances of antennas come back as they were, from a MATLAB row too; without the key they are unknown."""
    values = good()
    del values["noise_var"]
    assert load_capture(write(values)).noise_var is None
    capture = load_capture(write(values | {"noise_var": np.array([1.0, 2.0])}))
    assert np.array_equal(np.ravel(capture.noise_var), [1, 2])
    save_capture(tmp_path / "again.npz", capture)
    assert np.array_equal(load_capture(tmp_path / "again.npz").noise_var, capture.noise_var)


def test_no_key_at_all(write):
    assert "y: expected this key, found only none of a capture's keys" in message_of(write({"x": np.ones(3)}))


def test_more_symbols_than_devices(write):
    values = {"y": complex_normal(T, N, M), "pilots": complex_normal(T, N, 3), "noise_var": np.array(0.1)}
    assert "(T <= K), found T=4, K=3" in message_of(write(values))


# --- in memory, and writing ---


def test_capture_checks_its_arguments():
    y, pilots = complex_normal(T, N, M), dft_pilots(K, T, N)
    with pytest.raises(TypeError, match=r"pilots: expected jadce_fast[.]Pilots, found ndarray"):
        Capture(y, complex_normal(T, N, K), 0.1)
    with pytest.raises(TypeError, match="y: expected complex64, found dtype object"):
        Capture(y.astype(object), pilots, 0.1)
    with pytest.raises(TypeError, match="noise_var: expected a real number, found str"):
        Capture(y, pilots, "loud")


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "capture.npz"
    capture = Capture(complex_normal(T, N, M), dft_pilots(K, T, N), 0.1)
    save_capture(path, capture)
    before = path.read_bytes()

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr("jadce_fast.capture.os.replace", fail)
    with pytest.raises(OSError, match="disk full"):
        save_capture(path, Capture(2 * capture.y, capture.pilots, 0.1))
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_compressed_array_takes_no_more_memory_than_it_says(tmp_path):
    """Sixty-four megabytes of zeros behind the header of an element of eight bytes."""
    header = np.zeros(116, np.uint8).tobytes() + b"\0\0\0\0\0\0\0\0" + b"\0\1IM"
    inner = np.array([14, 8], "<u4").tobytes() + bytes(1 << 26)
    packed = zlib.compress(inner)
    path = tmp_path / "bomb.mat"
    path.write_bytes(header + np.array([15, len(packed)], "<u4").tobytes() + packed)
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="y: expected this key"):
            load_capture(path)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()
