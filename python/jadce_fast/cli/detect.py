"""``jadce detect``: a capture in, active devices and channels out."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..priors import DEFAULT
from . import console
from .app import DEFAULT_RATE, Json, Threads, app, check_target
from .axes import arrays

if TYPE_CHECKING:
    from ..capture import Capture
    from ..detection import Detection

_ENDS = {"iterations": "still improving", "diverged": "diverged", "silence": "no better than silence"}


@app.command()
def detect(
    *,
    capture: Annotated[Path, typer.Argument(metavar="CAPTURE", help="Capture, .npz, .h5 or .mat.", show_default=False)],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write the result to this .npz, .h5 or .mat.")
    ] = None,
    receiver: Annotated[
        str,
        typer.Option(
            help="stmp (score prior), langevin (one subcarrier, cell prior), or a baseline: bg (Gaussian prior), "
            "tmp-em, gmmv-amp, mmv-amp, lmmse, covariance, somp, printed-stmp, dps, oracle (told the truth)."
        ),
    ] = "stmp",
    prior: Annotated[
        str | None,
        typer.Option(
            help="Shipped name, file or A+B: cdl ... of stmp and some baselines, cell-network of langevin.",
            show_default=f"auto, {DEFAULT} or what fits better; of langevin cell, the exact score",
        ),
    ] = None,
    power: Annotated[str, typer.Option(help="Mean received power of an active device, or unknown.")] = "unknown",
    rate: Annotated[
        float | None,
        typer.Option(help="Activity rate.", show_default=f"the capture's, or learned; of langevin {DEFAULT_RATE}"),
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option(help="Probability from which a device is active; not for langevin.", show_default="0.5"),
    ] = None,
    antennas: Annotated[
        str | None,
        typer.Option(
            help="ROWSxCOLUMNS of a panel, or POLARISATIONSxROWSxCOLUMNS; of stmp.", show_default="one row of all"
        ),
    ] = None,
    spacing: Annotated[
        float | None,
        typer.Option(help="Distance of subcarriers in kHz, for a named prior.", show_default="its own, 30"),
    ] = None,
    compensate: Annotated[
        bool,
        typer.Option("--compensate", help="Take out clocks' delays, carriers, images, offsets, interference; of stmp."),
    ] = False,
    threads: Threads = None,
    device: Annotated[str, typer.Option(help="Where to run: cpu, cuda or cuda:N.")] = "cpu",
    as_json: Json = False,
) -> None:
    """Detect the active devices of a capture and estimate their channels."""
    import importlib
    import time

    from ..baselines.receivers.by_name import plan_baseline
    from ..capture import READERS, WRITTEN_BY, load_capture, save_result

    name = _prior_of(receiver, prior)
    check_target("--output", output, tuple(READERS))
    if output is not None and output.suffix.lower() in WRITTEN_BY:
        importlib.import_module(WRITTEN_BY[output.suffix.lower()])  # before the work is done rather than after
    level = parse_power(power)
    block = load_capture(capture)
    rate = block.activity_rate if rate is None else rate
    assumed = rate is None and receiver != "stmp"
    if receiver != "stmp" and threshold is not None:
        raise ValueError(f"threshold: expected none with --receiver {receiver}, found {threshold:g}")
    if receiver != "stmp" and compensate:
        raise ValueError(f"--compensate: expected none with --receiver {receiver}")
    default = DEFAULT_RATE if rate is None else rate
    if assumed:
        console.note(f"activity_rate: not in the capture and no --rate given, assuming {default}")
    if antennas is not None and receiver != "stmp":
        raise ValueError(f"--antennas: expected none with --receiver {receiver}, found {antennas}")
    if receiver == "langevin":
        found, seconds = _langevin(block, str(name), default, level, device, threads)
    elif receiver != "stmp":
        if device != "cpu":
            raise ValueError(f"--device: expected cpu for --receiver {receiver}, found {device!r}")
        if threads is not None:
            raise ValueError(f"--threads: expected none for --receiver {receiver}, which has one, found {threads}")
        noise_var = _one_variance(block, receiver)
        own = None if name is None or receiver == "bg" else _fitting(name, block, spacing)
        truth = block.true_active
        rx = plan_baseline(receiver, block.pilots, block.y.shape[2], default, level, prior=own, active=truth)
        start = time.perf_counter()
        found = rx.detect(block.y, noise_var)
        seconds = time.perf_counter() - start
    else:
        from ..receiver import Receiver

        array = _array(antennas, block.y.shape[2])
        rx = Receiver(
            block.pilots,
            array,
            _fitting(str(name), block, spacing),
            rate,
            level,
            device=device,
            threads=threads,
            threshold=threshold,
            compensate=compensate,
        )
        start = time.perf_counter()
        found = rx.detect(block.y, block.noise_var)
        seconds = time.perf_counter() - start
    if output is not None:
        save_result(output, found)
    if found.prior not in ("", DEFAULT):
        console.note(f"prior: {found.prior} was taken, the first that explains the block or the one of least error")
    if not found.trusted:
        console.note(f"warning: not to be trusted: {found.reason}")
    setup: dict[str, Any] = {"capture": str(capture), "receiver": receiver, "prior": found.prior or name}
    setup |= {"devices": block.pilots.devices}
    setup |= {
        "activity_rate": default if found.learned_rate is None else found.learned_rate,
        "activity_rate_assumed": assumed,
    }
    result = setup | _result(found, seconds) | _truth(found, block)
    if as_json:
        console.show_json(result)
    else:
        _print_detection(result)


def _prior_of(receiver: str, prior: str | None) -> str | None:
    from ..baselines.receivers.by_name import NAMES, is_baseline, prior_of

    if receiver not in ("stmp", "langevin") and not is_baseline(receiver):
        raise ValueError(f"--receiver: expected stmp, langevin, {', '.join(NAMES)}, found {receiver!r}")
    if receiver == "stmp":
        return "auto" if prior is None else prior
    if receiver == "langevin":
        return "cell" if prior is None else prior
    if receiver != "bg":
        return prior_of(receiver) if prior is None else prior
    if prior not in (None, "gaussian"):
        raise ValueError(f"--prior: expected none or gaussian with --receiver bg, found {prior!r}")
    return "gaussian"


def _array(text: str | None, antennas: int) -> int | tuple[int, ...]:
    """The antennas of a capture as the receiver takes them."""
    from ..array import Array

    if text is None:
        return antennas
    found = arrays("--antennas", text)
    if len(found) != 1 or math.prod(Array.of(found[0])) != antennas:
        raise ValueError(f"--antennas: expected sides of the capture's {antennas} antennas, found {text!r}")
    return found[0]


def _fitting(name: str, block: Capture, spacing: float | None) -> Any:
    """Prior of that name, on the capture's subcarriers."""
    if name in ("auto", "beams", "gaussian"):
        if spacing is not None:
            raise ValueError(f"--spacing: expected none with prior {name}, found {spacing:g}")
        return name

    from ..priors.files import load_prior

    subcarriers = block.pilots.subcarriers
    prior = load_prior(name, subcarriers=subcarriers, spacing=None if spacing is None else 1e3 * spacing)
    if prior.subcarriers != subcarriers:
        others = "--receiver bg" if subcarriers > 1 else "--receiver langevin or --receiver bg"
        raise ValueError(
            f"--prior: expected one for the capture's number of subcarriers, {subcarriers}, found {name!r} for "
            f"{prior.subcarriers}; {others} would do"
        )
    return prior


