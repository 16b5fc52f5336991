"""The receiver against the dense double-precision reference, its guarantees, and its refusals."""

import multiprocessing
import threading

import numpy as np
import pytest
from problems import SIZES, WienerPrior, complex_normal, problem

import jadce_fast as jf
from jadce_fast import ops, reference
from jadce_fast.campaigns.ofdm_drop import Scenario, draw_drop

LEVELS = 10 ** (np.arange(-18, 9.1, 3) / 10)  # the receiver's grid of unknown powers


def receiver(p, prior=None, power=1.0, **options):
    n, m = p.y.shape[1:]
    prior = prior or WienerPrior(n)
    return jf.Receiver(p.pilots, m, prior, p.activity_rate, power, threads=2, **options)


def nmse(out, p):
    x = np.zeros((p.pilots.devices, *p.y.shape[1:]), np.complex128)
    x[out.active] = out.channels
    return np.sum(abs(x - p.x) ** 2) / np.sum(abs(p.x) ** 2)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("pilots", ["dft", "qpsk"])
@pytest.mark.parametrize("variance", ["residual", "paper"])
def test_equals_the_dense_reference(size, pilots, variance):
    """Screening off, three iterations: the sparse state in single precision is the dense one to rounding.

    Sums are good to some 1e-6. The tracked variance is |r|^2 less the noise, which magnifies that by up to 200 here;
    log odds of some hundreds are good to 1e-3, and a probability moves by a quarter of that at the most.
    """
    p = problem(**SIZES[size], pilots=pilots, seed=5)
    rx = receiver(p, rules=jf.Rules(max_iterations=3, screening=False, variance=variance))
    out = rx.detect(p.y, p.noise_var)
    history = reference.beamspace_stmp(
        p.y, p.pilots, rx.prior, p.noise_var, p.activity_rate, iterations=3, rules=rx.rules
    )
    history = history[: out.iterations]  # it may have converged
    for found, expected in zip(out.history, history, strict=True):
        assert found["error_var"] == pytest.approx(expected.v.mean(), rel=2e-4)
    kept = reference.best(history)
    decided = np.flatnonzero(kept.probability >= 0.5)
    x = np.einsum("np,apm->anm", rx.prior.basis.astype(complex), kept.mean)[decided]
    expected_channels = reference.beamspace(x, inverse=True)
    left = p.y - reference.measure(p.pilots.select(decided), expected_channels)
    if decided.size and np.mean(abs(left) ** 2) > np.mean(abs(p.y) ** 2):  # silence explains the block better
        assert size == "one-symbol" or variance == "paper"
        assert len(out.active) == 0
        assert not out.activity.any()
        return
    np.testing.assert_allclose(out.activity, kept.probability, atol=1e-3)
    assert np.array_equal(out.active, decided)
    assert np.linalg.norm(out.channels - expected_channels) <= 1e-3 * max(np.linalg.norm(expected_channels), 1e-9)
    np.testing.assert_allclose(out.channel_var, kept.var[out.active].mean(1), rtol=1e-3)


@pytest.mark.parametrize("size", ["one-antenna", "one-device", "full-length", "everybody"])
@pytest.mark.parametrize("pilots", ["dft", "qpsk"])
def test_gaussian_prior_equals_the_dense_reference(size, pilots):
    """BG-TMP, on antennas, energies merged over subcarriers: equal while nobody serves as noise reference."""
    p = problem(**SIZES[size], pilots=pilots, channels="iid", seed=8)
    rx = receiver(p, "gaussian", rules=jf.Rules(max_iterations=3, screening=False))
    out = rx.detect(p.y, p.noise_var)
    history = reference.beamspace_stmp(
        p.y, p.pilots, rx.prior, p.noise_var, p.activity_rate, iterations=3, rules=rx.rules
    )[: out.iterations]
    for found, expected in zip(out.history, history, strict=True):
        assert found["error_var"] == pytest.approx(expected.v.mean(), rel=2e-4)
    kept = reference.best(history)
    np.testing.assert_allclose(out.activity, kept.probability, atol=1e-3)
    assert error_norm(out.channels, kept.mean[out.active]) <= 1e-3


def error_norm(found, expected):
    return np.linalg.norm(found - expected) / max(np.linalg.norm(expected), 1e-9)


