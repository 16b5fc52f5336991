"""The CUDA kernels that begin and end a detection, and the graph that loops."""

import numpy as np
import pytest
from kernels import EPS, Out, control, error, poison, read_word, run
from problems import complex_normal

from jadce_fast import reference

SHAPES = [(8, 12, 8), (1, 13, 5), (9, 10, 1), (7, 1, 33), (2, 40, 70)]  # N, T, M


def given(backend, y, noise_var, blocks):
    """Input of the kernels; a block beyond `blocks` is not read."""
    tensor = backend.put(y)
    where = backend.put(np.zeros(2, np.int64))
    run(backend, "cuda_set_input", tensor, noise_var, blocks, where)
    return where, tensor


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("beams", [True, False])
@pytest.mark.parametrize("rotated", [True, False])
def test_beamspace(backend, shape, beams, rotated):
    n, t, m = shape
    rng = np.random.default_rng(0)
    y = complex_normal(rng, 2, t, n, m).astype(np.complex64)
    where, _keep = given(backend, y, 0.1, 2)
    dft = (np.exp(-2j * np.pi * np.arange(m) / m) / np.sqrt(m)).astype(np.complex64) if beams else None
    rotation = np.linalg.qr(complex_normal(rng, n, t, t))[0].astype(np.complex64) if rotated else None
    out, _, power = run(
        backend,
        *("cuda_beamspace", where, dft, rotation, n, t, m, 3, Out((3, t, n, m), np.complex64)),
        *(Out((3, t, n, m), np.complex64), Out((3, n), np.float64)),
    )
    exact = y.astype(complex)
    if rotated:
        exact = np.einsum("nst,itnm->isnm", rotation, exact)
    if beams:
        exact = reference.beamspace(exact)
    # Both sums have unitary weights: each adds a rounding error of about one.
    assert error(out[:2], exact) <= 8 * EPS
    np.testing.assert_allclose(power[:2], (abs(y.astype(complex)) ** 2).sum((1, 3)), rtol=8 * EPS)
    assert np.isnan(out[2]).all()


def begin(backend, y, noise_var, known, expected, batch, blocks):
    _, t, n, m = y.shape
    where, _keep = given(backend, y, noise_var, blocks)
    power = (abs(y.astype(complex)) ** 2).sum((1, 3))
    fields = np.full((batch, backend.native.control_words), poison(np.int32), np.int32)
    words = backend.put(fields)
    k, p, slots = 90, 3, 5
    found = run(
        backend,
        *(
            "cuda_begin",
            where,
            np.resize(power, (batch, n)),
            backend.native.Rules(),
            known,
            expected,
            k,
            n,
            t,
            m,
            p,
            slots,
            batch,
            words,
        ),
        *(Out((batch, k), np.int32), Out((batch, slots), np.int32), Out((batch, slots, p, m), np.complex64)),
        *(Out((batch, t, n, m), np.complex64), Out((batch, k), np.uint8), Out((batch, k)), Out(1, np.int32)),
    )
    return words, found


@pytest.mark.parametrize("amplitude", [1e-14, 1.0, 1e14])
@pytest.mark.parametrize("known", [0.0, 2.5])
def test_begin(backend, amplitude, known):
    """Clears the state and scales the block to unit mean power of an active device, whatever the units."""
    rng = np.random.default_rng(1)
    y = (amplitude * complex_normal(rng, 2, 6, 4, 5)).astype(np.complex64)
    known *= amplitude**2
    noise_var = 0.1 * amplitude**2
    words, (slot, support, s, big, quiet, activity, remaining) = begin(backend, y, noise_var, known, 7.0, 3, 2)
    received = (abs(y.astype(complex)) ** 2).mean((1, 2, 3))
    mean = np.maximum((received - noise_var) / 7, 0.1 * noise_var / 6) if known == 0 else np.full(2, known)
    for name, expected in (("power", mean), ("scale", mean**-0.5), ("received", received / mean)):
        np.testing.assert_allclose(read_word(backend, words, name, real=True)[:2], expected, rtol=8 * EPS)
    np.testing.assert_allclose(read_word(backend, words, "noise", real=True)[:2], noise_var / mean, rtol=8 * EPS)
    assert np.isinf(read_word(backend, words, "best", real=True)[:2]).all()
    assert read_word(backend, words, "going").tolist() == [1, 1, 0]
    assert read_word(backend, words, "candidates")[:2].tolist() == [-1, -1]
    assert read_word(backend, words, "kept").tolist() == [0, 0, 0]
    assert remaining.tolist() == [2]
    assert np.all(slot == -1)
    assert np.all(support == -1)
    for zero in (s, big, quiet, activity):
        assert np.all(zero == 0)


