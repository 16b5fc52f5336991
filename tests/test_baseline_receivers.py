"""Baseline receivers of OFDM blocks, each against a formula of its own paper."""

import itertools
import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from problems import SIZES, WienerPrior, complex_normal, problem, qpsk_pilots
from scipy import stats

import jadce_fast as jf
from jadce_fast import baselines, reference
from jadce_fast.baselines.receivers import blas
from jadce_fast.baselines.receivers import covariance as ml
from jadce_fast.baselines.receivers.block_receiver import BlockReceiver, Found
from jadce_fast.baselines.receivers.by_name import NAMES, plan_baseline
from jadce_fast.baselines.receivers.mmv_amp import denoiser, error_probabilities, state_evolution
from jadce_fast.campaigns import simulate, summarize
from jadce_fast.campaigns.ofdm_drop import Scenario
from jadce_fast.detection import Detection
from jadce_fast.metrics import score

PLANS = {
    "linear": lambda p: baselines.linear(p.pilots, p.y.shape[2], p.activity_rate),
    "somp": lambda p: baselines.somp(p.pilots, p.y.shape[2], p.activity_rate),
    "mmv-amp": lambda p: baselines.mmv_amp(p.pilots, p.y.shape[2], p.activity_rate),
    "gmmv-amp": lambda p: baselines.gmmv_amp(p.pilots, p.y.shape[2]),
    "tmp-em": lambda p: baselines.tmp_em(p.pilots, p.y.shape[2], p.activity_rate),
    "covariance": lambda p: baselines.covariance(p.pilots, p.y.shape[2], p.activity_rate),
    "printed": lambda p: baselines.printed_stmp(p.pilots, p.y.shape[2], "gaussian", p.activity_rate),
    "dps": lambda p: baselines.dps(p.pilots, p.y.shape[2], "gaussian", p.activity_rate),
    "oracle": lambda p: baselines.oracle(p.pilots, p.y.shape[2], p.active),
}
EASY = dict(devices=60, symbols=24, subcarriers=8, antennas=8, active=4, snr_db=15.0)


def close(found, expected, deviation):
    """Within five standard deviations of what is expected."""
    assert abs(found - expected) < 5 * deviation, (found, expected, deviation)


# --- all of them ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PLANS)
@pytest.mark.parametrize("size", SIZES)
def test_awkward_sizes(name, size):
    p = problem(**SIZES[size])
    if name == "tmp-em" and p.pilots.subcarriers == 1:
        with pytest.raises(ValueError, match="pilots: expected two subcarriers or more"):
            PLANS[name](p)
        return
    found = PLANS[name](p).detect(p.y, p.noise_var)
    assert isinstance(found, Detection)
    assert found.activity.shape == (p.pilots.devices,)
    assert found.activity.dtype == found.channel_var.dtype == np.float32
    assert found.channels.shape == (len(found.active), *p.y.shape[1:])
    assert found.channels.dtype == np.complex64
    assert found.channel_var.shape == found.active.shape
    assert np.array_equal(found.active, np.flatnonzero(found.activity >= 0.5))
    for value in (found.activity, found.channels, found.channel_var, found.noise_var, found.explained):
        assert np.isfinite(value).all()
    assert (found.channel_var >= 0).all()
    assert found.noise_var <= np.mean(abs(p.y) ** 2) * (1 + 1e-5)


@pytest.mark.parametrize("name", PLANS)
def test_easy_blocks_are_detected_explained_and_known_to_be(name):
    p = problem(**EASY, channels="iid" if name != "tmp-em" else "paths", delay_spread=0.02)
    found = PLANS[name](p).detect(p.y, p.noise_var)
    errors = score(found, p.active, p.channels)
    assert errors.missed == errors.false_alarms == 0
    if name == "linear":  # the interference of others stays in the estimate
        return
    assert errors.nmse_db < -20
    assert found.trusted, found.reason
    # 4 x 64 squared errors of unequal blocks: their mean is within 25 % of what the receiver promises; a sampler knows
    # its error up to a factor of two.
    within = 1.0 if name == "dps" else 0.25
    assert np.mean(found.channel_var) == pytest.approx(errors.error_energy / p.channels.size, rel=within)


