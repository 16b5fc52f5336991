"""Baseline receivers of OFDM blocks, each against a formula of its own paper."""

import pickle

import numpy as np
import pytest
from problems import EASY, SIZES, WienerPrior, complex_normal, problem, qpsk_pilots

import jadce_fast as jf
from jadce_fast import baselines
from jadce_fast.baselines.receivers import blas
from jadce_fast.baselines.receivers import covariance as ml
from jadce_fast.baselines.receivers.block_receiver import BlockReceiver, Found
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
