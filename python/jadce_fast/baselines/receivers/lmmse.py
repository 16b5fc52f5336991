"""LMMSE estimation with a threshold of activity."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from .estimate import Complex, Estimate, Real


class Lmmse:
    """LMMSE with the true mean power; devices whose share of the energy exceeds a threshold are active.

    A threshold on the energy itself, on its ratio to the largest, or the expected number of strongest columns make more
    errors at nearly every SNR: most of the energy of idle columns is leakage of the strong devices.

    Parameters
    ----------
    pilots : array_like, shape (T, 1, K)
    power : float
        Mean power of an entry of X, which are taken for uncorrelated.
    threshold : float
        Share of the energy of all devices.
    """

    def __init__(self, pilots: npt.ArrayLike, power: float, threshold: float = np.inf) -> None:
        self.pilots, self.power, self.threshold = np.asarray(pilots, np.complex128)[:, 0].T, power, threshold

    def estimate(self, y: npt.ArrayLike, noise_var: float) -> Estimate:
        """Estimate channels from y (T, 1, M)."""
        p = self.pilots
        gram = p.conj().T @ p + noise_var / self.power * np.eye(p.shape[1])
        filters = np.linalg.solve(gram, p.conj().T)
        x: Complex = (np.asarray(y)[:, 0].T @ filters).T
        gain = np.real(np.einsum("nl,ln->n", p, filters))
        return Estimate(x, self.power * (1 - gain), energy_share(x) >= self.threshold)


def energy_share(x: Complex) -> Real:
    """Share (K,) of every device in the energy of x (K, M)."""
    energy = np.sum(np.abs(x) ** 2, axis=1)
    return np.asarray(energy / np.sum(energy))


def best_threshold(statistic: Real, active: npt.NDArray[np.bool_]) -> float:
    """Threshold on a statistic of columns that makes the fewest wrong decisions; infinite if silence makes fewest."""
    order = np.argsort(-statistic)
    # Wrong decisions if the i strongest are taken as active: the missed and the false alarms.
    wrong = np.concatenate([[0], np.cumsum(np.where(active[order], -1, 1))])
    count = int(np.argmin(wrong))
    return float(statistic[order[count - 1]]) if count else float("inf")
