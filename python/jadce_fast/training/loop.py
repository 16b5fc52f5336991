"""Training of a score network from nothing to a prior file: ``jadce train``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .. import _check
from ..priors.beam import BeamPrior
from ..priors.cell import CellPrior
from ..priors.files import load_prior, save_prior
from . import beam, cell, ncsn
from .carry import fingerprint
from .compiled import worth_compiling
from .data import KINDS, Family, Recording, Source
from .family import ANTENNAS, Grid
from .objective import Examiner, Objective
from .trainer import Trainer, process_seed
from .updates import Plan, Report, begin, check_finite, run

NETWORKS = (*beam.SIZES, "ncsn", "cell")
_DEFAULTS = {"ncsn": ncsn.DEFAULTS, "cell": cell.DEFAULTS}  # all others have those of beam networks


def train(
    out: str | os.PathLike[str],
    *,
    network: str = "base",
    width: int | None = None,
    reach: int = 1,
    weighting: float = 2.0,
    channels: str | Tensor | CellPrior | None = None,
    grid: Grid | None = None,
    init: str | os.PathLike[str] | BeamPrior | None = None,
    minutes: float = 10.0,
    steps: int | None = None,
    seed: int = 0,
    device: str = "cpu",
    batch: int | None = None,
    pool: int | None = None,
    rate: float | None = None,
    log: str | os.PathLike[str] | None = None,
    report: Report = lambda done, step, line: print(line) if line else None,
) -> dict[str, Any]:
    """Train a network and write it as a prior.

    Every minute, until the prior is written, a checkpoint is kept beside `out` (``OUT.checkpoint``). Where there
    is one of the same settings, training goes on from it. With `steps`, on one CPU, an interrupted run ends with
    the same bits as one that was not. Under torchrun every process draws its own channels, and gradients are
    averaged.

    Parameters
    ----------
    out : path
        The ``.safetensors`` file to write.
    network : {"tiny", "base", "large", "ncsn", "cell"}
        A beam network of `beam.SIZES`, the pair of score networks of Cai IV, or the score network of Tang 3, a cell's.
    width : int, optional
        Of "ncsn", see :class:`jadce_fast.priors.ncsn_network.RefineNet`: the paper's is 128, the default 32; of
        "cell", see :class:`jadce_fast.priors.cell_network.CellNetwork`: 16.
    reach : int
        Of "cell": devices that a convolution spans.
    weighting : float
        Of "ncsn": exponent of the noise variance in the weights of the first-order loss. The paper's is 2, Cai (49),
        which neglects high SNR; 1 weighs all levels alike.
    channels : {"cdl", "wide", "random-C", "A", "B", "C", "D", "E"} or (S, N, M) complex tensor, optional
        A family made on the fly, see `family.draw_paths`, or recorded channels over subcarriers and antennas. Default:
        "cdl". For "cell" "cell", the default cell, or a :class:`jadce_fast.CellPrior`.
    grid : (subcarriers, antennas, spacing, rows), optional
        Of families: N, M, the distance of subcarriers in Hz, rows of a panel (M counts all). Default: 48, 32, 30e3, 1.
        Of recorded channels the spacing alone says something, to `init`.
    init : str, path or BeamPrior, optional
        Prior of a beam network whose weights training goes on from, of this grid or another: see `carry`. It then says
        what the network is.
    minutes : float
        Training time, over which the learning rate falls to zero.
    steps : int, optional
        Number of updates instead of a time.
    seed : int
        Of everything random.
    device : str
        A torch device; under torchrun "cuda" is the process's own.
    batch : int, optional
        Channels of an update (of one process). Default: 64, or 4096 on a GPU; for "ncsn" 8 and 400. For "cell"
        matrices of 16 antennas and 64 devices, or as many entries with other antennas: 32 and 512.
    pool : int, optional
        Channels kept to draw from.
    rate : float, optional
        Highest learning rate. Default: 8e-3, for "ncsn" 1e-3, for "cell" 3e-3.
    log : path, optional
        Directory for TensorBoard.
    report : callable
        Takes the share of the work that is done, the step, and a line at each validation (else an empty one).

    Returns
    -------
    dict
        ``loss`` (first and last), ``steps``, ``seconds``, ``snr_db``, ``curve``, ``history``, and ``losses``: rows of
        a step and the mean losses since the step before.

    Raises
    ------
    ValueError, TypeError
        For an unknown network or family, channels that do not fit, a number that is not positive, a checkpoint
        of other settings, a device that is not there, `log` without tensorboard.
    RuntimeError
        If the loss becomes infinite or NaN.
    """
    if network not in NETWORKS:
        raise ValueError(f"network: expected one of {', '.join(NETWORKS)}, found {network!r}")
    minutes = _check.real("minutes", minutes)
    steps = None if steps is None else _check.integer("steps", steps, 1)
    seed = _check.integer("seed", seed, 0)
    pair, of_cell = network == "ncsn", network == "cell"
    width = _check.integer("width", (32 if pair else 16) if width is None else width, 2 if pair else 1)
    weighting = _check.real("weighting", weighting)
    defaults = _DEFAULTS.get(network, beam.DEFAULTS)
    rate = defaults.rate if rate is None else _check.real("rate", rate)
    rank, processes, place = _processes(device)
    cuda = place.type == "cuda"
    batch = defaults.batch[not cuda] if batch is None else _check.integer("batch", batch, 1)
    pool = defaults.pool[not cuda] if pool is None else _check.integer("pool", pool, 1)
    source = _source(channels, of_cell, place, grid)
    start = None if init is None else _start(init, network)
    out, checkpoint = Path(out), Path(f"{os.fspath(out)}.checkpoint")
    if not out.absolute().parent.is_dir():
        raise ValueError(f"out: expected a file in an existing directory, found {str(out)!r}")

    torch.manual_seed(seed)
    pool_seed = process_seed(seed + 1, rank) + 1
    objective: Objective
    if isinstance(source, cell.Cell):
        objective = cell.CellObjective(source, width, reach)
    elif pair:
        if source.grid.rows > 1:
            raise ValueError(f"grid: expected one row of antennas with network ncsn, found {source.grid.rows}")
        objective = ncsn.NcsnObjective(source, width, weighting, pool=pool, seed=pool_seed, device=place)
    else:
        generator, fast = torch.Generator(place).manual_seed(seed), worth_compiling(minutes, steps, place)
        objective = beam.beam_objective(network, source, generator, pool=pool, seed=pool_seed, init=start, fast=fast)
    multiplications = objective.network.multiplications(source.antennas)
    settings: dict[str, Any] = {"network": network, "channels": source.kind, "steps": steps, "seed": seed}
    settings |= {"batch": batch, "pool": pool, "rate": rate, "processes": processes} | objective.settings
    settings |= {"recording": source.fingerprint} if isinstance(source, Recording) else {}
    settings |= {} if isinstance(source, cell.Cell) else _differing(source.grid)
    settings |= {} if start is None else {"init": _name(init), "init_weights": fingerprint(start)}
    trainer = Trainer(objective, seed=seed + 1, device=place, batch=batch, rank=rank, processes=processes)
    progress = begin(trainer, checkpoint, settings, rank)
    examiner = objective.examiner()
    validation = _Validation(trainer, examiner, log if rank == 0 else None)
    plan = Plan(minutes, steps, rate, defaults.warm_up)
    try:
        elapsed = run(
            trainer,
            plan,
            progress,
            save=lambda: trainer.save(checkpoint, settings, progress),
            validate=lambda seconds: validation(seconds, progress),
            report=report,
            rank=rank,
        )
    finally:
        validation.close()

    result = {
        "loss": (progress["first"], float(trainer.loss[0])),
        "steps": trainer.count,
        "seconds": elapsed,
        "multiplications": multiplications,
        "losses": progress["losses"],
        "snr_db": list(examiner.snr_db),
        "history": progress["history"],
        "curve": progress["history"][-1]["curve"] if progress["history"] else {},
    }
    if rank == 0:
        result["curve"] = examiner.curve(trainer.average, final=True)
        metadata = _metadata(settings, minutes, objective, place, result)
        save_prior(out, objective.prior(trainer.average.cpu(), metadata))
        checkpoint.unlink(missing_ok=True)
    return result


def _source(
    channels: str | Tensor | CellPrior | None, of_cell: bool, place: torch.device, grid: Grid | None
) -> Source | cell.Cell:
    if of_cell:
        if grid is not None:
            raise ValueError("grid: expected none with network cell, found one")
        if not (
            channels is None or isinstance(channels, CellPrior) or (isinstance(channels, str) and channels == "cell")
        ):
            found = repr(channels) if isinstance(channels, str) else type(channels).__name__
            raise ValueError(f"channels: expected cell or a CellPrior with network cell, found {found}")
        return cell.Cell(channels if isinstance(channels, CellPrior) else CellPrior(), place)
    channels = "cdl" if channels is None else channels
    if isinstance(channels, CellPrior) or (isinstance(channels, str) and channels not in KINDS):
        raise ValueError(f"channels: expected one of {', '.join(KINDS)} or recorded channels, found {channels!r}")
    if grid is not None and not (isinstance(grid, tuple) and len(grid) <= len(Grid._fields)):
        raise TypeError(f"grid: expected a Grid, found {type(grid).__name__}")
    grid = _checked(Grid() if grid is None else Grid(*grid))
    if isinstance(channels, str):
        return Family(channels, place, grid)
    return Recording(channels, place, grid.spacing)


def _checked(grid: Grid) -> Grid:
    subcarriers = _check.integer("grid: subcarriers", grid.subcarriers, 1, 4096)
    antennas = _check.integer("grid: antennas", grid.antennas, 1, 4096)
    spacing, rows = _check.real("grid: spacing", grid.spacing), _check.integer("grid: rows", grid.rows, 1)
    if antennas % rows:
        raise ValueError(f"grid: expected antennas in {rows} equal rows, found {antennas}")
    return Grid(subcarriers, antennas, spacing, rows)


def _differing(grid: Grid) -> dict[str, Any]:
    """What a grid has that the shipped priors' has not."""
    usual = Grid()._asdict()
    return {name: value for name, value in grid._asdict().items() if value != usual[name]}


