"""The CUDA kernels, emulated and where there is a GPU; what is said about CUDA where there is none."""

import numpy as np
import pytest
from kernels import EPS, Fields, Out, control, error, run, sizes, word
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


@pytest.mark.parametrize("known", [True, False])
def test_gather_of_several_candidates_at_a_time(backend, known):
    """Where many blocks are received; the same bits as one by one."""
    p = Problem("odd")
    m, k, capacity, batch = p.m, p.pilots.devices, 14, 200  # four thread blocks for fourteen candidates
    few = np.arange(0, batch, batch // 10)
    counts = p.rng.integers(0, capacity + 1, batch)
    counts[few] = [14, 13, 12, 11, 8, 7, 5, 4, 3, 0]
    counts[~np.isin(np.arange(batch), few)] = 0
    r = complex_normal(p.rng, batch, p.pilots.symbols, p.pilots.subcarriers, m).astype(np.complex64)
    devices = np.stack([p.rng.permutation(k)[:capacity] for _ in range(batch)]).astype(np.int32)
    v = p.rng.uniform(0.1, 0.4, (batch, m)).astype(np.float32)

    def gather(which):
        number = len(which)
        words = backend.put(control(backend, candidates=counts[which], run=[1] * number, error=v[which].mean(1)))
        shape = (number, capacity, p.p, m)
        return run(
            backend,
            "gather",
            **p.inputs | dict(r=r[which], sizes=p.sizes(number), device=devices[which], v_b=v[which], known=known),
            count=word(backend, words, "candidates"),
            mean_v=word(backend, words, "error"),
            capacity=capacity,
            z=Out(shape, np.complex64),
            power=Out(shape[:2]),
            noise=Out((number, capacity, m)),
        )

    together, alone = vars(gather(np.arange(batch))), vars(gather(few))
    for name, values in together.items():
        assert np.array_equal(values[few], alone[name], equal_nan=True), name
    for i, at in enumerate(few):
        used = counts[at]
        exact = reference.klt_statistics(p.exact_pilots(), r[at], p.basis)[devices[at, :used]]
        scaled = exact / np.sqrt(alone["power"][i, :used].astype(float))[:, None, None]
        assert np.isnan(alone["z"][i, used:]).all()
        assert used == 0 or error(together["z"][at, :used], scaled) <= 16 * EPS


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


@pytest.mark.parametrize("symbols", [1, 5, 33, 64, 70])
def test_residual_of_any_number_of_symbols(backend, symbols):
    """However many rows of threads take them: the same bits alone and in a batch."""
    rng, (k, n, m) = np.random.default_rng(symbols), (75, 2, 3)
    pilots, devices = dft_pilots(k, symbols, n), rng.permutation(k).astype(np.int32)
    y = complex_normal(rng, symbols, n, m).astype(np.complex64)
    s = complex_normal(rng, k, n, m).astype(np.complex64)

    def found(batch):
        shape = (batch, symbols, n, m)
        return run(
            backend,
            "residual",
            y=np.broadcast_to(y, shape).copy(),
            pilots=tables(pilots),
            s=np.broadcast_to(s, (batch, *s.shape)).copy(),
            device=np.broadcast_to(devices, (batch, k)).copy(),
            capacity=k,
            sizes=sizes(devices=k, subcarriers=n, symbols=symbols, antennas=m, coefficients=n, batch=batch),
            r=Out(shape, np.complex64),
            power=Out((batch, n, m)),
        )

    one, two = found(1), found(2)
    exact = y - reference.project(pilots.select().astype(complex), devices, s, np.eye(n))
    assert error(one.r[0], exact) <= 16 * EPS
    assert error(one.power[0], (abs(exact) ** 2).sum(0)) <= 32 * EPS
    for name in ("r", "power"):
        assert np.array_equal(getattr(two, name), getattr(one, name)[[0, 0]])


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
