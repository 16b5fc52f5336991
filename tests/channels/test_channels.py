import numpy as np
import pytest

from jadce_fast import channels
from jadce_fast.channels import Paths, cdl, draw_paths, path_covariance_factor, synthesize, unit_power
from jadce_fast.channels.tables import load_table

# Table 7.5-3's offsets have unit variance but for their four digits: mean of the squares of the table.
RAY_VARIANCE = np.mean(np.square([0.0447, 0.1413, 0.2492, 0.3715, 0.5129, 0.6797, 0.8844, 1.1481, 1.5195, 2.1551]))


def direct(paths, subcarriers, antennas, first=0):
    """The definition, one exponential for every entry and ray."""
    n = first + np.arange(subcarriers)[:, None, None, None]
    m = np.arange(antennas)[:, None, None]
    rows = [
        np.sqrt(power)
        * np.exp(1j * phase)
        * np.exp(-2j * np.pi * 30e3 * n * delay[:, None])
        * np.exp(1j * np.pi * m * np.sin(zenith) * np.sin(azimuth))
        for delay, power, azimuth, zenith, phase in zip(
            paths.delay, paths.power, paths.azimuth, paths.zenith, paths.phase, strict=True
        )
    ]
    return np.stack([row.sum(axis=(-2, -1)) for row in rows])


@pytest.mark.parametrize("first", [0, -24])
@pytest.mark.parametrize(("subcarriers", "antennas"), [(48, 32), (1, 1), (5, 3)])
def test_synthesis_is_its_definition(subcarriers, antennas, first):
    paths = draw_paths(37, "D", seed=1)  # more than one chunk of the synthesis
    expected = direct(paths, subcarriers, antennas, first)
    double = synthesize(paths, subcarriers, antennas, first_subcarrier=first, dtype=np.complex128)
    np.testing.assert_allclose(double, expected, atol=1e-12)
    single = synthesize(paths, subcarriers, antennas, first_subcarrier=first)
    assert single.dtype == np.complex64
    # Phases of up to 31 pi at 2^-24 relative each for the angle, its sine and its product.
    assert np.linalg.norm(single - expected) <= 3 * 31 * np.pi * 2**-24 * np.linalg.norm(expected)


@pytest.mark.parametrize("model", "ABCDE")
@pytest.mark.parametrize("angles", ["departure", "arrival"])
@pytest.mark.parametrize("randomize", [False, True])
def test_powers(model, angles, randomize):
    paths = draw_paths(20, model, angles=angles, randomize=randomize, seed=2)
    np.testing.assert_allclose(paths.power.sum(axis=(1, 2)), 1, rtol=1e-12)
    h = cdl(20, model, angles=angles, randomize=randomize, seed=2)
    assert (h.shape, h.dtype) == ((20, 48, 32), np.complex64)
    np.testing.assert_allclose(np.mean(np.abs(h) ** 2, axis=(1, 2)), 1, rtol=1e-5)
    if model in "DE" and not randomize:
        # TR 38.901, notes to Tables 7.7.1-4 and 5: K-factor of the first cluster.
        k_factor = paths.power[:, 0].sum(axis=1) / paths.power[:, 1].sum(axis=1)
        np.testing.assert_allclose(10 * np.log10(k_factor), {"D": 13.3, "E": 22.0}[model], rtol=1e-9)


def test_without_power_control_only_the_mean_power_is_one():
    power = np.mean(np.abs(cdl(3000, power_control=False, seed=3)) ** 2, axis=(1, 2))
    assert power.std() > 0.1
    assert abs(power.mean() - 1) <= 5 * power.std() / np.sqrt(power.size)


@pytest.mark.parametrize("model", "ABC")
def test_delay_spread(model):
    # The tables are normalised to four digits of delay and one of power: 2 % of the delay spread.
    paths = draw_paths(200, model, delay_spread=(100e-9, 363e-9), seed=4)
    power = paths.power.sum(axis=2)
    mean = (power * paths.delay).sum(axis=1, keepdims=True)
    spread = np.sqrt((power * (paths.delay - mean) ** 2).sum(axis=1))
    assert 98e-9 <= spread.min() < 120e-9
    assert 340e-9 < spread.max() <= 1.02 * 363e-9
    fixed = draw_paths(2, model, delay_spread=200e-9).delay
    np.testing.assert_allclose(fixed, np.tile(200e-9 * load_table(model, "departure").delay, (2, 1)))


