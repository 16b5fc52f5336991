"""The kernels of the Langevin sampler against the reference: noise, steps of both schedules, the exact posterior."""

from __future__ import annotations

import numpy as np
import pytest
from problems import assert_close, complex_normal

from jadce_fast import _core, reference
from jadce_fast.anneal import Level, leave_one_out, noise_levels, paper_level, preconditioned_level
from jadce_fast.campaigns.cell_drop import qpsk_pilots
from jadce_fast.priors.cell import CellPrior

SIZES = {
    "plain": (16, 64, 48),
    "odd": (5, 13, 7),
    "long": (3, 6, 11),
    "one": (1, 1, 1),
    "wide": (33, 10, 4),
    "few": (6, 37, 5),
}
VARIANTS = _core.variants()


class Chains:
    """A native sampler of a random problem with its arrays in the paper's shapes."""

    def __init__(self, antennas, devices, symbols, isa=None, chains=3, threads=1):
        rng = np.random.default_rng(antennas)
        self.pilots = qpsk_pilots(devices, symbols)[:, 0].T.astype(np.complex128)
        self.y = complex_normal(rng, antennas, symbols) * np.sqrt(devices)
        u, s, vh = np.linalg.svd(self.pilots)
        self.u, self.singular, self.antennas = u, np.zeros(devices), antennas
        self.singular[: len(s)] = s
        self.native = _core.Langevin(
            rotation=u.astype(np.complex64),
            singular=self.singular.astype(np.float32),
            antennas=antennas,
            chains=chains,
            threads=threads,
            isa=isa,
        )
        self.rotated = np.zeros((devices, antennas), complex)
        self.rotated[: len(s)] = (self.y @ vh[: len(s)].conj().T).T

    def plan(self, levels: list[Level]) -> None:
        self.native.plan(levels)
        force = [self.u.conj() @ (level.force[:, None] * self.rotated) for level in levels]
        self.native.block(np.array(force, np.complex64))

    def anneal(self, run, seed: int, step: int, level: Level, prior: CellPrior, *, steps=1, accumulate=False) -> None:
        """Steps at the first level planned, under the exact prior."""
        v = level.sigma**2
        table = mixture(prior, v, self.antennas)
        options = {"seed": seed, "step": step, "steps": steps, "level": 0, "noise_var": v, "accumulate": accumulate}
        self.native.anneal(chains=run, mixture=table, **options)

    def state(self, name: str, chain: int) -> np.ndarray:
        split = getattr(self.native, name)[chain][..., : self.antennas].astype(np.float64)
        return (split[:, 0] + 1j * split[:, 1]).T


def mixture(prior: CellPrior, v: float, antennas: int) -> np.ndarray:
    tables = prior.tables(v, antennas)
    return np.array(tables, np.float32)


def test_philox_known_answers():
    # The known-answer vectors of the authors' Random123 library.
    assert reference.philox((0, 0, 0, 0), 0) == (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)
    ones = 0xFFFFFFFF
    assert reference.philox((ones,) * 4, (1 << 64) - 1) == (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)
    pi = (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344)
    assert reference.philox(pi, 0x299F31D0A4093822) == (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1)


@pytest.mark.parametrize("isa", VARIANTS)
@pytest.mark.parametrize("name", SIZES)
def test_noise(name, isa):
    chains = Chains(*SIZES[name], isa=isa)
    m, n, _ = SIZES[name]
    chains.native.start([2], 0x123456789ABCDEF, 77, 2.0)
    expected = 2.0 * reference.langevin_noise(0x123456789ABCDEF, 2, 77, m, n)
    # Single precision; log and sine are good to 2e-7.
    assert_close(chains.state("columns", 2), expected, 3e-6)
    assert not np.any(chains.native.columns[..., m:])
    assert not np.any(chains.native.columns[:2])


def test_noise_is_complex_normal():
    chains = Chains(32, 64, 8, chains=64)
    chains.native.start(range(64), 5, 0, 1.0)
    z = np.stack([chains.state("columns", c) for c in range(64)]).ravel()
    count = z.size
    # Moments of 131072 draws of CN(0, 1), six standard errors each.
    assert abs(z.mean()) < 6 / np.sqrt(count)
    assert abs(np.mean(np.abs(z) ** 2) - 1) < 6 / np.sqrt(count)
    assert abs(np.mean(z**2)) < 6 * np.sqrt(2 / count)
    assert abs(np.mean(np.abs(z) ** 4) - 2) < 6 * np.sqrt(20 / count)


def schedules(singular: np.ndarray, noise: float) -> dict[str, Level]:
    last = noise_levels(4.0, singular, noise, 7)[-1]
    return {
        "known": preconditioned_level(5.0, singular, noise, 0.5),
        "mixed": preconditioned_level(
            1.01 * np.sqrt(noise / np.median(singular[singular > 0] ** 2)), singular, noise, 0.9
        ),
        "last": preconditioned_level(last, singular, noise, 0.2),
        "paper": paper_level(0.7, singular, noise, 1e-3, 0.9),
    }


