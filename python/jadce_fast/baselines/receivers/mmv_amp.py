"""MMV-AMP of Liu and Yu, "Massive Connectivity With Massive MIMO - Part I", IEEE Trans. Signal Process., 2018."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from scipy import special

from ... import _check
from ...detection import Reason
from ...pilots import Pilots
from .block_receiver import (
    BlockReceiver,
    Complex,
    Found,
    PilotProduct,
    Power,
    check_plan,
    check_power,
    log_odds,
    mean_power,
    plans_anew,
    sigmoid,
)

_SETTLED = 1e-4  # relative change of the effective noise that ends the loop
_NODES = 4000  # of the quadrature over a device's energy


@plans_anew
def mmv_amp(
    pilots: Pilots | npt.ArrayLike,
    antennas: int,
    activity_rate: float = 0.05,
    power: Power = "unknown",
    *,
    iterations: int = 50,
) -> BlockReceiver:
    """Plan approximate message passing with the vector denoiser of a Bernoulli-Gaussian device.

    On one subcarrier it is the paper's algorithm. With N of them a device's vector has N M entries, of which all are
    independent and share its activity.

    Parameters
    ----------
    pilots : Pilots or array_like of complex, shape (T, N, K)
    antennas : int
        M.
    activity_rate : float
    power : "unknown" or float
        Mean received power of an active device, the same for all.
    iterations : int
        Most iterations.

    Returns
    -------
    BlockReceiver

    Raises
    ------
    ValueError, TypeError
        If an argument is out of range.
    """
    planned, m, rate = check_plan(pilots, antennas, activity_rate)
    level, most = check_power(power), _check.integer("iterations", iterations, 1)
    product, entries = PilotProduct(planned), planned.subcarriers * m
    symbols, devices = planned.symbols, planned.devices
    amplitude = np.float32(math.sqrt(symbols * planned.power))  # columns have unit energy when divided by it

    def search(y: Complex, noise: float) -> Found:
        beta = mean_power(y, noise, planned, rate, level)
        block = np.ascontiguousarray(y.transpose(1, 0, 2)) / amplitude
        x: Complex = np.zeros((planned.subcarriers, devices, m), np.complex64)
        r: Complex = block
        history = []
        stopped: Reason = "iterations"
        floor = 1e-9 * noise / float(amplitude) ** 2
        tau = max(float(np.mean(np.abs(r) ** 2)), floor)
        for _ in range(most):
            z = x + product.adjoint(r) / amplitude
            energy = np.einsum("nkm,nkm->k", z.real, z.real) + np.einsum("nkm,nkm->k", z.imag, z.imag)
            probability, gain, slope = denoiser(energy.astype(np.float64), tau, beta, entries, rate)
            x = (z * (probability * gain)[:, None]).astype(np.complex64)
            onsager = devices / symbols * float(np.mean(slope))
            r = block - product.measure(x) / amplitude + np.float32(onsager) * r
            last, tau = tau, max(float(np.mean(np.abs(r) ** 2)), floor)
            history.append({"error_var": tau, "candidates": float(np.sum(probability))})
            if not np.isfinite(tau) or tau > 1e3 * history[0]["error_var"]:
                stopped = "diverged"
                break
            if abs(last - tau) < _SETTLED * tau:
                stopped = "fixed point"
                break
        active = np.flatnonzero(probability >= 0.5)
        channels = x[:, active].transpose(1, 0, 2)
        p = probability[active]
        variance = p * gain * last + (1 - p) * p * gain**2 * energy[active] / entries
        return Found(
            probability, channels, variance, len(history), stopped, freedom=planned.subcarriers, history=history
        )

    return BlockReceiver(planned, m, search)


def denoiser(
    energy: npt.NDArray[np.float64], tau: float, beta: float, entries: int, rate: float
) -> tuple[npt.NDArray[np.float64], float, npt.NDArray[np.float64]]:
    """Posterior-mean denoiser of vectors of `entries` entries, CN(0, beta) with probability `rate`, else zero.

    Returns
    -------
    probability : ndarray
        That a vector of this energy in noise of variance `tau` is active; the estimate is probability * gain * z.
    gain : float
    slope : ndarray
        Mean derivative of the estimate's entries, for the Onsager term.
    """
    gain = beta / (beta + tau)
    excess = gain / tau  # 1 / tau - 1 / (tau + beta)
    probability = sigmoid(excess * energy - entries * math.log1p(beta / tau) + log_odds(rate))
    slope = probability * gain * (1 + (1 - probability) * excess * energy / entries)
    return np.asarray(probability, np.float64), gain, np.asarray(slope)


def state_evolution(
    noise: float, beta: float, entries: int, rate: float, load: float, *, iterations: int = 50
) -> list[float]:
    """Effective noise of every iteration, for i.i.d. pilots with columns of unit energy.

    Parameters
    ----------
    noise : float
        Noise variance over the energy of a pilot sequence, T P.
    beta : float
        Received power of an active device.
    entries : int
        Entries of its vector: M, or N M.
    rate : float
    load : float
        K / T.
    iterations : int

    Returns
    -------
    list of float
        Variance that the denoiser sees in iteration 0, 1, ...
    """
    unit = special.gammaincinv(entries, (np.arange(_NODES) + 0.5) / _NODES)  # energies in units of the variance
    tau = [noise + load * rate * beta]
    while len(tau) < iterations:
        t = tau[-1]
        p_active, gain, _ = denoiser(unit * (t + beta), t, beta, entries, rate)
        p_idle, _, _ = denoiser(unit * t, t, beta, entries, rate)
        active = gain * t + np.mean((1 - p_active) ** 2 * unit) * gain**2 * (t + beta) / entries
        idle = np.mean(p_idle**2 * unit) * gain**2 * t / entries
        tau.append(float(noise + load * (rate * active + (1 - rate) * idle)))
    return tau


def error_probabilities(tau: float, beta: float, entries: int, rate: float) -> tuple[float, float]:
    """Probabilities of a missed detection and of a false alarm at effective noise `tau`, in closed form.

    A device is declared active where its posterior probability is at least one half, which is a threshold on its
    energy; the energy has a Gamma distribution of shape `entries` and scale tau + beta (active) or tau (idle).
    """
    gain = beta / (beta + tau)
    threshold = (entries * math.log1p(beta / tau) - log_odds(rate)) * tau / gain
    missed = special.gammainc(entries, threshold / (tau + beta))
    return float(missed), float(special.gammaincc(entries, threshold / tau))