def _langevin(
    block: Capture, name: str, rate: float, level: Any, device: str, threads: int | None
) -> tuple[Detection, float]:
    """Detect with the Langevin receiver, by the exact prior of the cell or a score network; return the seconds too."""
    import time

    from ..langevin import LangevinReceiver
    from ..priors.cell import CellPrior
    from ..priors.files import load_cell_prior

    trained = None if name == "cell" else load_cell_prior(name)
    pilots = block.pilots
    if pilots.subcarriers != 1:
        raise ValueError(f"--receiver langevin: expected a capture of one subcarrier, found {pilots.subcarriers}")
    noise_var = _one_variance(block, "langevin")
    prior = CellPrior(rate) if trained is None else trained
    if trained is not None and trained.cell.activity_rate != rate:
        console.note(f"activity_rate: {name} was trained for {trained.cell.activity_rate:g} and decides with it")
    rx = LangevinReceiver(pilots, block.y.shape[2], prior, power=level, threads=threads, device=device)
    with console.Progress("sampling", rx.problem.levels) as bar:
        start = time.perf_counter()
        found = rx.detect(block.y, noise_var, lambda done, total: bar.update(done, ""))
        return found, time.perf_counter() - start


def _one_variance(block: Capture, receiver: str) -> float:
    """Noise variance of receivers that neither learn it nor take several."""
    if not isinstance(block.noise_var, float):
        found = "none" if block.noise_var is None else "several"
        raise ValueError(f"noise_var: expected one number in the capture for --receiver {receiver}, found {found}")
    return block.noise_var