@pytest.mark.parametrize("pilots", ["dft", "qpsk"])
def test_unknown_power_equals_the_dense_reference(pilots):
    p = problem(**SIZES["odd"], pilots=pilots, power_spread_db=20, seed=6)
    rx = receiver(p, power="unknown", rules=jf.Rules(max_iterations=4, screening=False))
    out = rx.detect(p.y, p.noise_var)
    mean = (np.mean(abs(p.y) ** 2) - p.noise_var) / (p.activity_rate * p.pilots.devices * p.pilots.power)
    rules = rx.rules.of_antennas(rx.antennas, rx.prior)
    history = reference.beamspace_stmp(
        p.y, p.pilots, rx.prior, p.noise_var, p.activity_rate, powers=mean * LEVELS, iterations=4, rules=rules
    )
    history = history[: out.iterations]
    for found, expected in zip(out.history, history, strict=True):
        assert found["error_var"] == pytest.approx(expected.v.mean(), rel=1e-3)
    np.testing.assert_allclose(out.activity, reference.best(history).probability, atol=1e-3)


@pytest.mark.parametrize("power", [1.0, "unknown"])
def test_tests_activity_when_the_dense_reference_does(power):
    """Log odds of another test differ by far more than the tenth that rounding of the residual moves them by."""
    p = problem(devices=105, symbols=16, subcarriers=12, antennas=16, active=6, snr_db=15, seed=1)
    rx = receiver(p, power=power)
    out = rx.detect(p.y, p.noise_var)
    mean = (np.mean(abs(p.y) ** 2) - p.noise_var) / (p.activity_rate * p.pilots.devices * p.pilots.power)
    powers = (1.0,) if power == 1.0 else mean * LEVELS
    rules = rx.rules.of_antennas(rx.antennas, rx.prior)
    history = reference.beamspace_stmp(
        p.y, p.pilots, rx.prior, p.noise_var, p.activity_rate, powers=powers, iterations=out.iterations, rules=rules
    )
    for found, expected in zip(out.history, history, strict=True):
        assert found["error_var"] == pytest.approx(expected.v.mean(), rel=1e-3)
        assert found["candidates"] == len(expected.candidates)
    tests = len({it.log_odds.tobytes() for it in history})
    assert 1 < tests < len(history)
    np.testing.assert_allclose(out.activity, reference.best(history).probability, rtol=0.1, atol=1e-12)


@pytest.mark.parametrize("pilots", ["dft", "qpsk"])
@pytest.mark.parametrize("power", [1.0, "unknown"])
def test_finds_the_devices(pilots, power):
    p = problem(devices=105, symbols=16, subcarriers=12, antennas=16, active=6, pilots=pilots, snr_db=15, seed=1)
    out = receiver(p, power=power).detect(p.y, p.noise_var)
    assert np.array_equal(out.active, p.active)
    assert out.converged
    assert nmse(out, p) < 0.02
    # What remains after subtraction is the noise and little else.
    assert out.noise_var == pytest.approx(p.noise_var, rel=0.2)
    error = np.mean(abs(out.channels - p.channels) ** 2)
    # Averages over thousands of entries; what is left is that the Gaussian prior is not the channels' distribution.
    assert error / 3 < out.channel_var.mean() < 3 * error


@pytest.mark.parametrize("power", [1.0, "unknown"])
@pytest.mark.parametrize("scale", [1e-7, 1.0, 1e6])
def test_scale_equivariance(power, scale):
    """Another unit of y, of the noise and of a known power changes the channels' unit and nothing else."""
    p = problem(**SIZES["plain"], seed=2)
    known = power if power == "unknown" else power * scale**2
    one = receiver(p, power=power).detect(p.y, p.noise_var)
    other = receiver(p, power=known).detect((p.y * scale).astype(np.complex64), p.noise_var * scale**2)
    assert np.array_equal(one.active, other.active)
    np.testing.assert_allclose(other.channels / scale, one.channels, atol=1e-3)
    np.testing.assert_allclose(other.channel_var / scale**2, one.channel_var, rtol=1e-2)


@pytest.mark.parametrize("power", [1.0, "unknown"])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("snr_db", [-20, 10, 60])
def test_never_nan_and_never_worse_than_silence(size, power, snr_db):
    p = problem(**SIZES[size], snr_db=snr_db, seed=3)
    out = receiver(p, power=power).detect(p.y, p.noise_var)
    assert np.isfinite(out.activity).all()
    assert np.isfinite(out.channels).all()
    assert np.isfinite(out.channel_var).all()
    assert (out.activity >= 0).all()
    assert (out.activity <= 1).all()
    signal = np.einsum("tnk,knm->tnm", p.pilots.select(out.active), out.channels)
    left = np.mean(abs(p.y - signal) ** 2)
    assert left <= np.mean(abs(p.y) ** 2) * (1 + 1e-5)
    assert out.noise_var == pytest.approx(left, rel=1e-3)
    if size == "nobody":
        assert len(out.active) == 0


