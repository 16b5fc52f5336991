"""``jadce simulate`` and ``jadce demo``: drops of the library's own channels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..priors import DEFAULT
from . import console
from .app import DEFAULT_RATE, Csv, Json, Plot, Resume, Seed, Threads, Trials, app, check_campaign, write_csv
from .axes import arrays, numbers, ranges, words

if TYPE_CHECKING:
    from rich.table import Table

    from ..campaigns.demo import Contender
    from ..campaigns.odds import Calibration
    from ..campaigns.ofdm_outcome import Outcome, Record


@app.command()
def simulate(
    *,
    devices: Annotated[str, typer.Option(help="K, potential devices.")] = "800",
    subcarriers: Annotated[str, typer.Option(help="N, pilot subcarriers.")] = "48",
    antennas: Annotated[
        str, typer.Option(help="M, antennas, or ROWSxCOLUMNS of a panel, or POLARISATIONSxROWSxCOLUMNS.")
    ] = "32",
    spacing: Annotated[str, typer.Option(help="Distance of subcarriers in kHz.")] = "30",
    symbols: Annotated[str, typer.Option(help="T, OFDM symbols with pilots.")] = "20",
    rate: Annotated[str, typer.Option(help="Activity rate.")] = str(DEFAULT_RATE),
    snr: Annotated[str, typer.Option(help="SNR in dB: pilot power over noise variance.")] = "10",
    model: Annotated[str, typer.Option(help="CDL model A ... E, or mixed.")] = "C",
    angles: Annotated[str, typer.Option(help="Table's column of angles: departure or arrival.")] = "departure",
    delay_spread: Annotated[
        tuple[str, str], typer.Option(metavar="LOW HIGH", help="RMS delay spread, range in ns.")
    ] = ("100", "363"),
    channels: Annotated[
        Path | None, typer.Option(help="File of channels (S, N, M) in place of a model: .npz, .mat, .h5.")
    ] = None,
    pilots: Annotated[str, typer.Option(help="dft or qpsk.")] = "dft",
    fresh_pilots: Annotated[bool, typer.Option("--fresh-pilots", help="New pilots in every trial.")] = False,
    power_spread: Annotated[
        str, typer.Option(help="Received powers uniform over this many dB, not told to the receiver.")
    ] = "0",
    distance: Annotated[
        tuple[str, str] | None,
        typer.Option(metavar="LOW HIGH", help="Path loss of devices so many metres away; Cai has 35 200."),
    ] = None,
    power: Annotated[str, typer.Option(help="Is the receiver told the mean power: unknown or known.")] = "unknown",
    prior: Annotated[
        list[str] | None,
        typer.Option(help="Shipped prior, gaussian, file, or A+B; repeat to compare.", show_default=DEFAULT),
    ] = None,
    receiver: Annotated[
        list[str] | None,
        typer.Option(help="Baseline, with an option after a colon: tmp-em:12, somp:cdl; repeat.", show_default=False),
    ] = None,
    threshold: Annotated[
        float | None, typer.Option(help="Probability from which a device is active.", show_default="0.5")
    ] = None,
    learn: Annotated[
        bool, typer.Option("--learn", help="Receivers learn activity rate and noise variance from every block.")
    ] = False,
    genie: Annotated[bool, typer.Option("--genie", help="Also the genie-denoiser loop (slow).")] = False,
    trials: Trials = 50,
    errors: Annotated[
        int | None, typer.Option(help="A point ends when every receiver has made so many errors of activity.")
    ] = None,
    width: Annotated[
        float | None, typer.Option(help="Or when the 95 % interval of every NMSE is no wider, in dB.")
    ] = None,
    seed: Seed = 0,
    threads: Threads = None,
    device: Annotated[str, typer.Option(help="Where receivers with priors run: cpu, cuda or cuda:N.")] = "cpu",
    batch: Annotated[int, typer.Option(help="Drops that a receiver on a GPU detects at once.")] = 1,
    workers: Annotated[int, typer.Option(help="Processes, of one thread each.")] = 1,
    scheduler: Annotated[
        str | None, typer.Option(help="Address of a Dask scheduler, whose workers detect instead.")
    ] = None,
    as_json: Json = False,
    csv: Csv = None,
    plot: Plot = None,
    resume: Resume = None,
) -> None:
    """Simulate many drops of the OFDM system and sum up the errors, at one operating point or at many.

    Options of numbers take lists and ranges, --snr=-15:20:5 --symbols 10,20; --model, --angles, --pilots take lists.
    Points are all combinations.
    """
    from dataclasses import asdict

    import scipy.stats  # noqa: F401  (of the intervals: that it is missing shows now and not when the work is done)

    from ..campaigns.odds import roc
    from ..campaigns.ofdm_campaign import GENIE, simulate, sweep
    from ..campaigns.ofdm_drop import Scenario
    from ..campaigns.ofdm_outcome import summarize, summarize_odds
    from ..figures.sweep import sweep_rows
    from ..metrics import Score

    axes: dict[str, list[Any]] = {
        "devices": numbers("--devices", devices, whole=True),
        "symbols": numbers("--symbols", symbols, whole=True),
        "subcarriers": numbers("--subcarriers", subcarriers, whole=True),
        "antennas": arrays("--antennas", antennas),
        "spacing": [1e3 * value for value in numbers("--spacing", spacing)],
        "activity_rate": numbers("--rate", rate),
        "snr_db": numbers("--snr", snr),
        "model": words(model),
        "angles": words(angles),
        "delay_spread": ranges("--delay-spread", delay_spread, 1e-9),
        "pilots": words(pilots),
        "power_spread_db": numbers("--power-spread", power_spread),
        "distance": [None] if distance is None else ranges("--distance", distance),
    }
    first = {name: values[0] for name, values in axes.items()}
    base = Scenario(fresh_pilots=fresh_pilots, channels="" if channels is None else str(channels), **first)
    points = sweep(base, axes)
    axes = {name: values for name, values in axes.items() if len(values) > 1}
    check_campaign(csv, plot, resume)
    single = [name for name, values in axes.items() if not isinstance(values[0], tuple)]
    if plot is not None and axes and not single:
        raise ValueError(f"--plot: expected an axis of single values, found ranges of {', '.join(axes)}")
    own = prior or ([] if receiver else [DEFAULT])
    names = list(dict.fromkeys([*own, *_baselines(receiver or []), *([GENIE] if genie else [])]))
    with console.Progress("simulating", trials * len(points)) as bar:
        sums = [Score() for _ in points]  # of the first receiver

        def report(done: int, records: list[Record]) -> None:
            first = records[-len(names)]
            sums[first.point] += first.score
            if bar.shown:
                at = ", ".join(f"{name} {getattr(points[first.point], name)}" for name in axes)
                total = sums[first.point]
                nmse = f"{total.nmse_db:.2f} dB, " if total.channel_energy > 0 else ""
                # Points that have stopped early count as whole.
                done = first.point * trials + first.trial + 1
                bar.update(done, f"{at}  {names[0]} {nmse}{total.missed} + {total.false_alarms} errors")

        records = simulate(
            points,
            names,
            trials,
            seed,
            power=power,  # type: ignore[arg-type]
            threshold=threshold,
            learn=learn,
            errors=errors,
            width_db=width,
            threads=threads,
            device=device,
            batch=batch,
            workers=workers,
            scheduler=scheduler,
            resume=resume,
            progress=report,
        )
    outcomes = [[summarize(records, name, i) for name in names] for i in range(len(points))]
    rows = [
        {name: getattr(point, name) for name in axes} | asdict(o) | _genie_distance(o, every)
        for point, every in zip(points, outcomes, strict=True)
        for o in every
    ]
    if csv is not None:
        write_csv(csv, [{name: getattr(points[r.point], name) for name in axes} | r.row() for r in records])
    if plot is not None:
        from ..figures.style import save_figure
        from ..figures.sweep import sweep_figure
        from ..figures.trials import trials_figure

        axis = next(iter(single), "")
        save_figure(sweep_figure(sweep_rows(rows, axis), axis) if axis else trials_figure(records, points[0]), plot)
    if as_json:
        setup = {"scenario": asdict(points[0]), "power": power, "threshold": threshold, "learn": learn}
        setup |= {"seed": seed, "trials": trials} | ({"axes": axes} if axes else {})
        odds = [summarize_odds(records, name, i) for i in range(len(points)) for name in names]
        console.show_json(setup | {"results": [row | {"roc": roc(own)} for row, own in zip(rows, odds, strict=True)]})
    else:
        console.show(outcome_table(rows, list(axes)))


@app.command()
def report(
    directory: Annotated[Path, typer.Argument(help="Directory that jadce simulate --resume kept.")],
    output: Annotated[Path | None, typer.Option(help="Directory of table and pictures.", show_default="DIR")] = None,
    as_json: Json = False,
) -> None:
    """Sum up what a campaign has so far: tables, and pictures over every axis on which points differ.

    Beside them the ROC curve and the reliability of probabilities of activity at every point.

    It reads what the campaign has kept, while that goes on or after it.
    """
    from ..campaigns.odds import roc
    from ..campaigns.ofdm_outcome import summarize_odds
    from ..campaigns.report import read_report
    from ..figures.activity import activity_figure
    from ..figures.style import save_figure
    from ..figures.sweep import sweep_figure, sweep_rows

    found = read_report(directory)
    rows, axes = found.rows, found.axes
    odds = [summarize_odds(own, own[0].prior) for own in found.records]
    target = directory if output is None else output
    target.mkdir(parents=True, exist_ok=True)
    files = [target / "report.csv", target / "report-activity.csv"]
    write_csv(files[0], rows)
    about = [{name: row[name] for name in (*axes, "prior")} for row in rows]
    write_csv(files[1], [at | line for at, own in zip(about, odds, strict=True) for line in roc(own)])
    points: dict[str, dict[str, Calibration]] = {}
    for at, own in zip(about, odds, strict=True):
        points.setdefault(", ".join(f"{name} {at[name]}" for name in axes), {})[at["prior"]] = own
    for i, (title, receivers) in enumerate(points.items()):
        files.append(target / (f"report-activity-{i}.png" if axes else "report-activity.png"))
        save_figure(activity_figure(receivers, title), files[-1])
    for axis in axes:
        if all(isinstance(row[axis], int | float) for row in rows):
            files.append(target / f"report-{axis}.png")
            save_figure(sweep_figure(sweep_rows(rows, axis), axis), files[-1])
    if as_json:
        rows = [row | {"roc": roc(own)} for row, own in zip(rows, odds, strict=True)]
        console.show_json(found.facts | {"axes": axes, "files": list(map(str, files)), "results": rows})
        return
    console.show(outcome_table(rows, axes))
    console.show("files: " + ", ".join(map(str, files)))


def _baselines(names: list[str]) -> list[str]:
    from ..baselines.receivers.by_name import NAMES, is_baseline

    for name in names:
        if not is_baseline(name):
            raise ValueError(f"--receiver: expected {', '.join(NAMES)}, found {name!r}")
    return names


@app.command()
def demo(
    *,
    output: Annotated[Path, typer.Option(help="Directory of the picture.")] = Path("out"),
    seed: Seed = 0,
    prior: Annotated[str, typer.Option(help="Shipped prior, or a .safetensors file, or A+B.")] = DEFAULT,
    devices: Annotated[int, typer.Option(help="K, potential devices.")] = 800,
    antennas: Annotated[int, typer.Option(help="M, antennas.")] = 32,
    symbols: Annotated[int, typer.Option(help="T, OFDM symbols with pilots.")] = 20,
    snr: Annotated[float, typer.Option(help="SNR in dB.")] = 10.0,
    threads: Threads = None,
    as_json: Json = False,
) -> None:
    """Detect one realistic CDL-C drop three ways; ends with a table and a picture."""
    from ..campaigns.ofdm_drop import Scenario

    scenario = Scenario(devices, symbols, antennas=antennas, snr_db=snr)
    output.mkdir(parents=True, exist_ok=True)

    from ..campaigns.demo import demonstrate
    from ..figures.demo import demo_figure
    from ..figures.style import save_figure

    with console.Progress("detecting", 4) as bar:
        stages = iter(range(4))
        shown = demonstrate(
            scenario, seed, prior, threads=threads, progress=lambda name: bar.update(next(stages), name)
        )
        bar.update(3, "picture")
        picture = output / "demo.png"
        save_figure(demo_figure(shown), picture)
        bar.update(4, "")
    rows = [_contender(c) for c in shown.contenders]
    if as_json:
        setup = {"devices": devices, "symbols": symbols, "subcarriers": scenario.subcarriers}
        setup |= {"antennas": antennas, "snr_db": snr, "seed": seed}  # type: ignore[dict-item]
        console.show_json(setup | {"picture": str(picture), "results": rows})
        return
    title = (
        f"{devices} devices · {symbols} symbols · {scenario.subcarriers} subcarriers · {antennas} antennas · "
        f"{snr:g} dB · CDL-C"
    )
    columns = ["prior", "active", "detected", "missed", "false alarms", "NMSE dB", "iterations", "ms"]
    cells = [[console.plain(value) for value in row.values()][: len(columns)] for row in rows]
    console.show(console.table(title, columns, cells))
    console.show(f"picture: {picture}")


def _contender(contender: Contender) -> dict[str, Any]:
    s = contender.score
    return {
        "prior": contender.prior,
        "active": s.active,
        "detected": len(contender.detection.active),
        "missed": s.missed,
        "false_alarms": s.false_alarms,
        "nmse_db": s.nmse_db if s.channel_energy > 0 else None,
        "iterations": contender.detection.iterations,
        "milliseconds": contender.milliseconds,
        "nmse_db_per_iteration": list(contender.nmse_db),
    }


def _genie_distance(outcome: Outcome, outcomes: Sequence[Outcome]) -> dict[str, float | None]:
    """Distance of an outcome to the genie's, in dB, where there is a genie."""
    genie = next((o.nmse_db for o in outcomes if o.prior == "genie"), None)
    if genie is None or outcome.nmse_db is None:
        return {}
    return {"genie_distance_db": outcome.nmse_db - genie}


