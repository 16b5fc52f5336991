"""What a receiver need not be told: activity rate, noise variance, the prior; and the threshold."""

import dataclasses
import pickle

import numpy as np
import pytest
from kernels import open_device
from problems import SIZES, WienerPrior, complex_normal, problem

import jadce_fast as jf
from jadce_fast.campaigns.ofdm_drop import Scenario, draw_drop
from jadce_fast.fallbacks import fallbacks
from jadce_fast.metrics import score
from jadce_fast.priors import DEFAULT
from jadce_fast.priors.beams import BeamsPrior
from jadce_fast.unknown_noise import noise_behind, quiet_variance


def early(y):
    """Half a microsecond too early."""
    return y * np.exp(2j * np.pi * 30e3 * 0.5e-6 * np.arange(48))[None, :, None]


@pytest.mark.parametrize(
    "point",
    [
        dict(symbols=5, snr_db=-10),
        dict(symbols=20, activity_rate=0.01),
        dict(symbols=20, activity_rate=0.15, snr_db=0),
        dict(symbols=10, snr_db=20, activity_rate=0.02),
        dict(symbols=20, power_spread_db=20.0),
        dict(devices=400, pilots="qpsk", antennas=8, model="E"),
    ],
)
def test_learning_costs_nothing(point):
    drop = draw_drop(Scenario(**point), seed=3)
    m = drop.y.shape[2]
    told = jf.Receiver(drop.pilots, m, "cdl-tiny", point.get("activity_rate", 0.05), threads=1)
    found = jf.Receiver(drop.pilots, m, "cdl-tiny", None, threads=1).detect(drop.y)
    expected = told.detect(drop.y, drop.noise_var)
    assert np.array_equal(found.active, expected.active)
    a, b = (score(out, drop.active, drop.channels).nmse_db for out in (found, expected))
    assert a < b + 0.1
    assert found.trusted, found.reason
    assert found.learned_noise_var == pytest.approx(drop.noise_var, rel=0.25)
    assert found.learned_rate == pytest.approx(len(drop.active) / drop.pilots.devices, rel=0.05)
    assert found.explained.ratio == pytest.approx(found.noise_var / found.learned_noise_var)
    assert expected.learned_noise_var is expected.learned_rate is None


@pytest.mark.parametrize("symbols", [5, 20])
@pytest.mark.parametrize("prior", ["cdl-tiny", "gaussian"])
def test_nobody_is_found_in_noise_that_nobody_knows(symbols, prior):
    rng = np.random.default_rng(symbols)
    rx = jf.Receiver(jf.dft_pilots(800, symbols, 48), 32, prior, None, threads=1)
    for level in 10.0 ** np.arange(-6, 7, 2):
        out = rx.detect(np.sqrt(level) * complex_normal(rng, symbols, 48, 32))
        assert len(out.active) == 0
        assert out.learned_rate < 1e-3
        assert out.trusted, out.reason
        assert out.learned_noise_var == pytest.approx(level, rel=0.1)


def test_a_block_of_zeros():
    out = jf.Receiver(jf.dft_pilots(50, 4, 8), 4, WienerPrior(8), None, threads=1).detect(np.zeros((4, 8, 4)))
    assert len(out.active) == 0
    assert np.isfinite(out.noise_var)


def test_rate_is_learned_at_nobody_and_at_many():
    for active, rate in ((0, 0.0), (1, 1 / 64), (10, 10 / 64)):
        p = problem(**(SIZES["plain"] | dict(symbols=24, active=active)), snr_db=20.0, seed=4)
        out = jf.Receiver(p.pilots, 8, WienerPrior(8), None, 1.0, threads=1).detect(p.y, p.noise_var)
        assert np.array_equal(out.active, p.active)
        assert out.learned_rate == pytest.approx(rate, abs=2e-3)


def test_mismatch_in_unknown_noise_is_noticed():
    """Channels of another kind look like noise, but it comes from the devices that were found."""
    drop = draw_drop(Scenario(devices=400), seed=1)
    rx = jf.Receiver(drop.pilots, 32, "cdl-tiny", threads=1)
    assert not rx.detect(early(drop.y)).trusted
    assert not rx.detect(np.fft.fftshift(drop.y, axes=1)).trusted
    noisy = drop.y.copy()
    noisy[:, :, 5] += np.sqrt(31.6) * complex_normal(np.random.default_rng(0), 20, 48)
    assert not rx.detect(noisy).trusted
    p = problem(devices=400, symbols=20, subcarriers=48, antennas=32, active=20, channels="iid", seed=1)
    assert "the prior does not fit" in jf.Receiver(p.pilots, 32, "cdl", threads=1).detect(p.y).reason


