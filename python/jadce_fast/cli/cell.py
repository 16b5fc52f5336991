"""Commands of the single cell of Tang et al.: ``jadce simulate-cell``, ``jadce tune``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from . import console
from .app import Csv, Json, Plot, Resume, Seed, Threads, Trials, app, check_campaign, check_kept, write_csv

if TYPE_CHECKING:
    from ..campaigns.cell_campaign import CellOutcome, CellRecord


@app.command("simulate-cell")
def simulate_cell(
    *,
    antennas: Annotated[int, typer.Option(help="M, antennas.")] = 16,
    devices: Annotated[int, typer.Option(help="N, potential devices.")] = 64,
    symbols: Annotated[int, typer.Option(help="L, pilot symbols.")] = 48,
    rate: Annotated[float, typer.Option(help="Activity rate.")] = 0.1,
    snr: Annotated[float, typer.Option(help="SNR in dB: received power over noise power of an entry.")] = 10.0,
    active: Annotated[int | None, typer.Option(help="Exactly so many devices are active.")] = None,
    rician: Annotated[float | None, typer.Option(help="Line-of-sight over scattered power, in dB.")] = None,
    bits: Annotated[int | None, typer.Option(help="Received pilots are quantised to 1 to 4 bits.")] = None,
    interference: Annotated[
        float | None, typer.Option(help="Received power over that of another cell's devices, in dB.")
    ] = None,
    prior: Annotated[
        list[str] | None,
        typer.Option(
            help="Of the Langevin receiver: cell (the exact score), cell-network or a file. In its place: tmp "
            "(message passing), lmmse or algorithm-1 (the paper's sampler as printed). Repeat to compare.",
            show_default="cell, lmmse",
        ),
    ] = None,
    trials: Trials = 50,
    seed: Seed = 0,
    threads: Threads = None,
    as_json: Json = False,
    csv: Csv = None,
    plot: Plot = None,
    resume: Resume = None,
) -> None:
    """Simulate many draws of the single cell of Tang et al., one subcarrier, and sum up the errors."""
    from ..campaigns.cell_campaign import simulate_cell as run
    from ..campaigns.cell_campaign import summarize_cell
    from ..campaigns.cell_drop import CellScenario
    from ..priors.cell import CellPrior

    scenario = CellScenario(
        antennas,
        devices,
        symbols,
        snr,
        CellPrior(rate),
        active=active,
        rician_db=rician,
        bits=bits,
        interference_db=interference,
    )
    check_campaign(csv, plot, resume)
    names = list(dict.fromkeys(prior or ["cell", "lmmse"]))
    with console.Progress("simulating", trials) as bar:

        def report(done: int, total: int, records: list[CellRecord]) -> None:
            nmse = summarize_cell(records, scenario, names[0]).nmse_db
            bar.update(done, "" if nmse is None else f"{names[0]} {nmse:.2f} dB")

        records = run([scenario], names, trials, seed, threads=threads, resume=resume, progress=report)
    outcomes = [summarize_cell(records, scenario, name) for name in names]
    if csv is not None:
        write_csv(csv, [record.row() for record in records])
    if plot is not None:
        from ..figures.cell_curves import draw
        from ..figures.style import save_figure

        rows = [asdict(o) | {"panel": "", "curve": "", "snr_db": snr} for o in outcomes]
        save_figure(draw(rows, f"M={antennas}, N={devices}, L={symbols}, {snr:g} dB"), plot)
    if as_json:
        setup = {"scenario": asdict(scenario), "seed": seed, "trials": trials}
        console.show_json(setup | {"results": [asdict(o) for o in outcomes]})
        return
    console.show(_table(None, outcomes))


def _table(title: str | None, outcomes: Sequence[CellOutcome]) -> Any:
    columns = ["receiver", "trials", "missed", "false alarms", "accuracy", "median NMSE dB", "95 %", "restarts"]
    columns += ["diverged", "p50 ms"]
    rows = []
    for o in outcomes:
        low, high = o.nmse_low_db, o.nmse_high_db
        between = "" if low is None or high is None else f"{low:.2f} … {high:.2f}"
        row = [o.receiver, *map(str, (o.trials, o.missed, o.false_alarms)), f"{o.accuracy:.4f}"]
        row += ["-" if o.nmse_db is None else f"{o.nmse_db:.2f}", between, str(o.restarts), str(o.diverged)]
        rows.append([*row, f"{1e3 * o.seconds_p50:.1f}"])
    return console.table(title, columns, rows)


@app.command()
def tune(
    *,
    step: Annotated[str, typer.Option(help="Values of alpha_0 over the inverse curvature.")] = "0.7,1,1.4",
    decay: Annotated[str, typer.Option(help="Values of r, or none: follow sigma^2.")] = "none,0.96,0.92,0.88",
    beta: Annotated[str, typer.Option(help="Values of beta.")] = "0.01,0.1,0.9",
    levels: Annotated[str, typer.Option(help="Numbers of noise levels.")] = "100",
    steps: Annotated[str, typer.Option(help="Steps per level.")] = "10",
    snr: Annotated[str, typer.Option(help="SNRs in dB: a list 0,10,20 or LOW:HIGH:STEP.")] = "0,20,45",
    draws: Annotated[int, typer.Option(help="Validation draws.")] = 500,
    seed: Seed = 0,
    threads: Threads = None,
    resume: Resume = None,
    as_json: Json = False,
) -> None:
    """Search the paper's Langevin sampler (Tang, Algorithm 1) over a grid of step, decay and noise."""
    from ..campaigns.grid_search import grid, grid_search
    from ..figures.result import snr_levels

    check_kept(resume)
    chosen = grid(
        _numbers("--step", step),
        [None if x is None else x for x in _numbers("--decay", decay, none=True)],
        _numbers("--beta", beta),
        [int(x) for x in _numbers("--levels", levels)],
        [int(x) for x in _numbers("--steps", steps)],
    )
    points = snr_levels(snr)
    with console.Progress("searching", len(chosen) * len(points) * draws) as bar:
        rows = grid_search(
            chosen,
            snr_db=points,
            draws=draws,
            seed=seed,
            threads=threads,
            resume=resume,
            progress=lambda done, total: bar.update(done, ""),
        )
    if as_json:
        console.show_json({"draws": draws, "snr_db": points, "results": [asdict(row) for row in rows]})
        return
    columns = ["alpha_0", "r", "beta", "levels", "steps", *(f"{x:g} dB" for x in points), "mean", "restarts"]
    table = []
    for row in rows:
        s = row.setting
        line = [f"{s.step:g}", "-" if s.decay is None else f"{s.decay:g}", f"{s.beta:g}", str(s.levels), str(s.steps)]
        table.append([*line, *(f"{x:.2f}" for x in (*row.nmse_db, row.mean_nmse_db)), str(row.restarts)])
    console.show(console.table(f"median NMSE in dB of {draws} validation draws, best first", columns, table))


def _numbers(option: str, text: str, none: bool = False) -> list[Any]:
    """Numbers of a list such as "0.7,1"; with `none` the word none stands for None."""
    try:
        return [None if none and part.strip() == "none" else float(part) for part in text.split(",")]
    except ValueError:
        raise ValueError(f"{option}: expected a list of numbers such as 0.7,1, found {text!r}") from None
