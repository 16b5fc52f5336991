"""Cluster tables CDL-A ... CDL-E, TR 38.901 Tables 7.7.1-1 to 7.7.1-5."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import numpy as np
import numpy.typing as npt

MODELS = ("A", "B", "C", "D", "E")

# TR 38.901 Table 7.5-3: offsets of the 20 rays of a cluster for a cluster angular spread of one degree.
_HALF = (0.0447, 0.1413, 0.2492, 0.3715, 0.5129, 0.6797, 0.8844, 1.1481, 1.5195, 2.1551)
RAY_OFFSETS = np.array([sign * offset for offset in _HALF for sign in (1, -1)])


@dataclass(frozen=True)
class Table:
    """One CDL model as one end of the link sees it; C clusters, the specular path of CDL-D/E counting as one.

    Attributes
    ----------
    line_of_sight : bool
        Whether the first of the clusters is a single specular path.
    delay : ndarray of float64, shape (C,)
        In units of the RMS delay spread.
    power : ndarray of float64, shape (C,)
        Linear; they sum to one, so that the K-factor of CDL-D/E is power[0] / (1 - power[0]).
    azimuth, zenith : ndarray of float64, shape (C,)
        In degrees.
    azimuth_spread, zenith_spread : float
        Cluster angular spreads c_ASD, c_ZSD (or c_ASA, c_ZSA), in degrees.
    """

    line_of_sight: bool
    delay: npt.NDArray[np.float64]
    power: npt.NDArray[np.float64]
    azimuth: npt.NDArray[np.float64]
    zenith: npt.NDArray[np.float64]
    azimuth_spread: float
    zenith_spread: float


@cache
def load_table(model: str, angles: str) -> Table:
    """Read the table of a model; `angles` is the column of angles, "departure" or "arrival"."""
    if model not in MODELS:
        raise ValueError(f"model: expected one of {', '.join(MODELS)}, found {model!r}")
    if angles not in ("departure", "arrival"):
        raise ValueError(f'angles: expected "departure" or "arrival", found {angles!r}')
    raw = json.loads((files(__package__) / "tables" / f"CDL-{model}.json").read_text())
    end = angles[0]
    power = 10 ** (np.array(raw["powers"]) / 10)
    return Table(
        line_of_sight=bool(raw["los"]),
        delay=np.array(raw["delays"]),
        power=power / power.sum(),
        azimuth=np.array(raw[f"ao{end}"]),
        zenith=np.array(raw[f"zo{end}"]),
        azimuth_spread=raw[f"cAS{end.upper()}"],
        zenith_spread=raw[f"cZS{end.upper()}"],
    )
