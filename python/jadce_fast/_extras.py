"""Packages that not every installation has: the extras that bring them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

# The package's own name as it is imported, and the extra of pyproject.toml that installs it.
EXTRAS = {
    "torch": "torch",
    "scipy": "files",
    "h5py": "files",
    "matplotlib": "plots",
    "sionna": "sim",
    "deepinv": "deepinv",
    "tensorboard": "train",
    "distributed": "dask",
}


@contextlib.contextmanager
def named() -> Iterator[None]:
    """Have imports inside say which extra they lack.

    Raises
    ------
    ImportError
        In the place of ModuleNotFoundError, if the package is one of an extra.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in EXTRAS:
            raise
        raise ImportError(
            f"{package}: expected this package, found none; pip install 'jadce-fast[{EXTRAS[package]}]'", name=package
        ) from None
