"""The CUDA kernels of the statistics of all devices: transforms in one pass and in two, and products."""

import numpy as np
import pytest
from kernels import EPS, Out, control, error, fft, row_order, run, sizes, word
from problems import SIZES, complex_normal
from test_cuda import Problem, parts, statistics, tables

from jadce_fast import dft_pilots, ops, reference
from jadce_fast.cuda.transform import pilot_tables


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
