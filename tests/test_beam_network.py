"""The CPU's kernels of the score network against its definition, on every instruction set."""

import numpy as np
import pytest
import torch
from rounded import SHAPES, assert_rounded, assert_single, problem, random_network

import jadce_fast as jf
from jadce_fast import _core
from jadce_fast.campaigns.ofdm_drop import Scenario, draw_drop
from jadce_fast.denoisers import native_network
from jadce_fast.metrics import score
from jadce_fast.priors.files import load_prior

torch.set_num_threads(1)


def denoised(network, z, v, bf16, isa):
    return native_network(network.weights(), bf16).denoise(z, v, isa)


@pytest.mark.parametrize("isa", _core.variants())
@pytest.mark.parametrize("m", [1, 16, 20, 33])
@pytest.mark.parametrize("shape", [*SHAPES, (2, 4, 9, 2, 7, (8, 16))])
def test_random_networks(shape, m, isa):
    network = random_network(*shape)
    z, v = problem(network, m, (3,), 0.1)
    assert_single(network, z, v, denoised(network, z, v, False, isa))
    assert_rounded(network, z, v, denoised(network, z, v, True, isa))


@pytest.mark.parametrize("isa", _core.variants())
@pytest.mark.parametrize("name", ["cdl-tiny", "cdl-wide"])
@pytest.mark.parametrize("level", [1e-3, 1.0, 1e3])
def test_shipped_networks(name, level, isa):
    network = load_prior(name).network
    z, v = problem(network, 32, (2,), level)
    assert_single(network, z, v, denoised(network, z, v, False, isa))
    assert_rounded(network, z, v, denoised(network, z, v, True, isa))


@pytest.mark.parametrize("bf16", [False, True])
@pytest.mark.parametrize("isa", _core.variants())
def test_devices_do_not_touch_each_other(isa, bf16):
    """What one device leaves in the scratch, numbers that are not finite too, is nothing to the next one."""
    network = random_network(*SHAPES[0])
    z, v = problem(network, 5, (4,), 0.1)
    alone = [denoised(network, z[i : i + 1], v[i : i + 1], bf16, isa) for i in range(4)]
    z[1, 0, 2] = np.nan
    mean, var = denoised(network, z, v, bf16, isa)
    assert np.isnan(mean[1]).any()
    for i in (0, 2, 3):
        assert np.array_equal(mean[i], alone[i][0][0])
        assert np.array_equal(var[i], alone[i][1][0])


@pytest.mark.parametrize(("snr_db", "symbols"), [(0.0, 20), (10.0, 20), (10.0, 10), (30.0, 20)])
def test_rounding_costs_a_detection_little(snr_db, symbols):
    """docs/design.md, "sixteen bits", has at most 0.06 dB over twelve drops; the three here scatter more."""
    lost = {"fp32": 0.0, "bf16": 0.0}
    for seed in range(3):
        drop = draw_drop(Scenario(devices=400, symbols=symbols, snr_db=snr_db), seed=seed)
        for network in lost:
            out = jf.Receiver(drop.pilots, 32, "cdl", 0.05, network=network).detect(drop.y, drop.noise_var)
            errors = score(out, drop.active, drop.channels)
            assert errors.missed + errors.false_alarms == 0
            lost[network] += errors.nmse
    assert abs(10 * np.log10(lost["bf16"] / lost["fp32"])) <= 0.1


def test_the_choice():
    pilots = jf.dft_pilots(20, 4, 48)
    fast = "bf16" if _core.fast_bf16() else "fp32"
    for network, chosen in (("auto", fast), ("bf16", "bf16"), ("fp32", "fp32")):
        assert jf.Receiver(pilots, 4, "cdl-tiny", network=network).network == chosen
    assert jf.Receiver(pilots, 4, "gaussian").network is None
