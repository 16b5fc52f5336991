"""Pilots that leave subcarriers out: parts of a block that have nothing to do with each other."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from .detection import Detection, Explained
from .pilots import Pilots
from .priors.restricted import RestrictedPrior
from .repeated import sequences

_SOUNDED = 1e-6  # energy of a subcarrier, over the mean of those of its device, from which it is sounded
_SAMPLED = 32  # devices whose pilots are compared from subcarrier to subcarrier
_ENOUGH = 2000  # products of pilots that tell chance from repetition
_ALIKE = 0.6  # correlation of neighbouring products: a sequence on every two subcarriers has half, and does no harm
_NEARLY_ALL = 0.75  # part of the subcarriers from which a device counts as sounding all of them,
_BALANCED = 1.25  # if the others' channels are known nearly as well

Indices = npt.NDArray[np.int64]


class PartReceiver(Protocol):
    """A receiver of one part."""

    def detect(self, y: Any, noise_var: float) -> Detection:
        """As of :class:`jadce_fast.Receiver`."""

    def seconds(self) -> dict[str, float]:
        """As of :class:`jadce_fast.Receiver`."""


class Parts:
    """Receivers of the parts of a block, each with devices and subcarriers of its own, and their common result.

    Parameters
    ----------
    split : list of (devices, subcarriers)
        From :func:`split`.
    pilots : Pilots
    prior : Prior
        Of all subcarriers.
    plan : callable
        Makes the receiver of a part from its pilots and its prior.
    """

    def __init__(
        self,
        split: list[tuple[Indices, Indices]],
        pilots: Pilots,
        prior: Any,
        plan: Callable[[Pilots, Any], PartReceiver],
    ) -> None:
        self._devices, self._subcarriers = pilots.devices, pilots.subcarriers
        self._parts = []
        for devices, subcarriers in split:
            seen = RestrictedPrior(prior, subcarriers)
            self._parts.append((devices, subcarriers, seen, plan(pilots.only(devices, subcarriers), seen)))

    def detect(self, y: npt.NDArray[np.complex64], noise_var: float) -> dict[str, Any]:
        """Fields of the Detection of a block (T, N, M)."""
        found = [(*part[:3], part[3].detect(np.ascontiguousarray(y[:, part[1]]), noise_var)) for part in self._parts]
        activity = np.zeros(self._devices, np.float32)
        for devices, _, _, out in found:
            activity[devices] = out.activity
        active = np.concatenate([devices[out.active] for devices, _, _, out in found])
        order = np.argsort(active)
        share = np.array([len(subcarriers) for _, subcarriers, _, _ in found], np.float64)
        share /= share.sum()

        def mean(values: Any) -> float:
            return float(share @ np.array(list(values)))

        outs = [out for *_, out in found]
        worst = next((out for out in outs if out.reason), next((out for out in outs if not out.converged), outs[0]))
        steps = itertools.zip_longest(*(out.history for out in outs))
        return {
            "activity": activity,
            "active": active[order],
            "channels": np.concatenate([_extended(seen, out.channels) for _, _, seen, out in found])[order],
            "channel_var": np.concatenate([_var(seen, out) for _, _, seen, out in found])[order],
            "iterations": max(out.iterations for out in outs),
            "converged": all(out.converged for out in outs),
            "noise_var": mean(out.noise_var for out in outs),
            "explained": Explained(*(mean(values) for values in zip(*(out.explained for out in outs), strict=True))),
            "stopped_because": worst.stopped_because,
            "overflow": sum(out.overflow for out in outs),
            "reason": "; ".join(dict.fromkeys(out.reason for out in outs if out.reason)),
            "history": tuple(
                {
                    "error_var": float(np.mean([step["error_var"] for step in row if step])),
                    "candidates": sum(step["candidates"] for step in row if step),
                }
                for row in steps
            ),
        }

    def seconds(self) -> dict[str, float]:
        """Time of the last detection, all parts together."""
        times = [part[3].seconds() for part in self._parts]
        return {name: sum(time.get(name, 0.0) for time in times) for name in dict.fromkeys(itertools.chain(*times))}


def split(pilots: Pilots, prior: Any) -> list[tuple[Indices, Indices]]:
    """Devices and subcarriers of every part, or nothing where one receiver for all is as good.

    That is so where all devices sound about all subcarriers, with sequences that differ from one to the next.

    Raises
    ------
    ValueError
        If devices sound sets of subcarriers that overlap and are not the same: their statistics have no common null.
        If sequences repeat on some neighbouring subcarriers, and not on all.
    """
    whole = np.arange(pilots.devices), np.arange(pilots.subcarriers)
    if pilots.rows is not None:
        return [whole] if sequences(pilots) else []
    q = pilots.select()
    energy = np.stack([np.sum(np.abs(q[:, n]) ** 2, axis=0) for n in range(pilots.subcarriers)], axis=1)  # (K, N)
    sounded = energy > _SOUNDED * energy.mean(1, keepdims=True)
    if sounded.all():
        return [whole] if _repeats(pilots) else []
    patterns, member = np.unique(sounded, axis=0, return_inverse=True)
    parts = []
    for some in _connected(patterns):
        subcarriers = np.flatnonzero(patterns[some].any(0))
        devices = np.flatnonzero(np.isin(member.ravel(), some))
        if len(some) > 1 and patterns[some].sum(1).min() < _NEARLY_ALL * len(subcarriers):
            raise ValueError(
                f"pilots: expected devices that sound the same subcarriers or different ones, found {len(some)} sets "
                f"that overlap, the smallest of {patterns[some].sum(1).min()} of {len(subcarriers)} subcarriers"
            )
        parts.append((devices, subcarriers, _repeats(pilots.only(devices, subcarriers))))
    nearly = len(parts) == 1 and sounded.sum(1).min() >= _NEARLY_ALL * pilots.subcarriers
    if nearly and RestrictedPrior(prior, parts[0][1]).imbalance() <= _BALANCED:
        return [part[:2] for part in parts if part[2]]
    return [part[:2] for part in parts]


def _repeats(pilots: Pilots) -> bool:
    """Whether sequences repeat on all subcarriers. If they do on some neighbouring ones only, there is no receiver."""
    if sequences(pilots) is not None:
        return True
    some = pilots.select(np.unique(np.linspace(0, pilots.devices - 1, _SAMPLED).astype(np.int64)))
    product = np.einsum("tni,tnj->nij", some.conj(), some)
    product[:, np.arange(some.shape[2]), np.arange(some.shape[2])] = 0
    energy = np.sum(np.abs(product[1:]) ** 2)
    alike = np.sum((product[:-1].conj() * product[1:]).real) / energy if product[1:].size >= _ENOUGH else 0
    if alike > _ALIKE:
        raise ValueError(
            "pilots: expected sequences that differ from subcarrier to subcarrier, or one for all of them, found ones "
            f"that repeat on neighbouring subcarriers (products of two devices' pilots are {alike:.0%} alike there): "
            "interference has the channels' covariance then, as far as it repeats"
        )
    return False


def _connected(patterns: npt.NDArray[np.bool_]) -> list[list[int]]:
    """Patterns that have subcarriers in common, directly or through others."""
    groups: list[tuple[npt.NDArray[np.bool_], list[int]]] = []
    for i, pattern in enumerate(patterns):
        touched = [group for group in groups if (group[0] & pattern).any()]
        rest = [group for group in groups if not (group[0] & pattern).any()]
        union = np.logical_or.reduce([pattern, *(group[0] for group in touched)])
        groups = [*rest, (union, [*itertools.chain(*(group[1] for group in touched)), i])]
    return [sorted(members) for _, members in groups]


def _extended(prior: RestrictedPrior, channels: npt.NDArray[np.complex64]) -> npt.NDArray[np.complex64]:
    return np.asarray(np.einsum("ns,asm->anm", prior.extend, channels), np.complex64)


def _var(prior: RestrictedPrior, out: Detection) -> npt.NDArray[np.float32]:
    power = (np.abs(out.channels) ** 2).mean((1, 2)) + out.channel_var
    return prior.extended_var(out.channel_var, power)
