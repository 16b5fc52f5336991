"""``jadce train`` and ``jadce export``: priors of your own, and networks for other programs."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from . import console
from .app import Json, Seed, app, check_target
from .axes import arrays


@app.command()
def train(
    *,
    output: Annotated[Path, typer.Argument(help="Prior to write, .safetensors.", show_default=False)],
    network: Annotated[
        str, typer.Option(help="tiny, base, large; ncsn: Cai's pair of networks; cell: Tang's, of a cell.")
    ] = "base",
    width: Annotated[int | None, typer.Option(help="Maps of ncsn (128 is Cai's) or cell. [default: 32, 16]")] = None,
    reach: Annotated[int, typer.Option(help="Devices that cell's convolutions span; 3 is a square kernel.")] = 1,
    weighting: Annotated[
        float,
        typer.Option(help="Exponent of the noise variance in ncsn's loss: 2 is the paper's, 1 is fairer to high SNR."),
    ] = 2.0,
    channels: Annotated[
        str | None,
        typer.Option(
            help="cdl, wide, random-C (Cai VI-A.1), one CDL table A ... E, or a file of channels (.npz, .mat, .h5); "
            "with network cell: cell. "
            "[default: cdl, cell]"
        ),
    ] = None,
    subcarriers: Annotated[int | None, typer.Option(help="N, of channels that are drawn.", show_default="48")] = None,
    antennas: Annotated[
        str | None, typer.Option(help="M, or ROWSxCOLUMNS of a panel, of channels that are drawn.", show_default="32")
    ] = None,
    spacing: Annotated[float, typer.Option(help="Distance of subcarriers in kHz.")] = 30.0,
    init: Annotated[
        str | None, typer.Option(help="Prior to go on from, of this grid or another: cdl, a file.", show_default=False)
    ] = None,
    minutes: Annotated[float, typer.Option(help="Training time.")] = 30.0,
    steps: Annotated[int | None, typer.Option(help="Number of updates in place of a time.")] = None,
    seed: Seed = 0,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    batch: Annotated[int | None, typer.Option(help="Channels of an update. [default: by network and device]")] = None,
    rate: Annotated[float | None, typer.Option(help="Highest learning rate. [default: by network]")] = None,
    threads: Annotated[int, typer.Option(help="Threads of torch on a CPU.")] = 2,
    log: Annotated[Path | None, typer.Option(help="Directory for TensorBoard.")] = None,
    as_json: Json = False,
) -> None:
    """Train a prior. Interrupted, the same command goes on where it was.

    On several GPUs: torchrun --nproc-per-node 4 -m jadce_fast.cli train PRIOR.safetensors --device cuda
    """
    check_target("OUTPUT", output, (".safetensors",))

    import torch

    from .. import _check
    from ..array import Array
    from ..training import KINDS, Grid, evaluate, load_channels, train

    torch.set_num_threads(_check.integer("threads", threads, 1, 1024))
    recorded = channels is not None and channels not in KINDS and Path(channels).suffix
    what = load_channels(channels) if channels is not None and recorded else channels
    if recorded and not (subcarriers is None and antennas is None):
        raise ValueError("--subcarriers, --antennas: expected none with recorded channels, found some")
    *_, rows, columns = Array.of(_one(antennas))
    grid = Grid(48 if subcarriers is None else subcarriers, rows * columns, 1e3 * spacing, rows)
    with console.Progress("training", 1000) as bar:
        begun: list[tuple[float, int]] = []
        said = ""

        def report(done: float, step: int, line: str) -> None:
            nonlocal said
            begun.append((time.perf_counter(), step)) if not begun else None
            seconds, first = time.perf_counter() - begun[0][0], begun[0][1]
            if line:
                said = line.split("; ")[-1]
                console.note(line)
            bar.update(int(1000 * done), f"{(step - first) / max(seconds, 1e-9):.1f} updates/s  {said}")

        result = train(
            output,
            network=network,
            width=width,
            reach=reach,
            weighting=weighting,
            channels=what,
            grid=None if grid == Grid() else grid,
            init=init,
            minutes=minutes,
            steps=steps,
            seed=seed,
            device=device,
            batch=batch,
            rate=rate,
            log=log,
            report=report,
        )
    if as_json:
        console.show_json({"prior": str(output)} | result)
        return
    console.show(evaluate.table(result["curve"], result["snr_db"]))
    console.show(
        f"{output}: {result['steps']} updates in {result['seconds']:.0f} s, "
        f"{result['multiplications'] / 1e6:.2f} million multiplications a device"
    )


def _one(antennas: str | None) -> int | tuple[int, ...]:
    """The one array of the option."""
    found = [32] if antennas is None else arrays("--antennas", antennas, most=2)
    if len(found) != 1:
        raise ValueError(f"--antennas: expected one array, found {antennas!r}")
    return found[0]


@app.command()
def export(
    prior: Annotated[str, typer.Argument(help="Shipped prior, or a .safetensors file.", show_default=False)],
    output: Annotated[Path, typer.Argument(help="TorchScript file to write, .pt.", show_default=False)],
    as_json: Json = False,
) -> None:
    """Write a prior's network as TorchScript, for C++ and other programs, and check it against the original."""
    check_target("OUTPUT", output, (".pt",))

    from ..priors.export import export_torchscript
    from ..priors.files import load_any

    loaded = load_any(prior)
    difference = export_torchscript(loaded, output)
    if as_json:
        console.show_json({"prior": prior, "output": str(output), "difference": difference})
    else:
        console.show(f"{output}: forward(z, v) -> (mean, var), loaded back: largest difference {difference:.1e}")
