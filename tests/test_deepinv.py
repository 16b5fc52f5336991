"""Priors and receivers as deepinv takes them: by its own classes, beside the library's own calls."""

import numpy as np
import pytest
from kernels import error
from problems import WienerPrior, problem

import jadce_fast as jf

deepinv = pytest.importorskip("deepinv")
torch = pytest.importorskip("torch")

from jadce_fast.deepinv import ChannelDenoiser, GrantFreeReconstructor, GrantFreeUplink  # noqa: E402


def parts(x):
    return torch.from_numpy(np.stack([x.real, x.imag], 1).astype(np.float32))


def joined(x):
    return (x[:, 0] + 1j * x[:, 1]).numpy()


@pytest.fixture(scope="module")
def denoiser():
    return ChannelDenoiser("cdl-tiny")


@pytest.fixture(scope="module")
def channels():
    return jf.channels.cdl(6, antennas=16, seed=1)


def noise(shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("sigma", [0.3, [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]])
def test_denoising_is_the_priors(denoiser, channels, sigma):
    physics = deepinv.physics.Denoising(deepinv.physics.GaussianNoise(0.3))
    x = parts(channels)
    level = torch.as_tensor(sigma).expand(6)
    y = x + level.view(-1, 1, 1, 1) * noise(x.shape)
    found = joined(denoiser(y, sigma))
    prior = jf.load_prior("cdl-tiny")
    beams = np.fft.fft(joined(y), norm="ortho")
    v = np.tile(2 * level.numpy()[:, None] ** 2, 16).astype(np.float32)
    mean, var = prior.denoise((prior.basis.conj().T @ beams).astype(np.complex64), v)
    assert error(found, np.fft.ifft(prior.basis @ mean, norm="ortho")) <= 1e-4
    made = np.mean(np.abs(found - channels) ** 2)
    assert made < 0.1 * np.mean(v)
    assert made == pytest.approx(float(np.mean(var)), rel=0.3)  # it knows how good it is
    if sigma == 0.3:
        model = deepinv.models.ArtifactRemoval(denoiser, mode="direct")
        assert error(joined(model(y, physics)), found) <= 1e-6


def test_gradients_are_those_of_differences(denoiser, channels):
    x = (parts(channels[:1]) + 0.3 * noise((1, 2, 48, 16))).requires_grad_()
    (gradient,) = torch.autograd.grad((noise(x.shape, 1) * denoiser(x, 0.3)).sum(), x)
    step = 0.01 * gradient / gradient.norm()
    with torch.no_grad():
        difference = (noise(x.shape, 1) * (denoiser(x + step, 0.3) - denoiser(x - step, 0.3))).double().sum() / 0.02
    # Differences of 0.15 of sums of 1536 numbers in single precision.
    assert float(difference) == pytest.approx(float(gradient.norm()), rel=1e-3)


def test_plug_and_play_fills_subcarriers_that_are_missing(denoiser, channels):
    """Half of them carry pilots; deepinv's half-quadratic splitting does the rest."""
    x = parts(channels)
    mask = torch.zeros(1, 1, 48, 1)
    mask[:, :, ::2] = 1
    physics = deepinv.physics.Inpainting(
        img_size=(2, 48, 16), mask=mask.expand(1, 2, 48, 16), noise_model=deepinv.physics.GaussianNoise(0.1)
    )
    y = physics(x)
    model = deepinv.optim.optim_builder(
        iteration="HQS",
        prior=deepinv.optim.PnP(denoiser=denoiser),
        data_fidelity=deepinv.optim.L2(),
        max_iter=8,
        params_algo={"stepsize": 10.0, "g_param": [0.5, 0.4, 0.3, 0.25, 0.2, 0.15, 0.12, 0.1]},
    )
    with torch.no_grad():
        filled = model(y, physics)
    # Half of the power is missing; noise is 2 % where it is not.
    assert error(joined(filled), channels) ** 2 < 0.01


def test_the_uplink_and_its_reconstruction():
    p = problem(devices=40, symbols=10, subcarriers=8, antennas=8, active=3, seed=3)
    sigma = float(np.sqrt(p.noise_var / 2))
    physics = GrantFreeUplink(p.pilots, noise_model=deepinv.physics.GaussianNoise(sigma))
    x = parts(p.x[None])
    assert abs(float(physics.adjointness_test(noise(x.shape)))) < 1e-2
    sent = joined(physics.A(x))[0]
    np.testing.assert_allclose(sent, np.einsum("tnk,knm->tnm", p.pilots.select(), p.x), atol=1e-5)
    rx = jf.Receiver(p.pilots, 8, WienerPrior(8), p.activity_rate, 1.0, threads=1)
    model = GrantFreeReconstructor(rx)
    y = torch.cat([parts(p.y[None]), parts(2 * p.y[None])])
    found = model(y, physics)
    out = rx.detect(p.y, 2 * float(physics.noise_model.sigma) ** 2)
    assert found.shape == (2, 2, 40, 8, 8)
    np.testing.assert_array_equal(model.detections[0].active, out.active)
    np.testing.assert_array_equal(joined(found)[0, out.active], out.channels)
    assert not joined(found)[0, np.setdiff1d(np.arange(40), out.active)].any()
    assert error(joined(found)[0], p.x) < 0.5 * error(joined(physics.A_dagger(y[:1]))[0], p.x)
    learned = GrantFreeReconstructor(jf.Receiver(p.pilots, 8, WienerPrior(8), p.activity_rate, 1.0, threads=1))
    learned(y[:1], GrantFreeUplink(p.pilots))
    assert learned.detections[0].learned_noise_var == pytest.approx(p.noise_var, rel=0.5)


def test_refusals(denoiser):
    with pytest.raises(TypeError, match="prior: expected one with a network, found WienerPrior"):
        ChannelDenoiser(WienerPrior(8))
    with pytest.raises(TypeError, match="prior: expected one with a network, found CascadePrior"):
        ChannelDenoiser("cdl-tiny+cdl-large")
    with pytest.raises(ValueError, match=r"x: expected shape \(B, 2, 48, M\), found \(1, 2, 8, 4\)"):
        denoiser(torch.zeros(1, 2, 8, 4), 0.1)
    with pytest.raises(ValueError, match="sigma: expected positive standard deviations, found 0"):
        denoiser(torch.zeros(1, 2, 48, 4), 0.0)
    p = problem(devices=40, symbols=10, subcarriers=8, antennas=8, active=3, seed=3)
    model = GrantFreeReconstructor(jf.Receiver(p.pilots, 8, WienerPrior(8), threads=1))
    y = parts(p.y[None])
    with pytest.raises(TypeError, match="physics: expected a GrantFreeUplink, found Denoising"):
        model(y, deepinv.physics.Denoising())
    with pytest.raises(ValueError, match="physics: expected the pilots of the receiver, found others"):
        model(y, GrantFreeUplink(jf.dft_pilots(40, 10, 8, seed=9)))
