"""The beam network as tensor cores compute it: operands of its matrix products rounded to bfloat16."""

import copy

import torch

UNIT = 2.0**-8  # largest relative error of rounding to bfloat16


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
