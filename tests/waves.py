"""Noise and plane waves of the tests of classical denoisers."""

import numpy as np
from problems import complex_normal


def coloured(rng, variance, n):
    """Noise (B, N, M) with the given beam variances (B, M)."""
    noise = complex_normal(rng, len(variance), n, variance.shape[1]) * np.sqrt(variance)[:, None]
    return np.fft.ifft(noise, axis=2, norm="ortho")


def wave(n, m, theta, phi):
    return np.exp(1j * (theta * np.arange(n)[:, None] + phi * np.arange(m)))


def nmse(estimate, truth):
    return np.sum(np.abs(estimate - truth) ** 2) / np.sum(np.abs(truth) ** 2)
