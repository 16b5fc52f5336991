"""Images that a base station's radio makes of devices, in words; csrc/receiver/images.hpp says what they are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from . import _core
from .pilots import Pilots

IMAGE = "images of the radio"  # begins the reason not to trust a result


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
        if not mirrored and not constant:
            return ""
        words = [f"device {k} looks like a constant offset" for k in constant]
        if mirrored:
            names = ", ".join(map(str, mirrored))
            words.insert(0, f"devices {names} look like mirror images of others (I/Q imbalance)")
        return f"{IMAGE}: {'; '.join(words)}; scrambled pilots have none"


def tone(subcarrier: int) -> str:
    """Words for what is constant over symbols on one subcarrier beside all devices; csrc/receiver/tone.hpp finds it."""
    return f"{IMAGE}: a constant remains on subcarrier {subcarrier} (DC offset); leave it out, or tell more noise there"
