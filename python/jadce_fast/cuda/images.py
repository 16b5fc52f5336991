"""Images of a radio in a detection that may still run: csrc/receiver/images.hpp by torch, without waiting."""

from __future__ import annotations

import numpy as np
import torch

from ..pilots import Pilots

# The constants of csrc/receiver/images.cpp, to which tests/test_cuda_images.py holds this.
_WEAKER, _ALIKE, _CHANCE, _FEWEST, _EVERYBODY, _FLAT, _WHITE, _NOTHING = 0.1, 0.5, 1e-3, 1.5, 0.5, 0.98, 0.35, 1e-300


class DeviceImages:
    """Looks for images among devices with DFT pilots, whose conjugates follow from their numbers.

    Attributes
    ----------
    none : bool
        Whether there are none to look for: of scrambled pilots, and of others than DFT pilots.
    """

    def __init__(self, pilots: Pilots) -> None:
        self.none, self._devices = pilots.rows is None or pilots.phases is not None, pilots.devices
        rows = pilots.rows
        self._flips = (False, True) if rows is not None and np.array_equal(rows, rows[:, ::-1]) else (False,)

    def suspected(self, active: torch.Tensor, channels: torch.Tensor) -> torch.Tensor:
        """Enqueue whether some of `active` (A,), ascending and then -1, with `channels` (A, N, M), look like images."""
        sent, h = active >= 0, channels.to(torch.complex128)
        ascending, partner = torch.where(sent, active, self._devices), -active % self._devices
        place = torch.searchsorted(ascending, partner).clamp(max=len(active) - 1)
        pairs = sent & (ascending[place] == partner) & (partner != active)
        kept, least = torch.zeros_like(sent), torch.full_like(active, torch.inf, dtype=torch.float64)
        for flip in self._flips:
            other = h[place].conj().flip(1) if flip else h[place].conj()
            alike, strength = _mirrored(h, other, pairs)
            kept, least = kept | alike, torch.where(alike, strength, least)
        power = (abs(h) ** 2).mean((1, 2))
        many = kept.sum() >= _EVERYBODY * (sent & (power >= least.min())).sum()
        return (kept.any() & many) | ((active == 0) & _offsets(h)).any()


def _unlikely(dimensions: torch.Tensor) -> torch.Tensor:
    """Squared coherence that chance exceeds in one of a thousand cases, never below _ALIKE; above one: nothing is."""
    likely = 1 - _CHANCE ** (1 / (dimensions - 1).clamp(min=_NOTHING))
    return torch.where(dimensions > _FEWEST, likely.clamp(min=_ALIKE), 2.0)


def _flat_part(h: torch.Tensor) -> torch.Tensor:
    """Part of the energy of channels (A, N, M) that lies in their means over subcarriers."""
    energy = (abs(h) ** 2).mean((1, 2)).clamp(min=_NOTHING)
    return ((abs(h.mean(1)) ** 2).mean(1) / energy).clamp(1e-3, 1.0)


def _mirrored(weak: torch.Tensor, strong: torch.Tensor, pairs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Tell which devices look like images, of one gain at all antennas or of the other pairs' gains.

    `weak` and `strong` (A, N, M) are a device's channel and the image that its partner would have, `pairs` (A,) tells
    where there is one. Returns a mask (A,), and the mean power of the partner.
    """
    seen, power = (weak * strong.conj()).sum(1), (abs(strong) ** 2).sum(1)  # (A, M)
    own, other = (abs(weak) ** 2).sum((1, 2)), power.sum(1)
    less = pairs & (own < _WEAKER * other)
    antennas = torch.full_like(own, weak.shape[2])
    common = abs(seen.sum(1)) ** 2 > _unlikely(antennas / _flat_part(strong)) * own * other
    explained = less & ((abs(seen) ** 2 / power.clamp(min=_NOTHING)).sum(1) > _ALIKE * own)
    usual = (power * less[:, None]).sum(0) / less.sum().clamp(min=1)
    gain = seen / power.clamp(min=_NOTHING) * usual**0.5  # of one weight for all pairs
    gain = gain / torch.linalg.vector_norm(gain, dim=1).clamp(min=_NOTHING)[:, None]
    alike = (abs(gain.conj() @ gain.T) ** 2 > _unlikely(antennas)).fill_diagonal_(False)
    others = (alike & explained).sum(1) >= (_EVERYBODY * (less.sum() - 1)).clamp(min=1)
    return less & (common | (explained & others)), other / (weak.shape[1] * weak.shape[2])


def _offsets(h: torch.Tensor) -> torch.Tensor:
    """Whether channels (A, N, M) are flat over subcarriers, and the same at all antennas or white over them: (A,)."""
    if h.shape[1] < 2:  # all are flat
        return torch.zeros(len(h), dtype=torch.bool, device=h.device)
    mean, energy = h.mean(1), (abs(h) ** 2).mean((1, 2))
    beams = abs(torch.fft.fft(mean)) ** 2
    same = abs(mean.mean(1)) ** 2 > _FLAT * energy
    white = beams.mean(1) ** 2 > _WHITE * (beams**2).mean(1)
    return ((abs(mean) ** 2).mean(1) > _FLAT * energy) & (same | white)
