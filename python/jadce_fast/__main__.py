"""Tells where the C library of this package lies, for its users' builds: ``python -m jadce_fast --cmake-dir``."""

from __future__ import annotations

import argparse
from pathlib import Path

from . import __version__, _core


def main() -> None:
    """Print the folders that are asked for."""
    parser = argparse.ArgumentParser("python -m jadce_fast", description="Where libjadce, the C library, lies.")
    parser.add_argument("--version", action="version", version=__version__)
    folders = {"--cmake-dir": "lib/cmake/jadce", "--include-dir": "include", "--library-dir": "lib"}
    for option, folder in folders.items():
        parser.add_argument(option, dest="asked", action="append_const", const=folder, help=f"print .../{folder}")
    asked = parser.parse_args().asked
    if not asked:
        parser.error(f"expected one of {', '.join(folders)}; the command line of the package is `jadce`")
    for folder in asked:
        path = Path(_core.__file__).parent / folder
        if not path.is_dir():
            parser.exit(1, f"libjadce: expected it in {path.parent}, found none: the modules were copied there alone\n")
        print(path)


if __name__ == "__main__":
    main()