def test_begin_with_less_power_than_noise(backend):
    y = np.full((1, 10, 2, 2), 0.01, np.complex64)
    words, _ = begin(backend, y, 1.0, 0.0, 7.0, 1, 1)
    assert read_word(backend, words, "power", real=True)[0] == pytest.approx(0.1 / 10, rel=1e-6)
    words, _ = begin(backend, np.full_like(y, np.nan), 1.0, 0.0, 7.0, 1, 1)
    assert np.isnan(read_word(backend, words, "received", real=True)[0])


@pytest.mark.parametrize("kept", [0, 1, 5, 700])
def test_decide(backend, kept):
    rng = np.random.default_rng(2)
    capacity = max(kept, 1) + 3
    device = np.sort(rng.permutation(5000)[: 2 * capacity].reshape(2, capacity)).astype(np.int32)
    posterior = rng.uniform(0, 1, (2, capacity)).astype(np.float32)
    posterior[:, 0] = 0.5  # counts as active
    words = backend.put(control(backend, kept=[kept, 0]))
    found, index = run(
        backend,
        *("cuda_decide", words, device, posterior, backend.native.Rules(), capacity, 2),
        *(Out((2, capacity), np.int32), Out((2, capacity), np.int32)),
    )
    active = np.flatnonzero(posterior[0, :kept] >= 0.5)
    assert read_word(backend, words, "decided").tolist() == [len(active), 0]
    assert np.array_equal(index[0, : len(active)], active)
    assert np.array_equal(found[0, :kept], np.where(posterior[0, :kept] >= 0.5, device[0, :kept], -1))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("beams", [True, False])
@pytest.mark.parametrize("identity", [True, False])
def test_finish(backend, shape, beams, identity):
    """Channels in the units of the block; nobody is active where silence explains the block better."""
    n, t, m = shape
    rng = np.random.default_rng(3)
    k, p, capacity, decided = 40, n if identity else min(n, 6), 9, 4
    basis = np.eye(n) if identity else np.linalg.qr(complex_normal(rng, n, n))[0][:, :p].astype(np.complex64)
    dft = (np.exp(-2j * np.pi * np.arange(m) / m) / np.sqrt(m)).astype(np.complex64) if beams else None
    mean = complex_normal(rng, 3, capacity, p, m).astype(np.complex64)
    var = rng.uniform(0, 1, (3, capacity)).astype(np.float32)
    device = np.sort(rng.permutation(k)[: 3 * capacity].reshape(3, capacity)).astype(np.int32)
    index = np.tile(np.array([0, 2, 3, 7, 8, 8, 8, 8, 8], np.int32), (3, 1))
    gain = rng.uniform(0.5, 2, k).astype(np.float32)
    activity = rng.uniform(size=(3, k)).astype(np.float32)
    power = rng.uniform(0, 2 * t, (3, n, m)).astype(np.float32)
    received = (power.sum((1, 2), dtype=float) / (n * t * m) * [1.1, 0.9, 1.1]).astype(np.float32)
    received[2] = np.nan
    scale = np.array([0.5, 0.5, 0.5], np.float32)
    words = backend.put(control(backend, decided=[decided] * 3, received=received, scale=scale, converged=[1, 1, 1]))
    active, channels, channel_var, found = run(
        backend,
        *("cuda_finish", words, power, device, var, mean, index, None if identity else basis, dft, gain, capacity),
        *(k, n, t, m, p, 3),
        *(Out((3, capacity), np.int64), Out((3, capacity, n, m), np.complex64), Out((3, capacity))),
        Out((3, k), np.float32, activity),
    )
    chosen = index[0, :decided]
    who = device[0, chosen]
    assert active[0].tolist() == [*who, *[-1] * (capacity - decided)]
    exact = np.einsum("np,apm->anm", basis, mean[0, chosen].astype(complex))
    exact = (reference.beamspace(exact, inverse=True) if beams else exact) / (0.5 * gain[who])[:, None, None]
    assert error(channels[0, :decided], exact) <= 8 * EPS
    np.testing.assert_allclose(channel_var[0, :decided], var[0, chosen] / (0.5 * gain[who]) ** 2, rtol=8 * EPS)
    assert np.all(channels[0, decided:] == 0)
    assert np.array_equal(found[0], activity[0])
    assert np.all(active[1:] == -1)
    assert np.all(channels[1:] == 0)
    assert np.all(found[1:] == 0)
    assert read_word(backend, words, "found").tolist() == [decided, 0, 0]
    assert read_word(backend, words, "converged").tolist() == [1, 0, 0]
    residual = read_word(backend, words, "residual", real=True)
    assert residual[0] == pytest.approx(received[0] / 1.1, rel=1e-5)
    assert residual[1] == received[1]


