"""The sampler of Tang et al. as they print it."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ...langevin import LangevinReceiver
from ...priors.cell import CellPrior
from .estimate import Estimate

# The best setting of the grid search (docs/langevin-results.md): the least mean NMSE over three SNRs.
PAPER_STEP: dict[str, Any] = {"levels": 100, "steps": 10, "step": 1.4, "decay": None, "beta": 0.01}


class Algorithm1:
    """Algorithm 1 of Tang with its sign corrected, one chain, and the denoised state at the last level.

    Parameters
    ----------
    pilots : array_like, shape (T, 1, K)
    antennas : int
    prior : CellPrior
    **options
        Of :class:`jadce_fast.LangevinReceiver`, in the place of those of `PAPER_STEP`.
    """

    def __init__(self, pilots: npt.ArrayLike, antennas: int, prior: CellPrior, **options: Any) -> None:
        options = PAPER_STEP | options
        self._receiver = LangevinReceiver(pilots, antennas, prior, sampler="paper", chains=1, **options)

    def estimate(self, y: npt.ArrayLike, noise_var: float) -> Estimate:
        """Estimate channels from y (T, 1, M); zero if the chain diverged to the end."""
        p = self._receiver.sample(y, noise_var)
        mean = p.chains.mean(0) if len(p.chains) else np.zeros_like(p.mean)
        return Estimate(mean, p.variance, p.chain_probability >= 0.5, p.restarts, p.diverged)
