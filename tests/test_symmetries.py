"""What a problem is changed by, its solution is changed by: scales, phases, order, copies, files, threads."""

from __future__ import annotations

import copy
import dataclasses
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from problems import WienerPrior, problem, qpsk_pilots

import jadce_fast as jf

pytestmark = pytest.mark.filterwarnings("ignore:pilots:UserWarning")  # devices that share one
SEEDS = st.integers(0, 2**16)
PILOTS = st.sampled_from(["dft", "qpsk"])


@st.composite
def problems(draw, **fixed):
    """Problems of few devices, at loads and noise where something is to be found."""
    devices = draw(st.integers(2, 40))
    sizes = dict(
        devices=devices,
        symbols=draw(st.integers(1, min(devices, 12))),
        subcarriers=draw(st.integers(2, 9)),
        antennas=draw(st.sampled_from([1, 2, 3, 5, 8, 17])),
        active=draw(st.integers(0, min(devices, 4))),
        snr_db=draw(st.sampled_from([0.0, 10.0, 25.0])),
        pilots=draw(PILOTS),
        seed=draw(SEEDS),
    )
    return problem(**(sizes | fixed))


def receiver(p, **options):
    prior = WienerPrior(p.pilots.subcarriers)
    return jf.Receiver(p.pilots, p.y.shape[2], prior, p.activity_rate, **({"threads": 1} | options))


def alike(one, two, factor=1.0, tolerance=2e-3):
    """Results that differ by rounding, which the loop makes larger where it has not come to its end.

    A device whose probability is about one half may be decided either way.
    """
    decided = np.minimum(abs(one.activity - 0.5), abs(two.activity - 0.5)) > 0.05
    np.testing.assert_allclose(one.activity[decided], two.activity[decided], atol=0.05)
    assert not decided[np.setxor1d(one.active, two.active)].any()
    _, i, j = np.intersect1d(one.active, two.active, assume_unique=True, return_indices=True)
    if decided.all() and one.iterations == two.iterations:
        largest = np.abs(one.channels).max(initial=0)
        np.testing.assert_allclose(two.channels[j] / factor, one.channels[i], atol=tolerance * largest)


@given(problems(), st.integers(-40, 40), st.booleans())
def test_powers_of_two_are_exact(p, exponent, knows):
    """Amplitudes times 2^e and powers times 4^e change only exponents of numbers."""
    a = 2.0**exponent
    one = receiver(p, power=1.0 if knows else "unknown").detect(p.y, p.noise_var)
    two = receiver(p, power=a * a if knows else "unknown").detect(p.y * np.float32(a), p.noise_var * a * a)
    np.testing.assert_array_equal(one.active, two.active)
    np.testing.assert_array_equal(one.channels * np.float32(a), two.channels)
    np.testing.assert_array_equal(one.activity, two.activity)
    assert (one.reason, one.iterations, one.stopped_because) == (two.reason, two.iterations, two.stopped_because)


@given(problems(active=2), st.floats(1e-9, 1e9))
def test_scales(p, a):
    rx = receiver(p)
    alike(rx.detect(p.y, p.noise_var), rx.detect((a * p.y).astype(np.complex64), a * a * p.noise_var), a)


@given(problems(active=2), st.floats(0, 7))
def test_phases(p, angle):
    rx, turn = receiver(p), np.exp(1j * angle)
    alike(rx.detect(p.y, p.noise_var), rx.detect((turn * p.y).astype(np.complex64), p.noise_var), turn)


@given(problems(active=2), st.integers(-20, 20))
def test_scales_of_pilots(p, exponent):
    """Pilots of another amplitude and channels of its inverse make the same block."""
    a = 2.0**exponent
    pilots = jf.Pilots(p.pilots.select() * np.float32(a))
    two = jf.Receiver(pilots, p.y.shape[2], WienerPrior(p.pilots.subcarriers), p.activity_rate, threads=1)
    one = jf.Receiver(p.pilots.select(), p.y.shape[2], two.prior, p.activity_rate, threads=1)
    alike(one.detect(p.y, p.noise_var), two.detect(p.y, p.noise_var), 1 / a)


