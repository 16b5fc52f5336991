"""A detection on a GPU: its memory, its kernels in order, and the graph that holds them.

What the host does in a CPU detection (receiver.py) is done by the kernels here, which leave their decisions in a
`Control` per received block (csrc/loop/control.hpp). So one launch of a graph is a whole detection of a batch.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from .. import ops
from ..rules import Rules
from .device import Machine, no_collection
from .transform import CudaTransform

_REAL_WORDS = ("noise", "received", "power", "scale", "error", "previous", "best", "gamma", "residual")


class Detector:
    """Detects up to `batch` received blocks (batch, T, N, M) at a time.

    Results stay in the tensors `activity` (batch, K), `active` (batch, capacity), `channels` (batch, capacity, N, M),
    `channel_var` (batch, capacity) and those of `word` until the next call of `run`. `rounds` iterations make one turn
    of the graph's loop; those after a detection's end do nothing.
    """

    def __init__(
        self,
        machine: Machine,
        plan: ops.Transform,
        gain: np.ndarray[Any, Any],
        mixture: dict[str, np.ndarray[Any, Any]],
        denoiser: Any,
        *,
        rules: Rules,
        log_odds: float,
        power: float,
        expected: float,
        capacity: int,
        batch: int,
        rounds: int = 1,
    ) -> None:
        self.machine, self.batch, self.capacity = machine, batch, capacity
        self.rules, self._rules = rules, rules.native(machine.native)
        self._denoiser, self.rounds, self.overlapping = denoiser, rounds, False
        self._power, self._expected, self._log_odds = power, expected, log_odds
        self._mean_gram = float(plan.gram.mean(dtype=np.float64))
        self._uniform = bool(np.ptp(plan.gram) == 0)
        self.transform = CudaTransform(machine, plan)
        self.sizes, self._merge = self.transform.sizes, plan.merge
        k, n, t, m, p = self.sizes
        g, c, b = plan.groups, capacity, batch
        self.slots = s = min(k, 2 * capacity)
        self._held = dict(self.transform.tensors)
        for name, table in {"gain": gain.astype(np.float32), **mixture}.items():
            self._held[name] = torch.from_numpy(np.array(table)).to(machine.device)
        # One pass over all coefficients at once stores the energy of each; the other ways add them up as they go.
        self._written = 1 if self.transform.method == "block" else plan.merge  # coefficients in an energy
        rows = -(-p // self._written)
        u, f = len(mixture["product"]), -(-len(mixture["product"]) // 4) * 4
        self._counts = (u, len(mixture["weight"]), len(mixture["log_power_weight"]))

        complex_, real, word = torch.complex64, torch.float32, torch.int32
        for name, shape, dtype in (
            *((name, (t, n, m), complex_) for name in ("y", "big", "r", "seen")),
            *((name, (m,), real) for name in ("v_a", "eta", "v_b")),
            *(("power", (n, m), real), ("y_power", (n,), torch.float64)),
            *(
                ("energy", (rows, m, k), real),
                ("quiet_energy", (p, m), real),
                ("null", (g, m), real),
                ("slope", (m, f, g), real),
                ("offset", (m, f), real),
            ),
            *(("llr", (k,), real), ("posterior", (k,), real), ("quiet", (k,), torch.uint8), ("slot", (k,), word)),
            *(("device", (c,), word), ("chosen", (c,), real), ("device_power", (c,), real), ("noise", (c, m), real)),
            *(("z", (c, p, m), complex_), ("mean", (c, p, m), complex_), ("var", (c, m), real)),
            *((name, (s,), word) for name in ("free", "support", "place")),
            ("s", (s, p, m), complex_),
            *(("kept_device", (c,), word), ("kept_posterior", (c,), real), ("kept_var", (c,), real)),
            *(("kept_mean", (c, p, m), complex_), ("decided", (c,), word), ("index", (c,), word)),
            ("history", (rules.max_iterations, 2), real),
            *(("active", (c,), torch.int64), ("channels", (c, n, m), complex_), ("channel_var", (c,), real)),
            *(("activity", (k,), real), ("control", (self.machine.native.control_words,), word)),
        ):
            self._held[name] = torch.empty((b, *shape), dtype=dtype, device=machine.device)
        self._work = self.transform.work(batch)
        self._held["remaining"] = torch.zeros(1, dtype=word, device=machine.device)
        self._held["input"] = torch.zeros(2, dtype=torch.int64, device=machine.device)
        for name in ("z", "noise"):  # what a torch network reads, used or not
            self._held[name].fill_(1.0)
        self._recorded: list[Any] = []  # what graphs use
        self._done: Any = machine.event()
        self._enqueue = self._record()

    def __del__(self) -> None:
        # The GPU may still be at work, on another stream than the one for which torch keeps the memory.
        with contextlib.suppress(Exception):
            self.machine.finish(self._done)

    def __getattr__(self, name: str) -> torch.Tensor:
        try:
            found: torch.Tensor = self.__dict__["_held"][name]
            return found
        except KeyError:
            raise AttributeError(name) from None

    def word(self, name: str, control: torch.Tensor | None = None) -> torch.Tensor:
        """A member of every block's Control, (batch,), or of those in a copy of `control`."""
        values = (self.control if control is None else control)[:, self.machine.native.control_fields[name]]
        return values.view(torch.float32) if name in _REAL_WORDS else values

    @property
    def memory(self) -> int:
        """Bytes of device memory held."""
        return sum(x.nbytes for x in (*self._held.values(), self._work) if x is not None)

    def run(self, y: torch.Tensor, noise_var: float) -> None:
        """Enqueue the detection of y (at most batch, T, N, M) on torch's current stream and return."""
        self.machine.wait(self._done)
        self.machine.native.cuda_set_input(
            y.data_ptr(), noise_var, len(y), self.address("input"), self.machine.stream()
        )
        self._enqueue()
        self._done = self.machine.event()

    # Planning

    def _record(self) -> Callable[[], None]:
        """What enqueues a detection: a graph, made after one trial run that loads all kernels."""
        machine = self.machine
        trial = torch.zeros_like(self.y)
        self.machine.native.cuda_set_input(trial.data_ptr(), 1.0, self.batch, self.address("input"), machine.stream())
        self._begin(machine.stream())
        self._iterate(machine.stream(), machine.native.no_loop)
        self._end(machine.stream())
        machine.synchronize()

        trial.fill_(torch.nan)  # which ends the loop of a graph in its first turn
        for overlapping in (True, False):  # a driver may not overlap kernels inside a loop
            try:
                with no_collection():
                    graph = self._graph(overlapping)
                graph.launch(machine.stream())
                machine.synchronize()
            except RuntimeError:
                if not overlapping and not self._denoiser.on_torch:
                    raise
            else:
                return functools.partial(_launch, machine, graph)

        def unrolled() -> None:  # where what torch records cannot be part of another graph
            self._begin(machine.stream())
            for _ in range(self.rules.max_iterations):
                self._iterate(machine.stream(), machine.native.no_loop)
            self._end(machine.stream())

        with no_collection():
            return machine.capture(unrolled)

    def _graph(self, overlapping: bool) -> Any:
        parts = self._recorded_parts() if self._denoiser.on_torch else []
        conditions = torch.empty(self.rounds * len(parts), dtype=torch.int64, device=self.machine.device)
        handles: list[int] = []
        graph = self.machine.native.Graph(overlapping)
        stream = graph.begin()
        self._begin(stream)
        loop_stream, loop = graph.open_loop()

        def denoise() -> None:
            self.machine.native.cuda_choose(
                *(self.address("control"), conditions.data_ptr() + 8 * len(handles), len(parts)),
                *(self._denoiser.chunk, self.capacity, self.batch, loop_stream),
            )
            handles.extend(graph.add_if(address) for _, address in parts)

        for _ in range(self.rounds):
            self._iterate(loop_stream, loop, denoise if parts else None)
        graph.close_loop()
        self._end(stream)
        graph.end()
        conditions.copy_(torch.from_numpy(np.array(handles, np.uint64).view(np.int64)))
        self.overlapping = overlapping
        self._recorded.append((parts, conditions))
        return graph

    def _recorded_parts(self) -> list[tuple[Any, int]]:
        """The network's graphs, which run one after another."""
        parts: list[tuple[Any, int]] = []
        for part in self._denoiser.parts(self):
            parts.append(self.machine.child(part, parts[0][0].pool() if parts else None))
        return parts

    # Kernels in order

    def address(self, *names: str) -> Any:
        """Addresses of tensors, zero where there is none."""
        found = [self._held[name].data_ptr() if name in self._held else 0 for name in names]
        return found[0] if len(found) == 1 else found

    def _word(self, name: str) -> int:
        return int(self.address("control")) + 4 * int(self.machine.native.control_fields[name])

    def _begin(self, stream: int) -> None:
        k, n, t, m, p = self.sizes
        b, at = self.batch, self.address
        self.machine.native.cuda_beamspace(
            *at("input", "dft", "rotation"), n, t, m, b, *at("y", "seen", "y_power"), stream
        )
        self.machine.native.cuda_begin(
            *(*at("input", "y_power"), self._rules, self._power, self._expected, k, n, t, m, p, self.slots, b),
            *at("control", "slot", "support", "s", "big", "quiet", "activity", "remaining"),
            stream,
        )

    def _residual(self, of: tuple[str, str], count: str, go: int, capacity: int, big: bool, stream: int) -> None:
        """Residual y - gram big - Q S, with S `of` (coefficients, devices)."""
        at = self.address
        self.machine.native.cuda_residual(
            *(at("y"), self._word("scale"), at("gram"), at("big") if big else 0),
            *(*self.transform.pilots, *at(*of), self._word(count), go, capacity, *self.sizes, self.batch),
            *at("r", "power"),
            stream,
        )

    def _iterate(self, stream: int, loop: int, denoise: Callable[[], None] | None = None) -> None:
        native, at, word, rules, b = self.machine.native, self.address, self._word, self._rules, self.batch
        k, n, t, m, p = self.sizes
        rows, together = -(-p // self._written), self._merge // self._written
        going, run, screen = word("going"), word("run"), word("screen")
        self._residual(("s", "support"), "slots", going, self.slots, True, stream)
        native.cuda_observe(
            *at("control", "power", "gram", "big", "r"),
            *(self._mean_gram, int(self._uniform), rules, k, n, t, m, b),
            *at("v_a", "eta", "v_b", "seen", "history"),
            stream,
        )
        self.transform.statistics(
            *(at("seen"), at("slot"), at("s"), screen, self._written, self.slots, b, self._work),
            *(0, at("energy"), stream, *at("quiet", "quiet_energy")),
        )
        native.cuda_activity_table(
            *(at("energy"), at("quiet_energy") if self.transform.method == "block" else 0, at("quiet"), word("quiet")),
            *at("v_b", "multiplicity", "eigenvalue", "product"),
            *(screen, k, m, rows, together, self._counts[0], rules, b),
            *at("null", "slope", "offset"),
            stream,
        )
        native.cuda_activity(
            *at("energy", "slope", "offset", "weight", "log_power_weight", "index_of"),
            *(screen, self._log_odds, rules, k, m, rows, together, *self._counts, b),
            *at("llr", "posterior", "quiet"),
            stream,
        )
        native.cuda_select_candidates(
            *at("control", "llr", "posterior", "quiet"),
            *(rules, k, self.capacity, self.slots, b),
            *at("device", "chosen", "free", "slot", "support", "place", "remaining"),
            *(loop, stream),
        )
        native.cuda_gather(
            *(at("seen"), *self.transform.pilots, *at("slot", "s", "device")),
            *(word("candidates"), run, at("v_b"), word("error"), int(self._counts[2] == 1), rules, self.capacity),
            *(*self.sizes, self.slots, b),
            *at("z", "device_power", "noise"),
            *(at("mean", "var") if self._denoiser.closed_form else (0, 0)),
            stream,
        )
        if denoise:
            denoise()
        else:
            self._denoiser.enqueue(self, word("candidates"), run, stream)
        native.cuda_update(
            *at("control", "chosen", "device_power", "mean", "var", "v_b", "device", "posterior", "seen", "place"),
            *(rules, self.capacity, self.slots, k, n * t, m, p, b),
            *at("v_a", "slot", "support", "s", "big"),
            *at("kept_device", "kept_posterior", "kept_var", "kept_mean", "activity", "history"),
            stream,
        )

    def _end(self, stream: int) -> None:
        at = self.address
        self.machine.native.cuda_decide(
            *(*at("control", "kept_device", "kept_posterior"), self._rules, self.capacity, self.batch),
            *at("decided", "index"),
            stream,
        )
        self._residual(("kept_mean", "decided"), "kept", 0, self.capacity, False, stream)
        self.machine.native.cuda_finish(
            *at("control", "power", "kept_device", "kept_var", "kept_mean", "index", "basis", "dft", "gain"),
            *(self.capacity, *self.sizes, self.batch),
            *at("active", "channels", "channel_var", "activity"),
            stream,
        )


def _launch(machine: Machine, graph: Any) -> None:
    graph.launch(machine.stream())
