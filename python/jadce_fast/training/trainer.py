"""One training state: network, its moving average, optimiser, channels; saved and resumed to the bit."""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..files import write_atomically
from ..priors.beam_network import BeamNetwork
from ..priors.cell_network import CellNetwork
from ..priors.ncsn_network import NcsnNetwork
from . import beam_loss, score_matching
from .cell import Cell
from .data import Pool, Source

_AVERAGE = 0.999  # Cai VI-A.2
_VARIANCE_WEIGHT = 0.1  # of a beam network's second loss


class Trainer:
    """`step` is one update; on one CUDA device it is one graph launch.

    With several processes (torchrun) each draws its own channels and gradients are averaged.

    Parameters
    ----------
    network : BeamNetwork, NcsnNetwork or CellNetwork
    source : Source or Cell
        The latter with a `CellNetwork`; it has no pool, as new matrices cost less than an update.
    basis : (N, P) complex tensor
    seed : int
    device : torch.device
    batch, pool : int
        Channels of an update and process; channels kept to draw from.
    weighting : float
        Exponent of `score_matching.losses`.
    rank, processes : int
        Of torchrun.
    """

    def __init__(
        self,
        network: BeamNetwork | NcsnNetwork | CellNetwork,
        source: Source | Cell,
        basis: Tensor,
        *,
        seed: int,
        device: torch.device,
        batch: int,
        pool: int,
        weighting: float = 2.0,
        rank: int = 0,
        processes: int = 1,
    ) -> None:
        self.weighting = weighting
        self.device, self.batch, self.processes = device, batch, processes
        self.generator = torch.Generator(device).manual_seed(seed + 104_729 * rank)
        self.network = network.to(device).train()
        self.average = copy.deepcopy(self.network).requires_grad_(False).eval()
        self.beamspace = isinstance(network, BeamNetwork)
        self.narrow = source.narrow
        self.count = self._launched = 0
        self.fresh = torch.tensor(1.0, device=device)  # the weight of the newest network in the average
        self.cell = source if isinstance(source, Cell) else None
        self._pool: tuple[Source, Tensor, bool, int, torch.Generator] | None = None
        if not isinstance(source, Cell):
            self._pool = source, basis.to(device), self.beamspace, pool, torch.Generator(device)
            self._pool[-1].manual_seed(seed + 104_729 * rank + 1)
        self.pool = None if self._pool is None else Pool(*self._pool)
        self.rate = torch.tensor(1e-3, device=device)
        cuda = device.type == "cuda"
        self.optimisers = _optimisers(self.network, self.rate, cuda)
        self.objective = torch.compile(beam_loss.losses, dynamic=False) if cuda else beam_loss.losses
        self.loss = torch.zeros(2, device=device)
        self.total = torch.zeros(2, dtype=torch.float64, device=device)  # of the losses since it was last emptied
        self.graph: Any = None

    def _losses(self) -> Tensor:
        if self.cell is not None:
            return self.cell.losses(self.network, self.batch, self.count, self.generator)
        assert self.pool is not None
        index = torch.randint(self.pool.size, (self.batch,), generator=self.generator, device=self.device)
        z = self.pool.data[index]
        if isinstance(self.network, NcsnNetwork):
            return torch.stack(score_matching.losses(self.network, z, self.generator, exponent=self.weighting))
        noise = torch.randn(z.shape, generator=self.generator, device=self.device)
        v = beam_loss.noise_maps(self.batch, z.shape[2], self.generator)
        turned = beam_loss.symmetries(self.batch, z.shape[2], self.generator, narrow=self.narrow)
        result: Tensor = self.objective(self.network, z, *turned, v, noise)
        return result

    def _update(self) -> None:
        losses = self._losses()
        (losses[0] + (_VARIANCE_WEIGHT if self.beamspace else 1.0) * losses[1]).backward()
        if self.processes > 1:
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
        # A graph has one shape, a cell's matrices have many.
        if self.device.type != "cuda" or self.processes > 1 or self.cell is not None or self._launched < 5:
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
        if self.pool is None:
            return
        # New channels cost a CPU as much as three updates with them, a GPU less than one.
        uses = 16 if self.device.type == "cuda" else 4
        if self.count % math.ceil(uses * self.pool.chunk / self.batch) == 0:
            self.pool.refresh()

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
            "chunks": self.pool.made if self.pool is not None else 0,
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
        if self._pool is not None:
            self.pool = Pool(*self._pool, made=int(state["chunks"]))
        progress: dict[str, Any] = state["progress"]
        return progress


def _optimisers(
    network: BeamNetwork | NcsnNetwork | CellNetwork, rate: Tensor, cuda: bool
) -> list[torch.optim.Optimizer]:
    """Adam, as the paper; for the dense layers inside a beam network Muon, which is faster.

    Muon takes no rate from a tensor, so that on a GPU, in a graph, Adam does it all.
    """
    inner = (
        []
        if cuda or not isinstance(network, BeamNetwork)
        else [p for name, p in network.named_parameters() if name.endswith(("expand.weight", "mix.weight"))]
    )
    ids = {id(p) for p in inner}
    others = [p for p in network.parameters() if id(p) not in ids]
    adam = torch.optim.Adam(others, rate, (0.9, 0.99), capturable=cuda)
    if not inner:
        return [adam]
    return [adam, torch.optim.Muon(inner, weight_decay=0.0, adjust_lr_fn="match_rms_adamw")]
