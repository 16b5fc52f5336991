"""Pilots with structure: devices without one, devices that share one."""

import warnings

import numpy as np
import pytest
from problems import WienerPrior, complex_normal

import jadce_fast as jf
from jadce_fast.parts import split
from jadce_fast.priors.restricted import RestrictedPrior
from jadce_fast.structure import shared

pytestmark = pytest.mark.usefixtures("one_thread")
T, N, K, M = 12, 8, 90, 8


def block(q: np.ndarray, active: list[int], seed: int = 0, noise_var: float = 0.02) -> tuple[np.ndarray, np.ndarray]:
    """A received block, and the channels of the active devices."""
    rng = np.random.default_rng(seed)
    prior = WienerPrior(q.shape[1])
    s = complex_normal(rng, len(active), len(prior.eigenvalues), M) * np.sqrt(prior.eigenvalues)[:, None]
    h = np.einsum("np,apm->anm", prior.basis, s)
    noise = np.sqrt(noise_var) * complex_normal(rng, *q.shape[:2], M)
    return np.einsum("tna,anm->tnm", q[:, :, active], h) + noise, h


def receiver(q: np.ndarray, **arguments) -> jf.Receiver:
    return jf.Receiver(q, M, **(dict(prior=WienerPrior(q.shape[1]), threads=1) | arguments))


@pytest.fixture
def q() -> np.ndarray:
    return complex_normal(np.random.default_rng(1), T, N, K)


@pytest.mark.parametrize("power", ["unknown", 1.0])
def test_devices_without_a_pilot_change_nothing(q, power):
    silent = np.arange(2, K, 3)
    rest = np.setdiff1d(np.arange(K), silent)
    y, _ = block(q, [4, 10, 60])
    q[:, :, silent] = 0
    out, alone = receiver(q, power=power).detect(y, 0.02), receiver(q[:, :, rest], power=power).detect(y, 0.02)
    assert out.active.tolist() == [4, 10, 60] == rest[alone.active].tolist()
    assert np.array_equal(out.channels, alone.channels)
    assert np.array_equal(out.activity[rest], alone.activity)
    assert not out.activity[silent].any()
    assert out.trusted
    assert out.noise_var == alone.noise_var


def test_a_pilot_that_is_next_to_nothing_is_none(q):
    y, _ = block(q, [4, 10, 60])
    q[:, :, 5] *= 1e-8
    assert shared(jf.Pilots(q)).source[5] == -1
    assert receiver(q).detect(y, 0.02).active.tolist() == [4, 10, 60]


def test_fewer_pilots_than_symbols(q):
    q[:, :, 7:] = 0
    y, h = block(q, [3])
    out = receiver(q).detect(y, 0.02)
    assert out.active.tolist() == [3]
    assert np.mean(abs(out.channels - h) ** 2) < 0.05


def test_priors_are_told_the_devices_of_the_pilots(q):
    seen = []

    class Curious(WienerPrior):
        def denoise(self, z, v, devices):
            seen.extend(devices.tolist())
            return super().denoise(z, v, devices)

    q[:, :, :30] = 0
    receiver(q, prior=Curious(N)).detect(block(q, [40, 70])[0], 0.02)
    assert {40, 70} <= set(seen)
    assert min(seen) >= 30


@pytest.mark.parametrize("factor", [1.0, 0.5 - 1j])
def test_devices_that_share_a_pilot_are_named(q, factor):
    q[:, :, 8] = factor * q[:, :, 7]
    with pytest.warns(UserWarning, match="2 devices have the pilot of another one and cannot be told from it: 7, 8"):
        rx = receiver(q)
    y, h = block(q, [7, 60])
    out = rx.detect(y, 0.02)
    assert out.active.tolist() == [7, 8, 60]
    assert out.reason == "duplicate pilots: 7, 8"
    assert not out.trusted
    np.testing.assert_allclose(out.activity[[7, 8, 60]], [0.5, 0.5, 1], atol=1e-3)
    # One of the two has this channel, the other one none: the mean of both is wrong by half of it.
    for i, x in ((0, h[0]), (1, 0 * h[0])):
        assert np.mean(abs(out.channels[i] - x) ** 2) == pytest.approx(out.channel_var[i], rel=0.1)
    assert np.mean(abs(out.channels[2] - h[1]) ** 2) < 0.05
    quiet = rx.detect(block(q, [33, 60])[0], 0.02)
    assert quiet.active.tolist() == [33, 60]
    assert quiet.trusted


