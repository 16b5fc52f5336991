"""What becomes of the numbers that a loop on the CPU gives: names, doubts and devices that were not planned."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from .array import Array
from .detection import REASONS, Detection, Explained, History, reason
from .images import Images, tone
from .structure import Shared


@dataclasses.dataclass(frozen=True)
class Results:
    """Makes Detections of the results of one receiver.

    Parameters
    ----------
    array : Array
        Of the receiver's antennas.
    images : Images
        Which devices may look like images of others.
    shared : Shared or None
        Devices without a pilot or with another one's.
    places : sequence of int
        Numbers of the subcarriers, in words.
    learns_rate : bool
        Whether the rate of activity is a result too.
    """

    array: Array
    images: Images
    shared: Shared | None
    places: Sequence[int]
    learns_rate: bool

    def of_loop(self, result: dict[str, Any], noise_var: float) -> Detection:
        """Of the native loop, in noise of this variance."""
        constant_on = result.pop("tone")
        result["stopped_because"] = stopped = REASONS[result.pop("stopped")]
        result["explained"] = explained = Explained(result["noise_var"] / noise_var, *result.pop("range"))
        result["history"] = History(result["history"])
        result["reason"] = reason(stopped, explained, result["overflow"])
        found = self.of_planned(result)
        if found.reason or constant_on < 0:
            return found
        return dataclasses.replace(found, reason=tone(self.places[constant_on]))

    def of_planned(self, result: dict[str, Any]) -> Detection:
        """Of the planned devices, with a reason not to trust it or an empty one."""
        if self.array.stride > 1:
            result["channels"] = self.array.from_beams(result["channels"])
        if self.shared is not None:
            doubts = result["reason"], self.shared.tell(result)
            result["reason"] = "; ".join(filter(None, doubts))
        if self.learns_rate:
            result["learned_rate"] = float(result["activity"].mean())
        found = object.__new__(Detection)  # the constructor of a frozen class takes half as long as all else here
        found.__dict__.update(result)
        if found.reason or self.images.none:
            return found
        doubt = self.images.doubt(found.active, lambda i: found.channels[i])
        return dataclasses.replace(found, reason=doubt) if doubt else found