@pytest.mark.parametrize("name", PLANS)
def test_noise_alone_and_bad_input(name):
    p = problem(**EASY)
    receiver = PLANS[name](p)
    for y in (np.zeros_like(p.y), np.full_like(p.y, 1e18), np.full_like(p.y, 1e-18)):
        assert np.isfinite(receiver.detect(y, 0.1).channels).all()
    with pytest.raises(ValueError, match="y: expected shape"):
        receiver.detect(p.y[:-1], 0.1)
    with pytest.raises(ValueError, match="noise_var: expected"):
        receiver.detect(p.y, 0.0)
    first, second = receiver.detect_many([p.y, p.y], p.noise_var)
    assert np.array_equal(first.channels, second.channels)
    copied = pickle.loads(pickle.dumps(receiver)).detect(p.y, p.noise_var)
    assert np.array_equal(first.channels, copied.channels)


@pytest.mark.parametrize("variance", [0.1, np.nan])
def test_a_decision_is_not_rounded_and_what_is_not_finite_is_not_handed_on(variance):
    """A probability just below one half would be one half in single precision, with a channel that nobody estimated."""
    p = problem(**EASY)
    activity = np.zeros(60)
    activity[p.active[:2]] = 1, 0.5 - 1e-12

    def search(y, noise):
        return Found(activity, p.channels[:1], np.full(1, variance), 1, "fixed point", freedom=8)

    found = BlockReceiver(p.pilots, 8, search).detect(p.y, p.noise_var)
    assert found.active.tolist() == ([] if np.isnan(variance) else [p.active[0]])
    assert np.array_equal(found.active, np.flatnonzero(found.activity >= 0.5))
    assert found.channel_var.tolist() == pytest.approx([] if np.isnan(variance) else [0.1])
    assert (found.stopped_because == "diverged") == np.isnan(variance)


def test_number_of_blas_threads_is_given_back():
    library = blas.openblas()
    if library is None:
        pytest.skip("NumPy without its own OpenBLAS")
    before = library.scipy_openblas_get_num_threads64_()

    def fail():
        with blas.one_thread():
            assert library.scipy_openblas_get_num_threads64_() == 1
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert library.scipy_openblas_get_num_threads64_() == before


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda q: baselines.tmp_em(q, 4, blocks=5), ValueError, "blocks: expected one of"),
        (lambda q: baselines.gmmv_amp(q, 4, damping=1.0), ValueError, "damping: expected"),
        (lambda q: baselines.mmv_amp(q, 0), ValueError, "antennas: expected"),
        (lambda q: baselines.covariance(q, 4, 1.5), ValueError, "activity_rate: expected"),
        (lambda q: baselines.linear(q, 4, power="loud"), TypeError, "power: expected 'unknown'"),
        (lambda q: baselines.oracle(q, 4, [60]), ValueError, "active: expected distinct devices of 0 to 59"),
        (lambda q: baselines.printed_stmp(q, 4, "gaussian", variance="best"), ValueError, "variance: expected"),
    ],
)
def test_bad_options(call, error, message):
    with pytest.raises(error, match=message):
        call(jf.dft_pilots(60, 12, 8))


