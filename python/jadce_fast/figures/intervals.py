"""Confidence intervals of shares."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.stats import beta

Reals = npt.NDArray[np.float64]


def clopper_pearson(hits: npt.ArrayLike, count: npt.ArrayLike, level: float = 0.95) -> tuple[Reals, Reals]:
    """Exact interval of a share of which `hits` of `count` were seen, arrays of one shape."""
    k, n = np.asarray(hits, np.float64), np.asarray(count, np.float64)
    tail = (1 - level) / 2
    with np.errstate(invalid="ignore"):
        low = np.where(k > 0, beta.ppf(tail, k, n - k + 1), 0.0)
        high = np.where(k < n, beta.ppf(1 - tail, k + 1, n - k), 1.0)
    return np.asarray(low), np.asarray(high)
