"""Cai's Algorithms 1 (TMP) and 2 (STMP-JADCE), line by line on the dense (K, N, M) state, with any denoiser.

A denoiser is a function (h_pri (A, N, M), tau (A, M), devices (A,)) -> (mean (A, N, M), var (A, M)):
posterior mean and posterior variance per column of channels seen in white noise of variance tau per column,
Cai (22), (23).

errata: (19) has h_pri where the posterior variance needs h_post; denoisers return the latter. (56), (63)
average the variance over all K devices although nearly all are inactive and foreign to the prior; here
tau_post, and with it (26), (30), (33), (36), stays per device, and only (38) averages.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .activity import activity_llr, log_odds, sigmoid
from .linear import (
    Array,
    Complex,
    PilotsLike,
    Real,
    damp,
    extrinsic,
    extrinsic_ratio,
    extrinsic_variance,
    linear_mmse,
    pilot_array,
    residual,
    residual_variance,
)

Denoiser = Callable[[Complex, Real, npt.NDArray[np.int64]], tuple[Complex, Real]]
Score = Callable[[Complex, Real], Array]


@dataclass(frozen=True)
class Iteration:
    """Every message of one iteration; names as in the paper, `a` and `b` for modules A and B.

    Means are (K, N, M), variances of module A and B (M,), of the channel denoiser (K, M), probabilities (K,).
    """

    x_pri_a: Complex
    v_pri_a: Real
    x_pri_b: Complex
    v_pri_b: Real
    h_post: Complex
    tau_post: Real
    probability: Real
    x_post_b: Complex
    v_post_b: Real
    x_ext_b: Complex
    v_ext_b: Real


def gaussian_denoiser(power: float = 1.0) -> Denoiser:
    """Denoiser of i.i.d. CN(0, power) channel entries: Algorithm 1 with it is the paper's BG-TMP."""

    def denoise(h_pri: Complex, tau: Real, devices: npt.NDArray[np.int64]) -> tuple[Complex, Real]:
        gain = power / (power + tau)
        return gain[:, None, :] * h_pri, gain * tau

    return denoise


def score_denoiser(score: Score, second_score: Score) -> Denoiser:
    """Denoiser from first- and second-order scores by Tweedie's formulas, Cai (55), (56) and (62), (63).

    Parameters
    ----------
    score : callable (h (A, N, M), tau (A, M)) -> (A, N, M)
        Gradient of log p(h) where h has noise of variance tau: -h / (g + tau) for CN(0, g) channels.
    second_score : callable (h (A, N, M), tau (A, M)) -> (A, N, M)
        Diagonal of the Hessian of log p(h), real: -1 / (g + tau) for CN(0, g) channels.
    """

    def denoise(h_pri: Complex, tau: Real, devices: npt.NDArray[np.int64]) -> tuple[Complex, Real]:
        mean = h_pri + tau[:, None, :] * score(h_pri, tau)  # (62)
        var = tau + tau**2 * np.real(second_score(h_pri, tau)).mean(1)  # (63), erratum: per device
        return mean, var

    return denoise


def normalise(h_pri: Array, tau_pri: Array, floor: float = 2e-2) -> tuple[Complex, Real, Real]:
    """Scale the denoiser's input to unit channel power, Cai (59)-(61).

    erratum: (60) scales every device by its own power and (61) the noise by the mean of all powers, so that
    the network is told a wrong noise level; here both are per device. erratum: |H_pri|^2 - N M tau is
    negative for half of the inactive devices; the power is kept above `floor` times the noise.

    Parameters
    ----------
    h_pri : array_like, shape (K, N, M)
    tau_pri : array_like, shape (M,) or (K, M)
    floor : float
        Smallest power in units of the mean noise variance.

    Returns
    -------
    h_bar : ndarray, shape (K, N, M)
    tau_bar : ndarray, shape (K, M)
    power : ndarray, shape (K,)
    """
    noise = tau_pri.mean(-1)
    power = np.maximum(np.mean(np.abs(h_pri) ** 2, axis=(1, 2)) - noise, floor * noise)  # (59) per entry
    h_bar = h_pri / np.sqrt(power)[:, None, None]  # (60)
    tau_bar = tau_pri / power[:, None]  # (61)
    return h_bar, tau_bar, power


def rescale(mean: Array, var: Array, power: Array) -> tuple[Complex, Real]:
    """Undo `normalise` on a posterior mean (K, N, M) and variance (K, M), Cai (64), (65)."""
    return mean * np.sqrt(power)[:, None, None], var * power[:, None]  # erratum: (65) per device, as (61)


def combine(x_pri: Array, v_pri: Array, h_ext: Array, tau_ext: Array) -> tuple[Complex, Real]:
    """Posterior of an active device: mean (K, N, M), variance (K, M), Cai (33), (34).

    erratum: with h_pri = x_pri and tau_pri = v_pri these collapse to h_post and tau_post, which the
    algorithms use directly; h_ext and tau_ext matter in (30) alone.
    """
    v_tilde = 1 / (1 / v_pri + 1 / tau_ext)  # (33)
    weighted = x_pri / v_pri + h_ext / tau_ext[:, None, :]
    return np.asarray(v_tilde[:, None, :] * weighted), v_tilde  # (34)


def posterior_variance(probability: Array, x_tilde: Array, v_tilde: Array) -> Real:
    """Variance of module B's belief per column, mean over devices and subcarriers, Cai (36), (38)."""
    p = probability[:, None, None]
    power = np.abs(x_tilde) ** 2
    v = p * (power + v_tilde[:, None, :]) - p**2 * power  # (36) with (35)
    return np.asarray(v.mean((0, 1)))  # (38)


