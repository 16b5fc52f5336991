"""Activity of a device: Cai (30), (31) in the log domain, and the receiver's structured likelihood ratio."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from .linear import Array, Real


def sigmoid(x: Array) -> Real:
    """1 / (1 + exp(-x)) without overflow."""
    small = np.exp(-np.abs(x))
    return np.asarray(np.where(x >= 0, 1.0, small) / (1 + small))


def log_odds(llr: Array, activity_rate: float) -> Real:
    """Posterior log-odds llr + log(rate / (1 - rate)) of "active"."""
    return np.asarray(llr + np.log(activity_rate) - np.log1p(-activity_rate))


def activity_llr(x_pri: Array, v_pri: Array, h_ext: Array, tau_ext: Array) -> Real:
    """Log-likelihood ratio of "active" in Cai (30), one per device.

    lambda_post = sigmoid(log_odds(llr, rate)). erratum: the products in (30) have exponents in the thousands
    (N M = 1536) and overflow; their logarithms are subtracted instead.

    Parameters
    ----------
    x_pri : array_like, shape (K, N, M)
        Input of module B.
    v_pri : array_like, shape (M,)
        Its variance per column.
    h_ext : array_like, shape (K, N, M)
        Extrinsic mean of the channel denoiser, (27).
    tau_ext : array_like, shape (K, M) or (M,)
        Extrinsic variance of the channel denoiser, (26).

    Returns
    -------
    ndarray of float64, shape (K,)
    """
    n, total = x_pri.shape[1], v_pri + tau_ext
    inactive = np.sum(np.abs(x_pri) ** 2, 1) / v_pri + n * np.log(v_pri)  # -log CN(0; x_pri, v I) - N log pi
    active = np.sum(np.abs(x_pri - h_ext) ** 2, 1) / total + n * np.log(total)
    return np.asarray(np.sum(inactive - active, axis=1))


def decide(probability: Array, threshold: float = 0.5) -> npt.NDArray[np.int64]:
    """Indices of the devices decided active, Cai (31)."""
    return np.flatnonzero(probability >= threshold)


def structured_llr(
    energy: Array,
    null: Array,
    eigenvalues: Array,
    beam_gain: Array,
    beam_weight: Array,
    powers: Array,
    power_weight: Array,
) -> Real:
    """Log-likelihood ratio of "active" from KLT coefficients in beamspace, without the prior log-odds.

    A coefficient is CN(0, null[p, b]) if the device is inactive. If it is active with received power g_j,
    coefficient p in beam b is CN(0, null[p, b] + a_i g_j lambda_p) with one beam gain a_i in every beam,
    drawn with weight w_i: llr = log sum_j u_j prod_b sum_i w_i prod_p CN(z; 0, null + a_i g_j lambda_p) /
    CN(z; 0, null).

    Parameters
    ----------
    energy : array_like, shape (K, P, M)
        |z|^2 of every device, coefficient and beam.
    null : array_like, shape (P, M)
        Mean energy under "inactive", positive.
    eigenvalues : array_like, shape (P,)
        Mean power lambda_p of every coefficient for a unit-power channel.
    beam_gain, beam_weight : array_like, shape (G,)
        Mixture of beam powers a_i, w_i; the weights sum to one.
    powers, power_weight : array_like, shape (J,)
        Mixture of received powers g_j, u_j; the weights sum to one. One power of weight one is a known power.

    Returns
    -------
    ndarray of float64, shape (K,)
    """
    ratio = energy / null
    spectrum = np.asarray(eigenvalues, np.float64)[:, None] / null  # (P, M)
    per_power = []
    for power, weight_j in zip(powers, power_weight, strict=True):
        per_gain = []
        for gain, weight_i in zip(beam_gain, beam_weight, strict=True):
            snr = float(gain) * float(power) * spectrum
            llr = ratio * (snr / (1 + snr)) - np.log1p(snr)  # log CN(z; 0, null (1 + snr)) / CN(z; 0, null)
            per_gain.append(llr.sum(1) + np.log(float(weight_i)))
        beams = np.logaddexp.reduce(per_gain, axis=0)  # (K, M)
        per_power.append(beams.sum(1) + np.log(float(weight_j)))
    return np.asarray(np.logaddexp.reduce(per_power, axis=0))
