"""The part of `jf.Receiver` on a GPU: arrays in, one graph launch, arrays out."""

from __future__ import annotations

import math
import threading
from typing import Any

import numpy as np
import torch

from ..detection import REASONS, Detection, Enqueued, Explained, reason
from ..structure import Shared
from . import arrays
from .detector import Detector


class CudaReceiver:
    """Feeds a `Detector` and reads its results; calls take turns."""

    def __init__(self, detector: Detector, shape: tuple[int, int, int], shared: Shared | None = None) -> None:
        self.detector, self._shape, self._shared = detector, shape, shared
        self._lock = threading.Lock()

    def enqueue(self, y: Any, noise_var: float, deadline: float = math.inf) -> Enqueued:
        """Enqueue one batch on torch's current stream."""
        blocks = arrays.received(y, self._shape, self.detector.device.device)
        if not 1 <= len(blocks) <= self.detector.batch:
            raise ValueError(f"y: expected 1 to batch={self.detector.batch} blocks, found {len(blocks)}")
        d = self.detector
        with self._lock, d.device.here():  # what is computed from the result belongs to this detection, too
            d.run(blocks, noise_var, deadline)
            trusted, residual_ratio = d.word("trusted") != 0, d.word("residual") / d.word("noise")
            results = {name: d.buffers[name] for name in ("activity", "active", "channels", "channel_var")}
            if self._shared is not None:
                trusted = self._of_all(results, self._shared, trusted)
            d.mark()

        def of(tensor: torch.Tensor) -> Any:
            part = tensor[0] if arrays.is_one(y, self._shape) else tensor[: len(blocks)]
            host = isinstance(y, np.ndarray) or not hasattr(y, "ndim")  # its kind would wait for the result
            return part if host else arrays.like(part, y)

        return Enqueued(
            **{name: of(tensor) for name, tensor in results.items()},
            found=of(d.word("found")),
            iterations=of(d.word("iteration")),
            converged=of(d.word("converged")),
            late=of(d.word("stopped") == REASONS.index("deadline")),
            overflow=of(d.word("kept_left_out")),
            trusted=of(trusted),
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

    def detect(self, y: Any, noise_var: float) -> Detection:
        """Detect in one block, and wait for the result."""
        if not arrays.is_one(y, self._shape):
            found = tuple(y.shape) if hasattr(y, "shape") else np.shape(y)
            raise ValueError(f"y: expected shape {self._shape}, found {found}")
        return self._all(y, noise_var)[0]

    def detect_many(self, y: Any, noise_var: float) -> list[Detection]:
        """Detect in blocks of at most `batch` at a time, and wait for the results."""
        if arrays.is_one(y, self._shape):
            sizes = ", ".join(map(str, self._shape))
            raise ValueError(f"ys: expected shape (B, {sizes}), found one block {tuple(y.shape)}")
        return self._all(y, noise_var)

    def _all(self, y: Any, noise_var: float) -> list[Detection]:
        blocks = arrays.received(y, self._shape, self.detector.device.device)
        found: list[Detection] = []
        with self._lock, self.detector.device.here():
            for first in range(0, len(blocks), self.detector.batch):
                some = blocks[first : first + self.detector.batch]
                self.detector.run(some, noise_var)
                found += self._results(len(some), y)
        return found

    def _results(self, count: int, y: Any) -> list[Detection]:
        d = self.detector
        control, history = d.report(count)  # the host waits here
        if not np.isfinite(control["received"]).all():
            raise ValueError("y: expected finite numbers, found NaN or infinite ones")
        results = []
        for i, block in enumerate(control):
            a, rounds, power = int(block["found"]), int(block["iteration"]), np.float64(block["power"])
            remains = (block["residual"] if a > 0 else block["received"]) * power
            tensors = (
                d.buffers["activity"][i],
                d.buffers["active"][i, :a],
                d.buffers["channels"][i, :a],
                d.buffers["channel_var"][i, :a],
            )
            # The next detection overwrites the tensors, hence copies.
            names = ("activity", "active", "channels", "channel_var")
            result = {name: x.clone() for name, x in zip(names, tensors, strict=True)}
            doubt = self._shared.tell(result, self._table) if self._shared is not None else ""
            overflow, stopped = int(block["kept_left_out"]), REASONS[block["stopped"]]
            ratio = float(remains / (power * block["noise"]))
            explained = Explained(ratio, float(block["least"]), float(block["most"]))
            results.append(
                Detection(
                    **{name: arrays.like(x, y) for name, x in result.items()},
                    iterations=rounds,
                    converged=bool(block["converged"]),
                    noise_var=float(remains),
                    explained=explained,
                    stopped_because=stopped,
                    overflow=overflow,
                    reason="; ".join(filter(None, (reason(stopped, explained, overflow), doubt))),
                    history=tuple(
                        {"error_var": float(error * power), "candidates": int(candidates)}
                        for error, candidates in history[i, :rounds]
                    ),
                )
            )
        return results
