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


def image_doubt(pilots: Pilots, active: Indices, channels: Callable[[Indices], Complex]) -> str:
    """Words for why devices may be images, empty if none looks like one.

    Parameters
    ----------
    pilots : Pilots
    active : ndarray of int64, shape (A,)
        Ascending.
    channels : callable
        Channels (a, N, M) of some rows of `active`; not called where no pilot is the image of another one.
    """
    if not len(active):
        return ""
    words = []
    constant, pairs = _constant(pilots, active), _pairs(pilots, active)
    found: dict[int, float] = {}
    if pairs:
        h = channels(np.arange(len(active)))
        power = np.mean(np.abs(h) ** 2, axis=(1, 2))
        for flip, some in pairs:
            weak, strong = _mirrored(flip, some, h)
            found |= dict(zip(active[weak].tolist(), power[strong].tolist(), strict=True))
    # A radio makes images of all devices that are as strong; two channels may be alike by chance.
    if found and len(found) >= _EVERYBODY * np.count_nonzero(power >= min(found.values())):
        words.append(f"devices {', '.join(map(str, sorted(found)))} look like mirror images of others (I/Q imbalance)")
    words += [
        f"device {active[i]} looks like a constant offset" for i in constant if _is_offset(channels(np.array([i]))[0])
    ]
    return f"{IMAGE}: {'; '.join(words)}; scrambled pilots have none" if words else ""


def _constant(pilots: Pilots, active: Indices) -> Indices:
    """Rows of active devices whose pilot is constant."""
    if pilots.rows is not None:
        return np.flatnonzero(active == 0) if pilots.phases is None else active[:0]
    q = pilots.select(active).reshape(-1, len(active))
    energy = np.sum(np.abs(q) ** 2, axis=0)
    return np.flatnonzero(np.abs(q.sum(0)) ** 2 > _SAME_PILOT * len(q) * energy)


def _pairs(pilots: Pilots, active: Indices) -> list[tuple[bool, Indices]]:
    """Rows (2, pairs) of devices with conjugate pilots, and whether subcarriers are mirrored."""
    if pilots.rows is not None:
        partner = -active % pilots.devices
        rows = np.flatnonzero(np.isin(partner, active) & (partner != active)) if pilots.phases is None else active[:0]
        some = np.stack([rows, np.searchsorted(active, partner[rows])])
        symmetric = np.array_equal(pilots.rows, pilots.rows[:, ::-1])
        return [(flip, some) for flip in (False, True)[: 1 + symmetric]] if len(rows) else []
    q = pilots.select(active)
    step = max(1, q[..., 0].size // _COMPARED)
    own = q.reshape(-1, len(active))[::step]
    found = []
    for flip in (False, True):
        other = (q[:, ::-1] if flip else q).reshape(-1, len(active))[::step].conj()
        norm = np.sum(np.abs(own) ** 2, axis=0)[:, None] * np.sum(np.abs(other) ** 2, axis=0)
        same = np.abs(own.conj().T @ other) ** 2 > _SAME_PILOT * norm
        np.fill_diagonal(same, False)
        if same.any():
            found.append((flip, np.array(np.nonzero(same))))
    return found


def _mirrored(flip: bool, pairs: Indices, h: Complex) -> Indices:
    """Rows (2, found) of weak mirror images and devices: of one gain at all antennas, or other pairs' gains."""
    weak, strong = h[pairs[0]].astype(np.complex128), h[pairs[1]].conj().astype(np.complex128)
    strong = strong[:, ::-1] if flip else strong
    energy = np.sum(np.abs(weak) ** 2, axis=(1, 2)), np.sum(np.abs(strong) ** 2, axis=(1, 2))
    less = energy[0] < _WEAKER * energy[1]
    if not less.any():
        return pairs[:, :0]
    weak, strong, pairs, energy = weak[less], strong[less], pairs[:, less], (energy[0][less], energy[1][less])
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
    return np.asarray(pairs[:, common | others])


def _is_offset(h: Any) -> bool:
    """Whether a channel (N, M) is flat over subcarriers, and the same at all antennas or white over them."""
    mean, energy = h.mean(0), np.mean(np.abs(h) ** 2)
    beams = np.abs(np.fft.fft(mean)) ** 2
    flat = np.mean(np.abs(mean) ** 2) > _FLAT * energy
    return bool(flat and (np.abs(mean.mean()) ** 2 > _FLAT * energy or beams.mean() ** 2 > _WHITE * np.mean(beams**2)))