# --- oracle, SOMP ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kept", [None, 5])
def test_oracle_error_is_the_trace_of_its_posterior_covariance(kept):
    """Channels drawn from the model: the mean of A M errors of 40 blocks against the formula."""
    n, m, active = 8, 6, np.array([3, 10, 11, 30])
    prior = None if kept is None else WienerPrior(n, kept)
    pilots = qpsk_pilots(40, 6, n)
    basis, values = (np.eye(n), np.ones(n)) if prior is None else (prior.basis, prior.eigenvalues)
    values = values * n / values.sum()  # so that the basis leaves nothing out
    if prior is not None:
        prior.eigenvalues = values.astype(np.float32)
    receiver = baselines.oracle(pilots, m, active, prior=prior, power=2.0)
    rng, errors = np.random.default_rng(0), []
    for _ in range(40):
        s = complex_normal(rng, len(active), len(values), m) * np.sqrt(2 * values)[:, None]
        h = np.einsum("np,apm->anm", basis, s)
        y = np.einsum("tna,anm->tnm", pilots.select(active), h) + np.sqrt(0.3) * complex_normal(rng, 6, n, m)
        found = receiver.detect(y, 0.3)
        errors.append(np.mean(abs(found.channels - h) ** 2))
    # The dense posterior covariance of all coefficients of one antenna.
    atoms = np.einsum("tna,np->tnap", pilots.select(active), basis).reshape(6 * n, -1)
    precision = atoms.conj().T @ atoms / 0.3 + np.diag(np.tile(1 / (2 * values), len(active)))
    expected = np.trace(np.linalg.inv(precision)).real / (len(active) * n)
    assert np.mean(found.channel_var) == pytest.approx(expected, rel=1e-4)
    close(np.mean(errors), expected, np.std(errors) / np.sqrt(40))


@pytest.mark.parametrize("pilots", ["dft", "qpsk"])
def test_somp_recovers_exactly_without_noise(pilots):
    """Five of 80 devices, 40 symbols: least squares on the true support leaves nothing but rounding."""
    p = problem(80, 40, 6, 5, 5, pilots=pilots, channels="iid", snr_db=90.0)
    found = baselines.somp(p.pilots, 5, 5 / 80).detect(p.y, p.noise_var)
    assert np.array_equal(found.active, p.active)
    # Single precision at a residual of 1e-4 of the block: 24 bits of it are far below the noise of 3e-5.
    assert score(found, p.active, p.channels).nmse_db < -90


def test_somp_with_a_basis_tells_more_devices_apart_than_there_are_symbols():
    p = problem(100, 6, 24, 8, 9, snr_db=20.0, delay_spread=0.05)
    prior = WienerPrior(24, kept=6, delay_spread=0.05)
    assert score(baselines.somp(p.pilots, 8, 0.09).detect(p.y, p.noise_var), p.active, p.channels).missed > 0
    found = baselines.somp(p.pilots, 8, 0.09, prior=prior).detect(p.y, p.noise_var)
    errors = score(found, p.active, p.channels)
    assert errors.missed == errors.false_alarms == 0
    assert errors.nmse_db < -20


# --- MMV-AMP --------------------------------------------------------------------------------------------------


def test_mmv_denoiser_is_the_posterior_mean_and_its_slope_the_derivative():
    rng = np.random.default_rng(1)
    z = complex_normal(rng, 5, 3)
    tau, beta, rate = 0.4, 1.5, 0.2

    def posterior(z):
        active = rate * np.prod(np.exp(-(abs(z) ** 2) / (tau + beta)) / (tau + beta), axis=1)
        idle = (1 - rate) * np.prod(np.exp(-(abs(z) ** 2) / tau) / tau, axis=1)
        return (active / (active + idle))[:, None] * z * beta / (beta + tau)

    energy = np.sum(abs(z) ** 2, axis=1)
    probability, gain, slope = denoiser(energy, tau, beta, 3, rate)
    assert probability[:, None] * gain * z == pytest.approx(posterior(z), rel=1e-10)
    step, derivative = 1e-6, 0
    for entry in range(3):
        for direction in (1, 1j):  # d/dz = (d/dx - i d/dy) / 2
            shift = np.zeros_like(z)
            shift[:, entry] = step * direction
            change = (posterior(z + shift) - posterior(z - shift))[:, entry] / (2 * step)
            derivative = derivative + change / direction / 2 / 3
    assert slope == pytest.approx(derivative.real, rel=1e-6)


