"""Priors of other grids of subcarriers and other arrays: their channels, and weights that are carried to them."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

import jadce_fast as jf
from jadce_fast.priors.beam_network import BeamNetwork
from jadce_fast.priors.described import Described
from jadce_fast.priors.files import load_prior
from jadce_fast.priors.grids import on_grid
from jadce_fast.training import beam, data, evaluate, family, mixture, train
from jadce_fast.training.carry import carry
from jadce_fast.training.family import Grid

pytestmark = pytest.mark.usefixtures("one_thread")
CPU = torch.device("cpu")
TABLES = family.load_tables(CPU)
PANEL = Grid(6, 12, 60e3, 3)  # three rows of four antennas


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_channels_of_a_panel_are_their_paths():
    """The batched sums against the definition, path by path, in double precision."""
    paths = family.draw_paths(TABLES, 1, seeded(2), "A", 1)
    phase = 2 * np.pi * torch.rand(paths.power.shape, generator=seeded(3)).double().numpy()[0]
    n, columns, rows = np.arange(6), np.arange(4), np.arange(3)
    h = np.zeros((6, 4, 3), complex)
    for c in range(paths.delay.shape[1]):
        for r in range(paths.power.shape[2]):
            gain = math.sqrt(paths.power[0, c, r]) * np.exp(1j * phase[c, r])
            frequency = np.exp(-2j * np.pi * 60e3 * n * float(paths.delay[0, c]))
            across = np.exp(-1j * columns * float(paths.phase_step[0, c, r]))
            up = np.exp(1j * rows * float(paths.rise[0, c, r]))
            h += gain * frequency[:, None, None] * across[:, None] * up
    h = np.fft.fft2(h / np.sqrt((abs(h) ** 2).mean()), norm="ortho").reshape(6, 12)
    # Single-precision phases of some ten radians: 10 * 6e-8 each.
    np.testing.assert_allclose(family.channels(paths, seeded(3), PANEL)[0].numpy(), h, atol=2e-5)


def test_genie_knows_a_panel():
    """What the genie is told explains all of a channel: without noise nothing is left."""
    paths = family.draw_paths(TABLES, 2, seeded(7), "C", 0)
    h = family.channels(paths, seeded(8), PANEL)
    error = family.genie(paths, h, 1e-5, PANEL) - h
    assert error.abs().square().mean() < 1e-4


def test_symmetries_keep_a_panel():
    """Shift in azimuth, mirror image and phase of a plane wave's beams are the beams of one of the same elevation."""
    column, row = torch.meshgrid(torch.arange(8.0), torch.arange(4.0), indexing="ij")
    antennas = torch.polar(torch.ones(8, 4), -0.37 * column + 0.81 * row)
    wave = torch.fft.fft2(antennas, norm="ortho").flatten()
    source, real, imag = beam.symmetries(64, 32, seeded(9), rows=4)
    moved = wave.expand(64, 1, 32).gather(2, source) * torch.complex(*torch.broadcast_tensors(real, imag))
    back = torch.fft.ifft2(moved.reshape(64, 8, 4), norm="ortho")
    across, up = back[:, 1:] / back[:, :-1], back[:, :, 1:] / back[:, :, :-1]
    torch.testing.assert_close(across, across[:, :1, :1].expand_as(across), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(up, torch.polar(torch.ones(1), torch.tensor([0.81])).expand_as(up), rtol=1e-4, atol=1e-4)
    assert len({round(a, 2) for a in across[:, 0, 0].angle().tolist()}) > 8


def test_weights_carried_to_their_own_grid_are_the_same_network():
    prior = load_prior("cdl-tiny")
    basis, value = torch.from_numpy(prior.basis), torch.from_numpy(prior.eigenvalues)
    phases = torch.polar(torch.ones(12), torch.arange(12.0))
    weights, back = carry(prior, basis * phases, value, Grid())
    torch.testing.assert_close(back, basis, rtol=0, atol=1e-5)
    for name, array in weights.arrays.items():
        np.testing.assert_array_equal(array, prior.weights.arrays[name])
        assert not np.shares_memory(array, prior.weights.arrays[name])


@pytest.mark.parametrize(("grid", "gain"), [(Grid(24, 32, 60e3), 1.5), (Grid(24, 32, 30e3), 0.6)])
def test_weights_carried_to_another_grid_are_worth_having(grid, gain):
    """At 10 dB they are so many dB below the population Wiener estimate at once (2.8 and 1.3 of 64 channels)."""
    prior = load_prior("cdl-tiny")
    basis, value = family.klt(TABLES, seeded(), 4000, "cdl", grid)
    kept = data.significant(value, 1e-4)
    weights, basis = carry(prior, basis[:, :kept], value[:kept], grid)
    wiener = BeamNetwork(value[:kept], 24, **beam.SIZES["tiny"])
    case = data.Family("C", CPU, grid).held_out(24)[1:2]
    before, after = (
        evaluate.curve(network.eval(), basis, case)["CDL-C departure"]["nmse"][2]
        for network in (wiener, BeamNetwork.of(weights))
    )
    assert after < before - gain


def test_a_panel_takes_every_row_for_itself():
    """Weights of one row on a panel: rows mix once it is trained; until then each has the answer of a row alone."""
    prior = load_prior("cdl-tiny")
    basis, value = torch.from_numpy(prior.basis), torch.from_numpy(prior.eigenvalues)
    weights, _ = carry(prior, basis, value, Grid(rows=4))
    assert (weights.rows, weights.dilations) == (4, [4, 1, 8, 1, 4, 1, 8, 1])
    z, v = torch.randn(2, 24, 32, generator=seeded()), 0.1 + torch.rand(2, 32, generator=seeded(1))
    with torch.no_grad():
        together = BeamNetwork.of(weights)(z, v)
        alone = [prior.network(z[..., row::4], v[:, row::4]) for row in range(4)]
    for i in (0, 1):
        # The same sums in another order, 4 blocks deep.
        torch.testing.assert_close(
            together[i], torch.stack([one[i] for one in alone], -1).flatten(-2), rtol=0, atol=1e-4
        )
    with pytest.raises(ValueError, match="init: expected a prior of one row or of 2 rows of antennas, found one of 4"):
        carry(type(prior)(weights, prior.basis, prior.beam_gain, prior.beam_weight, {}), basis, value, Grid(rows=2))


@pytest.fixture
def cheap(monkeypatch):
    klt, held_out, fit = family.klt, data.Family.held_out, mixture.fit_beam_powers
    monkeypatch.setattr(family, "klt", lambda tables, generator, count, *rest: klt(tables, generator, 1000, *rest))
    monkeypatch.setattr(data.Family, "held_out", lambda self, count: held_out(self, min(count, 8))[:1])
    monkeypatch.setattr(beam, "fit_beam_powers", lambda *a: fit(*a, count=100))


@pytest.mark.parametrize("init", [None, "cdl-tiny"])
def test_train_on_a_grid(tmp_path, cheap, jadce, init):
    out = tmp_path / "a.safetensors"
    more = [] if init is None else ["--init", init]
    wanted = ["--network", "tiny", "--steps", 2, "--batch", 8, "--threads", 1]
    status, _, notes = jadce("train", out, "--subcarriers", 24, "--antennas", "2x4", "--spacing", 15, *wanted, *more)
    assert status == 0, notes
    prior = load_prior(out)
    assert prior.basis.shape[0] == prior.subcarriers == 24
    assert 4 <= len(prior.eigenvalues) <= 6  # 345 kHz
    assert prior.weights.rows == 2
    assert prior.weights.dilations == ([2, 1, 4, 1] if init is None else [2, 1, 4, 1, 2, 1, 4, 1])
    settings, recipe = prior.metadata["settings"], prior.metadata["recipe"]
    assert (settings["subcarriers"], settings["antennas"], settings["rows"], settings["spacing"]) == (24, 8, 2, 15e3)
    assert "--subcarriers 24" in recipe
    assert "--antennas 2x4 --spacing 15" in recipe
    assert ("--init cdl-tiny" in recipe) == (init is not None)


def test_train_refuses_grids(tmp_path, jadce):
    out = tmp_path / "a.safetensors"
    with pytest.raises(ValueError, match="grid: expected antennas in 3 equal rows, found 32"):
        train(out, grid=Grid(rows=3))
    with pytest.raises(ValueError, match="grid: subcarriers: expected 1 to 4096, found 0"):
        train(out, grid=Grid(0))
    with pytest.raises(ValueError, match="grid: expected one row of antennas with network ncsn, found 2"):
        train(out, network="ncsn", grid=Grid(rows=2))
    with pytest.raises(ValueError, match="init: expected none with network ncsn, found one"):
        train(out, network="ncsn", init="cdl")
    with pytest.raises(TypeError, match="init: expected a beam network's prior, found CascadePrior"):
        train(out, init="cdl-tiny+cdl")
    for text in ("8x", "2x3x4", "8x0"):
        status, _, notes = jadce("train", out, "--antennas", text)
        assert status == 2
        assert f"--antennas: expected numbers or ROWSxCOLUMNS, found '{text}'" in notes
    for text, reason in (("8,16", "--antennas: expected one array"), ("0", "antennas: expected 1 to 4096, found 0")):
        status, _, notes = jadce("train", out, "--antennas", text)
        assert status == 2
        assert reason in notes


def test_a_gpu_has_priors_of_one_band(gpu_device):
    """More subcarriers than a prior's band: by name refused, also in a cascade; `auto` takes what the GPU has."""
    pilots = jf.dft_pilots(30, 6, 60)
    for prior in ("cdl-tiny", "cdl-tiny+cdl"):
        with pytest.raises(ValueError, match="prior: expected one of one band with device='cuda'"):
            jf.Receiver(pilots, 4, prior, device="cuda", capacity=8)
    y = np.random.default_rng(0).standard_normal((6, 60, 4, 2)) @ [1, 1j]
    assert jf.Receiver(pilots, 4, device="cuda", capacity=8).detect(y, 2.0).prior == "gaussian"


@pytest.mark.parametrize("prior", ["cdl-tiny", "cdl-tiny+cdl"])
@pytest.mark.parametrize("subcarriers", [48, 60])
def test_torch_networks_are_given_nobody(prior, subcarriers):
    noise = np.random.default_rng(0).standard_normal((6, subcarriers, 8, 2)) @ [1, 1j]
    rx = jf.Receiver(jf.dft_pilots(60, 6, subcarriers), 8, prior, threads=1, network="torchscript")
    assert len(rx.detect(noise, 2.0).active) == 0


def test_grids_that_no_prior_has():
    with pytest.raises(ValueError, match="spacing: expected a finite number in .0, 1.44e.06., found 3e.07"):
        jf.load_prior("cdl-tiny", spacing=30e6)
    with pytest.raises(ValueError, match="spacing: expected 30000 with a prior that has no other, found 15000"):
        jf.load_prior("ncsn-c", spacing=15e3)
    wide = jf.load_prior("cdl-tiny", subcarriers=96)
    with pytest.raises(ValueError, match="prior: expected one of one band, found one of 2"):
        on_grid(wide, 24)
    with pytest.raises(ValueError, match="prior: expected one of one band, found one of 2"):
        Described(wide)
    wide.metadata["settings"] = {"spacing": 0}
    with pytest.raises(ValueError, match=r"prior: settings.spacing: expected a finite number"):
        on_grid(wide, 24)
    with pytest.raises(TypeError, match="antennas: expected an integer or a tuple of them, found ndarray"):
        jf.Receiver(jf.dft_pilots(20, 4, 8), np.array([2, 3]))


def test_a_block_that_overflows_on_the_beams_of_a_panel_is_refused():
    rx = jf.Receiver(jf.dft_pilots(20, 8, 6), (2, 2), "gaussian", threads=1)
    with pytest.raises(ValueError, match="y, over beams: expected finite"):
        rx.detect(np.full((8, 6, 4), 3e38, np.complex64), 1.0)
