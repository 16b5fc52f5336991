"""A prior fine-tuned to a cell by the blocks that were received there, without truth: ``jadce adapt``."""

from __future__ import annotations

import copy
import hashlib
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .. import _check
from ..capture import Capture
from ..priors import DEFAULT
from ..priors.beam import BeamPrior
from ..priors.beam_network import BeamNetwork
from ..priors.cascade import CascadePrior
from ..priors.files import load_prior, save_prior
from .compiled import worth_compiling
from .held_out_blocks import HeldOutBlocks, Prediction
from .noisy import NoisyObjective
from .received import Detecting, Observations, digest, observe
from .trainer import Trainer
from .updates import VALIDATIONS, Plan, Report, begin, check_finite, run

RATE, WARM_UP, BATCH = 8e-3, 200, 128
_NEAR = {True: 0.875, False: 0.5}  # share of examples with about the noise of the blocks, of a cascade's last and alone
_ONE_IN = 10  # one block in so many, at most ...
_MOST_HELD_OUT = 100
_FEWEST = 20  # blocks
_FEWEST_CHANNELS = 100
_PATIENCE = 2 * VALIDATIONS // 3  # validations without a better one that end the run
_SEED = 1_000_003


def adapt(
    blocks: Sequence[Capture],
    out: str | os.PathLike[str],
    *,
    prior: Any = DEFAULT,
    minutes: float = 30.0,
    steps: int | None = None,
    activity_rate: float | None = None,
    power: Any = "unknown",
    seed: int = 0,
    threads: int | None = None,
    report: Report = lambda done, step, line: print(line) if line else None,
) -> dict[str, Any]:
    """Fine-tune a prior to a cell by received blocks alone.

    The blocks are detected once. What the detections leave is made into observations of the active devices' channels in
    white noise of known variance (`received.observe`), which the network learns from (`noisy.NoisyObjective`). A tenth
    of the blocks is held out: from some of their symbols the others are predicted, and the network that does this best
    is kept. The truth that captures may hold is not looked at.

    Every minute, and when interrupted, a checkpoint is kept beside `out` (``OUT.checkpoint``), from which the same call
    goes on. With `steps` it ends with the same bits as without the interruption.

    Parameters
    ----------
    blocks : sequence of Capture
        At least 20, of two symbols or more, with pilots of one energy on all subcarriers that do not repeat there.
    out : path
        The ``.safetensors`` file to write, which ``Receiver`` takes as ``prior``.
    prior : str, path, BeamPrior or CascadePrior
        Where to begin. Of a cascade the last member is adapted, whose estimates are the result.
    minutes : float
        Training time, over which the learning rate falls to zero; detections come on top.
    steps : int, optional
        Number of updates instead of a time.
    activity_rate : float, optional
        By default as each capture says, or learned.
    power : "unknown" or float
        As of ``Receiver``.
    seed : int
        Of everything random.
    threads : int, optional
        Of the detections; those of the training are torch's.
    report : callable
        Takes the share of the work that is done, the step, and a line at each validation (else an empty one).

    Returns
    -------
    dict
        ``blocks``, ``held_out`` and ``refused`` (numbers of blocks: learned from, held out, not to be trusted),
        ``channels``, ``steps``, ``seconds``, ``gain`` (of the log-likelihood of an entry of held-out blocks, in nats,
        never negative) and ``gain_error`` (its standard error), ``error_db`` (of the channels that predict them, before
        and after), ``adapted`` (False if nothing was better than the prior it began from, which is then what is
        written), ``history``, ``losses``.

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit or is out of range, there are too few blocks, or too few that can be trusted with
        `prior`; for a checkpoint of other settings.
    RuntimeError
        If the loss becomes infinite or NaN.
    """
    start = prior if not isinstance(prior, (str, os.PathLike)) else load_prior(prior)
    members = _members(start)
    minutes = _check.real("minutes", minutes)
    steps = None if steps is None else _check.integer("steps", steps, 1)
    seed = _check.integer("seed", seed, 0)
    if activity_rate is not None:
        activity_rate = _check.real("activity_rate", activity_rate, 0.0, 1.0)
    power = power if isinstance(power, str) else _check.real("power", power)
    threads = None if threads is None else _check.integer("threads", threads, 1)
    blocks = _checked(blocks, start.subcarriers)
    out, checkpoint = Path(out), Path(f"{os.fspath(out)}.checkpoint")
    if not out.absolute().parent.is_dir():
        raise ValueError(f"out: expected a file in an existing directory, found {str(out)!r}")

    detecting = Detecting(activity_rate, power, threads)
    heard = observe(blocks, start, detecting, lambda done: report(0.0, 0, ""))
    report(0.0, 0, f"{len(blocks)} blocks detected")
    learn, aside = _divide([one.noise_var for one in heard])
    held_out = HeldOutBlocks([blocks[i] for i in aside], [heard[i].noise_var for i in aside], detecting)
    data = _joined([heard[i].seen for i in learn])

    of_prior, of_blocks = _fingerprints(members, blocks)
    settings: dict[str, Any] = {"prior": of_prior, "blocks": of_blocks, "steps": steps, "seed": seed}
    settings |= {"activity_rate": activity_rate, "power": power}
    torch.manual_seed(seed)
    cpu = torch.device("cpu")
    objective = NoisyObjective(members[-1], data, _NEAR[len(members) > 1], fast=worth_compiling(minutes, steps, cpu))
    trainer = Trainer(objective, seed=seed + 1, device=cpu, batch=BATCH)
    progress = begin(trainer, checkpoint, settings)
    before = held_out.predict(start)
    choice = Choice(trainer, members, held_out, before, progress)
    seconds = run(
        trainer,
        Plan(minutes, steps, RATE, WARM_UP),
        progress,
        save=lambda: trainer.save(checkpoint, settings, progress),
        validate=choice,
        report=report,
    )
    best = choice.best()
    after = before if best is None else held_out.predict(best)
    difference = after.likelihood - before.likelihood
    result = {
        "blocks": len(learn),
        "held_out": len(aside),
        "refused": len(blocks) - len(learn) - len(aside),
        "channels": len(data.noise),
        "steps": trainer.count,
        "seconds": seconds,
        "adapted": best is not None,
        "gain": float(difference.mean()),
        "gain_error": float(difference.std() / math.sqrt(max(len(aside) - 1, 1))),
        "error_db": (_decibel(before.error), _decibel(after.error)),
        "history": progress["history"],
        "losses": progress["losses"],
    }
    written = _prior(members[-1].network, members) if best is None else best
    last = _members(written)[-1]
    last.metadata = _described(last.metadata, settings | {"minutes": minutes}, result)
    save_prior(out, written)
    checkpoint.unlink(missing_ok=True)
    return result


