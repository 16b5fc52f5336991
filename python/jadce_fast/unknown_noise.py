"""The noise variance of a block that nobody knows, from what remains of the block beside its devices."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt

from .detection import Detection
from .pilots import Pilots
from .rules import Rules

_RUNS = 5  # most detections of a block
_SETTLED = 0.1  # change of the noise's logarithm up to which it is believed
_CHANCE = 4.0  # standard deviations by which quiet beams differ by chance
_LEAST_SEEN = 0.35  # part of the noise in what remains, below which its variance is off by a factor of two or more
_OWN = 1.4  # energy of a device in what remains, over all of it; 0.9 ... 1.3 where the prior fits


def learn_noise(
    detect: Callable[[float], Detection],
    block: npt.NDArray[Any],
    pilots: Pilots,
    rules: Rules,
    on_host: Callable[[Any], npt.NDArray[Any]],
) -> Detection:
    """Detect with noise as it seems, and again as long as what remains of the block says something else.

    Parameters
    ----------
    detect : callable
        Detects in the block with a noise variance.
    block : ndarray, shape (T, N, M)
    pilots : Pilots
    rules : Rules
        `left_out`.
    on_host : callable
        Makes NumPy arrays of the result's.

    Returns
    -------
    Detection
        With `learned_noise_var`, and a doubt if nothing tells the noise from errors of the estimates.
    """
    then = quiet_variance(block)  # with idle devices alone all is noise; signals hide less than this
    for _ in range(_RUNS):
        noise = min(max(then, 1e-30), 1e30)
        found = detect(noise)
        sent, channels = pilots.select(on_host(found.active)), on_host(found.channels)
        left = block - np.einsum("tna,anm->tnm", sent, channels)
        power = np.sum(np.abs(sent) ** 2, axis=0, dtype=np.float64).mean(0)  # (A,) of a device, over all symbols
        fitted = float(np.sum(power * on_host(found.channel_var))) / pilots.symbols
        then = noise_behind(quiet_variance(left), fitted)
        if abs(math.log(max(then, 1e-30) / noise)) < _SETTLED:
            break
    doubt = found.reason
    if not doubt and found.explained.ratio < _LEAST_SEEN:
        doubt = f"estimates fit all but {found.explained.ratio:.2g} of the noise: its variance cannot be learned"
    if not doubt and len(channels):
        own = np.abs(np.einsum("tna,tnm->anm", sent.conj(), left)) ** 2
        ratio = float(np.mean(own.mean((1, 2)) / power) / np.mean(np.abs(left) ** 2))
        strength = float(np.mean(power[:, None, None] * np.abs(channels) ** 2)) / noise
        if ratio > _OWN + 2 * rules.left_out * strength:
            doubt = (
                f"of devices that were found remains {ratio:.3g} times what remains of others: the prior does not fit"
            )
    return dataclasses.replace(found, reason=doubt, learned_noise_var=noise)


def quiet_variance(r: npt.NDArray[Any]) -> float:
    """Variance of white noise in r (T, N, M): the mean square, or that of quiet beams or antennas if they are quieter.

    Signals are stronger in some. The least quarter of M means over N T entries is below the mean of all by as many
    deviations as normal order statistics are (Blom's approximation).
    """
    r = np.asarray(r, np.complex128)
    power = np.array([np.mean(np.abs(x) ** 2, axis=(0, 1)) for x in (np.fft.fft(r, axis=2, norm="ortho"), r)])
    m, entries = power.shape[1], r[..., 0].size
    count, mean = max(1, m // 4), float(power.mean())
    below = -sum(float(NormalDist().inv_cdf((i + 0.625) / (m + 0.25))) for i in range(count)) / count
    least = float(np.sort(power, axis=1)[:, :count].mean(1).min()) / max(1 - below / math.sqrt(entries), 0.1)
    return mean if least > mean * (1 - _CHANCE / math.sqrt(entries * count)) else least


def noise_behind(left: float, fitted: float) -> float:
    """Noise variance of a block of which `left` remains beside estimates whose variances add up to `fitted`.

    Estimates fit some of the noise. At a fixed point of message passing the effective noise is V = noise + fitted, the
    estimates' share of it is fitted / V, and what remains has (1 - fitted / V)^2 V = noise^2 / V.
    """
    return 0.5 * (left + math.sqrt(left * left + 4 * left * fitted))
