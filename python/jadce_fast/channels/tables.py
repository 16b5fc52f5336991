"""Cluster tables CDL-A ... CDL-E, TR 38.901 Tables 7.7.1-1 to 7.7.1-5."""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files

import numpy as np

from .clusters import Clusters

MODELS = ("A", "B", "C", "D", "E")
ANGLES = ("departure", "arrival")


@cache
def load_table(model: str, angles: str) -> Clusters:
    """Read the clusters (C,) of a model as one end of the link sees it, float64.

    `angles` is the column of angles. The specular path of CDL-D and CDL-E is the first cluster, so that their K-factor
    is power[0] / (1 - power[0]).
    """
    if model not in MODELS:
        raise ValueError(f"model: expected one of {', '.join(MODELS)}, found {model!r}")
    if angles not in ANGLES:
        raise ValueError(f'angles: expected "departure" or "arrival", found {angles!r}')
    raw = json.loads((files(__package__) / "tables" / f"CDL-{model}.json").read_text())
    end = angles[0]
    power = 10 ** (np.array(raw["powers"]) / 10)
    specular = np.zeros(len(power))
    specular[0] = float(raw["los"])
    return Clusters(
        delay=np.array(raw["delays"]),
        power=power / power.sum(),
        azimuth=np.array(raw[f"ao{end}"]),
        zenith=np.array(raw[f"zo{end}"]),
        azimuth_spread=np.full(len(power), float(raw[f"cAS{end.upper()}"])),
        zenith_spread=np.full(len(power), float(raw[f"cZS{end.upper()}"])),
        specular=specular,
    )