def parse_power(text: str) -> Any:
    """What ``--power`` says."""
    if text == "unknown":
        return text
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"--power: expected unknown or a number, found {text!r}") from None


def _result(found: Detection, seconds: float) -> dict[str, Any]:
    return {
        "active": found.active.tolist(),
        "probabilities": found.activity[found.active].tolist(),
        "power": (abs(found.channels) ** 2).mean((1, 2)).tolist(),
        "iterations": found.iterations,
        "converged": bool(found.converged),
        "stopped_because": found.stopped_because,
        "restarts": found.restarts,
        "noise_var": found.noise_var,
        "learned_noise_var": found.learned_noise_var,
        "learned_rate": found.learned_rate,
        "residual_ratio": found.residual_ratio,
        "explained": found.explained._asdict(),
        "trusted": found.trusted,
        "reason": found.reason,
        "overflow": found.overflow,
        "seconds": seconds,
    }


def _truth(found: Detection, block: Capture) -> dict[str, Any]:
    """Scores against the truth, as far as the capture holds it."""
    from ..metrics import score

    if block.true_active is None:
        return {}
    if block.true_channels is None:
        truth, active = set(block.true_active.tolist()), set(found.active.tolist())
        return {"nmse_db": None, "missed": len(truth - active), "false_alarms": len(active - truth)}
    errors = score(found, block.true_active, block.true_channels)
    nmse = errors.nmse_db if errors.channel_energy > 0 else None
    return {"nmse_db": nmse, "missed": errors.missed, "false_alarms": errors.false_alarms}


def _print_detection(result: dict[str, Any]) -> None:
    state = "converged" if result["converged"] else _ENDS.get(result["stopped_because"], "not converged")
    console.show(
        f"{len(result['active'])} of {result['devices']} devices active "
        f"({result['iterations']} iterations, {state}, {1e3 * result['seconds']:.1f} ms, "
        f"residual {result['residual_ratio']:.2f} times the noise)"
    )
    for name, meaning in (("learned_noise_var", "noise variance"), ("learned_rate", "activity rate")):
        if result[name] is not None:
            console.show(f"{meaning} learned from the block: {result[name]:.3g}")
    if result["restarts"]:
        console.show(f"{result['restarts']} chains diverged and began anew with a smaller step")
    if "missed" in result:
        nmse = "" if result["nmse_db"] is None else f", NMSE {result['nmse_db']:z.2f} dB"
        console.show(f"against the truth: {result['missed']} missed, {result['false_alarms']} false alarms{nmse}")
    rows = [
        [str(k), f"{p:.4f}", f"{10 * math.log10(max(g, 1e-30)):z.1f}"]
        for k, p, g in zip(result["active"], result["probabilities"], result["power"], strict=True)
    ]
    if rows:
        console.show(console.table(None, ["device", "probability", "power dB"], rows))
