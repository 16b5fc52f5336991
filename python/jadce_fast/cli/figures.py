"""``jadce figures``: pictures and tables of published figures, measured anew. A figure is a module of `figures`."""

from __future__ import annotations

import importlib
import inspect
from pathlib import Path
from typing import Annotated, Any

import typer

from ..figures.result import Output, Quick, Result, Seed
from . import console
from .app import Group, Json, app, write_csv

_ALL = "all"
_QUICK = (*("cai-5", "cai-6", "cai-7", "cai-8", "cai-9", "cai-10", "complexity"), *("calibration", "roc", "mismatch"))
_NAMES = ("cai-4", *_QUICK, *("tang-4", "tang-5", "tang-6", "tang-density", "tang-shift", "tang-impaired", "tang-link"))


class _Figures(Group):
    """Commands by the names of figures; a module is loaded when its figure is asked for."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Names of the figures."""
        return [*_NAMES, _ALL]

    def get_command(self, ctx: Any, name: str) -> Any:
        """Command of one figure."""
        if name not in (*_NAMES, _ALL):
            return None
        single = typer.Typer(add_completion=False)
        single.command(name)(_everything if name == _ALL else _command(name))
        return typer.main.get_command(single)


figures = typer.Typer(cls=_Figures, help="Measure a published figure anew: pictures and a table.")
app.add_typer(figures, name="figures")


@figures.callback()
def _group() -> None:
    """Keep sub-commands, however few there are."""


def _everything(
    *,
    output: Output = Path("out"),
    quick: Quick = False,
    seed: Seed = 0,
    workers: Annotated[int, typer.Option(help="Processes, where a figure is measured by several.")] = 1,
    as_json: Json = False,
) -> None:
    """Measure every figure of Cai et al. from Fig. 5 on, the table of complexity, and what trust rests on.

    These are the figures that have --quick. Each keeps what is done in OUTPUT; an interrupted command goes on.
    """
    found = {}
    for name in _QUICK:
        measure = _module(name).command
        wanted = {"quick": quick, "seed": seed, "workers": workers}
        own = {key: value for key, value in wanted.items() if key in inspect.signature(measure).parameters}
        result, files = _measured(name, measure, output, own)
        if as_json:
            found[name] = result.facts | {"files": files, "results": result.rows}
        else:
            _show(result, files)
    if as_json:
        console.show_json(found)


def _command(name: str) -> Any:
    """The command of a figure's module, with progress, files and output, which are the same for all."""
    measure = _module(name).command

    def command(*, as_json: bool, output: Path, **options: Any) -> None:
        result, files = _measured(name, measure, output, options)
        if as_json:
            console.show_json(result.facts | {"files": files, "results": result.rows})
        else:
            _show(result, files)

    # Typer reads options off a signature: those of the figure, and one that all have.
    signature = inspect.signature(measure, eval_str=True)
    own = [parameter for parameter in signature.parameters.values() if parameter.name != "progress"]
    as_json = inspect.Parameter("as_json", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=Json)
    command.__signature__ = signature.replace(parameters=[*own, as_json], return_annotation=None)  # type: ignore[attr-defined]
    command.__annotations__, command.__doc__ = {}, measure.__doc__
    return command


def _module(name: str) -> Any:
    return importlib.import_module(f"..figures.{name.replace('-', '_')}", __package__)


def _measured(name: str, measure: Any, output: Path, options: dict[str, Any]) -> tuple[Result, list[str]]:
    """Result of a figure, and the files that it is written to."""
    from ..figures.style import save_figure

    with console.Progress(name, 1000) as bar:
        result = measure(
            output=output, progress=lambda done, total, note: bar.update(round(1000 * done / total), note), **options
        )
    output.mkdir(parents=True, exist_ok=True)
    files = [output / f"{name}.csv", *(output / f"{picture}.png" for picture in result.pictures)]
    write_csv(files[0], result.rows)
    for file, picture in zip(files[1:], result.pictures.values(), strict=True):
        save_figure(picture, file)
    return result, list(map(str, files))


def _show(result: Result, files: list[str]) -> None:
    if result.text:
        console.show(result.text)
    for table in result.tables:
        console.show(console.table(table.title, table.columns, table.lines))
    console.show("files: " + ", ".join(files))
