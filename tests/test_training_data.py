"""What networks are trained on: the channel families, their statistics, noise maps, symmetries, losses."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from jadce_fast.priors.beam_network import BeamNetwork
from jadce_fast.training import beam, data, evaluate, family, mixture

pytestmark = pytest.mark.usefixtures("one_thread")
CPU = torch.device("cpu")


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


TABLES = family.load_tables(CPU)


def test_tables():
    assert TABLES.delay.shape == (2, 5, 24)
    torch.testing.assert_close(TABLES.power.sum(2), torch.ones(2, 5))
    assert TABLES.specular.sum(2).tolist() == [[0, 0, 0, 1, 1]] * 2


@pytest.mark.parametrize("case", [("cdl", None), ("wide", None), ("random-C", None), ("C", 1), ("D", 0)])
def test_paths_and_channels(case):
    paths = family.draw_paths(TABLES, 200, seeded(), *case)
    torch.testing.assert_close(paths.power.sum((1, 2)), torch.ones(200))
    assert (paths.delay >= 0).all()
    assert (paths.phase_step.abs() <= torch.pi).all()
    h = family.channels(paths, seeded(1))
    assert h.shape == (200, family.SUBCARRIERS, family.ANTENNAS)
    torch.testing.assert_close(h.abs().square().mean((1, 2)), torch.ones(200))
    torch.testing.assert_close(h, family.channels(family.draw_paths(TABLES, 200, seeded(), *case), seeded(1)))


def test_line_of_sight_is_one_ray():
    paths = family.draw_paths(TABLES, 4, seeded(), "D", 0)
    assert (paths.power[:, 0, 0] > 0.8).all()
    assert (paths.power[:, 0, 1:] == 0).all()
    assert (paths.power[:, 1] > 0).all()


def test_random_c_has_angles_and_delays_of_no_table():
    """Cai VI-A.1: delays of unit spread times 100 to 363 ns, azimuths all round, and powers around those of CDL-C."""
    paths = family.draw_paths(TABLES, 8000, seeded(5), "random-C", 1)
    power = paths.power.sum(2)
    there = power > 0
    assert (there.sum(1) == (TABLES.power[1, 2] > 0).sum()).all()
    # Exponential delays of unit mean: the last of 24 is 3.8 spreads late on the mean, the harmonic sum, less the first.
    late = paths.delay.amax(1).mean() / 231.5e-9
    assert late == pytest.approx(sum(1 / i for i in range(1, 25)) - 1 / 24, rel=0.03)
    # A step from antenna to antenna of random azimuths is as often positive as negative in every cluster.
    assert ((paths.phase_step[:, :, 0] > 0).float().mean(0) - 0.5).abs().max() < 5 * 0.5 / 8000**0.5
    level = power.log().mean(0) - power.log().mean()
    table = TABLES.power[1, 2].log()
    torch.testing.assert_close(level, table - table.mean(), atol=0.1, rtol=0)
    (case, *_) = data.Family("random-C", CPU).held_out(2)
    assert case.name == "CDL-C arrival"


def test_channels_are_their_paths():
    """The batched sums against the definition, path by path, in double precision."""
    paths = family.draw_paths(TABLES, 1, seeded(2), "A", 1)
    phase = 2 * np.pi * torch.rand(paths.power.shape, generator=seeded(3)).double().numpy()[0]
    n, m = np.arange(family.SUBCARRIERS), np.arange(family.ANTENNAS)
    h = np.zeros((len(n), len(m)), complex)
    for c in range(paths.delay.shape[1]):
        for r in range(paths.power.shape[2]):
            gain = math.sqrt(paths.power[0, c, r]) * np.exp(1j * phase[c, r])
            frequency = np.exp(-2j * np.pi * family.SPACING * n * float(paths.delay[0, c]))
            h += gain * np.outer(frequency, np.exp(-1j * m * float(paths.phase_step[0, c, r])))
    h = np.fft.fft(h / np.sqrt((abs(h) ** 2).mean()), axis=1, norm="ortho")
    # Single-precision phases of up to 100 radians: 100 * 6e-8 each.
    np.testing.assert_allclose(family.channels(paths, seeded(3))[0].numpy(), h, atol=1e-4)


def test_klt_is_the_family_covariance():
    basis, value = family.klt(TABLES, seeded(), 4000)
    torch.testing.assert_close(basis.mH @ basis, torch.eye(family.SUBCARRIERS, dtype=torch.complex64))
    assert value.sum().item() == pytest.approx(family.SUBCARRIERS, rel=1e-4)
    assert (value.diff() <= 0).all()
    z = basis.mH @ family.channels(family.draw_paths(TABLES, 1500, seeded(5)), seeded(6))
    power = z.abs().square().mean((0, 2))
    # 1500 channels of some ten independent beams: 2 % on the strong coefficients, the tail's draw is heavier.
    torch.testing.assert_close(power[:3], value[:3], rtol=0.15, atol=0.0)


def test_genie_is_lmmse():
    """Against the dense formula with the full covariance, in double precision."""
    paths = family.draw_paths(TABLES, 1, seeded(7), "C", 0)
    generator = seeded(8)
    y = family.channels(paths, generator) + 0.3 * torch.randn(1, 48, 32, dtype=torch.complex64, generator=generator)
    frequency, space = family.responses(paths)
    space = torch.fft.fft(space.to(torch.complex128), dim=3, norm="ortho")[0]
    a = frequency[0].to(torch.complex128)
    rays = [torch.outer(a[:, c], space[c, r]).flatten() for c in range(24) for r in range(20)]
    g = torch.stack(rays, 1) * paths.power.flatten().double().sqrt()
    cov = g @ g.mH
    flat = y.flatten().to(torch.complex128)
    dense = cov @ torch.linalg.solve(cov + 0.09 * torch.eye(len(cov), dtype=cov.dtype), flat)
    torch.testing.assert_close(family.genie(paths, y, 0.09).flatten(), dense.to(torch.complex64), rtol=0, atol=2e-3)


def test_symmetries_keep_the_array():
    """Shift, mirror image and phase of a plane wave's beams are the beams of a plane wave: of full coherence."""
    angle = 0.37
    wave = torch.fft.fft(torch.polar(torch.ones(32), -angle * torch.arange(32.0)), norm="ortho")
    source, real, imag = beam.symmetries(64, 32, seeded(9))
    moved = wave.expand(64, 1, 32).gather(2, source) * torch.complex(*torch.broadcast_tensors(real, imag))
    antennas = torch.fft.ifft(moved, dim=2, norm="ortho")[:, 0]
    ratio = antennas[:, 1:] / antennas[:, :-1]
    torch.testing.assert_close(ratio, ratio[:, :1].expand_as(ratio), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(ratio.abs(), torch.ones_like(ratio.abs()), rtol=1e-4, atol=1e-4)
    assert len({round(a, 2) for a in ratio[:, 0].angle().tolist()}) > 20


def test_noise_maps():
    v = beam.noise_maps(4000, 32, seeded(10))
    assert (v > 0).all()
    depth = v.max(1).values / v.min(1).values
    assert (depth < 1.001).float().mean().item() == pytest.approx(0.25, abs=0.05)
    assert depth.quantile(0.9) > 10


@pytest.mark.parametrize("antennas", [1, 2, 3])
def test_noise_maps_of_few_antennas(antennas):
    v = beam.noise_maps(20000, antennas, seeded(10))
    assert v.isfinite().all()
    # The level is 52 dB wide and the profile has mean 1; single beams reach up to the number of antennas above it.
    assert (v.mean(1) > 10**-3.7).all()
    assert (v.mean(1) < 10**1.61).all()


def test_variance_loss_is_least_at_the_expected_error():
    generator = seeded(11)
    truth, v = torch.zeros(4000, 2, 1), torch.ones(4000, 1)
    mean = 0.5 * torch.randn(4000, 2, 1, generator=generator)  # error of mean 0.5, exponential
    lam = torch.ones(1)

    def loss(s: float) -> float:
        return float(beam.mean_and_variance_loss(mean, torch.full((4000, 1), s), truth, v, lam, 1)[1])

    assert loss(0.5) < min(loss(0.4), loss(0.6))


def test_wide_family_spans_what_it_says():
    """Root-mean-square delay spreads, cluster spreads and Rician factors of the drawn paths."""
    paths = family.draw_paths(TABLES, 4000, seeded(12), "wide")
    power = paths.power.sum(2)
    mean = (power * paths.delay).sum(1, keepdim=True)
    spread = (power * (paths.delay - mean).square()).sum(1).sqrt() / 1e-9
    # 30 to 1000 ns times the jittered tables' own normalised spread, which is about 1.
    assert spread.quantile(0.02) < 40
    assert spread.quantile(0.98) > 700
    los = paths.power[:, 0, 1] == 0
    assert los.float().mean().item() == pytest.approx(0.25, abs=0.03)  # tables D and E
    rician = 10 * (power[los, 0] / power[los, 1:].sum(1)).log10()
    assert rician.min() > -0.1
    assert rician.max() < 22.1
    assert rician.std() > 5  # uniform over 22 dB: 6.4


def test_genie_curve_is_below_every_network():
    case = data.Family("C", CPU).held_out(8)[:1]
    basis, value = data.Family("C", CPU).klt(seeded())
    network = BeamNetwork(value, 48, **beam.SIZES["tiny"]).eval()
    wiener = evaluate.curve(network, basis, case)["CDL-C arrival"]
    genie = evaluate.genie(case)["CDL-C arrival"]["genie"]
    assert all(g < w - 0.3 for g, w in zip(genie, wiener["nmse"], strict=True))
    assert all(low < high for low, high in zip(wiener["nmse"][1:], wiener["nmse"][:-1], strict=True))


def test_pool_of_any_moment_can_be_made_again():
    source = data.Family("C", CPU)
    basis = torch.eye(48, dtype=torch.complex64)[:, :2]
    pool = data.Pool(source, basis, True, size=64, seed=3)
    for _ in range(3):
        pool.refresh()
    again = data.Pool(source, basis, True, size=64, seed=3)
    again.remake(pool.made)
    torch.testing.assert_close(again.data, pool.data, rtol=0, atol=0)
    assert not torch.equal(data.Pool(source, basis, True, size=64, seed=4).data, pool.data)


def test_beam_powers_of_a_known_mixture():
    """Beams of CDL channels differ in power by more than 100; the fit must be normalised, and of unit mean."""
    basis, value = family.klt(TABLES, seeded(), 4000)
    gain, weight = mixture.fit_beam_powers(data.Family("cdl", CPU), basis[:, :12], value[:12], seeded(1), count=300)
    assert gain.shape == weight.shape == (12,)
    assert (gain.diff() > 0).all()
    assert weight.sum().item() == pytest.approx(1, abs=1e-5)
    # The mean power is 1 by the normalisation of channels; coefficients do not share one factor exactly.
    assert (gain * weight).sum().item() == pytest.approx(1, abs=0.25)
