"""What a receiver accepts and what it refuses, with the message."""

import numpy as np
import pytest
from problems import SIZES, WienerPrior, problem
from test_receiver import receiver

import jadce_fast as jf


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (dict(pilots=np.ones((2, 2))), ValueError, r"pilots: expected shape \(T, N, K\), found \(2, 2\)"),
        (dict(antennas=0), ValueError, "antennas: expected 1 to 4096, found 0"),
        (dict(antennas=2.5), TypeError, "antennas: expected an integer, found float"),
        (dict(activity_rate=0), ValueError, r"activity_rate: expected a finite number in \(0, 1\), found 0"),
        (dict(activity_rate=1.0), ValueError, r"activity_rate: expected a finite number in \(0, 1\), found 1"),
        (dict(power="loud"), TypeError, "power: expected 'unknown' or a real number"),
        (dict(power=-1.0), ValueError, "power: expected a finite number"),
        (dict(device="tpu"), ValueError, "device: expected 'cpu', 'cuda' or 'cuda:N', found 'tpu'"),
        (dict(device="cuda"), ValueError, "device: expected 'cpu', found 'cuda'"),
        (dict(threads=0), ValueError, "threads: expected 1 to 1024, found 0"),
        (dict(prior=3), TypeError, "prior: expected a name, a file or a prior object, found int"),
        (dict(prior=WienerPrior(9)), ValueError, "prior: expected one for 8 subcarriers like the pilots, found 9"),
        (dict(rules=dict(damping=0.5)), TypeError, "rules: expected jadce_fast.Rules, found dict"),
    ],
)
def test_bad_plans(change, error, message):
    arguments = dict(pilots=jf.dft_pilots(20, 4, 8), antennas=4, prior=WienerPrior(8), threads=1) | change
    with pytest.raises(error, match=message):
        jf.Receiver(**arguments)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (dict(variance="guess"), ValueError, "variance: expected 'residual' or 'paper', found 'guess'"),
        (dict(max_iterations=0), ValueError, "max_iterations: expected 1 to 2147483647, found 0"),
        (dict(screening="no"), TypeError, "screening: expected True or False, found 'no'"),
        (dict(threshold=1.5), ValueError, r"threshold: expected a finite number in \[0, 1\], found 1.5"),
        (dict(caution=0.0), ValueError, r"caution: expected a finite number in \(0, 1e\+06\), found 0"),
    ],
)
def test_bad_rules(change, error, message):
    with pytest.raises(error, match=message):
        jf.Rules(**change)


@pytest.mark.parametrize(
    ("y", "noise", "error", "message"),
    [
        (np.ones((4, 8, 5)), 0.1, ValueError, r"y: expected shape \(4, 8, 4\), found \(4, 8, 5\)"),
        (np.ones((4, 8)), 0.1, ValueError, r"y: expected shape \(4, 8, 4\), found \(4, 8\)"),
        (np.ones((1, 2, 4, 8, 4)), 0.1, ValueError, r"y: expected shape \(4, 8, 4\)"),
        (np.ones((2, 4, 8, 4)), 0.1, ValueError, r"y: expected shape \(4, 8, 4\), found \(2, 4, 8, 4\)"),
        (np.full((4, 8, 4), np.nan), 0.1, ValueError, "y: expected finite numbers, found 128 NaN or infinite of 128"),
        (np.full((4, 8, 4), np.inf), 0.1, ValueError, "y: expected finite numbers"),
        (np.full((4, 8, 4), 1e200), 0.1, ValueError, "y: expected numbers that fit complex64"),
        (np.full((4, 8, 4), "a"), 0.1, TypeError, "y: expected complex64, found dtype <U1"),
        (np.full((4, 8, 4), None), 0.1, TypeError, "y: expected complex64, found dtype object"),
        (np.ones((4, 8, 4)), 0.0, ValueError, "noise_var: expected a finite number"),
        (np.ones((4, 8, 4)), -1.0, ValueError, "noise_var: expected a finite number"),
        (np.ones((4, 8, 4)), np.nan, ValueError, "noise_var: expected a finite number"),
        (np.ones((4, 8, 4)), "much", TypeError, "noise_var: expected a real number, found str"),
    ],
)
def test_bad_blocks(y, noise, error, message):
    rx = jf.Receiver(jf.dft_pilots(20, 4, 8), 4, WienerPrior(8), threads=1)
    with pytest.raises(error, match=message):
        rx.detect(y, noise)


def test_accepted_layouts():
    p = problem(**SIZES["plain"], seed=1)
    rx = receiver(p)
    expected = rx.detect(p.y, p.noise_var).activity
    swapped = p.y.astype(p.y.dtype.newbyteorder(">"))
    strided = np.asfortranarray(np.repeat(p.y, 2, axis=2))[:, :, ::2]
    for y in (swapped, strided, p.y.astype(np.complex128), p.y.tolist()):
        assert np.array_equal(rx.detect(y, p.noise_var).activity, expected)


def test_torch_tensors():
    torch = pytest.importorskip("torch")
    p = problem(**SIZES["plain"], seed=1)
    rx = receiver(p)
    out = rx.detect(torch.from_numpy(p.y), p.noise_var)
    assert np.array_equal(out.activity, rx.detect(p.y, p.noise_var).activity)
    with pytest.raises(TypeError, match="y: expected an array on the CPU, found one on meta"):
        rx.detect(torch.empty(p.y.shape, device="meta"), 0.1)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("eigenvalues", np.ones(5), r"prior.eigenvalues: expected shape \(6,\), found \(5,\)"),
        ("eigenvalues", -np.ones(6), "prior.eigenvalues: expected positive numbers"),
        ("beam_gain", np.zeros(7), "prior.beam_gain: expected positive numbers"),
        ("basis", np.ones((9, 6)), r"prior.basis: expected shape \(8, P\), found \(9, 6\)"),
    ],
)
def test_prior_objects_are_checked(name, value, message):
    prior = WienerPrior(8)
    setattr(prior, name, value)
    with pytest.raises(ValueError, match=message):
        jf.Receiver(jf.dft_pilots(20, 4, 8), 4, prior, threads=1)


class Lost(WienerPrior):
    """Does not know how wrong it is."""

    def denoise(self, z, v, devices):
        mean, var = super().denoise(z, v, devices)
        return mean, np.full_like(var, np.nan)


def test_a_variance_that_is_not_a_number_is_not_handed_on():
    p = problem(**SIZES["plain"])
    n, m = p.y.shape[1:]
    out = jf.Receiver(p.pilots, m, Lost(n), p.activity_rate, 1.0, threads=1).detect(p.y, p.noise_var)
    assert len(out.active) > 0
    assert np.isfinite(out.channel_var).all()
    assert not out.trusted


def test_strange_tensors_are_named():
    torch = pytest.importorskip("torch")
    rx = jf.Receiver(jf.dft_pilots(20, 4, 8), 4, WienerPrior(8), threads=1)
    with pytest.raises(TypeError, match="y: expected an array, found Tensor"):
        rx.detect(torch.ones(4, 8, 4, dtype=torch.complex64).conj(), 0.1)
    with pytest.raises(TypeError, match="y: expected an array, found list"):
        rx.detect([[1, 2], [3]], 0.1)
    for noise in (True, "0.1"):
        with pytest.raises(TypeError, match="noise_var: expected a real number"):
            rx.detect(np.ones((4, 8, 4)), noise)
    with pytest.raises(ValueError, match="noise_var: expected a finite number"):
        rx.detect(np.ones((4, 8, 4)), 10**400)
