"""The emulator of CUDA kernels: what it stands in for works, and what it must find is found."""

import numpy as np
import pytest

emulated = pytest.importorskip("jadce_fast._emulated", reason="needs a build with JADCE_EMULATOR=ON")


@pytest.fixture(params=[False, True], ids=["rising", "falling"], autouse=True)
def order(request):
    emulated.set_reversed(request.param)
    yield
    emulated.set_reversed(False)


@pytest.mark.parametrize(("count", "threads"), [(1, 1), (100, 128), (1024, 1024), (31, 32)])
def test_barriers(count, threads):
    x = np.random.default_rng(0).integers(-9, 9, count).astype(np.float32)
    out = np.full(1, np.nan, np.float32)
    emulated.check_tree_sum(x=x.ctypes.data, count=count, threads=threads, out=out.ctypes.data, stream=0)
    assert out[0] == x.sum()


@pytest.mark.parametrize("threads", [32, 96])
def test_warp_operations(threads):
    out = np.full((9, threads), 777, np.uint32)
    emulated.check_warp_operations(threads=threads, out=out.ctypes.data, stream=0)
    thread = np.arange(threads)
    lane, warp = thread % 32, thread - thread % 32
    assert np.array_equal(out[0], warp + 3)
    assert np.array_equal(out[1], np.where(lane < 2, thread, thread - 2))
    assert np.array_equal(out[2], np.where(lane >= 30, thread, thread + 2))
    assert np.array_equal(out[3], thread ^ 5)
    assert np.array_equal(out[4], thread ^ 5)  # within segments of eight
    ballot = [sum(1 << i for i in range(32) if (w + i) % 3 == 0) for w in warp]
    assert np.array_equal(out[5], ballot)
    sums = thread.reshape(-1, 32).sum(1)
    assert np.array_equal(out[6], sums[thread // 32])
    assert np.array_equal(out[7], warp + 31)
    low = thread.reshape(-1, 32)[:, :16].sum(1)[thread // 32]
    assert np.array_equal(out[8], np.where(lane < 16, low, warp + 31))


def misuse(kind, out, *, threads=64, shared=256):
    emulated.check_misuse(kind=kind, threads=threads, shared=shared, out=out.ctypes.data, stream=0)


def test_atomics():
    x = np.random.default_rng(1).integers(0, 10, 1000).astype(np.int32)
    bins = np.zeros(10, np.int32)
    emulated.check_count_values(x=x.ctypes.data, count=len(x), bins=bins.ctypes.data, stream=0)
    assert np.array_equal(bins, np.bincount(x, minlength=10))


@pytest.mark.parametrize("wait", [True, False], ids=["waits", "does not wait"])
def test_matrix_product_of_copies(wait):
    """Small integers: exact in bfloat16, and so are their sums."""
    rng = np.random.default_rng(2)
    x, w = (rng.integers(-9, 9, (16, 16)).astype(np.float32) for _ in range(2))
    pairs = (x.view(np.uint32) >> 16).astype(np.uint16)
    packed = emulated.pack_dense_tensor(w, np.zeros(16, np.float32))[16:].copy()
    out = np.zeros((16, 16), np.float32)
    emulated.check_matrix_product(x=pairs.ctypes.data, w=packed.ctypes.data, wait=wait, out=out.ctypes.data, stream=0)
    assert np.array_equal(out, x @ w.T) if wait else np.isnan(out).all()


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (0, r"misuse: divergent barrier: 1 of 64 threads left before checks.cu:\d+"),
        (1, r"misuse: divergent barrier: threads wait at checks.cu:\d+ and checks.cu:\d+"),
        (2, r"misuse: divergent warp operation: lane \d waits at checks.cu:\d+"),
        (3, "misuse: write beyond the shared memory of 256 bytes"),
        (6, r"misuse: threads did not wait for the kernel before: expected after_previous\(\) in every thread"),
    ],
)
def test_misuse_is_an_error(kind, message):
    out = np.zeros(64, np.float32)
    for _ in range(2):  # also after an error
        with pytest.raises(RuntimeError, match=message):
            misuse(kind, out, threads=64, shared=256)


def test_shared_memory_starts_as_nan():
    out = np.zeros(64, np.float32)
    misuse(4, out, threads=64, shared=256)
    assert np.isnan(out).all()


def test_order_of_threads_shows_a_missing_barrier():
    """Rising order reads before the neighbour has written, except at the last thread."""
    out, found = np.zeros(64, np.float32), []
    for falling in (False, True):
        emulated.set_reversed(falling)
        misuse(5, out, threads=64, shared=256)
        found.append(out.copy())
    assert np.isnan(found[0][:-1]).all()
    assert not np.array_equal(found[0], found[1], equal_nan=True)


def test_sizes_beyond_a_device():
    out = np.zeros(1, np.float32)
    with pytest.raises(RuntimeError, match="misuse: expected 1 to 1024 threads in a block, found 1025"):
        misuse(4, out, threads=1025, shared=0)
    with pytest.raises(RuntimeError, match="misuse: invalid argument"):
        misuse(4, out, threads=1, shared=227 * 1024 + 4)
