"""Confidence intervals of shares and of ratios."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from .. import _extras

Reals = npt.NDArray[np.float64]


def clopper_pearson(hits: npt.ArrayLike, count: npt.ArrayLike, level: float = 0.95) -> tuple[Reals, Reals]:
    """Exact interval of a share of which `hits` of `count` were seen, arrays of one shape."""
    with _extras.named():
        from scipy.stats import beta

    k, n = np.asarray(hits, np.float64), np.asarray(count, np.float64)
    tail = (1 - level) / 2
    with np.errstate(invalid="ignore"):
        low = np.where(k > 0, beta.ppf(tail, k, n - k + 1), 0.0)
        high = np.where(k < n, beta.ppf(1 - tail, k + 1, n - k), 1.0)
    return np.asarray(low), np.asarray(high)


def ratio_interval(above: npt.ArrayLike, below: npt.ArrayLike, level: float = 0.95) -> tuple[float, float]:
    """Interval of a ratio of means over independent draws, by the delta method with Student's t; from 0 to infinity.

    A single draw says nothing of it.
    """
    with _extras.named():
        from scipy.stats import t as student

    x, y = np.asarray(above, np.float64), np.asarray(below, np.float64)
    n, mean = len(x), float(np.mean(y)) if len(y) else 0.0
    if n < 2 or mean <= 0:
        return 0.0, np.inf
    ratio = float(np.mean(x)) / mean
    reach = float(student.ppf((1 + level) / 2, n - 1) * np.std(x - ratio * y, ddof=1) / mean / n**0.5)
    return max(ratio - reach, 0.0), ratio + reach
