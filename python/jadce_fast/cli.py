"""The command line, ``jadce``: demo, detect, simulate, info.

Standard output holds results alone: a table, or with ``--json`` one JSON object. Notes, progress and errors
go to standard error. The exit status is 0, or 2 with a reason of one line if the input cannot be used.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from . import _console as console

# NumPy, torch and matplotlib are imported where they are used: `jadce --help` needs none of them.
if TYPE_CHECKING:
    from rich.table import Table

    from .capture import Capture
    from .detection import Detection
    from .simulation.demo import Contender
    from .simulation.run import Outcome, Record

DEFAULT_RATE = 0.05

app = typer.Typer(
    help="Joint activity detection and channel estimation for massive random access.",
    add_completion=False,
)

Prior = Annotated[str, typer.Option(help="Shipped prior, or a .safetensors file.")]
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
    sys.exit(status or 0)


@app.command()
def detect(
    capture: Annotated[Path, typer.Argument(help="Capture, .npz or .mat.", show_default=False)],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write the result to this .npz or .mat.")
    ] = None,
    receiver: Annotated[str, typer.Option(help="stmp (score prior) or bg (Gaussian prior).")] = "stmp",
    prior: Annotated[
        str | None, typer.Option(help="Prior of stmp: shipped name or .safetensors file. [default: cdl]")
    ] = None,
    power: Annotated[str, typer.Option(help="Mean received power of an active device, or unknown.")] = "unknown",
    rate: Annotated[
        float | None, typer.Option(help=f"Activity rate; default: the capture's, or {DEFAULT_RATE}.")
    ] = None,
    threads: Threads = None,
    device: Annotated[str, typer.Option(help="Where to run: cpu.")] = "cpu",
    as_json: Json = False,
) -> None:
    """Detect the active devices of a capture and estimate their channels."""
    import time

    from .capture import load_capture, save_result

    name = _prior_of(receiver, prior)
    _check_target("--output", output, (".npz", ".mat"))
    level = _power(power)
    block = load_capture(capture)
    assumed = rate is None and block.activity_rate is None
    if rate is None:
        rate = DEFAULT_RATE if block.activity_rate is None else block.activity_rate
    if assumed:
        console.note(f"activity_rate: not in the capture and no --rate given, assuming {rate}")

    from .receiver import Receiver

    antennas = block.y.shape[2]
    rx = Receiver(block.pilots, antennas, name, rate, level, device, threads)
    start = time.perf_counter()
    found = rx.detect(block.y, block.noise_var)
    seconds = time.perf_counter() - start
    assert not isinstance(found, list)
    if output is not None:
        save_result(output, found)
    setup = {"capture": str(capture), "prior": name, "devices": block.pilots.devices}
    setup |= {"activity_rate": rate, "activity_rate_assumed": assumed}
    result = setup | _result(found, seconds) | _truth(found, block)
    if as_json:
        console.show_json(result)
    else:
        _print_detection(result)


@app.command()
def simulate(
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
        typer.Option(help="Shipped prior, gaussian, or file; repeat to compare. [default: cdl]"),
    ] = None,
    genie: Annotated[bool, typer.Option("--genie", help="Also the genie-denoiser loop (slow).")] = False,
    trials: Annotated[int, typer.Option(help="Number of drops.")] = 50,
    seed: Seed = 0,
    threads: Threads = None,
    as_json: Json = False,
    csv: Annotated[Path | None, typer.Option(help="Write one line per trial and prior.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Write a picture (.png, .pdf, .svg).")] = None,
    resume: Annotated[
        Path | None, typer.Option(help="Keep finished trials in this JSON file and go on from it.")
    ] = None,
) -> None:
    """Simulate many drops at one operating point and sum up the errors."""
    from dataclasses import asdict

    from .simulation.drop import Scenario
    from .simulation.run import GENIE, simulate, summarize

    low, high = delay_spread
    scenario = Scenario(
        devices,
        symbols,
        subcarriers,
        antennas,
        rate,
        snr,
        model,
        angles,
        (1e-9 * low, 1e-9 * high),
        pilots,
        power_spread,
        fresh_pilots,
    )
    _check_target("--csv", csv)
    _check_target("--plot", plot, (".png", ".pdf", ".svg"))
    _check_target("--resume", resume)
    names = [*(prior or ["cdl"]), *([GENIE] if genie else [])]
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
            threads=threads,
            resume=resume,
            progress=report,
        )
    outcomes = [summarize(records, name) for name in dict.fromkeys(names)]
    if csv is not None:
        _write_csv(csv, [record.row() for record in records])
    if plot is not None:
        from .plots import save_figure, trials_figure

        save_figure(trials_figure(records, scenario), plot)
    if as_json:
        setup = {"scenario": asdict(scenario), "power": power, "seed": seed, "trials": trials}
        console.show_json(setup | {"results": [asdict(o) | _genie_distance(o, outcomes) for o in outcomes]})
    else:
        console.show(_outcome_table(outcomes))


@app.command()
def demo(
    output: Annotated[Path, typer.Option(help="Directory of the picture.")] = Path("out"),
    seed: Seed = 0,
    prior: Prior = "cdl",
    devices: Annotated[int, typer.Option(help="K, potential devices.")] = 800,
    antennas: Annotated[int, typer.Option(help="M, antennas.")] = 32,
    symbols: Annotated[int, typer.Option(help="T, OFDM symbols with pilots.")] = 20,
    snr: Annotated[float, typer.Option(help="SNR in dB.")] = 10.0,
    threads: Threads = None,
    as_json: Json = False,
) -> None:
    """Detect one realistic CDL-C drop three ways; ends with a table and a picture."""
    from .simulation.drop import Scenario

    scenario = Scenario(devices, symbols, antennas=antennas, snr_db=snr)
    output.mkdir(parents=True, exist_ok=True)

    from .plots import demo_figure, save_figure
    from .simulation.demo import demonstrate

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
    console.show(console.table(title, columns, [list(_cells(row)) for row in rows]))
    console.show(f"picture: {picture}")


@app.command()
def info(as_json: Json = False) -> None:
    """Show versions, processor, kernels, shipped priors and CUDA."""
    from .info import collect

    found = collect()
    if as_json:
        console.show_json(found)
        return
    for key, value in found.items():
        console.show(f"{key.replace('_', '-'):18} {console.plain(value)}")


def _prior_of(receiver: str, prior: str | None) -> str:
    if receiver not in ("stmp", "bg"):
        raise ValueError(f"--receiver: expected stmp or bg, found {receiver!r}")
    if receiver == "stmp":
        return "cdl" if prior is None else prior
    if prior not in (None, "gaussian"):
        raise ValueError(f"--prior: expected none or gaussian with --receiver bg, found {prior!r}")
    return "gaussian"


def _power(text: str) -> Any:
    if text == "unknown":
        return text
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"--power: expected unknown or a number, found {text!r}") from None


def _check_target(option: str, path: Path | None, suffixes: Sequence[str] = ()) -> None:
    """Refuse a file that cannot be written before the work is done rather than after."""
    if path is None:
        return
    if suffixes and path.suffix.lower() not in suffixes:
        raise ValueError(f"{option}: expected the extension {' or '.join(suffixes)}, found {str(path)!r}")
    if not path.absolute().parent.is_dir():
        raise ValueError(f"{option}: expected a file in an existing directory, found {str(path)!r}")
    if path.is_dir():
        raise ValueError(f"{option}: expected a file, found the directory {str(path)!r}")


def _result(found: Detection, seconds: float) -> dict[str, Any]:
    return {
        "active": found.active.tolist(),
        "probabilities": found.activity[found.active].tolist(),
        "power": (abs(found.channels) ** 2).mean((1, 2)).tolist(),
        "iterations": found.iterations,
        "converged": bool(found.converged),
        "noise_var": found.noise_var,
        "seconds": seconds,
    }


def _truth(found: Detection, block: Capture) -> dict[str, Any]:
    """Scores, as far as the capture holds the truth."""
    from .metrics import score

    if block.true_active is None:
        return {}
    if block.true_channels is None:
        truth, active = set(block.true_active.tolist()), set(found.active.tolist())
        return {"nmse_db": None, "missed": len(truth - active), "false_alarms": len(active - truth)}
    errors = score(found, block.true_active, block.true_channels)
    nmse = errors.nmse_db if errors.channel_energy > 0 else None
    return {"nmse_db": nmse, "missed": errors.missed, "false_alarms": errors.false_alarms}


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
    """How far an outcome is above the genie's, in dB."""
    genie = next((o.nmse_db for o in outcomes if o.prior == "genie"), None)
    if genie is None or outcome.nmse_db is None:
        return {}
    return {"genie_distance_db": outcome.nmse_db - genie}


