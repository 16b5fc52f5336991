"""The GPU that kernels run on."""

from __future__ import annotations

import contextlib
import gc
import importlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from .. import _extras
from .native import Native


@dataclass(frozen=True)
class Device:
    """A GPU: the native module that launches kernels, and torch's device. Streams are torch's current ones."""

    native: Native
    device: Any

    # Torch is imported where it is needed: `jadce_fast` loads without it.

    def here(self) -> Any:
        """Context in which the device is torch's current one."""
        import torch

        return torch.cuda.device(self.device)

    def struct(self, name: str, **fields: Any) -> Any:
        """A struct of the native module, as launchers take it."""
        return getattr(self.native, name)(**_values(fields))

    def launch(self, kernel: str, stream: int | None = None, **fields: Any) -> None:
        """Enqueue a kernel by the fields of its struct of arguments, on torch's current stream if none is given.

        A field is a number, a struct, an address, or a tensor that outlives the launch; None is null.
        """
        getattr(self.native, kernel)(**_values(fields), stream=self.stream() if stream is None else stream)

    def stream(self) -> int:
        """Handle of torch's current stream."""
        import torch

        return int(torch.cuda.current_stream(self.device).cuda_stream)

    def side_stream(self) -> Any:
        """A stream for `on` that no other one waits for."""
        import torch

        return torch.cuda.Stream(self.device)

    def on(self, side: Any) -> Any:
        """Context in which a `side_stream` is torch's current stream, and its device the current one."""
        import torch

        return torch.cuda.stream(side)

    def event(self) -> Any:
        """An event to be marked; before that nobody waits for it."""
        import torch

        return torch.cuda.Event()

    def mark(self, event: Any) -> None:
        """Let `event` be after all that was enqueued up to now."""
        import torch

        event.record(torch.cuda.current_stream(self.device))

    def wait(self, event: Any) -> None:
        """Let what is enqueued from now on wait for `event`."""
        import torch

        torch.cuda.current_stream(self.device).wait_event(event)

    def finish(self, event: Any) -> None:
        """Wait for `event` on the host."""
        event.synchronize()

    def host(self, tensor: Any) -> Any:
        """Memory of the host for a tensor, to which the GPU copies by itself."""
        import torch

        return torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)

    def synchronize(self) -> None:
        """Wait for all that was enqueued."""
        import torch

        torch.cuda.synchronize(self.device)

    def child(self, enqueue: Callable[[], None], pool: Any = None) -> tuple[Any, int]:
        """Record what `enqueue` launches, as part of another graph; return what keeps it alive, and its address.

        Graphs that never run at the same time may share the memory of `pool`, another one's `pool()`.
        """
        import torch

        graph = torch.cuda.CUDAGraph(keep_graph=True)
        with torch.cuda.graph(graph, pool=pool, capture_error_mode="thread_local"):
            enqueue()
        address = int(graph.raw_cuda_graph())
        self.native.check_child(address)
        return graph, address

    def capture(self, enqueue: Callable[[], None]) -> Callable[[], None]:
        """A graph of what `enqueue` launches, torch's operators included; the result launches it."""
        import torch

        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):
            enqueue()
        replay: Callable[[], None] = graph.replay
        return replay


def _values(fields: dict[str, Any]) -> dict[str, Any]:
    """Addresses of tensors, and other fields as they are."""
    return {name: x.data_ptr() if hasattr(x, "data_ptr") else x for name, x in fields.items() if x is not None}


@contextlib.contextmanager
def no_collection() -> Iterator[None]:
    """Keep the garbage collector off while a graph is recorded: finalisers may call what is not allowed meanwhile."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def kernels() -> Native | None:
    """The module of the CUDA kernels, in builds with nvcc."""
    try:
        found: Native = importlib.import_module("jadce_fast._cuda")
    except ImportError:
        return None
    return found


def devices() -> tuple[int, str]:
    """Number of GPUs that kernels can run on, and why there is none."""
    native = kernels()
    return (0, "built without CUDA (no nvcc was found)") if native is None else native.devices()


def open_device(device: Any) -> Device:
    """The GPU named by a torch device or its name ("cuda", "cuda:1").

    Raises
    ------
    ImportError
        If torch is not installed.
    ValueError
        If there is no such GPU, this build has no kernels for it, or torch cannot use it; the message says why.
    """
    with _extras.named():
        import torch

    try:
        wanted = torch.device(device)
    except (RuntimeError, TypeError):
        wanted = None
    if wanted is None or wanted.type != "cuda":
        raise ValueError(f"device: expected 'cpu', 'cuda' or 'cuda:N', found {str(device)!r}")
    native, (count, reason) = kernels(), devices()
    if native is None or count == 0:
        raise ValueError(f"device: expected 'cpu', found {str(device)!r}, but CUDA is off: {reason}")
    if not torch.cuda.is_available():
        raise ValueError(f"device: expected 'cpu', found {str(device)!r}, but torch {torch.__version__} has no CUDA")
    index = torch.cuda.current_device() if wanted.index is None else wanted.index
    if index >= count:
        raise ValueError(f"device: expected cuda:0 to cuda:{count - 1}, found {str(device)!r}")
    return Device(native, torch.device("cuda", index))
