"""The CUDA kernels, emulated and where there is a GPU; what is said about CUDA where there is none."""

import numpy as np
import pytest
from kernels import EPS, Out, by_row, control, error, run, word
from problems import SIZES, complex_normal, qpsk_pilots

from jadce_fast import _core, dft_pilots, ops, reference
from jadce_fast.cuda import transform as _cuda_transform


def test_says_why_there_is_no_gpu():
    count, reason = _core.cuda_devices()
    assert (count > 0) == (reason == "")


class Problem:
    """Pilots, their tables as the kernels want them, a KLT basis, measurements and some devices' own part S."""

    def __init__(self, size, kind="dft", seed=0, identity=False):
        p = SIZES[size]
        make = dft_pilots if kind == "dft" else qpsk_pilots
        self.pilots = make(p["devices"], p["symbols"], p["subcarriers"])
        self.rng = np.random.default_rng(seed)
        n, self.m = p["subcarriers"], p["antennas"]
        self.basis = np.linalg.qr(complex_normal(self.rng, n, n))[0][:, : max(1, n - 1)].astype(np.complex64)
        if identity:
            self.basis = np.eye(n, dtype=np.complex64)
        self.given_basis = None if identity else self.basis
        self.p = self.basis.shape[1]
        self.plan = ops.Transform(self.pilots, self.m, self.basis)
        self.r = complex_normal(self.rng, p["symbols"], n, self.m).astype(np.complex64)
        self.devices = self.rng.permutation(self.pilots.devices).astype(np.int32)[:7]
        self.s = complex_normal(self.rng, len(self.devices), self.p, self.m).astype(np.complex64)
        self.slot = np.full(self.pilots.devices, -1, np.int32)
        self.slot[self.devices[:3]] = np.arange(3)[: len(self.devices)]
        self.tables = (
            (*_cuda_transform._pilot_tables(self.pilots), None)
            if kind == "dft"
            else (None, None, ops._gram(self.pilots)[2])
        )
        self.sizes = (self.pilots.devices, n, self.pilots.symbols, self.m, self.p)

    def exact_pilots(self):
        q = self.pilots.select().astype(complex)
        return q if self.plan.rotation is None else np.einsum("nst,tnk->snk", self.plan.rotation, q)

    def exact_statistics(self, with_s=True):
        z = reference.klt_statistics(self.exact_pilots(), self.r, self.basis)
        if with_s:
            z[self.devices[:3]] += self.s[:3]
        return z


@pytest.mark.parametrize("identity", [True, False])
@pytest.mark.parametrize("kind", ["dft", "qpsk"])
@pytest.mark.parametrize("size", SIZES)
def test_gather(backend, size, kind, identity):
    p = Problem(size, kind, identity=identity)
    shape = (len(p.devices), p.p, p.m)
    arguments = (p.r, *p.tables, p.given_basis)
    some = (
        None,
        None,
        None,
        None,
        0,
        backend.native.Rules(),
        len(p.devices),
        *p.sizes,
        len(p.s),
        1,
        Out(shape, np.complex64),
        *[None] * 4,
    )
    found = run(backend, "cuda_gather", *arguments, p.slot, p.s, p.devices, *some)
    # Both sum T N products in single precision, in another order.
    assert error(found, p.exact_statistics()[p.devices]) <= 16 * EPS
    found = run(backend, "cuda_gather", *arguments, None, None, p.devices, *some)
    assert error(found, ops.gather(p.plan, p.r, p.devices.astype(np.int64))) <= 16 * EPS


