"""The CUDA kernels of the messages between the modules, and all kernels in the receiver's order."""

import numpy as np
import pytest
from kernels import EPS, Out, by_row, denoise, error, mixture, run
from problems import SIZES, WienerPrior, complex_normal, problem

import jadce_fast as jf
from jadce_fast import _cuda, ops, reference
from jadce_fast.prior import Prior

SHAPES = [(8, 12, 8, 6, 7), (1, 13, 8, 1, 3), (9, 10, 1, 4, 1), (7, 3, 33, 5, 20)]  # N, T, M, P, candidates


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("uniform", [True, False])
@pytest.mark.parametrize("measure", [True, False])
def test_track_and_observe(backend, shape, uniform, measure):
    n, t, m, _, _ = shape
    rng = np.random.default_rng(0)
    k, noise, received = 64, 0.3, 5.0
    gram = np.full((n, t), 64.0, np.float32) if uniform else rng.uniform(1, 100, (n, t)).astype(np.float32)
    power = (t * rng.uniform(0, 9, (n, m))).astype(np.float32)
    power[:, 0] = 0.1 * t * noise  # less than the noise
    level = np.array([noise, received], np.float32)
    start = rng.uniform(0.01, 1, m).astype(np.float32)
    mean_gram = float(gram.mean())
    v_a, eta, v_b = run(
        backend,
        *("cuda_track", power, gram, level, mean_gram, int(uniform), int(measure), k, n, t, m),
        *(Out(m, start=start), Out(m), Out(m)),
    )
    floor = max(1e-3 * noise, 1e-6 * received) / mean_gram
    v = np.maximum((power.sum(0, dtype=float) / (n * t) - noise) / mean_gram, floor) if measure else start
    np.testing.assert_allclose(v_a, v, rtol=16 * EPS)  # the difference to the noise is at least a third of the power
    gain = v_a.astype(float)[:, None, None] * gram
    expected = (gain / (gain + noise)).sum((1, 2)) / (n * k)
    np.testing.assert_allclose(eta, expected, rtol=4 * EPS)
    expected = np.maximum(v_a * (1 / eta.astype(float) - 1), floor if measure else 1e-9 * floor)
    np.testing.assert_allclose(v_b, expected, rtol=1e-5)  # 1 / eta - 1 of a rounded eta of some tenths

    r, big = (complex_normal(rng, t, n, m).astype(np.complex64) for _ in range(2))
    for old in (big, None):
        seen, mean_v = run(
            backend,
            *("cuda_observe", old, r, gram, level, v_a, eta, v_b, n, t, m, Out((t, n, m), np.complex64), Out(1)),
        )
        weight = v_a / ((v_a * gram.T[:, :, None].astype(float) + noise) * eta)
        assert error(seen, weight * r + (0 if old is None else old)) <= 8 * EPS
        assert mean_v[0] == pytest.approx(v_b.astype(float).mean(), rel=float(2 * EPS))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("known", [True, False])
def test_normalise_and_gaussian(backend, shape, known):
    n, _, m, p, a = shape
    rng = np.random.default_rng(1)
    z = complex_normal(rng, a, p, m).astype(np.complex64) * rng.uniform(0, 3, (a, 1, 1)).astype(np.float32)
    v = rng.uniform(0.1, 0.4, m).astype(np.float32)
    used = max(1, a - 1)
    count, mean_v = np.array([used], np.int32), np.array([v.mean()], np.float32)
    found, power, noise = run(
        backend,
        *("cuda_normalise", v, mean_v, count, a, int(known), n, m, p),
        *(Out(z.shape, np.complex64, z), Out(a), Out((a, m))),
    )
    exact = np.ones(a) if known else reference.device_power(abs(z.astype(complex)) ** 2, v.astype(float), n)
    # The difference to the noise loses what the floor of a fiftieth of it allows.
    np.testing.assert_allclose(power[:used], exact[:used], rtol=200 * EPS)
    assert error(found[:used], z[:used] / np.sqrt(power[:used, None, None].astype(float))) <= 4 * EPS
    np.testing.assert_allclose(noise[:used], v / power[:used, None], rtol=2 * EPS)
    assert np.array_equal(found[used:], z[used:])
    assert np.isnan(power[used:]).all()

    mean, var = run(
        backend,
        *("cuda_gaussian", found, noise, count, a, n, m, p, Out(z.shape, np.complex64), Out((a, m))),
    )
    level = noise[:used].astype(float)
    assert error(mean[:used], found[:used] / (1 + level[:, None])) <= 4 * EPS
    np.testing.assert_allclose(var[:used], p / n * level / (1 + level), rtol=4 * EPS)
    assert np.isnan(mean[used:]).all()