def test_pilots_are_compared_up_to_a_factor():
    rng = np.random.default_rng(2)
    q = complex_normal(rng, 5, 3, 2000)
    pairs = rng.permutation(2000)[:200].reshape(100, 2)
    q[:, :, pairs[:, 1]] = q[:, :, pairs[:, 0]] * complex_normal(rng, 100)
    with pytest.warns(UserWarning, match="200 devices"):
        found = shared(jf.Pilots(q))
    assert len(found.planned) == 1900
    assert np.array_equal(found.planned[found.source[pairs[:, 0]]], pairs.min(1))
    assert np.array_equal(found.source[pairs[:, 0]], found.source[pairs[:, 1]])
    sent = q[:, :, found.planned[found.source]] * found.ratio
    np.testing.assert_allclose(sent, q, atol=1e-5)


def test_partial_dft_pilots_that_repeat():
    with pytest.warns(UserWarning, match="0, 4; 1, 5; 2, 6; 3, 7"):
        found = shared(jf.Pilots.from_rows([[1, 3], [5, 7]], 8))
    q = jf.Pilots.from_rows([[1, 3], [5, 7]], 8).select()
    assert found.planned.tolist() == [0, 1, 2, 3]
    np.testing.assert_allclose(q[:, :, found.planned[found.source]] * found.ratio, q, atol=1e-6)


def test_pilots_that_nobody_shares_are_taken_as_they_are(q):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert shared(jf.Pilots(q)) is None
        assert shared(jf.dft_pilots(800, 20, 48)) is None


@pytest.mark.parametrize("kind", ["zero", "twice"])
def test_on_a_gpu_too(gpu_device, q, kind):
    q = q[:8, :3, :40]
    q[:, :, 8] = 0 if kind == "zero" else 2 * q[:, :, 7]
    y, _ = block(q, [7, 25])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        rx = receiver(q, prior="gaussian", device="cuda", batch=2, rules=jf.Rules(max_iterations=4))
        expected = receiver(q, prior="gaussian", rules=jf.Rules(max_iterations=4)).detect(y, 0.02)
    out = rx.detect(y, 0.02)
    assert out.active.tolist() == expected.active.tolist()
    assert out.reason == expected.reason
    np.testing.assert_allclose(out.activity, expected.activity, atol=1e-3)
    np.testing.assert_allclose(out.channels, expected.channels, atol=1e-3)
    np.testing.assert_allclose(out.channel_var, expected.channel_var, rtol=2e-3)
    both = rx.enqueue(np.stack([y, y]).astype(np.complex64), 0.02)
    assert both.activity.shape == (2, 40)
    np.testing.assert_allclose(both.activity[1], expected.activity, atol=1e-3)
    assert both.active[1, :3].tolist() == [7, 25, -1]
    assert both.trusted.tolist() == [kind == "zero"] * 2
    np.testing.assert_allclose(both.channels[1, 0], expected.channels[0], atol=1e-3)
    np.testing.assert_allclose(both.channel_var[1, 0], expected.channel_var[0], rtol=2e-3)


def lmmse(q: np.ndarray, y: np.ndarray, active: list[int], noise_var: float = 0.02) -> np.ndarray:
    """Channels (A, N, M) from a block in which the active devices are known."""
    prior = WienerPrior(q.shape[1])
    root = prior.basis * np.sqrt(prior.eigenvalues)
    a = np.einsum("tna,np->tnap", q[:, :, active], root).reshape(T * q.shape[1], -1)
    s = np.linalg.solve(a.conj().T @ a + noise_var * np.eye(a.shape[1]), a.conj().T @ y.reshape(len(a), -1))
    return np.einsum("np,apm->anm", root, s.reshape(len(active), -1, y.shape[2]))


def nmse(found: np.ndarray, true: np.ndarray) -> float:
    return float(10 * np.log10(np.sum(abs(found - true) ** 2) / np.sum(abs(true) ** 2)))


PATTERNS = {  # subcarriers (N', 1) sounded by devices (K,)
    "comb of 2": lambda n, k: n % 2 == k % 2,
    "comb of 4": lambda n, k: n % 4 == k % 4,
    "comb of 8": lambda n, k: n % 8 == k % 8,
    "guards": lambda n, k: (n >= 4) & (n < 20) & (n != 12) & (k >= 0),
    "halves": lambda n, k: n // 12 == k % 2,
}


