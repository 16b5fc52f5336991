"""The cell of Tang et al.: devices on a ring, path loss, Rayleigh fading, sporadic activity; and its exact prior.

In Y = X P + Z the columns of X are independent. A column is zero with probability 1 - rate, else CN(0, g I) with a
power g that depends on the device's distance alone, so that every posterior is an integral over one distance.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from .. import _check
from .._namespace import namespace

_LEAST_NODES, _NODES_PER_WIDTH = 16, 10

Real = npt.NDArray[np.float64]


@cache
def _legendre(nodes: int) -> tuple[Real, Real]:
    t, weight = np.polynomial.legendre.leggauss(nodes)
    t.flags.writeable = weight.flags.writeable = False
    return t, weight


@dataclass(frozen=True)
class CellPrior:
    """Exact prior of one column of X.

    Attributes
    ----------
    activity_rate : float
        Probability that a device is active, in (0, 1).
    power : float, optional
        Mean power of an entry of an active device's column, over all distances. Default 1 / activity_rate: the entries
        of X have mean power one, as in the paper.
    inner, outer : float
        Radii in metres of the ring over which devices are uniform.
    exponent : float
        Exponent of distance in the path loss, in (2, 10): 128.1 + 10 exponent log10(d / km) dB, whose constant drops
        out of normalised powers.

    Raises
    ------
    ValueError, TypeError
        If an attribute is out of range.
    """

    activity_rate: float = 0.1
    power: float | None = None
    inner: float = 35.0
    outer: float = 250.0
    exponent: float = 3.76

    takes_tensors: ClassVar[bool] = True

    def __post_init__(self) -> None:
        _check.real("activity_rate", self.activity_rate, 1e-12, 1 - 1e-12, closed=True)
        if self.power is not None:
            _check.scale("power", self.power)
        _check.real("inner", self.inner, 0.0, 1e6)
        _check.real("outer", self.outer, self.inner, 1e6)
        _check.real("exponent", self.exponent, 2.0, 10.0)

    @property
    def mean_power(self) -> float:
        """Mean power of an entry of an active device's column."""
        return 1 / self.activity_rate if self.power is None else self.power

    @property
    def unit(self) -> float:
        """Root mean square of the entries of X, inactive ones included."""
        return math.sqrt(self.mean_power * self.activity_rate)

    def with_power(self, power: float | None) -> CellPrior:
        """The same cell with another mean power of active devices, by default 1 / ``activity_rate``."""
        return replace(self, power=power)

    def gain(self, distance: npt.ArrayLike) -> Real:
        """Power of an entry at `distance` (metres), whose mean over the ring is ``mean_power``."""
        # Mean of d^-a over the area: 2 / (R^2 - r^2) integral of d^(1 - a).
        a, r, big = self.exponent, self.inner, self.outer
        mean = 2 / (a - 2) * (r ** (2 - a) - big ** (2 - a)) / (big**2 - r**2)
        result: Real = self.mean_power * np.asarray(distance, np.float64) ** -a / mean
        return result

    def mixture(self, antennas: int) -> tuple[Real, Real]:
        """Powers g and weights w (which add to one) of a quadrature over distance.

        Gauss-Legendre in log d: the likelihood of log g over M antennas is a bump of width 1 / sqrt(M), so the number
        of nodes grows with sqrt(M); the error of posterior means is below 1e-5 (``tests/test_cell.py``).
        """
        width = self.exponent * math.log(self.outer / self.inner)
        nodes = _LEAST_NODES + math.ceil(_NODES_PER_WIDTH / 7.4 * width * math.sqrt(antennas))
        t, weight = _legendre(nodes)
        distance = self.inner * (self.outer / self.inner) ** ((1 + t) / 2)
        weight = weight * distance**2  # area element d dd = d^2 d(log d)
        return self.gain(distance), weight / weight.sum()

    def tables(self, noise_var: Any, antennas: int) -> tuple[Any, Any, Any]:
        """Per mixture component: rate 1 / (g + v), offset log(odds w (1 + g / v)^-M) and Wiener gain g / (g + v).

        Relative to an inactive column's, an active one's density at energy s is the sum of
        exp(offset - rate s) over exp(-s / v). Shape (..., G) for `noise_var`, array or tensor, of shape (...).
        """
        xp = namespace(noise_var)
        g, w = self.mixture(antennas) if xp is np else _on_device(self, antennas, noise_var.device)
        v = xp.asarray(noise_var, dtype=xp.float64)[..., None]
        odds = math.log(self.activity_rate) - math.log1p(-self.activity_rate)
        return 1 / (g + v), xp.log(w) + odds - antennas * xp.log1p(g / v), g / (g + v)

    def posterior(self, columns: Any, noise_var: Any) -> tuple[Any, Any, Any]:
        """Posterior of columns in white noise: of tensors as tensors, where they are, else as arrays.

        Parameters
        ----------
        columns : array_like or complex tensor, shape (..., M)
            Columns of X plus noise.
        noise_var : array_like or real tensor, broadcast to (...)
            Complex noise variance per entry, positive.

        Returns
        -------
        mean : shape (..., M)
        variance : shape (...)
            Per entry, averaged over the M entries.
        probability : shape (...)
            Posterior probability that the device is active.
        """
        x, v = in_double(columns, noise_var)
        xp, antennas = namespace(x), x.shape[-1]
        energy = (x.real**2 + x.imag**2).sum(-1)
        rate, offset, gain = self.tables(v, antennas)
        exponent = offset - energy[..., None] * rate
        zero = -energy / v
        top = xp.maximum(xp.amax(exponent, -1), zero)
        weight = xp.exp(exponent - top[..., None])
        total = weight.sum(-1) + xp.exp(zero - top)
        first, second = (weight * gain).sum(-1) / total, (weight * gain**2).sum(-1) / total
        variance = v * first + energy / antennas * xp.clip(second - first**2, 0, None)
        return first[..., None] * x, variance, weight.sum(-1) / total


@lru_cache(maxsize=64)
def _on_device(prior: CellPrior, antennas: int, device: Any) -> tuple[Any, Any]:
    """`CellPrior.mixture` as tensors of a device; kept, because a copy to it would wait for all that it has to do."""
    import torch

    g, w = (torch.tensor(a, device=device) for a in prior.mixture(antennas))
    return g, w


def in_double(columns: Any, noise_var: Any) -> tuple[Any, Any]:
    """Columns (..., M) and their noise variance, broadcast to (...), as arrays or tensors of double precision."""
    xp = namespace(columns)
    x = xp.asarray(columns, dtype=xp.complex128)
    return x, xp.broadcast_to(xp.asarray(noise_var, dtype=xp.float64), x.shape[:-1])
