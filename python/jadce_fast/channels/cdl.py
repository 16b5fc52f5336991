"""Channels of a CDL model in one call."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from .. import _check
from .clusters import DELAY_SPREAD
from .paths import draw_paths, generator
from .synthesis import synthesize

_CHUNK = 256  # channels at a time, as their paths take more memory than they do


def cdl(
    count: int,
    model: str = "C",
    subcarriers: int = 48,
    antennas: int = 32,
    *,
    delay_spread: float | tuple[float, float] = DELAY_SPREAD,
    angles: str = "departure",
    random_azimuth: bool = True,
    randomize: bool = False,
    power_control: bool = True,
    spacing: float = 30e3,
    seed: int | np.random.Generator = 0,
) -> npt.NDArray[np.complex64]:
    """Draw TR 38.901 CDL channels.

    Parameters
    ----------
    count : int
        B, number of channels.
    model, delay_spread, angles, random_azimuth, randomize, seed
        As of ``draw_paths``.
    subcarriers, antennas, spacing
        As of ``synthesize``.
    power_control : bool
        Scale every channel to unit mean power. Otherwise only their average over many draws has it. For
        received powers that differ, multiply by the square root of ``path_loss_gains`` or ``spread_gains``.

    Returns
    -------
    ndarray of complex64, shape (B, N, M)

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range or unknown.

    Notes
    -----
    Where the paths are wanted too (a genie's covariance), the same in two steps::

        paths = draw_paths(count, "C", seed=0)
        channels = unit_power(synthesize(paths, subcarriers=48, antennas=32))
    """
    count = _check.integer("count", count, 0)
    n = _check.integer("subcarriers", subcarriers, 1)
    m = _check.integer("antennas", antennas, 1)
    rng = generator(seed)
    channels = np.empty((count, n, m), np.complex64)
    # One pass even for count = 0: it checks the other arguments.
    for start in range(0, max(count, 1), _CHUNK):
        part = channels[start : start + _CHUNK]
        paths = draw_paths(
            len(part),
            model,
            delay_spread=delay_spread,
            angles=angles,
            random_azimuth=random_azimuth,
            randomize=randomize,
            seed=rng,
        )
        part[:] = synthesize(paths, n, m, spacing)
        if power_control:
            part[:] = unit_power(part)
    return channels


def unit_power(channels: npt.ArrayLike) -> npt.NDArray[np.complex64]:
    """Power control: scale each channel, shape (B, N, M), to a mean power over its entries of one.

    Raises
    ------
    ValueError
        If a channel is zero or not finite.
    """
    values = _check.array("channels", channels, ("B", "N", "M"), np.complex64)
    parts = values.view(np.float32)
    power = np.einsum("bnm,bnm->b", parts, parts) / max(values.shape[1] * values.shape[2], 1)
    if not power.all():
        zeros = np.count_nonzero(power == 0)
        raise ValueError(f"channels: expected channels with power, found {zeros} zero channels")
    scaled: npt.NDArray[np.complex64] = values / np.sqrt(power)[:, None, None]
    return scaled
