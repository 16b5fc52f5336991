"""The CUDA kernels of the score network against its definition in double precision."""

import copy

import numpy as np
import pytest
import torch
from kernels import EPS, denoise, error
from problems import complex_normal
from rounded import disturbed, rounded

import jadce_fast as jf
from jadce_fast.campaigns.ofdm_drop import Scenario, draw_drop
from jadce_fast.priors.beam_network import BeamNetwork
from jadce_fast.priors.files import load_prior

SHAPES = [(3, 8, 12, 3, 5, (1, 2)), (1, 4, 1, 1, 1, (1,)), (6, 12, 40, 2, 7, (1, 3)), (2, 4, 9, 1, 3, (4,))]


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


def used_outputs(backend, network, m, counts, capacity, level, tensor):
    """What the kernel found for used candidates, the others being untouched, and their z and v."""
    z, v = problem(network, m, (len(counts), capacity), level)
    used = np.arange(capacity) < np.array(counts)[:, None]
    found = denoise(backend, network, z, v, counts, tensor=tensor)
    for values in found:
        assert np.isnan(values[~used]).all()
    return [values[used] for values in found], z[used], v[used]


def rounding_error(single, exact):
    """Thrice the error of torch in single precision, whose sums have another order; at least sixteen roundings."""
    return max(3 * error(single, exact), 16 * EPS)


def check_single(backend, network, m, counts, capacity, level):
    found, z, v = used_outputs(backend, network, m, counts, capacity, level, False)
    exact, single = definition(copy.deepcopy(network).double(), z, v), definition(network, z, v)
    for at in range(2):
        assert error(found[at], exact[at]) <= rounding_error(single[at], exact[at])


def check_tensor(backend, network, m, counts, capacity, level, apart=False):
    """Against the unrounded network: thrice what relative errors of the size of rounding do, at random.

    And against the rounded one. A sum in single precision that is off by g EPS crosses the middle of two bfloat16
    numbers with a probability of g EPS / (2 UNIT) and is then off by 2 UNIT, which makes later sums cross: one crossing
    is worth about one rounding of everything. Without any, single precision is left. `apart`: with some hundred
    roundings most candidates have none, so that the median candidate shows single precision.
    """
    found, z, v = used_outputs(backend, network, m, counts, capacity, level, True)
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


@pytest.mark.parametrize("m", [1, 5, 8, 20, 32, 33])
@pytest.mark.parametrize("shape", SHAPES)
def test_random_networks(backend, shape, m):
    network = random_network(*shape)
    check_single(backend, network, m, [3], 4, 0.1)
    check_tensor(backend, network, m, [5], 6, 0.1, apart=m <= 8)


@pytest.mark.parametrize("name", ["cdl-tiny", "cdl"])
@pytest.mark.parametrize("level", [1e-3, 1.0, 1e3])
def test_shipped_networks(backend, name, level):
    network = load_prior(name).network
    check_single(backend, network, 32, [2], 2, level)
    check_tensor(backend, network, 32, [2], 2, level)
    check_tensor(backend, network, 1, [9], 9, level, apart=True)


@pytest.mark.parametrize("counts", [[0, 1, 5], [5, 5, 2], [1], [5]])
def test_independent_blocks(backend, counts):
    network = random_network(*SHAPES[0])
    check_single(backend, network, 8, counts, 5, 0.1)
    check_tensor(backend, network, 8, counts, 5, 0.1, apart=sum(counts) > 4)


@pytest.mark.parametrize("tensor", [False, True], ids=["single", "tensor"])
def test_blocks_that_are_not_enabled(backend, tensor):
    network = random_network(*SHAPES[0])
    z, v = problem(network, 8, (3, 2), 0.1)
    for values in denoise(backend, network, z, v, [2, 2, 1], enabled=[0, 1, 1], tensor=tensor):
        assert np.isnan(values[0]).all()
        assert np.isnan(values[2, 1]).all()
        assert np.isfinite(values[1]).all()
        assert np.isfinite(values[2, 0]).all()


def test_same_bits_in_every_place(backend):
    """Which block and pass a candidate falls to does not matter."""
    network = random_network(*SHAPES[2])
    z, v = problem(network, 20, (1, 1), 0.1)
    repeated = denoise(backend, network, z.repeat(7, 1), v.repeat(7, 1), [7], tensor=True)
    for values in repeated:
        assert np.array_equal(values, values[:, :1].repeat(7, 1))


def test_weights_that_do_not_stay(backend):
    """More than a multiprocessor holds: layers come one after another, also for the next candidate."""
    check_tensor(backend, load_prior("cdl-large").network, 16, [2, 3], 3, 0.1)


def test_refusals(backend):
    z, v = np.zeros((1, 1, 2, 4), np.complex64), np.ones((1, 1, 4), np.float32)
    with pytest.raises(
        RuntimeError, match=r"expected width \(taps \+ 1\) to be a multiple of four, found width 3, taps 1"
    ):
        denoise(backend, random_network(2, 3, 8, 1, 1, (1,)), z, v, [1])
    z, v = np.zeros((1, 1, 2, 4096), np.complex64), np.ones((1, 1, 4096), np.float32)
    network = random_network(2, 8, 8, 1, 3, (1,))
    with pytest.raises(RuntimeError, match="beam_network: activations of 4096 antennas need 524288 bytes"):
        denoise(backend, network, z, v, [1])
    with pytest.raises(RuntimeError, match="beam_network_tensor: activations of 4096 antennas and two layers need"):
        denoise(backend, network, z, v, [1], tensor=True)
    shape = backend.native.NetworkShape(width=8, hidden=8, blocks=1, taps=3)
    assert backend.native.beam_network_tensor_fits(shape=shape, coefficients=2, antennas=256)
    assert not backend.native.beam_network_tensor_fits(shape=shape, coefficients=2, antennas=4096)


class RoundedPrior:
    """A prior whose network computes as tensor cores do."""

    beamspace, closed_form = True, False

    def __init__(self, prior):
        self.subcarriers, self.basis, self.eigenvalues = prior.subcarriers, prior.basis, prior.eigenvalues
        self.beam_gain, self.beam_weight = prior.beam_gain, prior.beam_weight
        self.network = rounded(prior.network)

    def denoise(self, z, v, devices):
        mean, var = definition(self.network, z, v)
        return mean.astype(np.complex64), var


@pytest.mark.parametrize("name", ["cdl-tiny", "cdl"])
def test_rounding_costs_a_detection_nothing(one_thread, name):
    """Twelve drops; 0.1 dB is a fiftieth of what a step of 5 dB of the pilots' power makes."""
    prior = load_prior(name)
    for snr_db in (0.0, 10.0, 20.0, 30.0):
        lost = np.zeros(2)
        for seed in range(3):
            drop = draw_drop(Scenario(devices=200, symbols=10, snr_db=snr_db), seed=seed)
            for i, used in enumerate((prior, RoundedPrior(prior))):
                out = jf.Receiver(drop.pilots, 32, used, 0.05, threads=1).detect(drop.y, drop.noise_var)
                assert np.array_equal(out.active, drop.active)
                lost[i] += np.linalg.norm(out.channels - drop.channels) ** 2
        assert abs(10 * np.log10(lost[1] / lost[0])) <= 0.1
