"""The Langevin sampler's CUDA kernels and `LangevinReceiver` on a device, emulated and where there is a GPU."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from kernels import Out, open_device, run
from problems import assert_close, complex_normal
from test_langevin import OnePower
from test_langevin_kernels import SIZES, Chains, mixture, schedules

import jadce_fast as jf
from jadce_fast import reference
from jadce_fast.anneal import leave_one_out, leave_one_out_tensors, preconditioned_level
from jadce_fast.campaigns import CellScenario, draw_cell
from jadce_fast.campaigns.cell_drop import qpsk_pilots
from jadce_fast.cuda.device import devices
from jadce_fast.cuda.langevin import DeviceSampler


class Positional:
    """A backend whose launchers take arguments in their order."""

    def __init__(self, backend):
        self.put, self.native = backend.put, backend.native

    def launch(self, name, **arguments):
        getattr(self.native, name)(*arguments.values(), 0)


def call(backend, name, *arguments):
    found = run(Positional(backend), name, **{str(i): 0 if a is None else a for i, a in enumerate(arguments)})
    outputs = tuple(vars(found).values())
    return outputs[0] if len(outputs) == 1 else outputs


def test_noise(backend):
    seed, chain, step, count, pairs = 0x123456789ABCDEF, 5, 77, 19, 7
    words, normals = call(
        backend,
        *("cuda_langevin_noise", seed, chain, step, count, pairs),
        *(Out((count, pairs, 4), np.uint32), Out((count, pairs, 4))),
    )
    expected = [[reference.philox((m, j, chain, step), seed) for j in range(pairs)] for m in range(count)]
    assert np.array_equal(words, np.array(expected, np.uint32))
    z = normals.reshape(count, 2 * pairs, 2)
    # Logarithm, root, sine and cosine in single precision: 2e-7 each, of a radius of at most 4.2.
    exact = reference.langevin_noise(seed, chain, step, count, 2 * pairs)
    np.testing.assert_allclose(z[..., 0] + 1j * z[..., 1], exact, atol=3e-6)


def test_noise_is_that_of_the_cpu(backend):
    m, n = 16, 12
    chains = Chains(m, n, 8)
    chains.native.start([2], 99, 4, 1.0)
    _, normals = call(
        backend, "cuda_langevin_noise", 99, 2, 4, m, n // 2, Out((m, n // 2, 4), np.uint32), Out((m, n, 2))
    )
    np.testing.assert_allclose(normals[..., 0] + 1j * normals[..., 1], chains.state("columns", 2), atol=3e-6)


class Device:
    """One level for the kernels, of two received blocks that differ."""

    def __init__(self, name, kind):
        self.m, self.n, _ = SIZES[name]
        self.chains = [Chains(*SIZES[name]) for _ in range(2)]
        rng = np.random.default_rng(1)
        self.chains[1].y = 2 * self.chains[1].y + complex_normal(rng, *self.chains[1].y.shape)
        self.noise, self.prior = 0.3, jf.CellPrior(0.2)
        self.level = schedules(self.chains[0].singular, self.noise)[kind]
        u, n = self.chains[0].u, self.n
        matrix, covariance = self.level.diagonals(self.chains[0].singular)
        self.matrix = np.tile(((u * matrix) @ u.conj().T).astype(np.complex64), (2, 1, 1))
        self.factor = None
        if self.level.noise == 0:
            factor = np.linalg.cholesky((u * covariance) @ u.conj().T).conj().T
            self.factor = np.tile(factor.astype(np.complex64), (2, 1, 1))
        rank = min(self.chains[0].pilots.shape)
        vh = np.linalg.svd(self.chains[0].pilots)[2]
        self.force = np.zeros((2, n, self.m), np.complex64)
        for force, c in zip(self.force, self.chains, strict=True):
            rotated = (c.y @ vh[:rank].conj().T) * self.level.force[:rank]
            force[:] = (rotated @ u[:, :rank].conj().T).T
        keep = (self.level.keep, self.level.shift, self.level.noise, self.level.sigma**2)
        self.numbers = np.tile(np.array(keep, np.float32), (2, 1))
        self.mixture = np.tile(mixture(self.prior, self.level.sigma**2, self.m), (2, 1, 1))

    def energy(self, backend, x):
        """Energies of columns x (F, N, M), part by part."""
        tile = backend.native.langevin_tile(self.n, self.m)
        square = np.abs(x.astype(np.complex128)) ** 2
        return np.stack([square[..., i : i + tile].sum(-1) for i in range(0, self.m, tile)], 1).astype(np.float32)

    def step(self, backend, x, rows, seed, counter, steps=1, mean=None):
        energy, tile = self.energy(backend, x), backend.native.langevin_tile(self.n, self.m)
        parts = -(-self.m // tile)
        shape, numbers = x.shape, (len(x), parts, self.n)
        return call(
            backend,
            *("cuda_langevin_steps", self.matrix, self.factor, self.force, self.numbers, self.mixture, mean),
            *(np.array(rows, np.int32), len(rows), len(x) // 2, self.n, self.m, self.mixture.shape[-1]),
            *(int(self.level.denoised), seed, counter, steps, Out(shape, np.complex64, x), Out(numbers, start=energy)),
            *(Out(shape, np.complex64), Out(numbers)),
        )


@pytest.mark.parametrize("name", ["odd", "long", "one", "wide", "few"])
@pytest.mark.parametrize("kind", ["known", "mixed", "last", "paper"])
def test_step(backend, name, kind):
    d = Device(name, kind)
    rng = np.random.default_rng(3)
    x = (1.5 * complex_normal(rng, 4, d.n, d.m)).astype(np.complex64)  # two chains of two blocks
    rows = [3, 0]
    _, _, new, energy = d.step(backend, x, rows, 9, 1)
    v = d.level.sigma**2
    for f in rows:
        c, before = d.chains[f // 2], x[f].T.astype(np.complex128)
        score, zeta = reference.cell_score(before.T, v, d.prior).T, reference.langevin_noise(9, f % 2, 1, d.m, d.n)
        args = before, c.y, c.pilots, d.noise, d.level.sigma, score
        if kind == "paper":
            expected = reference.algorithm1_step(*args, 1e-3, 0.9, zeta)
        else:
            expected = reference.preconditioned_step(*args, {"known": 0.5, "mixed": 0.9, "last": 0.2}[kind], zeta)
        # As for the CPU's kernel (test_langevin_kernels.py), whose matrices are in single precision.
        assert_close(new[f].T, expected, 3e-5)
        assert_close(energy[f].sum(0), np.sum(np.abs(new[f]) ** 2, 1), 1e-5)
    assert np.all(np.isnan(new[[1, 2]]))  # chains that nobody asked for


def test_steps_alternate(backend):
    d = Device("odd", "last")
    x = complex_normal(np.random.default_rng(5), 2, d.n, d.m).astype(np.complex64)
    even, energy, odd, _ = d.step(backend, x, [0, 1], 4, 7, steps=2)
    first = d.step(backend, x, [0, 1], 4, 7)[2]
    second = d.step(backend, first, [0, 1], 4, 8)
    assert np.array_equal(odd, first)
    # Energies of the first step come from other sums.
    assert_close(even, second[2], 1e-5)
    assert_close(energy.sum(1), np.sum(np.abs(even) ** 2, -1), 1e-5)


def test_step_from_given_means(backend):
    d = Device("odd", "last")
    rng = np.random.default_rng(6)
    x = complex_normal(rng, 2, d.n, d.m).astype(np.complex64)
    columns, v = x.astype(np.complex128), d.level.sigma**2
    mean = np.stack([reference.cell_posterior(c, v, d.prior)[0] for c in columns]).astype(np.complex64)
    given = d.step(backend, x, [0, 1], 4, 7, mean=mean)[2]
    own = d.step(backend, x, [0, 1], 4, 7)[2]
    assert_close(given, own, 3e-5)


@pytest.mark.parametrize("name", ["odd", "wide", "one"])
def test_posterior(backend, name):
    d = Device(name, "last")
    v, rng = d.level.sigma**2, np.random.default_rng(2)
    x = (np.sqrt(v) * complex_normal(rng, 2, d.n, d.m)).astype(np.complex64)
    x[:, ::3] += complex_normal(rng, *x[:, ::3].shape).astype(np.complex64)
    old = complex_normal(rng, *x.shape).astype(np.complex64)
    mean, power, probability = call(
        backend,
        *("cuda_langevin_posterior", x, d.energy(backend, x), d.numbers, d.mixture, np.array([1], np.int32), 1, 1),
        *(d.n, d.m, d.mixture.shape[-1], Out(x.shape, np.complex64, old)),
        *(Out((2, d.n), start=np.ones((2, d.n))), Out((2, d.n), start=np.zeros((2, d.n)))),
    )
    exact, variance, active = reference.cell_posterior(x[1].astype(np.complex128), v, d.prior)
    assert_close(mean[1] - old[1], exact, 1e-4)
    expected = np.mean(np.abs(exact) ** 2, 1) + variance
    np.testing.assert_allclose(power[1] - 1, expected, rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose(probability[1], active, rtol=1e-3, atol=1e-6)
    assert np.array_equal(mean[0], old[0])


def test_watch(backend):
    d = Device("few", "last")
    rng = np.random.default_rng(8)
    x = complex_normal(rng, 6, d.n, d.m).astype(np.complex64)  # three chains of two blocks
    x[1], x[2], x[3] = np.nan, 100 * x[2], np.inf
    before = np.array([0, 0, 0, 0, 1, 0], np.int32)
    with np.errstate(invalid="ignore", over="ignore"):
        energy = d.energy(backend, x)
    parts = backend.native.langevin_spread_parts
    after, spread = call(
        backend,
        *("cuda_langevin_watch", x, energy, np.array([20, 20], np.float32), before, 2, 3, d.n, d.m),
        *(Out(6, np.int32), Out((2, parts))),
    )
    assert after.tolist() == [0, 1, 1, 1, 1, 0]
    np.testing.assert_allclose(spread.sum(1), 0, atol=1e-12)  # one chain is left in each block
    x[1], x[2], x[3] = x[0] - 0.5, x[0] + 0.5, 0
    after, spread = call(
        backend,
        *("cuda_langevin_watch", x, d.energy(backend, x), np.array([20, 20], np.float32), before, 2, 3, d.n, d.m),
        *(Out(6, np.int32), Out((2, parts))),
    )
    assert after.tolist() == [0, 0, 0, 0, 1, 0]
    assert spread[0].sum() == pytest.approx(np.mean(np.var(x[:3].astype(np.complex128), axis=0)), rel=1e-5)


def test_too_many_devices(backend):
    assert backend.native.langevin_tile(20000, 4) == 0
    assert backend.native.langevin_tile(64, 5) == 8


def on_device(backend, *arguments, **options):
    """A receiver of the CPU, and one whose chains run on the backend's device."""
    cpu, other = (jf.LangevinReceiver(*arguments, threads=1, **options) for _ in range(2))
    other._device = DeviceSampler(other, open_device(backend))
    return cpu, other


