"""The papers' equations and algorithms against brute force, closed forms and symmetries."""

import numpy as np
import pytest
from problems import SIZES, assert_close, complex_normal, problem

from jadce_fast import reference as ref
from jadce_fast.pilots import dft_pilots

PILOTS = pytest.mark.parametrize("kind", ["dft", "qpsk"])


def dense_pilot_matrix(q):
    """Q of Cai (4), (T N, K N): rows (t, n), columns (k, n)."""
    t, n, k = q.shape
    full = np.zeros((t, n, k, n), complex)
    for i in range(n):
        full[:, i, :, i] = q[:, i]
    return full.reshape(t * n, k * n)


# Module A


@PILOTS
@pytest.mark.parametrize("size", SIZES)
def test_adjoint(size, kind):
    p = problem(**SIZES[size], pilots=kind)
    rng = np.random.default_rng(1)
    q = ref.pilot_array(p.pilots)
    x = complex_normal(rng, *p.x.shape)
    y = complex_normal(rng, *p.y.shape)
    left = np.vdot(y, ref.measure(q, x))
    assert abs(left - np.vdot(ref.adjoint(q, y), x)) <= 1e-13 * np.linalg.norm(y) * np.linalg.norm(x) * q.shape[2]
    assert_close(ref.measure(q, x).reshape(-1, x.shape[2]), dense_pilot_matrix(q) @ x.reshape(-1, x.shape[2]))


def test_partial_dft_pilots_are_orthogonal():
    pilots = dft_pilots(97, 11, 7, seed=3, power=2.5)
    q = ref.pilot_array(pilots)
    gram = np.einsum("tnk,snk->nts", q, q.conj())
    assert_close(gram, np.broadcast_to(97 * 2.5 * np.eye(11), gram.shape))
    assert_close(pilots.select(), q, 1e-6)


@PILOTS
def test_linear_mmse_is_the_dense_estimator(kind):
    """(7), (8) against (Q v Q^H + noise I)^-1 written out; the variance is the mean of the diagonal."""
    p = problem(devices=7, symbols=4, subcarriers=3, antennas=2, active=2, pilots=kind, seed=2)
    q, y, rng = ref.pilot_array(p.pilots), p.y.astype(complex), np.random.default_rng(0)
    x_pri, v_pri = complex_normal(rng, 7, 3, 2), np.array([0.3, 2.0])
    x_post, v_post = ref.linear_mmse(y, q, x_pri, v_pri, p.noise_var)
    x_ext, v_ext = ref.module_a(y, q, x_pri, v_pri, p.noise_var)
    full = dense_pilot_matrix(q)
    for m in range(2):
        gain = (
            v_pri[m] * full.conj().T @ np.linalg.inv(v_pri[m] * full @ full.conj().T + p.noise_var * np.eye(len(full)))
        )
        prior = x_pri[..., m].ravel()
        mean = prior + gain @ (y[..., m].ravel() - full @ prior)
        covariance = v_pri[m] * (np.eye(len(prior)) - gain @ full)
        assert_close(x_post[..., m].ravel(), mean)
        var = np.trace(covariance).real / len(prior)
        assert_close(v_post[m], var)
        v_out = 1 / (1 / var - 1 / v_pri[m])  # (10)
        assert_close(v_ext[m], v_out)
        assert_close(x_ext[..., m].ravel(), v_out * (mean / var - prior / v_pri[m]))  # (11)


def test_orthogonal_pilots_give_the_paper_equations():
    p = problem(**SIZES["prime"], pilots=dft_pilots(97, 11, 7, seed=1, power=3.0))
    q, y, rng = ref.pilot_array(p.pilots), p.y.astype(complex), np.random.default_rng(0)
    v = np.array([1e-6, 0.02, 0.3, 1.0, 50.0])
    x = complex_normal(rng, 97, 7, 5)
    kp, tp = 97 * 3.0, 11 * 3.0
    x_post, v_post = ref.linear_mmse(y, q, x, v, p.noise_var)
    r = y - ref.measure(q, x)
    assert_close(x_post, x + v / (kp * v + p.noise_var) * ref.adjoint(q, r))  # (7)
    assert_close(v_post, v - tp * v**2 / (kp * v + p.noise_var))  # (8)
    x_ext, v_ext = ref.module_a(y, q, x, v, p.noise_var)
    assert_close(x_ext, x + ref.adjoint(q, r) / tp)
    assert_close(v_ext, (kp * v + p.noise_var) / tp - v)


def test_residual_variance_has_a_floor():
    q = ref.pilot_array(dft_pilots(20, 5, 3, power=2.0))
    assert_close(ref.residual_variance(np.zeros((5, 3, 4)), q, 0.5), np.full(4, 1e-3 * 0.5 / 40))
    r = np.full((5, 3, 4), 3.0)
    assert_close(ref.residual_variance(r, q, 0.5), np.full(4, 8.5 / 40))


