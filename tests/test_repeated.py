"""Pilots that repeat one sequence on all subcarriers: the reference, the native loop, and whole detections."""

import numpy as np
import pytest
from problems import WienerPrior, complex_normal
from test_structure import M, N, T, block, lmmse, nmse, receiver

import jadce_fast as jf
from jadce_fast import _core, ops
from jadce_fast import reference as ref
from jadce_fast.repeated import sequences

pytestmark = pytest.mark.usefixtures("one_thread")
POWERS = 10 ** (np.arange(-18, 9.1, 3) / 10)


def small(seed: int, symbols: int, devices: int, kept: int, antennas: int, snr: float = 20.0):
    """Layers (T, P, M), pilots (T, K), prior, active devices: a block in the prior's basis."""
    rng = np.random.default_rng(seed)
    prior = WienerPrior(12, kept)
    q = complex_normal(rng, symbols, devices)
    q /= np.sqrt(np.mean(abs(q) ** 2, axis=0))
    active = np.sort(rng.permutation(devices)[:3])
    s = complex_normal(rng, 3, kept, antennas) * np.sqrt(prior.eigenvalues)[:, None]
    noise = complex_normal(rng, symbols, kept, antennas) / np.sqrt(snr)
    return (np.einsum("ta,apm->tpm", q[:, active], s) + noise).astype(np.complex64), q, prior, active


def test_a_device_is_seen_by_what_the_others_leave():
    rng = np.random.default_rng(0)
    y, q = complex_normal(rng, 5, 2, 3), complex_normal(rng, 5, 7)
    variance = rng.uniform(0.1, 2, (7, 2, 3))
    z, v = ref.cavity(y, q, variance, 0.3)
    others = np.arange(7) != 4
    covariance = (q[:, others] * variance[others, 1, 2]) @ q[:, others].conj().T + 0.3 * np.eye(5)
    gain = q[:, 4].conj() @ np.linalg.solve(covariance, q[:, 4])
    assert v[4, 1, 2] == pytest.approx(1 / gain.real, rel=1e-9)
    assert z[4, 1, 2] == pytest.approx(q[:, 4].conj() @ np.linalg.solve(covariance, y[:, 1, 2]) / gain, rel=1e-9)


def test_activity_is_the_structured_ratio_where_all_see_one_null():
    rng = np.random.default_rng(1)
    prior, v = WienerPrior(12, 4), rng.uniform(0.1, 1, (4, 3))
    energy = rng.exponential(2, (6, 4, 3))
    llr, weight = ref.power_weights(energy, np.broadcast_to(v, energy.shape), prior, POWERS, np.full(10, 0.1))
    mixture = prior.eigenvalues, prior.beam_gain, prior.beam_weight
    np.testing.assert_allclose(llr, ref.structured_llr(energy, v, *mixture, POWERS, np.full(10, 0.1)))
    np.testing.assert_allclose(weight.sum((0, 1)), 1)


def test_the_moments_of_one_gaussian_are_wieners():
    rng = np.random.default_rng(2)
    prior = WienerPrior(12, 4)
    prior.beam_gain, prior.beam_weight = np.ones(1), np.ones(1)
    z, v = complex_normal(rng, 2, 4, 3), rng.uniform(0.1, 1, (2, 4, 3))
    mean, var, expected, gain = ref.moments(z, v, np.ones((1, 1, 2, 3)), prior, [1.0])
    eigenvalue = prior.eigenvalues[:, None]
    np.testing.assert_allclose(gain, eigenvalue / (eigenvalue + v))
    np.testing.assert_allclose(mean, gain * z)
    np.testing.assert_allclose(var, gain * v)
    np.testing.assert_allclose(expected, np.broadcast_to(eigenvalue, (2, 4, 3)))
    np.testing.assert_allclose(v * gain / (1 - gain), expected)  # what is matched is the variance itself


