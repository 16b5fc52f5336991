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


def rounds(kind, *, blocks=4, threads=40, cluster=4, together=False, rounds=5):
    """Sums over blocks by those that run at the same time, and what a right kernel makes of them."""
    x = np.random.default_rng(3).integers(-9, 9, (blocks, threads)).astype(np.float32)
    told, out = np.full((rounds, blocks), np.nan, np.float32), np.full(blocks, np.nan, np.float32)
    emulated.check_rounds(
        x=x.ctypes.data,
        kind=kind,
        blocks=blocks,
        threads=threads,
        cluster=cluster,
        rounds=rounds,
        together=together,
        told=told.ctypes.data if together else 0,
        out=out.ctypes.data,
        stream=0,
    )
    team = blocks if together else cluster
    sums = x.sum(1).reshape(-1, team).sum(1, keepdims=True) / threads
    return out, np.broadcast_to(sums * float(team) ** (rounds - 1), (blocks // team, team)).ravel()


@pytest.mark.parametrize(("blocks", "cluster"), [(4, 4), (8, 8), (6, 2), (3, 1)])
def test_clusters(blocks, cluster):
    found, expected = rounds(0, blocks=blocks, cluster=cluster)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize("blocks", [1, 5, 64])
def test_cooperative_grids(blocks):
    found, expected = rounds(0, blocks=blocks, cluster=1, together=True)
    np.testing.assert_allclose(found, expected, rtol=1e-4)


@pytest.mark.parametrize("together", [False, True], ids=["cluster", "grid"])
def test_a_missing_barrier_of_blocks_changes_the_result(together):
    found, _ = rounds(1, cluster=1 if together else 4, together=together)
    assert np.isnan(found).any()


def test_an_exchange_that_is_overwritten_too_early_changes_the_result():
    found, expected = rounds(2)
    assert not np.allclose(found, expected, rtol=1e-3)


@pytest.mark.parametrize(
    ("kind", "together", "message"),
    [
        (3, False, r"rounds: divergent barrier of blocks: 4 of 160 threads left before checks.cu:\d+"),
        (3, True, r"rounds: divergent barrier of blocks: 40 of 160 threads left before checks.cu:\d+"),
        (4, False, "rounds: write to the shared memory of a thread block that has ended"),
        (5, False, r"rounds: barrier of blocks: arrived twice without a wait, at checks.cu:\d+"),
        (6, False, "rounds: barrier of blocks: waits without having arrived"),
    ],
)
def test_misused_barriers_of_blocks(kind, together, message):
    with pytest.raises(RuntimeError, match=message):
        rounds(kind, cluster=1 if together else 4, together=together)
    found, expected = rounds(0)  # also after an error
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_launches_that_no_device_takes():
    with pytest.raises(RuntimeError, match="rounds: expected clusters of at most 8 blocks that divide the grid's 6"):
        rounds(0, blocks=6, cluster=4)
    with pytest.raises(RuntimeError, match="rounds: expected a cooperative launch of at most 64 blocks"):
        rounds(0, blocks=65, cluster=1, together=True)


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