# Module B


def test_extrinsic_is_the_ratio_of_gaussians():
    rng = np.random.default_rng(0)
    v_post, v_pri = np.array([0.2, 0.7]), np.array([0.5, 0.9])
    post, pri = complex_normal(rng, 3, 4, 2), complex_normal(rng, 3, 4, 2)
    a = ref.extrinsic_ratio(v_post, v_pri)
    v = 1 / (1 / v_post - 1 / v_pri)  # (10)
    assert_close(ref.extrinsic_variance(v_pri, a), v)
    assert_close(ref.extrinsic(post, pri, a), v * (post / v_post - pri / v_pri))  # (11)


def test_extrinsic_stays_finite_where_the_posterior_is_no_better():
    a = ref.extrinsic_ratio(np.array([0.5, 2.0, 0.0]), np.array([0.5, 1.0, 1.0]))
    assert np.all((a > 0) & (a < 1))
    v = ref.extrinsic_variance(np.ones(3), a)
    assert np.all(np.isfinite(v) & (v > 0))


def test_combination_collapses_to_the_denoiser_output():
    """(33), (34) undo (26), (27)."""
    rng = np.random.default_rng(1)
    h_pri, tau_pri = complex_normal(rng, 5, 4, 3), np.array([0.3, 1.0, 4.0])
    h_post, tau_post = ref.gaussian_denoiser(0.7)(h_pri, np.broadcast_to(tau_pri, (5, 3)), np.arange(5))
    beta = ref.extrinsic_ratio(tau_post, tau_pri)
    h_ext = ref.extrinsic(h_post, h_pri, beta[:, None])
    x_tilde, v_tilde = ref.combine(h_pri, tau_pri, h_ext, ref.extrinsic_variance(tau_pri, beta))
    assert_close(x_tilde, h_post)
    assert_close(v_tilde, tau_post)


def density(x, mean, var):
    return np.prod(np.exp(-(np.abs(x - mean) ** 2) / var) / (np.pi * var))


def test_activity_is_the_ratio_of_densities():
    """(30) as printed, where nothing overflows."""
    rng = np.random.default_rng(2)
    x, h, v = complex_normal(rng, 4, 2, 3), complex_normal(rng, 4, 2, 3), np.array([0.4, 1.0, 2.0])
    tau, rate = rng.uniform(0.2, 2, (4, 3)), 0.1
    found = ref.sigmoid(ref.log_odds(ref.activity_llr(x, v, h, tau), rate))
    for k in range(4):
        quiet = (1 - rate) * density(0, x[k], np.broadcast_to(v, (2, 3)))
        loud = rate * density(0, x[k] - h[k], np.broadcast_to(v + tau[k], (2, 3)))
        assert_close(found[k], 1 / (1 + quiet / loud))


def test_activity_of_gaussian_channels_is_their_marginal_likelihood_ratio():
    """With the true denoiser (30) compares CN(0, g + v) with CN(0, v); exponents exceed a double's range."""
    rng = np.random.default_rng(3)
    n, m, g, v = 48, 32, 1.5, 0.02
    h = np.sqrt(v) * complex_normal(rng, 3, n, m)
    h[0] += np.sqrt(g) * complex_normal(rng, n, m)
    tau = np.full((3, m), v)
    post, var = ref.gaussian_denoiser(g)(h, tau, np.arange(3))
    beta = ref.extrinsic_ratio(var, tau)
    llr = ref.activity_llr(h, tau[0], ref.extrinsic(post, h, beta[:, None]), ref.extrinsic_variance(tau, beta))
    energy = np.sum(np.abs(h) ** 2, (1, 2))
    assert_close(llr, energy * (1 / v - 1 / (g + v)) - n * m * np.log((g + v) / v))
    assert llr[0] > 1e4
    assert llr[1] < -1e3
    assert np.array_equal(ref.decide(ref.sigmoid(ref.log_odds(llr, 0.05))), [0])


def test_sigmoid_is_stable():
    x = np.array([-1e5, -800.0, -40.0, 0.0, 40.0, 1e5])
    assert_close(ref.sigmoid(x) + ref.sigmoid(-x), np.ones(6))
    assert ref.sigmoid(np.array(-40.0)) == pytest.approx(np.exp(-40.0), rel=1e-12)
    assert ref.sigmoid(ref.log_odds(np.array(0.0), 0.03)) == pytest.approx(0.03, rel=1e-12)


