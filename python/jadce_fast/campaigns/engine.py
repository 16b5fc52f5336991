"""The engine of all campaigns: draws of many points, several contenders on the same draws, here or on other processes.

Numbers enter the store in the order of points, draws and contenders, wherever they were measured: a table does not
depend on the number of workers, and an interrupted campaign that goes on makes the same one.
"""

from __future__ import annotations

import hashlib
import math
import multiprocessing
import pickle
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import chain, islice
from typing import Any

from .. import _check, _extras
from .intervals import ratio_interval
from .store import SAVE_EVERY, Lists, Store, count_draws

_TASK_SECONDS = 1.0  # a worker gets draws for about so long at a time: transfers are then a small part
_MOST_DRAWS = 64  # of a task

Numbers = Mapping[str, float]
Named = tuple[Any, Numbers]  # a contender and its numbers of a draw


@dataclass(frozen=True)
class Stop:
    """When enough draws of a point are measured: decided in their order, whatever was measured ahead.

    Attributes
    ----------
    trials : int
        Most draws.
    errors : int, optional
        Enough misses and false alarms of every contender; beyond it an error probability is known to within
        some 2 / sqrt(errors) of itself.
    width_db : float, optional
        Enough width of the 95 % interval of every contender's NMSE, in dB.
    """

    trials: int = 50
    errors: int | None = None
    width_db: float | None = None

    def __post_init__(self) -> None:
        _check.integer("trials", self.trials, 1)
        if self.errors is not None:
            _check.integer("errors", self.errors, 1)
        if self.width_db is not None:
            _check.real("width_db", self.width_db)

    def reached(self, kept: Iterable[Lists], draws: int) -> bool:
        """Whether the first `draws` draws are enough."""
        if draws >= self.trials:
            return True
        if self.errors is None and self.width_db is None:
            return False
        return all(self._enough(lists, draws) for lists in kept)

    def _enough(self, lists: Lists, draws: int) -> bool:
        if self.errors is not None:
            found = sum(sum(lists[name][:draws]) for name in ("missed", "false_alarms"))
            if found >= self.errors:
                return True
        if self.width_db is None or draws < 3:
            return False
        error, energy = lists["error_energy"][:draws], lists["channel_energy"][:draws]
        low, high = ratio_interval(error, energy)
        return low > 0 and 10 * math.log10(high / low) <= self.width_db


def _nothing() -> None:
    pass


@dataclass(frozen=True)
class Point:
    """An operating point: lists of its contenders, how a draw of a number is made, and what is measured of it.

    `draw` and the callables by contender are pickled if other processes run them: `measure` takes a draw, `many`, for
    contenders that are better at it, a list of up to `batch` draws. `done` is called when the point is, to free what it
    took.
    """

    kept: Mapping[Any, Lists]
    draw: Callable[[int], Any]
    measure: Mapping[Any, Callable[[Any], Numbers]]
    done: Callable[[], None] = _nothing
    many: Mapping[Any, Callable[[list[Any]], Sequence[Numbers]]] = field(default_factory=dict)
    batch: int = 1

    def numbers(self, task: Sequence[tuple[int, Sequence[Any]]]) -> list[list[Named]]:
        """Numbers of draws, of the contenders beside each."""
        found: list[list[Named]] = []
        for start in range(0, len(task), self.batch):
            part = [(self.draw(number), names) for number, names in task[start : start + self.batch]]
            together = {
                name: iter(measure([drop for drop, names in part if name in names]))
                for name, measure in self.many.items()
                if any(name in names for _, names in part)
            }
            for drop, names in part:
                found.append([(n, next(together[n]) if n in together else self.measure[n](drop)) for n in names])
        return found


