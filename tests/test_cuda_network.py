"""The CUDA kernel of the score network against its definition in double precision."""

import numpy as np
import pytest
import torch
from kernels import EPS, denoise
from problems import complex_normal

from jadce_fast.network import BeamNetwork
from jadce_fast.prior import load_prior


def random_network(coefficients, width, hidden, blocks, taps, dilations):
    generator = torch.Generator().manual_seed(0)
    eigenvalues = torch.logspace(1, -2, coefficients)
    network = BeamNetwork(
        eigenvalues, 2 * coefficients, width=width, hidden=hidden, blocks=blocks, taps=taps, dilations=dilations
    )
    with torch.no_grad():
        for weight in network.parameters():
            weight.copy_(torch.randn(weight.shape, generator=generator) / max(1, weight[0].numel()) ** 0.5)
    return network


def check(backend, network, m, candidates, level):
    rng = np.random.default_rng(m)
    p = network.coefficients
    v = (level * rng.uniform(0.1, 2, (candidates, m))).astype(np.float32)
    power = network.eigenvalues.numpy()[None, :, None]
    z = (np.sqrt(power + v[:, None]) * complex_normal(rng, candidates, p, m)).astype(np.complex64)
    used = max(1, candidates - 1)
    mean, var = denoise(backend, network, z, v, used, candidates)
    assert np.isnan(mean[used:]).all()
    assert np.isnan(var[used:]).all()
    outputs = []
    stacked = torch.from_numpy(np.concatenate([z.real, z.imag], 1))
    for kind in (torch.float32, torch.float64):
        with torch.no_grad():
            h, error = network.to(kind)(stacked.to(kind), torch.from_numpy(v).to(kind))
        outputs.append((h.numpy()[:, :p] + 1j * h.numpy()[:, p:], error.numpy()))
    network.float()
    for found, naive, exact in zip((mean, var), *outputs, strict=True):
        # Thrice the error of torch in single precision, whose sums have another order; at least sixteen roundings.
        scale = np.linalg.norm(exact[:used])
        rounding = max(3 * np.linalg.norm(naive[:used] - exact[:used]) / scale, 16 * EPS)
        assert np.linalg.norm(found[:used] - exact[:used]) / scale <= rounding


@pytest.mark.parametrize("m", [1, 5, 8, 33])
@pytest.mark.parametrize(
    "shape", [(3, 8, 12, 3, 5, (1, 2)), (1, 4, 1, 1, 1, (1,)), (6, 12, 40, 2, 7, (1, 3)), (2, 4, 9, 1, 3, (4,))]
)
def test_random_networks(backend, shape, m):
    check(backend, random_network(*shape), m, 4, 0.1)


@pytest.mark.parametrize("name", ["cdl-tiny", "cdl"])
@pytest.mark.parametrize("level", [1e-3, 1.0, 1e3])
def test_shipped_networks(backend, name, level):
    check(backend, load_prior(name).network, 32, 2, level)


def test_refusals(backend):
    z, v = np.zeros((1, 2, 4), np.complex64), np.ones((1, 4), np.float32)
    with pytest.raises(
        RuntimeError, match=r"expected width \(taps \+ 1\) to be a multiple of four, found width 3, taps 1"
    ):
        denoise(backend, random_network(2, 3, 8, 1, 1, (1,)), z, v, 1, 1)
    z, v = np.zeros((1, 2, 4096), np.complex64), np.ones((1, 4096), np.float32)
    with pytest.raises(RuntimeError, match="beam_network: activations of 4096 antennas need 524288 bytes"):
        denoise(backend, random_network(2, 8, 8, 1, 3, (1,)), z, v, 1, 1)
