"""The CUDA kernels, emulated and where there is a GPU; what is said about CUDA where there is none."""

import contextlib
import types

import numpy as np
import pytest
import torch
from kernels import EPS, Out, by_row, error, gpu, run
from problems import SIZES, complex_normal, qpsk_pilots

from jadce_fast import _core, _cuda, dft_pilots, ops, reference


def test_says_why_there_is_no_gpu():
    count, reason = _core.cuda_devices()
    assert (count > 0) == (reason == "")


class Problem:
    """Pilots, their tables as the kernels want them, a KLT basis, measurements and some devices' own part S."""

    def __init__(self, size, kind="dft", seed=0):
        p = SIZES[size]
        make = dft_pilots if kind == "dft" else qpsk_pilots
        self.pilots = make(p["devices"], p["symbols"], p["subcarriers"])
        self.rng = np.random.default_rng(seed)
        n, self.m = p["subcarriers"], p["antennas"]
        self.basis = np.linalg.qr(complex_normal(self.rng, n, n))[0][:, : max(1, n - 1)].astype(np.complex64)
        self.p = self.basis.shape[1]
        self.plan = ops.Transform(self.pilots, self.m, self.basis)
        self.r = complex_normal(self.rng, p["symbols"], n, self.m).astype(np.complex64)
        self.devices = self.rng.permutation(self.pilots.devices).astype(np.int32)[:7]
        self.s = complex_normal(self.rng, len(self.devices), self.p, self.m).astype(np.complex64)
        self.slot = np.full(self.pilots.devices, -1, np.int32)
        self.slot[self.devices[:3]] = np.arange(3)[: len(self.devices)]
        self.tables = (
            (*_cuda.pilot_tables(self.pilots), None) if kind == "dft" else (None, None, ops._gram(self.pilots)[2])
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


@pytest.mark.parametrize("kind", ["dft", "qpsk"])
@pytest.mark.parametrize("size", SIZES)
def test_gather(backend, size, kind):
    p = Problem(size, kind)
    shape = (len(p.devices), p.p, p.m)
    arguments = (p.r, *p.tables, p.basis)
    found = run(
        backend,
        *("cuda_gather", *arguments, p.slot, p.s, p.devices, None, len(p.devices), *p.sizes, Out(shape, np.complex64)),
    )
    # Both sum T N products in single precision, in another order.
    assert error(found, p.exact_statistics()[p.devices]) <= 16 * EPS
    found = run(
        backend,
        *("cuda_gather", *arguments, None, None, p.devices, None, len(p.devices), *p.sizes, Out(shape, np.complex64)),
    )
    assert error(found, ops.gather(p.plan, p.r, p.devices.astype(np.int64))) <= 16 * EPS


def test_gather_takes_its_count_from_the_device(backend):
    p = Problem("plain")
    for count in (0, 2, 7, 9):
        found = run(
            backend,
            *("cuda_gather", p.r, *p.tables, p.basis, None, None, p.devices, np.array([count], np.int32)),
            *(len(p.devices), *p.sizes, Out((7, p.p, p.m), np.complex64)),
        )
        assert np.array_equal(np.isnan(found).all((1, 2)), np.arange(7) >= count)


def spectral(backend, p, merge, z=True, energy=True, s=True):
    k, n, _, m, coefficients = p.sizes
    groups = -(-coefficients // merge)
    tables = backend.native.fft_tables(k)
    return run(
        backend,
        *("cuda_spectral", p.r, *by_row(p.pilots), float(np.sqrt(p.pilots.power)), p.basis),
        *(p.slot if s else None, p.s if s else None, *tables, k, n, m, coefficients, merge),
        *(Out((k, coefficients, m), np.complex64) if z else None, Out((groups, m, k)) if energy else None),
    )


@pytest.mark.parametrize("merge", [1, 3])
@pytest.mark.parametrize("size", SIZES)
def test_spectral(backend, size, merge):
    p = Problem(size)
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
    p.pilots, p.basis = dft_pilots(devices, symbols, 2, power=2.5), np.eye(2, dtype=np.complex64)
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
    _, twiddle = _cuda.pilot_tables(pilots)
    tables = [table for length in (first, devices // first) for table in backend.native.fft_tables(length)[:2]]

    def call(k=devices):
        return run(
            backend,
            *("cuda_spectral_large", r, *by_row(pilots), twiddle, basis, slot, s, first, *tables, k, 4, m, 3, merge),
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
    p.sizes = (14529, *p.sizes[1:])
    with pytest.raises(RuntimeError, match=r"spectral: expected a transform of at most 14528 points .*14529"):
        spectral(backend, p, 1)


@pytest.mark.parametrize("kind", ["dft", "qpsk"])
@pytest.mark.parametrize("size", SIZES)
def test_residual(backend, size, kind):
    p = Problem(size, kind)
    _, n, t, m, _ = p.sizes
    y, big = (complex_normal(p.rng, t, n, m).astype(np.complex64) for _ in range(2))
    count = np.array([len(p.devices) - 1], np.int32)
    signal = reference.project(p.exact_pilots(), p.devices[:-1], p.s[:-1], p.basis)
    for start, old in ((y, big), (y, None), (None, None)):
        r, power = run(
            backend,
            *("cuda_residual", start, p.plan.gram, old, *p.tables, p.basis, p.s, p.devices, count, len(p.devices)),
            *(*p.sizes, Out((t, n, m), np.complex64), Out((n, m))),
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
        *("cuda_residual", None, None, None, *p.tables, p.basis, s, devices, None, 105, *p.sizes),
        *(Out(p.r.shape, np.complex64), Out(p.r.shape[1:])),
    )
    exact = reference.project(p.exact_pilots(), devices, s, p.basis)
    assert error(-r, exact) <= 16 * EPS
    assert error(power, (abs(exact) ** 2).sum(0)) <= 32 * EPS


@pytest.mark.parametrize("size", SIZES)
def test_gather_of_torch_tensors(backend, size, monkeypatch):
    """ops.gather as users call it; without a GPU its Python side runs on the emulator."""
    p = Problem(size)
    if backend.native is not _core:
        monkeypatch.setattr(_cuda, "_core", backend.native)
        monkeypatch.setattr(torch.cuda, "device", lambda device: contextlib.nullcontext())
        monkeypatch.setattr(torch.cuda, "current_stream", lambda: types.SimpleNamespace(cuda_stream=0))
    devices = p.devices.astype(np.int64)
    found = _cuda.gather(p.plan, backend.put(p.r), backend.put(devices))
    assert error(found.cpu().numpy(), ops.gather(p.plan, p.r, devices)) <= 16 * EPS


@gpu
def test_gather_refuses_what_does_not_fit():
    plan = ops.Transform(dft_pilots(20, 4, 3), 5, np.eye(3))
    r = torch.zeros(4, 3, 5, dtype=torch.complex64, device="cuda")
    index = torch.zeros(2, dtype=torch.int64, device="cuda")
    with pytest.raises(TypeError, match="devices: expected a torch tensor on cuda:0, found cpu"):
        ops.gather(plan, r, index.cpu())
    with pytest.raises(TypeError, match="r: expected torch.complex64, found torch.complex128"):
        ops.gather(plan, r.to(torch.complex128), index)
    with pytest.raises(ValueError, match="r: expected shape"):
        ops.gather(plan, r[:2], index)