def _divide(noise_var: Sequence[float]) -> tuple[list[int], list[int]]:
    """Blocks to learn from and to hold out, of those whose detections can be trusted."""
    order = np.random.default_rng(_SEED).permutation(len(noise_var)).tolist()
    trusted = [i for i in order if noise_var[i] < math.inf]
    if len(trusted) < _FEWEST:
        raise ValueError(
            f"blocks: expected at least {_FEWEST} whose detections with the prior to begin from can be trusted, found "
            f"{len(trusted)} of {len(noise_var)}"
        )
    aside = min(len(trusted) // _ONE_IN, _MOST_HELD_OUT)
    return sorted(trusted[aside:]), sorted(trusted[:aside])


def _joined(parts: Sequence[Observations | None]) -> Observations:
    some = [part for part in parts if part is not None]
    found = sum(len(part.noise) for part in some)
    if found < _FEWEST_CHANNELS:
        raise ValueError(
            f"blocks: expected at least {_FEWEST_CHANNELS} devices in all that are surely active and above the noise, "
            f"found {found}"
        )
    return Observations(*(torch.cat(x) for x in zip(*some, strict=True)))


class Choice:
    """The network that predicts held-out blocks best, among those of the validations and the one at the beginning."""

    def __init__(
        self,
        trainer: Trainer,
        members: Sequence[BeamPrior],
        held_out: HeldOutBlocks,
        before: Prediction,
        progress: dict[str, Any],
    ) -> None:
        self.trainer, self.members, self.held_out = trainer, members, held_out
        self.before, self.progress = before, progress
        progress.setdefault("best", {"gain": 0.0, "row": 0, "network": None})

    def __call__(self, elapsed: float) -> str:
        """Note how well the averaged network predicts, and end the run when it has not got better for long."""
        fit, spread = check_finite(self.trainer)
        state = {name: value.clone() for name, value in self.trainer.average.state_dict().items()}
        found = self.held_out.predict(self._prior(state))
        gain = float((found.likelihood - self.before.likelihood).mean())
        rows, best = self.progress["history"], self.progress["best"]
        error = _decibel(found.error)
        rows.append({"seconds": round(elapsed, 1), "step": self.trainer.count, "gain": gain, "error_db": error})
        if gain > best["gain"]:
            best.update(gain=gain, row=len(rows), network=state)
        self.progress["over"] = len(rows) - best["row"] >= _PATIENCE
        return (
            f"{elapsed:.0f} s, step {self.trainer.count}: loss {fit:.4f} {spread:.3f}; held-out blocks: likelihood "
            f"{gain:+.5f} nats an entry, channels {error:.2f} dB (before {_decibel(self.before.error):.2f})"
        )

    def best(self) -> BeamPrior | CascadePrior | None:
        """The prior of the best network, None if none was better than the one at the beginning."""
        state = self.progress["best"]["network"]
        return None if state is None else self._prior(state)

    def _prior(self, state: dict[str, Tensor]) -> BeamPrior | CascadePrior:
        network = copy.deepcopy(self.trainer.average)
        network.load_state_dict(state)
        return _prior(network, self.members)


def _prior(network: BeamNetwork, members: Sequence[BeamPrior]) -> BeamPrior | CascadePrior:
    """The prior with another network in the place of the last one."""
    *first, last = members
    made = BeamPrior(network, last.basis, last.beam_gain, last.beam_weight, dict(last.metadata))
    return CascadePrior([*first, made]) if first else made


def _members(prior: Any) -> Sequence[BeamPrior]:
    members = prior.members if isinstance(prior, CascadePrior) else (prior,)
    for member in members:
        if not isinstance(member, BeamPrior):
            raise TypeError(f"prior: expected a beam network's or a cascade of such, found {type(member).__name__}")
    return members


def _checked(blocks: Any, subcarriers: int) -> list[Capture]:
    """Blocks that can be learned from."""
    found = list(blocks)
    for i, block in enumerate(found):
        if not isinstance(block, Capture):
            raise TypeError(f"blocks[{i}]: expected a jadce_fast.Capture, found {type(block).__name__}")
        symbols, n, antennas = block.y.shape
        if n != subcarriers:
            raise ValueError(f"blocks[{i}]: expected the prior's {subcarriers} subcarriers, found {n}")
        if symbols < 2:
            raise ValueError(
                f"blocks[{i}]: expected at least two symbols, one to predict from the other, found {symbols}"
            )
        if antennas != found[0].y.shape[2]:
            raise ValueError(f"blocks[{i}]: expected {found[0].y.shape[2]} antennas like the first, found {antennas}")
        if block.noise_var is not None and np.ndim(block.noise_var):
            raise ValueError(f"blocks[{i}].noise_var: expected one number or none, found several")
    if len(found) < _FEWEST:
        raise ValueError(f"blocks: expected at least {_FEWEST}, found {len(found)}")
    return found


def _fingerprints(members: Sequence[BeamPrior], blocks: Sequence[Capture]) -> tuple[str, str]:
    """Digests of priors and of blocks."""
    of_prior, of_blocks = hashlib.sha256(), hashlib.sha256()
    for member in members:
        for tensor in member.network.state_dict().values():
            of_prior.update(tensor.numpy().tobytes())
        for array in (member.basis, member.beam_gain, member.beam_weight):
            of_prior.update(np.ascontiguousarray(array).tobytes())
    keys: dict[int, str] = {}
    for block in blocks:
        if id(block.pilots) not in keys:
            keys[id(block.pilots)] = digest(block.pilots)
        of_blocks.update(f"{keys[id(block.pilots)]} {block.noise_var} {block.activity_rate}".encode())
        of_blocks.update(block.y.tobytes())
    return of_prior.hexdigest()[:16], of_blocks.hexdigest()[:16]


def _described(metadata: dict[str, Any], settings: dict[str, Any], result: dict[str, Any]) -> dict[str, Any]:
    """Metadata of a member: that of the prior it was, and what adapted it."""
    before = {key: value for key, value in metadata.items() if key not in ("history", "losses", "curve", "snr_db")}
    name = metadata.get("name", "prior")
    return before | {
        "name": f"{name}, adapted to received blocks" if result["adapted"] else name,
        "adapted": settings | result,
        "hardware": f"CPU, {torch.get_num_threads()} threads, torch {torch.__version__}",
    }


def _decibel(ratio: float) -> float:
    return 10 * math.log10(max(ratio, 1e-30))