@pytest.mark.parametrize("overlapping", [True, False])
def test_graph_loops_until_all_blocks_have_ended(backend, overlapping):
    """A recorded select_candidates() counts a block's iterations until observe() would say that this was the last."""
    k, capacity = 20, 4
    llr = np.full((2, k), -20, np.float32)
    words = backend.put(control(backend, going=[1, 1], run=[1, 1], screen=[1, 1], last=[0, 0], iteration=[0, 0]))
    power, gram, r = np.full((2, 1, 1), 1e-3, np.float32), np.ones((1, 1), np.float32), np.ones((2, 1), np.complex64)
    tensors = [
        backend.put(x)
        for x in (
            *(power, gram, 0 * r, r, np.zeros((2, 1), np.float32), np.zeros((2, 1), np.float32)),
            *(
                np.zeros((2, 1), np.float32),
                r,
                np.zeros((2, 9, 2), np.float32),
                llr,
                0 * llr,
                np.zeros((2, k), np.uint8),
            ),
            *(np.zeros((2, capacity), np.int32), np.zeros((2, capacity), np.float32), np.zeros((2, 4), np.int32)),
            *(np.full((2, k), -1, np.int32), np.full((2, 4), -1, np.int32), np.zeros((2, 4), np.int32)),
            np.array([2], np.int32),
        )
    ]
    power, gram, big, r, v_a, eta, v_b, seen, history, *rest = (tensor.data_ptr() for tensor in tensors)
    llr, posterior, quiet, device, chosen, free, slot, support, place, remaining = rest
    at = words.data_ptr()
    graph = backend.native.Graph(overlapping)
    graph.begin()
    stream, loop = graph.open_loop()
    # The error never falls, so that the second iteration is the last.
    rules = backend.native.Rules(max_iterations=9)
    backend.native.cuda_observe(
        *(at, power, gram, big, r, 1.0, 1, rules, k, 1, 1, 1, 2, v_a, eta, v_b, seen, history),
        stream,
    )
    backend.native.cuda_select_candidates(
        *(at, llr, posterior, quiet, rules, k, capacity, 4, 2, device, chosen, free, slot, support, place, remaining),
        *(loop, stream),
    )
    graph.close_loop()
    graph.end()
    start = control(
        backend,
        **dict(going=[1, 1], iteration=[0, 0], settled=[0, 0], candidates=[-1, -1], noise=[0.1, 0.1]),
        **dict(received=[1.0, 1.0], best=[np.inf, np.inf], previous=[np.inf, np.nan]),
    )
    for _ in range(2):  # a graph may be launched again
        words.copy_(backend.put(start))
        tensors[-1].fill_(2)
        graph.launch(0)
        assert read_word(backend, words, "going").tolist() == [0, 0]
        assert read_word(backend, words, "iteration").tolist() == [2, 2]
        assert tensors[-1].tolist() == [0]
