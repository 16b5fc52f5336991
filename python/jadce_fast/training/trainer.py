"""One training state: network, its moving average, optimiser, channels; saved and resumed to the bit."""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any

import torch

from ..files import write_atomically
from .objective import Trainable

_AVERAGE = 0.999  # Cai VI-A.2


def process_seed(seed: int, rank: int) -> int:
    """Seed of one of several processes, each of which draws its own numbers."""
    return seed + 104_729 * rank


class Trainer:
    """`step` is one update; on one CUDA device it is one graph launch.

    With several processes (torchrun) each draws its own channels and gradients are averaged.

    Parameters
    ----------
    objective : Trainable
    seed : int
    device : torch.device
    batch : int
        Channels of an update and process.
    rank, processes : int
        Of torchrun.
    """

    def __init__(
        self, objective: Trainable, *, seed: int, device: torch.device, batch: int, rank: int = 0, processes: int = 1
    ) -> None:
        self.objective = objective
        self.device, self.batch, self.processes = device, batch, processes
        self.generator = torch.Generator(device).manual_seed(process_seed(seed, rank))
        self.network = objective.network.to(device).train()
        # This is not an `AveragedModel`, whose weights would have to be tensors for the graph, by a function of ours.
        self.average = copy.deepcopy(self.network).requires_grad_(False).eval()
        self.count = self._launched = 0
        self.fresh = torch.tensor(1.0, device=device)  # the weight of the newest network in the average
        self.rate = torch.tensor(1e-3, device=device)
        self.optimisers = self._optimisers(device.type == "cuda")
        self.loss = torch.zeros(2, device=device)
        self.total = torch.zeros(2, dtype=torch.float64, device=device)  # sums of the losses since it was last emptied
        self.graph: Any = None

    def _optimisers(self, cuda: bool) -> list[torch.optim.Optimizer]:
        """Adam, as the paper; for the weights that an objective names Muon, which is faster."""
        inner = self.objective.inner
        ids = {id(p) for p in inner}
        others = [p for p in self.network.parameters() if id(p) not in ids]
        adam = torch.optim.Adam(others, self.rate, (0.9, 0.99), capturable=cuda)
        if not inner:
            return [adam]
        return [adam, torch.optim.Muon(inner, weight_decay=0.0, adjust_lr_fn="match_rms_adamw")]

    def _update(self) -> None:
        losses = self.objective.losses(self.batch, self.count, self.generator)
        (losses[0] + self.objective.variance_weight * losses[1]).backward()
        if self.processes > 1:  # `DistributedDataParallel` knows of a network's forward alone
            gradients = [p.grad for p in self.network.parameters() if p.grad is not None]
            flat = torch.cat([g.flatten() for g in gradients])
            torch.distributed.all_reduce(flat)
            for gradient, part in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
                gradient.copy_(part.view_as(gradient) / self.processes)
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        for optimiser in self.optimisers:
            optimiser.step()
            optimiser.zero_grad(set_to_none=False)
        with torch.no_grad():
            for mean, weight in zip(self.average.parameters(), self.network.parameters(), strict=True):
                mean.lerp_(weight, self.fresh)
        self.loss.copy_(losses.detach())
        self.total += losses.detach()

    def step(self, rate: float) -> None:
        """One update at learning rate `rate`, and now and then new channels."""
        self.rate.fill_(rate)
        for group in self.optimisers[-1].param_groups if len(self.optimisers) > 1 else ():
            group["lr"] = rate
        self.fresh.fill_(max(1 - _AVERAGE, 9 / (10 + self.count)))
        if self.device.type != "cuda" or self.processes > 1 or not self.objective.one_shape or self._launched < 5:
            self._update()
        else:
            if self.graph is None:
                self.graph = torch.cuda.CUDAGraph()
                self.graph.register_generator_state(self.generator)
                with torch.cuda.graph(self.graph):
                    self._update()
            self.graph.replay()
        self.count += 1
        self._launched += 1
        pool = self.objective.pool
        if pool is None:
            return
        # New channels cost a CPU as much as three updates with them and a GPU less than one.
        uses = 16 if self.device.type == "cuda" else 4
        if self.count % math.ceil(uses * pool.chunk / self.batch) == 0:
            pool.refresh()

    def save(self, path: Path, settings: dict[str, Any], progress: dict[str, Any]) -> None:
        """Write a checkpoint atomically; with several processes, called by all, the first one writes."""
        generators = [self.generator.get_state()]
        if self.processes > 1:
            mine = generators[0].to(self.device)
            gathered = [torch.empty_like(mine) for _ in range(self.processes)]
            torch.distributed.all_gather(gathered, mine)
            generators = [state.cpu() for state in gathered]
            if torch.distributed.get_rank() != 0:
                return
        state = {
            "settings": settings,
            "progress": progress,
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimisers": [optimiser.state_dict() for optimiser in self.optimisers],
            "generators": generators,
            "count": self.count,
            "chunks": self.objective.pool.made if self.objective.pool is not None else 0,
            "total": self.total,
        }
        with write_atomically(path) as part:
            torch.save(state, part)

    def resume(self, path: Path, settings: dict[str, Any], rank: int = 0) -> dict[str, Any]:
        """Take up a checkpoint of the same settings; returns the progress saved with it.

        Raises
        ------
        ValueError
            If the file is damaged or of other settings.
        """
        try:
            state = torch.load(path, map_location=self.device, weights_only=True)
            before = state["settings"]
        except Exception as error:  # pickle, zip and torch have a dozen types for damaged files
            raise ValueError(
                f"checkpoint: expected one that this command wrote, found {str(path)!r}, which cannot be read "
                f"({type(error).__name__}); remove it to start again"
            ) from error
        for name, value in settings.items():
            if before.get(name) != value:
                raise ValueError(
                    f"{name}: expected {before.get(name)!r} like the checkpoint {str(path)!r}, found {value!r}; "
                    "remove it to start again"
                )
        self.network.load_state_dict(state["network"])
        self.average.load_state_dict(state["average"])
        for optimiser, saved in zip(self.optimisers, state["optimisers"], strict=True):
            optimiser.load_state_dict(saved)
        for group in self.optimisers[0].param_groups:
            group["lr"] = self.rate
        self.generator.set_state(state["generators"][rank].cpu())
        self.count = int(state["count"])
        self.total.copy_(state["total"])
        if self.objective.pool is not None:
            self.objective.pool.remake(int(state["chunks"]))
        progress: dict[str, Any] = state["progress"]
        return progress
