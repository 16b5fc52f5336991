"""Output of the command line: tables and strict JSON on standard output, progress and notes on standard error."""

from __future__ import annotations

import json
import math
import shutil
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.table import Table


def table(title: str | None, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """Table with a left column of names and right-aligned columns of numbers; turned if it only fits so."""
    from rich import box
    from rich.table import Table

    lines = [tuple(columns), *map(tuple, rows)]
    if _natural_width(lines) > _width():
        lines = min(lines, list(zip(*lines, strict=True)), key=_natural_width)
    result = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left", title_style="bold")
    for i, column in enumerate(zip(*lines, strict=True)):
        longest = max(len(word) for text in column for word in text.split() or [""])
        result.add_column(column[0], justify="right" if i else "left", min_width=longest)
    for row in lines[1:]:
        result.add_row(*row)
    return result


def pairs(rows: Mapping[str, str]) -> Table:
    """Table without a head: names, and beside them texts that wrap."""
    from rich.table import Table

    result = Table.grid(padding=(0, 2))
    for name, text in rows.items():
        result.add_row(name, text)
    return result


def show(what: Table | str) -> None:
    """Print text as it is, or a table."""
    from rich.console import Console

    console = Console(width=_width(), highlight=False, markup=False)
    console.print(what, soft_wrap=isinstance(what, str))


def show_json(value: dict[str, Any]) -> None:
    """Print one JSON object; NaN and infinities, which JSON has not, become null."""
    sys.stdout.write(json.dumps(_finite(value), allow_nan=False) + "\n")


def note(text: str) -> None:
    """Print one line to standard error."""
    print("jadce:", " ".join(text.split()), file=sys.stderr)


def plain(value: Any) -> str:
    """Short text of a value of JSON."""
    if isinstance(value, float):
        return f"{value:.1f}"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(plain, value)) or "none"
    if isinstance(value, dict):
        return ", ".join(f"{k} {plain(v)}" for k, v in value.items())
    return "-" if value is None else str(value)


class Progress:
    """Progress bar on standard error, only if that is a terminal."""

    def __init__(self, text: str, total: int) -> None:
        from rich import progress
        from rich.console import Console

        console = Console(stderr=True)
        self._whole = total != 1000  # of a thousandth no rate is told
        self._bar = progress.Progress(
            progress.TextColumn(text),
            progress.BarColumn(),
            progress.MofNCompleteColumn() if total < 1000 else progress.TaskProgressColumn(),
            progress.TextColumn("{task.fields[rate]}", markup=False),
            progress.TimeRemainingColumn(),
            progress.TextColumn("{task.fields[note]}", markup=False),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self.shown = console.is_terminal
        self._task = self._bar.add_task(text, total=total, note="", rate="")

    def update(self, done: int, note: str) -> None:
        """Move to `done` of the total, with a few words."""
        speed = self._bar.tasks[0].speed
        rate = f"{speed:.3g}/s" if speed and self._whole else ""
        self._bar.update(self._task, completed=done, note=note, rate=rate)

    def __enter__(self) -> Progress:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()


def _width() -> int:
    # A file or pipe has no width: tables are then as wide as they need.
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else 160


def _natural_width(lines: Sequence[Sequence[str]]) -> int:
    return 1 + sum(max(map(len, column)) + 3 for column in zip(*lines, strict=True))


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(v) for key, v in value.items()}
    return [_finite(v) for v in value] if isinstance(value, (list, tuple)) else value
