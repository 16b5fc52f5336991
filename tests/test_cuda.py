"""The CUDA kernel, where there is a GPU; what is said about CUDA where there is none."""

import numpy as np
import pytest
from problems import SIZES, complex_normal

from jadce_fast import _core, dft_pilots, ops

torch = pytest.importorskip("torch")
gpu = pytest.mark.skipif(
    not (torch.cuda.is_available() and _core.cuda_built), reason="needs a GPU and a build with nvcc"
)


def test_says_why_there_is_no_gpu():
    count, reason = _core.cuda_devices()
    assert (count > 0) == (reason == "")


@gpu
@pytest.mark.parametrize("size", SIZES)
def test_gather_equals_the_cpu(size):
    p = SIZES[size]
    pilots = dft_pilots(p["devices"], p["symbols"], p["subcarriers"], power=0.7)
    rng = np.random.default_rng(0)
    n = p["subcarriers"]
    basis = np.linalg.qr(complex_normal(rng, n, n))[0][:, : max(1, n - 1)].astype(np.complex64)
    plan = ops.Transform(pilots, p["antennas"], basis)
    r = complex_normal(rng, p["symbols"], n, p["antennas"]).astype(np.complex64)
    devices = rng.permutation(p["devices"])[:7]
    expected = ops.gather(plan, r, devices)
    found = ops.gather(plan, torch.from_numpy(r).cuda(), torch.from_numpy(devices).cuda())
    error = np.linalg.norm(found.cpu().numpy() - expected) / np.linalg.norm(expected)
    assert error <= 16 * np.finfo(np.float32).eps  # both sum T N products in single precision, in another order


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
