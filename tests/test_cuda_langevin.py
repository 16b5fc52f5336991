"""The Langevin sampler's CUDA kernels and `LangevinReceiver` on a device, emulated and where there is a GPU."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from kernels import Out, run
from problems import assert_close, complex_normal
from test_langevin import OnePower
from test_langevin_kernels import SIZES, Chains, mixture, schedules

import jadce_fast as jf
from jadce_fast import reference
from jadce_fast.anneal import leave_one_out, preconditioned_level
from jadce_fast.campaigns import CellScenario, draw_cell
from jadce_fast.campaigns.cell_drop import qpsk_pilots
from jadce_fast.cuda.device import devices


def noise(backend, *, count, pairs, **counter):
    outputs = {"words": Out((count, pairs, 4), np.uint32), "normals": Out((count, pairs, 4))}
    return run(backend, "langevin_noise", count=count, pairs=pairs, **counter, **outputs)


def test_noise(backend):
    seed, chain, step, count, pairs = 0x123456789ABCDEF, 5, 77, 19, 7
    found = noise(backend, seed=seed, chain=chain, step=step, count=count, pairs=pairs)
    expected = [[reference.philox((m, j, chain, step), seed) for j in range(pairs)] for m in range(count)]
    assert np.array_equal(found.words, np.array(expected, np.uint32))
    z = found.normals.reshape(count, 2 * pairs, 2)
    # Logarithm, root, sine and cosine in single precision: 2e-7 each, of a radius of at most 4.2.
    exact = reference.langevin_noise(seed, chain, step, count, 2 * pairs)
    np.testing.assert_allclose(z[..., 0] + 1j * z[..., 1], exact, atol=3e-6)


def test_noise_is_that_of_the_cpu(backend):
    m, n = 16, 12
    chains = Chains(m, n, 8)
    chains.native.start([2], 99, 4, 1.0)
    normals = noise(backend, seed=99, chain=2, step=4, count=m, pairs=n // 2).normals.reshape(m, n, 2)
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

    def go(self, backend, rows, seed, counter, *, x, steps=1, average=0, mean=None, cluster=None, **others):
        """Steps of the level from x (F, K, M), which may be None: from white noise of variance 0.49."""
        (f, n, m), clusters = (4, self.n, self.m), cluster or backend.native.langevin_cluster()
        exchange = (len(rows), backend.native.langevin_exchange, n, m)
        needed = backend.native.langevin_exchanges(devices=n, antennas=m, cluster=clusters)
        assert not needed or max(n, m) > 100
        counted = {
            "sum": Out((f, n, m), np.complex64, np.ones((f, n, m))),
            "power": Out((f, n), start=np.ones((f, n))),
            "probability": Out((f, n), start=np.zeros((f, n))),
        }
        fields = {
            "components": self.mixture.shape[-1],
            "levels": 1,
            "seen": Out((1, f, n, m), np.complex64),
            "energy": Out((1, f, n)),
        }
        fields |= {"mixture": self.mixture} | others
        return run(
            backend,
            "langevin_anneal",
            matrix=columns(self.matrix),
            factor=None if self.factor is None else columns(self.factor),
            force=self.force,
            mean=mean,
            start=np.full(2, 0.7, np.float32) if x is None else None,
            denoised=self.level.denoised,
            seed=seed,
            step=counter,
            steps=steps,
            average=average,
            cluster=clusters,
            exchange=Out(exchange, np.complex64) if needed else None,
            x=Out((f, n, m), np.complex64, x),
            chain=np.array(rows, np.int32),
            rows=len(rows),
            blocks=2,
            chains=2,
            devices=n,
            antennas=m,
            level=self.numbers,
            **fields,
            **(counted if average else {}),
        )


def columns(matrices):
    """Columns of matrices as rows, with an even number of entries."""
    n = matrices.shape[-1]
    return np.ascontiguousarray(np.pad(matrices.swapaxes(-1, -2), ((0, 0), (0, 0), (0, n % 2))))


def exact_step(d, kind, f, x, seed, counter):
    """Step of chain f % 2 of block f // 2 from x (K, M) by the reference."""
    c, before, v = d.chains[f // 2], x.T.astype(np.complex128), d.level.sigma**2
    score = reference.cell_score(before.T, v, d.prior).T
    zeta = reference.langevin_noise(seed, f % 2, counter, d.m, d.n)
    args = before, c.y, c.pilots, d.noise, d.level.sigma, score
    if kind == "paper":
        return reference.algorithm1_step(*args, 1e-3, 0.9, zeta).T
    return reference.preconditioned_step(*args, {"known": 0.5, "mixed": 0.9, "last": 0.2}[kind], zeta).T


@pytest.mark.parametrize("name", ["odd", "long", "one", "wide", "few"])
@pytest.mark.parametrize("kind", ["known", "mixed", "last", "paper"])
def test_step(backend, name, kind):
    d = Device(name, kind)
    x = (1.5 * complex_normal(np.random.default_rng(3), 4, d.n, d.m)).astype(np.complex64)  # two chains of two blocks
    rows = [3, 0]
    found = d.go(backend, rows, 9, 1, x=x)
    for f in rows:
        # As for the CPU's kernel (test_langevin_kernels.py), whose matrices are in single precision.
        assert_close(found.x[f], exact_step(d, kind, f, x[f], 9, 1), 3e-5)
        assert np.array_equal(found.seen[0, f], found.x[f])
        assert_close(found.energy[0, f], np.sum(np.abs(found.x[f]) ** 2, 1), 1e-5)
    others = [1, 2]  # chains that nobody asked for
    assert np.array_equal(found.x[others], x[others])
    assert np.all(np.isnan(found.seen[0, others]))


def test_steps_of_a_launch(backend):
    """Steps of one launch are those of many launches, bit for bit, and so are those of clusters of any size."""
    d = Device("few", "last")
    rows = [0, 3]
    start = d.go(backend, rows, 4, 7, x=None, levels=0, steps=0, seen=None, energy=None).x
    for f in rows:
        assert_close(start[f].T, 0.7 * reference.langevin_noise(4, f % 2, 6, d.m, d.n), 3e-6)
    x, each = start, []
    for i in range(7):
        x = d.go(backend, rows, 4, 7 + i, x=x).x
        each.append(x)
    for cluster in (1, 3, backend.native.langevin_cluster()):
        found = d.go(backend, rows, 4, 7, x=None, steps=5, average=2, cluster=cluster)
        assert np.array_equal(found.seen[0, rows], each[4][rows])
        assert np.array_equal(found.x[rows], each[6][rows])
        for f in rows:
            posteriors = [
                reference.cell_posterior(s[f].astype(np.complex128), d.level.sigma**2, d.prior) for s in each[4:6]
            ]
            assert_close(found.sum[f] - 1, sum(mean for mean, _, _ in posteriors), 1e-4)
            power = sum(np.mean(np.abs(mean) ** 2, 1) + variance for mean, variance, _ in posteriors)
            np.testing.assert_allclose(found.power[f] - 1, power, rtol=1e-3, atol=1e-6)
            np.testing.assert_allclose(found.probability[f], sum(p for _, _, p in posteriors), rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize(("size", "cluster"), [((640, 9, 4), 8), ((1, 122, 5), 1)], ids=["exchange", "tables"])
def test_what_shared_memory_does_not_hold(backend, monkeypatch, size, cluster):
    """Exchange and states, or the tables, are in global memory then."""
    monkeypatch.setitem(SIZES, "large", size)
    d = Device("large", "last")
    x = complex_normal(np.random.default_rng(3), 4, d.n, d.m).astype(np.complex64)
    assert backend.native.langevin_exchanges(devices=d.n, antennas=d.m, cluster=cluster) == (d.m == 640)
    first = d.go(backend, [1], 9, 1, x=x, cluster=min(cluster, backend.native.langevin_cluster()))
    assert_close(first.x[1], exact_step(d, "last", 1, x[1], 9, 1), 3e-5)
    two = d.go(backend, [1], 9, 1, x=x, steps=2, cluster=min(cluster, backend.native.langevin_cluster()))
    assert_close(two.x[1], exact_step(d, "last", 1, first.x[1], 9, 2), 3e-5)


def test_step_from_given_means(backend):
    d = Device("odd", "last")
    x = complex_normal(np.random.default_rng(6), 4, d.n, d.m).astype(np.complex64)
    v = d.level.sigma**2
    mean = np.stack([reference.cell_posterior(c.astype(np.complex128), v, d.prior)[0] for c in x]).astype(np.complex64)
    given = d.go(backend, [0, 1], 4, 7, x=x, mean=mean, mixture=None, components=0).x
    assert_close(given[:2], d.go(backend, [0, 1], 4, 7, x=x).x[:2], 3e-5)


def test_watch(backend):
    d = Device("few", "last")
    rng = np.random.default_rng(8)
    x = complex_normal(rng, 2, 6, d.n, d.m).astype(np.complex64)  # after two levels, three chains of two blocks
    x[0, 1], x[1, 2], x[1, 3] = np.nan, 100 * x[1, 2], np.inf
    before = np.array([0, 0, 0, 0, 1, 0], np.int32)

    def watch(x):
        with np.errstate(invalid="ignore", over="ignore"):
            energy = np.sum(np.abs(x.astype(np.complex128)) ** 2, -1).astype(np.float32)
        return run(
            backend,
            "langevin_watch",
            x=x,
            energy=energy,
            bound=np.array([20, 20], np.float32),
            before=before,
            levels=len(x),
            blocks=2,
            chains=3,
            devices=d.n,
            antennas=d.m,
            after=Out(6, np.int32),
            spread=Out((len(x), 2)),
        )

    found = watch(x)
    assert found.after.tolist() == [0, 1, 1, 1, 1, 0]
    pair = [np.mean(np.var(x[0, f].astype(np.complex128), axis=0)) for f in ([0, 2], [3, 5])]
    np.testing.assert_allclose(found.spread[0], pair, rtol=1e-5)
    np.testing.assert_allclose(found.spread[1], 0, atol=1e-12)  # one chain is left in each block
    x[0, 1], x[1, 2], x[1, 3] = x[0, 0] - 0.5, x[0, 0] + 0.5, 0
    found = watch(x)
    assert found.after.tolist() == [0, 0, 0, 0, 1, 0]
    assert found.spread[1, 0] == pytest.approx(np.mean(np.var(x[1, :3].astype(np.complex128), axis=0)), rel=1e-5)


def on_both(*arguments, **options):
    """A receiver of the CPU, and one whose chains run on the device."""
    return [jf.LangevinReceiver(*arguments, device=device, threads=1, **options) for device in ("cpu", "cuda")]


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
def test_same_chains_as_on_the_cpu(backend, gpu_device, size):
    m, n, length = size
    blocks = [draw_cell(CellScenario(antennas=m, devices=n, symbols=length, snr_db=20), 0, i) for i in range(2)]
    cpu, device = on_both(blocks[0].pilots, m, chains=3, average=2)
    y = np.stack([drop.y for drop in blocks])
    # The same noise, and rounding in a loop that forgets its errors.
    for found, block in zip(device.sample_many(backend.put(y), blocks[0].noise_var), y, strict=True):
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


def test_paper_sampler_and_restarts(backend, gpu_device):
    drop = draw_cell(CellScenario(antennas=4, devices=16, symbols=8, snr_db=0), 0, 3)
    options = dict(sampler="paper", levels=20, steps=3, chains=3, step=16.0)
    cpu, device = on_both(drop.pilots, 4, **options)
    found, expected = device.sample(backend.put(drop.y), drop.noise_var), cpu.sample(drop.y, drop.noise_var)
    assert expected.restarts > 0
    assert (found.restarts, found.diverged) == (expected.restarts, expected.diverged)
    np.testing.assert_allclose(found.mean.cpu(), expected.mean, atol=1e-2 * np.abs(expected.mean).max())
    # Nothing helps here.
    device = on_both(drop.pilots, 4, **{**options, "step": 1e9})[1]
    found = device.detect(backend.put(drop.y), drop.noise_var)
    assert not found.converged
    assert len(found.active) == 0
    assert found.restarts == 3 * 5
    assert bool(torch.all(found.activity < 0.5))


@pytest.mark.parametrize("tensors", [False, True])
def test_other_priors(backend, gpu_device, tensors):
    prior, seen = OnePower(0.2, 3.0), []
    if tensors:

        class OfTensors(OnePower):
            takes_tensors = True

            def posterior(self, columns, noise_var):
                if isinstance(columns, np.ndarray):
                    return super().posterior(columns, noise_var)
                seen.append(columns)
                found = super().posterior(columns.cpu().numpy(), noise_var.cpu().numpy())
                return tuple(torch.as_tensor(a, device=columns.device) for a in found)

        prior = OfTensors(0.2, 3.0)
    drop = draw_cell(CellScenario(antennas=2, devices=12, symbols=9, snr_db=15), 0, 1)
    cpu, device = on_both(drop.pilots, 2, prior, chains=2, levels=8)
    close(device.sample(backend.put(drop.y), drop.noise_var), cpu.sample(drop.y, drop.noise_var), 1e-2)
    assert len(seen) == (8 * 3 + 1 + 1 if tensors else 0)


def test_score_network_on_the_device(backend, gpu_device):
    """The network, its closed forms and the sampler around them, without a way back to the host."""
    drop = draw_cell(CellScenario(antennas=3, devices=12, symbols=9, snr_db=15), 0, 1)
    cpu, device = on_both(drop.pilots, 3, "cell-network", chains=2, levels=6)
    close(device.sample(backend.put(drop.y), drop.noise_var), cpu.sample(drop.y, drop.noise_var), 1e-2)
    rng = np.random.default_rng(0)
    x = 3 * complex_normal(rng, 2, 5, 4) * rng.uniform(0, 1, (2, 5, 1))
    v = 10 ** rng.uniform(-3, 1, (2, 5))
    found = cpu.prior.posterior(backend.put(x), backend.put(v))
    for a, b in zip(found, cpu.prior.posterior(x, v), strict=True):
        assert_close(a.cpu().numpy(), b, 1e-5)  # the network is in single precision


@pytest.mark.parametrize("noise", [1e-6, 0.1, 100.0])
def test_leave_one_out_of_tensors(noise):
    rng = np.random.default_rng(0)
    pilots = qpsk_pilots(6, 4)[:, 0].T.astype(np.complex128)
    y = complex_normal(rng, 2, 3, 4)
    power = np.array([[4.0, 0.5, 2e-3, 30.0, 0.0, 1.0], [1.0, 0.0, 0.0, 3e3, 1e-4, 1.0]])
    tensors = (torch.from_numpy(a) for a in (y, pilots, np.full(2, noise), power))
    found = leave_one_out(*tensors)
    for b in range(2):
        for a, e in zip(found, leave_one_out(y[b], pilots, noise, power[b]), strict=True):
            np.testing.assert_allclose(a[b], e, rtol=1e-6)


def test_progress_and_input(backend, gpu_device):
    drop = draw_cell(CellScenario(antennas=2, devices=8, symbols=6), 0, 0)
    device = on_both(drop.pilots, 2, levels=4, chains=2)[1]
    seen = []
    first = device.detect(drop.y, drop.noise_var, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(i, 4) for i in range(1, 5)]
    assert isinstance(first.activity, np.ndarray)
    several = [device.detect_many(y, drop.noise_var) for y in (drop.y[None], [drop.y, backend.put(drop.y)])]
    for again, tensors in [
        (device.detect(backend.put(drop.y), drop.noise_var), True),
        (device.detect(drop.y[:, 0].tolist(), drop.noise_var), False),
        *zip(several[0] + several[1], (False, False, True), strict=True),
    ]:
        assert isinstance(again.activity, torch.Tensor) == tensors
        assert np.array_equal(torch.as_tensor(again.activity).cpu(), first.activity)
    assert device.detect_many(drop.y[None][:0], 1.0) == []
    for y, message in (
        (np.ones((5, 2)), r"y: expected shape \(6, 2\), found \(5, 2\)"),
        (np.ones((3, 6, 1, 2)), r"y: expected shape \(6, 1, 2\), found \(3, 6, 1, 2\)"),
        (np.full((6, 2), np.nan), "y: expected finite"),
        (np.full((6, 2), "a"), "y: expected complex64"),
        (backend.put(np.ones((6, 2), np.complex64)).requires_grad_(), "y: expected an array without gradients"),
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