def run(
    store: Store,
    points: Sequence[Point],
    stop: Stop,
    *,
    workers: int = 1,
    scheduler: str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[int]:
    """Measure what is not kept yet.

    Parameters
    ----------
    store : Store
        Appended to now and then, and at the end, whatever happens.
    points : sequence of Point
    stop : Stop
    workers : int
        Processes on this machine; one measures in this process.
    scheduler : str, optional
        Address of a Dask scheduler, whose workers measure instead.
    progress : callable, optional
        Called with the index of the point and the number of its draws that are done, after every draw, kept ones
        included; an exception cancels.

    Returns
    -------
    list of int
        Draws of every point.

    Raises
    ------
    ValueError
        If Dask is wanted and not installed.
    ChildProcessError
        If a process of this machine was killed.
    OSError
        If the scheduler cannot be reached.
    """
    _check.integer("workers", workers, 1)
    counts = [0] * len(points)
    with _place(workers, scheduler) as pool:
        source: Any = _Here(points, stop) if pool is None else _Ahead(points, stop, pool)
        try:
            for i, point in enumerate(points):
                while not counts[i] or not stop.reached(point.kept.values(), counts[i]):
                    for name, numbers in source.measure(i, counts[i], _waiting(point, counts[i])):
                        store.add(point.kept[name], numbers)
                    store.save(SAVE_EVERY)
                    counts[i] += 1
                    if progress is not None:
                        progress(i, counts[i])
                point.done()
        finally:
            store.save()
    return counts


def _waiting(point: Point, draw: int) -> list[Any]:
    return [name for name, lists in point.kept.items() if count_draws(lists) <= draw]


class _Here:
    """Measures in this process."""

    def __init__(self, points: Sequence[Point], stop: Stop) -> None:
        self._points, self._stop = points, stop
        self._found: dict[tuple[int, int], list[Named]] = {}

    def measure(self, index: int, draw: int, names: Sequence[Any]) -> Iterable[Named]:
        """Numbers of a draw, contender by contender."""
        point = self._points[index]
        if not names:
            return []
        if point.batch == 1:
            return self._one(point, draw, names)
        if (index, draw) not in self._found:
            draws = range(draw, min(draw + point.batch, self._stop.trials))
            task = [(number, own) for number in draws if (own := _waiting(point, number))]
            self._found = {(index, at[0]): each for at, each in zip(task, point.numbers(task), strict=True)}
        return self._found.pop((index, draw))

    def _one(self, point: Point, number: int, names: Sequence[Any]) -> Iterator[Named]:
        """Of one draw, each contender when it is asked for: an interrupt loses one of them."""
        drop = point.draw(number)
        yield from ((name, point.measure[name](drop)) for name in names)


@dataclass
class _Pool:
    """Where tasks go: `submit` returns a future with `result` and `cancel`."""

    submit: Callable[..., Any]
    workers: Callable[[], int]
    lost: type[Exception] = BrokenProcessPool  # of a task whose worker was killed


class _Ahead:
    """Measures in other processes, ahead of what is asked for."""

    def __init__(self, points: Sequence[Point], stop: Stop, pool: _Pool) -> None:
        self._points, self._stop, self._pool = points, stop, pool
        self._tasks: deque[tuple[int, list[int], Any]] = deque()
        self._found: dict[tuple[int, int], Any] = {}
        self._packed = [b""] * len(points)
        self._cost = [0.0] * len(points)  # seconds of a draw
        self._next: Iterator[tuple[int, int]] = self._places()

    def measure(self, index: int, draw: int, names: Sequence[Any]) -> Iterable[Named]:
        """Numbers of a draw, contender by contender."""
        if not names:
            return []
        while (index, draw) not in self._found:
            self._fill(index)
            at, draws, future = self._tasks.popleft()
            if at < index:  # that point has stopped
                future.cancel()
                continue
            try:
                seconds, results = future.result()
            except self._pool.lost:
                raise ChildProcessError("workers: a process was killed, which a lack of memory does") from None
            self._cost[at] = seconds / len(draws)
            self._found |= {(at, number): each for number, each in zip(draws, results, strict=True)}
        self._fill(index)
        numbers: list[Named] = self._found.pop((index, draw))
        return numbers

    def _places(self) -> Iterator[tuple[int, int]]:
        """Draws that are not kept, in order."""
        for i, point in enumerate(self._points):
            for draw in range(self._stop.trials):
                if draw and not _waiting(point, draw - 1) and self._stop.reached(point.kept.values(), draw):
                    break  # what is kept is enough
                if _waiting(point, draw):
                    yield i, draw

    def _fill(self, index: int) -> None:
        """Keep every worker busy, with one task more for each."""
        while len(self._tasks) < 2 * self._pool.workers():
            first = next((place for place in self._next if place[0] >= index), None)
            if first is None:
                return
            at, draws = first[0], [first[1]]
            batch = self._points[at].batch
            most = min(int(_TASK_SECONDS / self._cost[at]), _MOST_DRAWS) if self._cost[at] else 1
            left = (self._stop.trials - first[1]) // (2 * self._pool.workers())  # all have some of the last
            wanted = max(min(most, left) // batch, 1) * batch
            for place in islice(self._next, wanted - 1):
                if place[0] != at:
                    self._next = chain([place], self._next)
                    break
                draws.append(place[1])
            self._send(at, draws)

    def _send(self, at: int, draws: list[int]) -> None:
        point = self._points[at]
        if not self._packed[at]:
            self._packed[at] = pickle.dumps(replace(point, kept={}, done=_nothing))
        task = [(number, _waiting(point, number)) for number in draws]
        self._tasks.append((at, draws, self._pool.submit(work, self._packed[at], task)))


_local = threading.local()  # a thread's last point: receivers are planned once


def work(packed: bytes, task: list[tuple[int, list[Any]]]) -> tuple[float, list[list[Named]]]:
    """Measure draws in a worker; seconds, and numbers of every draw."""
    digest = hashlib.sha256(packed).digest()
    if getattr(_local, "digest", b"") != digest:
        _local.point, _local.digest = pickle.loads(packed), digest
    start = time.perf_counter()
    found = _local.point.numbers(task)
    return time.perf_counter() - start, found


@contextmanager
def _place(workers: int, scheduler: str | None) -> Iterator[_Pool | None]:
    if scheduler is not None:
        with _dask(scheduler) as pool:
            yield pool
    elif workers == 1:
        yield None
    else:
        with _processes(workers) as pool:
            yield pool


@contextmanager
def _processes(count: int) -> Iterator[_Pool]:
    others = set(multiprocessing.active_children())
    # Native threads and a fork do not go together: workers are forked from a process that has only imported.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["jadce_fast.campaigns"])
    executor = ProcessPoolExecutor(count, context, _ignore_interrupts)
    try:
        yield _Pool(executor.submit, lambda: count)
    finally:
        executor.shutdown(wait=False, cancel_futures=True)
        for process in set(multiprocessing.active_children()) - others:
            process.terminate()


def _ignore_interrupts() -> None:
    """Leave Ctrl-C, which all processes of a terminal get, to the one that started the others."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


@contextmanager
def _dask(address: str) -> Iterator[_Pool]:
    with _extras.named():
        import distributed
    with distributed.Client(address, set_as_default=False) as client:
        futures: list[Any] = []

        def submit(function: Callable[..., Any], *arguments: Any) -> Any:
            futures[:] = [f for f in futures if not f.done()]
            futures.append(client.submit(function, *arguments, pure=False))
            return futures[-1]

        try:
            yield _Pool(submit, lambda: max(sum(client.nthreads().values()), 1), distributed.KilledWorker)
        finally:
            client.cancel(futures)
