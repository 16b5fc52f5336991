"""Every baseline in the model of its own paper beside its theory: ``python tests/papers.py`` prints the table.

The papers show their numbers as curves without tables: what is compared with are the formulas that they hold them to.
Each function returns (expected, measured) by what is compared.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from problems import complex_normal, problem, qpsk_pilots
from scipy import optimize, stats

import jadce_fast as jf
from jadce_fast import baselines, reference
from jadce_fast.baselines.receivers import covariance as ml
from jadce_fast.baselines.receivers.mmv_amp import error_probabilities, state_evolution
from jadce_fast.metrics import score

Pairs = dict[str, tuple[float, float]]


def gaussian_fixed_point(noise: float, load: float, rate: float, *, orthogonal: bool) -> float:
    """State evolution of channels CN(0, 1) whose activity is known: their error at a noise over T P.

    Behind i.i.d. pilots (AMP), or orthogonal ones (turbo message passing, whose messages are extrinsic).
    """
    v = rate
    for _ in range(500):
        tau = load * v + noise - (v if orthogonal else 0.0)
        alpha = rate / (1 + tau)
        v = alpha * tau / (1 - alpha) if orthogonal else alpha * tau
    return tau / (1 + tau)


def mmv_amp() -> Pairs:
    """Liu, Yu 2018: K=2000, 5 % active, Gaussian pilots; state evolution and closed forms of both errors."""
    k, t, m, active, noise, blocks = 2000, 400, 8, 100, 0.3, 24
    rng, rate = np.random.default_rng(2), active / k
    tau, missed, alarms = [], 0, 0
    for _ in range(blocks):
        pilots = jf.Pilots(complex_normal(rng, t, 1, k))
        x = (np.arange(k) < active)[:, None] * complex_normal(rng, k, m)
        y = pilots.select()[:, 0] @ x + math.sqrt(t * noise) * complex_normal(rng, t, m)
        found = baselines.mmv_amp(pilots, m, rate, power=1.0).detect(y[:, None], t * noise)
        tau.append(found.history[-1]["error_var"])
        missed += np.count_nonzero(found.activity[:active] < 0.5)
        alarms += np.count_nonzero(found.activity[active:] >= 0.5)
    expected = state_evolution(noise, 1.0, m, rate, k / t)[-1]
    p_missed, p_false = error_probabilities(expected, 1.0, m, rate)
    return {
        "effective noise": (expected, float(np.mean(tau))),
        "missed, probability": (p_missed, missed / (blocks * active)),
        "false alarms, probability": (p_false, alarms / (blocks * (k - active))),
    }


def gmmv_amp() -> Pairs:
    """Ke et al. 2020, i.i.d. Rayleigh subcarriers: K=500, 10 % active; their state evolution, nothing told."""
    k, t, n, m = 500, 125, 6, 16
    p = problem(k, t, n, m, 50, pilots="qpsk", channels="iid", snr_db=10.0)
    found = score(baselines.gmmv_amp(p.pilots, m).detect(p.y, p.noise_var), p.active, p.channels)
    return {"NMSE": (gaussian_fixed_point(p.noise_var / t, k / t, 0.1, orthogonal=False), found.nmse)}


def tmp_em() -> Pairs:
    """Jiang et al. 2022: channels that are lines on blocks of four subcarriers; Turbo-MP's state evolution."""
    k, t, blocks, width, m, active = 256, 32, 6, 4, 24, 26
    rng = np.random.default_rng(3)
    offset, prior = np.arange(width) - 1.5, np.array([0.8, 0.16])
    s = complex_normal(rng, 2, active, blocks, 1, m) * np.sqrt(prior)[:, None, None, None, None]
    h = (s[0] + offset[:, None] * s[1]).reshape(active, -1, m)
    rows = np.stack([rng.permutation(k)[: t * width].reshape(t, width) for _ in range(blocks)], axis=1)
    pilots = jf.Pilots.from_rows(rows.reshape(t, -1), k)  # distinct in a block, so that its pilots are orthogonal
    index = np.sort(rng.choice(k, active, replace=False))
    y = np.einsum("tna,anm->tnm", pilots.select(index), h) + math.sqrt(0.1) * complex_normal(rng, t, 24, m)
    found = score(baselines.tmp_em(pilots, m, active / k, blocks=blocks).detect(y, 0.1), index, h)
    error = line_fixed_point(0.1 / t, k / t, active / k, prior, offset)
    return {"NMSE": (float(error[0] + np.mean(offset**2) * error[1]), found.error_energy / h.size)}


