"""The CUDA kernels that begin and end a detection, and the graph that loops."""

import numpy as np
import pytest
from kernels import EPS, Fields, Out, control, error, poison, read_word, run, sizes
from problems import complex_normal

from jadce_fast import reference

SHAPES = [(8, 12, 8), (1, 13, 5), (9, 10, 1), (7, 1, 33), (2, 40, 70)]  # N, T, M


def given(backend, y, noise_var, blocks):
    """Input of the kernels; a block beyond `blocks` is not read."""
    tensor = backend.put(y)
    where = backend.put(np.zeros(backend.native.input_words, np.int64))
    run(backend, "set_input", y=tensor, noise_var=noise_var, blocks=blocks, deadline=np.inf, input=where)
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
    found = run(
        backend,
        "beamspace",
        input=where,
        dft=dft,
        rotation=rotation,
        sizes=sizes(subcarriers=n, symbols=t, antennas=m, batch=3),
        y=Out((3, t, n, m), np.complex64),
        scratch=Out((3, t, n, m), np.complex64),
        power=Out((3, n), np.float64),
    )
    exact = y.astype(complex)
    if rotated:
        exact = np.einsum("nst,itnm->isnm", rotation, exact)
    if beams:
        exact = reference.beamspace(exact)
    # Both sums have unitary weights: each adds a rounding error of about one.
    assert error(found.y[:2], exact) <= 8 * EPS
    np.testing.assert_allclose(found.power[:2], (abs(y.astype(complex)) ** 2).sum((1, 3)), rtol=8 * EPS)
    assert np.isnan(found.y[2]).all()