def test_nobody_active_in_pure_zeros_and_in_noise():
    p = problem(**SIZES["nobody"])
    for power in (1.0, "unknown"):
        rx = receiver(p, power=power)
        assert len(rx.detect(np.zeros_like(p.y), 0.1).active) == 0
        assert len(rx.detect(p.y, p.noise_var).active) == 0


def test_everybody_active_with_as_many_symbols_as_devices():
    p = problem(devices=18, symbols=18, subcarriers=8, antennas=8, active=18, snr_db=20, seed=4)
    out = receiver(p).detect(p.y, p.noise_var)
    assert np.array_equal(out.active, np.arange(18))
    assert nmse(out, p) < 0.01


class Bad(WienerPrior):
    """A denoiser that makes everything ten times larger, or not a number."""

    factor = 10.0

    def denoise(self, z, v, devices):
        return self.factor * z, np.full_like(v, self.factor)


@pytest.mark.parametrize("factor", [10.0, np.nan, np.inf])
def test_divergence_is_noticed(factor):
    p = problem(**SIZES["plain"], seed=7)
    prior = Bad(8)
    prior.factor = factor
    out = receiver(p, prior).detect(p.y, p.noise_var)
    assert not out.converged
    assert np.isfinite(out.channels).all()
    assert np.isfinite(out.activity).all()
    signal = np.einsum("tnk,knm->tnm", p.pilots.select(out.active), out.channels)
    assert np.mean(abs(p.y - signal) ** 2) <= np.mean(abs(p.y) ** 2) * (1 + 1e-5)


def test_planned_once_detects_many_and_batches():
    problems = [problem(**SIZES["odd"], seed=s) for s in range(3)]
    pilots = problems[0].pilots
    problems = [problem(**SIZES["odd"], pilots=pilots, seed=s) for s in range(3)]
    rx = receiver(problems[0])
    single = [rx.detect(p.y, p.noise_var) for p in problems]
    batch = rx.detect_many(np.stack([p.y for p in problems]), problems[0].noise_var)
    again = receiver(problems[2]).detect(problems[2].y, problems[2].noise_var)
    for a, b in [*zip(single, batch, strict=True), (single[2], again)]:
        assert np.array_equal(a.activity, b.activity)
        assert np.array_equal(a.channels, b.channels)


def test_threads_do_not_change_a_bit():
    p = problem(**SIZES["odd"], seed=9)
    args = (p.pilots, 16, WienerPrior(12), p.activity_rate, 1.0)
    a, b = (jf.Receiver(*args, threads=t).detect(p.y, p.noise_var) for t in (1, 3))
    assert np.array_equal(a.activity, b.activity)
    assert np.array_equal(a.channels, b.channels)


def test_results_do_not_alias_the_receiver():
    p = problem(**SIZES["plain"], seed=1)
    rx = receiver(p)
    out = rx.detect(p.y, p.noise_var)
    kept = out.activity.copy(), out.channels.copy()
    rx.detect(complex_normal(np.random.default_rng(0), *p.y.shape).astype(np.complex64), 0.5)
    assert np.array_equal(out.activity, kept[0])
    assert np.array_equal(out.channels, kept[1])


def _detect_in_child(rx, y, noise, queue):
    queue.put(rx.detect(y, noise).active)


def test_works_in_a_forked_process():
    """The pool's threads do not exist there; the caller does the work."""
    p = problem(**SIZES["plain"], seed=1)
    rx = receiver(p)
    expected = rx.detect(p.y, p.noise_var).active
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=_detect_in_child, args=(rx, p.y, p.noise_var, queue))
    child.start()
    assert np.array_equal(queue.get(timeout=30), expected)
    child.join(30)
    assert child.exitcode == 0


