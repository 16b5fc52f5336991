"""The CUDA kernels of the score network against its definition in double precision."""

import numpy as np
import pytest
from kernels import denoise
from rounded import SHAPES, assert_rounded, assert_single, definition, problem, random_network, rounded

import jadce_fast as jf
from jadce_fast.campaigns.ofdm_drop import Scenario, draw_drop
from jadce_fast.priors.files import load_prior


def used_outputs(backend, network, m, counts, capacity, level, tensor):
    """What the kernel found for used candidates, the others being untouched, and their z and v."""
    z, v = problem(network, m, (len(counts), capacity), level)
    used = np.arange(capacity) < np.array(counts)[:, None]
    found = denoise(backend, network, z, v, counts, tensor=tensor)
    for values in found:
        assert np.isnan(values[~used]).all()
    return [values[used] for values in found], z[used], v[used]


def check_single(backend, network, m, counts, capacity, level):
    found, z, v = used_outputs(backend, network, m, counts, capacity, level, False)
    assert_single(network, z, v, found)


def check_tensor(backend, network, m, counts, capacity, level, apart=False):
    found, z, v = used_outputs(backend, network, m, counts, capacity, level, True)
    assert_rounded(network, z, v, found, apart)


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