def begin(backend, y, noise_var, known, expected, batch, blocks):
    _, t, n, m = y.shape
    where, _keep = given(backend, y, noise_var, blocks)
    power = (abs(y.astype(complex)) ** 2).sum((1, 3))
    words = backend.put(np.full((batch, backend.native.control_dtype.itemsize // 4), poison(np.int32), np.int32))
    k, p, slots = 90, 3, 5
    found = run(
        backend,
        "begin",
        input=where,
        power=np.resize(power, (batch, n)),
        rules=backend.native.Rules(),
        known=known,
        expected=expected,
        sizes=sizes(devices=k, subcarriers=n, symbols=t, antennas=m, coefficients=p, batch=batch),
        slots=slots,
        members=1,
        control=words,
        slot=Out((batch, k), np.int32),
        support=Out((batch, slots), np.int32),
        s=Out((batch, slots, p, m), np.complex64),
        r_pri=Out((batch, t, n, m), np.complex64),
        idle=Out((batch, k), np.uint8),
        activity=Out((batch, k)),
        remaining=Out(1, np.int32),
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
    words, found = begin(backend, y, noise_var, known, 7.0, 3, 2)
    received = (abs(y.astype(complex)) ** 2).mean((1, 2, 3))
    mean = np.maximum((received - noise_var) / 7, 0.1 * noise_var / 6) if known == 0 else np.full(2, known)
    for name, expected in (("power", mean), ("scale", mean**-0.5), ("received", received / mean)):
        np.testing.assert_allclose(read_word(backend, words, name)[:2], expected, rtol=8 * EPS)
    np.testing.assert_allclose(read_word(backend, words, "noise")[:2], noise_var / mean, rtol=8 * EPS)
    assert np.isinf(read_word(backend, words, "best")[:2]).all()
    assert read_word(backend, words, "going").tolist() == [1, 1, 0]
    assert read_word(backend, words, "candidates")[:2].tolist() == [-1, -1]
    assert read_word(backend, words, "kept").tolist() == [0, 0, 0]
    assert found.remaining.tolist() == [2]
    assert np.all(found.slot == -1)
    assert np.all(found.support == -1)
    for zero in (found.s, found.r_pri, found.idle, found.activity):
        assert np.all(zero == 0)


def test_begin_with_less_power_than_noise(backend):
    y = np.full((1, 10, 2, 2), 0.01, np.complex64)
    words, _ = begin(backend, y, 1.0, 0.0, 7.0, 1, 1)
    assert read_word(backend, words, "power")[0] == pytest.approx(0.1 / 10, rel=1e-6)
    words, _ = begin(backend, np.full_like(y, np.nan), 1.0, 0.0, 7.0, 1, 1)
    assert np.isnan(read_word(backend, words, "received")[0])


@pytest.mark.parametrize("kept", [0, 1, 5, 700])
def test_decide(backend, kept):
    rng = np.random.default_rng(2)
    capacity = max(kept, 1) + 3
    device = np.sort(rng.permutation(5000)[: 2 * capacity].reshape(2, capacity)).astype(np.int32)
    posterior = rng.uniform(0, 1, (2, capacity)).astype(np.float32)
    posterior[:, 0] = 0.5  # counts as active
    var = rng.uniform(0, 1, (2, capacity)).astype(np.float32)
    odds = rng.uniform(-30, 30, (2, 5000))
    state = dict(awaited=[50.0, 2.0], expected=[30.0, 3.0], faint=[4, 4], faintest=[0.3, 0.3])
    words = backend.put(control(backend, kept=[kept, 0], **state))
    found = run(
        backend,
        "decide",
        control=words,
        kept=Fields("KeptOutput", device=device, posterior=posterior, var=var, mean=0),
        rules=backend.native.Rules(),
        capacity=capacity,
        devices=5000,
        batch=2,
        activity=reference.sigmoid(odds).astype(np.float32),
        device=Out((2, capacity), np.int32),
        index=Out((2, capacity), np.int32),
    )
    active = np.flatnonzero(posterior[0, :kept] >= 0.5)
    assert read_word(backend, words, "decided").tolist() == [len(active), 0]
    np.testing.assert_allclose(read_word(backend, words, "fitted"), [var[0, active].sum(), 0], rtol=16 * EPS)
    assert np.array_equal(found.index[0, : len(active)], active)
    assert np.array_equal(found.device[0, :kept], np.where(posterior[0, :kept] >= 0.5, device[0, :kept], -1))
    # Three for each of the four who were barely seen. Probabilities near one are rounded, their complements badly.
    spread = 12 / ((1 - reference.sigmoid(odds[0])) @ (np.exp(0.5 * np.minimum(odds[0], 0)) + 0.005))
    np.testing.assert_allclose(read_word(backend, words, "unseen"), [spread, 0], rtol=1e-5)


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
    noise, fitted = (received / np.float32(1.1)).astype(np.float32), np.full(3, 0.1, np.float32)
    state = dict(converged=[1, 1, 1], kept_left_out=[0, 0, 0], stopped=[1, 1, 1])
    state |= dict(unseen=[0.2] * 3, faintest=[0.3] * 3, colored=[0] * 3, deviation=[0.0] * 3)
    words = control(backend, decided=[decided] * 3, received=received, scale=scale, noise=noise, fitted=fitted, **state)
    words = backend.put(words)
    found = run(
        backend,
        "finish",
        control=words,
        power=power,
        kept=Fields("KeptOutput", device=device, posterior=0, var=var, mean=mean),
        index=index,
        basis=None if identity else basis,
        dft=dft,
        gain=gain,
        sizes=sizes(devices=k, subcarriers=n, symbols=t, antennas=m, coefficients=p, batch=3),
        capacity=capacity,
        active=Out((3, capacity), np.int64),
        channels=Out((3, capacity, n, m), np.complex64),
        channel_var=Out((3, capacity)),
        activity=Out((3, k), np.float32, activity),
    )
    chosen = index[0, :decided]
    who = device[0, chosen]
    assert found.active[0].tolist() == [*who, *[-1] * (capacity - decided)]
    exact = np.einsum("np,apm->anm", basis, mean[0, chosen].astype(complex))
    exact = (reference.beamspace(exact, inverse=True) if beams else exact) / (0.5 * gain[who])[:, None, None]
    assert error(found.channels[0, :decided], exact) <= 8 * EPS
    np.testing.assert_allclose(found.channel_var[0, :decided], var[0, chosen] / (0.5 * gain[who]) ** 2, rtol=8 * EPS)
    assert np.all(found.channels[0, decided:] == 0)
    p_own = activity[0].astype(float)
    unseen = 0.2 * (0.005 + np.sqrt(np.minimum(p_own / (1 - p_own), 1)))
    most = np.where(p_own < 0.5, np.maximum(p_own, 0.499), 1)  # nobody is declared active by it
    np.testing.assert_allclose(found.activity[0], np.minimum(p_own + (1 - p_own) * unseen, most), rtol=16 * EPS)
    assert np.all(found.active[1:] == -1)
    assert np.all(found.channels[1:] == 0)
    assert np.all(found.activity[1:] == 0)
    assert read_word(backend, words, "found").tolist() == [decided, 0, 0]
    assert read_word(backend, words, "converged").tolist() == [1, 0, 0]
    assert read_word(backend, words, "stopped").tolist() == [1, 3, 3]
    assert read_word(backend, words, "trusted").tolist() == [1, 0, 0]
    taken, errors = decided * p / (n * t), 0.1 / noise[0]
    least, most = 0.8 * max(1 - taken, 0), 1.2 + 3e-4 * 0.1  # and what the basis leaves out of the excess
    if taken < 0.85:  # at a fixed point noise^2 / (noise + errors), with noise told up to three per cent
        least, most = 0.77**2 / (0.77 + errors), (most + 0.03) ** 2 / (most + 0.03 + errors)
    else:
        most += errors * max(taken, 1)  # slow loops, if there are more unknowns than measurements
    np.testing.assert_allclose(read_word(backend, words, "most")[0], most, rtol=1e-5)
    np.testing.assert_allclose(read_word(backend, words, "least")[0], least, rtol=1e-5)
    residual = read_word(backend, words, "residual")
    assert residual[0] == pytest.approx(received[0] / 1.1, rel=1e-5)
    assert residual[1] == received[1]


@pytest.mark.parametrize("overlapping", [True, False])
def test_graph_loops_until_all_blocks_have_ended(backend, overlapping):
    """A recorded select_candidates() counts a block's iterations until module_a() would say that this was the last."""
    k, capacity = 20, 4
    llr = np.full((2, k), -20, np.float32)
    words = backend.put(control(backend, going=[1, 1], run=[1, 1], test=[1, 1], last=[0, 0], iteration=[0, 0]))
    measured = dict(power=np.full((2, 1, 1), 1e-3, np.float32), gram=np.ones((1, 1), np.float32))
    measured |= {name: np.ones((2, 1), np.complex64) for name in ("r_pri", "r", "r_b")}
    measured |= {name: np.zeros((2, 1), np.float32) for name in ("v_a", "eta", "v_b")}
    measured["history"] = np.zeros((2, 9, 2), np.float32)
    tested = dict(llr=llr, posterior=0 * llr, chosen=np.zeros((2, capacity), np.float32))
    tested |= {name: np.zeros((2, size), np.int32) for name, size in (("device", capacity), ("free", 4), ("place", 4))}
    tested |= {name: np.full((2, size), -1, np.int32) for name, size in (("slot", k), ("support", 4))}
    tested |= dict(idle=np.zeros((2, k), np.uint8), remaining=np.array([2], np.int32))
    tensors = {name: backend.put(x) for name, x in (measured | tested).items()}
    at = {name: tensor.data_ptr() for name, tensor in tensors.items()}
    native = backend.native
    graph = native.Graph(overlapping=overlapping)
    graph.begin()
    stream, loop = graph.open_loop()
    # The error never falls, so that the second iteration is the last.
    rules = native.Rules(max_iterations=9)
    native.module_a(
        control=words.data_ptr(),
        mean_gram=1.0,
        uniform=True,
        rules=rules,
        sizes=native.Sizes(devices=k, subcarriers=1, symbols=1, antennas=1, coefficients=1, batch=2),
        stream=stream,
        **{name: at[name] for name in measured},
    )
    native.select_candidates(
        control=words.data_ptr(),
        rules=rules,
        devices=k,
        capacity=capacity,
        slots=4,
        batch=2,
        loop=loop,
        stream=stream,
        **{name: at[name] for name in tested},
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
        tensors["remaining"].fill_(2)
        graph.launch(stream=0)
        assert read_word(backend, words, "going").tolist() == [0, 0]
        assert read_word(backend, words, "iteration").tolist() == [2, 2]
        assert tensors["remaining"].tolist() == [0]