def test_candidates_are_bounded():
    """With a rate far below the truth the buffers hold the most probable devices; nothing overflows."""
    p = problem(devices=600, symbols=24, subcarriers=6, antennas=4, active=500, snr_db=20, seed=0)
    rx = jf.Receiver(p.pilots, 4, WienerPrior(6), 0.01, threads=2)
    out = rx.detect(p.y, p.noise_var)
    assert max(h["candidates"] for h in out.history) <= 256
    assert np.isfinite(out.channels).all()


@pytest.mark.parametrize("spread_db", [3, 10, 20])
@pytest.mark.parametrize("power", [1.0, "unknown"])
def test_pilots_of_unequal_power(spread_db, power):
    """Devices that send with different power, and one that sends nothing, are what the pilots say."""
    rng = np.random.default_rng(0)
    amplitude = 10 ** (spread_db * rng.uniform(-0.5, 0.5, 105) / 20)
    base = problem(**SIZES["odd"], pilots="qpsk", seed=1)
    q = base.pilots.select() * amplitude
    silent = np.setdiff1d(np.arange(105), base.active)[0]
    q[:, :, silent] = 0
    p = problem(**SIZES["odd"], pilots=jf.Pilots(q), seed=1, snr_db=20)
    out = receiver(p, power=power).detect(p.y, p.noise_var)
    assert np.array_equal(out.active, p.active)
    assert nmse(out, p) < 0.03


@pytest.mark.parametrize("rate", [1e-12, 1e-4])
def test_rate_far_too_small(rate):
    p = problem(**SIZES["odd"], seed=1)
    rx = jf.Receiver(p.pilots, 16, WienerPrior(12), rate, threads=2)
    assert np.array_equal(rx.detect(p.y, p.noise_var).active, p.active)


@pytest.mark.parametrize("power", ["unknown", 1e-30, 1.0, 1e30])
@pytest.mark.parametrize("scale", [1e-38, 1e-25, 1e-15, 1e15, 1e18, 1e37])
@pytest.mark.parametrize("noise", [1e-30, 0.1, 1e30])
def test_extreme_scales_stay_finite(power, scale, noise):
    p = problem(**SIZES["plain"], seed=1)
    out = receiver(p, power=power).detect((p.y * np.float32(scale)).astype(np.complex64), noise)
    for values in (out.activity, out.channels, out.channel_var, out.noise_var):
        assert np.isfinite(values).all()


def test_nothing_of_an_earlier_block_is_returned():
    p = problem(**SIZES["plain"], seed=1)
    rx = receiver(p)
    assert rx.detect(p.y, p.noise_var).activity.max() > 0.9
    out = rx.detect((p.y * np.float32(1e37)).astype(np.complex64), p.noise_var)  # squares overflow
    assert not out.converged
    assert not out.activity.any()


def test_calls_from_several_threads_take_turns():
    problems = [problem(**SIZES["odd"], seed=s) for s in range(2)]
    rx = receiver(problems[0])
    plan = ops.Transform(rx.pilots, 16, rx.prior.basis, threads=2)
    expected = [(rx.detect(p.y, p.noise_var).activity, ops.matched_filter(plan, p.y)) for p in problems]
    wrong = []

    def work(i):
        p = problems[i]
        for _ in range(50):
            found = rx.detect(p.y, p.noise_var).activity, ops.matched_filter(plan, p.y)
            wrong.extend(1 for a, b in zip(found, expected[i], strict=True) if not np.array_equal(a, b))

    threads = [threading.Thread(target=work, args=(i,)) for i in range(2)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong


def test_denoise_of_any_prior_object_is_used():
    class Mine(WienerPrior):
        def denoise(self, z, v, devices):
            raise RuntimeError("mine")

    p = problem(**SIZES["plain"], seed=1)
    with pytest.raises(RuntimeError, match="mine"):
        receiver(p, Mine(8)).detect(p.y, p.noise_var)


@pytest.mark.parametrize(("symbols", "once"), [(20, True), (5, False)])
def test_activity_is_tested_again_where_the_first_test_leaves_doubt(symbols, once):
    """With a known power: what the first iteration said of all devices stands in the result, or not."""
    drop = draw_drop(Scenario(symbols=symbols), seed=1)
    first, last = (
        jf.Receiver(drop.pilots, 32, "cdl-tiny", 0.05, 1.0, rules=jf.Rules(max_iterations=most), threads=1).detect(
            drop.y, drop.noise_var
        )
        for most in (1, 24)
    )
    assert last.iterations > 3
    assert np.array_equal(first.activity, last.activity) == once
    assert np.array_equal(last.active, drop.active)
