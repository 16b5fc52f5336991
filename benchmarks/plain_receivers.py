"""The receiver's algorithm as one would write it in NumPy and SciPy on the dense state, and in torch in the KLT domain.

What benchmarks compare with: single precision, known unit power, partial-DFT pilots, no screening of settled activity.
"""

from __future__ import annotations

import math

import numpy as np
import scipy.fft
import torch

STALLED, DAMPING, DAMP_FROM, CAUTION, THRESHOLD, QUIET = 0.97, 0.7, 2, 1.3, 2e-2, -7.0


def numpy_detect(y, noise, rate, pilots, prior, threads):
    """Active devices and their channels (A, N, M)."""
    t, n, m = y.shape
    k, rows, cols = pilots.devices, pilots.rows, np.arange(n)[None]
    y = scipy.fft.fft(y, axis=2, norm="ortho", workers=threads)
    basis = prior.basis
    x_a = np.zeros((k, n, m), np.complex64)
    odds, previous, best, result = None, math.inf, math.inf, None
    for i in range(24):
        r = y - scipy.fft.fft(x_a, axis=0, workers=threads)[rows, cols]
        v_a = np.maximum(((np.abs(r) ** 2).mean((0, 1)) - noise) / k, 1e-3 * noise / k)
        v = (k * v_a + noise) / t - v_a
        scattered = np.zeros((k, n, m), np.complex64)
        scattered[rows, cols] = r
        x = x_a + scipy.fft.ifft(scattered, axis=0, workers=threads) * np.float32(k / t)
        z = np.tensordot(x, basis.conj(), (1, 0)).transpose(0, 2, 1)  # (K, P, M)
        energy = (z.real**2 + z.imag**2).astype(np.float32)
        null = np.broadcast_to(v, energy.shape[1:])
        if odds is not None and np.count_nonzero(odds < QUIET) > 50:
            null = energy[odds < QUIET].mean(0)
        odds = _llr(np, energy / null, null, prior) + math.log(rate / (1 - rate))
        post = 1 / (1 + np.exp(np.minimum(-odds, 80)))
        cand = np.flatnonzero(post > THRESHOLD)
        h, var = prior.denoise(z[cand], np.broadcast_to(v, (len(cand), m)).astype(np.float32))
        error = float(v.mean())
        if error < best:
            best, keep = error, post[cand] >= 0.5
            result = cand[keep], np.einsum("np,apm->anm", basis, h[keep])
        if error > STALLED * previous:
            break
        previous = error
        alpha = (CAUTION * (post[cand, None] * var).sum(0) / (k * v)).astype(np.float32)
        x_post = np.zeros_like(x)
        x_post[cand] = post[cand, None, None] * np.einsum("np,apm->anm", basis, h)
        x_new = (x_post - alpha * x) / (1 - alpha)
        x_a = x_new if i < DAMP_FROM else np.float32(DAMPING) * x_new + np.float32(1 - DAMPING) * x_a
    active, channels = result
    return active, scipy.fft.ifft(channels, axis=2, norm="ortho")


def torch_detect(y, noise, rate, pilots, prior, network=None):
    """The same without the dense state, eager torch; also a fair picture of what torch costs on small tensors.

    On the device of the tensor `y`, where `network` runs too.
    """
    network = prior.network if network is None else network
    with torch.inference_mode(), torch.device(y.device):
        y = torch.fft.fft(y, dim=2, norm="ortho")
        t, n, m = y.shape
        k, basis = pilots.devices, torch.from_numpy(prior.basis).to(y.device)
        p = basis.shape[1]
        rows = torch.tensor(pilots.rows, device=y.device)
        used, where = torch.unique(rows.flatten(), return_inverse=True)
        subcarrier = torch.arange(n).expand(t, n).flatten()
        twiddle = torch.exp(-2j * math.pi * torch.arange(k) / k).to(torch.complex64)
        big, index, s = torch.zeros_like(y), torch.zeros(0, dtype=torch.long), torch.zeros(0, p, m, dtype=y.dtype)
        odds, previous, best, result = None, math.inf, math.inf, None
        for i in range(24):
            r = y - k * big
            if len(index):
                e = twiddle[(rows.T[:, :, None] * index) % k]
                r = r - (e @ torch.einsum("np,apm->nam", basis, s)).transpose(0, 1)
            v_a = ((r.abs().square().mean((0, 1)) - noise) / k).clamp_min(1e-3 * noise / k)
            v = (k * v_a + noise) / t - v_a
            seen = big + r / t
            weighted = basis.conj()[subcarrier][:, :, None] * seen.reshape(-1, 1, m)
            spectrum = torch.zeros(k, p, m, dtype=y.dtype)
            spectrum[used] = torch.zeros(len(used), p, m, dtype=y.dtype).index_add_(0, where, weighted)
            z = torch.fft.ifft(spectrum, dim=0) * k
            z[index] += s
            energy = z.real.square() + z.imag.square()
            null = v.expand(p, m)
            if odds is not None and int((quiet := odds < QUIET).sum()) > 50:
                null = energy[quiet].mean(0)
            odds = _llr(torch, energy / null, null, prior) + math.log(rate / (1 - rate))
            post = torch.sigmoid(odds)
            cand = (post > THRESHOLD).nonzero()[:, 0]
            split = torch.cat([z[cand].real, z[cand].imag], 1)
            mean, var = network(split, v.expand(len(cand), m))
            h = torch.complex(mean[:, :p], mean[:, p:])
            error = float(v.mean())
            if error < best:
                best, keep = error, post[cand] >= 0.5
                result = cand[keep], torch.einsum("np,apm->anm", basis, h[keep])
            if error > STALLED * previous:
                break
            previous = error
            alpha = CAUTION * (post[cand, None] * var).sum(0) / (k * v)
            a, b = 1 / (1 - alpha), alpha / (1 - alpha)
            gamma = 1.0 if i < DAMP_FROM else DAMPING
            merged = torch.unique(torch.cat([index, cand]))
            fresh = torch.zeros(len(merged), p, m, dtype=y.dtype)
            fresh[torch.searchsorted(merged, index)] = ((1 - gamma) - gamma * b) * s
            fresh[torch.searchsorted(merged, cand)] += gamma * a * post[cand, None, None] * h
            big = (1 - gamma) * big - gamma * b * seen
            strong = fresh.abs().square().sum((1, 2)) > 1e-7 * n * m
            index, s = merged[strong], fresh[strong]
        active, channels = result
        return active, torch.fft.ifft(channels, dim=2, norm="ortho")


def _llr(xp, ratio, null, prior):
    """Structured log-likelihood ratio (K,), of energies over their null."""
    beams = []
    for gain, weight in zip(prior.beam_gain.tolist(), prior.beam_weight.tolist(), strict=True):
        lam = prior.eigenvalues[:, None] if xp is np else torch.from_numpy(prior.eigenvalues).to(null.device)[:, None]
        a = 1 + gain * lam / null
        beams.append((ratio * (1 - 1 / a) - xp.log(a)).sum(1) + math.log(weight))
    stacked = xp.stack(beams)
    if xp is np:
        top = stacked.max(0)
        return (top + np.log(np.exp(stacked - top).sum(0))).sum(1)
    return torch.logsumexp(stacked, 0).sum(1)
