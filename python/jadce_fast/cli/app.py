"""The command line's one application: options that commands share, errors, exit status."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from .. import _extras
from . import console

DEFAULT_RATE = 0.05
_COMMANDS = (
    "demo",
    "detect",
    "simulate",
    "report",
    "simulate-cell",
    "train",
    "adapt",
    "export",
    "figures",
    "tune",
    "bench",
    "info",
)
# The library's names of what some options set.
_OPTIONS = {
    "activity_rate": "rate",
    "snr_db": "snr",
    "power_spread_db": "power_spread",
    "rician_db": "rician",
    "interference_db": "interference",
    "trials": "draws",
    "width_db": "width",
}


class Group(TyperGroup):
    """Group of commands: alone it prints its help, and a message about an argument names the option that set it."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Names in the order in which a newcomer meets the commands, not that of the modules."""
        return sorted(super().list_commands(ctx), key=lambda name: _COMMANDS.index(name) if name in _COMMANDS else -1)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Take the arguments; none at all ask for help."""
        return super().parse_args(ctx, args or ["--help"])

    def invoke(self, ctx: Any) -> Any:
        """Run the command that was asked for."""
        try:
            return super().invoke(ctx)
        except (ValueError, TypeError) as error:
            name, colon, rest = str(error).partition(": ")
            command = self.get_command(ctx, ctx.invoked_subcommand)
            options = {p.name: p.opts[0] for p in command.params} if command else {}
            option = options.get(name) or options.get(_OPTIONS.get(name, ""), "")
            if not (colon and option.startswith("--")):
                raise
            raise ValueError(f"{option}: {rest}") from error


app = typer.Typer(
    cls=Group, help="Joint activity detection and channel estimation for massive random access.", add_completion=False
)

Threads = Annotated[int | None, typer.Option(help="Native threads.", show_default="all processors")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]
Seed = Annotated[int, typer.Option(help="Random seed.")]
Trials = Annotated[int, typer.Option(help="Number of drops.")]
Csv = Annotated[Path | None, typer.Option(help="Write one line per trial and prior.")]
Plot = Annotated[Path | None, typer.Option(help="Write a picture (.png, .pdf, .svg).")]
Resume = Annotated[Path | None, typer.Option(help="Keep what is done in this directory and go on from it.")]


def _print_version(asked: bool) -> None:
    if asked:
        from .. import __version__

        console.show(f"jadce {__version__}")
        raise typer.Exit


@app.callback()
def _version(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    pass


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; exits with status 0, 2 (unusable input) or 130 (interrupted, or asked to terminate)."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # schedulers end jobs so: checkpoints are kept
    try:
        with _extras.named():
            status = app(args=arguments, prog_name="jadce", standalone_mode=False)
    except (KeyboardInterrupt, typer.Abort):
        _fail("interrupted", 130)
    except OSError as error:
        _fail(f"{error.filename}: {error.strerror}" if error.filename and error.strerror else str(error))
    except (ValueError, TypeError) as error:
        _fail(str(error))
    except ImportError as error:
        if error.name not in _extras.EXTRAS:
            raise
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


def check_campaign(csv: Path | None, plot: Path | None, resume: Path | None) -> None:
    """Refuse files of a campaign that cannot be written."""
    check_target("--csv", csv)
    check_target("--plot", plot, (".png", ".pdf", ".svg"))
    check_kept(resume)


def check_kept(resume: Path | None) -> None:
    """Refuse what is no directory to resume from."""
    if resume is not None and resume.is_file():
        raise ValueError(f"--resume: expected a directory, found the file {str(resume)!r}")


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

    from ..files import write_atomically

    text = io.StringIO()
    writer = csv.DictWriter(text, rows[0].keys(), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    with write_atomically(path) as part:
        part.write_text(text.getvalue())


def _fail(text: str, status: int = 2) -> None:
    console.note(f"error: {text}")
    sys.exit(status)