def test_noise_estimates():
    rng = np.random.default_rng(0)
    for antennas in (1, 2, 5, 32):
        levels = [quiet_variance(complex_normal(rng, 10, 20, antennas)) for _ in range(100)]
        assert np.mean(levels) == pytest.approx(1, abs=0.01 + 4 * np.std(levels) / 10)
    # The effective noise V is twice the noise then, and a quarter of it remains.
    assert noise_behind(0.5, 1.0) == pytest.approx(1.0)
    assert noise_behind(0.3, 0.0) == 0.3


def test_threshold():
    drop = draw_drop(Scenario(symbols=2, snr_db=-16.0, activity_rate=0.03), seed=5)

    def active(**options):
        rx = jf.Receiver(drop.pilots, 32, "cdl-tiny", 0.03, 1.0, threads=1, **options)
        return rx.detect(drop.y, drop.noise_var)

    expected = active()
    for threshold in (0.001, 0.3, 0.999):
        out = active(threshold=threshold)
        assert (out.activity[out.active] >= threshold).all()
    assert set(active(threshold=0.999).active) < set(expected.active) < set(active(threshold=0.001).active)
    assert np.array_equal(active(threshold=0.5).active, expected.active)
    for bad in (-0.1, 1.1):
        with pytest.raises(ValueError, match="threshold: expected a finite number in"):
            active(threshold=bad)


def test_auto_is_the_default_where_that_fits():
    drop = draw_drop(Scenario(devices=400), seed=1)
    found = jf.Receiver(drop.pilots, 32, threads=1).detect(drop.y, drop.noise_var)
    expected = jf.Receiver(drop.pilots, 32, DEFAULT, threads=1).detect(drop.y, drop.noise_var)
    assert (found.prior, expected.prior) == (DEFAULT, "")
    for field in dataclasses.fields(found):
        if field.name != "prior":
            assert np.array_equal(getattr(found, field.name), getattr(expected, field.name))


def test_a_gpu_begins_with_the_cascade_where_its_memory_holds_it(backend):
    device = open_device(backend)
    assert [fallbacks(48, antennas, device)[0] for antennas in (32, 160)] == [DEFAULT, "cdl"]
    assert fallbacks(60, 32, device) == ("gaussian",)


def test_auto_is_copied_as_auto():
    """A copy plans anew, with the same choice."""
    drop = draw_drop(Scenario(devices=100, symbols=12), seed=1)
    again = pickle.loads(pickle.dumps(jf.Receiver(drop.pilots, 32, activity_rate=None, threads=1)))
    found = again.detect(early(drop.y), drop.noise_var)
    assert found.prior == "beams"
    assert found.learned_rate is not None


def test_auto_falls_back():
    """Early blocks and independent subcarriers: never below the Gaussian prior's result, and trusted as it explains."""
    drop = draw_drop(Scenario(devices=400), seed=1)
    p = problem(devices=400, symbols=20, subcarriers=48, antennas=32, active=20, channels="iid", seed=1)
    for pilots, y, noise_var, active, channels in (
        (drop.pilots, early(drop.y), drop.noise_var, drop.active, early(drop.channels)),
        (p.pilots, p.y, p.noise_var, p.active, p.channels),
    ):
        found = jf.Receiver(pilots, 32, threads=1).detect(y, noise_var)
        gaussian = jf.Receiver(pilots, 32, "gaussian", threads=1).detect(y, noise_var)
        assert found.prior == "beams"
        assert found.trusted, found.reason
        assert np.array_equal(found.active, active)
        assert score(found, active, channels).nmse_db < score(gaussian, active, channels).nmse_db + 0.05


