"""Images that a radio makes of devices: they are doubted, or scrambled pilots make none."""

import numpy as np
import pytest
from problems import WienerPrior, complex_normal, problem

import jadce_fast as jf
from jadce_fast.campaigns.ofdm_drop import Scenario, draw_drop
from jadce_fast.images import IMAGE, Images

T, N, M, K = 20, 48, 32, 400
ACTIVE = [7, 100, 250]
MIRRORED = "devices 150, 300, 393 look like mirror images of others"
OFFSET = "device 0 looks like a constant offset"


def impaired(pilots, gain, offset, flip=False):
    """Three flat channels at 10 dB seen by a radio with an imbalance and an offset."""
    rng = np.random.default_rng(0)
    h = np.repeat(complex_normal(rng, 3, 1, M), N, 1)
    y = np.einsum("tna,anm->tnm", pilots.select(ACTIVE), h) + np.sqrt(0.1) * complex_normal(rng, T, N, M)
    return y + gain * (y[:, ::-1] if flip else y).conj() + offset


def each_antenna():
    return np.exp(2j * np.pi * np.random.default_rng(1).random(M))


@pytest.mark.parametrize("scrambled", [False, True])
@pytest.mark.parametrize(
    ("gain", "offset", "doubt"),
    [
        (0.0, 0.0, ""),
        (0.08, 0.0, MIRRORED),
        (0.08 * each_antenna(), 0.0, MIRRORED),
        (0.0, 1.0, OFFSET),
        (0.0, each_antenna(), OFFSET),
    ],
)
def test_images_are_doubted_and_scrambled_pilots_make_none(scrambled, gain, offset, doubt):
    pilots = jf.dft_pilots(K, T, N, scrambled=scrambled)
    out = jf.Receiver(pilots, M, "cdl-tiny", threads=1).detect(impaired(pilots, gain, offset), 0.1)
    if not scrambled:
        assert doubt in out.reason
        assert out.trusted == (doubt == "")
    elif np.any(offset):  # a new pilot of its own, which nobody has
        assert not out.trusted
    else:
        assert out.active.tolist() == ACTIVE
        assert out.trusted


@pytest.mark.parametrize("flip", [False, True])
def test_images_of_any_pilots(flip):
    q = complex_normal(np.random.default_rng(2), T, N, 260)
    q[:, :, 150] = q[:, :: -1 if flip else 1, 250].conj()
    pilots = jf.Pilots(q)
    rx = jf.Receiver(pilots, M, "cdl-tiny", threads=1)
    assert "devices 150 look like" in rx.detect(impaired(pilots, 0.08, 0.0, flip), 0.1).reason
    out = rx.detect(impaired(pilots, 0.0, 0.0), 0.1)
    assert (out.active.tolist(), out.reason) == (ACTIVE, "")


def test_nobody_and_devices_as_strong_are_no_images():
    """Idle slots, and two devices with conjugate pilots that are received as strongly."""
    pilots, h = jf.dft_pilots(K, 2, N), complex_normal(np.random.default_rng(0), 2, N, M)
    assert Images(pilots, M).doubt(np.zeros(0, np.int64), lambda rows: h[rows]) == ""
    assert Images(jf.Pilots(pilots.select()), M).doubt(np.zeros(0, np.int64), lambda rows: h[rows]) == ""
    assert Images(pilots, M).doubt(np.array([1, K - 1]), lambda rows: np.stack([h[0], h[0].conj()])[rows]) == ""


@pytest.mark.parametrize("model", ["C", "E"])
def test_devices_with_conjugate_pilots_are_no_images(model):
    """Forty devices, every one beside a weaker one with the conjugate pilot: in line of sight a few are alike."""
    pilots = jf.dft_pilots(K, 2, N)
    h = draw_drop(Scenario(devices=2400, symbols=2, model=model), 3).channels[:80]
    active = np.r_[1:41, K - 40 : K]
    h[:40] *= 0.1
    assert Images(pilots, M).doubt(active, lambda rows: h[rows]) == ""
    assert Images(pilots, M).doubt(active, lambda rows: np.r_[0.1 * h[:39:-1].conj(), h[40:]][rows]).startswith(IMAGE)


def test_scrambled_pilots():
    """They are the others times a phase, and detect as well."""
    plain, scrambled = (jf.dft_pilots(60, 8, 12, scrambled=s) for s in (False, True))
    assert np.array_equal(plain.rows, scrambled.rows)
    np.testing.assert_allclose(np.abs(scrambled.phases), 1, rtol=1e-6)
    np.testing.assert_allclose(scrambled.select(), plain.select() * scrambled.phases[:, :, None], rtol=1e-6)
    assert plain != scrambled == jf.dft_pilots(60, 8, 12, scrambled=True)
    with pytest.raises(ValueError, match="pilot_phases: expected magnitudes of one, found 0 to 1"):
        jf.Pilots.from_rows([[0, 1]], 5, phases=[[0, 1]])
    drop = draw_drop(Scenario(devices=K), 1)
    one = jf.Receiver(drop.pilots, M, "cdl-tiny", threads=1).detect(drop.y, drop.noise_var)
    turned = jf.Pilots.from_rows(drop.pilots.rows, K, phases=np.exp(1j * np.arange(T * N)).reshape(T, N))
    other = jf.Receiver(turned, M, "cdl-tiny", threads=1).detect(drop.y * turned.phases[:, :, None], drop.noise_var)
    assert np.array_equal(one.active, other.active)
    assert np.max(np.abs(one.channels - other.channels)) < 1e-3 * np.max(np.abs(one.channels))


