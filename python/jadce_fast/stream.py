"""Detection of received blocks whose symbols arrive one by one, such as from a radio."""

from __future__ import annotations

import math
import os
import threading
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from . import _check
from .detection import Detection, Streamed

_KEPT = 1 << 16  # latencies that statistics are made of


@dataclass(frozen=True)
class StreamStatistics:
    """What became of the blocks of a stream.

    Attributes
    ----------
    detected, dropped : int
        Blocks with a result, and those that were complete while another one still waited.
    waited : int
        Blocks for which :meth:`Stream.push` waited instead.
    ended : int
        Detections that the deadline ended.
    missed : int
        Results that came after the deadline.
    p50_us, p99_us, p999_us, worst_us : float
        Percentiles of the latency after the last symbol and the greatest one, in microseconds, of the last 65 536
        detections; NaN before the first.
    """

    detected: int
    dropped: int
    waited: int
    ended: int
    missed: int
    p50_us: float
    p99_us: float
    p999_us: float
    worst_us: float


class Source(Protocol):
    """A receiver's side of a stream: takes symbols on one thread and detects on another."""

    def push(self, symbols: npt.NDArray[np.complex64], wait: bool) -> None:
        """Take symbols (count, N, M); blocks that are complete are detected, dropped, or with `wait` waited for."""

    def next(self) -> Streamed | None:
        """Wait for a complete block and detect in it; None when there will be none."""

    def counts(self) -> tuple[int, int, int]:
        """Blocks that were complete, were dropped, and were waited for."""

    def close(self) -> None:
        """Let nobody wait any more."""


class Stream:
    """Received symbols in, detections out; :meth:`jadce_fast.Receiver.stream` makes one.

    Symbols are worked on as they arrive, by the thread that brings them. With the last pilot of a block a second thread
    begins its detection, while symbols of the next block may come. There is memory for the block that is detected, one
    that waits and one that arrives, and none is taken later. Results are those of ``detect``, to the bit.

    A stream ends with :meth:`close` or as a context manager; its methods may be called from several threads.
    """

    def __init__(self, source: Source, shape: tuple[int, int, int], deadline: float, wait: bool) -> None:
        self._source, self._shape, self.deadline, self._wait = source, shape, deadline, wait
        self._bringing = threading.Lock()
        self._changed = threading.Condition()  # of what follows
        self._ready: list[Streamed] = []
        self._latencies = np.full(_KEPT, math.nan)  # written, so that its pages are there
        self._detected = self._ended = self._missed = 0
        self._failed: BaseException | None = None
        self._told = self._closed = False
        self._process = os.getpid()
        self._worker = threading.Thread(target=self._work, name="jadce-stream", daemon=True)
        self._worker.start()
        # A thread that is still at work when the interpreter ends would end the process with it.
        self._finalizer = weakref.finalize(self, _end, source, self._worker, self._process)

    def push(self, symbols: npt.ArrayLike) -> list[Streamed]:
        """Take the next received symbols.

        Parameters
        ----------
        symbols : array_like, shape (N, M) or (count, N, M)
            Any number of them; they may belong to several blocks.

        Returns
        -------
        list of Streamed
            Detections that have ended since the last call, in order.

        Raises
        ------
        ValueError, TypeError
            If the shape is another one or a number is not finite: none of the symbols is taken then. If the stream is
            closed.
        """
        found = _check.as_array("symbols", symbols)
        one = found.ndim == 2
        taken = _check.array("symbols", symbols, self._shape[1:] if one else (None, *self._shape[1:]), np.complex64)
        with self._bringing:
            self._check_open()
            self._source.push(taken[None] if one else taken, self._wait)
        with self._changed:
            return self._take()

    def wait(self, timeout: float | None = None) -> list[Streamed]:
        """Wait until all complete blocks are detected, at most `timeout` seconds, and return as :meth:`push` does."""
        self._check_open()
        with self._changed:
            self._changed.wait_for(lambda: self._failed is not None or self._settled(), timeout)
            return self._take()

    def statistics(self) -> StreamStatistics:
        """Count what became of the blocks so far."""
        with self._changed:
            _, dropped, waited = self._source.counts()
            latencies = self._latencies[: min(self._detected, _KEPT)]
            times = np.percentile(latencies, [50, 99, 99.9, 100]) if len(latencies) else np.full(4, math.nan)
            p50, p99, p999, worst = map(float, times)
            return StreamStatistics(
                detected=self._detected,
                dropped=dropped,
                waited=waited,
                ended=self._ended,
                missed=self._missed,
                p50_us=p50,
                p99_us=p99,
                p999_us=p999,
                worst_us=worst,
            )

    def close(self) -> list[Streamed]:
        """End the stream when its complete blocks are detected, and return as :meth:`push` does.

        An error of the prior is raised if neither `push` nor `wait` did.
        """
        with self._bringing:
            self._closed = True
            self._source.close()
        self._worker.join()
        self._finalizer.detach()
        with self._changed:
            return [] if self._told else self._take()

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _check_open(self) -> None:
        if self._closed or os.getpid() != self._process:
            found = "a closed one" if self._closed else "one of the process that this one was forked from"
            raise ValueError(f"stream: expected an open one, found {found}")

    def _settled(self) -> bool:
        complete, dropped, _ = self._source.counts()
        return self._detected == complete - dropped

    def _take(self) -> list[Streamed]:
        if self._failed is not None:
            self._told = True
            raise self._failed
        ready, self._ready = self._ready, []
        return ready

    def _work(self) -> None:
        try:
            while (found := self._source.next()) is not None:
                with self._changed:
                    self._latencies[self._detected % _KEPT] = found.latency_us
                    self._detected += 1
                    self._ended += found.detection.stopped_because == "deadline"
                    self._missed += found.latency_us > self.deadline
                    self._ready.append(found)
                    self._changed.notify_all()
        except BaseException as error:  # a prior of the user's may raise anything; whoever waits is told
            with self._changed:
                self._failed = error
                self._source.close()
                self._changed.notify_all()


class NativeSource:
    """The native loop's side of a stream.

    Parameters
    ----------
    receiver : _core.Receiver
    detection : callable
        Makes a Detection of the native results.
    noise : (float, _core.NoiseCovariance)
    deadline : float
        Microseconds.
    seen : callable
        Makes of symbols what the native loop takes.
    """

    def __init__(
        self,
        receiver: Any,
        detection: Callable[[dict[str, Any]], Detection],
        noise: tuple[float, Any],
        deadline: float,
        seen: Callable[[npt.NDArray[np.complex64]], npt.NDArray[np.complex64]],
    ) -> None:
        self._receiver, self._detection, self._noise, self._deadline = receiver, detection, noise, deadline
        self._seen = seen
        self._arrivals = receiver.arrivals()
        self.close, self.counts = self._arrivals.close, self._arrivals.counts

    def push(self, symbols: npt.NDArray[np.complex64], wait: bool) -> None:
        """As :class:`Source` says."""
        self._arrivals.push(self._seen(symbols), wait)

    def next(self) -> Streamed | None:
        """As :class:`Source` says."""
        found = self._receiver.next(self._arrivals, *self._noise, self._deadline)
        if found is None:
            return None
        return Streamed(found.pop("block"), found.pop("latency"), self._detection(found))


def _end(source: Source, worker: threading.Thread, process: int) -> None:
    if os.getpid() == process:
        source.close()
        worker.join()
