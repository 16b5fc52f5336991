"""Noise on a GPU that is not white: module A's kernels, and receivers against those on the CPU."""

import numpy as np
import pytest
import torch
from kernels import EPS, Fields, Out, control, emulator, error, gpu, read_word, run, sizes, word
from problems import SIZES, complex_normal, problem, qpsk_pilots
from test_cuda_receiver import TorchWienerPrior, blocks_of, same
from test_noise import covariances

import jadce_fast as jf
from jadce_fast import dft_pilots, ops, reference
from jadce_fast.campaigns.ofdm_drop import Scenario, draw_drop
from jadce_fast.noise import over_beams

pytestmark = pytest.mark.usefixtures("one_thread")

SHAPES = [(8, 12, 8), (1, 13, 5), (9, 10, 1), (3, 2, 33), (2, 5, 85)]  # N, T, M; the last matrix is not copied


class Noise:
    """Covariances over beams, and the kernels' tables of them."""

    def __init__(self, rng, m, gram):
        self.exact = covariances(rng, len(gram), m, 1.0)
        var, self.tables = over_beams(self.exact, gram, beamspace=False)
        self.exact /= var


@pytest.mark.parametrize("shape", SHAPES)
def test_whiten(backend, shape):
    n, t, m = shape
    rng = np.random.default_rng(0)
    noise = Noise(rng, m, np.ones((n, t), np.float32))
    r = complex_normal(rng, 3, t, n, m).astype(np.complex64)
    words = backend.put(control(backend, going=[1, 0, 1]))
    found = run(
        backend,
        "whiten",
        r=r,
        enabled=word(backend, words, "going"),
        inverse=noise.tables["inverse"],
        sizes=sizes(subcarriers=n, symbols=t, antennas=m, batch=3),
        filtered=Out((3, n, m)),
        whitened=Out((3, n, m)),
        power=Out((3, n), np.float64),
    )
    u = np.einsum("nbc,itnc->itnb", np.linalg.inv(noise.exact), r)
    assert np.isnan(found.filtered[1]).all()
    # The inverse is rounded once, sums over M beams lose less than M roundings of their terms' squares.
    for i in (0, 2):
        assert error(found.filtered[i], (abs(u[i]) ** 2).sum(0)) <= 16 * EPS
        assert error(found.whitened[i], (r[i].conj() * u[i]).real.sum(0)) <= 32 * EPS
        np.testing.assert_allclose(found.power[i], found.whitened[i].sum(-1, dtype=float), rtol=16 * EPS)


@pytest.mark.parametrize("kind", ["dft", "qpsk"])
@pytest.mark.parametrize("shape", SHAPES)
def test_the_message_is_the_references(backend, shape, kind):
    """Three blocks: in the first iteration, one that has ended, and in a later iteration."""
    n, t, m = shape
    k, capacity, rng = 3 * t, 5, np.random.default_rng(1)
    pilots = (dft_pilots if kind == "dft" else qpsk_pilots)(k, t, n)
    plan = ops.Transform(pilots, m, np.eye(n, dtype=np.complex64), beamspace=False)
    noise = Noise(rng, m, plan.gram)
    r, r_pri = (complex_normal(rng, 3, t, n, m).astype(np.complex64) for _ in range(2))
    rotated = r if plan.rotation is None else np.einsum("nst,itnm->isnm", plan.rotation, r).astype(np.complex64)
    var, posterior, power = (rng.uniform(0.1, 1, (3, capacity, *s)).astype(np.float32) for s in ((m,), (), ()))
    numbers = dict(going=[1, 0, 1], iteration=[0, 1, 1], candidates=[-1, 2, 3], noise=[0.3, 0.3, 0.2])
    numbers |= dict(
        received=[1.0] * 3, previous=[np.inf] * 3, best=[np.inf] * 3, deadline=[np.inf] * 3, members=[1] * 3
    )
    numbers |= dict(settled=[0] * 3, member=[0] * 3, elapsed=[0.0] * 3, longest=[0.0] * 3)
    words = backend.put(control(backend, **numbers))
    rules, mean_gram = backend.native.Rules(), float(plan.gram.mean())
    shared = dict(
        control=words,
        rules=rules,
        sizes=sizes(devices=k, subcarriers=n, symbols=t, antennas=m, batch=3),
        mean_gram=mean_gram,
    )
    u = np.einsum("nbc,itnc->itnb", np.linalg.inv(noise.exact), rotated)
    mixed = run(
        backend,
        "noise_mixing",
        **shared,
        filtered=(abs(u) ** 2).sum(1).astype(np.float32),
        gram=plan.gram,
        uniform=bool(np.ptp(plan.gram) == 0),
        **{name: noise.tables[name] for name in ("covariance", "unmix", "level")},
        v_a=Out((3, m)),
        gain=Out((3, m), np.float64),
        mixing=Out((3, m, m), np.complex128),
    )
    inverted = run(
        backend,
        "noise_invert",
        **shared,
        candidates=Fields("Candidates", posterior=posterior, power=power, var=var, mean=0, device=0),
        capacity=capacity,
        v_a=mixed.v_a,
        gain=Out((3, m), np.float64, start=mixed.gain),
        mixing=Out((3, m, m), np.complex128, start=mixed.mixing),
        unknown=Out((3, m), start=np.full((3, m), 7)),
        v_b=Out((3, m)),
        mix=Out((3, m, m), np.complex64),
        history=Out((3, rules.max_iterations, 2)),
    )
    assert read_word(backend, words, "run").tolist() == [1, 0, 1]
    found = run(
        backend,
        "noise_message",
        control=words,
        gram=plan.gram,
        covariance=noise.tables["covariance"],
        v_a=mixed.v_a,
        gain=inverted.gain,
        mix=inverted.mix,
        r_pri=r_pri,
        sizes=shared["sizes"],
        r=Out(r.shape, np.complex64, start=rotated),
        r_b=Out(r.shape, np.complex64),
    ).r_b
    assert np.isnan(found[1]).all()
    for i in (0, 2):
        delta, unknown = np.float32(numbers["noise"][i]), np.ones(m)
        if i:
            weights = posterior[i, :3].astype(float)
            unknown = np.minimum(m * ((weights * power[i, :3])[:, None] * var[i, :3]).sum(0) / weights.sum(), 8.0)
        np.testing.assert_allclose(inverted.unknown[i], unknown, rtol=8 * EPS)
        covariance = float(delta) * noise.exact
        v = reference.colored_variance(r[i], pilots, covariance, 1e-3 * float(delta) / mean_gram)
        # Noise is taken away from what was measured, and the inverse of the system is rounded.
        unmix = np.linalg.norm(noise.tables["unmix"].astype(float), 2) / mean_gram
        scale = unmix * np.linalg.norm((abs(u[i]) ** 2).mean((0, 1)))
        np.testing.assert_allclose(mixed.v_a[i], v, atol=64 * EPS * scale)
        c, v_b = reference.colored_correction(r[i], pilots, mixed.v_a[i].astype(float), covariance, unknown)
        np.testing.assert_allclose(inverted.v_b[i], np.maximum(v_b, 1e-3 * delta / mean_gram), rtol=1e3 * EPS)
        expected = c if plan.rotation is None else np.einsum("nst,tnm->snm", plan.rotation, c)
        assert error(found[i] - r_pri[i], expected) <= 64 * EPS
        assert read_word(backend, words, "error")[i] == pytest.approx(inverted.v_b[i].mean(), rel=1e-6)
        assert inverted.history[i, numbers["iteration"][i], 0] == read_word(backend, words, "error")[i]


