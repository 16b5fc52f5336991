"""Noise that is not white: what is said of it, module A with its covariance, and detections in it."""

import numpy as np
import pytest
from problems import SIZES, WienerPrior, complex_normal, problem

import jadce_fast as jf
from jadce_fast import reference
from jadce_fast.campaigns.ofdm_drop import Scenario, draw_drop
from jadce_fast.noise import noise_covariance


def covariances(rng, count, antennas, unit):
    """Random Hermitian positive definite matrices (count, M, M) of mean variance about `unit`."""
    a = complex_normal(rng, count, antennas, antennas) / np.sqrt(antennas)
    return unit * (a @ np.conj(np.swapaxes(a, 1, 2)) + 0.3 * np.eye(antennas))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("pilots", "count"), [("dft", 1), ("dft", "N"), ("qpsk", 1), ("qpsk", "N")])
def test_equals_the_dense_reference(size, pilots, count):
    """As in test_receiver.py; matrices that are inverted in double precision and rounded add no more than sums do."""
    p = problem(**SIZES[size], pilots=pilots, seed=5)
    n, m = p.y.shape[1:]
    noise = covariances(np.random.default_rng(1), n if count == "N" else 1, m, p.noise_var)
    rules = jf.Rules(max_iterations=3, screening=False)
    rx = jf.Receiver(p.pilots, m, WienerPrior(n), p.activity_rate, 1.0, threads=2, rules=rules)
    out = rx.detect(p.y, noise if count == "N" and n > 1 else noise[0])
    history = reference.beamspace_stmp(p.y, p.pilots, rx.prior, noise, p.activity_rate, iterations=3, rules=rules)
    history = history[: out.iterations]
    for found, expected in zip(out.history, history, strict=True):
        assert found["error_var"] == pytest.approx(expected.v.mean(), rel=2e-3)
    kept = reference.best(history)
    if out.stopped_because == "silence":
        assert len(out.active) == 0
        return
    np.testing.assert_allclose(out.activity, kept.probability, atol=1e-3)
    x = np.einsum("np,apm->anm", rx.prior.basis.astype(complex), kept.mean)[np.flatnonzero(kept.probability >= 0.5)]
    expected_channels = reference.beamspace(x, inverse=True)
    error = np.linalg.norm(out.channels - expected_channels)
    assert error <= 2e-3 * max(np.linalg.norm(expected_channels), 1e-9)
    left = p.y - reference.measure(p.pilots.select(out.active), out.channels)
    inverse = np.linalg.inv(noise)
    ratio = np.mean(np.einsum("tnb,nbc,tnc->tn", left.conj(), np.broadcast_to(inverse, (n, m, m)), left).real) / m
    assert out.explained.ratio == pytest.approx(ratio, rel=1e-3)


@pytest.mark.parametrize("pilots", ["dft", "qpsk"])
def test_white_noise_in_many_forms(pilots):
    p = problem(**SIZES["odd"], pilots=pilots, seed=3)
    n, m = p.y.shape[1:]
    rx = jf.Receiver(p.pilots, m, WienerPrior(n), p.activity_rate, 1.0, threads=2)
    expected = rx.detect(p.y, p.noise_var)
    for form in (np.full(m, p.noise_var), np.full(n, p.noise_var), np.full((n, m), p.noise_var)):
        assert np.array_equal(rx.detect(p.y, form).channels, expected.channels)
    out = rx.detect(p.y, p.noise_var * np.eye(m))
    assert np.array_equal(out.active, expected.active)
    np.testing.assert_allclose(out.channels, expected.channels, atol=1e-4)
    assert out.noise_var == pytest.approx(expected.noise_var, rel=1e-4)


def test_measured_variances_are_true_ones():
    """v_A of errors whose beams differ by 20 dB: the mean of forty blocks within five deviations of it."""
    rng, m = np.random.default_rng(4), 8
    p = problem(devices=64, symbols=12, subcarriers=10, antennas=m, active=0, pilots="qpsk", seed=2)
    noise, v = covariances(rng, 10, m, 1.0), 10 ** np.linspace(-1, 1, m) / 64
    colour = np.linalg.cholesky(noise)
    samples = []
    for _ in range(40):
        sent = reference.measure(p.pilots, complex_normal(rng, 64, 10, m) * np.sqrt(v))
        received = sent + np.einsum("nbc,tnc->tnb", colour, complex_normal(rng, 12, 10, m))
        samples.append(reference.colored_variance(received, p.pilots, noise, -1.0))
    assert (abs(np.mean(samples, axis=0) - v) <= 5 * np.std(samples, axis=0) / np.sqrt(40)).all()


