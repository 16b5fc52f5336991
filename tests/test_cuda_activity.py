"""The CUDA kernels of the activity test."""

import numpy as np
import pytest
from kernels import EPS, Out, mixture, run

from jadce_fast import ops, reference

GAIN = np.array([0.003, 0.1, 1, 8], np.float32)
WEIGHT = np.array([0.4, 0.3, 0.2, 0.1], np.float32)


def table(backend, energy, quiet, v, multiplicity, eigenvalues, product):
    """null (groups, M), slope and offset; energy is (K, groups, M)."""
    k, groups, m = energy.shape
    quads = -(-len(product) // 4)
    return run(
        backend,
        *("cuda_activity_table", energy.transpose(1, 2, 0), quiet.astype(np.uint8), np.array([quiet.sum()], np.int32)),
        *(v, multiplicity, eigenvalues, product, k, m, groups, len(product)),
        *(Out((groups, m)), Out((m, quads, groups, 4)), Out((m, quads, 4))),
    )


@pytest.mark.parametrize("shape", [(1, 1, 1), (37, 5, 3), (130, 12, 32), (20, 1, 33)])
@pytest.mark.parametrize("powers", [(1.0,), (0.05, 0.3, 1.0, 4.0)])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_activity(backend, shape, powers, scale):
    """Exponents from nearly nothing to tens of thousands, where a ratio of densities would overflow."""
    rng = np.random.default_rng(4)
    k, groups, m = shape
    product, index, eigenvalues = mixture(GAIN, np.sort(rng.exponential(size=groups))[::-1], powers)
    share = np.full(len(powers), 1 / len(powers), np.float32)
    v = rng.uniform(0.5, 2, m).astype(np.float32)
    energy = (scale * rng.exponential(size=shape)).astype(np.float32)
    null, slope, offset = table(
        backend, energy, np.zeros(k, bool), v, np.ones(groups, np.float32), eigenvalues, product
    )
    assert np.array_equal(null, np.tile(v, (groups, 1)))  # nobody is quiet yet
    llr, posterior, quiet = run(
        backend,
        *("cuda_activity", energy.transpose(1, 2, 0), slope, offset, WEIGHT, np.log(share), index, -2.5),
        *(k, m, groups, len(product), len(GAIN), len(powers), Out(k), Out(k), Out(k, np.uint8)),
    )
    expected = reference.structured_llr(energy, null, eigenvalues, GAIN, WEIGHT, powers, share) - 2.5
    # Each beam's exponent is a sum of `groups` terms rounded in single precision, then beams are added.
    terms = (energy / null).sum((1, 2)) + groups * m
    assert np.all(abs(llr - expected) <= 16 * EPS * terms)
    np.testing.assert_allclose(posterior, reference.sigmoid(llr.astype(float)), rtol=8 * EPS, atol=1e-37)
    assert np.array_equal(quiet, llr < -7)
    if powers == (1.0,):  # the CPU's kernel, with the same bound on its own rounding
        plan = ops.activity_plan(eigenvalues, GAIN, WEIGHT, powers, share)
        assert np.all(abs(llr + 2.5 - ops.activity_llr(plan, energy, null)) <= 32 * EPS * terms)


@pytest.mark.parametrize("merge", [1, 3])
def test_noise_reference(backend, merge):
    """The mean energy of quiet devices, if there are more than fifty; the likelihood ratio then uses it."""
    rng = np.random.default_rng(5)
    k, groups, m = 300, 4, 5
    energy = rng.exponential(size=(k, groups, m)).astype(np.float32)
    energy[:, 1, 2] = 0  # hardly believable: v limits the reference
    v = rng.uniform(0.5, 2, m).astype(np.float32)
    product, index, eigenvalues = mixture(GAIN, np.linspace(2, 0.1, groups), (1.0,))
    multiplicity = np.full(groups, merge, np.float32)
    for count in (50, 51, 299):
        quiet = rng.permutation(k) < count
        null, slope, offset = table(backend, energy, quiet, v, multiplicity, eigenvalues, product)
        mean = energy[quiet].astype(float).mean(0) / merge if count > 50 else np.tile(v, (groups, 1))
        expected = np.maximum(mean, 1e-3 * v)
        np.testing.assert_allclose(null, expected, rtol=16 * EPS)  # a tree over 256 partial sums
        llr, _, _ = run(
            backend,
            *("cuda_activity", energy.transpose(1, 2, 0), slope, offset, WEIGHT, np.zeros(1, np.float32), index, 0.0),
            *(k, m, groups, len(product), len(GAIN), 1, Out(k), Out(k), Out(k, np.uint8)),
        )
        plan = ops.activity_plan(eigenvalues, GAIN, WEIGHT, multiplicity=multiplicity)
        terms = (energy / null).sum((1, 2)) + merge * groups * m
        assert np.all(abs(llr - ops.activity_llr(plan, energy, null)) <= 32 * EPS * terms)


def select(backend, llr, capacity, threshold=0.02):
    posterior = reference.sigmoid(llr.astype(float)).astype(np.float32)
    quiet = (llr < -7).astype(np.uint8)
    return run(
        backend,
        *("cuda_select_candidates", llr, posterior, quiet, threshold, len(llr), capacity),
        *(Out(capacity, np.int32), Out(capacity), Out(3, np.int32)),
    )


@pytest.mark.parametrize("devices", [1, 31, 800, 1024, 2500])
@pytest.mark.parametrize("capacity", [1, 16, 128, 3000])
@pytest.mark.parametrize("levels", [None, 4])
def test_selection(backend, devices, capacity, levels):
    """In order of the index; the most probable ones if there are too many, and the first of equal ones."""
    rng = np.random.default_rng(devices)
    llr = rng.uniform(-12, 12, devices).astype(np.float32)
    if levels:
        llr = np.round(llr / 12 * levels).astype(np.float32) * 3
    device, chosen, counts = select(backend, llr, capacity)
    posterior = reference.sigmoid(llr.astype(float)).astype(np.float32)
    plausible = np.flatnonzero(posterior > np.float32(0.02))
    kept = np.sort(plausible[np.argsort(-llr[plausible], kind="stable")[:capacity]])
    assert counts.tolist() == [len(kept), len(plausible) - len(kept), np.sum(llr < -7)]
    assert np.array_equal(device[: len(kept)], kept)
    assert np.all(device[len(kept) :] == -1)
    assert np.array_equal(chosen[: len(kept)], posterior[kept])
    assert np.all(chosen[len(kept) :] == 0)


def test_selection_of_nobody_and_of_nonsense(backend):
    device, chosen, counts = select(backend, np.full(70, -20, np.float32), 4)
    assert counts.tolist() == [0, 0, 70]
    assert np.all(device == -1)
    assert np.all(chosen == 0)
    llr = np.full(70, np.nan, np.float32)
    llr[[3, 66]] = 5
    device, _, counts = select(backend, llr, 4)
    assert device.tolist() == [3, 66, -1, -1]
    assert counts.tolist() == [2, 0, 0]
