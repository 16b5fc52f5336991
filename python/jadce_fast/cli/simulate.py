"""``jadce simulate`` and ``jadce demo``: drops of the library's own channels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from . import console
from .app import DEFAULT_RATE, Csv, Json, Plot, Resume, Seed, Threads, Trials, app, check_campaign, write_csv

if TYPE_CHECKING:
    from rich.table import Table

    from ..campaigns.demo import Contender
    from ..campaigns.ofdm_campaign import Outcome, Record


@app.command()
def simulate(
    *,
    devices: Annotated[int, typer.Option(help="K, potential devices.")] = 800,
    subcarriers: Annotated[int, typer.Option(help="N, pilot subcarriers.")] = 48,
    antennas: Annotated[int, typer.Option(help="M, antennas.")] = 32,
    symbols: Annotated[int, typer.Option(help="T, OFDM symbols with pilots.")] = 20,
    rate: Annotated[float, typer.Option(help="Activity rate.")] = DEFAULT_RATE,
    snr: Annotated[float, typer.Option(help="SNR in dB: pilot power over noise variance.")] = 10.0,
    model: Annotated[str, typer.Option(help="CDL model A ... E, or mixed.")] = "C",
    angles: Annotated[str, typer.Option(help="Table's column of angles: departure or arrival.")] = "departure",
    delay_spread: Annotated[
        tuple[float, float], typer.Option(metavar="LOW HIGH", help="RMS delay spread, range in ns.")
    ] = (100.0, 363.0),
    pilots: Annotated[str, typer.Option(help="dft or qpsk.")] = "dft",
    fresh_pilots: Annotated[bool, typer.Option("--fresh-pilots", help="New pilots in every trial.")] = False,
    power_spread: Annotated[
        float, typer.Option(help="Received powers uniform over this many dB, not told to the receiver.")
    ] = 0.0,
    power: Annotated[str, typer.Option(help="Is the receiver told the mean power: unknown or known.")] = "unknown",
    prior: Annotated[
        list[str] | None,
        typer.Option(help="Shipped prior, gaussian, file, or A+B; repeat to compare.", show_default="cdl"),
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
    seed: Seed = 0,
    threads: Threads = None,
    as_json: Json = False,
    csv: Csv = None,
    plot: Plot = None,
    resume: Resume = None,
) -> None:
    """Simulate many drops of the OFDM system at one operating point and sum up the errors."""
    from dataclasses import asdict

    from ..campaigns.ofdm_campaign import GENIE, simulate, summarize
    from ..campaigns.ofdm_drop import Scenario

    low, high = delay_spread
    scenario = Scenario(
        devices,
        symbols,
        subcarriers,
        antennas,
        activity_rate=rate,
        snr_db=snr,
        model=model,
        angles=angles,
        delay_spread=(1e-9 * low, 1e-9 * high),
        pilots=pilots,
        power_spread_db=power_spread,
        fresh_pilots=fresh_pilots,
    )
    check_campaign(csv, plot, resume)
    own = prior or ([] if receiver else ["cdl"])
    names = [*own, *_baselines(receiver or []), *([GENIE] if genie else [])]
    with console.Progress("simulating", trials) as bar:

        def report(done: int, records: list[Record]) -> None:
            nmse = summarize(records, names[0]).nmse_db
            bar.update(done, "" if nmse is None else f"{names[0]} {nmse:.2f} dB")

        records = simulate(
            scenario,
            names,
            trials,
            seed,
            power=power,  # type: ignore[arg-type]
            threshold=threshold,
            learn=learn,
            threads=threads,
            resume=resume,
            progress=report,
        )
    outcomes = [summarize(records, name) for name in dict.fromkeys(names)]
    if csv is not None:
        write_csv(csv, [record.row() for record in records])
    if plot is not None:
        from ..figures.style import save_figure
        from ..figures.trials import trials_figure

        save_figure(trials_figure(records, scenario), plot)
    if as_json:
        setup = {"scenario": asdict(scenario), "power": power, "threshold": threshold, "learn": learn}
        setup |= {"seed": seed, "trials": trials}
        console.show_json(setup | {"results": [asdict(o) | _genie_distance(o, outcomes) for o in outcomes]})
    else:
        console.show(_outcome_table(outcomes))


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
    prior: Annotated[str, typer.Option(help="Shipped prior, or a .safetensors file.")] = "cdl",
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


def _outcome_table(outcomes: Sequence[Outcome]) -> Table:
    columns = ["prior", "trials", "active", "missed", "false alarms", "error rate", "NMSE dB", "to genie dB"]
    columns += ["iterations", "converged", "p50 ms", "p99 ms"]
    rows = []
    for o in outcomes:
        distance = _genie_distance(o, outcomes).get("genie_distance_db")
        row = [o.prior, *(str(n) for n in (o.trials, o.active, o.missed, o.false_alarms)), f"{o.error_rate:.1e}"]
        row += ["" if level is None else f"{level:.2f}" for level in (o.nmse_db, distance)]
        row += [f"{o.iterations:.1f}", f"{o.converged:.0%}"]
        rows.append([*row, f"{1e3 * o.seconds_p50:.1f}", f"{1e3 * o.seconds_p99:.1f}"])
    return console.table(None, columns, rows)