def _name(init: Any) -> str:
    return os.fspath(init) if isinstance(init, (str, os.PathLike)) else str(init.metadata.get("name", "a prior"))


def _start(init: str | os.PathLike[str] | BeamPrior, network: str) -> BeamPrior:
    if network not in beam.SIZES:
        raise ValueError(f"init: expected none with network {network}, found one")
    prior = load_prior(init) if isinstance(init, (str, os.PathLike)) else init
    if not isinstance(prior, BeamPrior):
        raise TypeError(f"init: expected a beam network's prior, found {type(prior).__name__}")
    return prior


class _Validation:
    """Error of the averaged network on held-out channels: a line of text, a row of history, TensorBoard."""

    def __init__(self, trainer: Trainer, examiner: Examiner, log: str | os.PathLike[str] | None) -> None:
        self.trainer, self.examiner = trainer, examiner
        self.genie = examiner.genie()
        self.board: Any = None
        if log is not None:
            try:
                from torch.utils.tensorboard import SummaryWriter
            except ImportError:
                raise ValueError("log: expected tensorboard (pip install jadce-fast[train]), found none") from None

            self.board = SummaryWriter(os.fspath(log), purge_step=trainer.count)

    def __call__(self, elapsed: float, progress: dict[str, Any]) -> str:
        fit, spread = check_finite(self.trainer)
        step = self.trainer.count
        curve = self.examiner.curve(self.trainer.average)
        progress["history"].append({"seconds": round(elapsed, 1), "step": step, "curve": curve})
        if self.board is not None:
            self.board.add_scalar("loss/mean", fit, step)
            self.board.add_scalar("loss/variance", spread, step)
            self.board.add_scalar("rate", float(self.trainer.rate), step)
            for case, rows in curve.items():
                for i, snr in enumerate(self.examiner.snr_db):
                    self.board.add_scalar(f"{case} NMSE dB/{snr} dB", rows["nmse"][i], step)
                    if "calibration" in rows:
                        self.board.add_scalar(f"{case} calibration/{snr} dB", rows["calibration"][i], step)
                    if case in self.genie:
                        distance = rows["nmse"][i] - self.genie[case]["genie"][i]
                        self.board.add_scalar(f"{case} above genie dB/{snr} dB", distance, step)
        case = next(iter(curve))
        nmse = " ".join(f"{x:.2f}" for x in curve[case]["nmse"])
        line = f"{elapsed:.0f} s, step {step}: loss {fit:.4f} {spread:.3f}; {case} NMSE {nmse} dB"
        if case in self.genie:
            above = zip(curve[case]["nmse"], self.genie[case]["genie"], strict=True)
            line += ", above genie " + " ".join(f"{a - b:.2f}" for a, b in above)
        return line

    def close(self) -> None:
        """Flush TensorBoard."""
        if self.board is not None:
            self.board.close()


