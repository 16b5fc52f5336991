"""The CUDA kernels, emulated and where there is a GPU; what is said about CUDA where there is none."""

import numpy as np
import pytest
import torch
from kernels import Out, gpu, run
from problems import SIZES, complex_normal

from jadce_fast import _core, _cuda, dft_pilots, ops, reference

EPS = np.finfo(np.float32).eps


def error(found, expected):
    """Relative error in the Euclidean norm; not a number if an element is not one."""
    scale = np.linalg.norm(expected)
    return np.linalg.norm(found - expected) / scale if scale else np.linalg.norm(found)


def test_says_why_there_is_no_gpu():
    count, reason = _core.cuda_devices()
    assert (count > 0) == (reason == "")


def measurements(size, seed=0):
    """Pilots, their tables as the kernels want them, a KLT basis and measurements."""
    p = SIZES[size]
    pilots = dft_pilots(p["devices"], p["symbols"], p["subcarriers"], power=0.7)
    rng = np.random.default_rng(seed)
    n = p["subcarriers"]
    basis = np.linalg.qr(complex_normal(rng, n, n))[0][:, : max(1, n - 1)].astype(np.complex64)
    r = complex_normal(rng, p["symbols"], n, p["antennas"]).astype(np.complex64)
    return pilots, basis, r


@pytest.mark.parametrize("size", SIZES)
def test_gather(backend, size):
    pilots, basis, r = measurements(size)
    devices = np.random.default_rng(1).permutation(pilots.devices)[:7]
    rows, twiddle = _cuda.pilot_tables(pilots)
    found = run(
        backend,
        "cuda_gather",
        *(r, rows, twiddle, basis, devices, len(devices), pilots.devices, pilots.subcarriers, pilots.symbols),
        *(r.shape[2], basis.shape[1], Out((len(devices), basis.shape[1], r.shape[2]), np.complex64)),
    )
    exact = reference.klt_statistics(pilots.select().astype(complex), r, basis)[devices]
    assert error(found, exact) <= 16 * EPS  # both sum T N products in single precision, in another order
    assert error(found, ops.gather(ops.Transform(pilots, r.shape[2], basis), r, devices)) <= 16 * EPS


@gpu
@pytest.mark.parametrize("size", SIZES)
def test_gather_of_torch_tensors(size):
    pilots, basis, r = measurements(size)
    plan = ops.Transform(pilots, r.shape[2], basis)
    devices = np.random.default_rng(1).permutation(pilots.devices)[:7]
    found = ops.gather(plan, torch.from_numpy(r).cuda(), torch.from_numpy(devices).cuda())
    assert error(found.cpu().numpy(), ops.gather(plan, r, devices)) <= 16 * EPS


@gpu
def test_gather_refuses_what_does_not_fit():
    plan = ops.Transform(dft_pilots(20, 4, 3), 5, np.eye(3))
    r = torch.zeros(4, 3, 5, dtype=torch.complex64, device="cuda")
    index = torch.zeros(2, dtype=torch.int64, device="cuda")
    with pytest.raises(TypeError, match="devices: expected a torch tensor on cuda:0, found cpu"):
        ops.gather(plan, r, index.cpu())
    with pytest.raises(TypeError, match="r: expected torch.complex64, found torch.complex128"):
        ops.gather(plan, r.to(torch.complex128), index)
    with pytest.raises(ValueError, match="r: expected shape"):
        ops.gather(plan, r[:2], index)
