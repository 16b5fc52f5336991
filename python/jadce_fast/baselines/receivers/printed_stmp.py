"""STMP-JADCE as Cai et al. print it: Algorithm 2, errata corrected, with any prior, at the speed of matrix products."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from ... import _check
from ...detection import Reason
from ...pilots import Pilots
from ...priors.protocol import check_prior
from .block_receiver import BlockReceiver, Complex, Found, PilotProduct, Real, check_plan, log_odds, plans_anew, sigmoid

_LOW, _HIGH = 1e-12, 1 - 1e-6  # bounds of extrinsic ratios
_FLOOR = 2e-2  # least power of a device, in units of the noise that the denoiser sees
_LEAST = 1e-3  # least variance of module A under "residual", in units of noise / (K P)


@plans_anew
def printed_stmp(
    pilots: Pilots | npt.ArrayLike,
    antennas: int,
    prior: Any = "cdl",
    activity_rate: float = 0.05,
    *,
    damping: float = 0.8,
    iterations: int = 20,
    threshold: float = 0.5,
    learn_rate: bool = False,
    variance: Literal["paper", "residual"] = "paper",
) -> BlockReceiver:
    """Plan Algorithm 2 of Cai et al. on the dense state, `jadce_fast.reference.stmp` in single precision.

    All K devices go through the denoiser in every iteration.

    Parameters
    ----------
    pilots : Pilots or array_like of complex, shape (T, N, K)
        Orthogonal between symbols, Q Q^H = K P I, as of `dft_pilots`.
    antennas : int
        M.
    prior : str or object
        As of :class:`jadce_fast.Receiver`; "ncsn-c" are the paper's networks. Columns are antennas, or beams if the
        prior knows beams.
    activity_rate : float
        lambda.
    damping : float
        gamma of (57), (58), in (0, 1].
    iterations : int
    threshold : float
        lambda_th of (31): of the posterior probability.
    learn_rate : bool
        Learn lambda by expectation maximisation.
    variance : {"paper", "residual"}
        Module A's variance: predicted by (41), or measured from the residual.

    Returns
    -------
    BlockReceiver

    Raises
    ------
    ValueError, TypeError
        If an argument is out of range.
    """
    from ...priors.files import resolve_prior

    planned, m, rate = check_plan(pilots, antennas, activity_rate)
    known = check_prior(
        resolve_prior(prior, planned.subcarriers) if isinstance(prior, str) else prior, planned.subcarriers
    )
    gamma = _check.real("damping", damping, 1e-6, 1.0, closed=True)
    most = _check.integer("iterations", iterations, 1)
    limit = log_odds(_check.real("threshold", threshold))
    if variance not in ("paper", "residual"):
        raise ValueError(f"variance: expected 'paper' or 'residual', found {variance!r}")
    product, devices, symbols = PilotProduct(planned), planned.devices, planned.symbols
    strength = symbols * planned.power
    loop_gain = devices * planned.power
    index = np.arange(devices)

    def search(y: Complex, noise: float) -> Found:
        block = np.ascontiguousarray(y.transpose(1, 0, 2))
        if known.beamspace:
            block = np.fft.fft(block, axis=2, norm="ortho").astype(np.complex64)
        x = np.zeros((planned.subcarriers, devices, m), np.complex64)
        own = rate
        history: list[dict[str, float]] = []
        v: Any = None
        seen: Any = None
        seen_var: Any = None
        stopped: Reason = "iterations"
        for _ in range(most):
            r = block - product.measure(x)
            if v is None or variance == "residual":
                left = np.mean(np.abs(r) ** 2, axis=(0, 1), dtype=np.float64)
                v = np.maximum(left - noise, _LEAST * noise) / loop_gain  # (M,)
            # Linear estimator: (7), (8), (10), (11) for Q Q^H = K P I.
            fresh = x + product.adjoint(r) / np.float32(strength)
            fresh_var = (loop_gain * v + noise) / strength - v
            if seen is not None:
                fresh, fresh_var = _damp(fresh, seen, gamma), gamma * fresh_var + (1 - gamma) * seen_var
            seen, seen_var = fresh, fresh_var
            # Channel denoiser on normalised powers: (59) - (65).
            h = np.ascontiguousarray(seen.transpose(1, 0, 2))  # (K, N, M)
            post, post_var = _denoise(known, h, seen_var, index)
            # Activity: (26), (27), (30).
            beta = np.clip(post_var / seen_var, _LOW, _HIGH)  # (K, M)
            ext_var = beta * seen_var / (1 - beta)
            distance = np.sum(np.abs(post - h) ** 2, axis=1) / (1 - beta) ** 2  # |h_pri - h_ext|^2
            idle = np.sum(np.abs(h) ** 2, axis=1) / seen_var
            llr = idle - distance / (seen_var + ext_var) - planned.subcarriers * np.log1p(ext_var / seen_var)
            odds = llr.sum(1) + log_odds(own)
            probability = sigmoid(odds)
            # Belief and its variance: (35), (36), (38); extrinsic message: (41), (42), damped by (57), (58).
            p = probability.astype(np.float32)[:, None, None]
            square = np.mean(np.abs(post) ** 2, axis=1)
            p_var = np.mean(p[:, 0] * (square + post_var) - p[:, 0] ** 2 * square, axis=0)
            alpha = np.clip(p_var / seen_var, _LOW, _HIGH)
            turbo = ((p * post - alpha.astype(np.float32) * h) / (1 - alpha).astype(np.float32)).transpose(1, 0, 2)
            turbo_var = alpha * seen_var / (1 - alpha)
            first = not history
            x = turbo if first else _damp(turbo, x, gamma)
            v = turbo_var if first else gamma * turbo_var + (1 - gamma) * v
            if learn_rate:
                own = float(np.clip(np.mean(probability), 1 / (2 * devices), 0.5))
            history.append({"error_var": float(np.mean(v)), "candidates": float(np.sum(probability))})
            if not (np.isfinite(history[-1]["error_var"]) and np.isfinite(odds).all()):
                stopped = "diverged"
                break
        decided = sigmoid(odds - limit)  # one half at the threshold
        active = np.flatnonzero(decided >= 0.5)
        channels = p[active] * post[active]
        if known.beamspace:
            channels = np.fft.ifft(channels, axis=2, norm="ortho").astype(np.complex64)
        errors = [entry["error_var"] for entry in history]
        if stopped == "iterations" and len(errors) > 1 and abs(errors[-1] - errors[-2]) < 1e-3 * errors[-1]:
            stopped = "fixed point"
        freedom = float(known.basis.shape[1])
        return Found(
            decided, channels, post_var[active].mean(1), len(history), stopped, freedom=freedom, history=history
        )

    return BlockReceiver(planned, m, search)


def _denoise(
    prior: Any, h: Complex, tau: npt.NDArray[np.float64], index: npt.NDArray[np.int64]
) -> tuple[Complex, Real]:
    """Posterior mean (K, N, M) and variance (K, M), with each device's power normalised; errata of (60), (61)."""
    noise = float(np.mean(tau))
    power = np.maximum(np.mean(np.abs(h) ** 2, axis=(1, 2), dtype=np.float64) - noise, _FLOOR * noise)
    root = np.sqrt(power).astype(np.float32)[:, None, None]
    whole = prior.basis.shape[1] == h.shape[1] and np.array_equal(prior.basis, np.eye(h.shape[1]))
    z = h if whole else np.einsum("np,knm->kpm", prior.basis.conj(), h, optimize=True)
    mean, var = prior.denoise(
        np.ascontiguousarray(z / root, np.complex64), (tau / power[:, None]).astype(np.float32), index
    )
    mean = mean * root
    post = mean if whole else np.einsum("np,kpm->knm", prior.basis, mean, optimize=True)
    return post, var * power.astype(np.float32)[:, None]


def _damp(new: Complex, old: Complex, gamma: float) -> Complex:
    damped: Complex = np.float32(gamma) * new + np.float32(1 - gamma) * old
    return damped
