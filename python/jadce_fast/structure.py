"""Devices that a receiver cannot plan with one by one: those without a pilot, and those that share one."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from .pilots import Pilots

_NEGLIGIBLE = 1e-12  # energy of a pilot, over the greatest one's, below which it is none
_ALIKE = 1e-5  # distance of invariants of normalised pilots below which they are compared
_PROPORTIONAL = 1e-5  # what two normalised pilots may lack in their product to be called proportional
DUPLICATE = "duplicate pilots"  # begins the reason not to trust a result
_NAMED = 12  # devices that a message names

Indices = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Shared:
    """How devices share what a receiver plans with.

    Attributes
    ----------
    planned : ndarray of int64, shape (K',)
        Devices that are planned with, ascending: one of every group with proportional pilots.
    source : ndarray of int64, shape (K,)
        Place in `planned` of every device, -1 without a pilot.
    share : ndarray of float32, shape (K,)
        One over the size of its group, 0 without a pilot.
    ratio : ndarray of complex64, shape (K,)
        Its pilot over that of the planned device, 1 without a pilot.
    """

    planned: Indices
    source: Indices
    share: npt.NDArray[np.float32]
    ratio: npt.NDArray[np.complex64]

    def members(self, active: Indices) -> tuple[Indices, Indices]:
        """Devices that stand behind planned ones, ascending, and the place in `active` (A,) of each."""
        place = np.full(len(self.planned) + 1, -1, np.int64)
        place[active] = np.arange(len(active))
        devices = np.flatnonzero(place[self.source] >= 0)
        return devices, place[self.source[devices]]

    def activity(self, planned: Any, of: Callable[[Any], Any] = np.asarray) -> Any:
        """Probabilities of all devices from those of the planned ones; `of` makes an array of the wanted kind."""
        return planned[..., of(np.maximum(self.source, 0))] * of(self.share)

    def channels(
        self, devices: Indices, channels: Any, var: Any, of: Callable[[Any], Any] = np.asarray
    ) -> tuple[Any, Any]:
        """Posterior means (A, N, M) and variances (A,) of `devices`, from those of whoever sent.

        Of devices with one pilot each was the one that sent with the same probability.
        """
        share, ratio = of(self.share[devices]), of(self.ratio[devices])
        size = abs(ratio) ** 2
        energy = (abs(channels) ** 2).mean((-2, -1))
        return channels * (share / ratio)[..., None, None], (var * share + energy * (share - share**2)) / size

    def tell(self, result: dict[str, Any], of: Callable[[Any], Any] = np.asarray) -> str:
        """Turn a result for the planned devices into one for all, in place, and return its `doubt`.

        Everybody whose pilot was found is in ``active``, a NumPy array, however unlikely each of many is.
        """
        devices, place = self.members(result["active"])
        rows = of(place)
        result["activity"] = self.activity(result["activity"], of)
        result["channels"], result["channel_var"] = self.channels(
            devices, result["channels"][rows], result["channel_var"][rows], of
        )
        result["active"] = devices
        return self.doubt(devices)

    def doubt(self, active: npt.NDArray[Any]) -> str:
        """Words for why a result with these active devices should not be trusted, empty if nothing is doubtful."""
        doubtful = active[self.share[active] < 1]
        return f"{DUPLICATE}: {_names(doubtful)}" if len(doubtful) else ""


def shared(pilots: Pilots) -> Shared | None:
    """Devices to plan with, or None if every device has a pilot of its own; warns of those that share one.

    Pilots are compared by invariants of a few random projections, never device by device.
    """
    source, ratio = _grouped_rows(pilots) if pilots.rows is not None else _grouped(pilots)
    planned, source = np.unique(source, return_inverse=True) if source.min() >= 0 else _without_zeros(source)
    if len(planned) == pilots.devices:
        return None
    size = np.bincount(source[source >= 0], minlength=len(planned))
    share = np.where(source >= 0, 1 / size[np.maximum(source, 0)], 0).astype(np.float32)
    alike = np.flatnonzero((share < 1) & (share > 0))
    if len(alike):
        groups = [np.flatnonzero(source == s) for s in np.unique(source[alike])[:_NAMED]]
        warnings.warn(
            f"pilots: {len(alike)} devices have the pilot of another one and cannot be told from it: "
            + "; ".join(_names(group) for group in groups),
            UserWarning,
            stacklevel=3,
        )
    return Shared(planned, source, share, ratio)


def _names(devices: Indices) -> str:
    some = ", ".join(str(k) for k in devices[:_NAMED])
    return some if len(devices) <= _NAMED else f"{some} and {len(devices) - _NAMED} more"


def _without_zeros(first: Indices) -> tuple[Indices, Indices]:
    planned, place = np.unique(first, return_inverse=True)
    return planned[1:], place - 1  # -1 comes first


def _grouped_rows(pilots: Pilots) -> tuple[Indices, npt.NDArray[np.complex64]]:
    """First device with a proportional pilot, of partial-DFT pilots, and the ratio of the two."""
    assert pilots.rows is not None
    k = np.arange(pilots.devices)
    period = pilots.devices // math.gcd(pilots.devices, *np.unique(pilots.rows - pilots.rows[0, 0]).tolist())
    turns = pilots.rows[0, 0] * (k - k % period) % pilots.devices
    return k % period, np.exp(-2j * np.pi * turns / pilots.devices).astype(np.complex64)


def _grouped(pilots: Pilots) -> tuple[Indices, npt.NDArray[np.complex64]]:
    """First device with a proportional pilot, -1 without a pilot, and the ratio of the two."""
    q = pilots.select().reshape(-1, pilots.devices)
    energy = np.zeros(pilots.devices)
    for row in q:
        energy += row.real.astype(np.float64) ** 2 + row.imag.astype(np.float64) ** 2
    first, ratio = np.arange(pilots.devices), np.ones(pilots.devices, np.complex64)
    silent = energy <= _NEGLIGIBLE * energy.max()
    first[silent] = -1
    # Products of projections are the same whatever a pilot is multiplied by. Equal ones stay together when all are
    # sorted by one after the other and split where there is a gap.
    turn = np.exp(2j * np.pi * np.random.default_rng(0).random((3, len(q)))).astype(np.complex64)
    a, b, c = (turn / np.sqrt(len(q))).astype(np.complex64) @ q
    scale = np.where(silent, 1, energy) / len(q)
    label = silent.astype(np.int64)
    for invariant in (a * b.conj(), b * c.conj(), c * a.conj()):
        for part in (invariant.real / scale, invariant.imag / scale):
            order = np.lexsort((part, label))
            new = (np.diff(label[order]) != 0) | (np.diff(part[order]) > _ALIKE)
            label[order] = np.concatenate([[0], np.cumsum(new)])
    met = np.bincount(label)
    order = np.flatnonzero((met[label] > 1) & ~silent)
    order = order[np.argsort(label[order], kind="stable")]
    for left in np.split(order, np.flatnonzero(np.diff(label[order])) + 1):
        while len(left) > 1:
            product = q[:, left[0]].conj().astype(np.complex128) @ q[:, left]
            norm = energy[left[0]] * energy[left]
            same = np.abs(product) ** 2 >= (1 - _PROPORTIONAL) * norm
            same[0] = True
            first[left[same]] = left[0]
            ratio[left[same]] = product[same] / energy[left[0]]
            left = left[~same]
    return first, ratio