@pytest.mark.parametrize("candidates", [0, 1, 7, 300])
@pytest.mark.parametrize("predicted", [True, False])
def test_extrinsic(backend, candidates, predicted):
    rng = np.random.default_rng(2)
    m, k, caution, gamma = 5, 900, 1.3, 0.7
    posterior, power = (rng.uniform(0, 1, max(candidates, 1)).astype(np.float32) for _ in range(2))
    var = rng.uniform(0, 1, (max(candidates, 1), m)).astype(np.float32)
    v = np.array([1.0, 0.1, 0.5, 1e-6, 3.0], np.float32)  # the fourth wants more than is allowed
    before = rng.uniform(size=m).astype(np.float32)
    a, b, v_a = run(
        backend,
        *("cuda_extrinsic", posterior, power, var, v, np.array([candidates], np.int32), caution, gamma),
        *(int(predicted), k, m, Out(m), Out(m), Out(m, start=before)),
    )
    total = np.einsum("a,a,ab->b", *(x[:candidates].astype(float) for x in (posterior, power, var)))
    alpha = np.clip(caution * total / (v.astype(float) * k), 1e-9, 0.95)
    # 1 - alpha is at least a twentieth, so a rounding of alpha counts twenty times.
    np.testing.assert_allclose(a, 1 / (1 - alpha), rtol=24 * EPS)
    np.testing.assert_allclose(b, alpha / (1 - alpha), rtol=24 * EPS)
    expected = gamma * v * b.astype(float) + (1 - gamma) * before if predicted else before
    np.testing.assert_allclose(v_a, expected, rtol=4 * EPS)


def test_assign_takes_the_first_free_slots(backend):
    slot, support = np.full(40, -1, np.int32), np.full(6, -1, np.int32)
    support[[0, 3]] = 7, 30
    slot[[7, 30]] = 0, 3
    device = np.array([2, 7, 9, 31, -1], np.int32)
    slot, support, place, counts = run(
        backend,
        *("cuda_assign", device, np.array([4], np.int32), 6, Out(40, np.int32, slot), Out(6, np.int32, support)),
        *(Out(6, np.int32), Out(2, np.int32)),
    )
    assert support.tolist() == [7, 2, 9, 30, 31, -1]
    assert place.tolist() == [1, 0, 2, -1, 3, -1]
    assert counts.tolist() == [5, 0]
    assert {k: int(slot[k]) for k in np.flatnonzero(slot >= 0)} == {2: 1, 7: 0, 9: 2, 30: 3, 31: 4}


def test_assign_without_space(backend):
    device = np.arange(0, 2000, 2, dtype=np.int32)
    slot, support, place, counts = run(
        backend,
        *("cuda_assign", device, np.array([1000], np.int32), 700, Out(2000, np.int32, np.full(2000, -1))),
        *(Out(700, np.int32, np.full(700, -1)), Out(700, np.int32), Out(2, np.int32)),
    )
    assert np.array_equal(support, device[:700])
    assert np.array_equal(place, np.arange(700))
    assert counts.tolist() == [700, 300]
    assert np.array_equal(np.flatnonzero(slot >= 0), device[:700])


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("prune", [True, False])
@pytest.mark.parametrize("gamma", [1.0, 0.7])
def test_combine_and_damp(backend, shape, prune, gamma):
    _, t, m, p, count = shape
    rng = np.random.default_rng(3)
    slots = count + 3
    mean = complex_normal(rng, count, p, m).astype(np.complex64)
    posterior, power = (rng.uniform(0.5, 1, count).astype(np.float32) for _ in range(2))
    a, b = rng.uniform(1, 2, m).astype(np.float32), rng.uniform(0, 0.4, m).astype(np.float32)
    support = np.concatenate([np.arange(count + 2), [-1]]).astype(np.int32)  # the last is free
    place = np.concatenate([np.arange(count), [-1, -1, -1]]).astype(np.int32)  # two are candidates no more
    s = complex_normal(rng, slots, p, m).astype(np.complex64)
    s[count + 1] *= 1e-4  # and one of them is negligible
    s[-1] = 0
    slot = np.arange(50, dtype=np.int32)
    mean_v = np.array([0.1], np.float32)
    found_slot, found_support, found = run(
        backend,
        *("cuda_combine", posterior, power, mean, a, b, mean_v, place, slots, gamma, int(prune), m, p),
        *(Out(50, np.int32, slot), Out(slots, np.int32, support), Out(s.shape, np.complex64, s)),
    )
    keep = 1 - gamma - gamma * b.astype(float)
    expected = keep * s
    weight = posterior * np.sqrt(power.astype(float))
    expected[:count] += gamma * a * weight[:, None, None] * mean
    expected[-1] = 0
    gone = [count + 1] if prune else []
    expected[gone] = 0
    assert error(found, expected) <= 8 * EPS
    assert np.array_equal(found_support, np.where(np.isin(np.arange(slots), gone), -1, support))
    assert np.array_equal(found_slot, np.where(np.isin(np.arange(50), gone), -1, slot))

    seen, big = (complex_normal(rng, t, m).astype(np.complex64) for _ in range(2))
    start = np.full_like(big, np.nan) if gamma == 1 else big
    found = run(backend, "cuda_damp", seen, b, gamma, t, m, Out(big.shape, np.complex64, start))
    old = 0 if gamma == 1 else (1 - gamma) * big.astype(complex)
    assert error(found, old - gamma * b * seen) <= 4 * EPS