def test_one_antenna_with_25_db_more_noise():
    """With one variance for all, 45 devices are found that are not there."""
    drop = draw_drop(Scenario(devices=400), seed=1)
    rng = np.random.default_rng(0)
    noise = np.full(32, drop.noise_var)
    rx = jf.Receiver(drop.pilots, 32, "cdl-tiny", threads=1)
    others = np.arange(32) != 5

    def error(out):
        assert np.array_equal(out.active, drop.active)
        assert out.trusted, out.reason
        difference = (out.channels - drop.channels)[:, :, others]
        return 10 * np.log10(np.sum(abs(difference) ** 2) / np.sum(abs(drop.channels[:, :, others]) ** 2))

    alone = error(rx.detect(drop.y, noise))
    y = drop.y.copy()
    y[:, :, 5] += np.sqrt(31.6) * complex_normal(rng, 20, 48)
    noise[5] += 31.6
    assert error(rx.detect(y, noise)) < alone + 0.5


def test_interference_from_one_direction():
    drop = draw_drop(Scenario(devices=400), seed=1)
    direction = np.exp(0.2j * np.pi * np.arange(32))
    y = drop.y + np.sqrt(3) * complex_normal(np.random.default_rng(0), 20, 48, 1) * direction
    rx = jf.Receiver(drop.pilots, 32, "cdl-tiny", threads=1)
    out = rx.detect(y, drop.noise_var * np.eye(32) + 3 * np.outer(direction, direction.conj()))
    assert np.array_equal(out.active, drop.active)
    assert out.trusted, out.reason


@pytest.mark.parametrize(
    ("value", "shape"),
    [
        (np.arange(1.0, 4), (1, 3, 3)),
        (np.arange(1.0, 6), (5, 3, 3)),
        (np.arange(1.0, 6)[:, None], (5, 3, 3)),
        (np.arange(1.0, 16).reshape(5, 3), (5, 3, 3)),
        (np.diag([1.0, 2, 3]), (1, 3, 3)),
        (np.eye(3) * np.arange(1, 6)[:, None, None], (5, 3, 3)),
    ],
)
def test_forms(value, shape):
    assert noise_covariance(value, 5, 3).shape == shape


@pytest.mark.parametrize(
    ("value", "size", "message"),
    [
        (np.ones(4), (5, 3), r"noise_var: expected a number, or shape \(3,\)"),
        (np.array([1.0, 0, 1]), (5, 3), r"noise_var: expected variances in"),
        (np.array([1.0, np.nan, 1]), (5, 3), "noise_var: expected finite"),
        (np.array([1.0, 1e-12, 1]), (5, 3), "noise_var: expected variances within a factor"),
        (np.diag([1.0, 1, -1]), (5, 3), "noise_var: expected variances within a factor"),
        (np.eye(3) + np.eye(3, k=1), (5, 3), "noise_var: expected a Hermitian covariance"),
        (np.arange(1.0, 5), (4, 4), r"noise_var: expected shape \(1, 4\) or \(4, 1\) where N = M"),
        (np.eye(4), (4, 4), r"noise_var: expected shape \(4, 4, 1\), or \(4, 4, 4\), or a complex one"),
    ],
)
def test_refusals(value, size, message):
    with pytest.raises(ValueError, match=message):
        noise_covariance(value, *size)


def test_ambiguous_forms_can_be_said():
    assert np.array_equal(noise_covariance(np.arange(1.0, 5)[:, None], 4, 4)[2], 3 * np.eye(4))
    assert np.array_equal(noise_covariance(np.arange(1.0, 5)[None], 4, 4)[0], np.diag(np.arange(1, 5)))
    assert np.array_equal(noise_covariance(np.diag([1, 2, 3, 4 + 0j]), 4, 4)[0], np.diag(np.arange(1, 5)))
    assert noise_covariance(np.arange(1.0, 17).reshape(4, 4, 1), 4, 4).shape == (4, 4, 4)