def test_mmv_amp_follows_its_state_evolution_and_its_error_probabilities():
    """Liu and Yu: 2000 devices, 100 active, 400 Gaussian pilot symbols, 4 antennas, 8 blocks."""
    k, t, m, active, noise = 2000, 400, 4, 100, 0.3
    rng, rate = np.random.default_rng(2), active / k
    taus, missed, false_alarms = [], 0, 0
    for _ in range(8):
        pilots = jf.Pilots(complex_normal(rng, t, 1, k))
        truth = np.arange(k) < active
        x = truth[:, None] * complex_normal(rng, k, m)
        y = pilots.select()[:, 0] @ x + np.sqrt(t * noise) * complex_normal(rng, t, m)
        found = baselines.mmv_amp(pilots, m, rate, power=1.0).detect(y[:, None], t * noise)
        assert found.stopped_because == "fixed point"
        taus.append([entry["error_var"] for entry in found.history])
        missed += np.count_nonzero(found.activity[:active] < 0.5)
        false_alarms += np.count_nonzero(found.activity[active:] >= 0.5)
    expected = state_evolution(noise, 1.0, m, rate, k / t, iterations=30)
    for i in range(4):
        # The squared residuals of T M measurements make each tau, and the power of 100 M channels varies by 5 %.
        close(np.mean([tau[i] for tau in taus]), expected[i + 1], 0.06 * expected[i + 1] / np.sqrt(8))
    p_missed, p_false = error_probabilities(expected[-1], 1.0, m, rate)
    for found, mean in ((missed, 8 * active * p_missed), (false_alarms, 8 * (k - active) * p_false)):
        assert mean > 20  # there is something to compare
        close(found, mean, np.sqrt(mean))


def test_mmv_errors_vanish_with_antennas_as_the_paper_shows():
    errors = [sum(error_probabilities(0.3, 1.0, m, 0.05)) for m in (2, 8, 32, 128)]
    assert all(more > 5 * fewer for more, fewer in itertools.pairwise(errors))
    # The threshold is where both likelihoods, weighted, are the same.
    rate, tau, m = 0.1, 0.2, 4
    energy = stats.gamma.isf(error_probabilities(tau, 1.0, m, rate)[1], m, scale=tau)
    likelihood = rate * stats.gamma.pdf(energy, m, scale=1 + tau), (1 - rate) * stats.gamma.pdf(energy, m, scale=tau)
    assert likelihood[0] == pytest.approx(likelihood[1], rel=1e-6)


# --- GMMV-AMP, TMP-EM -----------------------------------------------------------------------------------------


def bernoulli_gaussian_errors(noise, load, rate, *, known=True):
    """Fixed point of state evolution where activity is known: tau = noise + load * rate * tau / (1 + tau)."""
    tau = noise + load * rate
    for _ in range(200):
        tau = noise + load * rate * tau / (1 + tau)
    return tau / (1 + tau)


def test_gmmv_amp_reaches_its_state_evolution_without_being_told_rate_and_noise():
    """200 entries a device leave no doubt of its activity: the state evolution is that of a known support."""
    k, t, n, m = 400, 100, 10, 20
    p = problem(k, t, n, m, 40, pilots="qpsk", channels="iid", snr_db=10.0)
    found = baselines.gmmv_amp(p.pilots, m).detect(p.y, p.noise_var)
    errors = score(found, p.active, p.channels)
    assert errors.missed == errors.false_alarms == 0
    expected = bernoulli_gaussian_errors(p.noise_var / t, k / t, 0.1)
    # 8000 squared errors: 1.1 %; learned means and variances of 40 samples each cost 2 / 40 of the prior's part.
    assert errors.nmse == pytest.approx(expected, rel=0.08)
    assert np.mean(found.channel_var) == pytest.approx(errors.error_energy / p.channels.size, rel=0.1)


def linear_state_evolution(noise, load, rate, prior, offset):
    """Fixed point of Turbo-MP for known activity: variances of mean and slope behind orthogonal pilots (P = T = 1)."""
    v = rate * np.array(prior)
    for _ in range(500):
        w = 1 / (load * (v[0] + offset**2 * v[1]) + noise)
        seen = np.array([1 / w.sum(), 1 / (offset**2 * w).sum()]) - v
        post = rate * prior * seen / (prior + seen)
        ratio = post / seen
        v = 0.5 * v + 0.5 * ratio * seen / (1 - ratio)
    return prior * seen / (prior + seen)


