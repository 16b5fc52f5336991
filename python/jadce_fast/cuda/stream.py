"""Streams of a receiver on a GPU: symbols are copied there as they arrive, and the last one starts the graph."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from ..detection import Detection, Streamed
from .receiver import CudaReceiver


@dataclass
class _Block:
    """A received block on the device."""

    y: torch.Tensor  # (T, N, M)
    staged: torch.Tensor  # the same on the host, in memory from which the GPU copies by itself
    number: int = -1
    at: float = 0.0  # when the last symbol came, in seconds
    there: Any = None  # event after the last copy


class CudaSource:
    """A GPU's side of a stream, as :class:`jadce_fast.stream.Source` says.

    Parameters
    ----------
    receiver : CudaReceiver
    shape : (int, int, int)
        T, N, M.
    detection : callable
        Completes a Detection.
    noise : float or ndarray of complex128, shape (1 or N, M, M)
    deadline : float
        Microseconds.
    """

    def __init__(
        self,
        receiver: CudaReceiver,
        shape: tuple[int, int, int],
        detection: Callable[[Detection], Detection],
        noise: Any,
        deadline: float,
    ) -> None:
        self._receiver, self._detection, self._noise = receiver, detection, noise
        self._deadline, self._device = deadline, receiver.detector.device
        # Symbols come beside a detection, not after it: copies have a stream of their own, and so has their memory.
        self._copies = self._device.side_stream()
        with self._device.on(self._copies):
            blocks = [torch.empty(shape, dtype=torch.complex64, device=self._device.device) for _ in range(3)]
        self._coming, self._waiting, self._taken = (_Block(y, self._device.host(y)) for y in blocks)
        self._have = 0
        self._changed = threading.Condition()  # of what follows
        self._full = self._closed = False
        self._complete = self._dropped = self._waited = 0

    def push(self, symbols: npt.NDArray[np.complex64], wait: bool) -> None:
        """As :class:`jadce_fast.stream.Source` says."""
        at = time.perf_counter()
        with self._device.on(self._copies):
            while len(symbols):
                some = symbols[: len(self._coming.y) - self._have]
                place = slice(self._have, self._have + len(some))
                # A copy of a dropped block that is still under way is followed by this one to the same place.
                np.copyto(self._coming.staged[place].numpy(), some)
                self._coming.y[place].copy_(self._coming.staged[place], non_blocking=True)
                self._have += len(some)
                symbols = symbols[len(some) :]
                if self._have == len(self._coming.y):
                    self._have, self._coming.at, self._coming.there = 0, at, self._device.event()
                    self._device.mark(self._coming.there)
                    self._hand_over(wait)

    def _hand_over(self, wait: bool) -> None:
        with self._changed:
            self._coming.number = self._complete
            self._complete += 1
            if self._full and wait:
                self._waited += 1
                self._changed.wait_for(lambda: not self._full or self._closed)
            if self._full:
                self._dropped += 1
                return
            self._coming, self._waiting, self._full = self._waiting, self._coming, True
            self._changed.notify_all()

    def next(self) -> Streamed | None:
        """As :class:`jadce_fast.stream.Source` says."""
        with self._changed:
            self._changed.wait_for(lambda: self._full or self._closed)
            if not self._full:
                return None
            self._taken, self._waiting, self._full = self._waiting, self._taken, False
            self._changed.notify_all()
        block = self._taken
        gone = 1e6 * (time.perf_counter() - block.at)  # a deadline of the GPU's begins there
        found = self._receiver.detect_arrived(block.y, block.there, self._noise, max(self._deadline - gone, 1.0))
        found = self._detection(found)
        return Streamed(block.number, 1e6 * (time.perf_counter() - block.at), found)

    def counts(self) -> tuple[int, int, int]:
        """As :class:`jadce_fast.stream.Source` says."""
        with self._changed:
            return self._complete, self._dropped, self._waited

    def close(self) -> None:
        """As :class:`jadce_fast.stream.Source` says."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
