"""``jadce figures``: pictures and tables of published figures, measured anew."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Annotated

import typer

from . import console
from .app import Group, Json, Seed, app, write_csv

if TYPE_CHECKING:
    from ..campaigns.denoising import Row

figures = typer.Typer(cls=Group, help="Measure a published figure anew: pictures and a table.")
app.add_typer(figures, name="figures")


@figures.callback()
def _group() -> None:
    """Keep sub-commands, however few there are."""


@figures.command("cai-4")
def cai_4(
    output: Annotated[Path, typer.Option(help="Directory of pictures, table and cai-4.json.")] = Path("out"),
    channels: Annotated[int, typer.Option(help="Channels; 5000 for two digits.")] = 500,
    slow_channels: Annotated[int, typer.Option(help="Channels for OMP, VALSE and networks above 5e7 MACs.")] = 50,
    snr: Annotated[str, typer.Option(help="SNRs in dB: a list 0,10,20 or LOW:HIGH:STEP.")] = "-10:30:10",
    prior: Annotated[
        list[str] | None, typer.Option(help="Shipped prior, gaussian, or file; repeat. [default: all shipped]")
    ] = None,
    baseline: Annotated[
        list[str] | None, typer.Option(help="ls, omp, omp-stop, bg, bg-em or valse; repeat. [default: all]")
    ] = None,
    model: Annotated[str, typer.Option(help="CDL model A ... E.")] = "C",
    angles: Annotated[str, typer.Option(help="Table's column of angles: arrival or departure.")] = "arrival",
    noise: Annotated[str, typer.Option(help="white, coloured (10:1 over beams) or both.")] = "both",
    seed: Seed = 0,
    threads: Annotated[int, typer.Option(help="Threads of torch.")] = 1,
    as_json: Json = False,
) -> None:
    """Denoising error over SNR, Cai Fig. 4, of baselines, priors and the genie.

    With the defaults five to ten minutes on one core, half of them for VALSE and OMP; --baseline ls leaves them out.
    OUTPUT/cai-4.json keeps what is done: an interrupted or extended command goes on from it.
    """
    from dataclasses import asdict

    from ..campaigns.denoising import benchmark
    from ..campaigns.estimators import BASELINES
    from ..campaigns.held_out import NOISES, HeldOut
    from ..priors.files import shipped_priors

    if noise not in (*NOISES, "both"):
        raise ValueError(f"--noise: expected white, coloured or both, found {noise!r}")
    for name in baseline or ():
        if name not in BASELINES:
            raise ValueError(f"--baseline: expected {' or '.join(BASELINES)}, found {name!r}")
    kinds = NOISES if noise == "both" else (noise,)
    setting = HeldOut(model, angles, seed=seed)
    levels = _levels(snr)
    estimators = [*(baseline or BASELINES), *(prior or shipped_priors())]
    output.mkdir(parents=True, exist_ok=True)
    with console.Progress("denoising", channels) as bar:
        rows = benchmark(
            setting,
            estimators,
            levels,
            kinds,
            channels=channels,
            slow_channels=slow_channels,
            threads=threads,
            resume=output / "cai-4.json",
            progress=bar.update,
        )
    files = [output / "cai-4.csv"]
    write_csv(files[0], [asdict(row) for row in rows])

    from ..figures.plots import denoising_figure, save_figure

    for kind in kinds:
        files.append(output / ("cai-4.png" if kind == "white" else "cai-4-coloured.png"))
        size = f"{setting.subcarriers} subcarriers × {setting.antennas} antennas"
        title = f"CDL-{model}, {angles} angles, {size}, {kind} noise"
        save_figure(denoising_figure([row for row in rows if row.noise == kind], title), files[-1])
    if as_json:
        found = {"setting": asdict(setting), "threads": threads, "files": [str(file) for file in files]}
        console.show_json(found | {"results": [asdict(row) for row in rows]})
        return
    for kind in kinds:
        _show([row for row in rows if row.noise == kind], f"{kind} noise")
    console.show("files: " + ", ".join(str(file) for file in files))


@figures.command("tang-4")
def tang_4(
    output: Annotated[Path, typer.Option(help="Directory of picture and table.")] = Path("out"),
    prior: Annotated[str, typer.Option(help="Shipped score network of a cell, or a file.")] = "cell-network",
    as_json: Json = False,
) -> None:
    """Training loss over steps, Tang Fig. 4, beside the loss of the exact score, which no network can go below.

    The curve is the one in the prior's file; the other loss is measured anew, and the network's on the same draws.
    """
    from ..priors.files import load_cell_prior
    from ..training.cell import final_losses

    loaded = load_cell_prior(prior)
    curve = loaded.metadata.get("losses")
    if not curve:
        raise ValueError(f"--prior: expected a file with its training losses, found {prior!r} without")
    rows = [{"step": int(step), "loss": loss} for step, loss, *_ in curve]
    network, exact = final_losses(loaded)
    output.mkdir(parents=True, exist_ok=True)
    files = [output / "tang-4.csv", output / "tang-4.png"]
    write_csv(files[0], rows)

    from ..figures.plots import save_figure, training_figure

    save_figure(training_figure(rows, exact), files[1])
    if as_json:
        found = {"prior": prior, "network": network, "exact": exact, "files": [str(file) for file in files]}
        console.show_json(found | {"curve": rows})
        return
    console.show(
        f"{loaded.metadata['steps']} updates; loss per entry of the trained network {network:.5f}, "
        f"of the exact score {exact:.5f}"
    )
    console.show("files: " + ", ".join(str(file) for file in files))


def _levels(text: str) -> list[float]:
    """SNRs of a list such as "0,10,20" or a range "LOW:HIGH:STEP"."""
    wanted = ValueError(f"--snr: expected a list such as 0,10,20 or LOW:HIGH:STEP, found {text!r}")
    try:
        if ":" not in text:
            return [float(part) for part in text.split(",")]
        low, high, step = (float(part) for part in text.split(":"))
    except ValueError:
        raise wanted from None
    if not (step > 0 and 0 <= high - low <= 1000 * step):
        raise wanted
    return [low + i * step for i in range(int((high - low) / step + 1e-9) + 1)]


def _show(rows: Sequence[Row], title: str) -> None:
    """Print tables with a line for each estimator and a column for each SNR."""
    levels = list(dict.fromkeys(row.snr_db for row in rows))
    lines: dict[str, list[Row]] = {}
    for row in rows:
        lines.setdefault(row.estimator, []).append(row)

    def show(text: str, cell: Callable[[Row], str], names: Sequence[str], more: Sequence[str] = ()) -> None:
        table = []
        for name in names:
            own = lines[name]
            extra = (
                [str(own[0].channels), f"{1e3 * median(r.seconds for r in own):.2f}", *_size(own[0])] if more else []
            )
            table.append([name, *map(cell, own), *extra])
        console.show(console.table(f"{title}: {text}", ["SNR, dB", *(f"{x:g}" for x in levels), *more], table))

    columns = ["channels", "ms a channel", "weights", "million MACs"]
    show("NMSE in dB", lambda r: _number(r.nmse_db, r.nmse_db_se), list(lines), columns)
    show("dB above the genie", lambda r: _number(r.genie_gap_db, r.genie_gap_db_se), list(lines)[:-1])
    priors = [name for name, own in lines.items() if own[0].calibration is not None]
    show("promised / true squared error", lambda r: _number(r.calibration, r.calibration_se, 3), priors)
    probed = [name for name, own in lines.items() if own[0].divergence is not None]
    if probed:
        text = "divergence, probe / promise"
        show(text, lambda r: _number(r.divergence_ratio, r.divergence_ratio_se, 3), probed)


def _number(value: float | None, error: float | None, digits: int = 2) -> str:
    if value is None:
        return "-"
    return f"{value:.{digits}f}" + ("" if error is None else f" ± {error:.{digits}f}")


def _size(row: Row) -> list[str]:
    weights = "" if row.parameters is None else str(row.parameters)
    return [weights, "" if row.multiplications is None else f"{1e-6 * row.multiplications:.2f}"]