def test_tmp_em_learns_the_variances_and_reaches_its_state_evolution():
    """Channels that are lines on blocks of four subcarriers, of which half as many devices as symbols are active."""
    k, t, blocks, width, m = 256, 32, 6, 4, 12
    rng = np.random.default_rng(3)
    active = np.sort(rng.choice(k, 26, replace=False))
    offset, prior = np.arange(width) - 1.5, np.array([0.8, 0.16])
    s = complex_normal(rng, 2, 26, blocks, 1, m) * np.sqrt(prior)[:, None, None, None, None]
    h = (s[0] + offset[:, None] * s[1]).reshape(26, -1, m)
    rows = np.stack([rng.permutation(k)[: t * width].reshape(t, width) for _ in range(blocks)], axis=1)
    pilots = jf.Pilots.from_rows(rows.reshape(t, -1), k)  # distinct in a block, so that its pilots are orthogonal
    noise = 0.1
    y = np.einsum("tna,anm->tnm", pilots.select(active), h) + np.sqrt(noise) * complex_normal(rng, t, 24, m)
    found = baselines.tmp_em(pilots, m, 26 / k, blocks=blocks).detect(y, noise)
    assert np.array_equal(found.active, active)
    error = linear_state_evolution(noise / t, k / t, 26 / k, prior, offset)
    expected = error[0] + np.mean(offset**2) * error[1]
    # 26 x 6 x 12 pairs of mean and slope: 2.5 %, and the number of symbols is small enough for a few percent more.
    assert np.mean(abs(found.channels - h) ** 2) == pytest.approx(expected, rel=0.1)
    assert np.mean(found.channel_var) == pytest.approx(expected, rel=0.1)


# --- covariance -----------------------------------------------------------------------------------------------


def test_coordinate_descent_ends_at_the_optimality_conditions():
    """Silent devices have a gradient that does not fall, others one of zero; on one and on several subcarriers."""
    for subcarriers in (1, 3):
        p = problem(50, 10, subcarriers, 16, 12, pilots="qpsk", channels="iid", snr_db=10.0)
        columns = p.pilots.select().transpose(2, 1, 0).astype(complex)
        block = p.y.transpose(1, 0, 2).astype(complex)
        sample = block @ block.conj().transpose(0, 2, 1) / 16
        gamma, inverse, _, stopped = ml.descend(columns, sample, p.noise_var, iterations=300)
        assert stopped == "fixed point"
        a, b = ml.statistics_of(columns, inverse, sample)
        q = columns.transpose(1, 2, 0)
        dense = np.linalg.inv((q * gamma) @ q.conj().transpose(0, 2, 1) + p.noise_var * np.eye(10))
        assert inverse == pytest.approx(dense, abs=1e-6 * np.max(abs(dense)))
        gradient = (a - b).sum(1) / a.sum(1)  # of the cost, relative
        assert abs(gradient[gamma > 0]).max() < 0.02  # descent ends at a change of a thousandth
        assert gradient[gamma == 0].min() > -0.02


def test_covariance_estimates_reach_the_fisher_information_and_scale_with_antennas():
    """Chen, Sohrabi, Liu, Yu: M Cov(g) tends to the inverse of |q_k^H S^-1 q_l|^2. Eight devices, all active."""
    k, t, noise, powers = 8, 6, 0.2, np.linspace(0.6, 1.4, 8)
    q = qpsk_pilots(k, k, 1).select()[:t, 0].astype(complex)  # (T, K), fewer symbols than devices
    inverse = np.linalg.inv((q * powers) @ q.conj().T + noise * np.eye(t))
    information = abs(q.conj().T @ inverse @ q) ** 2
    expected = np.trace(np.linalg.inv(information))
    rng, trials = np.random.default_rng(4), 40
    for m in (400, 1600):
        errors = []
        for _ in range(trials):
            x = np.sqrt(powers)[:, None] * complex_normal(rng, k, m)
            y = q @ x + np.sqrt(noise) * complex_normal(rng, t, m)
            with blas.one_thread():
                gamma, *_ = ml.descend(q.T[:, None], (y @ y.conj().T)[None] / m, noise, iterations=200)
            errors.append(m * np.sum((gamma - powers) ** 2))
        close(np.mean(errors), expected, np.std(errors) / np.sqrt(trials) + 0.02 * expected)


