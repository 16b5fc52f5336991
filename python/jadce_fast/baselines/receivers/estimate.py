"""Result of a baseline receiver of a cell's columns."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Complex = npt.NDArray[np.complex128]
Real = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Estimate:
    """Channels of all devices, those of idle ones zero but for errors, with the decision who is active.

    Attributes
    ----------
    x : ndarray, shape (K, M)
    variance : ndarray, shape (K,)
        Error variance of an entry of every row, zero where the receiver knows none.
    active : ndarray of bool, shape (K,)
    restarts, diverged : int
        Chains that began anew, and that were given up.
    """

    x: Complex
    variance: Real
    active: npt.NDArray[np.bool_]
    restarts: int = 0
    diverged: int = 0