@pytest.mark.parametrize(("angles", "azimuth", "zenith"), [("departure", 2, 3), ("arrival", 15, 7)])
def test_angles_of_a_cluster(angles, azimuth, zenith):
    table = load_table("C", angles)
    paths = draw_paths(400, "C", angles=angles, random_azimuth=False, seed=5)
    np.testing.assert_allclose(np.rad2deg(paths.azimuth.mean(axis=2)), np.tile(table.azimuth, (400, 1)), atol=1e-9)
    np.testing.assert_allclose(np.rad2deg(paths.zenith.mean(axis=2)), np.tile(table.zenith, (400, 1)), atol=1e-9)
    np.testing.assert_allclose(np.rad2deg(paths.azimuth.std(axis=2)), azimuth * np.sqrt(RAY_VARIANCE), rtol=1e-9)
    np.testing.assert_allclose(np.rad2deg(paths.zenith.std(axis=2)), zenith * np.sqrt(RAY_VARIANCE), rtol=1e-9)
    # Step 8: azimuth and zenith of a ray are coupled at random.
    a, z = (v - v.mean(axis=2, keepdims=True) for v in (paths.azimuth, paths.zenith))
    correlation = np.mean(a * z, axis=2) / (a.std(axis=2) * z.std(axis=2))
    assert abs(correlation.mean()) <= 5 / np.sqrt(19 * correlation.size)
    assert correlation.std() == pytest.approx(1 / np.sqrt(19), rel=0.05)


def test_random_azimuth_turns_a_channel_as_a_whole():
    paths = draw_paths(2000, seed=6)
    turn = np.rad2deg(paths.azimuth.mean(axis=2)) - load_table("C", "departure").azimuth
    assert np.ptp(turn, axis=1).max() <= 1e-9
    assert abs(turn).max() <= 180
    # Uniform: the empirical distribution is within 1.95 / sqrt(n) of it (Kolmogorov, 0.1 %).
    expected = (np.arange(turn.shape[0]) + 0.5) / turn.shape[0]
    assert np.abs((np.sort(turn[:, 0]) + 180) / 360 - expected).max() <= 1.95 / np.sqrt(turn.shape[0])


def test_covariance_factor_is_the_covariance_over_phases():
    rng = np.random.default_rng(7)
    one = draw_paths(1, "D", seed=rng)
    draws = 20_000
    many = Paths(*(np.repeat(v, draws, axis=0) for v in (one.delay, one.power, one.azimuth, one.zenith)),
                 rng.uniform(-np.pi, np.pi, (draws, *one.phase.shape[1:])))  # fmt: skip
    h = synthesize(many, 4, 3).reshape(draws, -1)
    sample = h.T @ h.conj() / draws
    factor = path_covariance_factor(one, 4, 3)
    assert factor.shape == (1, 12, 13 * 20 + 1)  # the specular cluster has one ray only
    covariance = factor[0] @ factor[0].conj().T
    np.testing.assert_allclose(np.diag(covariance), 1, rtol=1e-5)
    # Entries have variance at most 2 / draws (four unit-power amplitudes); 144 of them, five sigma.
    assert np.abs(sample - covariance).max() <= 5 * np.sqrt(2 / draws)
    gains = np.exp(1j * one.phase[one.power > 0])
    np.testing.assert_allclose(factor[0] @ gains, synthesize(one, 4, 3).reshape(-1), atol=1e-5)


def test_seeds():
    assert np.array_equal(cdl(300, seed=8), cdl(300, seed=8))
    assert not np.array_equal(cdl(3, seed=8), cdl(3, seed=9))
    rng = np.random.default_rng(8)
    assert np.array_equal(cdl(3, seed=rng), cdl(3, seed=8))
    assert not np.array_equal(cdl(3, seed=rng), cdl(3, seed=8))  # a generator goes on
    paths = draw_paths(3, seed=8)
    assert np.array_equal(unit_power(synthesize(paths, 48, 32)), cdl(3, seed=8))


def test_randomised_family_varies_about_the_table():
    paths = draw_paths(4000, randomize=True, random_azimuth=False, delay_spread=1.0, seed=9)
    table = load_table("C", "departure")
    azimuth = np.rad2deg(paths.azimuth.mean(axis=2)) - table.azimuth
    assert azimuth.std() == pytest.approx(15, rel=0.02)
    assert (paths.delay >= 0).all()
    assert (paths.delay.min(axis=1) == 0).all()
    ratio = np.log(paths.delay[:, 1:] / table.delay[1:])  # the first delay of CDL-C is zero and stays so
    assert ratio.std() == pytest.approx(0.4, rel=0.02)
    assert np.isfinite(cdl(50, "E", randomize=True)).all()