def line_fixed_point(noise: float, load: float, rate: float, prior: np.ndarray, offset: np.ndarray) -> np.ndarray:
    """Errors of mean and slope behind orthogonal pilots (P = T = 1), for known activity."""
    v = rate * prior
    for _ in range(500):
        w = 1 / (load * (v[0] + offset**2 * v[1]) + noise)
        seen = np.array([1 / w.sum(), 1 / (offset**2 * w).sum()]) - v
        post = rate * prior * seen / (prior + seen)
        ratio = post / seen
        v = 0.5 * v + 0.5 * ratio * seen / (1 - ratio)
    return prior * seen / (prior + seen)


def bg_tmp() -> Pairs:
    """Cai et al.: K=800, T=80, i.i.d. channels; the scalar recursion of turbo message passing."""
    p = problem(800, 80, 12, 16, 40, channels="iid", snr_db=10.0)
    receiver = jf.Receiver(p.pilots, 16, "gaussian", p.activity_rate, 1.0, threads=1)
    found = score(receiver.detect(p.y, p.noise_var), p.active, p.channels)
    expected = gaussian_fixed_point(p.noise_var / 80, 10.0, 0.05, orthogonal=True)
    return {"NMSE": (expected, found.error_energy / p.channels.size)}


def covariance() -> Pairs:
    """Chen et al. 2022: eight devices, six symbols, 800 antennas; errors tend to the inverse Fisher information."""
    k, t, noise, powers, m, trials = 8, 6, 0.2, np.linspace(0.6, 1.4, 8), 800, 200
    q = qpsk_pilots(k, k, 1).select()[:t, 0].astype(complex)  # (T, K), fewer symbols than devices
    inverse = np.linalg.inv((q * powers) @ q.conj().T + noise * np.eye(t))
    expected = float(np.trace(np.linalg.inv(abs(q.conj().T @ inverse @ q) ** 2)))
    rng, errors = np.random.default_rng(4), []
    for _ in range(trials):
        y = q @ (np.sqrt(powers)[:, None] * complex_normal(rng, k, m)) + math.sqrt(noise) * complex_normal(rng, t, m)
        gamma, *_ = ml.descend(q.T[:, None], (y @ y.conj().T)[None] / m, noise, iterations=200)
        errors.append(m * float(np.sum((gamma - powers) ** 2)))
    return {"M times the squared error": (expected, float(np.mean(errors)))}


def identifiable(devices: int, rate: float) -> float:
    """Symbols from which on covariance tells the devices apart, in the limit of many antennas.

    Chen et al.'s phase transition, in Luo et al.'s closed form: T^2 / K = 1 - (1 - rate) Phi(mu).
    """

    def condition(mu: float) -> float:
        return (1 - rate) * (mu * stats.norm.sf(mu) - stats.norm.pdf(mu)) + rate * mu

    mu = optimize.brentq(condition, 0.0, 10.0)
    return math.sqrt(devices * (1 - (1 - rate) * stats.norm.cdf(mu)))


def somp() -> Pairs:
    """Tropp et al. 2006: with the right support, LMMSE on it; its error is the trace of the posterior covariance."""
    p = problem(80, 40, 6, 24, 10, pilots="qpsk", channels="iid", snr_db=10.0)
    out = baselines.somp(p.pilots, 24, 0.125, power=1.0).detect(p.y, p.noise_var)
    return {"NMSE": (_posterior(p), score(out, p.active, p.channels).error_energy / p.channels.size)}