def tmp(
    y: Array,
    pilots: PilotsLike,
    denoiser: Denoiser,
    noise_var: float,
    activity_rate: float,
    *,
    iterations: int = 10,
    variance: str = "residual",
    v_pri: Array | None = None,
    floor: float = 1e-3,
) -> list[Iteration]:
    """Algorithm 1, the turbo message passing framework.

    Parameters
    ----------
    y : array_like, shape (T, N, M)
    pilots : Pilots or ndarray, shape (T, N, K)
    denoiser : callable
        See the module's description.
    noise_var, activity_rate : float
        Noise variance per entry; lambda.
    iterations : int
        Number of iterations; there is no other stopping rule.
    variance : {"residual", "paper"}
        Module A's prior variance: measured from the residual (`residual_variance`), or predicted by (41).
    v_pri : array_like, shape (M,), optional
        First prior variance under "paper"; measured from `y` if left out.
    floor : float
        See `residual_variance`.

    Returns
    -------
    list of Iteration
        Decide the last one's `probability` by (31).

    Raises
    ------
    ValueError
        If `variance` is not one of the two rules.
    """
    settings = iterations, variance, v_pri, floor
    return _algorithm(y, pilots, denoiser, noise_var, activity_rate, *settings, damping=1.0, scaled=False)


def stmp(
    y: Array,
    pilots: PilotsLike,
    denoiser: Denoiser,
    noise_var: float,
    activity_rate: float,
    *,
    damping: float = 0.8,
    iterations: int = 10,
    variance: str = "residual",
    v_pri: Array | None = None,
    floor: float = 1e-3,
) -> list[Iteration]:
    """Algorithm 2, STMP-JADCE: Algorithm 1 with damping (57), (58) and power normalisation (60)-(65).

    `denoiser` is for unit-power channels (`score_denoiser` makes one from score networks), `damping` is gamma
    in (0, 1]; everything else as in `tmp`.
    """
    settings = iterations, variance, v_pri, floor
    return _algorithm(y, pilots, denoiser, noise_var, activity_rate, *settings, damping=damping, scaled=True)


def _algorithm(
    y: Array,
    pilots: PilotsLike,
    denoiser: Denoiser,
    noise_var: float,
    rate: float,
    iterations: int,
    variance: str,
    v_pri: Array | None,
    floor: float,
    damping: float,
    scaled: bool,
) -> list[Iteration]:
    """Algorithms 1 and 2; comments give the line of Algorithm 2 (or of 1)."""
    if variance not in ("residual", "paper"):
        raise ValueError(f'variance: expected "residual" or "paper", found {variance!r}')
    q, y = pilot_array(pilots), np.asarray(y, np.complex128)
    devices = np.arange(q.shape[2])
    x_pri_a = np.zeros((q.shape[2], *y.shape[1:]), np.complex128)  # line 1
    v_pri_a = residual_variance(y, q, noise_var, floor) if v_pri is None else np.asarray(v_pri, np.float64)
    history: list[Iteration] = []
    for i in range(iterations):
        if variance == "residual":
            v_pri_a = residual_variance(residual(y, q, x_pri_a), q, noise_var, floor)

        # Linear estimator
        x_post_a, v_post_a = linear_mmse(y, q, x_pri_a, v_pri_a, noise_var)  # line 4: (7), (8)
        ratio = extrinsic_ratio(v_post_a, v_pri_a, high=1.0 - 1e-15)  # always below one in module A
        x_pri_b = extrinsic(x_post_a, x_pri_a, ratio)  # line 5: (11)
        v_pri_b = extrinsic_variance(v_pri_a, ratio)  # line 5: (10)
        if i > 0:
            x_pri_b = damp(x_pri_b, history[-1].x_pri_b, damping)  # line 6
            v_pri_b = damp(v_pri_b, history[-1].v_pri_b, damping)  # line 7

        # Channel and device activity denoisers
        h_pri = x_pri_b  # line 8
        tau_pri = np.broadcast_to(v_pri_b, (len(devices), len(v_pri_b)))
        if scaled:
            h_bar, tau_bar, power = normalise(h_pri, tau_pri)  # line 9: (60), (61)
            mean, var = denoiser(h_bar, tau_bar, devices)  # line 10: (62), (63)
            h_post, tau_post = rescale(mean, var, power)  # line 11: (64), (65)
        else:
            h_post, tau_post = denoiser(h_pri, tau_pri, devices)  # Algorithm 1, line 10: (22), (23)
        beta = extrinsic_ratio(tau_post, tau_pri)
        h_ext = extrinsic(h_post, h_pri, beta[:, None, :])  # line 12: (27)
        tau_ext = extrinsic_variance(tau_pri, beta)  # line 12: (26)
        llr = activity_llr(x_pri_b, v_pri_b, h_ext, tau_ext)
        probability = sigmoid(log_odds(llr, rate))  # line 13: (30)
        x_post_b = probability[:, None, None] * h_post  # line 14: (35), erratum: (34) is h_post
        v_post_b = posterior_variance(probability, h_post, tau_post)  # line 14: (38), (33) is tau_post
        ratio = extrinsic_ratio(v_post_b, v_pri_b)
        x_ext_b = extrinsic(x_post_b, x_pri_b, ratio)  # line 15: (42)
        v_ext_b = extrinsic_variance(v_pri_b, ratio)  # line 15: (41)
        module_b = h_post, tau_post, probability, x_post_b, v_post_b, x_ext_b, v_ext_b
        history.append(Iteration(x_pri_a, v_pri_a, x_pri_b, v_pri_b, *module_b))
        if i > 0:
            x_pri_a = damp(x_ext_b, x_pri_a, damping)  # line 16: (57)
            v_pri_a = damp(v_ext_b, v_pri_a, damping)  # line 17: (58)
        else:
            x_pri_a, v_pri_a = x_ext_b, v_ext_b
    return history
