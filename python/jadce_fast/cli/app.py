"""The command line's one application: options that commands share, errors, exit status."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from . import console

DEFAULT_RATE = 0.05

app = typer.Typer(
    help="Joint activity detection and channel estimation for massive random access.",
    add_completion=False,
)

Threads = Annotated[int | None, typer.Option(help="Native threads; default: all processors.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]
Seed = Annotated[int, typer.Option(help="Random seed.")]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; exits with status 0, 2 (unusable input) or 130 (interrupted)."""
    try:
        status = app(args=arguments, prog_name="jadce", standalone_mode=False)
    except (KeyboardInterrupt, typer.Abort):
        _fail("interrupted", 130)
    except OSError as error:
        _fail(f"{error.filename}: {error.strerror}" if error.filename and error.strerror else str(error))
    except (ValueError, TypeError) as error:
        _fail(str(error))
    except MemoryError as error:
        _fail(f"expected a problem that fits into memory, found a larger one ({error})")
    except Exception as error:  # usage errors; their class is typer's own or click's, by its version
        if not hasattr(error, "format_message"):
            raise
        _fail(error.format_message())
    if status == 130:  # typer has caught the interrupt by itself
        _fail("interrupted", 130)
    sys.exit(status or 0)


def check_target(option: str, path: Path | None, suffixes: Sequence[str] = ()) -> None:
    """Refuse a file that cannot be written before the work is done rather than after."""
    if path is None:
        return
    if suffixes and path.suffix.lower() not in suffixes:
        raise ValueError(f"{option}: expected the extension {' or '.join(suffixes)}, found {str(path)!r}")
    if not path.absolute().parent.is_dir():
        raise ValueError(f"{option}: expected a file in an existing directory, found {str(path)!r}")
    if path.is_dir():
        raise ValueError(f"{option}: expected a file, found the directory {str(path)!r}")


def write_csv(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Write rows of the same columns, atomically."""
    import csv
    import io

    from ..campaigns.run import write_text

    text = io.StringIO()
    writer = csv.DictWriter(text, rows[0].keys(), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())


def _fail(text: str, status: int = 2) -> None:
    console.note(f"error: {text}")
    sys.exit(status)
