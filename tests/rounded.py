"""Beam networks and what their kernels must give, in single precision and with operands rounded to bfloat16."""

import copy

import numpy as np
import torch
from kernels import EPS, error
from problems import complex_normal

from jadce_fast.priors.beam_network import BeamNetwork

UNIT = 2.0**-8  # largest relative error of rounding to bfloat16
SHAPES = [(3, 8, 12, 3, 5, (1, 2)), (1, 4, 1, 1, 1, (1,)), (6, 12, 40, 2, 7, (1, 3)), (2, 4, 9, 1, 3, (4,))]


def to_bfloat16(x):
    return x.to(torch.bfloat16).to(x.dtype)


def disturbed(x):
    """Relative errors as large as those of rounding, at random."""
    return x * (1 + UNIT * (2 * torch.rand_like(x) - 1))


class Rounded(torch.nn.Module):
    """A dense layer with rounded weights and inputs."""

    def __init__(self, layer, rounding):
        super().__init__()
        self.rounding = rounding
        self.register_buffer("weight", rounding(layer.weight.detach()))
        self.register_buffer("bias", layer.bias.detach())

    def forward(self, x):
        return torch.nn.functional.linear(self.rounding(x), self.weight, self.bias)


def rounded(network, rounding=to_bfloat16):
    """A copy of the network; sums and all else stay in its precision."""
    network = copy.deepcopy(network)
    network.inp, network.out = Rounded(network.inp, rounding), Rounded(network.out, rounding)
    for block in network.body:
        block.expand, block.mix = Rounded(block.expand, rounding), Rounded(block.mix, rounding)
    return network


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


def definition(network, z, v):
    """Mean (..., P, M) and variance (..., M) of the eager network in its own precision."""
    p, dtype = network.coefficients, network.eigenvalues.dtype
    shape, m = z.shape[:-2], z.shape[-1]
    stacked = torch.from_numpy(np.concatenate([z.real, z.imag], -2)).to(dtype).reshape(-1, 2 * p, m)
    with torch.no_grad():
        h, var = network(stacked, torch.from_numpy(v).to(dtype).reshape(-1, m))
    h = h.numpy().reshape(*shape, 2 * p, m)
    return h[..., :p, :] + 1j * h[..., p:, :], var.numpy().reshape(v.shape)


def problem(network, m, shape, level):
    rng = np.random.default_rng(m)
    v = (level * rng.uniform(0.1, 2, (*shape, m))).astype(np.float32)
    power = network.eigenvalues.numpy()[:, None]
    z = (np.sqrt(power + v[..., None, :]) * complex_normal(rng, *shape, network.coefficients, m)).astype(np.complex64)
    return z, v


def rounding_error(single, exact):
    """Thrice the error of torch in single precision, whose sums have another order; at least sixteen roundings."""
    return max(3 * error(single, exact), 16 * EPS)


def assert_single(network, z, v, found):
    """Mean and variance are those of the definition."""
    exact, single = definition(copy.deepcopy(network).double(), z, v), definition(network, z, v)
    for at in range(2):
        assert error(found[at], exact[at]) <= rounding_error(single[at], exact[at])


def assert_rounded(network, z, v, found, apart=False):
    """Against the unrounded network: thrice what relative errors of the size of rounding do, at random.

    And against the rounded one. A sum in single precision that is off by g EPS crosses the middle of two bfloat16
    numbers with a probability of g EPS / (2 UNIT) and is then off by 2 UNIT, which makes later sums cross: one crossing
    is worth about one rounding of everything. Without any, single precision is left. `apart`: with some hundred
    roundings most candidates have none, so that the median candidate shows single precision.
    """
    double, model = copy.deepcopy(network).double(), rounded(network)
    exact, expected, single = definition(double, z, v), definition(rounded(double), z, v), definition(model, z, v)
    torch.manual_seed(0)
    disturbances = [definition(rounded(double, disturbed), z, v) for _ in range(8)]
    for at in range(2):
        by_rounding = np.sqrt(np.mean([error(x[at], exact[at]) ** 2 for x in disturbances]))
        assert error(found[at], exact[at]) <= 3 * by_rounding
        assert error(found[at], expected[at]) <= max(rounding_error(single[at], expected[at]), by_rounding)
        if apart:
            each = zip(found[at], expected[at], single[at], strict=True)
            assert np.median([error(f, e) / rounding_error(s, e) for f, e, s in each]) <= 1