def test_posterior_variance_is_the_second_moment_of_the_mixture():
    rng = np.random.default_rng(4)
    p, mean, var = np.array([0.0, 0.3, 1.0]), complex_normal(rng, 3, 2, 2), rng.uniform(0.1, 1, (3, 2))
    draws = 200_000
    on = rng.random((draws, 3, 1, 1)) < p[:, None, None]
    x = on * (mean + np.sqrt(var)[:, None] * complex_normal(rng, draws, 3, 2, 2))
    expected = x.var(0).mean((0, 1))
    # 6 entries average; one sample variance has a deviation of about sqrt(2 / draws): 5 sigma is 1.6 %.
    assert_close(ref.posterior_variance(p, mean, var), expected, 0.016)


def test_scores_of_a_gaussian_give_its_denoiser():
    rng = np.random.default_rng(5)
    h, tau = complex_normal(rng, 3, 4, 2), rng.uniform(0.1, 2, (3, 2))
    g = 1.3
    by_scores = ref.score_denoiser(
        lambda h, tau: -h / (g + tau)[:, None], lambda h, tau: np.broadcast_to(-1 / (g + tau)[:, None], h.shape)
    )
    for found, expected in zip(
        by_scores(h, tau, np.arange(3)), ref.gaussian_denoiser(g)(h, tau, np.arange(3)), strict=True
    ):
        assert_close(found, expected)


def test_power_normalisation():
    """(60), (61) leave unit power, keep the noise level true per device, and survive weak devices."""
    rng = np.random.default_rng(6)
    tau = np.array([0.01, 0.02, 0.03])
    h = complex_normal(rng, 4, 40, 3) * np.array([10.0, 1.0, 0.1, 0.0])[:, None, None]
    h_bar, tau_bar, power = ref.normalise(h, tau)
    assert_close(power[3], 2e-2 * 0.02)
    excess = np.mean(np.abs(h_bar) ** 2, (1, 2)) - tau_bar.mean(1)
    assert_close(excess[:2], np.ones(2))
    back, var = ref.rescale(h_bar, tau_bar, power)
    assert_close(back, h)
    assert_close(var, np.broadcast_to(tau, (4, 3)))


# Algorithms 1 and 2


def test_no_noise_and_full_length_recover_exactly():
    p = problem(**SIZES["full-length"], channels="iid")
    q = ref.pilot_array(p.pilots)
    noise = 1e-14
    out = ref.tmp(ref.measure(q, p.x), q, ref.gaussian_denoiser(), noise, 0.25, iterations=1)[0]
    assert np.array_equal(ref.decide(out.probability), p.active)
    assert_close(out.x_post_b, p.x, 1e-12)


def test_infinite_noise_returns_the_prior():
    p = problem(channels="iid")
    noise, rate, g = 1e9, 0.07, 1.7
    for variance in ("residual", "paper"):
        out = ref.tmp(
            p.y, p.pilots, ref.gaussian_denoiser(g), noise, rate, iterations=2, variance=variance, v_pri=[rate] * 8
        )[-1]
        # SNR of a device after the matched filter is T / 1e9; log-likelihood ratios are N M times that.
        assert_close(out.probability, np.full(64, rate), 1e-5)
        assert np.max(np.abs(out.x_post_b)) < 1e-5
        assert_close(out.v_post_b, np.full(8, rate * g), 1e-5)


def test_everybody_active_with_gaussian_channels_is_plain_lmmse():
    p = problem(**SIZES["everybody"], channels="iid")
    q, g = ref.pilot_array(p.pilots), 1.0
    v_pri = np.full(4, g)
    for i in (1, 4):  # the first iteration is exact, and a fixed point under the paper's rule
        out = ref.tmp(
            p.y, q, ref.gaussian_denoiser(g), p.noise_var, 1 - 1e-15, iterations=i, variance="paper", v_pri=v_pri
        )[-1]
        expected, var = ref.linear_mmse(p.y.astype(complex), q, np.zeros_like(p.x), v_pri, p.noise_var)
        assert_close(out.x_post_b, expected, 1e-8)
        assert_close(out.v_post_b, var, 1e-8)


def test_one_device_is_a_scalar_channel():
    p = problem(**SIZES["one-device"], channels="iid")
    q = ref.pilot_array(p.pilots)
    out = ref.tmp(p.y, q, ref.gaussian_denoiser(), p.noise_var, 0.5, iterations=3)[-1]
    matched = q[0].conj()[:, 0, None] * p.y[0]
    assert_close(out.x_pri_b[0], matched)
    assert_close(out.v_pri_b, np.full(3, p.noise_var))
    assert_close(out.h_post[0], matched / (1 + p.noise_var))