@given(problems(active=2), SEEDS)
def test_order_of_devices(p, seed):
    q = p.pilots.select()
    order = np.random.default_rng(seed).permutation(q.shape[2])
    prior = WienerPrior(p.pilots.subcarriers)
    one, two = (jf.Receiver(x, p.y.shape[2], prior, p.activity_rate, threads=1) for x in (q, q[:, :, order]))
    found, other = one.detect(p.y, p.noise_var), two.detect(p.y, p.noise_var)
    rank = np.argsort(order[other.active])
    back = dict(activity=other.activity[np.argsort(order)], active=order[other.active][rank])
    alike(found, dataclasses.replace(other, channels=other.channels[rank], **back))


@given(problems(active=2), SEEDS)
def test_order_of_symbols(p, seed):
    order = np.random.default_rng(seed).permutation(len(p.y))
    prior = WienerPrior(p.pilots.subcarriers)
    one, two = (jf.Receiver(q, p.y.shape[2], prior, threads=1) for q in (p.pilots, p.pilots.select()[order]))
    alike(one.detect(p.y, p.noise_var), two.detect(p.y[order], p.noise_var))


@given(problems(), st.integers(1, 3), st.booleans())
def test_many_blocks_are_single_ones(p, count, learns):
    rx, ys = receiver(p), np.stack([p.y * np.float32(i + 1) for i in range(count)])
    noise = None if learns else p.noise_var
    each = [rx.detect(y, noise) for y in ys]
    assert rx.detect_many(ys, noise) == each
    assert rx.detect_many(iter(ys), noise) == each
    assert [rx.detect(y, noise) for y in ys[::-1]][::-1] == each  # a receiver remembers nothing


@given(problems(antennas=17), st.sampled_from([2, 3, 5]))
def test_threads_change_nothing(p, threads):
    assert receiver(p).detect(p.y, p.noise_var) == receiver(p, threads=threads).detect(p.y, p.noise_var)


@given(problems(), st.sampled_from([lambda x: pickle.loads(pickle.dumps(x)), copy.deepcopy, copy.copy]))
def test_copies(p, copied):
    rx = receiver(p)
    found = rx.detect(p.y, p.noise_var)
    assert copied(rx).detect(p.y, p.noise_var) == found
    assert copied(found) == found
    assert copied(p.pilots) == p.pilots


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("files")


@given(
    problems(),
    st.sampled_from([".npz", ".mat"]),  # HDF5 files are read by a process of their own, which takes time
    st.sampled_from(["none", "one", "antennas", "covariance"]),
    st.booleans(),
)
def test_captures_and_results_in_files(folder, p, suffix, noise, truth):
    antennas = p.y.shape[2]
    told = {"none": None, "one": p.noise_var, "antennas": np.linspace(1, 2, antennas)[None]}.get(noise)
    if noise == "covariance":
        told = np.eye(antennas) * (2 + 0j) + 1
    known = dict(true_active=p.active, true_channels=p.channels) if truth else {}
    block = jf.Capture(p.y, p.pilots, told, p.activity_rate, **known)
    jf.save_capture(folder / f"capture{suffix}", block)
    again = jf.load_capture(folder / f"capture{suffix}")
    for name in ("y", "pilots", "noise_var", "activity_rate", "true_active", "true_channels"):
        one, two = getattr(block, name), getattr(again, name)
        assert np.all(one == two)
        assert np.shape(one) == np.shape(two) or np.size(one) == 1 == antennas  # (1, 1): a number
    found = receiver(p).detect(p.y, p.noise_var)
    jf.save_result(folder / "result.npz", found)
    with np.load(folder / "result.npz") as file:
        for name in ("activity", "active", "channels", "channel_var", "trusted", "explained", "reason"):
            np.testing.assert_array_equal(file[name], getattr(found, name))


@given(st.integers(1, 30), SEEDS)
def test_scrambling_and_rows_are_what_they_say(devices, seed):
    symbols = 1 + seed % devices
    one = jf.dft_pilots(devices, symbols, 3, seed, 2.0, scrambled=bool(seed % 2))
    two = jf.Pilots.from_rows(one.rows, devices, 2.0, one.phases)
    assert one == two
    q = one.select()
    np.testing.assert_allclose(
        np.einsum("tnk,snk->nts", q, q.conj()), 2 * devices * np.array([np.eye(symbols)] * 3), atol=1e-4 * devices
    )
    np.testing.assert_array_equal(q[:, :, ::-1], one.select(np.arange(devices)[::-1]))
    assert one != qpsk_pilots(devices, symbols, 3)
