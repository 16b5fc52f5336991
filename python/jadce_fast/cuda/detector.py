"""A detection on a GPU: its memory, its kernels in order, and the graph that holds them.

The loop is loop/loop.hpp's, as on the CPU. Kernels keep its state in a `Control` per received block
(csrc/loop/control.hpp), so one launch of a graph is a whole detection of a batch.
"""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from ..rules import Rules
from ..transform import Transform
from .colored_noise import ColoredNoise
from .device import Device, no_collection
from .transform import CudaTransform, mixture_tables

Launch = Callable[[int], None]  # enqueues a kernel on a stream
REPORT = ("control", "history", "active")  # what the host reads of every detection
RESULTS = ("active", "channel_var", "activity", "channels")  # what a caller gets
METHODS = ("spectral", "spectral_large", "direct")  # of csrc/receiver/detection_cuda.hpp, in its order
_OF_BLOCK = ("gram", "basis", "dft", "rotation")  # tables of a detection
_OF_STATISTICS = ("rows", "fft", "amplitude", "first", "first_fft", "second_fft")
_ALIGNED = 64  # words


class Detector:
    """Detects up to `batch` received blocks (batch, T, N, M) at a time.

    Attributes
    ----------
    buffers : dict of str to torch.Tensor
        What kernels work on, with the batch first: csrc/receiver/detection_cuda.hpp has their shapes, and which kernel
        takes which. Results stay in those of `RESULTS` and of `word` until the next call of `run`.
    overlapping : bool
        Whether kernels of the graph start while the one before still runs.
    """

    def __init__(
        self,
        device: Device,
        plan: Transform,
        gain: np.ndarray[Any, Any],
        mixture: dict[str, np.ndarray[Any, Any]],
        denoiser: Any,
        *,
        rules: Rules,
        log_odds: float,
        learn_rate: bool,
        power: float,
        expected: float,
        capacity: int,
        batch: int,
    ) -> None:
        self.device, self.plan, self.batch, self.capacity = device, plan, batch, capacity
        self.rules, self._denoiser, self.overlapping = rules, denoiser, False
        self.transform = CudaTransform(device, plan)
        native = device.native
        self._shape = device.struct(
            "DetectionShape",
            sizes=self.transform.sizes(batch),
            capacity=capacity,
            merge=plan.merge,
            products=len(mixture["product"]),
            max_iterations=rules.max_iterations,
            statistics=METHODS.index(self.transform.method),
        )
        shapes = {name: _in_torch(*kind) for name, kind in native.detection_buffers(self._shape).items()}
        together = dict.fromkeys(REPORT + RESULTS)
        self.buffers = {
            name: torch.empty((batch, *shape), dtype=dtype, device=device.device)
            for name, (shape, dtype) in shapes.items()
            if name not in together
        }
        # The host copies what lies side by side at once: the report, and the results up to the last channel found.
        self._places: dict[str, slice] = {}
        self._kinds = {name: ((batch, *shapes[name][0]), shapes[name][1]) for name in together}
        end = 0
        for name, (shape, dtype) in self._kinds.items():
            size = math.prod(shape) * dtype.itemsize // 4
            self._places[name] = slice(end, end + size)
            end += -(-size // _ALIGNED) * _ALIGNED
        self._words = torch.empty(end, dtype=torch.int32, device=device.device)
        self.buffers |= {name: self._view(self._words, name) for name in together}
        self._report = self._words[: self._places["active"].stop]
        self._host = device.host(self._report)
        for name, value in (("remaining", 0), ("input", 0), ("z", 1), ("noise", 1)):
            self.buffers[name].fill_(value)  # a torch network reads all places of z and noise, used or not
        self._tables = {name: torch.from_numpy(np.array(table)).to(device.device) for name, table in mixture.items()}
        self._gain = torch.from_numpy(gain.astype(np.float32)).to(device.device)
        self._numbers = {"log_odds": log_odds, "learn_rate": int(learn_rate), "known": power, "expected": expected}
        self._numbers |= {"closed_form": int(denoiser.closed_form)}
        self._numbers |= {"mean_gram": float(plan.gram.mean(dtype=np.float64)), "uniform": bool(np.ptp(plan.gram) == 0)}
        self._fields = self._planned()
        self._white = self._native_plan(self.buffers["power"])
        self._recorded: list[Any] = []  # keeps alive what graphs use
        self._done, self._copied = device.event(), device.event()
        self._enqueue = self._record()
        self._colored: tuple[ColoredNoise, Callable[[], None]] | None = None

    def __del__(self) -> None:
        # The GPU may still be at work, on another stream than the one for which torch keeps the memory.
        with contextlib.suppress(Exception):
            self.device.finish(self._done)

    def word(self, name: str) -> torch.Tensor:
        """A member of every block's Control, (batch,)."""
        kind, offset = self.device.native.control_dtype.fields[name][:2]  # type: ignore[index]
        values: torch.Tensor = self.buffers["control"][:, offset // 4]
        return values.view(torch.float32) if kind == np.float32 else values

    @property
    def memory(self) -> int:
        """Bytes of device memory held."""
        held = [*self.transform.held, *self._tables.values(), *self.buffers.values(), *self._denoiser.held, self._gain]
        if self._colored is not None:
            held += self._colored[0].held
        return sum({id(x): int(x.nbytes) for x in held if isinstance(x, torch.Tensor)}.values())

    def set_input(self, y: torch.Tensor, noise_var: float, deadline: float = math.inf) -> None:
        """Enqueue a note of the blocks y (at most batch, T, N, M) to be detected within `deadline` microseconds."""
        note = {"y": y, "noise_var": noise_var, "blocks": len(y), "deadline": deadline, "input": self.buffers["input"]}
        self.device.launch("set_input", **note)

    def run(self, y: torch.Tensor, noise: float | np.ndarray[Any, Any], deadline: float = math.inf) -> None:
        """Enqueue the detection of y (at most batch, T, N, M) on torch's current stream and return.

        `noise` is what `noise_covariance` returns. For the first one that is not white another graph is recorded.
        """
        self.device.wait(self._done)
        enqueue = self._enqueue
        if not isinstance(noise, float):
            if self._colored is None:
                tables = ColoredNoise(self.plan, self.batch, self.device.device)
                self._colored = tables, self._record(tables)
            colored, enqueue = self._colored
            noise = colored.tell(noise)
        self.set_input(y, noise, deadline)
        enqueue()
        self.mark()

    def report(self, count: int) -> tuple[np.ndarray[Any, Any], ...]:
        """Wait for the last detection: of `count` blocks Control, history (count, iterations, 2) and active devices."""
        self._host.copy_(self._report, non_blocking=True)
        self.device.mark(self._copied)
        self.device.finish(self._copied)
        words = self._host.numpy().copy()  # the next detection overwrites it
        parts = [words[self._places[name]] for name in REPORT]
        kinds = (self.device.native.control_dtype, np.float32, np.int64)
        control, history, active = (part.view(kind) for part, kind in zip(parts, kinds, strict=True))
        return (
            control[:count],
            history.reshape(self.buffers["history"].shape)[:count],
            active.reshape(self.batch, self.capacity)[:count],
        )

    def results(self, found: list[int], where: torch.device) -> list[dict[str, torch.Tensor]]:
        """Copies of the last detection's results, a block's with so many devices, which the next one overwrites.

        One copy takes them all, but for the channels of all blocks but the first.
        """
        all_channels = self.buffers["channels"]
        begin, end, row = self._places["active"].start, self._places["channels"].start, all_channels[0, 0].numel()
        room = self._words[begin : end + 2 * found[0] * row].to(where, copy=True)
        active, var, activity = (self._view(room, name, begin) for name in RESULTS[:-1])
        channels = room[end - begin :].view(torch.complex64).view(found[0], *all_channels.shape[2:])
        blocks = []
        for i, a in enumerate(found):
            h = all_channels[i, :a].to(where, copy=True) if i else channels
            blocks.append({"active": active[i, :a], "channel_var": var[i, :a], "activity": activity[i], "channels": h})
        self.mark()
        return blocks

    def mark(self) -> None:
        """Let the next detection wait for all that was enqueued on torch's current stream so far."""
        self.device.mark(self._done)

    # Planning

    def _view(self, words: torch.Tensor, name: str, begin: int = 0) -> torch.Tensor:
        """A buffer of those that lie side by side in `words`, which begin at word `begin` of them."""
        (shape, dtype), place = self._kinds[name], self._places[name]
        return words[place.start - begin : place.stop - begin].view(dtype).view(shape)

    def _native_plan(self, left: torch.Tensor) -> Any:
        """The plan of a detection that judges its result by `left` (batch, N, M), the power that it leaves."""
        device, transform = self.device, self.transform
        addresses = {name: tensor.data_ptr() for name, tensor in self.buffers.items()}
        tables = {name: transform.tables.get(name) for name in _OF_BLOCK}
        tables |= {name: transform.planned.get(name) for name in _OF_STATISTICS}
        return device.struct(
            "DetectionPlan",
            shape=self._shape,
            memory=device.struct("DetectionMemory", shape=self._shape, addresses=addresses),
            tables=device.struct(
                "DetectionTables",
                **tables,
                gain=self._gain,
                pilots=transform.pilots,
                mixture=mixture_tables(device, self._tables),
                networks=self._denoiser.tables,
            ),
            rules=self.rules.native(device.native),
            left=left,
            **self._numbers,
        )

    def _planned(self) -> dict[str, Any]:
        """What launches of kernels that are not the plan's take by the names of fields."""
        b = self.buffers
        candidates = {name: b[name] for name in ("mean", "var", "device")}
        candidates |= {"posterior": b["chosen"], "power": b["device_power"]}
        return {
            **b,
            **self.transform.tables,
            **self._numbers,
            "batch": self.batch,
            "capacity": self.capacity,
            "rules": self.rules.native(self.device.native),
            "sizes": self.transform.sizes(self.batch),
            "candidates": self.device.struct("Candidates", **candidates),
        }

    def _record(self, noise: ColoredNoise | None = None) -> Callable[[], None]:
        """Return a function that enqueues a detection, a graph, made after one trial run that loads all kernels."""
        device = self.device
        trial = torch.zeros_like(self.buffers["y"])
        self.set_input(trial, 1.0)
        self.unrolled(1, noise)
        device.synchronize()

        before = len(self._recorded)
        trial.fill_(torch.nan)  # not a number ends the loop of a graph in its first pass
        rounds = 1 if self._denoiser.on_torch else device.native.rounds
        for overlapping in (True, False):  # a driver may not overlap kernels inside a loop
            try:
                with no_collection():
                    graph = self.record(noise, overlapping=overlapping, iterations=rounds)
                graph.launch(device.stream())
                device.synchronize()
            except RuntimeError:
                del self._recorded[before:]
                if not overlapping and not self._denoiser.on_torch:
                    raise
            else:
                self.overlapping = overlapping
                return lambda: graph.launch(device.stream())

        # A graph that torch recorded cannot always be part of another one.
        with no_collection():
            return device.capture(lambda: self.unrolled(self.rules.max_iterations, noise))

    def record(self, noise: ColoredNoise | None = None, *, overlapping: bool, iterations: int = 1) -> Any:
        """A graph of a detection, `launch(stream)`.

        Parameters
        ----------
        noise : ColoredNoise, optional
            Noise that is not white.
        overlapping : bool
            Whether kernels start while the one before still runs.
        iterations : int
            Iterations in a pass of the graph's loop; those after a detection's end do nothing.
        """
        parts: list[tuple[Any, int]] = []  # the network's graphs, which run one after another
        for part in self._denoiser.parts(self) if self._denoiser.on_torch else ():
            parts.append(self.device.child(part, parts[0][0].pool() if parts else None))
        conditions = torch.empty(iterations * len(parts), dtype=torch.int64, device=self.device.device)
        handles: list[int] = []
        graph = self.device.native.Graph(overlapping=overlapping)
        stream = graph.begin()
        self.begin(stream, noise)
        loop_stream, loop = graph.open_loop()

        def denoise_parts(stream: int) -> None:
            chosen = {"conditions": conditions[len(handles) :], "count": len(parts), "chunk": self._denoiser.chunk}
            self.launch("choose", stream, **chosen)
            handles.extend(graph.add_if(address) for _, address in parts)

        for _ in range(iterations):
            steps = self.iteration(loop, noise)
            for launch in (steps | {"denoise": denoise_parts} if parts else steps).values():
                launch(loop_stream)
        graph.close_loop()
        self.end(stream, noise)
        graph.end()
        conditions.copy_(torch.from_numpy(np.array(handles, np.uint64).view(np.int64)))
        self._recorded.append((parts, conditions))
        return graph

    # Kernels in order

    def word_address(self, name: str) -> int:
        """Address of a member of the first block's Control."""
        offset: int = self.device.native.control_dtype.fields[name][1]  # type: ignore[index]
        return int(self.buffers["control"].data_ptr()) + offset

    def launch(self, kernel: str, stream: int, **others: Any) -> None:
        """Enqueue a kernel. Its fields are what was planned under their names, but for `others`; None is null."""
        names = self.device.native.fields[kernel]
        fields = {name: others[name] if name in others else self._fields.get(name) for name in names}
        self.device.launch(kernel, stream, **fields)

    def unrolled(self, iterations: int, noise: ColoredNoise | None = None) -> None:
        """Enqueue a detection of that many iterations on torch's current stream."""
        stream = self.device.stream()
        self.begin(stream, noise)
        for _ in range(iterations):
            for launch in self.iteration(noise=noise).values():
                launch(stream)
        self.end(stream, noise)

    def begin(self, stream: int, noise: ColoredNoise | None = None) -> None:
        """Enqueue what comes before the loop."""
        for step in self.device.native.first_steps:
            if step == "begin" and noise is not None:
                noise.power(self.launch, stream, self.buffers["y"], self.buffers["y_power"])
            self._step(step, stream=stream)

    def iteration(self, loop: int | None = None, noise: ColoredNoise | None = None) -> dict[str, Launch]:
        """Kernels of an iteration in their order, by name; `loop` is the handle of the graph's loop, if there is one.

        "denoise", which the Gaussian prior does without, is the denoiser's.
        """
        steps: dict[str, Launch] = {}
        for step in self.device.native.iteration_steps:
            if step == "module_a" and noise is not None:
                steps |= noise.module_a(self.launch, self.word_address("going"))
            elif step == "denoise" and self._denoiser.on_torch:
                steps[step] = functools.partial(self._denoiser.enqueue, self)
            elif step != "denoise" or not self._denoiser.closed_form:
                name = self.transform.method if step == "statistics" else step
                steps[name] = functools.partial(self._step, step, loop)
        return steps

    def end(self, stream: int, noise: ColoredNoise | None = None) -> None:
        """Enqueue what comes after the loop: the decision, what it leaves of the block, and the result."""
        for step in self.device.native.last_steps:
            plan = None
            if step == "finish" and noise is not None:
                plan = self._native_plan(noise.left(self.launch, stream))
            self._step(step, stream=stream, plan=plan)

    def _step(self, step: str, loop: int | None = None, stream: int = 0, plan: Any = None) -> None:
        """Enqueue a kernel of the plan."""
        native = self.device.native
        native.enqueue(plan or self._white, step, loop=native.no_loop if loop is None else loop, stream=stream)


def _in_torch(shape: tuple[int, ...], dtype: np.dtype[Any]) -> tuple[tuple[int, ...], torch.dtype]:
    """Shape and type in torch of a buffer; of records, words."""
    if dtype.kind == "V":
        return (dtype.itemsize // 4,), torch.int32
    return shape, torch.from_numpy(np.empty(0, dtype)).dtype