@pytest.mark.parametrize("power", ["unknown", 1.0])
@pytest.mark.parametrize("pattern", PATTERNS)
def test_pilots_that_leave_subcarriers_out(pattern, power):
    n, k = np.arange(24), np.arange(K)
    q = complex_normal(np.random.default_rng(3), T, 24, K) * PATTERNS[pattern](n[:, None], k)
    active = [4, 9, 23, 60, 71]
    y, h = block(q, active)
    out = receiver(q, power=power).detect(y, 0.02)
    assert out.active.tolist() == active
    assert out.trusted, out.reason
    assert nmse(out.channels, h) < nmse(lmmse(q, y, active), h) + 1
    true = np.mean(abs(out.channels - h) ** 2)
    assert 0.5 * true < out.channel_var.mean() < 3 * true


def test_a_few_holes_are_as_usual():
    """A subcarrier that nobody sounds between two that are: nothing is to be done about it."""
    q = complex_normal(np.random.default_rng(3), T, 24, K)
    q[:, 12] = 0
    assert split(jf.Pilots(q), WienerPrior(24)) == []
    y, h = block(q, [4, 9])
    out = receiver(q, power=1.0).detect(y, 0.02)
    assert out.active.tolist() == [4, 9]
    assert nmse(out.channels, h) < nmse(lmmse(q, y, [4, 9]), h) + 1


def test_subcarriers_that_overlap_in_part_are_refused():
    n, k = np.arange(24)[:, None], np.arange(K)
    first = 6 * (k % 3)
    q = complex_normal(np.random.default_rng(3), T, 24, K) * ((n >= first) & (n < first + 12))
    with pytest.raises(ValueError, match="found 3 sets that overlap, the smallest of 12 of 24 subcarriers"):
        receiver(q)


def test_parts_need_the_cpu(gpu_device):
    q = complex_normal(np.random.default_rng(3), T, 24, K) * PATTERNS["comb of 2"](np.arange(24)[:, None], np.arange(K))
    with pytest.raises(
        ValueError, match="device: expected 'cpu' for pilots that leave subcarriers out or repeat, found 'cuda'"
    ):
        receiver(q, device="cuda")


def test_a_restricted_prior_is_the_posterior_of_what_is_seen():
    """One beam power: the Gaussian posterior of the channel on all subcarriers, from some of them."""
    prior, seen, v = WienerPrior(24), np.arange(3, 24, 2), 0.1
    prior.beam_gain, prior.beam_weight = np.ones(1, np.float32), np.ones(1, np.float32)
    restricted = RestrictedPrior(prior, seen)
    y = complex_normal(np.random.default_rng(0), 2, len(seen), 3)
    z = np.einsum("np,anm->apm", restricted.basis.conj(), y)
    mean, var = restricted.denoise(z, np.full((2, 3), v))
    whole = np.einsum("ns,sp,apm->anm", restricted.extend, restricted.basis, mean)
    covariance = (prior.basis * prior.eigenvalues) @ prior.basis.conj().T
    inner = np.linalg.inv(covariance[np.ix_(seen, seen)] + v * np.eye(len(seen)))
    np.testing.assert_allclose(whole, np.einsum("ns,asm->anm", covariance[:, seen] @ inner, y), atol=1e-4)
    left = covariance - covariance[:, seen] @ inner @ covariance[seen]
    np.testing.assert_allclose(var, np.trace(left[np.ix_(seen, seen)]).real / len(seen), rtol=1e-3)
    power = np.ones(2, np.float32) * np.trace(covariance[np.ix_(seen, seen)]).real / len(seen)
    np.testing.assert_allclose(restricted.extended_var(var[:, 0], power), np.trace(left).real / 24, rtol=0.05)


@pytest.mark.parametrize(("width", "fits"), [(1, True), (2, True), (3, False), (12, False)])
def test_sequences_that_repeat_on_some_neighbours_are_refused(width, fits):
    q = np.repeat(complex_normal(np.random.default_rng(4), T, 24 // width, K), width, axis=1)
    if fits:
        assert split(jf.Pilots(q), WienerPrior(24)) == []
    else:
        with pytest.raises(ValueError, match="pilots: expected sequences that differ from subcarrier to subcarrier"):
            receiver(q)