def close(found, expected, atol):
    scale = np.abs(expected.mean).max()
    assert isinstance(found.mean, torch.Tensor)
    np.testing.assert_allclose(found.chains.cpu(), expected.chains, atol=atol * scale)
    np.testing.assert_allclose(found.mean.cpu(), expected.mean, atol=atol / 10 * scale)
    np.testing.assert_allclose(found.probability.cpu(), expected.probability, atol=atol)
    np.testing.assert_allclose(found.spread.cpu(), expected.spread, rtol=0.05, atol=1e-6 * scale**2)
    for a, b in zip(found.history, expected.history, strict=True):
        assert a["sigma"] == pytest.approx(b["sigma"])
        assert a["spread"] == pytest.approx(b["spread"], rel=0.02)


@pytest.mark.parametrize("size", [(5, 23, 30), (3, 14, 7)])
def test_same_chains_as_on_the_cpu(backend, size):
    m, n, length = size
    blocks = [draw_cell(CellScenario(antennas=m, devices=n, symbols=length, snr_db=20), 0, i) for i in range(2)]
    cpu, device = on_device(backend, blocks[0].pilots, m, chains=3, average=2)
    y = np.stack([drop.y for drop in blocks])
    # The same noise, and rounding in a loop that forgets its errors.
    for found, block in zip(device.sample(backend.put(y), blocks[0].noise_var), y, strict=True):
        close(found, cpu.sample(block, blocks[0].noise_var), 1e-2)
    found, expected = device.detect(backend.put(y[0]), blocks[0].noise_var), cpu.detect(y[0], blocks[0].noise_var)
    assert found.activity.dtype == torch.float32
    assert found.channels.shape == expected.channels.shape
    assert found.channels.dtype == torch.complex64
    assert found.active.tolist() == expected.active.tolist()
    assert found.converged == expected.converged
    assert found.iterations == expected.iterations
    assert found.noise_var == pytest.approx(expected.noise_var, rel=1e-3)
    assert found.restarts == 0
    np.testing.assert_allclose(found.channel_var.cpu(), expected.channel_var, rtol=1e-2)