def test_auto_is_not_below_the_gaussian_prior_on_small_problems():
    """Blocks that a learned prior explains, though another one would leave less: over 12 blocks no error is added."""
    made, expected = 0.0, 0.0
    for channels, sizes in (("paths", (40, 12, 12, 4, 3)), ("iid", (40, 10, 6, 4, 3)), ("paths", (80, 20, 12, 8, 4))):
        for seed in range(4):
            k, t, n, m, a = sizes
            p = problem(k, t, n, m, a, pilots="qpsk", channels=channels, snr_db=10.0 * (seed % 3), seed=seed)
            for prior in ("auto", "gaussian"):
                out = jf.Receiver(p.pilots, m, prior, a / k, threads=1).detect(p.y, p.noise_var)
                error = score(out, p.active, p.channels).error_energy / p.noise_var
                made, expected = made + (prior == "auto") * error, expected + (prior == "gaussian") * error
    assert made <= 1.02 * expected


def test_auto_without_a_shipped_prior_for_the_subcarriers():
    p = problem(**SIZES["odd"], seed=3)
    out = jf.Receiver(p.pilots, 16, threads=1).detect(p.y, p.noise_var)
    assert out.prior in ("beams", "gaussian")
    assert np.array_equal(out.active, p.active)


def test_auto_tells_when_nothing_fits():
    drop = draw_drop(Scenario(devices=400), seed=1)
    out = jf.Receiver(drop.pilots, 32, threads=1).detect(np.fft.fftshift(drop.y, axes=1), drop.noise_var)
    assert not out.trusted


def test_beams_denoiser_is_the_posterior_of_its_model():
    """Mean and error of channels drawn from the mixture, by 20 000 of them, within five deviations."""
    rng, prior, a, n = np.random.default_rng(0), BeamsPrior(6), 20000, 6
    assert prior.beam_gain @ prior.beam_weight == pytest.approx(1, rel=1e-6)
    assert prior.beam_weight.sum() == pytest.approx(1, rel=1e-6)
    weight = prior.beam_weight.astype(float)
    gain = rng.choice(prior.beam_gain, size=(a, 1, 3), p=weight / weight.sum())
    h = np.sqrt(gain) * complex_normal(rng, a, n, 3)
    v = np.broadcast_to(np.array([0.01, 0.3, 5.0], np.float32), (a, 3))
    mean, var = prior.denoise(h + np.sqrt(v[:, None]) * complex_normal(rng, a, n, 3), v)
    error = np.mean(abs(mean - h) ** 2, axis=1)
    assert (abs(np.mean(error - var, axis=0)) <= 5 * np.std(error - var, axis=0) / np.sqrt(a)).all()
    assert (var <= 1.001 * v).all()
    # Orthogonality: the error of a posterior mean is uncorrelated with it.
    inner = np.mean(np.real((h - mean).conj() * mean), axis=1)
    assert (abs(inner.mean(0)) <= 5 * inner.std(0) / np.sqrt(a)).all()


@pytest.mark.usefixtures("one_thread")
def test_gpu_learns_and_falls_back_too(gpu_device):
    """Of fallbacks a GPU has the learned priors and the Gaussian one; the wider of the former explains this block."""
    p = problem(**(SIZES["plain"] | dict(symbols=24, active=2)), seed=2)
    wide, told = (
        jf.Receiver(p.pilots, 8, "auto", 0.05, threads=1, capacity=8, **where).detect(p.y, p.noise_var)
        for where in ({"device": "cuda"}, {})
    )
    assert wide.prior == told.prior == "cdl-wide"
    assert np.array_equal(wide.active, told.active)
    expected = jf.Receiver(p.pilots, 8, "gaussian", None, threads=1).detect(p.y)
    rx = jf.Receiver(p.pilots, 8, "gaussian", None, device="cuda", threads=1)
    found = rx.detect(p.y)
    assert np.array_equal(found.active, expected.active)
    assert np.array_equal(found.active, p.active)
    assert found.learned_noise_var == pytest.approx(expected.learned_noise_var, rel=1e-3)
    assert found.learned_rate == pytest.approx(expected.learned_rate, rel=1e-3)
    np.testing.assert_allclose(found.activity, expected.activity, atol=1e-3)
    antennas = p.noise_var * np.linspace(0.5, 2, 8)[None]
    expected = jf.Receiver(p.pilots, 8, "gaussian", None, threads=1).detect(p.y, antennas)
    assert rx.detect(p.y, antennas).learned_rate == pytest.approx(expected.learned_rate, rel=1e-3)
