"""The part of `jf.Receiver` on a GPU: arrays in, one graph launch, arrays out."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import torch

from ..detection import REASONS, Detection, Enqueued, Explained, reason
from . import arrays
from .detector import Detector


class CudaReceiver:
    """Feeds a `Detector` and reads its results; calls take turns."""

    def __init__(self, detector: Detector, shape: tuple[int, int, int]) -> None:
        self.detector, self._shape = detector, shape
        self._lock = threading.Lock()

    def enqueue(self, y: Any, noise_var: float) -> Enqueued:
        """Enqueue one batch on torch's current stream."""
        blocks = arrays.received(y, self._shape, self.detector.device.device)
        if not 1 <= len(blocks) <= self.detector.batch:
            raise ValueError(f"y: expected 1 to batch={self.detector.batch} blocks, found {len(blocks)}")
        d = self.detector
        with self._lock, d.device.here():
            d.run(blocks, noise_var)

        def of(tensor: torch.Tensor) -> Any:
            part = tensor[0] if arrays.is_one(y, self._shape) else tensor[: len(blocks)]
            return part if isinstance(y, np.ndarray) else arrays.like(part, y)

        return Enqueued(
            activity=of(d.buffers["activity"]),
            active=of(d.buffers["active"]),
            channels=of(d.buffers["channels"]),
            channel_var=of(d.buffers["channel_var"]),
            found=of(d.word("found")),
            iterations=of(d.word("iteration")),
            converged=of(d.word("converged")),
            overflow=of(d.word("kept_left_out")),
            trusted=of(d.word("trusted") != 0),
            residual_ratio=of(d.word("residual") / d.word("noise")),
            keeps=(blocks, d),
        )

    def detect(self, y: Any, noise_var: float) -> Detection:
        """Detect in one block, and wait for the result."""
        if not arrays.is_one(y, self._shape):
            found = tuple(y.shape) if hasattr(y, "shape") else np.shape(y)
            raise ValueError(f"y: expected shape {self._shape}, found {found}")
        return self.detect_many(y, noise_var)[0]

    def detect_many(self, y: Any, noise_var: float) -> list[Detection]:
        """Detect in blocks of at most `batch` at a time, and wait for the results."""
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
        control, history = (
            d.buffers["control"][:count].cpu(),
            d.buffers["history"][:count].cpu().numpy(),
        )  # the host waits here

        def word(name: str) -> Any:
            return d.word(name, control).numpy()

        power, found = word("power").astype(np.float64), word("found")
        if not np.isfinite(word("received")).all():
            raise ValueError("y: expected finite numbers, found NaN or infinite ones")
        remains = np.where(found > 0, word("residual"), word("received")) * power
        results = []
        for i, (a, rounds) in enumerate(zip(found.tolist(), word("iteration").tolist(), strict=True)):
            tensors = (
                d.buffers["activity"][i],
                d.buffers["active"][i, :a],
                d.buffers["channels"][i, :a],
                d.buffers["channel_var"][i, :a],
            )
            # The next detection overwrites the tensors, hence copies.
            activity, active, channels, var = (arrays.like(x.clone(), y) for x in tensors)
            overflow, stopped = int(word("kept_left_out")[i]), REASONS[word("stopped")[i]]
            ratio = float(remains[i] / (power[i] * word("noise")[i]))
            explained = Explained(ratio, float(word("least")[i]), float(word("most")[i]))
            results.append(
                Detection(
                    activity=activity,
                    active=active,
                    channels=channels,
                    channel_var=var,
                    iterations=rounds,
                    converged=bool(word("converged")[i]),
                    noise_var=float(remains[i]),
                    explained=explained,
                    stopped_because=stopped,
                    overflow=overflow,
                    reason=reason(stopped, explained, overflow),
                    history=tuple(
                        {"error_var": float(error * power[i]), "candidates": int(candidates)}
                        for error, candidates in history[i, :rounds]
                    ),
                )
            )
        return results
