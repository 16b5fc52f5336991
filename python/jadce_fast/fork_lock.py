"""A lock that a forked child finds free."""

from __future__ import annotations

import os
import threading
from typing import Any


class ForkLock:
    """A lock for ``with``; the thread that held it when a process was forked lives in the parent alone."""

    def __init__(self) -> None:
        self._lock, self._pid = threading.Lock(), os.getpid()

    def __enter__(self) -> None:
        if self._pid != os.getpid():
            self.__init__()  # type: ignore[misc]
        self._lock.acquire()

    def __exit__(self, *_: Any) -> None:
        self._lock.release()