@pytest.mark.parametrize("algorithm", [ref.tmp, ref.stmp])
@pytest.mark.parametrize("variance", ["residual", "paper"])
def test_scale_and_order_do_not_matter(algorithm, variance):
    p = problem(**SIZES["prime"], channels="iid", seed=5)
    q, y = ref.pilot_array(p.pilots), p.y.astype(complex)
    c = 300.0 * np.exp(0.7j)
    power = abs(c) ** 2 if algorithm is ref.tmp else 1.0  # Algorithm 2 measures the power itself
    order = np.random.default_rng(0).permutation(97)

    def run(y, q, noise, power=1.0):
        return algorithm(y, q, ref.gaussian_denoiser(power), noise, 0.05, iterations=6, variance=variance)[-1]

    plain = run(y, q, p.noise_var)
    louder = run(c * y, q, abs(c) ** 2 * p.noise_var, power)
    assert_close(louder.probability, plain.probability, 1e-8)
    assert_close(louder.x_post_b, c * plain.x_post_b, 1e-8)
    more_power = run(c * y, c * q, abs(c) ** 2 * p.noise_var)
    assert_close(more_power.x_post_b, plain.x_post_b, 1e-8)
    shuffled = run(y, q[:, :, order], p.noise_var)
    assert_close(shuffled.x_post_b, plain.x_post_b[order], 1e-8)


@pytest.mark.parametrize("damping", [1.0, 0.6])
def test_paper_rule_follows_the_predicted_variances(damping):
    """Algorithm 2's lines 4 to 7 and 14 to 17, written out with the paper's fractions."""
    p = problem(**SIZES["odd"], channels="iid", seed=1)
    q = ref.pilot_array(p.pilots)
    kp, tp, noise = 105.0, 16.0, p.noise_var
    v = np.full(16, 0.06)
    history = ref.stmp(
        p.y,
        q,
        ref.gaussian_denoiser(),
        noise,
        p.activity_rate,
        damping=damping,
        variance="paper",
        v_pri=v,
        iterations=6,
    )
    v_b, x, x_b = np.zeros(16), np.zeros(p.x.shape), np.zeros(p.x.shape)
    for i, it in enumerate(history):
        gamma = damping if i else 1.0
        assert_close(it.v_pri_a, v)
        post = v - tp * v**2 / (kp * v + noise)  # (8)
        v_b = gamma / (1 / post - 1 / v) + (1 - gamma) * v_b  # (10), line 7
        assert_close(it.v_pri_b, v_b)
        x_post = x + v / (kp * v + noise) * ref.adjoint(q, p.y - ref.measure(q, x))  # (7)
        x_b = gamma / (1 / post - 1 / v) * (x_post / post - x / v) + (1 - gamma) * x_b  # (11), line 6
        assert_close(it.x_pri_b, x_b, 1e-8)
        h2, lam = np.abs(it.h_post) ** 2, it.probability[:, None, None]
        belief = np.mean(lam * (h2 + it.tau_post[:, None]) - (lam**2) * h2, (0, 1))  # (36), (38)
        assert_close(it.v_post_b, belief)
        v_ext = 1 / (1 / belief - 1 / v_b)  # (41)
        x_ext = v_ext * (lam * it.h_post / belief - x_b / v_b)  # (42) with (35)
        x = gamma * x_ext + (1 - gamma) * x  # (57)
        v = gamma * v_ext + (1 - gamma) * v  # (58)


def test_residual_rule_measures_the_input_of_module_a():
    p = problem(**SIZES["odd"], channels="iid", seed=1)
    q = ref.pilot_array(p.pilots)
    for it in ref.stmp(p.y, q, ref.gaussian_denoiser(), p.noise_var, p.activity_rate, iterations=4):
        r = p.y - ref.measure(q, it.x_pri_a)
        assert_close(
            it.v_pri_a, np.maximum((np.mean(np.abs(r) ** 2, (0, 1)) - p.noise_var) / 105, 1e-3 * p.noise_var / 105)
        )


@pytest.mark.parametrize("algorithm", [ref.tmp, ref.stmp])
def test_algorithms_find_the_active_devices(algorithm):
    p = problem(**SIZES["odd"], channels="iid", snr_db=20, seed=3)
    for variance in ("residual", "paper"):
        out = algorithm(p.y, p.pilots, ref.gaussian_denoiser(), p.noise_var, p.activity_rate, variance=variance)[-1]
        assert set(p.active) <= set(ref.decide(out.probability))
        error = np.sum(np.abs(out.x_post_b - p.x) ** 2) / np.sum(np.abs(p.x) ** 2)
        assert error < 2 * p.noise_var / 16  # matched filter after perfect cancellation: noise / T


@pytest.mark.parametrize("algorithm", [ref.tmp, ref.stmp])
def test_unknown_variance_rule_is_refused(algorithm):
    p = problem()
    with pytest.raises(ValueError, match='variance: expected "residual" or "paper"'):
        algorithm(p.y, p.pilots, ref.gaussian_denoiser(), 0.1, 0.05, variance="predicted")
