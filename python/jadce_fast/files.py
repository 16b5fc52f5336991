"""Files that are there as a whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def write_atomically(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a path beside `path` to write to; at the end the file there takes the place of `path`.

    No reader ever sees half a file, and a failure leaves what was there before.

    Raises
    ------
    OSError
        If the file cannot be written.
    """
    target = Path(path)
    # The extension stays the last one: writers of pictures and archives go by it.
    part = target.with_name(f".{target.stem}.{os.getpid()}.part{target.suffix}")
    try:
        yield part
        os.replace(part, target)
    finally:
        part.unlink(missing_ok=True)