# --- DPS --------------------------------------------------------------------------------------------------------


def test_posterior_samples_have_the_posterior_mean_and_covariance():
    """With a Gaussian prior the sampler's steps are exact: over seeds the mean is LMMSE, and the spread its error.

    In the limit of many steps; 200 of them leave some percent.
    """
    p = problem(40, 12, 6, 4, 3, channels="iid", snr_db=0.0)
    exact = baselines.oracle(p.pilots, 4, p.active, power=1.0).detect(p.y, p.noise_var)
    draws = []
    for seed in range(24):
        receiver = baselines.dps(p.pilots, 4, "gaussian", p.activity_rate, 1.0, steps=200, seed=seed)
        found = receiver.detect(p.y, p.noise_var)
        assert np.array_equal(found.active, p.active)
        draws.append(found.channels)
    variance = float(np.mean(exact.channel_var))
    # 24 seeds and 72 entries: the mean squared distance of their mean is a 24th of the variance, +- 12 %, and their
    # variance is known to 2.5 %.
    distance = np.mean(abs(np.mean(draws, axis=0) - exact.channels) ** 2)
    assert distance < 2 * variance / 24
    assert np.mean(np.var(draws, axis=0, ddof=1)) == pytest.approx(variance, rel=0.15)


# --- STMP as printed ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("variance", ["paper", "residual"])
@pytest.mark.parametrize("prior", ["gaussian", "wiener"])
def test_printed_stmp_is_the_reference(prior, variance):
    p = problem(64, 12, 8, 8, 4, channels="paths")
    known = "gaussian" if prior == "gaussian" else WienerPrior(8, kept=8)
    receiver = baselines.printed_stmp(p.pilots, 8, known, p.activity_rate, iterations=5, variance=variance)
    found = receiver.detect(p.y, p.noise_var)
    y = p.y if prior == "gaussian" else np.fft.fft(p.y, axis=2, norm="ortho")

    def denoise(h, tau, devices):
        if prior == "gaussian":
            return reference.gaussian_denoiser()(h, tau, devices)
        basis = known.basis.astype(complex)
        z, var = known.denoise(np.einsum("np,anm->apm", basis.conj(), h), tau, devices)
        return np.einsum("np,apm->anm", basis, z), var

    history = reference.stmp(y, p.pilots, denoise, p.noise_var, p.activity_rate, iterations=5, variance=variance)
    last = history[-1]
    # Five iterations in single precision: rounding of 6e-8 in sums of some hundred terms, amplified by 1 / (1 - alpha).
    assert found.activity == pytest.approx(last.probability, abs=1e-3)
    expected = last.x_post_b[found.active]
    expected = expected if prior == "gaussian" else np.fft.ifft(expected, axis=2, norm="ortho")
    assert found.channels == pytest.approx(expected, abs=1e-3)
    assert found.channel_var == pytest.approx(last.tau_post[found.active].mean(1), rel=1e-3)


