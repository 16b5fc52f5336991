"""The part of `jf.Receiver` on a GPU: arrays in, one graph launch, arrays out."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from ..detection import REASONS, Detection, Enqueued, Explained, History, reason
from ..images import Images
from ..structure import Shared
from . import arrays
from .detector import Detector
from .images import DeviceImages


class CudaReceiver:
    """Feeds a `Detector` and reads its results; calls take turns."""

    def __init__(
        self,
        detector: Detector,
        shape: tuple[int, int, int],
        images: Images,
        device_images: DeviceImages,
        shared: Shared | None = None,
    ) -> None:
        self.detector, self._shape, self._images, self._shared = detector, shape, images, shared
        self._device_images = device_images
        self._lock = threading.Lock()

    def enqueue(self, y: Any, noise: Any, deadline: float = math.inf) -> Enqueued:
        """Enqueue one batch on torch's current stream."""
        blocks = arrays.received(y, self._shape, self.detector.device.device)
        if not 1 <= len(blocks) <= self.detector.batch:
            raise ValueError(f"y: expected 1 to batch={self.detector.batch} blocks, found {len(blocks)}")
        d = self.detector
        with self._lock, d.device.here():  # what is computed from the result belongs to this detection, too
            d.run(blocks, noise, deadline)
            trusted, residual_ratio = d.word("trusted") != 0, d.word("residual") / d.word("noise")
            results = {name: d.buffers[name] for name in ("activity", "active", "channels", "channel_var")}
            if self._shared is not None:
                trusted = self._of_all(results, self._shared, trusted)
            d.mark()

        def of(tensor: torch.Tensor) -> Any:
            part = tensor[0] if arrays.is_one(y, self._shape) else tensor[: len(blocks)]
            return part if arrays.on_host(y) else arrays.like(part, y)  # a copy to the host would wait for the result

        def judge() -> Any:
            if self._device_images.none:
                return of(trusted)
            with self._lock, d.device.here():
                some = range(len(blocks))
                doubts = [self._device_images.suspected(results["active"][i], results["channels"][i]) for i in some]
                judged = trusted[: len(blocks)] & ~torch.stack(doubts)
                d.mark()
            return of(judged)

        return Enqueued(
            **{name: of(tensor) for name, tensor in results.items()},
            found=of(d.word("found")),
            iterations=of(d.word("iteration")),
            converged=of(d.word("converged")),
            late=of(d.word("stopped") == REASONS.index("deadline")),
            overflow=of(d.word("kept_left_out")),
            judge=judge,
            residual_ratio=of(residual_ratio),
            keeps=(blocks, d),
        )

    def _table(self, values: Any) -> torch.Tensor:
        return torch.as_tensor(values, device=self.detector.device.device)

    def _of_all(self, results: dict[str, torch.Tensor], shared: Shared, trusted: torch.Tensor) -> torch.Tensor:
        """Turn results for planned devices into those for all, in place, and return which are still trusted.

        As there is no more room, the first device of every group with one pilot stands for it in ``active``.
        """
        active, planned = results["active"], self._table(shared.planned)
        found = active >= 0
        devices = torch.where(found, planned[active.clamp(min=0)], -1)
        share = torch.where(found, self._table(shared.share)[devices.clamp(min=0)], 1.0)
        energy = results["channels"].abs().square().mean((-2, -1))
        results["activity"] = shared.activity(results["activity"], self._table)
        results["active"] = devices
        results["channels"] = results["channels"] * share[..., None, None]
        results["channel_var"] = results["channel_var"] * share + energy * (share - share**2)
        return trusted & (share == 1).all(-1)

    def detect(self, y: Any, noise: Any) -> Detection:
        """Detect in one block, and wait for the result."""
        if not arrays.is_one(y, self._shape):
            found = tuple(y.shape) if hasattr(y, "shape") else np.shape(y)
            raise ValueError(f"y: expected shape {self._shape}, found {found}")
        return self._all(y, noise)[0]

    def detect_many(self, y: Any, noise: Any) -> list[Detection]:
        """Detect in blocks of at most `batch` at a time, and wait for the results."""
        if arrays.is_one(y, self._shape):
            sizes = ", ".join(map(str, self._shape))
            raise ValueError(f"ys: expected shape (B, {sizes}), found one block {tuple(y.shape)}")
        return self._all(y, noise)

    def detect_arrived(self, block: torch.Tensor, there: Any, noise: Any, deadline: float) -> Detection:
        """Detect in a block (T, N, M) that is on the device after the event `there`; results are NumPy's."""
        with self._lock, self.detector.device.here():
            self.detector.device.wait(there)
            self.detector.run(block[None], noise, deadline)
            (one,) = self._results(1, torch.device("cpu"))
            return self._detection(*one, None)

    def _all(self, y: Any, noise: Any) -> list[Detection]:
        device = self.detector.device.device
        blocks = arrays.received(y, self._shape, device)
        where = torch.device("cpu") if arrays.on_host(y) else device
        found: list[Detection] = []
        with self._lock, self.detector.device.here():
            for first in range(0, len(blocks), self.detector.batch):
                some = blocks[first : first + self.detector.batch]
                self.detector.run(some, noise)
                found += [self._detection(*one, y) for one in self._results(len(some), where)]
        return found

    def _results(self, count: int, where: torch.device) -> Iterator[tuple[Any, Any, Any, dict[str, Any]]]:
        """Control, history, active devices and results of each of the last detection's blocks."""
        control, history, active = self.detector.report(count)  # the host waits here
        if not np.isfinite(control["received"]).all():
            raise ValueError("y: expected finite numbers, found NaN or infinite ones")
        found = [int(a) for a in control["found"]]
        results = self.detector.results(found, where)
        return zip(control, history, [k[:a] for k, a in zip(active, found, strict=True)], results, strict=True)

    def _detection(self, control: Any, history: Any, active: Any, result: dict[str, Any], y: Any) -> Detection:
        """Make a Detection of a block's numbers, the devices found, which are on the host, and its results."""
        rounds, power = int(control["iteration"]), np.float64(control["power"])
        remains = (control["residual"] if len(active) else control["received"]) * power
        doubts = []

        def of(values: Any) -> torch.Tensor:
            return torch.as_tensor(values, device=result["channels"].device)

        if self._shared is not None:
            result["active"] = active
            doubts.append(self._shared.tell(result, of))
            active, result["active"] = result["active"], of(result["active"])
        overflow, stopped = int(control["kept_left_out"]), REASONS[control["stopped"]]
        explained = Explained(
            float(remains / (power * control["noise"])), float(control["least"]), float(control["most"])
        )
        why = "; ".join(filter(None, (reason(stopped, explained, overflow), *doubts)))
        return Detection(
            **{name: arrays.like(x, y) for name, x in result.items()},
            iterations=rounds,
            converged=bool(control["converged"]),
            noise_var=float(remains),
            explained=explained,
            stopped_because=stopped,
            overflow=overflow,
            reason=why or self._images.doubt(active, lambda rows: result["channels"][of(rows)].cpu().numpy()),
            history=History(history[:rounds], power),
        )
