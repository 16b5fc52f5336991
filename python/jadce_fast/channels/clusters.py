"""Clusters of CDL tables, their jitter and their rays: stated once, for NumPy arrays and for torch tensors.

`xp` is the namespace of the arrays, ``numpy`` or ``torch``. Random numbers come from the caller: simulation draws them
with NumPy, training where its tensors are.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

RAYS = 20
# TR 38.901 Table 7.5-3: offsets of the 20 rays of a cluster for a cluster angular spread of one degree.
_HALF = (0.0447, 0.1413, 0.2492, 0.3715, 0.5129, 0.6797, 0.8844, 1.1481, 1.5195, 2.1551)
RAY_OFFSETS = tuple(sign * offset for offset in _HALF for sign in (1, -1))
DELAY_SPREAD = (100e-9, 363e-9)  # seconds, Cai VI-A.1
# Standard deviations of the jitter of the family that the shipped priors were trained on: Cai VI-A.1 randomises "the
# angles, delays, and complex gains of each path" and gives no figures.
DELAY_JITTER = 0.4  # in the natural logarithm of a delay
POWER_JITTER = 3.0  # dB
AZIMUTH_JITTER = 15.0  # degrees, on top of the device's uniform azimuth
ZENITH_JITTER = 4.0  # degrees
SPREAD_JITTER = 0.35  # in the natural logarithm of a cluster's angular spreads


class Clusters(NamedTuple):
    """Clusters of channels, arrays (..., C) that broadcast with each other; a specular path counts as one of them."""

    delay: Any  # in units of the RMS delay spread
    power: Any  # linear, summing to one; zero where there is no cluster
    azimuth: Any  # degrees
    zenith: Any  # degrees
    azimuth_spread: Any  # cluster angular spread c_ASD or c_ASA, degrees
    zenith_spread: Any  # c_ZSD or c_ZSA, degrees
    specular: Any  # 1 where the cluster is a single line-of-sight ray, else 0


def jitter(xp: Any, c: Clusters, normal: Callable[[], Any]) -> Clusters:
    """Randomise every cluster around its table; `normal` draws standard normal numbers, one a cluster and channel.

    Powers and delays are to be settled (`settle`).
    """
    return c._replace(
        delay=c.delay * xp.exp(DELAY_JITTER * normal()),
        power=c.power * 10 ** (0.1 * POWER_JITTER * normal()),
        azimuth=c.azimuth + AZIMUTH_JITTER * normal(),
        zenith=c.zenith + ZENITH_JITTER * normal(),
        azimuth_spread=c.azimuth_spread * xp.exp(SPREAD_JITTER * normal()),
        zenith_spread=c.zenith_spread * xp.exp(SPREAD_JITTER * normal()),
    )


def settle(xp: Any, c: Clusters) -> Clusters:
    """Scale powers to a sum of one, and count delays from the first cluster that is there."""
    present = c.power > 0
    first = xp.where(present, c.delay, xp.inf).min(-1)
    first = getattr(first, "values", first)  # torch returns indices beside the minimum, NumPy does not
    delay = xp.where(present, c.delay - first[..., None], 0.0)
    return c._replace(delay=delay, power=c.power / c.power.sum(-1)[..., None])


def spread_rays(c: Clusters, offsets: Any, coupled: Any) -> tuple[Any, Any, Any]:
    """Power, azimuth and zenith (..., C, R) of the rays of clusters, angles in degrees.

    `offsets` (R,) are `RAY_OFFSETS`, `coupled` (..., C, R) the same in random order: TR 38.901, step 8 of clause 7.5,
    couples azimuths and zeniths at random, and it is enough to shuffle one of the two.
    """
    scatter = 1 - c.specular
    azimuth = c.azimuth[..., None] + (c.azimuth_spread * scatter)[..., None] * offsets
    zenith = c.zenith[..., None] + (c.zenith_spread * scatter)[..., None] * coupled
    power = (c.power * scatter / RAYS)[..., None] + 0 * offsets
    power[..., 0] += c.power * c.specular
    return power, azimuth, zenith
