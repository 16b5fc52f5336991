"""The CUDA kernels of the activity test."""

import numpy as np
import pytest
import torch
from kernels import EPS, Fields, Out, control, mixture, read_word, run, word

import jadce_fast as jf
from jadce_fast import ops, reference

GAIN = np.array([0.003, 0.1, 1, 8], np.float32)
WEIGHT = np.array([0.4, 0.3, 0.2, 0.1], np.float32)


def energies(energy, merge=1):
    """Of (K, P, M), or (B, K, P, M), as kernels take them."""
    *batch, k, p, m = energy.shape
    by_device = np.moveaxis(energy, -3, -1)
    return Fields(
        "Energies", energy=by_device, rows=p, merge=merge, devices=k, antennas=m, batch=batch[0] if batch else 1
    )


def table(backend, energy, idle, v, mixture, merge=1, *, batch=(), **arguments):
    """null (groups, M), slope and offset; energy is (K, P, M), of which `merge` coefficients make a group."""
    p, m = energy.shape[-2:]
    groups, quads = -(-p // merge), -(-mixture["products"] // 4)
    usual = {"idle_count": np.array([idle.sum()], np.int32)}
    return run(
        backend,
        "activity_table",
        energies=energies(energy, merge),
        idle=idle.astype(np.uint8),
        v=v,
        mixture=mixture,
        null=Out((*batch, groups, m)),
        slope=Out((*batch, m, quads, groups, 4)),
        offset=Out((*batch, m, quads, 4)),
        **(usual | arguments),
    )


def activity(backend, energy, tables, mixture, log_odds, merge=1, *, batch=(), **arguments):
    k = energy.shape[-3]
    return run(
        backend,
        "activity",
        energies=energies(energy, merge),
        slope=tables.slope,
        offset=tables.offset,
        mixture=mixture,
        log_odds=log_odds,
        llr=Out((*batch, k)),
        posterior=Out((*batch, k)),
        idle=Out((*batch, k), np.uint8),
        **arguments,
    )


@pytest.mark.parametrize("shape", [(1, 1, 1), (37, 5, 3), (130, 12, 32), (20, 1, 33)])
@pytest.mark.parametrize("powers", [(1.0,), (0.05, 0.3, 1.0, 4.0)])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_activity(backend, shape, powers, scale):
    """Exponents from nearly nothing to tens of thousands, where a ratio of densities would overflow."""
    rng = np.random.default_rng(4)
    k, groups, m = shape
    eigenvalues = np.sort(rng.exponential(size=groups))[::-1].astype(np.float32)
    share = np.full(len(powers), 1 / len(powers), np.float32)
    mixed = mixture(GAIN, WEIGHT, eigenvalues, powers, share)
    v = rng.uniform(0.5, 2, m).astype(np.float32)
    energy = (scale * rng.exponential(size=shape)).astype(np.float32)
    tables = table(backend, energy, np.zeros(k, bool), v, mixed)
    null = tables.null
    assert np.array_equal(null, np.tile(v, (groups, 1)))  # nobody is idle yet
    found = activity(backend, energy, tables, mixed, -2.5)
    llr = found.llr
    expected = reference.structured_llr(energy, null, eigenvalues, GAIN, WEIGHT, powers, share) - 2.5
    # Each beam's exponent is a sum of `groups` terms rounded in single precision, then beams are added.
    terms = (energy / null).sum((1, 2)) + groups * m
    assert np.all(abs(llr - expected) <= 16 * EPS * terms)
    np.testing.assert_allclose(found.posterior, reference.sigmoid(llr.astype(float)), rtol=8 * EPS, atol=1e-37)
    assert np.array_equal(found.idle, llr < jf.Rules().idle)
    if powers == (1.0,):  # the CPU's kernel, with the same bound on its own rounding
        plan = ops.activity_plan(eigenvalues, GAIN, WEIGHT, powers, share)
        assert np.all(abs(llr + 2.5 - ops.activity_llr(plan, energy, null)) <= 32 * EPS * terms)


@pytest.mark.parametrize("merge", [1, 3])
def test_noise_reference(backend, merge):
    """The mean energy of idle devices, if there are more than fifty; the likelihood ratio then uses it."""
    rng = np.random.default_rng(5)
    k, groups, m = 300, 4, 5
    energy = rng.exponential(size=(k, groups, m)).astype(np.float32)
    energy[:, 1, 2] = 0  # hardly believable: v limits the reference
    v = rng.uniform(0.5, 2, m).astype(np.float32)
    eigenvalues, multiplicity = np.linspace(2, 0.1, groups), np.full(groups, merge, np.float32)
    mixed = mixture(GAIN, WEIGHT, eigenvalues, (1.0,), (1.0,), multiplicity)
    for count in (50, 51, 299):
        idle = rng.permutation(k) < count
        tables = table(backend, energy, idle, v, mixed)
        null = tables.null
        mean = energy[idle].astype(float).mean(0) / merge if count > 50 else np.tile(v, (groups, 1))
        expected = np.maximum(mean, 1e-3 * v)
        np.testing.assert_allclose(null, expected, rtol=16 * EPS)  # a tree over 256 partial sums
        llr = activity(backend, energy, tables, mixed, 0.0).llr
        plan = ops.activity_plan(eigenvalues, GAIN, WEIGHT, multiplicity=multiplicity)
        terms = (energy / null).sum((1, 2)) + merge * groups * m
        assert np.all(abs(llr - ops.activity_llr(plan, energy, null)) <= 32 * EPS * terms)


@pytest.mark.parametrize("merge", [2, 3, 5])
def test_energies_merged_where_they_are_read(backend, merge):
    """As the sums of energies would do."""
    rng = np.random.default_rng(7)
    k, p, m = 75, 5, 3
    groups = -(-p // merge)
    energy = rng.exponential(size=(k, p, m)).astype(np.float32)
    merged = np.add.reduceat(energy, np.arange(0, p, merge), axis=1)
    members = np.bincount(np.arange(p) // merge).astype(np.float32)
    mixed = mixture(GAIN, WEIGHT, np.linspace(2, 0.1, groups), (1.0,), (1.0,), members)
    v, idle = rng.uniform(0.5, 2, m).astype(np.float32), rng.uniform(size=k) < 0.9
    tables = table(backend, energy, idle, v, mixed, merge)
    # Sums over the idle devices may be known.
    sums = energy[idle].sum(0, dtype=float).astype(np.float32)
    known = table(backend, np.full_like(energy, np.nan), idle, v, mixed, merge, sums=sums)
    for other in (table(backend, merged, idle, v, mixed), known):
        for name in ("null", "slope", "offset"):
            np.testing.assert_allclose(getattr(tables, name), getattr(other, name), rtol=64 * EPS)
    llr = [
        activity(backend, energy, tables, mixed, -1.0, merge).llr,
        activity(backend, merged, tables, mixed, -1.0).llr,
    ]
    terms = (merged / tables.null).sum((1, 2)) + p * m
    assert np.all(abs(llr[0] - llr[1]) <= 16 * EPS * terms)


def test_activity_of_a_batch(backend):
    """As one by one, with noise references of their own; a block that has nothing to do is left alone."""
    rng = np.random.default_rng(6)
    k, groups, m = 90, 3, 5
    mixed = mixture(GAIN, WEIGHT, np.linspace(2, 0.1, groups), (0.5, 2.0), (0.5, 0.5))
    energy = rng.exponential(size=(3, k, groups, m)).astype(np.float32)
    idle = rng.uniform(size=(3, k)) < np.array([[0.2], [0.9], [0.9]])
    v = rng.uniform(0.5, 2, (3, m)).astype(np.float32)
    words = backend.put(control(backend, test=[1, 0, 1], idle=idle.sum(1)))
    some = dict(batch=(3,), enabled=word(backend, words, "test"))
    tables = table(backend, energy, idle, v, mixed, idle_count=word(backend, words, "idle"), **some)
    found = activity(backend, energy, tables, mixed, -1.0, **some)
    assert np.isnan(tables.null[1]).all()
    assert np.isnan(found.llr[1]).all()
    for i in (0, 2):
        one = table(backend, energy[i], idle[i], v[i], mixed)
        assert np.array_equal(tables.null[i], one.null)
        alone = activity(backend, energy[i], one, mixed, -1.0)
        assert np.array_equal(found.llr[i], alone.llr)
        assert np.array_equal(found.posterior[i], alone.posterior)


class Selection:
    """State of select_candidates() for `batch` blocks of K devices."""

    def __init__(self, backend, batch, devices, capacity, slots=None):
        self.backend, self.k, self.capacity, self.slots = (
            backend,
            devices,
            capacity,
            slots or min(devices, 2 * capacity),
        )
        ones = np.ones(batch, np.int32)
        numbers = dict(going=ones, run=ones, test=ones, last=0 * ones, iteration=0 * ones, candidates=-ones)
        powers = dict(error=8.0 * ones, received=1.0 * ones, noise=0.0 * ones, deviation=0.1 * ones)
        powers |= dict(expected=2.0 * ones, faintest=np.inf * ones)
        self.control = backend.put(control(backend, known=0 * ones, **numbers, **powers))
        self.remaining = backend.put(np.array([batch], np.int32))
        self.device = np.full((batch, capacity), 123456, np.int32)  # no device of any test
        self.chosen = np.full((batch, capacity), np.nan, np.float32)
        self.slot = np.full((batch, devices), -1, np.int32)
        self.support = np.full((batch, self.slots), -1, np.int32)
        self.place = np.full((batch, self.slots), 123456, np.int32)

    def set(self, name, values):
        offset = self.backend.native.control_dtype.fields[name][1]
        self.control[:, offset // 4] = torch.tensor(values, dtype=torch.int32)

    def word(self, name):
        return read_word(self.backend, self.control, name)

    def __call__(self, llr, **rules):
        llr = np.atleast_2d(llr)
        found = run(
            self.backend,
            "select_candidates",
            control=self.control,
            llr=llr,
            posterior=reference.sigmoid(llr.astype(float)).astype(np.float32),
            idle=(llr < jf.Rules().idle).astype(np.uint8),
            rules=self.backend.native.Rules(**rules),
            devices=self.k,
            capacity=self.capacity,
            slots=self.slots,
            batch=len(llr),
            device=Out(self.device.shape, np.int32, self.device),
            chosen=Out(self.chosen.shape, np.float32, self.chosen),
            free=Out(self.support.shape, np.int32),
            slot=Out(self.slot.shape, np.int32, self.slot),
            support=Out(self.support.shape, np.int32, self.support),
            place=Out(self.place.shape, np.int32, self.place),
            remaining=self.remaining,
            loop=self.backend.native.no_loop,
        )
        self.device, self.chosen, self.slot = found.device, found.chosen, found.slot
        self.support, self.place = found.support, found.place


@pytest.mark.parametrize("devices", [1, 31, 800, 1024, 2500])
@pytest.mark.parametrize("capacity", [1, 16, 128, 3000])
@pytest.mark.parametrize("levels", [None, 4])
def test_selection(backend, devices, capacity, levels):
    """In order of the index; the most probable ones if there are too many, and the first of equal ones."""
    rng = np.random.default_rng(devices)
    llr = rng.uniform(-12, 12, devices).astype(np.float32)
    if levels:
        llr = np.round(llr / 12 * levels).astype(np.float32) * 3
    select = Selection(backend, 1, devices, capacity)
    select(llr)
    posterior = reference.sigmoid(llr.astype(float)).astype(np.float32)
    plausible = np.flatnonzero(posterior > np.float32(0.02))
    kept = np.sort(plausible[np.argsort(-llr[plausible], kind="stable")[:capacity]])
    counts = [select.word(name).item() for name in ("candidates", "left_out", "idle", "faint")]
    faint = np.sum((llr > 0) & (llr < jf.Rules().faint))
    assert counts == [len(kept), len(plausible) - len(kept), np.sum(llr < jf.Rules().idle), faint]
    assert np.array_equal(select.device[0, : len(kept)], kept)
    assert np.all(select.device[0, len(kept) :] == -1)
    assert np.array_equal(select.chosen[0, : len(kept)], posterior[kept])
    assert np.all(select.chosen[0, len(kept) :] == 0)
    # Every candidate has a slot.
    assert np.array_equal(select.support[0, : len(kept)], kept)
    assert np.array_equal(select.place[0, : len(kept)], np.arange(len(kept)))
    assert np.array_equal(np.flatnonzero(select.slot[0] >= 0), kept)
    assert select.word("slots") == len(kept)


def test_selection_of_nobody_and_of_nonsense(backend):
    select = Selection(backend, 1, 70, 4)
    select(np.full(70, -20, np.float32))
    assert [select.word(name).item() for name in ("candidates", "left_out", "idle")] == [0, 0, 70]
    assert np.all(select.device == -1)
    assert np.all(select.chosen == 0)
    llr = np.full(70, np.nan, np.float32)
    llr[[3, 66]] = 5
    select(llr)
    assert select.device[0].tolist() == [3, 66, -1, -1]
    assert select.word("candidates") == 2


def test_activity_settles(backend):
    """By whether tests agree, candidates are certain, and devices are in doubt (`Settled` of csrc/loop/control.hpp)."""
    llr = np.full(50, -20, np.float32)
    llr[[4, 9]] = 12
    select = Selection(backend, 1, 50, 8)
    expected = []
    steps = (
        ({}, 0.999),
        ({}, 0.999),
        ({9: 5}, 0.999),
        ({9: 5}, 0.0),
        ({9: -20, 11: 12}, 0.999),
        ({}, 0.999),
        ({3: 12}, 0.999),
    )
    for change, certain in steps:
        for k, value in change.items():
            llr[k] = value
        select(llr, certain=certain)
        expected.append(int(select.word("settled")[0]))
    assert expected == [2, 1, 0, 1, 2, 1, 2]
    assert select.word("iteration") == 7
    # It looked for a quarter of the mean: half of the block's power is that of either device which was expected.
    assert select.word("sought") == pytest.approx(0.25 / 2, rel=1e-4)
    select.set("known", 1)
    for value, settled in ((12, 1), (60, 3), (-14, 2), (-20, 3), (np.nan, 1)):
        llr[[3, 4, 11]] = 60
        llr[20] = value
        if value == 12:
            select(llr)
        select(llr)
        assert select.word("settled") == settled, value
    few = Selection(backend, 1, 50, 2)  # places for two of three
    few(llr)
    assert few.word("settled") == 0


def test_places_in_the_support(backend):
    """New candidates take the first free slots; those without a slot are counted; others stay where they are."""
    select = Selection(backend, 1, 40, 8, slots=6)
    select.support[0, [0, 3]] = 7, 30
    select.slot[0, [7, 30]] = 0, 3
    llr = np.full(40, -20, np.float32)
    llr[[2, 7, 9, 31]] = 5
    select(llr)
    assert select.support[0].tolist() == [7, 2, 9, 30, 31, -1]
    assert select.place[0].tolist() == [1, 0, 2, -1, 3, -1]
    assert {int(k): int(select.slot[0, k]) for k in np.flatnonzero(select.slot[0] >= 0)} == {
        2: 1,
        7: 0,
        9: 2,
        30: 3,
        31: 4,
    }
    assert (select.word("slots"), select.word("unplaced")) == (5, 0)
    llr[[11, 12, 13]] = 5
    select(llr)
    assert select.support[0].tolist() == [7, 2, 9, 30, 31, 11]
    assert (select.word("slots"), select.word("unplaced")) == (6, 2)


def test_selection_ends_the_loop_when_all_blocks_have_ended(backend):
    """Blocks end in their last iteration or when their error is no number; a held block keeps its candidates."""
    llr = np.full((4, 30), -20, np.float32)
    llr[np.arange(4), np.arange(4)] = 5
    select = Selection(backend, 4, 30, 3)
    select(llr)
    first = select.device.copy()
    llr[:, 10] = 5
    select.set("run", [1, 1, 0, 1])
    select.set("last", [0, 1, 0, 0])
    select.set("test", [0, 1, 0, 1])
    select(llr)
    assert np.array_equal(select.device[[0, 2]], first[[0, 2]])
    assert select.device[1].tolist() == [1, 10, -1]
    assert select.word("going").tolist() == [1, 0, 0, 1]
    assert select.word("iteration").tolist() == [2, 2, 1, 2]
    assert select.remaining.tolist() == [2]
    select.set("last", [1, 1, 1, 1])
    select(llr)
    assert select.word("iteration").tolist() == [3, 2, 1, 3]
    assert select.remaining.tolist() == [0]
