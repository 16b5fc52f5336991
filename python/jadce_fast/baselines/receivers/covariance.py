"""Covariance-based activity detection by coordinate descent, and LMMSE on what it detects.

Fengler, Haghighatshoar, Jung, Caire, "Non-Bayesian Activity Detection, Large-Scale Fading Coefficient Estimation, and
Unsourced Random Access With a Massive MIMO Receiver", IEEE Trans. Inf. Theory, 2021, Algorithm 1 (maximum likelihood).
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
from .support import frequency_statistics, lmmse_on_support

_SETTLED = 1e-3  # change of every power, over their mean, that ends the descent
_STEPS = 4  # of the search along one coordinate where several subcarriers share it
_WORTH = 1e-3  # gradient over curvature's scale below which a silent device is not visited


@plans_anew
def covariance(
    pilots: Pilots | npt.ArrayLike,
    antennas: int,
    activity_rate: float = 0.05,
    power: Power = "unknown",
    *,
    prior: Any = None,
    iterations: int = 30,
) -> BlockReceiver:
    """Plan maximum likelihood of the devices' received powers from the sample covariance over antennas.

    Antennas are independent samples of CN(0, Q_n diag(g) Q_n^H + noise) on every subcarrier n; subcarriers are taken as
    independent. With the powers g found, a device is declared active by the likelihood ratio of the mean power
    against silence, the others' powers being what they are.

    Parameters
    ----------
    pilots : Pilots or array_like of complex, shape (T, N, K)
    antennas : int
        M.
    activity_rate : float
    power : "unknown" or float
        Mean received power of an active device.
    prior : str or object, optional
        Prior whose Karhunen-Loeve basis over subcarriers the LMMSE estimate of channels uses; by default subcarriers
        are independent.
    iterations : int
        Most sweeps over the devices.

    Returns
    -------
    BlockReceiver

    Raises
    ------
    ValueError, TypeError
        If an argument is out of range.
    """
    planned, m, rate = check_plan(pilots, antennas, activity_rate)
    level, statistics = check_power(power), frequency_statistics(prior, planned.subcarriers)
    most = _check.integer("iterations", iterations, 1)
    columns = np.ascontiguousarray(planned.select().transpose(2, 1, 0)).astype(np.complex128)  # (K, N, T)

    def search(y: Complex, noise: float) -> Found:
        block = y.transpose(1, 0, 2).astype(np.complex128)
        sample = block @ block.conj().transpose(0, 2, 1) / m
        g = mean_power(y, noise, planned, rate, level)
        gamma, inverse, sweeps, stopped = descend(columns, sample, noise, iterations=most)
        a, b = statistics_of(columns, inverse, sample)
        # The device's own part is taken out of the covariance (matrix inversion lemma).
        alone = 1 - gamma[:, None] * a
        a, b = a / alone, b / alone**2
        llr = m * np.sum(g * b / (1 + g * a) - np.log1p(g * a), axis=1)
        probability = sigmoid(llr + log_odds(rate))
        active = np.flatnonzero(probability >= 0.5)
        powers = np.maximum(gamma[active], 0.1 * g)
        channels, variance = lmmse_on_support(planned, y, active, noise, powers, statistics)
        return Found(probability, channels, variance, sweeps, stopped, freedom=statistics[0].shape[1])

    return BlockReceiver(planned, m, search)


def descend(
    columns: npt.NDArray[np.complex128], sample: npt.NDArray[np.complex128], noise: float, *, iterations: int = 30
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.complex128], int, Reason]:
    """Minimise sum_n log det S_n + tr(S_n^-1 C_n) over powers, S_n = Q_n diag(g) Q_n^H + noise.

    Parameters
    ----------
    columns : ndarray, shape (K, N, T)
        Pilot sequences.
    sample : ndarray, shape (N, T, T)
        Sample covariances C_n = Y_n Y_n^H / M.
    noise : float
    iterations : int
        Most sweeps.

    Returns
    -------
    powers : ndarray, shape (K,)
    inverse : ndarray, shape (N, T, T)
        S_n^-1.
    sweeps : int
    stopped : {"fixed point", "iterations"}
    """
    devices, subcarriers, symbols = columns.shape
    inverse = np.tile(np.eye(symbols) / noise, (subcarriers, 1, 1)).astype(np.complex128)
    gamma = np.zeros(devices)
    for sweep in range(1, iterations + 1):
        a, b = statistics_of(columns, inverse, sample)
        # Silent devices whose likelihood does not grow with their power stay silent and are not visited.
        slope = np.sum(b - a, axis=1)
        visit = np.flatnonzero((gamma > 0) | (slope > _WORTH * np.sum(a, axis=1)))
        moved = 0.0
        for k in visit[np.argsort(-slope[visit])]:
            u = (inverse @ columns[k, :, :, None])[:, :, 0]  # (N, T)
            adjoint = u.conj()
            a_k = (adjoint * columns[k]).sum(1).real
            b_k = (adjoint * (sample @ u[:, :, None])[:, :, 0]).sum(1).real
            step = _step(a_k, b_k, -gamma[k])
            if step == 0:
                continue
            gamma[k] += step
            moved = max(moved, abs(step))
            inverse -= (step / (1 + step * a_k))[:, None, None] * (u[:, :, None] * adjoint[:, None, :])
        if moved <= _SETTLED * max(float(np.mean(gamma[gamma > 0])) if np.any(gamma > 0) else 0.0, 1e-300):
            return gamma, inverse, sweep, "fixed point"
    return gamma, inverse, iterations, "iterations"


def statistics_of(
    columns: npt.NDArray[np.complex128], inverse: npt.NDArray[np.complex128], sample: npt.NDArray[np.complex128]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Quadratic forms q^H S^-1 q and q^H S^-1 C S^-1 q of every device and subcarrier, (K, N) each."""
    q = columns.transpose(1, 2, 0)  # (N, T, K)
    filtered = inverse @ q
    adjoint = filtered.conj()
    a = (adjoint * q).sum(1).real
    return a.T, (adjoint * (sample @ filtered)).sum(1).real.T


def _step(a: npt.NDArray[np.float64], b: npt.NDArray[np.float64], least: float) -> float:
    """Change of one power, at least `least`, that minimises sum_n log(1 + d a_n) - d b_n / (1 + d a_n).

    Its derivative vanishes where d is the mean of (b - a) / a^2 with weights (a / (1 + d a))^2, which is iterated.
    """
    slope, curvature = b - a, a * a
    step = max(float(slope.sum() / curvature.sum()), least)
    if len(a) == 1:
        return step
    for _ in range(_STEPS):
        weight = (1 + step * a) ** -2.0
        step = max(float(weight @ slope) / float(weight @ curvature), least)
    return step
