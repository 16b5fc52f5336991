"""Propagation paths of CDL channels, TR 38.901 clause 7.7.1."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from .. import _check
from .clusters import DELAY_SPREAD, RAY_OFFSETS, jitter, settle, spread_rays
from .tables import load_table

_OFFSETS = np.array(RAY_OFFSETS)


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
        return Paths(**{f.name: getattr(self, f.name)[index] for f in fields(self)})


def draw_paths(
    count: int,
    model: str = "C",
    *,
    delay_spread: float | tuple[float, float] = DELAY_SPREAD,
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
        Randomise every cluster around the table as the family that the shipped priors were trained on: delays, powers
        and angular spreads of clusters are multiplied by log-normal factors, angles have a normal error. Powers still
        sum to one.
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

    shape, ray_shape = (count, len(table.delay)), (count, len(table.delay), len(_OFFSETS))
    if randomize:
        table = settle(np, jitter(np, table, lambda: rng.standard_normal(shape)))
    azimuth = table.azimuth + (rng.uniform(-180, 180, (count, 1)) if random_azimuth else np.zeros((count, 1)))
    delay = table.delay * rng.uniform(low, high, (count, 1))
    coupled = _OFFSETS[rng.random(ray_shape, dtype=np.float32).argsort(axis=-1)]
    power, azimuth, zenith = spread_rays(table._replace(azimuth=azimuth), _OFFSETS, coupled)
    phase = rng.uniform(-np.pi, np.pi, ray_shape)
    return Paths(delay, np.broadcast_to(power, ray_shape), np.deg2rad(azimuth), np.deg2rad(zenith), phase)


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
