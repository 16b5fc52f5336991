"""jadce_fast.ops on arrays of a GPU, against the CPU's; without a GPU their Python side runs on the emulator."""

import numpy as np
import pytest
import torch
from kernels import EPS, error, gpu
from problems import SIZES, complex_normal, qpsk_pilots

from jadce_fast import dft_pilots, ops
from jadce_fast.cuda import ops as cuda_ops
from jadce_fast.cuda.transform import CudaTransform


class Case:
    """A plan, measurements, some devices and their coefficients, on the CPU and as tensors."""

    def __init__(self, size, kind, device, merge=1):
        p, rng = SIZES[size], np.random.default_rng(0)
        k, n, t, m = p["devices"], p["subcarriers"], p["symbols"], p["antennas"]
        pilots = (dft_pilots if kind == "dft" else qpsk_pilots)(k, t, n)
        basis = np.linalg.qr(complex_normal(rng, n, n))[0][:, : max(1, n - 1)]
        self.plan = ops.Transform(pilots, m, basis, merge=merge)
        self.r = complex_normal(rng, t, n, m).astype(np.complex64)
        self.devices = rng.permutation(k)[:7]
        self.s = complex_normal(rng, len(self.devices), basis.shape[1], m).astype(np.complex64)
        self.on_device = [torch.from_numpy(x).to(device) for x in (self.r, self.devices, self.s)]


@pytest.mark.parametrize("kind", ["dft", "qpsk"])
@pytest.mark.parametrize("size", SIZES)
def test_operations(gpu_device, size, kind):
    """Both add up T N products, or T A, in single precision, in another order."""
    c = Case(size, kind, gpu_device)
    r, devices, s = c.on_device
    for found, expected in (
        (cuda_ops.beamspace(c.plan, r), ops.beamspace(c.plan, c.r)),
        (cuda_ops.gather(c.plan, r, devices), ops.gather(c.plan, c.r, c.devices)),
        (cuda_ops.project(c.plan, devices, s), ops.project(c.plan, c.devices, c.s)),
    ):
        assert found.device == gpu_device
        assert error(found.cpu().numpy(), expected) <= 16 * EPS
    # All devices: the CPU's direct correlation serves pilots of both kinds.
    everyone = np.arange(c.plan.pilots.devices)
    z = ops.gather(c.plan, c.r, everyone)
    assert error(cuda_ops.matched_filter(c.plan, r).cpu().numpy(), z) <= 16 * EPS
    assert np.array_equal(c.on_device[0].cpu().numpy(), c.r)


@pytest.mark.parametrize("method", ["spectral", "spectral_large", "direct"])
@pytest.mark.parametrize("merge", [1, 5])
def test_energies(gpu_device, monkeypatch, method, merge):
    if method != "spectral":
        monkeypatch.setattr(CudaTransform, "most_points", 64)
    c = Case("odd" if method != "direct" else "prime", "dft", gpu_device, merge)
    found = cuda_ops.energies(c.plan, c.on_device[0])
    assert c.plan.on_device[gpu_device].method == method
    assert error(found.cpu().numpy(), ops.energies(c.plan, c.r)) <= 32 * EPS


@pytest.mark.parametrize("shape", [(1, 1, 1), (37, 5, 3), (130, 12, 32), (0, 2, 3)])
@pytest.mark.parametrize("powers", [(1.0,), (0.1, 1.0, 3.0)])
def test_activity_llr(gpu_device, shape, powers):
    """Both sum exponents of some thousands in single precision."""
    rng = np.random.default_rng(1)
    k, groups, m = shape
    share = np.full(len(powers), 1 / len(powers))
    count = rng.integers(1, 5, groups)
    gain, weight = np.array([0.01, 0.3, 1, 5]), np.array([0.4, 0.3, 0.2, 0.1])
    plan = ops.activity_plan(np.linspace(2, 0.1, groups), gain, weight, powers, share, count)
    energy = (count[:, None] * rng.exponential(size=shape)).astype(np.float32)
    null = rng.uniform(0.5, 2, (groups, m)).astype(np.float32)
    expected = ops.activity_llr(plan, energy, null)
    terms = (energy / null).sum((1, 2)) + m * count.sum()
    on_device = torch.from_numpy(energy).to(gpu_device)
    devices_last = on_device.permute(1, 2, 0).contiguous().permute(2, 0, 1)
    for e in (on_device, devices_last):
        found = cuda_ops.activity_llr(plan, e, torch.from_numpy(null).to(gpu_device))
        assert found.shape == (k,)
        assert np.all(abs(found.cpu().numpy() - expected) <= 16 * EPS * terms)


