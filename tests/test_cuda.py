"""The CUDA kernels, emulated and where there is a GPU; what is said about CUDA where there is none."""

import numpy as np
import pytest
from kernels import EPS, Fields, Out, control, error, fft, row_order, run, sizes, word
from problems import SIZES, complex_normal, qpsk_pilots

from jadce_fast import dft_pilots, ops, reference
from jadce_fast.cuda import device as cuda_device
from jadce_fast.cuda.transform import pilot_tables
from jadce_fast.transform import gram


def test_says_why_there_is_no_gpu():
    count, reason = cuda_device.devices()
    assert (count > 0) == (reason == "")


def tables(pilots):
    """Pilots as kernels take them."""
    if pilots.rows is None:
        return Fields("PilotTables", array=gram(pilots)[2])
    rows, twiddle = pilot_tables(pilots)
    return Fields("PilotTables", rows=rows, twiddle=twiddle)


def parts(slot, s):
    return Fields("SparseParts", slot=slot, s=s, slots=s.shape[-3])


def statistics(merge, z=None, energy=None):
    return Fields("StatisticsOutput", z=z, energy=energy, merge=merge)


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
        self.tables = tables(self.pilots)
        self.parts = parts(self.slot, self.s)

    def sizes(self, batch=1):
        return sizes(
            devices=self.pilots.devices,
            subcarriers=self.pilots.subcarriers,
            symbols=self.pilots.symbols,
            antennas=self.m,
            coefficients=self.p,
            batch=batch,
        )

    @property
    def inputs(self):
        """What all kernels read."""
        return {"r": self.r, "pilots": self.tables, "basis": self.given_basis, "sizes": self.sizes()}

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
    z = Out((len(p.devices), p.p, p.m), np.complex64)
    some = dict(device=p.devices, capacity=len(p.devices), known=False, z=z)
    found = run(backend, "gather", **p.inputs, **some, parts=p.parts).z
    # Both sum T N products in single precision, in another order.
    assert error(found, p.exact_statistics()[p.devices]) <= 16 * EPS
    found = run(backend, "gather", **p.inputs, **some).z
    assert error(found, ops.gather(p.plan, p.r, p.devices.astype(np.int64))) <= 16 * EPS


@pytest.mark.parametrize("gaussian", [True, False])
@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("size", SIZES)
def test_gather_of_a_batch_scales_to_unit_power(backend, size, known, gaussian):
    """Three blocks: one with a count of its own, one that has nothing to do, one with more than there is space for.

    With the Gaussian prior the posterior comes instead of the statistics.
    """
    p = Problem(size)
    k, n, m, coefficients = p.pilots.devices, p.pilots.subcarriers, p.m, p.p
    capacity = len(p.devices)
    r = complex_normal(p.rng, 3, p.pilots.symbols, n, m).astype(np.complex64)
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
    some = dict(
        r=r,
        sizes=p.sizes(3),
        parts=parts(slot, s),
        device=devices,
        count=word(backend, words, "candidates"),
        enabled=word(backend, words, "run"),
        v_b=v,
        mean_v=word(backend, words, "error"),
        known=known,
        capacity=capacity,
    )
    found = vars(run(backend, "gather", **(p.inputs | some), **outputs))
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
        "gather",
        r=r,
        pilots=tables(pilots),
        basis=None if identity else basis,
        device=np.array([5, 77], np.int32),
        known=False,
        capacity=2,
        sizes=sizes(devices=90, subcarriers=90, symbols=60, antennas=m, coefficients=90),
        z=Out((2, 90, m), np.complex64),
    ).z
    exact = reference.klt_statistics(pilots.select().astype(complex), r, basis)[[5, 77]]
    assert error(z, exact) <= 16 * EPS