def test_printed_activity_tells_nothing_of_idle_devices():
    """Why STMP as printed raises false alarms and cannot learn lambda, whatever the network.

    (59) - (65) fit a power to the noise of an idle device, for which (30) then finds that power about as likely as
    none: its probability stays near lambda. With the power known, as in Algorithm 1, it is zero. The denoiser is exact.
    """
    p = problem(**EASY, channels="iid")
    rate, idle = 0.3, np.setdiff1d(np.arange(60), p.active)
    printed = baselines.printed_stmp(p.pilots, 8, "gaussian", rate).detect(p.y, p.noise_var)
    assert 0.2 < np.median(printed.activity[idle]) < 0.4
    known = reference.tmp(p.y, p.pilots, reference.gaussian_denoiser(), p.noise_var, rate)[-1].probability
    assert known[idle].max() < 1e-3
    learning = baselines.printed_stmp(p.pilots, 8, "gaussian", rate, learn_rate=True).detect(p.y, p.noise_var)
    assert learning.activity.mean() > rate  # far from the true 4 / 60


def test_printed_stmp_obeys_its_threshold():
    p = problem(**EASY)
    found = [
        baselines.printed_stmp(p.pilots, 8, "gaussian", p.activity_rate, threshold=t).detect(p.y, p.noise_var).active
        for t in (0.01, 0.5, 0.99)
    ]
    assert set(found[0]) > set(found[1]) >= set(found[2]) >= set(p.active)


# --- by name --------------------------------------------------------------------------------------------------


def test_campaigns_compare_baselines_on_the_same_drops_as_priors(tmp_path):
    scenario = Scenario(devices=60, symbols=12, antennas=4, activity_rate=0.08, snr_db=15.0)
    names = ("gaussian", "bg", "tmp-em:6", "somp:cdl-tiny", "oracle:cdl-tiny", "lmmse")
    path = tmp_path / "campaign"
    records = simulate(scenario, names, trials=2, seed=3, threads=1, resume=path)
    found = {name: summarize(records, name) for name in names}
    assert found["bg"].nmse_db == pytest.approx(found["gaussian"].nmse_db, abs=1e-6)
    assert len({outcome.active for outcome in found.values()}) == 1
    assert found["oracle:cdl-tiny"].missed == found["oracle:cdl-tiny"].false_alarms == 0
    assert found["oracle:cdl-tiny"].nmse_db < found["tmp-em:6"].nmse_db < found["lmmse"].nmse_db
    again = simulate(scenario, names, trials=2, seed=3, threads=1, resume=path)
    assert [r.score for r in again] == [r.score for r in records]


@pytest.mark.parametrize("name", NAMES)
def test_every_name_plans_its_receiver(name):
    p = problem(**EASY)
    prior = "gaussian" if name.startswith(("printed-stmp", "dps")) else None
    receiver = plan_baseline(name, p.pilots, 8, p.activity_rate, 1.0, prior=prior, active=p.active)
    assert set(p.active) <= set(receiver.detect(p.y, p.noise_var).active)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("amp", "receiver: expected bg, tmp-em"),
        ("bg:cdl", "receiver: expected bg without"),
        ("tmp-em:many", "receiver: expected a number of blocks after tmp-em:, found 'many'"),
        ("oracle", "receiver: expected a block with the truth"),
        ("somp:nosuch", "prior: expected one of"),
    ],
)
def test_bad_names(name, message):
    with pytest.raises(ValueError, match=message):
        plan_baseline(name, jf.dft_pilots(60, 12, 48), 4, 0.1, "unknown")


@pytest.mark.parametrize("name", ["tmp-em", "lmmse", "bg"])
def test_a_prior_that_would_be_ignored_is_refused(name):
    with pytest.raises(ValueError, match=f"receiver: expected {name} without a prior"):
        plan_baseline(name, jf.dft_pilots(60, 12, 48), 4, 0.1, "unknown", prior="cdl")


@pytest.mark.parametrize("arguments", [["oracle"], ["somp", "--prior", "cdl-tiny"], ["lmmse"]], ids=" ".join)
def test_detect_takes_baselines(arguments, jadce):
    capture = Path(__file__).parent / "data/sionna_cdl_c_dft.npz"
    status, out, _ = jadce("detect", capture, "--json", "--receiver", *arguments)
    assert status == 0
    found = json.loads(out)
    assert found["receiver"] == arguments[0]
    assert found["missed"] == found["false_alarms"] == 0