def test_what_activity_llr_refuses(gpu_device):
    plan = ops.activity_plan([1.0, 0.5], [1.0], [1.0])
    e, null = torch.ones(7, 2, 3, device=gpu_device), torch.ones(2, 3, device=gpu_device)
    with pytest.raises(ValueError, match=r"energy: expected shape \(K, 2, M\), found \(7, 1, 3\)"):
        cuda_ops.activity_llr(plan, e[:, :1], null)
    with pytest.raises(ValueError, match=r"null: expected shape \(2, 3\), found \(2, 1\)"):
        cuda_ops.activity_llr(plan, e, null[:, :1])
    with pytest.raises(ValueError, match="null: expected positive variances, found 0"):
        cuda_ops.activity_llr(plan, e, 0 * null)
    with pytest.raises(TypeError, match=r"energy: expected float32 without gradients, found torch.float64"):
        cuda_ops.activity_llr(plan, e.double(), null)
    with pytest.raises(TypeError, match=r"null: expected an array on .*, found ndarray"):
        cuda_ops.activity_llr(plan, e, null.cpu().numpy())


def test_what_does_not_fit(gpu_device):
    c = Case("plain", "dft", gpu_device)
    r, devices, s = c.on_device
    with pytest.raises(TypeError, match="r: expected complex64 on .*, found torch.complex128"):
        cuda_ops.gather(c.plan, r.to(torch.complex128), devices)
    with pytest.raises(ValueError, match=r"r: expected shape \(12, 8, 8\), found \(2, 8, 8\)"):
        cuda_ops.matched_filter(c.plan, r[:2])
    with pytest.raises(ValueError, match="y: expected a C-contiguous array"):
        cuda_ops.beamspace(c.plan, r.transpose(0, 1))
    with pytest.raises(TypeError, match="devices: expected integers of shape"):
        cuda_ops.gather(c.plan, r, devices.to(torch.float32))
    with pytest.raises(ValueError, match="devices: expected 0 to 63, found 0 to 64"):
        cuda_ops.gather(c.plan, r, torch.tensor([0, 64]))
    with pytest.raises(ValueError, match="coefficients: expected shape"):
        cuda_ops.project(c.plan, devices, s[:3])
    with pytest.raises(TypeError, match="r: expected an array on a GPU, found ndarray"):
        cuda_ops.matched_filter(c.plan, c.r)


@gpu
def test_ops_go_where_their_arrays_are():
    device = torch.device("cuda", torch.cuda.current_device())
    c = Case("plain", "dft", device)
    r, devices, _ = c.on_device
    assert ops.gather(c.plan, r, devices).device == device
    assert ops.energies(c.plan, r).shape == (64, 7, 8)
    with pytest.raises(ValueError, match="out: expected None with arrays on a GPU"):
        ops.matched_filter(c.plan, r, out=np.empty((64, 7, 8), np.complex64))
    cupy = pytest.importorskip("cupy")
    found = ops.matched_filter(c.plan, cupy.from_dlpack(r))
    assert isinstance(found, cupy.ndarray)
    assert error(cupy.asnumpy(found), ops.matched_filter(c.plan, c.r)) <= 16 * EPS