@pytest.mark.parametrize("isa", _core.variants())
@pytest.mark.parametrize(
    ("size", "powers"),
    [((7, 37, 3, 5), POWERS), ((12, 90, 6, 17), [1.0]), ((1, 6, 2, 1), [1.0]), ((9, 5, 4, 16), POWERS)],
)
def test_native_is_the_reference(isa, size, powers):
    symbols, devices, kept, antennas = size
    y, q, prior, _ = small(3, symbols, devices, kept, antennas)
    received, noise, rate = float(np.mean(abs(y) ** 2)), 0.05, 0.06
    expected = ref.detect_repeated(
        y, q, prior, noise, rate, excess=received - noise, deviation=noise / np.sqrt(y.size), powers=powers
    )
    tables = prior.eigenvalues, prior.beam_gain, prior.beam_weight, powers, np.full(len(powers), 1 / len(powers))
    native = _core.Repeated(
        pilots=np.ascontiguousarray(q.T),
        activity=ops.activity_plan(*tables),
        antennas=antennas,
        capacity=devices,
        rules=jf.Rules().native(),
        rate=rate,
        threads=2,
        isa=isa,
    )
    found = native.detect(y, noise=noise, received=received, entries=y.size)
    last = expected[-1]
    assert len(found["history"]) == len(expected)
    assert found["candidates"].tolist() == last.candidates.tolist()
    np.testing.assert_allclose(found["activity"], last.probability, atol=2e-3)
    # Coefficients in single precision move log ratios of beam powers by 6e-8 |z|^2 / v, a thousandth; where two powers
    # are as likely as each other, means move by such a part of their deviation, and EM multiplies it.
    assert np.all(abs(found["mean"] - last.mean) <= 0.02 * np.sqrt(last.var) + 1e-5)
    np.testing.assert_allclose(found["var"], last.var, rtol=0.05, atol=1e-3 * noise)


@pytest.mark.parametrize("power", ["unknown", 1.0])
@pytest.mark.parametrize("kind", ["gaussian", "scrambled", "dft", "comb", "guards"])
def test_repeated_pilots_are_found(kind, power):
    rng = np.random.default_rng(5)
    devices, n = 90, np.arange(24)
    q = np.repeat(complex_normal(rng, T, 1, devices), 24, axis=1)
    if kind == "scrambled":
        q = q * np.exp(2j * np.pi * rng.random((T, 24, 1)))
    elif kind == "dft":
        rows = np.repeat(rng.permutation(devices)[:T, None], 24, axis=1)
        pilots = jf.Pilots.from_rows(rows, devices)
        q = pilots.select()
    elif kind == "comb":
        q = q * (n[:, None] % 2 == np.arange(devices) % 2)
    elif kind == "guards":
        q[:, :4] = q[:, 20:] = 0
    active = [4, 9, 23, 60, 71]
    y, h = block(q, active)
    rx = jf.Receiver(pilots if kind == "dft" else q, M, WienerPrior(24), power=power, threads=1)
    out = rx.detect(y, 0.02)
    assert out.active.tolist() == active
    assert out.trusted, out.reason
    assert out.converged
    assert nmse(out.channels, h) < nmse(lmmse(q, y, active), h) + 1
    true = np.mean(abs(out.channels - h) ** 2)
    assert 0.4 * true < out.channel_var.mean() < 3 * true
    assert 0.7 < out.noise_var / 0.02 < 1.1


def test_nobody_is_found_in_noise():
    rng = np.random.default_rng(6)
    rx = receiver(np.repeat(complex_normal(rng, T, 1, 200), N, axis=1))
    for _ in range(5):
        out = rx.detect(np.sqrt(0.02) * complex_normal(rng, T, N, M), 0.02)
        assert len(out.active) == 0
        assert out.trusted, out.reason


def test_a_repeated_block_that_does_not_fit_is_not_trusted():
    q = np.repeat(complex_normal(np.random.default_rng(7), T, 1, 90), N, axis=1)
    y, _ = block(q, [4, 9])
    assert not receiver(q).detect(y, 0.002).trusted


def test_sequences_are_told_from_pilots_that_change():
    rng = np.random.default_rng(8)
    assert sequences(jf.Pilots(complex_normal(rng, T, N, 30))) is None
    assert sequences(jf.dft_pilots(30, T, N)) is None
    one = complex_normal(rng, T, 1, 30)
    assert sequences(jf.Pilots(one)) is None  # on one subcarrier nothing repeats
    assert sequences(jf.Pilots(one * rng.uniform(0.5, 2, (T, N, 1)))) is None
    found = sequences(jf.Pilots(one * np.exp(2j * np.pi * rng.random((T, N, 1)))))
    assert found.symbols.shape == (T, 30)
    assert found.scrambling.shape == (T, N)
