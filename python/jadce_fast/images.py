"""Images that a base station's radio makes of devices, in words; csrc/receiver/images.hpp says what they are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from . import _core
from .pilots import Pilots

IMAGE = "images of the radio"  # begins the reason not to trust a result

_FEWEST = 4, 16  # symbols and subcarriers that show a tone
_TONE, _NEIGHBOURS = 12.0, 4.0  # deviations that a tone's subcarrier stands out by, and its energy over its neighbours'


class Images:
    """What of the pilots tells which devices may be images of others; planned once for many blocks.

    Parameters
    ----------
    pilots : Pilots
    antennas : int
    """

    def __init__(self, pilots: Pilots, antennas: int) -> None:
        self.none = pilots.phases is not None  # scrambled pilots have no images
        if self.none:
            return
        if pilots.rows is not None:
            rows = np.ascontiguousarray(pilots.rows, np.int32)
            self._native = _core.Images(rows=rows, devices=pilots.devices, antennas=antennas)
        else:
            self._native = _core.Images(pilots=pilots.select(), antennas=antennas)

    def doubt(
        self, active: npt.NDArray[np.int64], channels: Callable[[npt.NDArray[np.int64]], npt.NDArray[Any]]
    ) -> str:
        """Words for why devices may be images, empty if none looks like one.

        Parameters
        ----------
        active : ndarray of int64, shape (A,)
            Ascending.
        channels : callable
            Channels (a, N, M) of some rows of `active`; not called where no pilot is the image of another one.
        """
        if self.none:
            return ""
        mirrored, constant = self._native.find(active, channels)
        words = [f"device {k} looks like a constant offset" for k in constant]
        if mirrored:
            names = ", ".join(map(str, mirrored))
            words.insert(0, f"devices {names} look like mirror images of others (I/Q imbalance)")
        return f"{IMAGE}: {'; '.join(words)}; scrambled pilots have none" if words else ""


def tone(pilots: Pilots, y: npt.NDArray[Any], active: npt.NDArray[np.int64], channels: npt.NDArray[Any]) -> str:
    """Words for what is constant over symbols on one subcarrier beside all devices, empty if nothing is.

    Cubic roots of the energies of means over symbols are about normal; errors of channels are smooth over subcarriers,
    and largest at both ends, where nothing is looked for.

    Parameters
    ----------
    pilots : Pilots
    y : ndarray, shape (T, N, M)
        Received block.
    active, channels : ndarray, shapes (A,), (A, N, M)
        Devices that were found.
    """
    if any(size < least for size, least in zip(y.shape, _FEWEST, strict=False)):
        return ""
    sent = pilots.select(active).mean(0)
    mean = y.mean(0) - (sent[:, None] @ channels.transpose(1, 0, 2))[:, 0]
    energy = np.sum(np.abs(mean.astype(np.complex128)) ** 2, axis=1)
    root = np.cbrt(energy)
    middle = np.median(root)
    deviation = 1.4826 * np.median(np.abs(root - middle))
    n = 1 + int(np.argmax(root[1:-1]))
    if root[n] - middle <= _TONE * deviation or energy[n] <= _NEIGHBOURS * (energy[n - 1] + energy[n + 1]):
        return ""
    return f"{IMAGE}: a constant remains on subcarrier {n} (DC offset); leave it out, or tell more noise there"
