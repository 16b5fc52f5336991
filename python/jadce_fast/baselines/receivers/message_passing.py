"""Turbo message passing with the exact denoiser of a cell."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ... import reference
from ...priors.cell import CellPrior
from .estimate import Estimate


class MessagePassing:
    """`reference.cell_tmp`, the oracle of the Langevin receiver's tests, as a contender: exact and slow, no product.

    Parameters
    ----------
    pilots : array_like, shape (T, 1, K)
    prior : CellPrior
    """

    def __init__(self, pilots: npt.ArrayLike, prior: CellPrior) -> None:
        self.pilots, self.prior = np.asarray(pilots)[:, 0].T, prior

    def estimate(self, y: npt.ArrayLike, noise_var: float) -> Estimate:
        """Estimate channels from y (T, 1, M)."""
        mean, probability = reference.cell_tmp(np.asarray(y)[:, 0].T, self.pilots, noise_var, self.prior.posterior)
        return Estimate(mean.T, np.zeros(len(self.pilots)), probability >= 0.5)
