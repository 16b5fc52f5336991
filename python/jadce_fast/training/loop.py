"""Training of a score network from nothing to a prior file: ``jadce train``."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .. import _check
from ..network import BeamNetwork
from ..prior import save_prior
from ..score_network import ScoreNetwork
from . import evaluate, mixture
from .data import KINDS, Family, HeldOut, Recording, Source
from .trainer import Trainer

SIZES: dict[str, dict[str, Any]] = {
    "tiny": {"width": 40, "hidden": 80, "blocks": 4, "taps": 7, "dilations": (1, 2)},
    "base": {"width": 64, "hidden": 128, "blocks": 4, "taps": 7, "dilations": (1, 2)},
    "large": {"width": 96, "hidden": 192, "blocks": 8, "taps": 7, "dilations": (1, 2)},
}
NETWORKS = (*SIZES, "ncsn")
_SAVE_EVERY = 60.0  # seconds
_VALIDATIONS = 24
Report = Callable[[float, int, str], None]


def train(
    out: str | os.PathLike[str],
    *,
    network: str = "base",
    width: int = 32,
    weighting: float = 2.0,
    channels: str | Tensor = "cdl",
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
    network : {"tiny", "base", "large", "ncsn"}
        A beam network, see `SIZES`, or the paper's pair of score networks (Cai IV).
    width : int
        Of "ncsn", see :class:`jadce_fast.score_network.RefineNet`: the paper's is 128.
    weighting : float
        Of "ncsn": exponent of the noise variance in the weights of the first-order loss. The paper's is 2, Cai (49),
        which neglects high SNR; 1 weighs all levels alike.
    channels : {"cdl", "wide", "A", "B", "C", "D", "E"} or (S, N, M) complex tensor
        A family made on the fly, see `family.draw_paths`, or recorded channels over subcarriers and antennas.
    minutes : float
        Training time, over which the learning rate falls to zero.
    steps : int, optional
        Number of updates instead of a time.
    seed : int
        Of everything random.
    device : str
        A torch device; under torchrun "cuda" is the process's own.
    batch : int, optional
        Channels of an update (of one process). Default: 64, or 4096 on a GPU; for "ncsn" 8 and 400.
    pool : int, optional
        Channels kept to draw from.
    rate : float, optional
        Highest learning rate. Default: 8e-3, for "ncsn" 1e-3.
    log : path, optional
        Directory for TensorBoard.
    report : callable
        Takes the share of the work that is done, the step, and a line at each validation (else an empty one).

    Returns
    -------
    dict
        ``loss`` (first and last), ``steps``, ``seconds``, ``curve`` and ``history``.

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
    if isinstance(channels, str) and channels not in KINDS:
        raise ValueError(f"channels: expected one of {', '.join(KINDS)} or recorded channels, found {channels!r}")
    minutes = _check.real("minutes", minutes)
    steps = None if steps is None else _check.integer("steps", steps, 1)
    seed = _check.integer("seed", seed, 0)
    ncsn = network == "ncsn"
    width, weighting = _check.integer("width", width, 2), _check.real("weighting", weighting)
    rate = (1e-3 if ncsn else 8e-3) if rate is None else _check.real("rate", rate)
    rank, processes, place = _processes(device)
    cuda = place.type == "cuda"
    sizes = ((400, 8) if ncsn else (4096, 64)) if batch is None else (_check.integer("batch", batch, 1),) * 2
    many = (2**17 if ncsn else 2**20, 8192) if pool is None else (_check.integer("pool", pool, 1),) * 2
    batch, pool = sizes[not cuda], many[not cuda]
    source: Source = Family(channels, place) if isinstance(channels, str) else Recording(channels, place)
    out, checkpoint = Path(out), Path(f"{os.fspath(out)}.checkpoint")
    if not out.absolute().parent.is_dir():
        raise ValueError(f"out: expected a file in an existing directory, found {str(out)!r}")

    torch.manual_seed(seed)
    generator = torch.Generator(place).manual_seed(seed)
    basis, eigenvalues = source.klt(generator)
    model: BeamNetwork | ScoreNetwork
    if ncsn:
        basis, gain, weight = torch.eye(source.subcarriers, dtype=torch.complex64), torch.ones(1), torch.ones(1)
        model = ScoreNetwork(source.subcarriers, width=width)
    else:
        gain, weight = mixture.fit_beam_powers(source, basis.to(place), eigenvalues, generator)
        model = BeamNetwork(eigenvalues, source.subcarriers, **SIZES[network])
    multiplications = model.multiplications(source.antennas)
    settings: dict[str, Any] = {
        "network": network,
        "channels": source.kind,
        "steps": steps,
        "seed": seed,
        "batch": batch,
    }
    settings |= {"pool": pool, "rate": rate, "processes": processes}
    settings |= {"width": width, "weighting": weighting} if ncsn else {}
    settings |= {"recording": source.fingerprint} if isinstance(source, Recording) else {}
    trainer = Trainer(
        model,
        source,
        basis,
        seed=seed + 1,
        device=place,
        batch=batch,
        pool=pool,
        weighting=weighting,
        rank=rank,
        processes=processes,
    )
    progress: dict[str, Any] = {"elapsed": 0.0, "history": [], "first": math.nan}
    if checkpoint.exists():
        progress = trainer.resume(checkpoint, settings, rank)
    validation = _Validation(trainer, basis.to(place), source.held_out(64), log if rank == 0 else None)

    start, saved = time.perf_counter() - progress["elapsed"], progress["elapsed"]
    warm_up = min(50 if ncsn else 500, steps // 10 + 1 if steps else 500)
    marks = len(progress["history"])
    try:
        while True:
            if cuda and trainer.count % 32 == 0:
                torch.cuda.synchronize()  # the clock below must not run ahead of the GPU
            elapsed = _together(time.perf_counter() - start, processes, place)
            done = trainer.count / steps if steps else elapsed / (60 * minutes)
            if done * _VALIDATIONS >= marks + 1 and rank == 0:
                line = validation(elapsed, progress)
                report(min(done, 1.0), trainer.count, line)
            marks = max(marks, int(done * _VALIDATIONS))
            if done >= 1:
                break
            trainer.step(rate * min(1.0, (trainer.count + 1) / warm_up) * 0.5 * (1 + math.cos(math.pi * done)))
            if math.isnan(progress["first"]):
                progress["first"] = float(trainer.loss[0])
            if elapsed - saved > _SAVE_EVERY:
                saved = progress["elapsed"] = elapsed
                trainer.save(checkpoint, settings, progress)
            if rank == 0:
                report(done, trainer.count, "")
    except KeyboardInterrupt:
        if processes == 1:  # several are interrupted at different steps: their last common checkpoint stays
            progress["elapsed"] = time.perf_counter() - start
            trainer.save(checkpoint, settings, progress)
        raise
    finally:
        validation.close()

    result = {
        "loss": (progress["first"], float(trainer.loss[0])),
        "steps": trainer.count,
        "seconds": elapsed,
        "multiplications": multiplications,
        "history": progress["history"],
        "curve": progress["history"][-1]["curve"] if progress["history"] else {},
    }
    if rank == 0:
        result["curve"] = evaluate.curve(
            trainer.average, basis.to(place), source.held_out(256), beamspace=trainer.beamspace
        )
        save_prior(
            out,
            network=trainer.average.cpu(),
            basis=basis.cpu().numpy(),
            beam_gain=gain.numpy(),
            beam_weight=weight.numpy(),
            metadata=_metadata(settings, minutes, trainer, place, result),
        )
        checkpoint.unlink(missing_ok=True)
    return result


class _Validation:
    """Error of the averaged network on held-out channels: a line of text, a row of history, TensorBoard."""

    def __init__(
        self, trainer: Trainer, basis: Tensor, cases: list[HeldOut], log: str | os.PathLike[str] | None
    ) -> None:
        self.trainer, self.basis, self.cases = trainer, basis, cases[:2]
        self.genie = evaluate.genie(self.cases)
        self.board: Any = None
        if log is not None:
            try:
                from torch.utils.tensorboard import SummaryWriter
            except ImportError:
                raise ValueError("log: expected tensorboard (pip install jadce-fast[train]), found none") from None

            self.board = SummaryWriter(os.fspath(log), purge_step=trainer.count)

    def __call__(self, elapsed: float, progress: dict[str, Any]) -> str:
        fit, spread = self.trainer.loss.tolist()
        if not math.isfinite(fit + spread):
            raise RuntimeError(f"training diverged at step {self.trainer.count}: loss {fit}, {spread}; lower --rate")
        step = self.trainer.count
        curve = evaluate.curve(self.trainer.average, self.basis, self.cases, beamspace=self.trainer.beamspace)
        progress["history"].append({"seconds": round(elapsed, 1), "step": step, "curve": curve})
        if self.board is not None:
            self.board.add_scalar("loss/mean", fit, step)
            self.board.add_scalar("loss/variance", spread, step)
            self.board.add_scalar("rate", float(self.trainer.rate), step)
            for case, rows in curve.items():
                for i, snr in enumerate(evaluate.SNR_DB):
                    self.board.add_scalar(f"{case} NMSE dB/{snr} dB", rows["nmse"][i], step)
                    self.board.add_scalar(f"{case} calibration/{snr} dB", rows["calibration"][i], step)
                    if case in self.genie:
                        distance = rows["nmse"][i] - self.genie[case]["genie"][i]
                        self.board.add_scalar(f"{case} above genie dB/{snr} dB", distance, step)
        case = self.cases[0].name
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


def _together(elapsed: float, processes: int, place: torch.device) -> float:
    """The first process's clock, so that all end after the same step."""
    if processes == 1:
        return elapsed
    clock = torch.tensor(elapsed, dtype=torch.float64, device=place)
    torch.distributed.broadcast(clock, 0)
    return float(clock)