def spectral(backend, pilots, r, basis, sizes, merge, wanted=("z", "energy"), **others):
    k, m, p = sizes["devices"], sizes["antennas"], sizes["coefficients"]
    outputs = {"z": Out((k, p, m), np.complex64), "energy": Out((-(-p // merge), m, k))}
    return run(
        backend,
        "spectral",
        r=r,
        rows=row_order(pilots),
        amplitude=float(np.sqrt(pilots.power)),
        fft=fft(backend, k),
        basis=basis,
        sizes=sizes,
        **others,
        out=statistics(merge, **{name: outputs[name] for name in wanted}),
    )


@pytest.mark.parametrize("identity", [True, False])
@pytest.mark.parametrize("merge", [1, 3])
@pytest.mark.parametrize("size", SIZES)
def test_spectral(backend, size, merge, identity):
    p = Problem(size, identity=identity)
    arguments = (backend, p.pilots, p.r, p.given_basis, p.sizes(), merge)
    both = spectral(*arguments, parts=p.parts)
    exact = p.exact_statistics()
    assert error(both.z, exact) <= 8 * EPS  # as the CPU's, tests/test_ops.py
    square = np.add.reduceat(abs(exact) ** 2, np.arange(0, p.p, merge), axis=1)
    assert error(both.energy, square.transpose(1, 2, 0)) <= 16 * EPS  # squaring doubles a relative error
    assert np.array_equal(spectral(*arguments, parts=p.parts, wanted=("energy",)).energy, both.energy)
    z = spectral(*arguments, wanted=("z",)).z
    assert error(z, ops.matched_filter(p.plan, p.r)) <= 8 * EPS


@pytest.mark.parametrize("devices", [1, 2, 7, 30, 31, 37, 64, 74, 360, 797, 1021, 3000])
def test_spectral_of_every_length(backend, devices):
    """Radices 2, 3, 4, 5, larger primes inside one pass, and the chirp transform beyond them."""
    rng = np.random.default_rng(devices)
    symbols = min(devices, 3)
    pilots, basis = dft_pilots(devices, symbols, 2, power=2.5), np.eye(2, dtype=np.complex64)
    r = complex_normal(rng, symbols, 2, 3).astype(np.complex64)
    shape = sizes(devices=devices, subcarriers=2, symbols=symbols, antennas=3, coefficients=2)
    z = spectral(backend, pilots, r, basis, shape, 1).z
    # Rounding of an FFT grows with the square root of the number of passes; the chirp takes two transforms.
    assert error(z, reference.adjoint(pilots.select().astype(complex), r)) <= 8 * EPS


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

    def call(k=devices):
        return run(
            backend,
            "spectral_large",
            r=r,
            rows=row_order(pilots),
            twiddle=pilot_tables(pilots)[1],
            first=first,
            first_fft=fft(backend, first),
            second_fft=fft(backend, devices // first),
            basis=basis,
            parts=parts(slot, s),
            sizes=sizes(devices=k, subcarriers=4, symbols=5, antennas=m, coefficients=3),
            work=Out((m, devices), np.complex64),
            out=statistics(merge, z=Out((devices, 3, m), np.complex64), energy=Out((2, m, devices))),
        )

    if devices == 97:  # a prime beyond the radices
        with pytest.raises(RuntimeError, match="spectral_large: expected devices without prime factors above 31"):
            call()
        return
    found = call()
    exact = reference.klt_statistics(pilots.select().astype(complex), r, basis)
    exact[devices // 2] += s[0]
    assert error(found.z, exact) <= 8 * EPS
    square = np.add.reduceat(abs(exact) ** 2, [0, 2], axis=1)
    assert error(found.energy, square.transpose(1, 2, 0)) <= 16 * EPS
    with pytest.raises(RuntimeError, match="spectral_large: expected a divisor of"):
        call(devices + 1)


def test_lengths_of_two_passes(backend):
    found = {k: backend.native.fft_split(k) for k in (1, 7, 800, 3000, 100_000, 2 * 37)}
    assert found == {1: 1, 7: 1, 800: 25, 3000: 50, 100_000: 250, 2 * 37: 1}


def test_spectral_refuses_lengths_beyond_shared_memory(backend):
    p = Problem("plain")
    shape = p.sizes()
    shape["devices"] = 14521
    with pytest.raises(RuntimeError, match=r"spectral: expected a transform of at most 14520 points .*14521"):
        spectral(backend, p.pilots, p.r, p.given_basis, shape, 1)


def residual(backend, p, *, s, device, batch=(), **arguments):
    t, n, m = p.r.shape
    return run(
        backend,
        "residual",
        gram=p.plan.gram,
        pilots=p.tables,
        basis=p.given_basis,
        s=s,
        device=device,
        capacity=device.shape[-1],
        sizes=p.sizes(*batch),
        r=Out((*batch, t, n, m), np.complex64),
        power=Out((*batch, n, m)),
        **arguments,
    )


@pytest.mark.parametrize("identity", [True, False])
@pytest.mark.parametrize("kind", ["dft", "qpsk"])
@pytest.mark.parametrize("size", SIZES)
def test_residual(backend, size, kind, identity):
    p = Problem(size, kind, identity=identity)
    shape = p.r.shape
    y, r_pri = (complex_normal(p.rng, *shape).astype(np.complex64) for _ in range(2))
    count = np.array([len(p.devices) - 1], np.int32)
    signal = reference.project(p.exact_pilots(), p.devices[:-1], p.s[:-1], p.basis)
    for start, old in ((y, r_pri), (y, None), (None, None)):
        found = residual(backend, p, y=start, r_pri=old, s=p.s, device=p.devices, count=count)
        exact = -signal
        if start is not None:
            exact = exact + y
        if old is not None:
            exact = exact - p.plan.gram.T[:, :, None] * r_pri.astype(complex)
        assert error(found.r, exact) <= 16 * EPS
        assert error(found.power, (abs(exact) ** 2).sum(0)) <= 32 * EPS


def test_residual_of_many_devices(backend):
    """More than are projected together."""
    p = Problem("odd")
    devices = p.rng.permutation(105).astype(np.int32)
    s = complex_normal(p.rng, 105, p.p, p.m).astype(np.complex64)
    found = residual(backend, p, s=s, device=devices)
    exact = reference.project(p.exact_pilots(), devices, s, p.basis)
    assert error(-found.r, exact) <= 16 * EPS
    assert error(found.power, (abs(exact) ** 2).sum(0)) <= 32 * EPS


@pytest.mark.parametrize("kind", ["dft", "qpsk"])
def test_residual_of_a_batch(backend, kind):
    p = Problem("odd", kind)
    y, r_pri = (complex_normal(p.rng, 3, *p.r.shape).astype(np.complex64) for _ in range(2))
    devices = np.stack([p.rng.permutation(105)[:70] for _ in range(3)]).astype(np.int32)
    devices[:, 5] = -1  # a free slot, which holds zeros
    s = complex_normal(p.rng, 3, 70, p.p, p.m).astype(np.complex64)
    s[:, 5] = 0
    scale, counts = [0.5, 2.0, 3.0], [3, 50, 70]
    words = backend.put(control(backend, slots=counts, going=[1, 0, 1], scale=scale))
    found = residual(
        backend,
        p,
        y=y,
        scale=word(backend, words, "scale"),
        r_pri=r_pri,
        s=s,
        device=devices,
        count=word(backend, words, "slots"),
        enabled=word(backend, words, "going"),
        batch=(3,),
    )
    for i in (0, 2):
        used = np.setdiff1d(np.arange(counts[i]), [5])
        exact = scale[i] * y[i].astype(complex) - p.plan.gram.T[:, :, None] * r_pri[i]
        exact = exact - reference.project(p.exact_pilots(), devices[i, used], s[i, used], p.basis)
        assert error(found.r[i], exact) <= 16 * EPS
        assert error(found.power[i], (abs(exact) ** 2).sum(0)) <= 32 * EPS
    assert np.isnan(found.r[1]).all()


@pytest.mark.parametrize("method", ["spectral", "spectral_large", "direct", "direct-array"])
@pytest.mark.parametrize("merge", [1, 3])
@pytest.mark.parametrize("identity", [True, False])
def test_energies_of_a_batch(backend, method, merge, identity):
    """Every way to the statistics of all devices, for three blocks of which one has nothing to do."""
    p = Problem("odd", "qpsk" if method == "direct-array" else "dft", identity=identity)
    k, m, coefficients = p.pilots.devices, p.m, p.p
    r = complex_normal(p.rng, 3, *p.r.shape).astype(np.complex64)
    s = complex_normal(p.rng, 3, 4, coefficients, m).astype(np.complex64)
    slot = np.full((3, k), -1, np.int32)
    for i in range(3):
        slot[i, p.rng.permutation(k)[:4]] = np.arange(4)
    words = backend.put(control(backend, test=[1, 0, 1]))
    out = statistics(
        merge, z=Out((3, k, coefficients, m), np.complex64), energy=Out((3, -(-coefficients // merge), m, k))
    )
    inputs = dict(r=r, basis=p.given_basis, parts=parts(slot, s), sizes=p.sizes(3), out=out)
    inputs["enabled"] = word(backend, words, "test")
    if method == "spectral":
        idle = p.rng.uniform(size=(3, k)) < 0.8
        found = run(
            backend,
            "spectral",
            **inputs,
            rows=row_order(p.pilots),
            amplitude=float(np.sqrt(p.pilots.power)),
            fft=fft(backend, k),
            idle=idle.astype(np.uint8),
            idle_energy=Out((3, coefficients, m)),
        )
        for i in (0, 2):
            square = (abs(found.z[i].astype(complex)) ** 2)[idle[i]].sum(0)
            np.testing.assert_allclose(found.idle_energy[i], square, rtol=16 * EPS)
        assert np.isnan(found.idle_energy[1]).all()
    elif method == "spectral_large":
        first = backend.native.fft_split(k)
        found = run(
            backend,
            "spectral_large",
            **inputs,
            rows=row_order(p.pilots),
            twiddle=p.tables["twiddle"],
            first=first,
            first_fft=fft(backend, first),
            second_fft=fft(backend, k // first),
            work=Out((3, m, k), np.complex64),
        )
    else:
        found = run(backend, "direct", **inputs, pilots=p.tables)
    for i in (0, 2):
        exact = reference.klt_statistics(p.exact_pilots(), r[i], p.basis)
        some = slot[i] >= 0
        exact[some] += s[i][slot[i][some]]
        assert error(found.z[i], exact) <= 16 * EPS
        square = np.add.reduceat(abs(exact) ** 2, np.arange(0, coefficients, merge), axis=1)
        assert error(found.energy[i], square.transpose(1, 2, 0)) <= 32 * EPS
    assert np.isnan(found.z[1]).all()
    assert np.isnan(found.energy[1]).all()


def test_direct_in_several_passes(backend):
    """More coefficients than shared memory holds at a time."""
    rng = np.random.default_rng(2)
    pilots = dft_pilots(37, 2, 31)
    basis = np.linalg.qr(complex_normal(rng, 31, 31))[0].astype(np.complex64)
    r = complex_normal(rng, 2, 31, 2).astype(np.complex64)
    found = run(
        backend,
        "direct",
        r=r,
        pilots=tables(pilots),
        basis=basis,
        sizes=sizes(devices=37, subcarriers=31, symbols=2, antennas=2, coefficients=31),
        out=statistics(4, z=Out((37, 31, 2), np.complex64), energy=Out((8, 2, 37))),
    )
    exact = reference.klt_statistics(pilots.select().astype(complex), r, basis)
    assert error(found.z, exact) <= 16 * EPS
    square = np.add.reduceat(abs(exact) ** 2, np.arange(0, 31, 4), axis=1)
    assert error(found.energy, square.transpose(1, 2, 0)) <= 32 * EPS
