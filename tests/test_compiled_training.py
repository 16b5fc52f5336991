"""Beam networks compiled for training: the same answers and gradients, and only where it is worth it."""

from __future__ import annotations

import copy

import pytest
import torch

from jadce_fast.priors.beam_network import BeamNetwork
from jadce_fast.training import compiled
from jadce_fast.training.compiled import compile_blocks, worth_compiling

CPU = torch.device("cpu")


def test_only_long_trainings_on_a_cpu_are_compiled(monkeypatch):
    assert not worth_compiling(2.9, None, CPU)
    assert not worth_compiling(60.0, 2999, CPU)
    assert not worth_compiling(60.0, None, torch.device("cuda"))
    monkeypatch.setenv("CXX", "a-compiler-that-is-not-there")
    compiled.able.cache_clear()
    assert not worth_compiling(60.0, None, CPU)
    compiled.able.cache_clear()


@pytest.mark.slow  # it compiles: twelve seconds
def test_compiled_blocks_have_the_answers_and_gradients_of_others():
    """Kernel sizes that no vector divides, and a reach beyond the array; sums differ in their order alone."""
    if not worth_compiling(60.0, None, CPU):
        pytest.skip("no compiler")
    torch.manual_seed(0)
    plain = BeamNetwork(torch.linspace(3.0, 0.1, 5), 12, width=13, hidden=22, blocks=1, taps=5, dilations=(3,))
    for p in plain.parameters():
        torch.nn.init.normal_(p, std=0.2)
    fast = copy.deepcopy(plain)
    compile_blocks(fast)
    z, v = torch.randn(3, 10, 5), 0.1 + torch.rand(3, 5)
    for network in (plain, fast):
        mean, var = network(z, v)
        (mean.square().sum() + var.log().sum()).backward()
    torch.testing.assert_close(fast(z, v), plain(z, v), rtol=1e-4, atol=1e-5)
    for one, other in zip(fast.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-3, atol=1e-4)
    assert copy.deepcopy(fast).state_dict().keys() == plain.state_dict().keys()