def _metadata(
    settings: dict[str, Any], minutes: float, trainer: Trainer, place: torch.device, result: dict[str, Any]
) -> dict[str, Any]:
    network, channels, steps = settings["network"], settings["channels"], settings["steps"]
    recipe = f"jadce train --network {network}" + (
        f" --width {settings['width']} --weighting {settings['weighting']:g}" if network == "ncsn" else ""
    )
    recipe += f" --channels {channels} " + (f"--steps {steps}" if steps else f"--minutes {minutes:g}")
    recipe += (
        f" --seed {settings['seed']} --batch {settings['batch']} --rate {settings['rate']:g} --device {place.type}"
    )
    names = {"cdl": "CDL-A...E, randomised", "wide": "CDL-A...E, widely randomised", "recording": "recorded channels"}
    hardware = torch.cuda.get_device_name() if place.type == "cuda" else f"CPU, {torch.get_num_threads()} threads"
    return {
        "name": f"{names.get(channels, f'CDL-{channels} alone')} ({network})",
        "license": "Apache-2.0",
        "normalisation": "channels of unit mean power over subcarriers and antennas",
        "recipe": recipe,
        "settings": settings,
        "steps": result["steps"],
        "seconds": round(result["seconds"], 1),
        "hardware": f"{hardware}, torch {torch.__version__}",
        "snr_db": list(evaluate.SNR_DB),
        "curve": result["curve"],
        "history": [
            {"seconds": row["seconds"], "step": row["step"]} | {k: v["nmse"] for k, v in row["curve"].items()}
            for row in result["history"]
        ],
    }
