"""`jadce_fast.ops` on a GPU: torch, CuPy and other arrays there in, results of the same kind out, no copies."""

from __future__ import annotations

from typing import Any

import torch

from .. import _core, ops
from ..rules import Rules
from . import arrays as _cuda_arrays
from . import device as _cuda
from .transform import CudaTransform


def beamspace(plan: ops.Transform, y: Any) -> Any:
    """See `ops.beamspace`."""
    t, x = _planned(plan, "y", y)
    _, n, symbols, m, _ = t.sizes
    out, power = torch.empty_like(x), torch.empty(n, dtype=torch.float64, device=x.device)
    given = torch.zeros(2, dtype=torch.int64, device=x.device)
    native, stream = t.machine.native, t.machine.stream()
    with t.machine.here():
        native.cuda_set_input(x.data_ptr(), 1.0, 1, given.data_ptr(), stream)
        arrays = (out.data_ptr(), 0, power.data_ptr())
        native.cuda_beamspace(given.data_ptr(), t.address("dft"), 0, n, symbols, m, 1, *arrays, stream)
    return _cuda_arrays.like(out, y)


def matched_filter(plan: ops.Transform, r: Any) -> Any:
    """See `ops.matched_filter`."""
    t, x = _planned(plan, "r", r)
    k, _, _, m, p = t.sizes
    z = torch.empty((k, p, m), dtype=torch.complex64, device=x.device)
    with t.machine.here():
        t.statistics(x.data_ptr(), 0, 0, 0, 1, 1, 1, t.work(1), z.data_ptr(), 0, t.machine.stream())
    return _cuda_arrays.like(z, r)


def energies(plan: ops.Transform, r: Any) -> Any:
    """See `ops.energies`; the result is a view of an array that has devices last."""
    t, x = _planned(plan, "r", r)
    k, m = t.sizes[0], t.sizes[3]
    out = torch.empty((plan.groups, m, k), dtype=torch.float32, device=x.device)
    with t.machine.here():
        t.statistics(x.data_ptr(), 0, 0, 0, plan.merge, 1, 1, t.work(1), 0, out.data_ptr(), t.machine.stream())
    return _cuda_arrays.like(out.permute(2, 0, 1), r)


def gather(plan: ops.Transform, r: Any, devices: Any) -> Any:
    """See `ops.gather`."""
    t, x = _planned(plan, "r", r)
    index = _index(plan, devices, x.device)
    z = torch.empty((len(index), plan.coefficients, plan.antennas), dtype=torch.complex64, device=x.device)
    with t.machine.here():
        t.machine.native.cuda_gather(
            *(x.data_ptr(), *t.pilots, 0, 0, index.data_ptr()),
            *(0, 0, 0, 0, 0, Rules().native(t.machine.native)),  # neither count nor go, and no scaling
            *(len(index), *t.sizes, 0, 1, z.data_ptr(), 0, 0, 0, 0, t.machine.stream()),
        )
    return _cuda_arrays.like(z, r)


def project(plan: ops.Transform, devices: Any, coefficients: Any) -> Any:
    """See `ops.project`."""
    shape = (len(devices), plan.coefficients, plan.antennas)
    x = _cuda_arrays.checked("coefficients", coefficients, shape)
    t = _transform(plan, x.device)
    index = _index(plan, devices, x.device)
    _, n, symbols, m, _ = t.sizes
    r = torch.empty((symbols, n, m), dtype=torch.complex64, device=x.device)
    power = torch.empty((n, m), dtype=torch.float32, device=x.device)
    with t.machine.here():
        t.machine.native.cuda_residual(
            *(0, 0, 0, 0, *t.pilots, x.data_ptr(), index.data_ptr(), 0, 0, len(index), *t.sizes, 1),
            *(r.data_ptr(), power.data_ptr(), t.machine.stream()),
        )
    return _cuda_arrays.like(r.neg_(), coefficients)


def activity_llr(plan: _core.ActivityPlan, energy: Any, null: Any) -> Any:
    """See `ops.activity_llr`; energies with devices last in memory, as `energies` gives them, are not copied."""
    groups = len(plan.tables["multiplicity"])
    e = _cuda_arrays.checked_real("energy", energy, ("K", groups, "M"))
    level = _cuda_arrays.checked_real("null", null, tuple(e.shape[1:]), e.device).contiguous()
    if level.numel() and not float(level.min()) > 0:
        raise ValueError(f"null: expected positive variances, found {float(level.min()):g}")
    k, _, m = e.shape
    if k == 0:
        return _cuda_arrays.like(torch.empty(0, dtype=torch.float32, device=e.device), energy)
    e = e.permute(1, 2, 0).contiguous()
    if e.device not in plan.on_device:
        plan.on_device[e.device] = {name: torch.from_numpy(a).to(e.device) for name, a in plan.tables.items()}
    table = {name: tensor.data_ptr() for name, tensor in plan.on_device[e.device].items()}
    products, (powers, gains) = len(plan.tables["product"]), plan.tables["index_of"].shape
    quads = -(-products // 4)
    kinds = ((groups, m), (m, quads, groups, 4), (m, quads, 4), (k,), (k,))
    ignored, slope, offset, llr, posterior = (
        torch.empty(shape, dtype=torch.float32, device=e.device) for shape in kinds
    )
    quiet = torch.empty(k, dtype=torch.uint8, device=e.device)
    machine = _cuda.machine(e.device)
    with machine.here():
        machine.native.cuda_activity_table(
            *(0, level.data_ptr(), 0, 0, 0, table["multiplicity"], table["eigenvalue"], table["product"], 0),
            *(
                k,
                m,
                groups,
                1,
                products,
                Rules().native(machine.native),
                1,
                ignored.data_ptr(),
                slope.data_ptr(),
                offset.data_ptr(),
            ),
            machine.stream(),
        )
        machine.native.cuda_activity(
            *(e.data_ptr(), slope.data_ptr(), offset.data_ptr(), table["weight"], table["log_power_weight"]),
            *(table["index_of"], 0, 0.0, Rules().native(machine.native), k, m, groups, 1, products, gains, powers, 1),
            *(llr.data_ptr(), posterior.data_ptr(), quiet.data_ptr(), machine.stream()),
        )
    return _cuda_arrays.like(llr, energy)


def _planned(plan: ops.Transform, name: str, array: Any) -> tuple[CudaTransform, torch.Tensor]:
    """Tables on the array's device, and the array (T, N, M) as a tensor."""
    tensor = _cuda_arrays.checked(name, array, (plan.pilots.symbols, plan.pilots.subcarriers, plan.antennas))
    return _transform(plan, tensor.device), tensor


def _transform(plan: ops.Transform, device: torch.device) -> CudaTransform:
    if device not in plan.on_device:
        plan.on_device[device] = CudaTransform(_cuda.machine(device), plan)
    found: CudaTransform = plan.on_device[device]
    return found


def _index(plan: ops.Transform, devices: Any, device: torch.device) -> torch.Tensor:
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
