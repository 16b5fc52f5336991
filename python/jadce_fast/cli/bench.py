"""``jadce bench``: how long a detection takes on this machine."""

from __future__ import annotations

from typing import Annotated

import typer

from . import console
from .app import DEFAULT_RATE, Json, Seed, Threads, app

_HEADS = {"p50 ms": "p50_ms", "p99 ms": "p99_ms", "p99.9 ms": "p99.9_ms", "max ms": "max_ms"}


@app.command()
def bench(
    *,
    devices: Annotated[int, typer.Option(help="K, potential devices.")] = 800,
    symbols: Annotated[int, typer.Option(help="T, OFDM symbols with pilots.")] = 20,
    antennas: Annotated[int, typer.Option(help="M, antennas.")] = 32,
    rate: Annotated[float, typer.Option(help="Activity rate.")] = DEFAULT_RATE,
    snr: Annotated[float, typer.Option(help="SNR in dB.")] = 10.0,
    prior: Annotated[
        list[str] | None,
        typer.Option(help="Shipped prior or file; repeat.", show_default="cdl, cdl-tiny, cdl-tiny+cdl-large, gaussian"),
    ] = None,
    device: Annotated[str, typer.Option(help="Where to run: cpu, cuda or cuda:N.")] = "cpu",
    threads: Threads = None,
    seconds: Annotated[float, typer.Option(help="Measuring time of each line.")] = 2.0,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Time a detection on this machine, after its answer was checked. Other programs should rest meanwhile."""
    from ..campaigns.latency import latencies
    from ..campaigns.ofdm_drop import Scenario
    from ..info import collect

    scenario = Scenario(devices=devices, symbols=symbols, antennas=antennas, activity_rate=rate, snr_db=snr)
    names = prior or ["cdl", "cdl-tiny", "cdl-tiny+cdl-large", "gaussian"]
    with console.Progress("timing", 2 * len(names)) as bar:
        rows = []
        for row in latencies(scenario, names, device=device, threads=threads, seconds=seconds, seed=seed):
            rows.append(row)
            bar.update(len(rows), f"{row['prior']} {row['p50_ms']:.2f} ms")
    facts = collect()
    machine = {"processor": facts["processor"], "kernels": facts["kernels"], "device": device}
    machine |= {"threads": facts["threads"] if threads is None else threads, "jadce_fast": facts["jadce_fast"]}
    if as_json:
        setup = {"devices": devices, "symbols": symbols, "antennas": antennas, "rate": rate, "snr": snr, "seed": seed}
        console.show_json(machine | {"scenario": setup, "results": rows})
        return
    lines = [
        [row["prior"], row["power"], row["network"], f"{row['nmse_db']:.1f}", str(row["iterations"])]
        + [f"{row[key]:.2f}" for key in _HEADS.values()]
        + [str(row["runs"])]
        for row in rows
    ]
    columns = ["prior", "power", "network", "NMSE dB", "iterations", *_HEADS, "runs"]
    processor = f"{machine['processor']['name']}, {machine['threads']} threads, {device}"
    console.show(console.table(f"One detection: {devices} devices, {symbols} symbols ({processor})", columns, lines))