@pytest.mark.parametrize("isa", VARIANTS)
@pytest.mark.parametrize("name", SIZES)
@pytest.mark.parametrize("kind", ["known", "mixed", "last", "paper"])
def test_step(name, isa, kind):
    chains, noise, prior = Chains(*SIZES[name], isa=isa), 0.3, CellPrior(0.2)
    m, n, _ = SIZES[name]
    level = schedules(chains.singular, noise)[kind]
    v = level.sigma**2
    chains.native.start([1], 9, 0, 1.5)
    before = chains.state("columns", 1)
    chains.plan([level])
    chains.anneal([1], 9, 1, level, prior, accumulate=True)
    score = reference.cell_score(before.T, v, prior).T
    zeta = reference.langevin_noise(9, 1, 1, m, n)
    args = before, chains.y, chains.pilots, noise, level.sigma, score
    if kind == "paper":
        expected = reference.algorithm1_step(*args, 1e-3, 0.9, zeta)
    else:
        expected = reference.preconditioned_step(*args, {"known": 0.5, "mixed": 0.9, "last": 0.2}[kind], zeta)
    # Rounding of sums over N and L terms, 1e-5 of the quadrature and 4e-6 of columns left out, times step / sigma^2 of
    # at most one; and of the noise, whose covariance has eigenvalues from 1e-5 sigma^2 on: the square root of a rounded
    # pivot.
    assert_close(chains.state("columns", 1), expected, 3e-5 if kind == "paper" else 6e-5)
    energy = np.sum(np.abs(chains.state("columns", 1)) ** 2) / (m * n)
    assert chains.native.power([1])[0] == pytest.approx(energy, rel=1e-5)
    mean, variance, probability = reference.cell_posterior(before.T, v, prior)
    assert_close(chains.state("sums", 1), mean.T, 3e-5)
    np.testing.assert_allclose(chains.native.probability[1, :n], probability, rtol=1e-3, atol=1e-6)
    energy = np.mean(np.abs(mean) ** 2, axis=1) + variance
    np.testing.assert_allclose(chains.native.sum_energy[1, :n], energy, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("isa", VARIANTS)
@pytest.mark.parametrize("v", [1e-6, 0.1, 10.0])
def test_exact_posterior(isa, v):
    prior, m, n = CellPrior(), 16, 48
    chains = Chains(m, n, 8, isa=isa)
    rng = np.random.default_rng(1)
    g = np.append(prior.gain(np.geomspace(35, 250, n - 9)), np.zeros(9))
    x = np.sqrt(g + v)[:, None] * complex_normal(rng, n, m)
    chains.native.columns[0, :, 0, :m], chains.native.columns[0, :, 1, :m] = x.real, x.imag
    chains.native.denoise([0], v, mixture(prior, v, m))
    mean, variance, probability = prior.posterior(x.astype(np.complex64), np.float32(v))
    # Exponents reach 1e3 in single precision (M log(g / v), |x|^2 / g): absolute errors of 1e-4 in log odds.
    assert_close(chains.state("mean", 0).T, mean, 1e-4)
    np.testing.assert_allclose(chains.native.variance[0, :n], variance, rtol=1e-3, atol=1e-6 * v)
    np.testing.assert_allclose(chains.native.probability[0, :n], probability, rtol=1e-3, atol=1e-6)


def test_threads_and_company_do_not_matter():
    # A chain is the same bits with other threads and other chains beside it.
    results = []
    for threads, run in ((1, [0, 1, 2]), (3, [0, 1, 2]), (2, [1])):
        chains = Chains(*SIZES["odd"], threads=threads)
        level = preconditioned_level(0.2, chains.singular, 0.3, 0.7)
        chains.plan([level])
        chains.native.start(run, 4, 0, 1.0)
        chains.anneal(run, 4, 1, level, CellPrior(), steps=20)
        results.append(chains.native.columns[1].copy())
    assert np.array_equal(results[0], results[1])
    assert np.array_equal(results[0], results[2])


def test_levels_fall_to_the_received_noise():
    singular = np.array([3.0, 2.0, 0.0])
    sigma = noise_levels(10.0, singular, 0.5, 9)
    assert sigma[0] == pytest.approx(10)
    assert sigma[-1] ** 2 == pytest.approx(0.9 * 0.5 / 9)
    np.testing.assert_allclose(np.diff(np.log(sigma)), np.log(sigma[1] / sigma[0]))
    # Noise above the signal: levels fall all the same.
    assert np.all(np.diff(noise_levels(0.1, singular, 1e6, 5)) < 0)


def matrices(level: Level, pilots: np.ndarray, known: int) -> tuple[np.ndarray, np.ndarray]:
    """What a level's coefficients stand for, in double precision."""
    u, s, _ = np.linalg.svd(pilots)
    full = np.zeros(len(u))
    full[: len(s)] = s
    j = np.arange(len(u))
    assert level.known == known
    terms = []
    for coefficients_, weight in (
        (level.matrix, np.ones(len(u))),
        (level.covariance, 1 / np.maximum(full, 1e-30) ** 2),
    ):
        a, b, c = coefficients_
        diagonal = a + np.where(j < known, b * weight, c * full**2)
        terms.append((u * diagonal) @ u.conj().T)
    return terms[0], terms[1]


@pytest.mark.parametrize("isa", VARIANTS)
@pytest.mark.parametrize("name", SIZES)
def test_matrices_of_levels(name, isa):
    chains = Chains(*SIZES[name], isa=isa)
    n, noise = len(chains.singular), 0.3
    levels = [
        preconditioned_level(sigma, chains.singular, noise, 0.7)
        for sigma in noise_levels(30.0, chains.singular, noise, 12)
    ]
    chains.plan(levels)
    for i in (0, 5, 11, 2):
        level = levels[i]
        known = int(np.sum(chains.singular**2 * level.sigma**2 > noise))
        expected, covariance = matrices(level, chains.pilots, known)
        table, factor = (x[:, 0, :n] + 1j * x[:, 1, :n] for x in chains.native.matrices(i).astype(np.float64)[:, :n])
        # Sums of up to N outer products in single precision.
        assert np.abs(table - expected).max() < 1e-5
        assert not np.any(np.tril(factor, -1))
        assert np.abs(factor.conj().T @ factor - covariance).max() < 1e-5 * np.abs(covariance).max()


def test_a_chain_starts_in_silence_after_a_plan_of_more_levels():
    chains = Chains(4, 6, 5)
    levels = [preconditioned_level(sigma, chains.singular, 0.3, 0.7) for sigma in (3.0, 2.0, 1.0)]
    started = []
    for several in (levels, levels[:1]):
        chains.native.plan(several)
        chains.native.block(np.ones((len(several), 6, 4), np.complex64))
        chains.native.start([0], 7, 0, 1.0)
        started.append(chains.native.columns[0].copy())
    np.testing.assert_array_equal(*started)


def test_columns_that_count():
    # Columns left out of the product change a step by less than the quadrature's error; the others are few.
    m, n = 16, 64
    chains = Chains(m, n, 48)
    noise = float(np.median(chains.singular) ** 2) * 1e-3
    level = preconditioned_level(0.01, chains.singular, noise, 0.7)
    prior, v = CellPrior(), level.sigma**2
    x = level.sigma * complex_normal(np.random.default_rng(0), n, m)
    x[:5] += complex_normal(np.random.default_rng(1), 5, m)
    chains.plan([level])
    chains.native.columns[0, :, 0, :m], chains.native.columns[0, :, 1, :m] = x.real, x.imag
    chains.native.denoise([0], v, mixture(prior, v, m))  # also energies
    before = chains.state("columns", 0)
    chains.anneal([0], 3, 1, level, prior)
    assert chains.native.counted[0] == 5
    score = reference.cell_score(before.T, v, prior).T
    zeta = reference.langevin_noise(3, 0, 1, m, n)
    expected = reference.preconditioned_step(before, chains.y, chains.pilots, noise, level.sigma, score, 0.7, zeta)
    assert_close(chains.state("columns", 0), expected, 6e-5)


def test_stationary_variance_of_a_linear_step():
    # Without prior information (D = X, score 0) the preconditioned chain is linear: covariance / (1 - (1 - step)^2) of
    # the noise is the target's covariance, for any step.
    singular = np.array([2.0, 1.0, 0.0])
    level = preconditioned_level(0.3, singular, 0.8, 0.7)
    a, _, c = level.covariance
    assert level.known == 0
    precision = 1 / 0.3**2 + singular**2 / (0.8 - singular**2 * 0.09)
    np.testing.assert_allclose((a + c * singular**2) / (1 - level.keep**2), 1 / precision, rtol=3e-5)


@pytest.mark.parametrize("noise", [1e-8, 0.1, 100.0])
def test_leave_one_out_is_lmmse_without_the_device(noise):
    rng = np.random.default_rng(0)
    m, n, length = 3, 6, 4
    pilots = qpsk_pilots(n, length)[:, 0].T.astype(np.complex128)
    y = complex_normal(rng, m, length)
    power = np.array([4.0, 0.5, 2e-3, 30.0, 0.0, 1.0])
    columns, variance = leave_one_out(y, pilots, noise, power)
    for k in range(n):
        others = np.arange(n) != k
        p = pilots[others]
        inverse = np.linalg.inv(p.conj().T @ (power[others, None] * p) + noise * np.eye(length))
        q = np.real(pilots[k] @ inverse @ pilots[k].conj())
        # Condition numbers of 1e10 at the lowest noise.
        np.testing.assert_allclose(variance[k], 1 / q, rtol=1e-5)
        np.testing.assert_allclose(columns[k], y @ inverse @ pilots[k].conj() / q, rtol=1e-5)