def oracle() -> Pairs:
    """LMMSE, told who is active: the trace of the posterior covariance."""
    p = problem(200, 20, 12, 24, 16, pilots="qpsk", channels="iid", snr_db=5.0)
    out = baselines.oracle(p.pilots, 24, p.active, power=1.0).detect(p.y, p.noise_var)
    return {"NMSE": (_posterior(p), float(np.mean(abs(out.channels - p.channels) ** 2)))}


def _posterior(p) -> float:
    """Error variance of unit-power channels of known devices, independent over subcarriers."""
    q = p.pilots.select(p.active).astype(complex).transpose(1, 0, 2)
    gram = q.conj().transpose(0, 2, 1) @ q / p.noise_var + np.eye(len(p.active))
    return float(np.mean(np.trace(np.linalg.inv(gram), axis1=1, axis2=2).real) / len(p.active))


def linear() -> Pairs:
    """Tang et al.: LMMSE over all devices; bias, interference of the others and noise behind orthogonal pilots."""
    k, t, rate = 120, 60, 0.2
    p = problem(k, t, 8, 24, 24, channels="iid", snr_db=10.0)
    out = baselines.linear(p.pilots, 24, rate, power=1.0).detect(p.y, p.noise_var)
    c = rate / (rate * k + p.noise_var)
    others = rate * (t * k - t * t) + t * p.noise_var
    errors = score(out, p.active, p.channels)
    assert errors.missed == 0
    return {"NMSE": ((1 - c * t) ** 2 + c * c * others, errors.error_energy / p.channels.size)}


def dps() -> Pairs:
    """Song et al. 2023, Gaussian prior: the error of a posterior sample is twice the posterior variance."""
    p = problem(100, 20, 8, 32, 8, channels="iid", snr_db=0.0)
    errors = []
    for seed in range(3):
        receiver = baselines.dps(p.pilots, 32, "gaussian", p.activity_rate, 1.0, steps=400, seed=seed)
        out = receiver.detect(p.y, p.noise_var)
        errors.append(float(np.mean(abs(out.channels - p.channels) ** 2)))
    return {"error": (2 * _posterior(p), float(np.mean(errors)))}


def printed_stmp() -> Pairs:
    """Cai et al., Algorithm 2: the reference, in double precision, after ten iterations."""
    p = problem(200, 40, 8, 16, 10, channels="iid")
    out = baselines.printed_stmp(p.pilots, 16, "gaussian", p.activity_rate, iterations=10).detect(p.y, p.noise_var)
    last = reference.stmp(
        p.y, p.pilots, reference.gaussian_denoiser(), p.noise_var, p.activity_rate, iterations=10, variance="paper"
    )[-1]
    assert set(p.active) <= set(out.active)
    where = np.searchsorted(out.active, p.active)
    measured = np.mean(abs(out.channels[where] - p.channels) ** 2)
    return {"NMSE": (float(np.mean(abs(last.x_post_b[p.active] - p.channels) ** 2)), float(measured))}


ALL: tuple[Callable[[], Pairs], ...] = (
    *(mmv_amp, gmmv_amp, tmp_em, bg_tmp, covariance, somp, oracle, linear, dps, printed_stmp),
)


def main() -> None:
    print("| baseline | in the model of | what | theory | measured | apart |\n|---|---|---|---|---|---|")
    for compare in ALL:
        setting = " ".join(compare.__doc__.split()).rstrip(".")
        for name, (expected, measured) in compare().items():
            if "probability" in name:
                cells = f"{expected:.2e} | {measured:.2e} | factor {measured / expected:.2f}"
            else:
                levels = [10 * math.log10(x) for x in (expected, measured)]
                cells = f"{levels[0]:.2f} dB | {levels[1]:.2f} dB | {levels[1] - levels[0]:+.2f} dB"
            print(f"| `{compare.__name__}` | {setting} | {name} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