@pytest.mark.parametrize(
    ("pilots", "form", "power"),
    [("dft", "covariances", 1.0), ("qpsk", "antennas", "unknown"), ("dft", "both", "unknown")],
)
def test_equals_the_cpu(gpu_device, pilots, form, power):
    p = problem(**(SIZES["plain"] | dict(active=3)), pilots=pilots, seed=5)
    n, m = p.y.shape[1:]
    rng = np.random.default_rng(1)
    noise = {
        "covariances": covariances(rng, n, m, p.noise_var),
        "antennas": p.noise_var * rng.uniform(0.3, 3, (1, m)),
        "both": p.noise_var * rng.uniform(0.3, 3, (n, m, 1)),
    }[form]
    arguments = dict(activity_rate=p.activity_rate, power=power, threads=1, rules=jf.Rules(max_iterations=3))
    prior = TorchWienerPrior(n)
    cpu = jf.Receiver(p.pilots, m, prior, **arguments)
    rx = jf.Receiver(p.pilots, m, prior, device="cuda", **arguments)
    before, held = rx.detect(p.y, p.noise_var), rx.gpu.detector.memory
    for now in (noise, 2 * noise):
        expected, found = cpu.detect(p.y, now), rx.detect(p.y, now)
        assert expected.iterations > 2
        same(found, expected)
        assert found.explained.ratio == pytest.approx(expected.explained.ratio, rel=1e-3)
        assert found.reason == expected.reason
    pending = rx.enqueue(torch.from_numpy(p.y).to(gpu_device), now)
    assert np.array_equal(pending.active[: int(pending.found)].cpu().numpy(), expected.active)
    now *= 3  # what the caller does to it afterwards is seen
    same(rx.detect(p.y, now), cpu.detect(p.y, now))
    assert rx.gpu.detector.memory > held
    assert rx.detect(p.y, p.noise_var) == before
    assert np.array_equal(rx.detect(p.y, np.full((1, m), p.noise_var)).channels, before.channels)


@pytest.mark.parametrize(
    "backend", [pytest.param("emulated", marks=emulator), pytest.param("cuda", marks=gpu)], indirect=True
)
def test_a_batch_and_predicted_variances(gpu_device):
    pilots, y = blocks_of(3)
    noise = covariances(np.random.default_rng(2), 1, 16, 0.2)[0]
    rules = jf.Rules(variance="paper", max_iterations=4)
    arguments = dict(prior="gaussian", activity_rate=0.05, power=1.0, rules=rules)
    expected = [jf.Receiver(pilots, 16, **arguments).detect(block, noise) for block in y]
    found = jf.Receiver(pilots, 16, device="cuda", batch=2, **arguments).detect_many(y, noise)
    for a, b in zip(found, expected, strict=True):
        same(a, b)


@pytest.mark.parametrize(
    "backend", [pytest.param("emulated", marks=emulator), pytest.param("cuda", marks=gpu)], indirect=True
)
def test_one_noisy_antenna_in_a_cell(gpu_device):
    """As on the CPU with the shipped prior: nobody is found who is not there."""
    drop = draw_drop(Scenario(devices=200, antennas=16), seed=1)
    y, noise = drop.y.copy(), np.full(16, drop.noise_var)
    y[:, :, 5] += np.sqrt(31.6) * complex_normal(np.random.default_rng(0), 20, 48)
    noise[5] += 31.6
    out = jf.Receiver(drop.pilots, 16, "cdl-tiny", device="cuda", capacity=24).detect(y, noise)
    assert np.array_equal(out.active, drop.active)
    assert out.trusted, out.reason
