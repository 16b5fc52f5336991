"""Panels and polarisations: their beams, and receivers of them; receivers on other grids of subcarriers."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

import jadce_fast as jf
from jadce_fast import channels
from jadce_fast.array import Array
from jadce_fast.campaigns.genie import GeniePrior
from jadce_fast.campaigns.ofdm_drop import Scenario, draw_drop
from jadce_fast.metrics import score
from jadce_fast.priors import DEFAULT
from jadce_fast.priors.files import save_prior
from jadce_fast.priors.grids import on_grid
from jadce_fast.training import family

pytestmark = pytest.mark.usefixtures("one_thread")
SMALL = Scenario(devices=120, symbols=12, subcarriers=48, activity_rate=0.06)


def scenario(**change):
    return Scenario(**{name: getattr(SMALL, name) for name in ("devices", "symbols", "activity_rate")} | change)


def random(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal((*shape, 2)).view(complex)[..., 0]


@pytest.mark.parametrize("antennas", [5, (3, 4), (2, 1, 6), (2, 3, 4)])
def test_beams_are_a_unitary_transform_with_neighbours_a_stride_apart(antennas):
    array = Array.of(antennas)
    x = random(2, array.antennas)
    np.testing.assert_allclose(array.from_beams(array.beams(x)), x, atol=1e-5)
    matrix = array.beams(np.eye(array.antennas)).T
    np.testing.assert_allclose(matrix @ matrix.conj().T, np.eye(array.antennas), atol=1e-6)
    # A phase ramp over columns moves what a row and a polarisation hold by one beam in azimuth: by a stride.
    ramp = np.exp(2j * np.pi * np.arange(array.columns) / array.columns)
    moved = array.beams((x.reshape(2, -1, array.columns) * ramp).reshape(x.shape))
    np.testing.assert_allclose(moved, np.roll(array.beams(x), array.stride, axis=1), atol=1e-5)
    factor = random(3, array.antennas, array.antennas)
    covariance = factor @ factor.conj().swapaxes(1, 2)
    expected = matrix @ covariance @ matrix.conj().T
    np.testing.assert_allclose(array.covariance_of_beams(covariance), expected, rtol=1e-4, atol=1e-4)


def test_unusable_arrays_are_refused():
    pilots = jf.dft_pilots(20, 5, 48)
    for antennas, error, reason in (
        ((), ValueError, r"antennas: expected a number, \(rows, columns\)"),
        ((2, 2, 2, 2), ValueError, "antennas: expected a number"),
        ((0, 4), ValueError, "antennas: expected 1 to 4096, found 0"),
        ((100, 100), ValueError, "antennas: expected at most 4096, found 10000"),
        ((2.5, 4), TypeError, "antennas: expected an integer, found float"),
        ("8x8", TypeError, "antennas: expected an integer, found str"),
    ):
        with pytest.raises(error, match=reason):
            jf.Receiver(pilots, antennas)
    with pytest.raises(TypeError, match="prior: expected a beam network, 'beams' or 'gaussian'"):
        jf.Receiver(pilots, (4, 8), "ncsn-c")
    with pytest.raises(ValueError, match=r"antennas: expected a number or \(rows, columns\)"):
        channels.synthesize(channels.draw_paths(1), 4, (2, 2, 2))


@pytest.mark.parametrize("noise", ["white", "colored"])
def test_symbols_of_a_panel_arrive_one_by_one(noise):
    drops = [draw_drop(scenario(antennas=(2, 4)), seed=seed) for seed in (1, 2)]
    rx = jf.Receiver(drops[0].pilots, (2, 4), "cdl-tiny", 0.06, threads=1)
    level = drops[0].noise_var if noise == "white" else drops[0].noise_var * np.diag(np.linspace(0.5, 1.5, 8))
    with rx.stream(level) as stream:
        found = [one for drop in drops for symbol in drop.y for one in stream.push(symbol)] + stream.wait(60)
    for one, drop in zip(found, drops, strict=True):
        assert one.detection == rx.detect(drop.y, level)


def test_panels_are_the_family_that_networks_are_trained_on():
    """One path: the generator's row v above column m has the phases of `synthesize`."""
    paths = channels.draw_paths(2, "D", seed=3)
    h = channels.synthesize(paths, 4, (3, 5), 60e3, dtype=np.complex128).reshape(2, 4, 3, 5)
    rays = np.sqrt(paths.power) * np.exp(1j * paths.phase)
    across, up = np.pi * np.sin(paths.zenith) * np.sin(paths.azimuth), np.pi * np.cos(paths.zenith)
    for n, v, m in ((0, 0, 0), (3, 2, 4), (1, 1, 3)):
        late = np.exp(-2j * np.pi * 60e3 * n * paths.delay)
        expected = (rays * late[..., None] * np.exp(1j * (m * across + v * up))).sum((1, 2))
        np.testing.assert_allclose(h[:, n, v, m], expected, atol=1e-9)
    tables, generator = family.load_tables(torch.device("cpu")), torch.Generator().manual_seed(0)
    assert (family.draw_paths(tables, 50, generator, "D", 0).rise[:, 0, 0] < 0.5).all()  # devices are not high up