def test_slices_and_emptiness():
    paths = draw_paths(5)
    assert np.array_equal(synthesize(paths[1:3], 4, 4), synthesize(paths, 4, 4)[1:3])
    assert len(paths[[0, 4, 2]]) == 3
    assert cdl(0).shape == (0, 48, 32)
    assert path_covariance_factor(draw_paths(0), 4, 3).shape == (0, 12, 0)
    flat = cdl(1, delay_spread=0.0, subcarriers=4)  # one delay: the same on every subcarrier
    np.testing.assert_allclose(flat, np.broadcast_to(flat[:, :1], flat.shape), rtol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"count": -1}, ValueError, "count: expected at least 0, found -1"),
        ({"count": 2.0}, TypeError, "count: expected an integer, found float"),
        ({"count": 1, "model": "F"}, ValueError, "model: expected one of A, B, C, D, E, found 'F'"),
        ({"count": 1, "angles": "AoA"}, ValueError, 'angles: expected "departure" or "arrival", found \'AoA\''),
        ({"count": 1, "delay_spread": -1e-9}, ValueError, "delay_spread: expected"),
        ({"count": 1, "delay_spread": float("nan")}, ValueError, "delay_spread: expected"),
        ({"count": 1, "delay_spread": (2e-7, 1e-7)}, ValueError, "delay_spread: expected low <= high"),
        ({"count": 1, "delay_spread": (1e-7, 2e-7, 3e-7)}, ValueError, "found 3 numbers"),
        ({"count": 1, "subcarriers": 0}, ValueError, "subcarriers: expected at least 1, found 0"),
        ({"count": 1, "antennas": 0}, ValueError, "antennas: expected at least 1, found 0"),
        ({"count": 1, "spacing": 0}, ValueError, "spacing: expected"),
        ({"count": 1, "seed": -1}, ValueError, "seed: expected at least 0, found -1"),
        ({"count": 0, "model": "F"}, ValueError, "model: expected"),
    ],
)
def test_bad_arguments(arguments, error, message):
    with pytest.raises(error) as caught:
        cdl(**arguments)
    assert message in str(caught.value)


def test_bad_paths():
    good = draw_paths(2)
    with pytest.raises(ValueError, match=r"azimuth: expected shape \(2, 24, 20\), found \(2, 24\)"):
        Paths(good.delay, good.power, good.azimuth[..., 0], good.zenith, good.phase)
    with pytest.raises(ValueError, match="phase: expected finite numbers, found 960 NaN"):
        Paths(good.delay, good.power, good.azimuth, good.zenith, good.phase * np.nan)
    with pytest.raises(ValueError, match="power: expected powers of at least 0"):
        Paths(good.delay, -good.power, good.azimuth, good.zenith, good.phase)
    with pytest.raises(TypeError, match="dtype: expected complex64 or complex128, found float32"):
        synthesize(good, 4, 4, dtype=np.float32)
    with pytest.raises(ValueError, match="channels: expected channels with power, found 1 zero"):
        unit_power(np.stack([np.zeros((2, 2)), np.ones((2, 2))]))


def test_path_gain():
    # Cai VI-A.1 at 1 km and at 100 m.
    np.testing.assert_allclose(channels.path_gain_db([1000, 100]), [-128.1, -91.4])
    absolute = channels.path_loss_gains(1000, relative=False, seed=1)
    low, high = channels.path_gain_db([200, 35]) / 10
    assert 10**low <= absolute.min() < absolute.max() <= 10**high
    relative = channels.path_loss_gains(200_000, seed=1)
    assert abs(relative.mean() - 1) <= 5 * relative.std() / np.sqrt(relative.size)
    np.testing.assert_allclose(channels.path_loss_gains(3, (50, 50)), 1)
    with pytest.raises(ValueError, match="distance: expected near <= far"):
        channels.path_loss_gains(1, (200, 35))
    with pytest.raises(ValueError, match="distance: expected positive"):
        channels.path_gain_db([1, 0])


def test_spread_gains():
    gains = channels.spread_gains(200_000, 20, seed=1)
    assert 19.99 < 10 * np.log10(gains.max() / gains.min()) <= 20
    assert abs(gains.mean() - 1) <= 5 * gains.std() / np.sqrt(gains.size)
    np.testing.assert_array_equal(channels.spread_gains(3, 0), 1)
    with pytest.raises(ValueError, match="spread_db: expected"):
        channels.spread_gains(1, -3)