def detect(backend, rx, p, iterations, powers):
    """The receiver's loop for partial-DFT pilots of unit power on the kernels."""
    plan, prior = rx._plan, rx.prior
    k, t, n = p.pilots.devices, p.pilots.symbols, p.pilots.subcarriers
    m, coefficients = p.y.shape[2], prior.basis.shape[1]
    capacity, slots = k, k
    mean = rx._mean_power(float(np.mean(abs(p.y.astype(complex)) ** 2)), p.noise_var)
    y = (ops.beamspace(plan, p.y) / np.sqrt(mean)).astype(np.complex64)
    level = np.array([p.noise_var / mean, np.mean(abs(y) ** 2)], np.float32)
    rows, twiddle = _cuda.pilot_tables(p.pilots)
    pilots, sizes = (rows, twiddle, None), (k, n, t, m, coefficients)
    product, index, eigenvalues = mixture(prior.beam_gain, prior.eigenvalues, powers)
    share = np.log(np.full(len(powers), 1 / len(powers))).astype(np.float32)
    quads, ones = -(-len(product) // 4), np.ones(coefficients, np.float32)
    s = backend.put(np.zeros((slots, coefficients, m), np.complex64))
    slot, support = backend.put(np.full(k, -1, np.int32)), backend.put(np.full(slots, -1, np.int32))
    quiet, quiet_count = np.zeros(k, np.uint8), np.zeros(1, np.int32)
    big, v_a, used = None, np.zeros(m, np.float32), np.zeros(1, np.int32)
    odds = float(np.log(rx.activity_rate / (1 - rx.activity_rate)))
    threshold = 0.02 if rx.screening else -1.0
    gram = plan.gram
    history = []
    for iteration in range(iterations):
        r, power = run(
            backend,
            *("cuda_residual", y, gram, big, *pilots, plan.basis, s, support, used, slots, *sizes),
            *(Out(y.shape, np.complex64), Out((n, m))),
        )
        v_a, eta, v_b = run(
            backend,
            *("cuda_track", power, gram, level, float(gram.mean()), 1, 1, k, n, t, m),
            *(Out(m, start=v_a), Out(m), Out(m)),
        )
        seen, mean_v = run(
            backend,
            *("cuda_observe", big, r, gram, level, v_a, eta, v_b, n, t, m, Out(y.shape, np.complex64), Out(1)),
        )
        energy = run(
            backend,
            *("cuda_spectral", seen, *by_row(p.pilots), 1.0, plan.basis, slot, s, *backend.native.fft_tables(k)),
            *(k, n, m, coefficients, 1, None, Out((coefficients, m, k))),
        )
        _, slope, offset = run(
            backend,
            *("cuda_activity_table", energy, quiet, quiet_count, v_b, ones, eigenvalues, product, k, m, coefficients),
            *(len(product), Out((coefficients, m)), Out((m, quads, coefficients, 4)), Out((m, quads, 4))),
        )
        llr, posterior, quiet = run(
            backend,
            *("cuda_activity", energy, slope, offset, prior.beam_weight, share, index, odds, k, m, coefficients),
            *(len(product), len(prior.beam_gain), len(powers), Out(k), Out(k), Out(k, np.uint8)),
        )
        device, chosen, counts = run(
            backend,
            *("cuda_select_candidates", llr, posterior, quiet, threshold, k, capacity),
            *(Out(capacity, np.int32), Out(capacity), Out(3, np.int32)),
        )
        count, quiet_count = counts[:1].copy(), counts[2:].copy()
        z = run(
            backend,
            *("cuda_gather", seen, *pilots, plan.basis, slot, s, device, count, capacity, *sizes),
            Out((capacity, coefficients, m), np.complex64),
        )
        z, power, noise = run(
            backend,
            *("cuda_normalise", v_b, mean_v, count, capacity, int(len(powers) == 1), n, m, coefficients),
            *(Out(z.shape, np.complex64, z), Out(capacity), Out((capacity, m))),
        )
        if isinstance(prior, Prior):
            h, var = (x[0] for x in denoise(backend, prior.network, z[None], noise[None], count))
        else:
            h, var = prior.denoise(z, noise, device)
            h, var = h.astype(z.dtype), var.astype(np.float32)
        gamma = 1.0 if iteration < 2 else 0.7
        a, b, _ = run(
            backend,
            *("cuda_extrinsic", chosen, power, var, v_b, count, 1.3, gamma, 0, k, m, Out(m), Out(m), Out(m)),
        )
        place, used = run(
            backend,
            *("cuda_assign", device, count, slots, slot, support, Out(slots, np.int32), Out(2, np.int32)),
        )
        run(
            backend,
            *("cuda_combine", chosen, power, h, a, b, mean_v, place, slots, gamma, int(rx.screening), m, coefficients),
            *(slot, support, s),
        )
        big = run(backend, "cuda_damp", seen, b, gamma, n * t, m, Out(y.shape, np.complex64, big))
        found = {"error_var": float(mean_v[0]) * mean, "candidates": int(count[0]), "posterior": posterior}
        history.append(found | {"device": device[: count[0]], "power": mean * power[: count[0]], "mean": h[: count[0]]})
    return history


@pytest.mark.parametrize("size", [size for size in SIZES if size != "one-symbol"])
@pytest.mark.parametrize("power", [1.0, "unknown"])
def test_the_loop_equals_the_receiver(backend, size, power):
    """Three iterations without screening, as test_receiver.py holds the CPU to the reference, with its tolerances."""
    p = problem(**SIZES[size], seed=5)
    n, m = p.y.shape[1:]
    rx = jf.Receiver(p.pilots, m, WienerPrior(n), p.activity_rate, power, threads=1, max_iterations=3, screening=False)
    out = rx.detect(p.y, p.noise_var)
    flat = np.ptp(rx.prior.eigenvalues) == 0
    lowest = -3 if flat else -18 if m >= 4 else -9  # the receiver's grid
    powers = (1.0,) if power == 1.0 else tuple(10 ** (np.arange(lowest, 9.1, 3) / 10))
    history = detect(backend, rx, p, out.iterations, powers)
    for found, expected in zip(history, out.history, strict=True):
        assert found["error_var"] == pytest.approx(expected["error_var"], rel=2e-4)
        assert found["candidates"] == expected["candidates"]
    best = min(history, key=lambda h: h["error_var"])
    if len(out.active) == 0:  # silence explained the block better
        return
    np.testing.assert_allclose(best["posterior"], out.activity, atol=1e-3)
    active = np.flatnonzero(best["posterior"][best["device"]] >= 0.5)
    assert np.array_equal(best["device"][active], out.active)
    h = np.sqrt(best["power"][active, None, None]) * best["mean"][active]
    channels = reference.beamspace(np.einsum("np,apm->anm", rx.prior.basis, h), inverse=True)
    assert error(channels, out.channels) <= 1e-3


def test_a_block_is_detected(backend):
    """With screening and the score network: the devices, variances and channels of the receiver."""
    p = problem(devices=150, symbols=10, subcarriers=48, antennas=8, active=6, snr_db=12, seed=1)
    rx = jf.Receiver(p.pilots, 8, "cdl-tiny", p.activity_rate, 1.0, threads=1, max_iterations=2)
    out = rx.detect(p.y, p.noise_var)
    history = detect(backend, rx, p, 2, (1.0,))
    for found, expected in zip(history, out.history, strict=True):
        assert found["error_var"] == pytest.approx(expected["error_var"], rel=2e-4)
        assert found["candidates"] == expected["candidates"]
    best = min(history, key=lambda h: h["error_var"])
    active = np.flatnonzero(best["posterior"][best["device"]] >= 0.5)
    assert np.array_equal(best["device"][active], p.active)
    assert np.array_equal(out.active, p.active)
    h = np.sqrt(best["power"][active, None, None]) * best["mean"][active]
    channels = reference.beamspace(np.einsum("np,apm->anm", rx.prior.basis, h), inverse=True)
    assert error(channels, out.channels) <= 1e-3


def test_the_same_bits_on_every_run(backend):
    """Whatever the order of threads: no sum depends on it."""
    p = problem(**SIZES["odd"], seed=6)
    rx = jf.Receiver(p.pilots, 16, WienerPrior(12), p.activity_rate, "unknown", threads=1)
    runs = []
    for falling in (False, True):
        if hasattr(backend.native, "set_reversed"):
            backend.native.set_reversed(falling)
        runs.append(detect(backend, rx, p, 3, tuple(10 ** (np.arange(-18, 9.1, 3) / 10))))
    for first, second in zip(*runs, strict=True):
        for name in first:
            assert np.array_equal(first[name], second[name])
