"""Annealed Langevin dynamics of Tang et al. in plain double precision, one step at a time, in the paper's shapes.

X (M, N), P (N, L), Y (M, L). Scores are d log p / d X*, so that CN(0, v) has the score -x / v, as the paper's (4).
"""

from __future__ import annotations

import numpy as np

from .linear import Array, Complex


def algorithm1_step(
    x: Array,
    y: Array,
    pilots: Array,
    noise_var: float,
    sigma: float,
    score: Array,
    step: float,
    beta: float,
    zeta: Array,
) -> Complex:
    """One step of Algorithm 1 of Tang et al.

    erratum: the likelihood gradient is (Y - X P) P^H / (noise_var + sigma^2), not its negative as in (11).
    """
    gradient = (y - x @ pilots) @ pilots.conj().T / (noise_var + sigma**2)
    return np.asarray(x + step * gradient + step * score + np.sqrt(2 * beta * step) * sigma * zeta)


def preconditioned_step(
    x: Array, y: Array, pilots: Array, noise_var: float, sigma: float, score: Array, step: float, zeta: Array
) -> Complex:
    """One step of the preconditioned sampler (docs/langevin.md), on X itself.

    The state is X + sigma N. Along a singular vector u of P with value s, and with r = sigma s / sqrt(noise_var):
    r <= 1: N takes the part -s sigma N of Z, Y - (X + sigma N) P keeps the variance noise_var (1 - r^2), independent
    of N; r > 1: the state is Y v / s plus noise of variance sigma^2 - noise_var / s^2, whatever the prior.
    The noise is zeta R with R^H R = step (2 - step) times the inverse curvature, R upper triangular; 1e-5 sigma^2 on
    its diagonal stand for what single precision cannot resolve.
    """
    u, s, vh = np.linalg.svd(pilots)
    a, gradient = x @ u, score @ u
    result, inverse = np.empty(a.shape, np.complex128), np.empty(len(u))
    for j in range(len(u)):
        sj = s[j] if j < len(s) else 0.0
        seen = y @ vh[j].conj() if j < len(s) else np.zeros(len(y))
        if sigma * sj <= np.sqrt(noise_var):
            left = noise_var - sj**2 * sigma**2
            curvature = 1 / sigma**2 + sj**2 / left
            force = gradient[:, j] + sj * (seen - sj * a[:, j]) / left
        else:
            curvature = 1 / (sigma**2 - noise_var / sj**2)
            force = curvature * (seen / sj - a[:, j])
        result[:, j] = a[:, j] + step / curvature * force
        inverse[j] = 1 / curvature
    covariance = step * (2 - step) * ((u * inverse) @ u.conj().T + 1e-5 * sigma**2 * np.eye(len(u)))
    return np.asarray(result @ u.conj().T + zeta @ np.linalg.cholesky(covariance).conj().T)


def philox(counter: tuple[int, int, int, int], key: int) -> tuple[int, int, int, int]:
    """Philox4x32-10 of Salmon et al. (2011): four random words for a counter and a 64-bit key."""
    x0, x1, x2, x3 = counter
    k0, k1 = key & 0xFFFFFFFF, key >> 32
    for _ in range(10):
        a, b = 0xD2511F53 * x0, 0xCD9E8D57 * x2
        x0, x1, x2, x3 = (b >> 32) ^ x1 ^ k0, b & 0xFFFFFFFF, (a >> 32) ^ x3 ^ k1, a & 0xFFFFFFFF
        k0, k1 = (k0 + 0x9E3779B9) & 0xFFFFFFFF, (k1 + 0xBB67AE85) & 0xFFFFFFFF
    return x0, x1, x2, x3


def langevin_noise(seed: int, chain: int, step: int, antennas: int, devices: int) -> Complex:
    """CN(0, 1) noise (M, N) of one step of one chain.

    Words 0, 1 of counter (m, j / 2, chain, step) are radius and angle (Box and Muller) of even columns j,
    words 2, 3 of odd ones: 24 bits u + 1/2 each, and two more bits for the quadrant.
    """
    zeta = np.empty((antennas, devices), np.complex128)
    for m in range(antennas):
        for j in range(devices):
            words = philox((m, j // 2, chain, step), seed)
            first, second = words[2 * (j % 2)], words[2 * (j % 2) + 1]
            radius = np.sqrt(-np.log(((first >> 8) + 0.5) / 2**24))
            angle = np.pi / 2 * (((second >> 8) + 0.5) / 2**24 - 0.5 + (second & 3))
            zeta[m, j] = radius * np.exp(1j * angle)
    return zeta
