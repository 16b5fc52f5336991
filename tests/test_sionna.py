"""The blocks for Sionna: estimates are those of the receiver, equalised devices those that were found."""

import numpy as np
import pytest
from problems import WienerPrior, problem

import jadce_fast as jf

pytest.importorskip("sionna.phy")
torch = pytest.importorskip("torch")

SIZE = dict(devices=40, symbols=10, subcarriers=8, antennas=8, active=3)


def link(precision="single"):
    from sionna.phy.ofdm import ResourceGrid

    from jadce_fast.sionna import GrantFreeEstimator, GrantFreePattern

    p = problem(**SIZE, seed=3)
    pattern = GrantFreePattern(p.pilots, 12, precision=precision)
    grid = ResourceGrid(12, 8, 30e3, num_tx=40, pilot_pattern=pattern, precision=precision)
    rx = jf.Receiver(p.pilots, 8, WienerPrior(8), p.activity_rate, 1.0, threads=1)
    y = np.zeros((2, 1, 8, 12, 8), np.complex64)
    y[:, 0, :, :10] = p.y.transpose(2, 0, 1)
    return p, grid, rx, GrantFreeEstimator(grid, rx, precision=precision), torch.from_numpy(y)


@pytest.mark.parametrize("precision", ["single", "double"])
def test_estimates_are_those_of_the_receiver(precision):
    p, _, rx, estimator, y = link(precision)
    h, var = estimator(y, torch.tensor(p.noise_var))
    out = rx.detect(p.y, float(torch.tensor(p.noise_var)))
    assert len(out.active) == 3
    assert h.shape == var.shape == (2, 1, 8, 40, 1, 12, 8)
    assert h.dtype == (torch.complex64 if precision == "single" else torch.complex128)
    assert not h[:, :, :, np.setdiff1d(np.arange(40), out.active)].any()
    for b, symbol in [(0, 0), (1, 11)]:
        found = h[b, 0, :, out.active, 0, symbol].numpy()
        np.testing.assert_allclose(found, out.channels.transpose(2, 0, 1), rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(var[b, 0, 0, out.active, 0, symbol, 0].numpy(), out.channel_var, rtol=1e-4)


def test_only_devices_that_were_found_are_equalised():
    from jadce_fast.sionna import DetectedEqualizer

    p, grid, _, estimator, y = link()
    no = torch.tensor(1e-3)
    sent = torch.from_numpy(np.sign(np.random.default_rng(0).standard_normal((3, 2, 8))).astype(np.complex64))
    truth = torch.from_numpy(p.channels)  # (A, N, M)
    y[:, 0, :, 10:] = torch.einsum("anm,atn->mtn", truth, sent)
    h, var = estimator(y, torch.tensor(p.noise_var))
    x, no_eff = DetectedEqualizer(grid)(y, h, var, no)
    assert x.shape == no_eff.shape == (2, 40, 1, 16)
    assert torch.isfinite(x).all()
    found = estimator.detections[0][0].active
    assert np.array_equal(found, p.active)
    assert (x[:, found, 0].real.sign() == sent.reshape(3, 16).real).all()
    silent = np.setdiff1d(np.arange(40), found)
    assert not x[:, silent].any()
    assert (no_eff[:, silent] == 1e12).all()


def test_refusals():
    from sionna.phy.ofdm import ResourceGrid

    from jadce_fast.sionna import DetectedEqualizer, GrantFreeEstimator, GrantFreePattern

    p, grid, rx, _, _ = link()
    for make in (lambda g: GrantFreeEstimator(g, rx), DetectedEqualizer):
        with pytest.raises(TypeError, match="expected a GrantFreePattern"):
            make(ResourceGrid(12, 8, 30e3))
    with pytest.raises(ValueError, match="num_ofdm_symbols: expected at least 10, found 9"):
        GrantFreePattern(p.pilots, 9)
    other = jf.Receiver(jf.dft_pilots(40, 10, 8, seed=9), 8, "gaussian")
    with pytest.raises(ValueError, match="receiver: expected one of the pilots of the pattern"):
        GrantFreeEstimator(grid, other)