@pytest.mark.parametrize(
    ("antennas", "prior", "limit"),
    [((4, 8), "cdl-tiny", -24), ((2, 1, 16), "cdl-tiny", -26), ((2, 2, 8), "cdl-tiny+cdl", -24), ((4, 8), "beams", -8)],
)
def test_arrays_are_detected(antennas, prior, limit):
    drop = draw_drop(scenario(antennas=antennas), seed=2)
    rx = jf.Receiver(drop.pilots, antennas, prior, 0.06, threads=1)
    found = rx.detect(drop.y, drop.noise_var)
    assert np.array_equal(found.active, drop.active)
    assert found.trusted, found.reason
    assert score(found, drop.active, drop.channels).nmse_db < limit
    again = copy.deepcopy(rx).detect(drop.y, drop.noise_var)
    assert np.array_equal(again.channels, found.channels)
    # The same noise, told as a covariance that is nearly a multiple of one.
    told = drop.noise_var * np.ones(32)
    told[3] *= 1.0001
    near = rx.detect(drop.y, told)
    assert np.array_equal(near.active, found.active)
    difference = np.sum(abs(near.channels - found.channels) ** 2) / np.sum(abs(found.channels) ** 2)
    assert difference < 1e-4


def test_polarisations_of_one_kind_are_one_row_each():
    """Where both polarisations hold the same, each has the channels of the row alone with half of the noise."""
    drop = draw_drop(scenario(antennas=16), seed=4)
    twice = np.concatenate([drop.y, drop.y], axis=2)
    out = jf.Receiver(drop.pilots, (2, 1, 16), "cdl-tiny", 0.06, threads=1).detect(twice, drop.noise_var)
    alone = jf.Receiver(drop.pilots, 16, "cdl-tiny", 0.06, threads=1).detect(drop.y, drop.noise_var)
    assert np.array_equal(out.active, alone.active)
    np.testing.assert_allclose(out.channels[..., :16], out.channels[..., 16:], atol=1e-4)
    difference = np.sum(abs(out.channels[..., :16] - alone.channels) ** 2) / np.sum(abs(alone.channels) ** 2)
    assert difference < 1e-3


@pytest.mark.parametrize("antennas", [6, (2, 3), (2, 1, 3)])
def test_genie_of_an_array_knows_its_covariance(antennas):
    """Factors over coefficients and beams against the channels of many phases."""
    array = Array.of(antennas)
    paths = channels.draw_paths(1, "A", seed=1)
    genie = GeniePrior(jf.load_prior("cdl-tiny", subcarriers=4), 60e3)
    genie.reveal([7], paths, antennas)
    rng = np.random.default_rng(0)
    many = channels.Paths(
        *(np.repeat(getattr(paths, x), 3000, 0) for x in ("delay", "power", "azimuth", "zenith")),
        phase=rng.uniform(-np.pi, np.pi, (3000, *paths.phase.shape[1:])),
    )
    h = channels.synthesize(many, 4, array[1:], 60e3)
    if array.polarisations == 2:
        other = channels.Paths(many.delay, many.power, many.azimuth, many.zenith, rng.permuted(many.phase, axis=0))
        h = np.concatenate([h, channels.synthesize(other, 4, array[1:], 60e3)], axis=2)
    z = (genie.basis.conj().T @ array.beams(h)).astype(np.complex64)
    v = np.full((1, array.antennas), 0.1, np.float32)
    noisy = z + np.sqrt(0.05) * random(*z.shape, seed=1).astype(np.complex64)
    error = promised = 0.0
    for i in range(400):
        mean, var = genie.denoise(noisy[i : i + 1], v, np.array([7]))
        error, promised = error + np.sum(abs(mean - z[i]) ** 2), promised + 4 * var.sum()
    assert error == pytest.approx(promised, rel=0.15)


