"""`jadce_fast.ops` on a GPU: torch, CuPy and other arrays there in, results of the same kind out, no copies."""

from __future__ import annotations

import math
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
    note = torch.zeros(t.device.native.input_words, dtype=torch.int64, device=x.device)
    with t.device.here():
        t.device.launch("set_input", y=x, noise_var=1.0, blocks=1, deadline=math.inf, input=note)
        t.device.launch("beamspace", input=note, dft=t.tables.get("dft"), sizes=t.sizes(1), y=out, power=power)
    return arrays.like(out, y)


def matched_filter(plan: Transform, r: Any) -> Any:
    """See `ops.matched_filter`."""
    t, x = _planned(plan, "r", r)
    z = torch.empty((plan.pilots.devices, plan.coefficients, plan.antennas), dtype=torch.complex64, device=x.device)
    _statistics(t, x, z=z, merge=1)
    return arrays.like(z, r)


def energies(plan: Transform, r: Any) -> Any:
    """See `ops.energies`; the result is a view of an array that has devices last."""
    t, x = _planned(plan, "r", r)
    out = torch.empty((plan.groups, plan.antennas, plan.pilots.devices), dtype=torch.float32, device=x.device)
    _statistics(t, x, energy=out, merge=plan.merge)
    return arrays.like(out.permute(2, 0, 1), r)


def gather(plan: Transform, r: Any, devices: Any) -> Any:
    """See `ops.gather`."""
    t, x = _planned(plan, "r", r)
    index = _index(plan, devices, x.device)
    z = torch.empty((len(index), plan.coefficients, plan.antennas), dtype=torch.complex64, device=x.device)
    chosen = {"device": index, "known": False, "capacity": len(index), "z": z}
    with t.device.here():
        t.device.launch("gather", r=x, pilots=t.pilots, basis=t.tables.get("basis"), sizes=t.sizes(1), **chosen)
    return arrays.like(z, r)


def project(plan: Transform, devices: Any, coefficients: Any) -> Any:
    """See `ops.project`."""
    x = arrays.checked("coefficients", coefficients, (len(devices), plan.coefficients, plan.antennas))
    t = _transform(plan, x.device)
    index = _index(plan, devices, x.device)
    n, m = plan.pilots.subcarriers, plan.antennas
    r = torch.empty((plan.pilots.symbols, n, m), dtype=torch.complex64, device=x.device)
    power = torch.empty((n, m), dtype=torch.float32, device=x.device)
    fields = {"s": x, "device": index, "capacity": len(index), "r": r, "power": power}
    with t.device.here():
        t.device.launch("residual", pilots=t.pilots, basis=t.tables.get("basis"), sizes=t.sizes(1), **fields)
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
    shared = {
        "energies": device.struct("Energies", energy=e, rows=groups, merge=1, devices=k, antennas=m, batch=1),
        "mixture": mixture_tables(device, plan.on_device[e.device]),
        "slope": out["slope"],
        "offset": out["offset"],
    }
    with device.here():
        device.launch("activity_table", **shared, sums=level, null=out["null"])
        device.launch("activity", **shared, log_odds=0.0, llr=out["llr"], posterior=posterior, idle=idle)
    return arrays.like(out["llr"], energy)


def _statistics(t: CudaTransform, r: torch.Tensor, **out: Any) -> None:
    """Statistics of all devices for one block."""
    with t.device.here():
        to = t.device.struct("StatisticsOutput", **out)
        t.device.launch(t.method, **t.statistics(1), r=r, sizes=t.sizes(1), out=to)


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
