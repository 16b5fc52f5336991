"""Images that a base station's radio makes of devices: mirror images by an imbalance of I and Q, and a constant offset.

The model explains them as devices of their own where pilots are closed under conjugation, as DFT sequences are: the
conjugate of device k is device K - k, and what is constant is device 0. They are known by their channels.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from .pilots import Pilots

IMAGE = "images of the radio"  # begins the reason not to trust a result
_WEAKER = 0.1  # power of a mirror image over its device's: 10 dB of rejection are poor
_ALIKE = 0.5  # squared coherence of what is a copy of the other; 1 / M by chance
_EVERYBODY = 0.5  # part of the devices as strong of which there are images, and of pairs that have one gain
_FLAT = 0.98  # part of an offset's energy in the mean over subcarriers; only the purest line of sight is as flat
_WHITE = 0.35  # squared mean over mean square of the power of beams: one half of white offsets, less of any channel
_SAME_PILOT = 0.8  # squared product of normalised pilots that are one
_COMPARED = 128  # entries of pilots that are compared

Indices = npt.NDArray[np.int64]
Complex = npt.NDArray[np.complex64]


class Images:
    """What of the pilots tells which devices may be images of others; planned once for many blocks.

    Parameters
    ----------
    pilots : Pilots
    """

    def __init__(self, pilots: Pilots) -> None:
        self._devices, self._rows = pilots.devices, pilots.rows is not None
        self.none = pilots.phases is not None  # scrambled pilots have no images
        self._flips: tuple[bool, ...] = (False, True)
        if pilots.rows is not None:
            self._flips = (False, True)[: 1 + np.array_equal(pilots.rows, pilots.rows[:, ::-1])]
            return
        q = pilots.select()
        step = max(1, q[..., 0].size // _COMPARED)

        def some(array: Complex) -> Complex:
            sample = np.array(array.reshape(-1, pilots.devices)[::step])
            norm = np.linalg.norm(sample, axis=0)
            return np.asarray(sample / np.where(norm > 0, norm, 1))

        self._own, self._mirrored = some(q), some(q[:, ::-1])
        self._is_constant = np.abs(self._own.sum(0)) ** 2 > _SAME_PILOT * len(self._own)

    def doubt(self, active: Indices, channels: Callable[[Indices], Complex]) -> str:
        """Words for why devices may be images, empty if none looks like one.

        Parameters
        ----------
        active : ndarray of int64, shape (A,)
            Ascending.
        channels : callable
            Channels (a, N, M) of some rows of `active`; not called where no pilot is the image of another one.
        """
        if self.none or not len(active):
            return ""
        words = []
        found: dict[int, float] = {}
        for flip, pairs in self._pairs(active):
            h = channels(pairs.ravel())
            own, strength = _mirrored(flip, *h.reshape(2, -1, *h.shape[1:]))
            found |= dict(zip(active[pairs[0, own]].tolist(), strength.tolist(), strict=True))
        # A radio makes images of all devices that are as strong; two channels may be alike by chance.
        if found:
            power = np.mean(np.abs(channels(np.arange(len(active)))) ** 2, axis=(1, 2))
            if len(found) >= _EVERYBODY * np.count_nonzero(power >= min(found.values())):
                names = ", ".join(map(str, sorted(found)))
                words.append(f"devices {names} look like mirror images of others (I/Q imbalance)")
        words += [
            f"device {active[i]} looks like a constant offset"
            for i in self._constant(active)
            if _is_offset(channels(np.array([i]))[0])
        ]
        return f"{IMAGE}: {'; '.join(words)}; scrambled pilots have none" if words else ""

    def _constant(self, active: Indices) -> Indices:
        """Rows of active devices whose pilot is constant."""
        return np.flatnonzero(active == 0 if self._rows else self._is_constant[active])

    def _pairs(self, active: Indices) -> list[tuple[bool, Indices]]:
        """Rows (2, pairs) of devices with conjugate pilots, and whether subcarriers are mirrored."""
        if self._rows:
            partner = -active % self._devices
            place = np.searchsorted(active, partner) % len(active)
            rows = np.flatnonzero((active[place] == partner) & (partner != active))
            return [(flip, np.stack([rows, place[rows]])) for flip in self._flips] if len(rows) else []
        own, found = self._own[:, active].conj().T, []
        for flip in self._flips:
            same = np.abs(own @ (self._mirrored if flip else self._own)[:, active].conj()) ** 2 > _SAME_PILOT
            np.fill_diagonal(same, False)
            if same.any():
                found.append((flip, np.array(np.nonzero(same))))
        return found


def _mirrored(flip: bool, weak: Complex, strong: Complex) -> tuple[Indices, npt.NDArray[np.float64]]:
    """Weak mirror images (rows of the pairs), and the mean powers of their devices: of one gain at all antennas, or of
    the other pairs' gains.
    """
    weak, strong = weak.astype(np.complex128), strong.conj().astype(np.complex128)
    strong = strong[:, ::-1] if flip else strong
    energy = np.sum(np.abs(weak) ** 2, axis=(1, 2)), np.sum(np.abs(strong) ** 2, axis=(1, 2))
    less = np.flatnonzero(energy[0] < _WEAKER * energy[1])
    if not len(less):
        return less, np.zeros(0)
    weak, strong, energy = weak[less], strong[less], (energy[0][less], energy[1][less])
    seen = np.sum(weak * strong.conj(), axis=1)  # (pairs, M)
    power = np.sum(np.abs(strong) ** 2, axis=1)
    common = np.abs(seen.sum(1)) ** 2 / (energy[0] * energy[1]) > _ALIKE
    gain = seen / np.sqrt(np.maximum(power, 1e-300))
    explained = np.sum(np.abs(gain) ** 2, axis=1) > _ALIKE * energy[0]
    gain = seen / np.maximum(power, 1e-300) * np.sqrt(power.mean(0))  # of one weight for all pairs
    gain /= np.maximum(np.linalg.norm(gain, axis=1), 1e-300)[:, None]
    alike = np.abs(gain.conj() @ gain.T) ** 2 > _ALIKE
    np.fill_diagonal(alike, False)
    others = explained & ((alike & explained).sum(1) >= max(1.0, _EVERYBODY * (len(gain) - 1)))
    kept = common | others
    return less[kept], energy[1][kept] / strong[0].size


def _is_offset(h: Any) -> bool:
    """Whether a channel (N, M) is flat over subcarriers, and the same at all antennas or white over them."""
    mean, energy = h.mean(0), np.mean(np.abs(h) ** 2)
    beams = np.abs(np.fft.fft(mean)) ** 2
    flat = np.mean(np.abs(mean) ** 2) > _FLAT * energy
    return bool(flat and (np.abs(mean.mean()) ** 2 > _FLAT * energy or beams.mean() ** 2 > _WHITE * np.mean(beams**2)))
