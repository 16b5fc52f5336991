"""`jadce_fast.ops` on a GPU: torch, CuPy and other arrays there in, results of the same kind out, no copies."""

from __future__ import annotations

from typing import Any

import torch

from .. import _core
from ..transform import Transform
from . import arrays
from . import device as cuda_device
from .transform import CudaTransform, mixture_tables


def beamspace(plan: Transform, y: Any) -> Any:
    """See `ops.beamspace`."""
    t, x = _planned(plan, "y", y)
    out, power = torch.empty_like(x), torch.empty(plan.pilots.subcarriers, dtype=torch.float64, device=x.device)
    given = torch.zeros(2, dtype=torch.int64, device=x.device)
    native, stream = t.device.native, t.device.stream()
    with t.device.here():
        native.set_input(y=x.data_ptr(), noise_var=1.0, blocks=1, input=given.data_ptr(), stream=stream)
        native.beamspace(
            input=given.data_ptr(),
            dft=t.address("dft"),
            sizes=t.sizes(1),
            y=out.data_ptr(),
            power=power.data_ptr(),
            stream=stream,
        )
    return arrays.like(out, y)


def matched_filter(plan: Transform, r: Any) -> Any:
    """See `ops.matched_filter`."""
    t, x = _planned(plan, "r", r)
    z = torch.empty((plan.pilots.devices, plan.coefficients, plan.antennas), dtype=torch.complex64, device=x.device)
    _statistics(t, x, t.device.native.StatisticsOutput(z=z.data_ptr(), merge=1))
    return arrays.like(z, r)


def energies(plan: Transform, r: Any) -> Any:
    """See `ops.energies`; the result is a view of an array that has devices last."""
    t, x = _planned(plan, "r", r)
    out = torch.empty((plan.groups, plan.antennas, plan.pilots.devices), dtype=torch.float32, device=x.device)
    _statistics(t, x, t.device.native.StatisticsOutput(energy=out.data_ptr(), merge=plan.merge))
    return arrays.like(out.permute(2, 0, 1), r)


def gather(plan: Transform, r: Any, devices: Any) -> Any:
    """See `ops.gather`."""
    t, x = _planned(plan, "r", r)
    index = _index(plan, devices, x.device)
    z = torch.empty((len(index), plan.coefficients, plan.antennas), dtype=torch.complex64, device=x.device)
    with t.device.here():
        t.device.native.gather(
            r=x.data_ptr(),
            pilots=t.pilots,
            basis=t.address("basis"),
            device=index.data_ptr(),
            known=False,
            capacity=len(index),
            sizes=t.sizes(1),
            z=z.data_ptr(),
            stream=t.device.stream(),
        )
    return arrays.like(z, r)


def project(plan: Transform, devices: Any, coefficients: Any) -> Any:
    """See `ops.project`."""
    x = arrays.checked("coefficients", coefficients, (len(devices), plan.coefficients, plan.antennas))
    t = _transform(plan, x.device)
    index = _index(plan, devices, x.device)
    n, m = plan.pilots.subcarriers, plan.antennas
    r = torch.empty((plan.pilots.symbols, n, m), dtype=torch.complex64, device=x.device)
    power = torch.empty((n, m), dtype=torch.float32, device=x.device)
    with t.device.here():
        t.device.native.residual(
            pilots=t.pilots,
            basis=t.address("basis"),
            s=x.data_ptr(),
            device=index.data_ptr(),
            capacity=len(index),
            sizes=t.sizes(1),
            r=r.data_ptr(),
            power=power.data_ptr(),
            stream=t.device.stream(),
        )
    return arrays.like(r.neg_(), coefficients)


def activity_llr(plan: _core.ActivityPlan, energy: Any, null: Any) -> Any:
    """See `ops.activity_llr`; energies with devices last in memory, as `energies` gives them, are not copied."""
    groups = len(plan.tables["multiplicity"])
    e = arrays.checked_real("energy", energy, ("K", groups, "M"))
    level = arrays.checked_real("null", null, tuple(e.shape[1:]), e.device).contiguous()
    if level.numel() and not float(level.min()) > 0:
        raise ValueError(f"null: expected positive variances, found {float(level.min()):g}")
    k, _, m = e.shape
    if k == 0:
        return arrays.like(torch.empty(0, dtype=torch.float32, device=e.device), energy)
    e = e.permute(1, 2, 0).contiguous()
    if e.device not in plan.on_device:
        plan.on_device[e.device] = {name: torch.from_numpy(a).to(e.device) for name, a in plan.tables.items()}
    quads = -(-len(plan.tables["product"]) // 4)
    kinds = {"null": (groups, m), "slope": (m, quads, groups, 4), "offset": (m, quads, 4), "llr": (k,)}
    out = {name: torch.empty(shape, dtype=torch.float32, device=e.device) for name, shape in kinds.items()}
    posterior, idle = torch.empty_like(out["llr"]), torch.empty(k, dtype=torch.uint8, device=e.device)
    device = cuda_device.open_device(e.device)
    native, stream = device.native, device.stream()
    shared = {
        "energies": native.Energies(energy=e.data_ptr(), rows=groups, merge=1, devices=k, antennas=m, batch=1),
        "mixture": mixture_tables(native, plan.on_device[e.device]),
        "stream": stream,
    }
    with device.here():
        native.activity_table(
            **shared,
            sums=level.data_ptr(),
            null=out["null"].data_ptr(),
            slope=out["slope"].data_ptr(),
            offset=out["offset"].data_ptr(),
        )
        native.activity(
            **shared,
            slope=out["slope"].data_ptr(),
            offset=out["offset"].data_ptr(),
            log_odds=0.0,
            llr=out["llr"].data_ptr(),
            posterior=posterior.data_ptr(),
            idle=idle.data_ptr(),
        )
    return arrays.like(out["llr"], energy)


def _statistics(t: CudaTransform, r: torch.Tensor, out: Any) -> None:
    """Statistics of all devices for one block."""
    with t.device.here():
        t.statistics(t.work(1), r=r.data_ptr(), sizes=t.sizes(1), out=out, stream=t.device.stream())


def _planned(plan: Transform, name: str, array: Any) -> tuple[CudaTransform, torch.Tensor]:
    """Tables on the array's device, and the array (T, N, M) as a tensor."""
    tensor = arrays.checked(name, array, (plan.pilots.symbols, plan.pilots.subcarriers, plan.antennas))
    return _transform(plan, tensor.device), tensor


def _transform(plan: Transform, device: torch.device) -> CudaTransform:
    if device not in plan.on_device:
        plan.on_device[device] = CudaTransform(cuda_device.open_device(device), plan)
    found: CudaTransform = plan.on_device[device]
    return found


def _index(plan: Transform, devices: Any, device: torch.device) -> torch.Tensor:
    """Devices (A,) as int32 on the GPU; their range is checked, which waits for it."""
    tensor = devices if isinstance(devices, torch.Tensor) else torch.as_tensor(devices)
    if tensor.dtype not in (torch.int32, torch.int64) or tensor.ndim != 1:
        raise TypeError(f"devices: expected integers of shape (A,), found {tensor.dtype} {tuple(tensor.shape)}")
    index = tensor.to(device=device, dtype=torch.int32)
    if len(index) and not 0 <= int(index.min()) <= int(index.max()) < plan.pilots.devices:
        raise ValueError(
            f"devices: expected 0 to {plan.pilots.devices - 1}, found {int(index.min())} to {int(index.max())}"
        )
    return index
