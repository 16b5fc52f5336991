"""A detection on a GPU: its memory, its kernels in order, and the graph that holds them.

The loop is loop/loop.hpp's, as on the CPU. Kernels keep its state in a `Control` per received block
(csrc/loop/control.hpp), so one launch of a graph is a whole detection of a batch.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from ..rules import Rules
from ..transform import Transform
from .device import Device, no_collection
from .native import Native
from .transform import CudaTransform, mixture_tables

Launch = Callable[[int], None]  # enqueues a kernel on a stream


class Detector:
    """Detects up to `batch` received blocks (batch, T, N, M) at a time.

    Attributes
    ----------
    buffers : dict of str to torch.Tensor
        What kernels work on, by name, with the batch first; `_shapes` lists them. Results stay in "activity"
        (batch, K), "active" (batch, capacity), "channels" (batch, capacity, N, M), "channel_var" (batch, capacity) and
        those of `word` until the next call of `run`.
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
        power: float,
        expected: float,
        capacity: int,
        batch: int,
    ) -> None:
        self.device, self.plan, self.batch, self.capacity = device, plan, batch, capacity
        self.rules, self._rules = rules, rules.native(device.native)
        self._denoiser, self.overlapping = denoiser, False
        self._power, self._expected, self._log_odds = power, expected, log_odds
        self.transform = CudaTransform(device, plan)
        self.sizes = self.transform.sizes(batch)
        self.slots = min(plan.pilots.devices, 2 * capacity)
        # One pass over all coefficients at once stores the energy of each; the other ways add them up as they go.
        self._merged = 1 if self.transform.method == "spectral" else plan.merge  # coefficients in an energy
        self._tables = {name: torch.from_numpy(np.array(table)).to(device.device) for name, table in mixture.items()}
        self._gain = torch.from_numpy(gain.astype(np.float32)).to(device.device)
        self.buffers = {
            name: torch.empty((batch, *shape), dtype=dtype, device=device.device)
            for name, (shape, dtype) in self._shapes(len(mixture["product"])).items()
        }
        self._work = self.transform.work(batch)
        self.buffers["remaining"] = torch.zeros(1, dtype=torch.int32, device=device.device)
        self.buffers["input"] = torch.zeros(2, dtype=torch.int64, device=device.device)
        for name in ("z", "noise"):  # a torch network reads all places, used or not
            self.buffers[name].fill_(1.0)
        self._recorded: list[Any] = []  # keeps alive what graphs use
        self._done: Any = device.event()
        self._enqueue = self._record()

    def __del__(self) -> None:
        # The GPU may still be at work, on another stream than the one for which torch keeps the memory.
        with contextlib.suppress(Exception):
            self.device.finish(self._done)

    @property
    def native(self) -> Native:
        """The module that launches the kernels."""
        return self.device.native

    @property
    def control_words(self) -> int:
        """Words of a Control."""
        return int(self.native.control_dtype.itemsize) // 4

    def word(self, name: str, control: torch.Tensor | None = None) -> torch.Tensor:
        """A member of every block's Control, (batch,), or of those in a copy of `buffers["control"]`."""
        kind, offset = self.native.control_dtype.fields[name][:2]  # type: ignore[index]
        values: torch.Tensor = (self.buffers["control"] if control is None else control)[:, offset // 4]
        return values.view(torch.float32) if kind == np.float32 else values

    @property
    def memory(self) -> int:
        """Bytes of device memory held."""
        held = (*self.buffers.values(), *self._tables.values(), *self._work.values(), self._gain)
        return self.transform.memory + sum(int(x.nbytes) for x in held)

    def set_input(self, y: torch.Tensor, noise_var: float) -> None:
        """Enqueue a note of the blocks y (at most batch, T, N, M) to be detected."""
        self.native.set_input(
            y=y.data_ptr(),
            noise_var=noise_var,
            blocks=len(y),
            input=self.address("input"),
            stream=self.device.stream(),
        )

    def run(self, y: torch.Tensor, noise_var: float) -> None:
        """Enqueue the detection of y (at most batch, T, N, M) on torch's current stream and return."""
        self.device.wait(self._done)
        self.set_input(y, noise_var)
        self._enqueue()
        self._done = self.device.event()

    # Planning

    def _shapes(self, products: int) -> dict[str, tuple[tuple[int, ...], torch.dtype]]:
        """Shapes of the buffers, without the batch, and types."""
        pilots, m, p = self.plan.pilots, self.plan.antennas, self.plan.coefficients
        k, n, t, c, s = pilots.devices, pilots.subcarriers, pilots.symbols, self.capacity, self.slots
        groups, rows, padded = self.plan.groups, -(-p // self._merged), -(-products // 4) * 4
        complex_, real, word, byte = torch.complex64, torch.float32, torch.int32, torch.uint8
        return {
            # Measurement space.
            **{name: ((t, n, m), complex_) for name in ("y", "r_pri", "r", "r_b")},
            **{name: ((m,), real) for name in ("v_a", "eta", "v_b")},
            "power": ((n, m), real),
            "y_power": ((n,), torch.float64),
            # All devices.
            "energy": ((rows, m, k), real),
            "idle_energy": ((p, m), real),
            "null": ((groups, m), real),
            "slope": ((m, padded, groups), real),
            "offset": ((m, padded), real),
            "llr": ((k,), real),
            "posterior": ((k,), real),
            "idle": ((k,), byte),
            "slot": ((k,), word),
            # Candidates.
            "device": ((c,), word),
            "chosen": ((c,), real),
            "device_power": ((c,), real),
            "noise": ((c, m), real),
            "z": ((c, p, m), complex_),
            "mean": ((c, p, m), complex_),
            "var": ((c, m), real),
            # The part S of the state.
            **{name: ((s,), word) for name in ("free", "support", "place")},
            "s": ((s, p, m), complex_),
            # The best output so far, and which of it is active.
            "kept_device": ((c,), word),
            "kept_posterior": ((c,), real),
            "kept_var": ((c,), real),
            "kept_mean": ((c, p, m), complex_),
            "decided": ((c,), word),
            "index": ((c,), word),
            # Results and the loop.
            "active": ((c,), torch.int64),
            "channels": ((c, n, m), complex_),
            "channel_var": ((c,), real),
            "activity": ((k,), real),
            "history": ((self.rules.max_iterations, 2), real),
            "control": ((self.control_words,), word),
        }

    def _record(self) -> Callable[[], None]:
        """Return a function that enqueues a detection, a graph, made after one trial run that loads all kernels."""
        device = self.device
        trial = torch.zeros_like(self.buffers["y"])
        self.set_input(trial, 1.0)
        self.unrolled(1)
        device.synchronize()

        trial.fill_(torch.nan)  # not a number ends the loop of a graph in its first pass
        for overlapping in (True, False):  # a driver may not overlap kernels inside a loop
            try:
                with no_collection():
                    graph = self.record(overlapping=overlapping)
                graph.launch(device.stream())
                device.synchronize()
            except RuntimeError:
                if not overlapping and not self._denoiser.on_torch:
                    raise
            else:
                self.overlapping = overlapping
                return lambda: graph.launch(device.stream())

        # A graph that torch recorded cannot always be part of another one.
        with no_collection():
            return device.capture(lambda: self.unrolled(self.rules.max_iterations))

    def record(self, *, overlapping: bool, iterations: int = 1) -> Any:
        """A graph of a detection, `launch(stream)`.

        Parameters
        ----------
        overlapping : bool
            Whether kernels start while the one before still runs.
        iterations : int
            Iterations in a pass of the graph's loop; those after a detection's end do nothing.
        """
        parts = self._recorded_parts() if self._denoiser.on_torch else []
        conditions = torch.empty(iterations * len(parts), dtype=torch.int64, device=self.device.device)
        handles: list[int] = []
        graph = self.native.Graph(overlapping=overlapping)
        stream = graph.begin()
        self.begin(stream)
        loop_stream, loop = graph.open_loop()

        def denoise_parts(stream: int) -> None:
            self.native.choose(
                control=self.address("control"),
                conditions=conditions.data_ptr() + 8 * len(handles),
                count=len(parts),
                chunk=self._denoiser.chunk,
                capacity=self.capacity,
                batch=self.batch,
                stream=stream,
            )
            handles.extend(graph.add_if(address) for _, address in parts)

        for _ in range(iterations):
            steps = self.iteration(loop)
            for launch in (steps | {"denoise": denoise_parts} if parts else steps).values():
                launch(loop_stream)
        graph.close_loop()
        self.end(stream)
        graph.end()
        conditions.copy_(torch.from_numpy(np.array(handles, np.uint64).view(np.int64)))
        self._recorded.append((parts, conditions))
        return graph

    def _recorded_parts(self) -> list[tuple[Any, int]]:
        """The network's graphs, which run one after another."""
        parts: list[tuple[Any, int]] = []
        for part in self._denoiser.parts(self):
            parts.append(self.device.child(part, parts[0][0].pool() if parts else None))
        return parts

    # Kernels in order

    def address(self, name: str) -> int:
        """Address of a buffer."""
        return int(self.buffers[name].data_ptr())

    def word_address(self, name: str) -> int:
        """Address of a member of the first block's Control."""
        return self.address("control") + int(self.native.control_dtype.fields[name][1])  # type: ignore[index]

    def unrolled(self, iterations: int) -> None:
        """Enqueue a detection of that many iterations on torch's current stream."""
        stream = self.device.stream()
        self.begin(stream)
        for _ in range(iterations):
            for launch in self.iteration().values():
                launch(stream)
        self.end(stream)

    def begin(self, stream: int) -> None:
        """Enqueue what comes before the loop."""
        at, native = self.address, self.native
        native.beamspace(
            input=at("input"),
            dft=self.transform.address("dft"),
            rotation=self.transform.address("rotation"),
            sizes=self.sizes,
            y=at("y"),
            scratch=at("r_b"),
            power=at("y_power"),
            stream=stream,
        )
        native.begin(
            input=at("input"),
            power=at("y_power"),
            rules=self._rules,
            known=self._power,
            expected=self._expected,
            sizes=self.sizes,
            slots=self.slots,
            control=at("control"),
            slot=at("slot"),
            support=at("support"),
            s=at("s"),
            r_pri=at("r_pri"),
            idle=at("idle"),
            activity=at("activity"),
            remaining=at("remaining"),
            stream=stream,
        )

    def iteration(self, loop: int | None = None) -> dict[str, Launch]:
        """Kernels of an iteration in their order, by name; `loop` is the handle of the graph's loop, if there is one.

        "denoise", which the Gaussian prior does without, is the denoiser's.
        """
        at, word = self.address, self.word_address
        steps: dict[str, Launch] = {
            "residual": functools.partial(
                self._residual,
                s=at("s"),
                device=at("support"),
                count=word("slots"),
                enabled=word("going"),
                capacity=self.slots,
                r_pri=at("r_pri"),
            ),
            "module_a": self._module_a,
            self.transform.method: self._statistics,
            "activity_table": self._activity_table,
            "activity": self._activity,
            "select_candidates": functools.partial(self._select, self.native.no_loop if loop is None else loop),
            "gather": self._gather,
        }
        if not self._denoiser.closed_form:
            steps["denoise"] = functools.partial(self._denoiser.enqueue, self)
        return steps | {"update": self._update}

    def end(self, stream: int) -> None:
        """Enqueue what comes after the loop."""
        at, native = self.address, self.native
        native.decide(
            control=at("control"),
            kept=self._kept(),
            rules=self._rules,
            capacity=self.capacity,
            batch=self.batch,
            device=at("decided"),
            index=at("index"),
            stream=stream,
        )
        self._residual(
            stream, s=at("kept_mean"), device=at("decided"), count=self.word_address("kept"), capacity=self.capacity
        )
        native.finish(
            control=at("control"),
            power=at("power"),
            kept=self._kept(),
            index=at("index"),
            basis=self.transform.address("basis"),
            dft=self.transform.address("dft"),
            gain=self._gain.data_ptr(),
            rules=self._rules,
            sizes=self.sizes,
            capacity=self.capacity,
            active=at("active"),
            channels=at("channels"),
            channel_var=at("channel_var"),
            activity=at("activity"),
            stream=stream,
        )

    def _kept(self) -> Any:
        at = self.address
        return self.native.KeptOutput(
            device=at("kept_device"), posterior=at("kept_posterior"), var=at("kept_var"), mean=at("kept_mean")
        )

    def _parts(self) -> Any:
        return self.native.SparseParts(slot=self.address("slot"), s=self.address("s"), slots=self.slots)

    def _residual(self, stream: int, **of: int) -> None:
        """Residual y - gram R - Q S of some S and, if given, R."""
        at = self.address
        self.native.residual(
            y=at("y"),
            scale=self.word_address("scale"),
            gram=self.transform.address("gram"),
            pilots=self.transform.pilots,
            basis=self.transform.address("basis"),
            sizes=self.sizes,
            r=at("r"),
            power=at("power"),
            stream=stream,
            **of,
        )

    def _module_a(self, stream: int) -> None:
        at, gram = self.address, self.plan.gram
        self.native.module_a(
            control=at("control"),
            power=at("power"),
            gram=self.transform.address("gram"),
            r_pri=at("r_pri"),
            r=at("r"),
            mean_gram=float(gram.mean(dtype=np.float64)),
            uniform=bool(np.ptp(gram) == 0),
            rules=self._rules,
            sizes=self.sizes,
            v_a=at("v_a"),
            eta=at("eta"),
            v_b=at("v_b"),
            r_b=at("r_b"),
            history=at("history"),
            stream=stream,
        )

    def _statistics(self, stream: int) -> None:
        at, sums = self.address, self.transform.method == "spectral"
        self.transform.statistics(
            self._work,
            r=at("r_b"),
            parts=self._parts(),
            enabled=self.word_address("test"),
            sizes=self.sizes,
            out=self.native.StatisticsOutput(energy=at("energy"), merge=self._merged),
            **({"idle": at("idle"), "idle_energy": at("idle_energy")} if sums else {}),
            stream=stream,
        )

    def _activity_arguments(self) -> dict[str, Any]:
        """Arguments that both kernels of the activity test take."""
        pilots, rows = self.plan.pilots, self.buffers["energy"].shape[1]
        energies = self.native.Energies(
            energy=self.address("energy"),
            rows=rows,
            merge=self.plan.merge // self._merged,
            devices=pilots.devices,
            antennas=self.plan.antennas,
            batch=self.batch,
        )
        return {
            "energies": energies,
            "mixture": mixture_tables(self.native, self._tables),
            "enabled": self.word_address("test"),
            "rules": self._rules,
        }

    def _activity_table(self, stream: int) -> None:
        at = self.address
        self.native.activity_table(
            **self._activity_arguments(),
            sums=at("idle_energy") if self.transform.method == "spectral" else 0,
            idle=at("idle"),
            idle_count=self.word_address("idle"),
            v=at("v_b"),
            null=at("null"),
            slope=at("slope"),
            offset=at("offset"),
            stream=stream,
        )

    def _activity(self, stream: int) -> None:
        at = self.address
        self.native.activity(
            **self._activity_arguments(),
            control=at("control"),
            slope=at("slope"),
            offset=at("offset"),
            log_odds=self._log_odds,
            llr=at("llr"),
            posterior=at("posterior"),
            idle=at("idle"),
            stream=stream,
        )

    def _select(self, loop: int, stream: int) -> None:
        at = self.address
        self.native.select_candidates(
            control=at("control"),
            llr=at("llr"),
            posterior=at("posterior"),
            idle=at("idle"),
            rules=self._rules,
            devices=self.plan.pilots.devices,
            capacity=self.capacity,
            slots=self.slots,
            batch=self.batch,
            device=at("device"),
            chosen=at("chosen"),
            free=at("free"),
            slot=at("slot"),
            support=at("support"),
            place=at("place"),
            remaining=at("remaining"),
            loop=loop,
            stream=stream,
        )

    def _gather(self, stream: int) -> None:
        at, posterior = self.address, self._denoiser.closed_form
        self.native.gather(
            r=at("r_b"),
            pilots=self.transform.pilots,
            basis=self.transform.address("basis"),
            parts=self._parts(),
            device=at("device"),
            count=self.word_address("candidates"),
            enabled=self.word_address("run"),
            v_b=at("v_b"),
            mean_v=self.word_address("error"),
            known=len(self._tables["log_power_weight"]) == 1,
            rules=self._rules,
            capacity=self.capacity,
            sizes=self.sizes,
            z=at("z"),
            power=at("device_power"),
            noise=at("noise"),
            mean=at("mean") if posterior else 0,
            var=at("var") if posterior else 0,
            stream=stream,
        )

    def _update(self, stream: int) -> None:
        at = self.address
        self.native.update(
            control=at("control"),
            candidates=self.native.Candidates(
                posterior=at("chosen"),
                power=at("device_power"),
                mean=at("mean"),
                var=at("var"),
                device=at("device"),
            ),
            v_b=at("v_b"),
            posterior=at("posterior"),
            r_b=at("r_b"),
            place=at("place"),
            rules=self._rules,
            capacity=self.capacity,
            slots=self.slots,
            sizes=self.sizes,
            v_a=at("v_a"),
            slot=at("slot"),
            support=at("support"),
            s=at("s"),
            r_pri=at("r_pri"),
            kept=self._kept(),
            activity=at("activity"),
            history=at("history"),
            stream=stream,
        )
