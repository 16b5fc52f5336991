"""Propagation paths of CDL channels, TR 38.901 clause 7.7.1."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from .. import _check
from .tables import RAY_OFFSETS, load_table

# Spreads of the randomised family around a table: Cai VI-A.1 randomises "the angles, delays, and complex
# gains of each path" and gives no figures.
_DELAY_SIGMA = 0.4  # of the natural logarithm
_POWER_SIGMA = 3.0  # dB
_AZIMUTH_SIGMA = 15.0  # degrees, on top of the device's uniform azimuth
_ZENITH_SIGMA = 5.0  # degrees


@dataclass(frozen=True)
class Paths:
    """Paths of B channels: C clusters of R rays, the rays of a cluster sharing its delay.

    Attributes
    ----------
    delay : ndarray of float64, shape (B, C)
        In seconds.
    power : ndarray of float64, shape (B, C, R)
        Mean power of each ray, linear. Zero for rays that are not there (a specular path is one ray).
    azimuth, zenith : ndarray of float64, shape (B, C, R)
        Direction at the base station in radians: azimuth from the array's broadside, zenith from the
        vertical.
    phase : ndarray of float64, shape (B, C, R)
        In radians.

    Raises
    ------
    TypeError, ValueError
        If shapes do not match, a number is not finite, or a power is negative.
    """

    delay: npt.NDArray[np.float64]
    power: npt.NDArray[np.float64]
    azimuth: npt.NDArray[np.float64]
    zenith: npt.NDArray[np.float64]
    phase: npt.NDArray[np.float64]

    def __post_init__(self) -> None:
        power = _check.array("power", self.power, ("B", "C", "R"), np.float64)
        object.__setattr__(self, "power", power)
        delay = _check.array("delay", self.delay, power.shape[:2], np.float64)
        object.__setattr__(self, "delay", delay)
        for name in ("azimuth", "zenith", "phase"):
            object.__setattr__(self, name, _check.array(name, getattr(self, name), power.shape, np.float64))
        if (power < 0).any():
            raise ValueError(f"power: expected powers of at least 0, found {power.min():g}")

    def __len__(self) -> int:
        return len(self.delay)

    def __getitem__(self, index: slice | npt.ArrayLike) -> Paths:
        """Paths of some of the channels; `index` is a slice, a mask or an array of indices."""
        return Paths(*(getattr(self, f.name)[index] for f in fields(self)))


def draw_paths(
    count: int,
    model: str = "C",
    *,
    delay_spread: float | tuple[float, float] = (100e-9, 363e-9),
    angles: str = "departure",
    random_azimuth: bool = True,
    randomize: bool = False,
    seed: int | np.random.Generator = 0,
) -> Paths:
    """Draw the paths of CDL channels: 20 rays a cluster, coupled at random, with uniform phases.

    TR 38.901 (7.7-0a), Table 7.5-3 and Steps 8 and 10 of clause 7.5. The specular path of CDL-D and CDL-E is
    a cluster of its own with all power in its first ray; its phase is uniform too, as devices are not placed
    to a fraction of a wavelength.

    Parameters
    ----------
    count : int
        B, number of channels.
    model : {"A", "B", "C", "D", "E"}
    delay_spread : float or (float, float)
        RMS delay spread in seconds that multiplies the table's delays; of each channel drawn uniformly if a
        range.
    angles : {"departure", "arrival"}
        Columns of the table for the base station. In the standard's uplink the base station sees the
        departure columns (the tables are written for the downlink); Cai VI-A.1 speaks of angles of arrival.
    random_azimuth : bool
        Turn each channel as a whole by a uniform azimuth, as devices are all around the base station.
    randomize : bool
        Randomise every cluster around the table: the training family of Cai VI-A.1. Delays are multiplied by
        a log-normal factor, powers of clusters by another, those of rays by an exponential one (complex
        Gaussian gains), and angles have a normal error. Powers still sum to one.
    seed : int or numpy.random.Generator

    Returns
    -------
    Paths
        Powers of each channel sum to one.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range or unknown.
    """
    count = _check.integer("count", count, 0)
    low, high = delay_spread_range(delay_spread)
    table = load_table(model, angles)
    rng = generator(seed)

    clusters, rays = len(table.delay), len(RAY_OFFSETS)
    shape, ray_shape = (count, clusters), (count, clusters, rays)
    delay = np.broadcast_to(table.delay, shape)
    power = np.broadcast_to(table.power, shape)
    azimuth = np.broadcast_to(table.azimuth, shape)
    zenith = np.broadcast_to(table.zenith, shape)
    if randomize:
        delay = delay * np.exp(_DELAY_SIGMA * rng.standard_normal(shape))
        delay = delay - delay.min(axis=1, keepdims=True)
        power = power * 10 ** (_POWER_SIGMA / 10 * rng.standard_normal(shape))
        azimuth = azimuth + _AZIMUTH_SIGMA * rng.standard_normal(shape)
        zenith = zenith + _ZENITH_SIGMA * rng.standard_normal(shape)
    if random_azimuth:
        azimuth = azimuth + rng.uniform(-180, 180, (count, 1))
    delay = delay * rng.uniform(low, high, (count, 1))

    ray_power = np.repeat(power[..., None] / rays, rays, axis=-1)
    ray_azimuth = azimuth[..., None] + table.azimuth_spread * RAY_OFFSETS
    # Step 8 couples azimuths and zeniths at random: it is enough to shuffle one of the two.
    offsets = RAY_OFFSETS[rng.random(ray_shape, dtype=np.float32).argsort(axis=-1)]
    ray_zenith = zenith[..., None] + table.zenith_spread * offsets
    if randomize:
        ray_power *= rng.standard_exponential(ray_shape)
    if table.line_of_sight:
        ray_power[:, 0, 1:] = 0
        ray_power[:, 0, 0] = power[:, 0]
        ray_azimuth[:, 0] = azimuth[:, :1]
        ray_zenith[:, 0] = zenith[:, :1]
    if randomize:
        ray_power /= ray_power.sum(axis=(1, 2), keepdims=True)
    phase = rng.uniform(-np.pi, np.pi, ray_shape)
    return Paths(delay, ray_power, np.deg2rad(ray_azimuth), np.deg2rad(ray_zenith), phase)


def delay_spread_range(delay_spread: float | tuple[float, float]) -> tuple[float, float]:
    """Return (low, high) of a delay spread that is one number or a range, or raise."""
    if not isinstance(delay_spread, (tuple, list)):
        fixed = _check.real("delay_spread", delay_spread, 0, closed=True)
        return fixed, fixed
    if len(delay_spread) != 2:
        raise ValueError(f"delay_spread: expected a number or (low, high), found {len(delay_spread)} numbers")
    low, high = (_check.real("delay_spread", v, 0, closed=True) for v in delay_spread)
    if low > high:
        raise ValueError(f"delay_spread: expected low <= high, found ({low:g}, {high:g})")
    return low, high


def generator(seed: int | np.random.Generator) -> np.random.Generator:
    """Return a random generator from a seed, or the generator itself."""
    if isinstance(seed, np.random.Generator):
        return seed
    return np.random.default_rng(_check.integer("seed", seed, 0))