def outcome_table(rows: Sequence[dict[str, Any]], axes: Sequence[str]) -> Table:
    """Table of outcomes, a line a point and receiver."""
    columns = [*axes, "receiver", "trials", "active", "missed", "false alarms", "error rate", "95 %", "NMSE dB", "95 %"]
    columns += ["mean dB", "median dB", "to genie dB", "calibration", "iterations", "converged", "p50 ms", "p99 ms"]

    def level(value: float | None) -> str:
        return "" if value is None else f"{value:.2f}"

    lines = []
    for r in rows:
        line = [*(str(r[name]) for name in axes), r["prior"]]
        line += [str(r[name]) for name in ("trials", "active", "missed", "false_alarms")]
        line += [f"{r['error_rate']:.1e}", f"{r['error_rate_low']:.1e} … {r['error_rate_high']:.1e}"]
        line += [level(r["nmse_db"]), f"{level(r['nmse_low_db'])} … {level(r['nmse_high_db'])}"]
        line += [level(r.get(name)) for name in ("mean_nmse_db", "median_nmse_db", "genie_distance_db")]
        line += [f"{r['calibration_error']:.3f}", f"{r['iterations']:.1f}", f"{r['converged']:.0%}"]
        lines.append([*line, f"{1e3 * r['seconds_p50']:.1f}", f"{1e3 * r['seconds_p99']:.1f}"])
    return console.table(None, columns, lines)