@pytest.mark.parametrize("gaussian", [True, False])
@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("size", SIZES)
def test_gather_of_a_batch_scales_to_unit_power(backend, size, known, gaussian):
    """Three blocks: one with a count of its own, one that has nothing to do, one with more than there is space for.

    With the Gaussian prior the posterior comes instead of the statistics.
    """
    p = Problem(size)
    k, n, t, m, coefficients = p.sizes
    capacity = len(p.devices)
    r = complex_normal(p.rng, 3, t, n, m).astype(np.complex64)
    s = complex_normal(p.rng, 3, capacity, coefficients, m).astype(np.complex64)
    devices = np.stack([p.rng.permutation(k)[:capacity] for _ in range(3)]).astype(np.int32)
    slot = np.full((3, k), -1, np.int32)
    for i in range(3):
        slot[i, devices[i]] = np.arange(capacity)
    v = p.rng.uniform(0.1, 0.4, (3, m)).astype(np.float32)
    counts = [max(1, capacity - 1), capacity, capacity + 2]
    words = backend.put(control(backend, candidates=counts, run=[1, 0, 1], error=v.mean(1)))
    outputs = {"power": Out((3, capacity)), "noise": Out((3, capacity, m))}
    if gaussian:
        outputs |= {"mean": Out(s.shape, np.complex64), "var": Out((3, capacity, m))}
    else:
        outputs |= {"z": Out(s.shape, np.complex64)}
    order = ("z", "power", "noise", "mean", "var")
    values = run(
        backend,
        *("cuda_gather", r, *p.tables, p.given_basis, slot, s, devices),
        *(word(backend, words, name) for name in ("candidates", "run")),
        *(v, word(backend, words, "error"), int(known), backend.native.Rules(), capacity, *p.sizes, capacity, 3),
        *(outputs.get(name) for name in order),
    )
    found = dict(zip([name for name in order if name in outputs], values, strict=True))
    for i in (0, 2):
        used = min(counts[i], capacity)
        exact = reference.klt_statistics(p.exact_pilots(), r[i], p.basis)[devices[i]] + s[i]
        gain = np.ones(capacity) if known else reference.device_power(abs(exact) ** 2, v[i].astype(float), n)
        # A power near its floor is a difference to the noise that loses up to fifty times a rounding.
        power = found["power"][i, :used].astype(float)
        np.testing.assert_allclose(power, gain[:used], rtol=1e3 * EPS)
        scaled = exact[:used] / np.sqrt(power)[:, None, None]
        noise = v[i] / power[:, None]
        np.testing.assert_allclose(found["noise"][i, :used], noise, rtol=2 * EPS)
        if gaussian:
            assert error(found["mean"][i, :used], scaled / (1 + noise[:, None])) <= 16 * EPS
            np.testing.assert_allclose(found["var"][i, :used], coefficients / n * noise / (1 + noise), rtol=8 * EPS)
        else:
            assert error(found["z"][i, :used], scaled) <= 16 * EPS
        for value in found.values():
            assert np.isnan(value[i, used:]).all()
    for value in found.values():
        assert np.isnan(value[1]).all()


@pytest.mark.parametrize("identity", [True, False])
def test_gather_of_many_measurements(backend, identity):
    """More pilots than are held at a time, and a basis too large to be copied."""
    rng = np.random.default_rng(3)
    pilots, m = dft_pilots(90, 60, 90), 2
    basis = np.eye(90) if identity else np.linalg.qr(complex_normal(rng, 90, 90))[0].astype(np.complex64)
    r = complex_normal(rng, 60, 90, m).astype(np.complex64)
    z = run(
        backend,
        *("cuda_gather", r, *_cuda_transform._pilot_tables(pilots), None, None if identity else basis, None, None),
        *(np.array([5, 77], np.int32), None, None, None, None, 0, backend.native.Rules(), 2, 90, 90, 60, m, 90, 0, 1),
        *(Out((2, 90, m), np.complex64), *[None] * 4),
    )
    exact = reference.klt_statistics(pilots.select().astype(complex), r, basis)[[5, 77]]
    assert error(z, exact) <= 16 * EPS


