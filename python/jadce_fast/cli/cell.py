"""Commands of the single cell of Tang et al.: ``jadce simulate-cell``, its figures, ``jadce tune``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from . import console
from .app import Csv, Json, Plot, Resume, Seed, Threads, Trials, app, check_campaign, check_target, write_csv
from .figures import _levels, figures

if TYPE_CHECKING:
    from ..campaigns.cell_campaign import CellOutcome, CellRecord

_SNRS = "-10,0,10,20,30,40,45,50"
_TITLES = {
    "tang-5": "Tang Fig. 5: M = 16 antennas, N = 64 devices, 10 % active, L = 48 pilots",
    "tang-6": "Tang Fig. 6: antennas, devices (L / N = 0.75) and active devices varied one at a time",
    "tang-density": "Pilot density L / N below and above one, M = 16, N = 64",
    "tang-shift": "Other channels than the prior's, M = 16, N = 64, L = 48",
    "tang-impaired": "Quantised and interfered pilots, and whether the receiver is told their variance",
}
Priors = Annotated[
    list[str] | None, typer.Option(help="cell (exact score), cell-network or a file; repeat.", show_default="cell")
]


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
    from ..campaigns.cell_drop import CellScenario
    from ..campaigns.cell_campaign import simulate_cell as run
    from ..campaigns.cell_campaign import summarize_cell
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
        from ..figures.plots import save_figure
        from ..figures.plots_cell import cell_figure

        rows = [asdict(o) | {"panel": "", "curve": "", "snr_db": snr} for o in outcomes]
        save_figure(cell_figure(rows, f"M={antennas}, N={devices}, L={symbols}, {snr:g} dB"), plot)
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


def measure_figure(
    name: str, snr: Sequence[float], receivers: Sequence[str], draws: int, seed: int, threads: int | None, output: Path
) -> list[dict[str, Any]]:
    """Rows of a figure: a curve, a receiver and an SNR each. ``OUTPUT/NAME.json`` keeps what is done."""
    from ..campaigns.cell_campaign import simulate_cell as run
    from ..campaigns.cell_campaign import summarize_cell
    from ..figures.tang import TRAINING, curves

    places = [(curve, replace(curve.scenario, snr_db=float(level))) for curve in curves(name) for level in snr]
    output.mkdir(parents=True, exist_ok=True)
    with console.Progress(name, len(places) * draws) as bar:
        records = run(
            [point for _, point in places],
            receivers,
            draws,
            seed,
            belief=TRAINING,
            threads=threads,
            resume=output / f"{name}.json",
            progress=lambda done, total, records: bar.update(done, ""),
        )
    rows = []
    for i, (curve, point) in enumerate(places):
        own = [r for r in records if r.point == i]
        for receiver in receivers:
            about = {"panel": curve.panel, "curve": curve.label, "snr_db": point.snr_db}
            rows.append(about | asdict(summarize_cell(own, point, receiver)))
    return rows


def _add_figure(name: str, draws: int, text: str) -> None:
    @figures.command(name, help=f"{text} OUTPUT/{name}.json keeps what is done; an interrupted command goes on.")
    def command(
        output: Annotated[Path, typer.Option(help="Directory of picture, table and JSON.")] = Path("out"),
        draws: Annotated[int, typer.Option(help="Draws at every point.")] = draws,
        snr: Annotated[str, typer.Option(help="SNRs in dB: a list 0,10,20 or LOW:HIGH:STEP.")] = _SNRS,
        prior: Priors = None,
        seed: Seed = 0,
        threads: Threads = None,
        as_json: Json = False,
    ) -> None:
        from ..figures.tang import receivers

        names = receivers(name, prior or ["cell"])
        rows = measure_figure(name, _levels(snr), names, draws, seed, threads, output)
        files = [output / f"{name}.csv", output / f"{name}.png"]
        write_csv(files[0], rows)

        from ..figures.plots import save_figure
        from ..figures.plots_cell import cell_figure

        save_figure(cell_figure(rows, _TITLES[name]), files[1])
        if as_json:
            console.show_json({"figure": name, "draws": draws, "files": [str(f) for f in files], "results": rows})
            return
        for key, digits in (("nmse_db", 2), ("accuracy", 4)):
            what = "median NMSE in dB" if key == "nmse_db" else "accuracy of activity"
            _show_rows(rows, f"{name}: {what}", key, digits)
        console.show("files: " + ", ".join(map(str, files)))


_add_figure("tang-5", 100, "NMSE and accuracy of activity over SNR, Tang Fig. 5, beside message passing and LMMSE.")
_add_figure("tang-6", 60, "Antennas, devices and active devices varied one at a time, Tang Fig. 6.")
_add_figure("tang-density", 60, "Pilot density L / N below and above one.")
_add_figure("tang-shift", 60, "Draws from other distributions than the prior's.")
_add_figure("tang-impaired", 60, "Pilots quantised to 1 to 4 bits, and pilots with interference.")


@figures.command("tang-link")
def tang_link(
    output: Annotated[Path, typer.Option(help="Directory of picture, table and JSON.")] = Path("out"),
    draws: Annotated[int, typer.Option(help="Draws at every SNR, each with some six words.")] = 100,
    snr: Annotated[str, typer.Option(help="SNRs in dB: a list 0,10,20 or LOW:HIGH:STEP.")] = "0:40:5",
    prior: Priors = None,
    seed: Seed = 0,
    threads: Threads = None,
    as_json: Json = False,
) -> None:
    """Block error rate of LDPC-coded QPSK after LMMSE detection with estimated and with true channels.

    Needs Sionna (pip install jadce-fast[sim]). OUTPUT/tang-link.json keeps what is done; an interrupted run goes on.
    """
    import torch

    from ..campaigns.cell_drop import CellScenario
    from ..campaigns.cell_link import simulate_link

    torch.set_num_threads(threads or 1)  # decoders of a few words are small: more threads wait for each other
    points = [CellScenario(snr_db=level) for level in _levels(snr)]
    output.mkdir(parents=True, exist_ok=True)
    with console.Progress("coded link", len(points) * draws) as bar:
        found = simulate_link(
            points,
            [*(prior or ["cell"]), "lmmse", "truth"],
            draws,
            seed,
            threads=threads,
            resume=output / "tang-link.json",
            progress=lambda done, total: bar.update(done, ""),
        )
    files = [output / "tang-link.csv", output / "tang-link.png"]
    write_csv(files[0], [row.row() for row in found])

    from ..figures.plots import save_figure
    from ..figures.plots_cell import link_figure

    save_figure(link_figure(found), files[1])
    if as_json:
        console.show_json({"draws": draws, "files": [str(f) for f in files], "results": [r.row() for r in found]})
        return
    lines: dict[str, list[str]] = {}
    for row in found:
        lines.setdefault(row.receiver, []).append(f"{row.block_error_rate:.4f}")
    columns = ["SNR, dB", *(f"{point.snr_db:g}" for point in points)]
    console.show(console.table("block error rate", columns, [[name, *cells] for name, cells in lines.items()]))
    console.show("files: " + ", ".join(map(str, files)))


def _show_rows(rows: Sequence[dict[str, Any]], title: str, key: str, digits: int) -> None:
    levels = list(dict.fromkeys(row["snr_db"] for row in rows))
    lines: dict[str, list[str]] = {}
    for row in rows:
        name = ", ".join(x for x in (row["panel"], row["curve"], row["receiver"]) if x)
        lines.setdefault(name, []).append("-" if row[key] is None else f"{row[key]:.{digits}f}")
    table = [[name, *cells] for name, cells in lines.items()]
    console.show(console.table(title, ["SNR, dB", *(f"{x:g}" for x in levels)], table))


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

    check_target("--resume", resume)
    chosen = grid(
        _numbers("--step", step),
        [None if x is None else x for x in _numbers("--decay", decay, none=True)],
        _numbers("--beta", beta),
        [int(x) for x in _numbers("--levels", levels)],
        [int(x) for x in _numbers("--steps", steps)],
    )
    points = _levels(snr)
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