@pytest.mark.parametrize(
    ("subcarriers", "spacing", "bands", "limit"),
    [(24, 60e3, 1, -19), (24, 30e3, 1, -19), (5, 15e3, 1, -12), (96, 30e3, 2, -22), (73, 30e3, 2, -20)],
)
def test_other_subcarriers_are_detected(subcarriers, spacing, bands, limit):
    prior = jf.load_prior("cdl-tiny", subcarriers=subcarriers, spacing=spacing)
    assert prior.bands == bands
    np.testing.assert_allclose(prior.basis.conj().T @ prior.basis, np.eye(prior.basis.shape[1]), atol=1e-5)
    assert prior.eigenvalues.sum() == pytest.approx(subcarriers, rel=0.02)
    drop = draw_drop(scenario(subcarriers=subcarriers, spacing=spacing), seed=1)
    found = jf.Receiver(drop.pilots, 32, prior, 0.06, threads=1, network="fp32").detect(drop.y, drop.noise_var)
    assert np.array_equal(found.active, drop.active)
    assert score(found, drop.active, drop.channels).nmse_db < limit
    # The kernel's bands are those of the network's definition.
    other = jf.Receiver(drop.pilots, 32, prior, 0.06, threads=1, network="torchscript").detect(drop.y, drop.noise_var)
    assert np.array_equal(found.active, other.active)
    difference = np.sum(abs(other.channels - found.channels) ** 2) / np.sum(abs(found.channels) ** 2)
    assert difference < 1e-5


def test_names_and_auto_take_any_number_of_subcarriers():
    drop = draw_drop(scenario(subcarriers=60), seed=1)
    for prior in ("auto", "cdl-tiny", "cdl-tiny+cdl"):
        found = jf.Receiver(drop.pilots, 32, prior, 0.06, threads=1).detect(drop.y, drop.noise_var)
        assert np.array_equal(found.active, drop.active)
        assert found.prior == (DEFAULT if prior == "auto" else "")


def test_a_grid_within_the_band_keeps_the_channels_covariance():
    """Half as many subcarriers twice as far apart: every second row of the prior's own covariance."""
    prior = jf.load_prior("cdl")
    half = on_grid(prior, 24, 60e3)
    root = prior.basis * np.sqrt(prior.eigenvalues)
    own, new = (x.astype(complex) @ x.conj().T for x in (root, half.basis * np.sqrt(half.eigenvalues)))
    # The covariance depends on the distance of two subcarriers alone, and the grids' middles are half a step apart.
    np.testing.assert_allclose(new[:, 12], own[::2, 24], atol=0.02)
    assert on_grid(prior, 48) is prior
    assert on_grid(prior, 48, 30e3) is prior
    with pytest.raises(ValueError, match="prior: expected one of one band, found one of 3"):
        save_prior("never.safetensors", on_grid(prior, 144))
    with pytest.raises(ValueError, match="spacing: expected a finite number"):
        jf.load_prior("cdl", spacing=0)


def test_capture_of_a_panel(tmp_path, jadce):
    drop = draw_drop(scenario(antennas=(2, 8), subcarriers=24, spacing=60e3), seed=3)
    rows, t = drop.pilots.rows, {"true_active": drop.active, "true_channels": drop.channels}
    np.savez(tmp_path / "a.npz", y=drop.y, pilot_rows=rows, devices=120, noise_var=drop.noise_var, **t)
    wanted = ["--antennas", "2x8", "--prior", "cdl-tiny", "--spacing", 60, "--threads", 1, "--json"]
    status, text, notes = jadce("detect", tmp_path / "a.npz", *wanted)
    assert status == 0, notes
    assert '"missed": 0' in text
    assert '"false_alarms": 0' in text
    for more, reason in (
        (["--antennas", "3x5"], "--antennas: expected sides of the capture's 16 antennas, found '3x5'"),
        (["--spacing", 60], "--spacing: expected none with prior auto, found 60"),
        (["--antennas", "2x8", "--receiver", "somp"], "--antennas: expected none with --receiver somp"),
    ):
        status, _, notes = jadce("detect", tmp_path / "a.npz", *more)
        assert status == 2
        assert reason in notes