def _processes(device: str) -> tuple[int, int, torch.device]:
    """Rank, number of processes and device of this process; joins torchrun's group."""
    try:
        place = torch.device(device)
    except RuntimeError:
        raise ValueError(f"device: expected cpu or cuda, found {device!r}") from None
    if place.type not in ("cpu", "cuda") or (place.type == "cuda" and not torch.cuda.is_available()):
        raise ValueError(f"device: expected cpu, or cuda where there is one, found {device!r}")
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    if processes == 1:
        return 0, 1, place
    if place.type == "cuda":
        place = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(place)
    if not torch.distributed.is_initialized():
        torch.distributed.init_process_group("nccl" if place.type == "cuda" else "gloo")
    return torch.distributed.get_rank(), processes, place


def _metadata(
    settings: dict[str, Any], minutes: float, objective: Objective, place: torch.device, result: dict[str, Any]
) -> dict[str, Any]:
    network, channels, steps = settings["network"], settings["channels"], settings["steps"]
    recipe = "jadce train" + ("" if "init" in settings else f" --network {network}")
    recipe += "".join(f" --{k} {settings[k]:g}" for k in ("width", "weighting", "reach") if k in settings)
    recipe += "".join(f" --{k} {settings[k]}" for k in ("subcarriers", "init") if k in settings)
    if "antennas" in settings or "rows" in settings:
        rows, antennas = settings.get("rows", 1), settings.get("antennas", ANTENNAS)
        recipe += f" --antennas {antennas}" if rows == 1 else f" --antennas {rows}x{antennas // rows}"
    recipe += f" --spacing {settings['spacing'] / 1e3:g}" if "spacing" in settings else ""
    recipe += f" --channels {channels} " + (f"--steps {steps}" if steps else f"--minutes {minutes:g}")
    recipe += (
        f" --seed {settings['seed']} --batch {settings['batch']} --rate {settings['rate']:g} --device {place.type}"
    )
    names = {
        "cell": "Channel matrix of a cell",
        "cdl": "CDL-A...E, randomised",
        "wide": "CDL-A...E, widely randomised",
        "random-C": "CDL-C, randomised as in Cai VI-A.1",
        "recording": "recorded channels",
    }
    hardware = torch.cuda.get_device_name() if place.type == "cuda" else f"CPU, {torch.get_num_threads()} threads"
    return {
        "name": f"{names.get(channels, f'CDL-{channels} alone')} ({settings.get('init', network)})",
        "license": "Apache-2.0",
        "normalisation": objective.normalisation,
        "recipe": recipe,
        "settings": settings,
        "steps": result["steps"],
        "seconds": round(result["seconds"], 1),
        "hardware": f"{hardware}, torch {torch.__version__}",
        "snr_db": result["snr_db"],
        "losses": result["losses"],
        "curve": result["curve"],
        "history": [
            {"seconds": row["seconds"], "step": row["step"]} | {k: v["nmse"] for k, v in row["curve"].items()}
            for row in result["history"]
        ],
    }
