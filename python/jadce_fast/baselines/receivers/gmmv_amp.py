"""Generalized MMV-AMP.

Ke, Gao, Wu, Gao, Schober, "Compressive Sensing-Based Adaptive Active User Detection and Channel Estimation: Massive
Access Meets Massive MIMO", IEEE Trans. Signal Process., 2020, Algorithm 1.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import special

from ... import _check
from ...detection import Reason
from ...pilots import Pilots
from .block_receiver import BlockReceiver, Complex, Found, PilotProduct, Real, check_plan, plans_anew, sigmoid

_FIRST_SNR = 100.0  # from which the noise variance is learned, as in the paper
_LEAST = 1e-6  # probabilities are kept this far from certainty


@plans_anew
def gmmv_amp(
    pilots: Pilots | npt.ArrayLike,
    antennas: int,
    *,
    damping: float = 0.5,
    iterations: int = 200,
    tolerance: float = 1e-4,
) -> BlockReceiver:
    """Plan generalized MMV-AMP with structured sparsity over antennas and subcarriers.

    Every entry of a device's channel is Bernoulli-Gaussian; expectation maximisation learns mean and variance of each
    (subcarrier, antenna), its noise variance, and the probability of a device being active, which is the mean of its
    entries' posterior probabilities. The receiver uses neither the activity rate nor the noise variance.

    Parameters
    ----------
    pilots : Pilots or array_like of complex, shape (T, N, K)
        A device's power is taken to be the same in all symbols of a subcarrier.
    antennas : int
        M.
    damping : float
        Weight of the previous message, in [0, 1).
    iterations : int
        Most iterations.
    tolerance : float
        Relative change of the estimate that ends the loop.

    Returns
    -------
    BlockReceiver

    Raises
    ------
    ValueError, TypeError
        If an argument is out of range.
    """
    planned, m, _ = check_plan(pilots, antennas)
    old = _check.real("damping", damping, 0.0, 1 - 1e-6, closed=True)
    most, enough = _check.integer("iterations", iterations, 1), _check.real("tolerance", tolerance)
    product, devices = PilotProduct(planned), planned.devices
    rate = first_rate(planned.symbols / devices)

    def search(y: Complex, noise: float) -> Found:
        states = [
            _Subcarrier(product.array[n], y[:, n], float(old), np.full(devices, rate, np.float32))
            for n in range(planned.subcarriers)
        ]
        activity = np.full(devices, rate, np.float32)
        stopped: Reason = "iterations"
        history = []
        for _ in range(most):
            odds = special.logit(activity)
            changes = [state.iterate(odds) for state in states]
            activity = np.clip(np.mean([state.p.mean(1) for state in states], axis=0), _LEAST, 1 - _LEAST)
            changed, size = np.sum(changes, axis=0)
            spread = float(np.mean([state.spread for state in states]))
            history.append({"error_var": spread / devices, "candidates": float(activity.sum())})
            if not np.isfinite(changed):
                stopped = "diverged"
                break
            if changed <= enough**2 * size:
                stopped = "fixed point"
                break
        active = np.flatnonzero(activity >= 0.5)
        variance = np.mean([state.v[active] for state in states], axis=(0, 2))
        channels = np.stack([state.h[0, active] + 1j * state.h[1, active] for state in states], axis=1)
        return Found(activity, channels, variance, len(history), stopped, freedom=planned.subcarriers, history=history)

    return BlockReceiver(planned, m, search)


class _Subcarrier:
    """Messages and learned parameters of one subcarrier, which stay in a processor's cache while they are updated.

    Complex numbers are pairs along the first axis, so that all arithmetic is real and vectorised.

    Attributes
    ----------
    h : ndarray of float32, shape (2, K, M)
        Posterior means.
    v, p : ndarray of float32, shape (K, M)
        Posterior variances and probabilities.
    spread : ndarray, shape (M,)
        Variance of a predicted measurement.
    """

    def __init__(self, pilots: Complex, y: Complex, old: float, p: Real) -> None:
        (symbols, devices), antennas = pilots.shape, y.shape[1]
        re, im = np.ascontiguousarray(pilots.real), np.ascontiguousarray(pilots.imag)
        self._pilots = np.block([[re, -im], [im, re]])  # (2 T, 2 K)
        self._adjoint = np.ascontiguousarray(self._pilots.T)
        self._strength = np.mean(re**2 + im**2, axis=0)  # (K,)
        self._y, self._old = np.stack([y.real, y.imag]), np.float32(old)
        energy = np.maximum(np.mean(_square(self._y), axis=0), np.float32(1e-30))  # (M,)
        self._noise = energy / np.float32(1 + _FIRST_SNR)
        self._prior_var = (energy - self._noise) / self._strength.sum()
        self._least = np.float32(1e-12) * energy
        self._prior_mean = np.zeros((2, 1, antennas), np.float32)
        self.h, self.v = np.zeros((2, devices, antennas), np.float32), np.tile(self._prior_var, (devices, 1))
        self.p, self.spread, self._z = p[:, None], np.ones_like(energy), self._y
        self._symbols = symbols

    def iterate(self, odds: Real) -> tuple[float, float]:
        """One iteration at these prior log-odds (K,); squared norms of the change of `h`, and of `h`."""
        # Factor nodes: predicted measurements and their variance, damped by the old value.
        old, antennas = self._old, self._y.shape[2]
        onsager = (self._y - self._z) / (self._noise + self.spread)
        self.spread = old * self.spread + (1 - old) * (self._strength @ self.v)
        predicted = (self._pilots @ self.h.reshape(-1, antennas)).reshape(self._y.shape)
        self._z = old * self._z + (1 - old) * (predicted - onsager * self.spread)
        # Variable nodes: every entry seen in Gaussian noise of variance d.
        weight = self._noise + self.spread
        d = weight / (self._symbols * self._strength.mean())
        filtered = ((self._y - self._z) * (d / weight)).reshape(-1, antennas)
        c = (self._adjoint @ filtered).reshape(self.h.shape)
        c += self.h
        total = d + self._prior_var
        llr = _square(c) / d - _square(c - self._prior_mean) / total + np.log(d / total)
        self.p = p = sigmoid(llr + odds[:, None])
        c *= self._prior_var / total
        c += self._prior_mean * (d / total)
        moment = p * (_square(c) + self._prior_var * d / total)
        last, self.h = self.h, c * p
        self.v = moment - _square(self.h)
        # Expectation maximisation.
        weight_p = np.maximum(p.sum(0), np.float32(1e-20))
        self._prior_mean = self.h.sum(1, keepdims=True) / weight_p
        self._prior_var = np.maximum(moment.sum(0) / weight_p - _square(self._prior_mean)[0], self._least)
        ratio = 1 + self.spread / self._noise
        self._noise = np.mean(_square(self._y - self._z), axis=0) / ratio**2 + self.spread / ratio
        last -= self.h
        return float(np.vdot(last, last)), float(np.vdot(self.h, self.h))


def first_rate(ratio: float) -> float:
    """First probability of "active": the most that l1 recovery tells apart at T / K (Vila and Schniter 2013)."""
    a = np.linspace(0.01, 10, 1024)
    tail = (1 + a**2) * special.ndtr(-a) - a * np.exp(-(a**2) / 2) / np.sqrt(2 * np.pi)
    return float(np.clip(ratio * np.max((1 - 2 * tail / ratio) / (1 + a**2 - 2 * tail)), _LEAST, 0.5))


def _square(x: Real) -> Real:
    return np.asarray(x[0] * x[0] + x[1] * x[1])