def test_paper_sampler_and_restarts(backend):
    drop = draw_cell(CellScenario(antennas=4, devices=16, symbols=8, snr_db=0), 0, 3)
    options = dict(sampler="paper", levels=20, steps=3, chains=3, step=16.0)
    cpu, device = on_device(backend, drop.pilots, 4, **options)
    found, expected = device.sample(backend.put(drop.y), drop.noise_var), cpu.sample(drop.y, drop.noise_var)
    assert expected.restarts > 0
    assert (found.restarts, found.diverged) == (expected.restarts, expected.diverged)
    np.testing.assert_allclose(found.mean.cpu(), expected.mean, atol=1e-2 * np.abs(expected.mean).max())
    # Nothing helps here.
    cpu, device = on_device(backend, drop.pilots, 4, **{**options, "step": 1e9})
    found = device.detect(backend.put(drop.y), drop.noise_var)
    assert not found.converged
    assert len(found.active) == 0
    assert found.restarts == 3 * 5
    assert bool(torch.all(found.activity < 0.5))


@pytest.mark.parametrize("tensors", [False, True])
def test_other_priors(backend, tensors):
    prior = OnePower(0.2, 3.0)
    if tensors:
        seen = []

        def denoise_torch(columns, noise_var):
            seen.append(columns)
            found = prior.denoise(columns.cpu().numpy(), noise_var.cpu().numpy())
            return tuple(torch.as_tensor(a, device=columns.device) for a in found)

        prior.denoise_torch = denoise_torch
    drop = draw_cell(CellScenario(antennas=2, devices=12, symbols=9, snr_db=15), 0, 1)
    cpu, device = on_device(backend, drop.pilots, 2, prior, chains=2, levels=8)
    close(device.sample(backend.put(drop.y), drop.noise_var), cpu.sample(drop.y, drop.noise_var), 1e-2)
    if tensors:
        assert len(seen) == 8 * 3 + 1 + 1
        assert all(isinstance(x, torch.Tensor) for x in seen)


