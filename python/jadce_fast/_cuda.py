"""The GPU that kernels run on, and the GPU variant of ``ops.gather``: torch CUDA tensors in and out, no copies."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from . import _core

if TYPE_CHECKING:
    from .ops import Transform
    from .pilots import Pilots


@dataclass(frozen=True)
class Machine:
    """Where kernels run: a native module that launches them, and torch's device. Streams are torch's current ones."""

    native: Any
    device: Any

    def here(self) -> Any:
        """Context in which the device is torch's current one."""
        import torch

        return torch.cuda.device(self.device)

    def stream(self) -> int:
        """Handle of torch's current stream."""
        import torch

        return int(torch.cuda.current_stream(self.device).cuda_stream)

    def event(self) -> Any:
        """What was enqueued up to now."""
        import torch

        return torch.cuda.current_stream(self.device).record_event()

    def wait(self, event: Any) -> None:
        """Let what is enqueued from now on wait for `event`."""
        import torch

        torch.cuda.current_stream(self.device).wait_event(event)

    def synchronize(self) -> None:
        """Wait for all that was enqueued."""
        import torch

        torch.cuda.synchronize(self.device)

    def capture(self, enqueue: Callable[[], None]) -> Callable[[], None]:
        """A graph of what `enqueue` launches, torch's operators included; the result launches it."""
        import torch

        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            enqueue()
        replay: Callable[[], None] = graph.replay
        return replay


def machine(device: Any) -> Machine:
    """The GPU named by a torch device or its name ("cuda", "cuda:1").

    Raises
    ------
    ValueError
        If there is no such GPU, this build has no kernels for it, or torch cannot use it; the message says why.
    """
    import torch

    try:
        wanted = torch.device(device)
    except (RuntimeError, TypeError):
        wanted = None
    if wanted is None or wanted.type != "cuda":
        raise ValueError(f"device: expected 'cpu', 'cuda' or 'cuda:N', found {str(device)!r}")
    count, reason = _core.cuda_devices()
    if count == 0:
        raise ValueError(f"device: expected 'cpu', found {str(device)!r}, but CUDA is off: {reason}")
    if not torch.cuda.is_available():
        raise ValueError(f"device: expected 'cpu', found {str(device)!r}, but torch {torch.__version__} has no CUDA")
    index = torch.cuda.current_device() if wanted.index is None else wanted.index
    if index >= count:
        raise ValueError(f"device: expected cuda:0 to cuda:{count - 1}, found {str(device)!r}")
    return Machine(_core, torch.device("cuda", index))


def gather(plan: Transform, r: Any, devices: Any) -> Any:
    """Matched-filter statistics (A, P, M) of `devices` (A,) int64 for `r` (T, N, M) complex64, all on one GPU.

    Raises
    ------
    TypeError, ValueError
        If an array is of another kind, device, type or shape, or the pilots are not partial DFT.
    """
    import torch

    p = plan.pilots
    if p.rows is None:
        raise ValueError("pilots: expected partial-DFT pilots on a GPU, found arbitrary ones")
    for name, value, dtype in (("r", r, torch.complex64), ("devices", devices, torch.int64)):
        if not isinstance(value, torch.Tensor) or value.device != r.device:
            found = getattr(value, "device", type(value).__name__)
            raise TypeError(f"{name}: expected a torch tensor on {r.device}, found {found}")
        if value.dtype != dtype:
            raise TypeError(f"{name}: expected {dtype}, found {value.dtype}")
        if not value.is_contiguous() or value.is_conj():
            raise ValueError(f"{name}: expected a contiguous tensor that is not a conjugated view")
    shape = (p.symbols, p.subcarriers, plan.antennas)
    if tuple(r.shape) != shape or devices.ndim != 1:
        raise ValueError(
            f"r: expected shape {shape} and one axis of devices, found {tuple(r.shape)} and {tuple(devices.shape)}"
        )
    if len(devices) and not 0 <= int(devices.min()) <= int(devices.max()) < p.devices:
        raise ValueError(f"devices: expected 0 to {p.devices - 1}, found {int(devices.min())} to {int(devices.max())}")
    index = devices.to(torch.int32)
    rows, twiddle, basis = _tables(plan, r.device)
    out = torch.empty((len(devices), plan.coefficients, plan.antennas), dtype=torch.complex64, device=r.device)
    with torch.cuda.device(r.device):
        _core.cuda_gather(
            *(r.data_ptr(), rows.data_ptr(), twiddle.data_ptr(), 0, basis.data_ptr(), 0, 0, index.data_ptr()),
            *(0, 0, 0, 0, 0),  # neither count nor go, and no scaling
            *(len(index), p.devices, p.subcarriers, p.symbols, plan.antennas, plan.coefficients, 0, 1),
            *(out.data_ptr(), 0, 0, torch.cuda.current_stream().cuda_stream),
        )
    return out


def _tables(plan: Transform, device: Any) -> tuple[Any, Any, Any]:
    """DFT rows, twiddles and basis on `device`; copied there on first use."""
    import torch

    if device not in plan.on_device:
        arrays = (*pilot_tables(plan.pilots), plan.basis)
        plan.on_device[device] = tuple(torch.from_numpy(a).to(device) for a in arrays)
    tables: tuple[Any, Any, Any] = plan.on_device[device]
    return tables


def pilot_tables(pilots: Pilots) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.complex64]]:
    """DFT rows (N, T) and twiddles (K,), sqrt(power) exp(+2 pi i k / K), of partial-DFT pilots."""
    assert pilots.rows is not None
    phase = np.exp(2j * np.pi * np.arange(pilots.devices) / pilots.devices)
    return np.ascontiguousarray(pilots.rows.T, np.int32), (np.sqrt(pilots.power) * phase).astype(np.complex64)
