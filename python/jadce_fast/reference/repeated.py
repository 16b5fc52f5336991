"""Pilots that repeat one sequence over all subcarriers: every coefficient is a small problem with the same pilots.

Interference then is a channel seen through the same mixing everywhere, and a coefficient has no more than T
measurements: too few for messages that only know a mean variance. The devices' variances are looked for instead, each
coefficient and beam solved exactly with them, and a device tested in what the others leave, as if it were not there.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..rules import Rules
from .activity import log_odds, sigmoid
from .beamspace import BeamspacePrior, candidates
from .linear import Array, Complex, Real
from .powers import least_power, prior_rate

Indices = npt.NDArray[np.int64]
DEFAULT = Rules()
SAMPLED = 64  # devices that show the mean error
FADED = 5  # iterations after which the variance of all devices together says little
STEADY = 3  # iterations with the same devices after which their variances are made to fit
SETTLED = 6  # and after which nothing more is expected


@dataclass(frozen=True)
class RepeatedIteration:
    """Every intermediate of one iteration.

    Attributes
    ----------
    variance : ndarray, shape (K, P, M)
        Of the devices' coefficients, as the iteration assumes it.
    z : ndarray, shape (K, P, M)
        Each device's coefficients without a word of what is assumed of it, in noise of variance `v`.
    v : ndarray, shape (K, P, M)
    log_odds, probability : ndarray, shape (K,)
    candidates : ndarray of int64, shape (A,)
    mean : ndarray, shape (A, P, M)
        Posterior mean of their coefficients, given that they are active.
    var : ndarray, shape (A, P, M)
        Its error variance.
    sharp : bool
        Whether the next variance is that of `matched`, and not that of `expected`.
    """

    variance: Real
    z: Complex
    v: Real
    log_odds: Real
    probability: Real
    candidates: Indices
    mean: Complex
    var: Real
    sharp: bool


def cavity(y: Array, q: Array, variance: Array, noise_var: float) -> tuple[Complex, Real]:
    """Coefficients z (K, P, M) of every device as all others and the noise show them, and their noise v (K, P, M).

    With C = Q diag(variance) Q^H + noise I, z = q^H C^-1 y / (q^H C^-1 q) and v = 1 / (q^H C^-1 q) - variance: leaving
    the device out of C gives the same. `y` (T, P, M), `q` (T, K), `variance` (K, P, M).
    """
    covariance = np.einsum("tk,kpm,sk->pmts", q, variance, q.conj(), optimize=True) + noise_var * np.eye(len(q))
    inner = np.linalg.solve(covariance, np.broadcast_to(q, (*covariance.shape[:2], *q.shape)))  # (P, M, T, K)
    gain = np.einsum("tk,pmtk->kpm", q.conj(), inner).real
    return np.einsum("pmtk,tpm->kpm", inner.conj(), y) / gain, 1 / gain - variance


def power_weights(
    energy: Array, v: Array, prior: BeamspacePrior, powers: Array, power_weight: Array
) -> tuple[Real, Real]:
    """Log-likelihood ratios (K,) of "active", and posterior weights (J, G, K, M) of a power and a beam's gain.

    As `structured_llr`, for a null (K, P, M) of every device.
    """
    gain = np.asarray(prior.beam_gain, np.float64)[:, None, None, None]
    snr = np.asarray(prior.eigenvalues, np.float64)[:, None] / v
    beam = []
    for power in powers:
        s = power * gain * snr  # (G, K, P, M)
        beam.append((energy / v * (s / (1 + s)) - np.log1p(s)).sum(2))
    ratio = np.array(beam) + np.log(np.asarray(prior.beam_weight, np.float64))[:, None, None]  # (J, G, K, M)
    beams = np.logaddexp.reduce(ratio, axis=1)
    device = beams.sum(2) + np.log(power_weight)[:, None]
    llr = np.logaddexp.reduce(device, axis=0)
    return llr, np.exp(device - llr)[:, None, :, None] * np.exp(ratio - beams[:, None])


def moments(
    z: Array, v: Array, weight: Array, prior: BeamspacePrior, powers: Array
) -> tuple[Complex, Real, Real, Real]:
    """Posterior mean and variance (A, P, M), and two variances that could stand for a device.

    The expected one is that of the mixture after what was seen; the matched one makes a Wiener filter of it the
    posterior mean.
    """
    product = np.asarray(powers)[:, None] * np.asarray(prior.beam_gain, np.float64)  # (J, G)
    eigenvalue = np.asarray(prior.eigenvalues, np.float64)[:, None]
    expected = np.einsum("jg,jgam->am", product, weight)[:, None] * eigenvalue
    snr = product[:, :, None, None, None] * eigenvalue / v
    wiener = snr / (1 + snr)
    gain = np.einsum("jgam,jgapm->apm", weight, wiener)
    var = gain * v + (np.einsum("jgam,jgapm->apm", weight, wiener**2) - gain**2) * np.abs(z) ** 2
    return gain * z, var, expected, gain


def detect_repeated(
    y: Array,
    q: Array,
    prior: BeamspacePrior,
    noise_var: float,
    activity_rate: float,
    *,
    excess: float,
    deviation: float,
    powers: npt.ArrayLike = (1.0,),
    rules: Rules = DEFAULT,
) -> list[RepeatedIteration]:
    """The receiver of repeated pilots, in double precision.

    Parameters
    ----------
    y : array_like, shape (T, P, M)
        Received block in the prior's basis over subcarriers and in beams.
    q : array_like, shape (T, K)
        Pilots of unit power.
    prior : BeamspacePrior
        Its statistics; channels are estimated under its mixture.
    noise_var, activity_rate : float
    excess, deviation : float
        As of `least_power`.
    powers : array_like, shape (J,)
        Mixture of received powers of equal weight.
    rules : Rules

    Returns
    -------
    list of RepeatedIteration
        The last one is the result.
    """
    y, q = np.asarray(y, np.complex128), np.asarray(q, np.complex128)
    levels, eigenvalue = np.asarray(powers, np.float64), np.asarray(prior.eigenvalues, np.float64)[:, None]
    shape = (q.shape[1], *y.shape[1:])
    background, above = activity_rate, np.zeros(shape)
    expected, decided, steady, sharp = max(activity_rate * len(above), 1.0), np.zeros(len(above), bool), 0, False
    history: list[RepeatedIteration] = []
    for _ in range(rules.max_iterations):
        variance = background * eigenvalue + above
        z, v = cavity(y, q, variance, noise_var)
        error = float(np.mean(eigenvalue.sum() / (eigenvalue / v[:SAMPLED]).sum(1)))
        least = least_power(error, excess, deviation, expected, rules)
        searched = levels[(levels >= least) | (levels == levels.max())]
        even = np.full(len(searched), 1 / len(levels))
        llr, weight = power_weights(np.abs(z) ** 2, v, prior, searched, even)
        rate = prior_rate(activity_rate, excess, deviation, min(least, float(levels.max())), len(above), rules)
        odds = log_odds(llr, rate)
        probability = sigmoid(odds)
        chosen = candidates(probability, rules)
        expected = float(probability[chosen].sum())
        mean, var, likely, gain = moments(z[chosen], v[chosen], weight[:, :, chosen], prior, searched)
        before, decided = decided, probability >= rules.active
        steady = steady + 1 if np.array_equal(decided, before) else 0
        if not sharp and steady >= STEADY and len(history) >= FADED:
            sharp, steady = True, 0
        history.append(RepeatedIteration(variance, z, v, odds, probability, chosen, mean, var, sharp))
        if sharp and steady >= SETTLED:
            break
        belief = probability[chosen][:, None, None]
        target = np.zeros(shape)
        matched = belief * gain
        target[chosen] = v[chosen] * matched / (1 - matched) if sharp else belief * likely
        above = 0.5 * (target + above)
        background = 0.0 if sharp else 0.5 * background
    return history
