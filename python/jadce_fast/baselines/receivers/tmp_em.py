"""Turbo message passing on lines over blocks of subcarriers, with expectation maximisation (TMP-EM).

Jiang, Yue, Yuan, Zuo, "Massive Connectivity Over MIMO-OFDM: Joint Activity Detection and Channel Estimation With
Frequency Selectivity Compensation", IEEE Trans. Wireless Commun., 2022 (arXiv 2104.05169).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ... import _check
from ...detection import Reason
from ...pilots import Pilots
from .block_receiver import (
    BlockReceiver,
    Complex,
    Found,
    Power,
    check_plan,
    check_power,
    log_odds,
    mean_power,
    plans_anew,
    sigmoid,
)

_SETTLED = 1e-3  # relative change of the variances that ends the loop
_LEAST = 1e-9  # bounds of extrinsic ratios, from both sides


@plans_anew
def tmp_em(
    pilots: Pilots | npt.ArrayLike,
    antennas: int,
    activity_rate: float = 0.05,
    power: Power = "unknown",
    *,
    blocks: int | None = None,
    damping: float = 0.8,
    iterations: int = 40,
) -> BlockReceiver:
    """Plan turbo message passing on a block-wise linear model of channels over subcarriers.

    On each of a number of blocks of subcarriers a channel is a mean and a slope, which are independent and Gaussian
    for an active device. Expectation maximisation learns the variances of both, and of the noise with what the model
    leaves out.

    Parameters
    ----------
    pilots : Pilots or array_like of complex, shape (T, N, K)
    antennas : int
        M.
    activity_rate : float
    power : "unknown" or float
        Mean received power of an active device, from which its variances are learned.
    blocks : int, optional
        Number of blocks, of two subcarriers or more each; by default the most of four subcarriers or more.
    damping : float
        Weight of the new message, in (0, 1].
    iterations : int
        Most iterations.

    Returns
    -------
    BlockReceiver

    Raises
    ------
    ValueError, TypeError
        If an argument is out of range, or the blocks do not divide the subcarriers.
    """
    planned, m, rate = check_plan(pilots, antennas, activity_rate)
    level, most = check_power(power), _check.integer("iterations", iterations, 1)
    new = _check.real("damping", damping, 1e-6, 1.0, closed=True)
    count = _blocks(planned.subcarriers, blocks)
    width, symbols, devices = planned.subcarriers // count, planned.symbols, planned.devices
    offset = np.tile(np.arange(width) - (width - 1) / 2, symbols).astype(np.float32)  # (T B,), symbols outermost
    q = planned.select().reshape(symbols, count, width, devices).transpose(1, 0, 2, 3)
    array = np.ascontiguousarray(q.reshape(count, symbols * width, devices))
    adjoint = np.ascontiguousarray(array.conj().transpose(0, 2, 1))
    along = np.stack([np.ones_like(offset), offset])  # (2, T B): what mean and slope are multiplied by

    def search(y: Complex, noise: float) -> Found:
        block = y.reshape(symbols, count, width, m).transpose(1, 0, 2, 3).reshape(count, symbols * width, m)
        g = mean_power(y, noise, planned, rate, level)
        prior = np.array([g, 0.1 * g / max(float(np.mean(offset**2)), 1e-9)])  # variances of mean and slope
        noise_em = noise
        x = np.zeros((2, count, devices, m), np.complex64)
        v = (rate * prior)[:, None] * np.ones(m)
        seen: Any = None
        seen_var: Any = None
        stopped: Reason = "iterations"
        history = []
        for _ in range(most):
            # Linear estimators of means and of slopes: each is noise to the other, and pilots are orthogonal.
            r = block - sum(along[i][:, None] * (array @ x[i]) for i in range(2))
            signal = devices * planned.power * np.einsum("ij,im->jm", along**2, v)  # (T B, M)
            w = 1 / (signal + noise_em)
            total = planned.power * np.einsum("ij,jm->im", along**2, w)  # (2, M)
            filtered = (w * r).astype(np.complex64)
            fresh = np.stack(
                [x[i] + (adjoint @ (along[i][:, None] * filtered)) / total[i].astype(np.float32) for i in range(2)]
            )
            fresh_var = np.maximum(1 / total - v, 1e-12 / total)
            if seen is not None:
                fresh, fresh_var = new * fresh + (1 - new) * seen, new * fresh_var + (1 - new) * seen_var
            seen, seen_var = fresh.astype(np.complex64), fresh_var

            # Noise, and what the model leaves out: posterior expectation of the squared error of a measurement.
            power_left = np.mean(np.abs(r) ** 2, axis=0)  # (T B, M)
            noise_em = float(np.mean((noise_em * w) ** 2 * power_left + signal * noise_em * w))

            # Activity and coefficients of all blocks and antennas.
            gain = prior[:, None] / (prior[:, None] + seen_var)  # (2, M)
            energy = np.abs(seen) ** 2
            entry = np.einsum("iqkm,im->k", energy, gain / seen_var) - count * float(
                np.sum(np.log1p(prior[:, None] / seen_var))
            )
            probability = sigmoid(entry + log_odds(rate))
            post_var = gain * seen_var
            square = np.einsum("iqkm,im->ikm", energy, gain**2) / count  # of the active estimate, mean over blocks
            p = probability[:, None]
            v_post = np.mean(p * (square + post_var[:, None]) - p**2 * square, axis=1)  # (2, M)
            ratio = np.clip(v_post / seen_var, _LEAST, 1 - 1e-6)
            factor = (probability[:, None] * gain[:, None] - ratio[:, None]) / (1 - ratio[:, None])  # (2, K, M)
            turbo, turbo_var = seen * factor[:, None].astype(np.float32), ratio * seen_var / (1 - ratio)
            change = float(np.max(np.abs(turbo_var - v) / v))
            x, v = (new * turbo + (1 - new) * x).astype(np.complex64), new * turbo_var + (1 - new) * v

            weight = max(float(np.sum(probability)), 1e-12)
            learned = np.einsum("k,ikm->i", probability, square) / (m * weight) + post_var.mean(1)
            prior = np.maximum(learned, 1e-9 * g)
            history.append({"error_var": float(np.mean(v)), "candidates": float(np.sum(probability))})
            if not np.isfinite(change):
                stopped = "diverged"
                break
            if change < _SETTLED:
                stopped = "fixed point"
                break
        active = np.flatnonzero(probability >= 0.5)
        s = seen[:, :, active] * gain[:, None, None].astype(np.float32) * probability[active, None].astype(np.float32)
        line = np.stack([np.ones(width), offset[:width]]).astype(np.float32)
        channels = np.einsum("iqam,ib->aqbm", s, line, optimize=True).reshape(len(active), planned.subcarriers, m)
        # Beside the error of means and slopes: what lines leave out of the channels, which was learned as noise.
        left_out = max(noise_em - noise, 0.0) / (planned.power * max(len(active), 1))
        error = float(np.sum(np.mean(line**2, axis=1) * np.mean(post_var, axis=1))) + left_out
        return Found(
            probability,
            channels,
            np.full(len(active), error),
            len(history),
            stopped,
            freedom=2.0 * count,
            history=history,
        )

    return BlockReceiver(planned, m, search)


def _blocks(subcarriers: int, blocks: int | None) -> int:
    """Number of blocks, or an error."""
    possible = [b for b in range(1, subcarriers // 2 + 1) if subcarriers % b == 0]
    if not possible:
        raise ValueError(f"pilots: expected two subcarriers or more for lines over them, found {subcarriers}")
    if blocks is None:
        return max([b for b in possible if subcarriers // b >= 4], default=possible[-1])
    number = _check.integer("blocks", blocks, 1)
    if number not in possible:
        raise ValueError(f"blocks: expected one of {possible} for {subcarriers} subcarriers, found {number}")
    return number