def test_score_network_on_the_device(backend):
    """The network, its closed forms and the sampler around them, without a way back to the host."""
    drop = draw_cell(CellScenario(antennas=3, devices=12, symbols=9, snr_db=15), 0, 1)
    cpu, device = on_device(backend, drop.pilots, 3, "cell-network", chains=2, levels=6)
    close(device.sample(backend.put(drop.y), drop.noise_var), cpu.sample(drop.y, drop.noise_var), 1e-2)
    rng = np.random.default_rng(0)
    x = 3 * complex_normal(rng, 2, 5, 4) * rng.uniform(0, 1, (2, 5, 1))
    v = 10 ** rng.uniform(-3, 1, (2, 5))
    found = cpu.prior.denoise_torch(backend.put(x), backend.put(v))
    for a, b in zip(found, cpu.prior.denoise(x, v), strict=True):
        assert_close(a.cpu().numpy(), b, 1e-5)  # the network is in single precision


@pytest.mark.parametrize("noise", [1e-6, 0.1, 100.0])
def test_leave_one_out_of_tensors(noise):
    rng = np.random.default_rng(0)
    pilots = qpsk_pilots(6, 4).astype(np.complex128)
    y = complex_normal(rng, 2, 3, 4)
    power = np.array([[4.0, 0.5, 2e-3, 30.0, 0.0, 1.0], [1.0, 0.0, 0.0, 3e3, 1e-4, 1.0]])
    tensors = (torch.from_numpy(a) for a in (y, pilots, np.full(2, noise), power))
    found = leave_one_out_tensors(*tensors)
    for b in range(2):
        for a, e in zip(found, leave_one_out(y[b], pilots, noise, power[b]), strict=True):
            np.testing.assert_allclose(a[b], e, rtol=1e-6)