def test_the_offset_is_the_device_that_looks_like_one():
    constant = np.exp(2j * np.pi * np.random.default_rng(0).random((6, 8, 7)))
    constant[..., 1:3] = [1j, -1]
    rng = np.random.default_rng(1)
    h = np.stack([complex_normal(rng, 8, 4), np.ones((8, 4)) * (1 + 1j)])
    for order in ([0, 1], [1, 0]):
        doubt = Images(jf.Pilots(constant), 4).doubt(np.array([1, 2]), lambda i, order=order: h[order][i])
        assert f"device {2 if order == [0, 1] else 1} looks like a constant offset" in doubt
        assert doubt.count("looks like") == 1


@pytest.mark.parametrize("kind", ["dft", "scrambled", "qpsk"])
@pytest.mark.parametrize("db", [-20, -10, 0])
def test_an_offset_on_the_subcarrier_of_dc_is_doubted(db, kind):
    scenario = Scenario(devices=100, symbols=10, antennas=8)
    pilots = jf.dft_pilots(100, 10, N, scrambled=kind == "scrambled")
    if kind == "qpsk":
        turns = np.random.default_rng(1).integers(0, 4, (10, N, 100))
        pilots = jf.Pilots((1j**turns).astype(np.complex64))
    drop = draw_drop(scenario, 0, 0, pilots)
    rx = jf.Receiver(pilots, 8, "cdl-tiny")
    assert rx.detect(drop.y, drop.noise_var).trusted
    y = drop.y.copy()
    y[:, 24] += np.sqrt(48) * 10 ** (db / 20) * complex_normal(np.random.default_rng(0), 8)
    reason = rx.detect(y, drop.noise_var).reason
    assert f"{IMAGE}: a constant remains on subcarrier 24 (DC offset)" in reason or db > -20
    assert reason


def test_matched_blocks_have_no_tone():
    """Of 1000 small blocks none."""
    prior = WienerPrior(16)
    for pilots in ("dft", "qpsk"):
        rx = None
        for seed in range(500):
            p = problem(30, 8, 16, 4, 2, pilots=rx.pilots if rx else pilots, seed=seed)
            rx = rx or jf.Receiver(p.pilots, 4, prior, threads=1)
            assert "constant remains" not in rx.detect(p.y, p.noise_var).reason


@pytest.mark.parametrize(("n", "m"), [(1, 1), (1, 4), (1, 32), (12, 1), (12, 4), (12, 32)])
def test_flat_channels_are_no_images(n, m):
    """Chance makes few numbers alike, and a single subcarrier is always flat."""
    images, rng, flagged = Images(jf.dft_pilots(64, 4, n), m), np.random.default_rng(0), 0
    for _ in range(200):
        h = np.broadcast_to(complex_normal(rng, 4, 1, m), (4, n, m)).astype(np.complex64)
        h[2] *= 0.15  # device 59, whose pilot is the conjugate of device 5
        flagged += bool(images.doubt(np.array([0 if n == 1 else 3, 5, 59, 60]), lambda i, h=h: h[i]))
    assert flagged <= 4


def test_threads_share_images():
    images, rng = Images(jf.dft_pilots(64, 4, 8), 16), np.random.default_rng(0)
    h = complex_normal(rng, 3, 8, 16).astype(np.complex64)
    h[2] = 0.1 * h[0].conj()
    many = complex_normal(rng, 40, 8, 16).astype(np.complex64)

    def inner(i):
        assert not images.doubt(np.arange(1, 41), lambda j: many[j])  # another thread's turn in the middle
        return h[i]

    assert "devices 59 look" in images.doubt(np.array([5, 20, 59]), inner)


def test_images_of_pilots_with_a_pattern():
    """Sampled entries must not meet a pattern over subcarriers in step."""
    t, n = np.arange(16)[:, None, None], np.arange(72)[None, :, None]
    q = np.where(np.random.default_rng(0).random((16, 1, 1)) < 0.5, -1, 1) * np.exp(2j * np.pi * n * np.arange(72) / 72)
    images = Images(jf.Pilots(q + 0 * t), 8)
    h = complex_normal(np.random.default_rng(1), 2, 72, 8).astype(np.complex64)
    h[1] = 0.1 * h[0].conj()
    assert "devices 52 look" in images.doubt(np.array([20, 52]), lambda i: h[i])
    assert not images.doubt(np.array([8, 16]), lambda i: np.ones((len(i), 72, 8), np.complex64))