def _cells(row: dict[str, Any]) -> list[str]:
    names = ("prior", "active", "detected", "missed", "false_alarms", "nmse_db", "iterations", "milliseconds")
    return [console.plain(row[name]) for name in names]


def _outcome_table(outcomes: Sequence[Outcome]) -> Table:
    columns = ["prior", "trials", "active", "missed", "false alarms", "error rate", "NMSE dB", "to genie dB"]
    columns += ["iterations", "converged", "p50 ms", "p99 ms"]
    rows = []
    for o in outcomes:
        distance = _genie_distance(o, outcomes).get("genie_distance_db")
        row = [
            o.prior,
            *(str(n) for n in (o.trials, o.active, o.missed, o.false_alarms)),
            f"{o.error_rate:.1e}",
        ]
        row += ["" if level is None else f"{level:.2f}" for level in (o.nmse_db, distance)]
        row += [f"{o.iterations:.1f}", f"{o.converged:.0%}"]
        rows.append([*row, f"{1e3 * o.seconds_p50:.1f}", f"{1e3 * o.seconds_p99:.1f}"])
    return console.table(None, columns, rows)


def _print_detection(result: dict[str, Any]) -> None:
    state = "converged" if result["converged"] else "not converged"
    console.show(
        f"{len(result['active'])} of {result['devices']} devices active "
        f"({result['iterations']} iterations, {state}, {1e3 * result['seconds']:.1f} ms, "
        f"residual {result['noise_var']:.3g})"
    )
    if "missed" in result:
        nmse = "" if result["nmse_db"] is None else f", NMSE {result['nmse_db']:.2f} dB"
        console.show(f"against the truth: {result['missed']} missed, {result['false_alarms']} false alarms{nmse}")
    rows = [
        [str(k), f"{p:.4f}", f"{10 * math.log10(max(g, 1e-30)):.1f}"]
        for k, p, g in zip(result["active"], result["probabilities"], result["power"], strict=True)
    ]
    if rows:
        console.show(console.table(None, ["device", "probability", "power dB"], rows))


def _write_csv(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    import csv
    import io

    from .simulation.run import write_text

    text = io.StringIO()
    writer = csv.DictWriter(text, rows[0].keys(), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())


def _fail(text: str, status: int = 2) -> None:
    console.note(f"error: {text}")
    sys.exit(status)


if __name__ == "__main__":
    main()
