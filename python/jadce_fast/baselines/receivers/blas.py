"""One thread for NumPy's matrix products.

Those of the baselines are small and many: on a busy machine the threads of OpenBLAS wait for each other, and one thread
is ten times as fast as two.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

_TURN = threading.RLock()  # the number of threads belongs to the process


@contextmanager
def one_thread() -> Iterator[None]:
    """Hold the OpenBLAS of NumPy's wheels at one thread; callers take turns. Other builds of NumPy are left alone."""
    library = openblas()
    with _TURN:
        if library is None:
            yield
            return
        before = library.scipy_openblas_get_num_threads64_()
        library.scipy_openblas_set_num_threads64_(1)
        try:
            yield
        finally:
            library.scipy_openblas_set_num_threads64_(before)


@cache
def openblas() -> Any:
    """The OpenBLAS that NumPy brought, or None."""
    for path in Path(np.__file__).parents[1].glob("numpy.libs/libscipy_openblas64_*"):
        library = ctypes.CDLL(str(path))
        if hasattr(library, "scipy_openblas_set_num_threads64_"):
            return library
    return None