def test_progress_and_input(backend):
    drop = draw_cell(CellScenario(antennas=2, devices=8, symbols=6), 0, 0)
    _, device = on_device(backend, drop.pilots, 2, levels=4, chains=2)
    seen = []
    first = device.detect(drop.y, drop.noise_var, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(i, 4) for i in range(1, 5)]
    assert isinstance(first.activity, np.ndarray)
    for y in (backend.put(drop.y), drop.y.tolist(), drop.y[None]):
        again = device.detect(y, drop.noise_var)
        again = again[0] if isinstance(again, list) else again
        assert isinstance(again.activity, torch.Tensor) == isinstance(y, torch.Tensor)
        assert np.array_equal(torch.as_tensor(again.activity).cpu(), first.activity)
    assert device.detect(drop.y[:0].reshape(0, 2, 6), 1.0) == []
    for y, message in (
        (np.ones((2, 5)), r"y: expected shape \(2, 6\), found \(2, 5\)"),
        (np.full((2, 6), np.nan), "y: expected finite"),
        (np.full((2, 6), "a"), "y: expected complex64"),
        (backend.put(np.ones((2, 6), np.complex64)).requires_grad_(), "y: expected an array without gradients"),
        (np.ones((40000, 2, 6)), "y: expected at most 32767 blocks"),
    ):
        with pytest.raises((TypeError, ValueError), match=message):
            device.detect(y, 1.0)
    with pytest.raises(ValueError, match="noise_var: expected"):
        device.detect(drop.y, 0.0)


def test_says_why_there_is_no_device():
    if devices()[0] > 0:
        pytest.skip("needs a machine without a GPU")
    with pytest.raises(ValueError, match=r"device: expected 'cpu', found 'cuda', but "):
        jf.LangevinReceiver(qpsk_pilots(6, 4), 2, device="cuda")
    with pytest.raises(ValueError, match="device: expected 'cpu', 'cuda' or 'cuda:N', found 'tpu'"):
        jf.LangevinReceiver(qpsk_pilots(6, 4), 2, device="tpu")


def test_level_diagonals():
    singular = np.array([3.0, 1.0, 0.0])
    level = preconditioned_level(0.5, singular, 0.5, 0.7)
    assert level.known == 1
    matrix, covariance = level.diagonals(singular)
    v = 0.25
    np.testing.assert_allclose(matrix, [0, 0.7 * (1 - v / 0.5), 0.7])
    np.testing.assert_allclose(
        covariance, 0.7 * 1.3 * np.array([v - 0.5 / 9, v * (1 - v / 0.5), v]) + 0.7 * 1.3 * v * 1e-5
    )
