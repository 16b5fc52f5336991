"""The library's own receiver in dense double precision: the oracle of the fast one, step by step.

It is Algorithm 2 with these changes. It works in beamspace (a unitary DFT over antennas commutes with Q) with
one noise variance per beam; module A's variance is measured from the residual; activity comes from a
structured likelihood ratio on Karhunen-Loeve (KLT) coefficients over subcarriers; the denoiser sees those
coefficients of plausible devices only; the extrinsic ratio alpha comes from the denoiser's variance; damping
starts late.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from ..rules import Rules
from .activity import log_odds, sigmoid, structured_llr
from .linear import (
    Array,
    Complex,
    PilotsLike,
    Real,
    adjoint,
    colored_correction,
    colored_residual,
    colored_variance,
    correction,
    damp,
    extrinsic,
    extrinsic_variance,
    measure,
    pilot_array,
    residual,
    residual_variance,
)
from .powers import DEFAULT, can_wait, device_power, faintest_power, least_power, prior_rate

Indices = npt.NDArray[np.int64]

DOUBT = 15.0  # log odds against a device up to which another test could find otherwise


class BeamspacePrior(Protocol):
    """Channel prior as the receiver needs it.

    `basis` (N, P) has orthonormal columns; `eigenvalues` (P,) is the mean power of every coefficient for a
    unit-power channel; `beam_gain`, `beam_weight` (G,) mix beam powers; `denoise(z (A, P, M), v (A, M),
    devices (A,))` returns the posterior mean (A, P, M) and the posterior error variance per beam (A, M),
    summed over coefficients / N. A cascade has `members`, priors that denoise in turn.
    """

    basis: Any
    eigenvalues: Any
    beam_gain: Any
    beam_weight: Any

    def denoise(self, z: Any, v: Any, devices: Any) -> tuple[Any, Any]:
        """Posterior mean and variance of KLT coefficients of unit-power channels."""


@dataclass(frozen=True)
class BeamspaceIteration:
    """Every intermediate of one iteration, in beamspace.

    Attributes
    ----------
    x_pri : ndarray, shape (K, N, M)
        Module A's prior mean at the start of the iteration.
    v_a, v : ndarray, shape (M,)
        Module A's prior variance and module B's noise variance per beam.
    energy : ndarray, shape (K, P, M)
        |z|^2 of the KLT coefficients that module B sees.
    null : ndarray, shape (P, M)
        Mean energy of an inactive device.
    log_odds, probability : ndarray, shape (K,)
        Posterior log-odds and probability of "active".
    candidates : ndarray of int64, shape (A,)
        Devices that went through the denoiser.
    power : ndarray, shape (A,)
        Received power by which their channels were scaled.
    mean : ndarray, shape (A, P, M)
        Posterior mean of their KLT coefficients, given that they are active.
    var : ndarray, shape (A, M)
        Its error variance per beam, summed over coefficients / N.
    alpha : ndarray, shape (M,)
        Extrinsic ratio.
    member : int
        Which denoiser of a cascade made them.
    """

    x_pri: Complex
    v_a: Real
    v: Real
    energy: Real
    null: Real
    log_odds: Real
    probability: Real
    candidates: Indices
    power: Real
    mean: Complex
    var: Real
    alpha: Real
    member: int


def beamspace(x: Array, *, inverse: bool = False) -> Complex:
    """Unitary DFT over the last axis, antennas to beams; `inverse` goes back."""
    transform = np.fft.ifft if inverse else np.fft.fft
    return np.asarray(transform(np.asarray(x, np.complex128), axis=-1, norm="ortho"))


def klt_statistics(pilots: PilotsLike, r: Array, basis: Array) -> Complex:
    """Matched filter in the KLT domain: z[k, p, b] = sum_n conj(V[n, p]) (Q^H r)[k, n, b].

    `r` (T, N, M), `basis` V (N, P); returns (K, P, M).
    """
    return np.asarray(np.einsum("np,knm->kpm", np.conj(basis), adjoint(pilots, r)))


def project(pilots: PilotsLike, devices: Array, s: Array, basis: Array) -> Complex:
    """Q S for `devices` (A,) with KLT coefficients `s` (A, P, M) on `basis` (N, P); returns (T, N, M)."""
    x = np.einsum("np,apm->anm", basis, s)
    return measure(pilot_array(pilots)[:, :, devices], x)


def noise_reference(energy: Array, v: Array, odds: Array | None, rules: Rules = DEFAULT) -> Real:
    """Mean energy (P, M) of every coefficient and beam under "inactive".

    The devices that the previous iteration found inactive show it; in the first iteration, or if there are
    few of them, it is the tracked variance `v`.

    Parameters
    ----------
    energy : array_like, shape (K, P, M)
    v : array_like, shape (M,)
    odds : array_like, shape (K,), or None
        Posterior log-odds of the previous iteration.
    rules : Rules
        `idle`, `enough_idle` and `smallest_null`, which keeps it positive.
    """
    if odds is not None:
        inactive = odds < rules.idle
        if np.count_nonzero(inactive) > rules.enough_idle:
            return np.asarray(np.maximum(energy[inactive].mean(0), rules.smallest_null * v))
    return np.broadcast_to(v, energy.shape[1:]).copy()


def candidates(probability: Array, rules: Rules = DEFAULT) -> Indices:
    """Devices (ascending) whose activity probability exceeds the threshold; without screening all of them."""
    return np.flatnonzero(probability > (rules.threshold if rules.screening else -1))


def alpha(probability: Array, var: Array, v: Array, devices: int, rules: Rules = DEFAULT) -> Real:
    """Extrinsic ratio per beam: caution / K sum over candidates of probability var / v, within its bounds.

    The divergence of an MMSE denoiser is its error variance over the noise variance; devices that are not
    candidates are estimated as zero and add nothing. `probability` (A,), `var` (A, M), `v` (M,); returns
    (M,).
    """
    total = np.sum(probability[:, None] * var, axis=0)
    return np.asarray(np.clip(rules.caution * total / (devices * v), rules.smallest_alpha, rules.largest_alpha))


def beamspace_stmp(
    y: Array,
    pilots: PilotsLike,
    prior: BeamspacePrior,
    noise_var: float | Array,
    activity_rate: float,
    *,
    powers: npt.ArrayLike = (1.0,),
    power_weight: npt.ArrayLike | None = None,
    iterations: int = 8,
    rules: Rules = DEFAULT,
    start: Array | None = None,
) -> list[BeamspaceIteration]:
    """The receiver on the dense state.

    Parameters
    ----------
    y : array_like, shape (T, N, M)
        Received block over antennas (not beams). A prior with ``beamspace = False`` works on antennas.
    pilots : Pilots or ndarray, shape (T, N, K)
    prior : BeamspacePrior
    noise_var : float or ndarray, shape (1 or N, M, M)
        Variance of white noise, or covariances over antennas.
    activity_rate : float
    powers, power_weight : array_like, shape (J,)
        Mixture of received powers (equal weights if left out). A single power is known: channels are scaled
        by it; with several, every candidate's channel is scaled by its own `device_power`.
    iterations : int
        So many are done: this loop does not stop by itself.
    rules : Rules, optional
        The receiver's constants.
    start : array_like, shape (K, N, M), optional
        Channels over antennas that the loop begins with, such as those of the block before, instead of none.

    Returns
    -------
    list of BeamspaceIteration
        `best` picks the one to use.
    """
    if rules.variance == "paper" or getattr(prior, "closed_form", False) or getattr(prior, "exact", False):
        # Some caution with a learned denoiser makes the loop converge faster; predicted variances allow none.
        rules = replace(rules, caution=1.0)
    q, basis = pilot_array(pilots), np.asarray(prior.basis, np.complex128)
    k, n = q.shape[2], q.shape[1]
    gains = np.asarray(powers, np.float64)
    weights = np.full(len(gains), 1 / len(gains)) if power_weight is None else np.asarray(power_weight)
    y = beamspace(y) if getattr(prior, "beamspace", True) else np.asarray(y, np.complex128)
    covariance: Complex | None = None
    received = np.mean(np.abs(y) ** 2)
    if np.ndim(noise_var):
        covariance = np.asarray(noise_var, np.complex128)
        if getattr(prior, "beamspace", True):
            covariance = np.fft.ifft(np.fft.fft(covariance, axis=1), axis=2)  # F C F^H
        level = np.diagonal(np.linalg.inv(covariance), axis1=1, axis2=2).real
        noise_var = float(1 / level.mean())
        received = colored_residual(y, covariance)[0] * noise_var
    noise = float(noise_var)
    x_pri = np.zeros((k, *y.shape[1:]), np.complex128)
    if start is not None:
        x_pri = beamspace(start) if getattr(prior, "beamspace", True) else np.asarray(start, np.complex128)
    odds: Real | None = None
    predicted: Real | None = None
    history: list[BeamspaceIteration] = []
    pilot_power = np.mean(np.abs(q) ** 2)
    members, member, before = getattr(prior, "members", (prior,)), 0, np.inf
    each = gains[0] if len(gains) == 1 else max((received - noise) / pilot_power, 0.0) / max(activity_rate * k, 1.0)
    unknown = np.full(y.shape[2], each)  # variance of an active device's channel; all of an error may lie in one beam
    excess, deviation = (received - noise) / pilot_power, noise / pilot_power / np.sqrt(y.size)
    expected, faintest = max(activity_rate * k, 1.0), np.inf
    least, same, certain, sure = np.inf, False, False, False  # what the last test of activity left
    cand, probability = np.zeros(0, np.int64), np.zeros(k)
    for i in range(iterations):
        # Module A
        r = residual(y, q, x_pri)
        if covariance is None:
            v_a = residual_variance(r, q, noise, rules.smallest_variance) if predicted is None else predicted
            c, v, _ = correction(r, q, v_a, noise)
        else:
            floor = rules.smallest_variance * noise / (k * pilot_power)
            v_a = colored_variance(r, q, covariance, floor) if predicted is None else predicted
            c, v = colored_correction(r, q, v_a, covariance, unknown)
            v = np.maximum(v, floor)
        x = x_pri + adjoint(q, c)

        # Activity
        z = np.einsum("np,knm->kpm", basis.conj(), x)
        energy = np.abs(z) ** 2
        null = noise_reference(energy, v, odds, rules)
        error = float(v.mean())
        fast = error <= rules.settled * before
        if not (rules.screening and odds is not None and (sure or can_wait(certain, same, fast, least, faintest))):
            mixture = prior.eigenvalues, prior.beam_gain, prior.beam_weight
            least = least_power(error, excess, deviation, expected, rules, faintest=faintest)
            searched = (gains >= least) | (gains == gains.max())
            llr = structured_llr(energy, null, *mixture, gains[searched], weights[searched])
            odds = log_odds(llr, prior_rate(activity_rate, excess, deviation, min(least, float(gains.max())), k, rules))
            probability = sigmoid(odds)
            tested, cand = cand, candidates(probability, rules)
            same, certain = np.array_equal(cand, tested), bool((probability[cand] > rules.certain).all())
            sure = len(gains) == 1 and bool(((odds <= -DOUBT) | (odds >= rules.faint)).all())
        expected = float(probability[cand].sum())

        # Channels of the candidates
        g = np.full(len(cand), gains[0]) if len(gains) == 1 else device_power(energy[cand], v, n, rules)
        faintest = faintest_power(g, probability[cand], rules)
        if member + 1 < len(members) and (error > rules.handover * before or i + 1 >= rules.max_iterations):
            member = member + 1 if i + 1 < rules.max_iterations else len(members) - 1
        before = error
        mean, var = _denoise(members[member], z[cand], v, g, cand)

        # Extrinsic message to module A
        if covariance is not None and probability[cand].sum() > 0:
            share = probability[cand] @ var / probability[cand].sum()
            unknown = np.minimum(y.shape[2] * share, 8 * each)
        ratio = alpha(probability[cand], var, v, k, rules)
        x_post = np.zeros_like(x)
        x_post[cand] = probability[cand, None, None] * np.einsum("np,apm->anm", basis, mean)
        history.append(
            BeamspaceIteration(x_pri, v_a, v, energy, null, odds, probability, cand, g, mean, var, ratio, member)
        )
        gamma = rules.damping if i >= rules.damp_from else 1.0
        x_pri = damp(extrinsic(x_post, x, ratio), x_pri, gamma)
        if rules.variance == "paper":
            predicted = damp(extrinsic_variance(v, ratio), v_a, gamma)
    return history


def best(history: list[BeamspaceIteration], rules: Rules = DEFAULT) -> BeamspaceIteration:
    """The iteration whose denoiser saw the least noise (tracked variance averaged over beams).

    The next one of a cascade does better with about as much noise: its first iteration may see `rules.near_best` times.
    """
    kept = before = history[0]
    for now in history[1:]:
        allowed = rules.near_best if now.member > before.member else 1.0
        if now.v.mean() < allowed * kept.v.mean():
            kept = now
        before = now
    return kept


def _denoise(prior: BeamspacePrior, z: Complex, v: Real, power: Real, devices: Indices) -> tuple[Complex, Real]:
    """Denoise at unit power and scale back: the prior sees z / sqrt(power), v / power."""
    if not len(devices):
        return np.zeros_like(z), np.zeros((0, z.shape[2]))
    root = np.sqrt(power)
    mean, var = prior.denoise(z / root[:, None, None], v / power[:, None], devices)
    return np.asarray(mean) * root[:, None, None], np.asarray(var) * power[:, None]
