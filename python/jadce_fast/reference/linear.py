"""Module A: the linear estimator, Cai III-A, for partial-orthogonal and for arbitrary pilots."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ..pilots import Pilots

Array = npt.NDArray[Any]
Complex = npt.NDArray[np.complex128]
Real = npt.NDArray[np.float64]
PilotsLike = Pilots | Array


def pilot_array(pilots: PilotsLike) -> Complex:
    """Pilot symbols q[t, n, k] in double precision, (T, N, K); an array of that shape is passed through."""
    if not isinstance(pilots, Pilots):
        return np.asarray(pilots, np.complex128)
    if pilots.rows is None:
        return pilots.select().astype(np.complex128)
    phase = (pilots.rows[:, :, None] * np.arange(pilots.devices)) % pilots.devices
    result: Complex = np.sqrt(pilots.power) * np.exp(-2j * np.pi / pilots.devices * phase)  # Cai (66)
    return result if pilots.phases is None else result * pilots.phases[:, :, None]


def pilot_power(pilots: PilotsLike) -> float:
    """Transmit power P, the mean of |q|^2 over symbols, subcarriers and devices."""
    return float(np.mean(np.abs(pilot_array(pilots)) ** 2))


def measure(pilots: PilotsLike, x: Array) -> Complex:
    """Q x: sum over devices of q[t, n, k] x[k, n, m], Cai (4); x (K, N, M) -> (T, N, M)."""
    q = pilot_array(pilots).transpose(1, 0, 2)  # one matrix product per subcarrier
    return np.asarray((q @ np.transpose(x, (1, 0, 2))).transpose(1, 0, 2))


def adjoint(pilots: PilotsLike, r: Array) -> Complex:
    """Q^H r: sum over symbols of conj(q[t, n, k]) r[t, n, m]; r (T, N, M) -> (K, N, M)."""
    q = pilot_array(pilots).transpose(1, 2, 0)
    return np.asarray((q.conj() @ np.transpose(r, (1, 0, 2))).transpose(1, 0, 2))


def residual(y: Array, pilots: PilotsLike, x: Array) -> Complex:
    """Residual y - Q x, the bracket of Cai (7); y (T, N, M), x (K, N, M) -> (T, N, M)."""
    return np.asarray(y - measure(pilots, x))


def residual_variance(r: Array, pilots: PilotsLike, noise_var: float, floor: float = 1e-3) -> Real:
    """Error variance of x that a residual shows: v_A = max((mean|r|^2 - noise) / (K P), floor noise / (K P)).

    Because E|y - Q x|^2 = K P v_A + noise. The residual of the estimate itself replaces the prediction of Cai
    (41)/(58), which diverges under model mismatch.

    Parameters
    ----------
    r : array_like, shape (T, N, M)
        Residual y - Q x.
    pilots : Pilots or ndarray, shape (T, N, K)
    noise_var : float
        Complex noise variance per received entry.
    floor : float
        Smallest value, in units of noise / (K P).

    Returns
    -------
    ndarray of float64, shape (M,)
        One variance per column (antenna or beam).
    """
    q = pilot_array(pilots)
    gain = q.shape[2] * pilot_power(q)
    power = np.mean(np.abs(r) ** 2, axis=(0, 1))
    return np.asarray(np.maximum((power - noise_var) / gain, floor * noise_var / gain))


def gram_eigen(pilots: PilotsLike) -> tuple[Real, Complex]:
    """Q_n Q_n^H = U diag(Lambda) U^H for every subcarrier: Lambda (N, T), U (N, T, T)."""
    q = pilot_array(pilots).transpose(1, 0, 2)
    values, vectors = np.linalg.eigh(q @ q.conj().transpose(0, 2, 1))
    return np.maximum(values, 0.0), vectors


def correction(r: Array, pilots: PilotsLike, v_pri: Array, noise_var: float) -> tuple[Complex, Real, Real]:
    """Extrinsic update of module A in measurement space: x_ext = x_pri + Q^H c, arbitrary pilots.

    With Q_n Q_n^H = U Lambda U^H the LMMSE gain is W r = Q_n^H G r, G = U diag(v / (v Lambda + noise)) U^H,
    its mean diagonal is eta = mean over n of sum over t of v Lambda / (v Lambda + noise), divided by K, and
    the extrinsic message has c = G r / eta and v_ext = v (1 / eta - 1). For Q Q^H = K P I this is Cai
    (7)-(11) and c = r / (T P).

    Parameters
    ----------
    r : array_like, shape (T, N, M)
        Residual y - Q x_pri.
    pilots : Pilots or ndarray, shape (T, N, K)
    v_pri : array_like, shape (M,)
        Error variance of x_pri per column, positive.
    noise_var : float

    Returns
    -------
    c : ndarray, shape (T, N, M)
    v_ext : ndarray, shape (M,)
    eta : ndarray, shape (M,)
    """
    values, vectors = gram_eigen(pilots)
    weight = v_pri / (values[:, :, None] * v_pri + noise_var)  # (N, T, M)
    eta = np.mean(np.sum(values[:, :, None] * weight, axis=1), axis=0) / pilot_array(pilots).shape[2]
    rotated = np.einsum("nts,tnm->nsm", vectors.conj(), r)  # U^H r
    c = np.einsum("nts,nsm->tnm", vectors, weight * rotated) / eta
    return c, v_pri * (1 / eta - 1), eta


def colored_residual(r: Array, covariance: Array) -> tuple[float, Complex]:
    """Mean of r^H C^-1 r, and C^-1 r; `r` (T, N, M), `covariance` C (1 or N, M, M)."""
    filtered = np.einsum(
        "nbc,tnc->tnb", np.broadcast_to(np.linalg.inv(covariance), (r.shape[1], *covariance.shape[1:])), r
    )
    return float(np.mean(np.real(np.conj(r) * filtered))), filtered


def colored_variance(r: Array, pilots: PilotsLike, covariance: Array, floor: float) -> Real:
    """Error variance of x per column from a residual with noise of covariance C (1 or N, M, M) over columns.

    u = C^-1 r has E|u_b|^2 = sum_c |C^-1_bc|^2 K P v_c + C^-1_bb, averaged over subcarriers with their mean gram for
    K P: solved for v, at least `floor`. For white noise it is `residual_variance`. `r` (T, N, M); returns (M,).
    """
    inverse = np.linalg.inv(covariance)
    gram = np.mean(gram_eigen(pilots)[0], axis=1)[:, None, None]  # (N, 1, 1)
    power = np.mean(np.abs(colored_residual(r, covariance)[1]) ** 2, axis=(0, 1))
    noise = np.mean(np.diagonal(inverse, axis1=1, axis2=2).real, axis=0)
    mixing = np.mean(gram * np.abs(inverse) ** 2, axis=0)
    return np.asarray(np.maximum(np.linalg.solve(mixing, power - noise), floor))


def colored_correction(
    r: Array, pilots: PilotsLike, v_pri: Array, covariance: Array, unknown: Array
) -> tuple[Complex, Real]:
    """Extrinsic update of module A, as `correction`, in noise of covariance C (1 or N, M, M) over columns.

    Gains w of single columns as in `correction` leave an error of covariance S = mean over n of the sum over t of
    Lambda w w^H R, R = Lambda diag(v) + C, over K, less diag(v). An active device has not only this noise: `unknown`
    (M,), U, is the variance of its own channel. What other columns say of a column is taken by the best combination of
    unit diagonal: diag(B)^-1 B with B = (S + diag(U))^-1, and the message has variance 1 / B_bb - U_b.

    Returns
    -------
    c : ndarray, shape (T, N, M)
    v_ext : ndarray, shape (M,)
    """
    values, vectors = gram_eigen(pilots)
    n, k, m = len(values), pilot_array(pilots).shape[2], len(v_pri)
    covariance = np.broadcast_to(covariance, (n, m, m))
    weight = v_pri / (values[:, :, None] * v_pri + np.diagonal(covariance, axis1=1, axis2=2).real[:, None])  # (N, T, M)
    weight = weight / (np.einsum("nt,ntb->b", values, weight) / (n * k))
    spread = values[:, :, None, None] * np.diag(v_pri) + covariance[:, None]  # (N, T, M, M)
    error = np.einsum("nt,ntb,ntc,ntbc->bc", values, weight, weight, spread) / (n * k) - np.diag(v_pri)
    mix = np.linalg.inv(error + np.diag(unknown))
    own = np.diagonal(mix).real
    weighted = weight * np.einsum("nts,tnm->nsm", vectors.conj(), r)
    c = np.einsum("nts,nsb,cb->tnc", vectors, weighted, mix / own[:, None])
    return c, 1 / own - unknown


def linear_mmse(y: Array, pilots: PilotsLike, x_pri: Array, v_pri: Array, noise_var: float) -> tuple[Complex, Real]:
    """Posterior mean (K, N, M) and variance (M,) of module A, Cai (7) and (8), for any pilots."""
    c, _, eta = correction(residual(y, pilots, x_pri), pilots, v_pri, noise_var)
    x_post = x_pri + adjoint(pilots, eta * c)  # (7): eta c = v / (K P v + noise) r for Q Q^H = K P I
    v_post = v_pri * (1 - eta)  # (8): eta = T P v / (K P v + noise) for Q Q^H = K P I
    return x_post, v_post


def module_a(y: Array, pilots: PilotsLike, x_pri: Array, v_pri: Array, noise_var: float) -> tuple[Complex, Real]:
    """Extrinsic mean (K, N, M) and variance (M,) of module A, Cai (7)-(11) in one step, for any pilots."""
    c, v_ext, _ = correction(residual(y, pilots, x_pri), pilots, v_pri, noise_var)
    return x_pri + adjoint(pilots, c), v_ext


def extrinsic_ratio(v_post: Array, v_pri: Array, low: float = 1e-12, high: float = 1 - 1e-6) -> Real:
    """Ratio alpha = v_post / v_pri of an extrinsic message, clipped into [low, high].

    erratum: Cai (10), (26), (41) are infinite or negative where v_post >= v_pri; with alpha inside (0, 1) the
    same message is x_ext = (x_post - alpha x_pri) / (1 - alpha), v_ext = alpha v_pri / (1 - alpha).
    """
    return np.asarray(np.clip(v_post / v_pri, low, high))


def extrinsic(x_post: Array, x_pri: Array, alpha: Array) -> Complex:
    """Extrinsic mean, Cai (11), (27), (42): (x_post - alpha x_pri) / (1 - alpha); alpha broadcasts."""
    return np.asarray((x_post - alpha * x_pri) / (1 - alpha))


def extrinsic_variance(v_pri: Array, alpha: Array) -> Real:
    """Extrinsic variance, Cai (10), (26), (41): alpha v_pri / (1 - alpha)."""
    return np.asarray(alpha * v_pri / (1 - alpha))


def damp(new: Array, old: Array, gamma: float) -> Array:
    """Damped message, Cai (57), (58): gamma new + (1 - gamma) old.

    erratum: the text of (57), (58) mixes in the undamped message of the previous iteration; the authors'
    script, and this, the damped one, so that the memory does not end after one iteration.
    """
    return np.asarray(gamma * new + (1 - gamma) * old)