def spectral(backend, p, merge, z=True, energy=True, s=True):
    k, n, t, m, coefficients = p.sizes
    groups = -(-coefficients // merge)
    tables = backend.native.fft_tables(k)
    return run(
        backend,
        *("cuda_spectral", p.r, *by_row(p.pilots), float(np.sqrt(p.pilots.power)), p.given_basis),
        *(p.slot if s else None, p.s if s else None, *tables, None, k, n, t, m, coefficients, merge, 7, 1, None),
        *(Out((k, coefficients, m), np.complex64) if z else None, Out((groups, m, k)) if energy else None, None),
    )


@pytest.mark.parametrize("identity", [True, False])
@pytest.mark.parametrize("merge", [1, 3])
@pytest.mark.parametrize("size", SIZES)
def test_spectral(backend, size, merge, identity):
    p = Problem(size, identity=identity)
    z, energy = spectral(backend, p, merge)
    exact = p.exact_statistics()
    assert error(z, exact) <= 8 * EPS  # as the CPU's, tests/test_ops.py
    square = np.add.reduceat(abs(exact) ** 2, np.arange(0, p.p, merge), axis=1)
    assert error(energy, square.transpose(1, 2, 0)) <= 16 * EPS  # squaring doubles a relative error
    assert np.array_equal(spectral(backend, p, merge, z=False), energy)
    z = spectral(backend, p, merge, energy=False, s=False)
    assert error(z, ops.matched_filter(p.plan, p.r)) <= 8 * EPS


@pytest.mark.parametrize("devices", [1, 2, 7, 30, 31, 37, 64, 74, 360, 797, 1021, 3000])
def test_spectral_of_every_length(backend, devices):
    """Radices 2, 3, 4, 5, larger primes inside one pass, and the chirp transform beyond them."""
    p = Problem.__new__(Problem)
    rng = np.random.default_rng(devices)
    symbols = min(devices, 3)
    p.pilots, p.given_basis = dft_pilots(devices, symbols, 2, power=2.5), np.eye(2, dtype=np.complex64)
    p.r = complex_normal(rng, symbols, 2, 3).astype(np.complex64)
    p.sizes = (devices, 2, symbols, 3, 2)
    z, _ = spectral(backend, p, 1, s=False)
    # Rounding of an FFT grows with the square root of the number of passes; the chirp takes two transforms.
    assert error(z, reference.adjoint(p.pilots.select().astype(complex), p.r)) <= 8 * EPS


@pytest.mark.parametrize(
    ("devices", "first"), [(97, 1), (60, 6), (2 * 31, 2), (360, 40), (3000, 50), (4096, 64), (100_000, 250)]
)
def test_spectral_in_two_passes(backend, devices, first):
    rng = np.random.default_rng(devices)
    pilots, m, merge = dft_pilots(devices, 5, 4, power=2.5), 3, 2
    basis = np.linalg.qr(complex_normal(rng, 4, 4))[0][:, :3].astype(np.complex64)
    r = complex_normal(rng, 5, 4, m).astype(np.complex64)
    s = complex_normal(rng, 1, 3, m).astype(np.complex64)
    slot = np.full(devices, -1, np.int32)
    slot[devices // 2] = 0
    _, twiddle = _cuda_transform._pilot_tables(pilots)
    tables = [table for length in (first, devices // first) for table in backend.native.fft_tables(length)[:2]]

    def call(k=devices):
        return run(
            backend,
            *("cuda_spectral_large", r, *by_row(pilots), twiddle, basis, slot, s, first, *tables, None),
            *(k, 4, 5, m, 3, merge, 1, 1),
            *(Out((m, devices), np.complex64), Out((devices, 3, m), np.complex64), Out((2, m, devices))),
        )

    if devices == 97:  # a prime beyond the radices
        with pytest.raises(RuntimeError, match="spectral_large: expected devices without prime factors above 31"):
            call()
        return
    _, z, energy = call()
    exact = reference.klt_statistics(pilots.select().astype(complex), r, basis)
    exact[devices // 2] += s[0]
    assert error(z, exact) <= 8 * EPS
    square = np.add.reduceat(abs(exact) ** 2, [0, 2], axis=1)
    assert error(energy, square.transpose(1, 2, 0)) <= 16 * EPS
    with pytest.raises(RuntimeError, match="spectral_large: expected a divisor of"):
        call(devices + 1)


def test_lengths_of_two_passes(backend):
    found = {k: backend.native.fft_split(k) for k in (1, 7, 800, 3000, 100_000, 2 * 37)}
    assert found == {1: 1, 7: 1, 800: 25, 3000: 50, 100_000: 250, 2 * 37: 1}


def test_spectral_refuses_lengths_beyond_shared_memory(backend):
    p = Problem("plain")
    p.sizes = (14521, *p.sizes[1:])
    with pytest.raises(RuntimeError, match=r"spectral: expected a transform of at most 14520 points .*14521"):
        spectral(backend, p, 1)


@pytest.mark.parametrize("identity", [True, False])
@pytest.mark.parametrize("kind", ["dft", "qpsk"])
@pytest.mark.parametrize("size", SIZES)
def test_residual(backend, size, kind, identity):
    p = Problem(size, kind, identity=identity)
    _, n, t, m, _ = p.sizes
    y, big = (complex_normal(p.rng, t, n, m).astype(np.complex64) for _ in range(2))
    count = np.array([len(p.devices) - 1], np.int32)
    signal = reference.project(p.exact_pilots(), p.devices[:-1], p.s[:-1], p.basis)
    for start, old in ((y, big), (y, None), (None, None)):
        r, power = run(
            backend,
            *("cuda_residual", start, None, p.plan.gram, old, *p.tables, p.given_basis, p.s, p.devices, count, None),
            *(len(p.devices), *p.sizes, 1, Out((t, n, m), np.complex64), Out((n, m))),
        )
        exact = -signal
        if start is not None:
            exact = exact + y
        if old is not None:
            exact = exact - p.plan.gram.T[:, :, None] * big.astype(complex)
        assert error(r, exact) <= 16 * EPS
        assert error(power, (abs(exact) ** 2).sum(0)) <= 32 * EPS


def test_residual_of_many_devices(backend):
    """More than are projected together."""
    p = Problem("odd")
    devices = p.rng.permutation(105).astype(np.int32)
    s = complex_normal(p.rng, 105, p.p, p.m).astype(np.complex64)
    r, power = run(
        backend,
        *("cuda_residual", None, None, None, None, *p.tables, p.given_basis, s, devices, None, None, 105, *p.sizes, 1),
        *(Out(p.r.shape, np.complex64), Out(p.r.shape[1:])),
    )
    exact = reference.project(p.exact_pilots(), devices, s, p.basis)
    assert error(-r, exact) <= 16 * EPS
    assert error(power, (abs(exact) ** 2).sum(0)) <= 32 * EPS


@pytest.mark.parametrize("kind", ["dft", "qpsk"])
def test_residual_of_a_batch(backend, kind):
    p = Problem("odd", kind)
    _, n, t, m, coefficients = p.sizes
    y, big = (complex_normal(p.rng, 3, t, n, m).astype(np.complex64) for _ in range(2))
    devices = np.stack([p.rng.permutation(105)[:70] for _ in range(3)]).astype(np.int32)
    devices[:, 5] = -1  # a free slot, which holds zeros
    s = complex_normal(p.rng, 3, 70, coefficients, m).astype(np.complex64)
    s[:, 5] = 0
    scale, counts = [0.5, 2.0, 3.0], [3, 50, 70]
    words = backend.put(control(backend, slots=counts, going=[1, 0, 1], scale=scale))
    r, power = run(
        backend,
        *("cuda_residual", y, word(backend, words, "scale"), p.plan.gram, big, *p.tables, p.given_basis, s, devices),
        *(word(backend, words, "slots"), word(backend, words, "going"), 70, *p.sizes, 3),
        *(Out(y.shape, np.complex64), Out((3, n, m))),
    )
    for i in (0, 2):
        used = np.setdiff1d(np.arange(counts[i]), [5])
        exact = scale[i] * y[i].astype(complex) - p.plan.gram.T[:, :, None] * big[i]
        exact = exact - reference.project(p.exact_pilots(), devices[i, used], s[i, used], p.basis)
        assert error(r[i], exact) <= 16 * EPS
        assert error(power[i], (abs(exact) ** 2).sum(0)) <= 32 * EPS
    assert np.isnan(r[1]).all()


@pytest.mark.parametrize("method", ["spectral", "spectral_large", "direct", "direct-array"])
@pytest.mark.parametrize("merge", [1, 3])
@pytest.mark.parametrize("identity", [True, False])
def test_energies_of_a_batch(backend, method, merge, identity):
    """Every way to the statistics of all devices, for three blocks of which one has nothing to do."""
    p = Problem("odd", "qpsk" if method == "direct-array" else "dft", identity=identity)
    k, n, t, m, coefficients = p.sizes
    groups = -(-coefficients // merge)
    r = complex_normal(p.rng, 3, t, n, m).astype(np.complex64)
    s = complex_normal(p.rng, 3, 4, coefficients, m).astype(np.complex64)
    slot = np.full((3, k), -1, np.int32)
    for i in range(3):
        slot[i, p.rng.permutation(k)[:4]] = np.arange(4)
    words = backend.put(control(backend, screen=[1, 0, 1]))
    sizes = (word(backend, words, "screen"), k, n, t, m, coefficients, merge, 4, 3)
    z, energy = Out((3, k, coefficients, m), np.complex64), Out((3, groups, m, k))
    if method == "spectral":
        tables = (float(np.sqrt(p.pilots.power)), p.given_basis, slot, s, *backend.native.fft_tables(k))
        quiet = p.rng.uniform(size=(3, k)) < 0.8
        z, energy, quiet_energy = run(
            backend,
            *("cuda_spectral", r, *by_row(p.pilots), *tables, *sizes, quiet.astype(np.uint8), z, energy),
            Out((3, coefficients, m)),
        )
        for i in (0, 2):
            square = (abs(z[i].astype(complex)) ** 2)[quiet[i]].sum(0)
            np.testing.assert_allclose(quiet_energy[i], square, rtol=16 * EPS)
        assert np.isnan(quiet_energy[1]).all()
    elif method == "spectral_large":
        first = backend.native.fft_split(k)
        fft = [table for length in (first, k // first) for table in backend.native.fft_tables(length)[:2]]
        tables = (p.tables[1], p.given_basis, slot, s, first, *fft)
        _, z, energy = run(
            backend,
            *("cuda_spectral_large", r, *by_row(p.pilots), *tables, *sizes, Out((3, m, k), np.complex64), z, energy),
        )
    else:
        z, energy = run(backend, "cuda_direct", r, *p.tables, p.given_basis, slot, s, *sizes, z, energy)
    for i in (0, 2):
        exact = reference.klt_statistics(p.exact_pilots(), r[i], p.basis)
        some = slot[i] >= 0
        exact[some] += s[i][slot[i][some]]
        assert error(z[i], exact) <= 16 * EPS
        square = np.add.reduceat(abs(exact) ** 2, np.arange(0, coefficients, merge), axis=1)
        assert error(energy[i], square.transpose(1, 2, 0)) <= 32 * EPS
    assert np.isnan(z[1]).all()
    assert np.isnan(energy[1]).all()


def test_direct_in_several_passes(backend):
    """More coefficients than shared memory holds at a time."""
    rng = np.random.default_rng(2)
    pilots = dft_pilots(37, 2, 31)
    basis = np.linalg.qr(complex_normal(rng, 31, 31))[0].astype(np.complex64)
    r = complex_normal(rng, 2, 31, 2).astype(np.complex64)
    z, energy = run(
        backend,
        *(
            "cuda_direct",
            r,
            *_cuda_transform._pilot_tables(pilots),
            None,
            basis,
            None,
            None,
            None,
            37,
            31,
            2,
            2,
            31,
            4,
            1,
            1,
        ),
        *(Out((37, 31, 2), np.complex64), Out((8, 2, 37))),
    )
    exact = reference.klt_statistics(pilots.select().astype(complex), r, basis)
    assert error(z, exact) <= 16 * EPS
    square = np.add.reduceat(abs(exact) ** 2, np.arange(0, 31, 4), axis=1)
    assert error(energy, square.transpose(1, 2, 0)) <= 32 * EPS
