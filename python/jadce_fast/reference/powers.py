"""What is believed of received powers, and of devices that are too weak to be told from noise."""

from __future__ import annotations

import numpy as np

from ..rules import Rules
from .activity import sigmoid
from .linear import Array, Real

DEFAULT = Rules()


def device_power(energy: Array, v: Array, subcarriers: int, rules: Rules = DEFAULT) -> Real:
    """Received power per entry from KLT energies: max(sum |z|^2 / (N M) - P / N mean(v), smallest_power mean(v)).

    `energy` (A, P, M), `v` (M,); returns (A,). Cai (59), with the guard that it needs.
    """
    kept, beams = energy.shape[1:]
    noise = np.mean(v)
    signal = energy.sum((1, 2)) / (subcarriers * beams) - noise * kept / subcarriers
    return np.asarray(np.maximum(signal, rules.smallest_power * noise))


def least_power(
    error: float, excess: float, deviation: float, expected: float, rules: Rules = DEFAULT, *, faintest: float = np.inf
) -> float:
    """Least received power that a test of activity looks for: levels that only noise can reach make ghosts of it.

    Parameters
    ----------
    error : float
        Mean error variance that module B sees. Powers far below cannot be told from it.
    excess : float
        What the block's mean square has above the noise, over the pilots' power.
    deviation : float
        Its standard deviation if nobody is active. Above `evidence` of them devices are there, and powers about their
        mean, of `weakest` of it and more, are looked for in any case.
    expected : float
        Number of active devices.
    rules : Rules
        `decodable`, `weakest`, `farthest` and `evidence`.
    faintest : float
        As the powers that were found let expect, but not below `farthest` of the mean.
    """
    decodable = rules.decodable * error
    if not excess > rules.evidence * deviation:
        return decodable
    mean = excess / max(expected, 1.0)
    return min(decodable, rules.weakest * mean, max(faintest, rules.farthest * mean))


def faintest_power(power: Array, probability: Array, rules: Rules = DEFAULT) -> float:
    """Power down to which devices are expected: `reach` standard deviations of the logarithms below their mean.

    `power` and `probability` (A,) are the candidates'; infinite if there is at most one.
    """
    count = np.sum(probability)
    if not count > 1:
        return np.inf
    mean = probability @ np.log(power) / count
    spread = np.sqrt(probability @ (np.log(power) - mean) ** 2 / count)
    return float(np.exp(mean - rules.reach * spread))


def can_wait(certain: bool, same: bool, fast: bool, sought: float, faintest: float) -> bool:
    """Tell whether devices need no test of activity before the next iteration, by what the last one left.

    Parameters
    ----------
    certain, same : bool
        Whether each of its candidates was certain, and whether they were those of the test before.
    fast : bool
        Whether the error falls fast: a later test sees more.
    sought, faintest : float
        Its `least_power`, and the `faintest_power` that is to be expected.
    """
    return certain and (not fast if same else fast and sought <= faintest)


def prior_rate(
    rate: float, excess: float, deviation: float, least: float, devices: int, rules: Rules = DEFAULT
) -> float:
    """Prior probability of "active" before a test.

    Parameters
    ----------
    rate : float
        Activity rate.
    excess, deviation : float
        As of `least_power`. Where the excess proves no device, there are no more of them than could hide in it,
    least : float
        with this power.
    devices : int
        K.
    rules : Rules
        `evidence`.
    """
    hidden = rules.evidence * deviation
    if excess > hidden:
        return rate
    most = (max(excess, 0.0) + hidden) / least
    return min(rate, max(min(most, (devices + 0.5) / 2), 0.5) / (devices + 0.5))


def unseen(log_odds: Array, found: float, awaited: float, rules: Rules = DEFAULT, *, faintest: float = 0.0) -> Real:
    """Probabilities that devices are active but too weak to be seen, to be added to those of all at the end.

    Devices are missing if fewer were found than awaited. They are too weak to be seen if others were barely seen, which
    is more likely than that the rate is wrong; no more than `rules.unseen` for each of those. Who cannot be seen at all
    may be anybody (`rules.invisible`); of a power below the least that was looked for, log-likelihood ratios are about
    half as great as those of the least, hence the root of the odds. If the powers that were found do not differ, or are
    known, nobody is only a little weaker.

    Parameters
    ----------
    log_odds : array_like, shape (K,)
        Of the last test of activity.
    found, awaited : float
        Sum of the candidates' probabilities, and the number of active devices a priori.
    rules : Rules
        `faint`, `unseen` and `invisible`.
    faintest : float
        `faintest_power` of those that were found, over the mean power.

    Returns
    -------
    ndarray of float64, shape (K,)
    """
    odds = np.asarray(log_odds)
    faint = np.count_nonzero((odds > 0) & (odds < rules.faint))
    missing = min(max(awaited - found, 0.0), rules.unseen * faint)
    weight = np.where(faintest < 1, np.exp(0.5 * np.minimum(odds, 0.0)), 0.0) + rules.invisible
    inactive = 1 - sigmoid(odds)
    total = float(inactive @ weight)
    added = inactive * np.minimum(weight * (missing / total if total else 0.0), 1.0)
    # Who was not declared active stays unlikely.
    most = np.where(odds < 0, np.maximum(0.499 - sigmoid(odds), 0.0), 1.0)
    return np.asarray(np.minimum(added, most))
