"""The paper's score networks: shapes, conditioning, Tweedie's formulas in closed form, and their losses."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from jadce_fast.priors.ncsn_network import LEVELS, InstanceNorm, NcsnNetwork, RefineNet, level_weights
from jadce_fast.training import ncsn

torch.set_num_threads(1)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def random_network(subcarriers: int = 6, width: int = 4) -> NcsnNetwork:
    """Random weights in the last layers too, which start from zero."""
    torch.manual_seed(1)
    network = NcsnNetwork(subcarriers, width=width).eval()
    for net in (network.first, network.second):
        nn.init.normal_(net.end.weight, std=0.1)
        nn.init.normal_(net.end.bias, std=0.1)
        for module in net.modules():
            if isinstance(module, InstanceNorm):
                nn.init.normal_(module.table, 1.0, 0.3)
    return network


class Gaussian(nn.Module):
    """Both scores of CN(0, C) over subcarriers, the same on every antenna, in the networks' interface."""

    def __init__(self, covariance: np.ndarray, order: int) -> None:
        super().__init__()
        self.covariance, self.order = torch.from_numpy(covariance), order

    def forward(self, x: torch.Tensor, tau: torch.Tensor) -> torch.Tensor:
        total = self.covariance + tau[:, None, None] * torch.eye(x.shape[2])
        inverse = torch.linalg.inv(total.to(torch.complex128))
        if self.order == 2:
            diagonal = -inverse.diagonal(dim1=1, dim2=2).real.to(x.dtype)
            return diagonal[:, None, :, None].expand_as(x)
        score = -(inverse @ torch.complex(x[:, 0], x[:, 1]).to(torch.complex128))
        return torch.stack([score.real, score.imag], 1).to(x.dtype)


def gaussian_network(covariance: np.ndarray) -> NcsnNetwork:
    network = NcsnNetwork(len(covariance), width=2)
    network.first, network.second = Gaussian(covariance, 1), Gaussian(covariance, 2)
    return network


@pytest.mark.parametrize(("n", "m"), [(48, 32), (7, 9), (5, 1), (1, 3), (1, 1)])
def test_any_size_and_every_device_on_its_own(n, m):
    network = random_network()
    z, v = torch.randn(3, 2 * n, m, generator=seeded(0)), 3 * torch.rand(3, m, generator=seeded(1)) + 0.01
    with torch.no_grad():
        mean, var = network(z, v)
        assert (mean.shape, var.shape) == (z.shape, v.shape)
        assert torch.isfinite(mean).all()
        tau = v.mean(1, keepdim=True)
        assert ((var > 0) & (var <= tau)).all()
        alone = [network(z[i : i + 1], v[i : i + 1]) for i in range(3)]
    # Some 60 layers of sums in single precision in another order.
    torch.testing.assert_close(mean, torch.cat([a for a, _ in alone]), rtol=0, atol=1e-4)
    torch.testing.assert_close(var, torch.cat([b for _, b in alone]), rtol=1e-3, atol=1e-4)


def test_no_devices():
    mean, var = random_network()(torch.zeros(0, 12, 4), torch.zeros(0, 4))
    assert (mean.shape, var.shape) == ((0, 12, 4), (0, 4))


def test_every_subcarrier_reaches_every_other():
    """Convolutions and pooling, without the norms' global sums: 48 subcarriers and 32 antennas are within reach."""
    net = RefineNet(4, 1)
    nn.init.ones_(net.end.weight)
    for module in net.modules():
        if isinstance(module, InstanceNorm):
            module.forward = lambda x, level: x  # type: ignore[method-assign]
    x = torch.zeros(1, 2, 48, 32, requires_grad=True)
    net(x, torch.ones(1))[0, 0, 24, 16].backward()
    assert (x.grad[0].abs().sum(0) > 0).all()


def test_untrained_returns_its_input_and_is_told_the_mean_of_the_noise():
    network = NcsnNetwork(6, width=2)
    z = torch.randn(2, 12, 5, generator=seeded(0))
    v = torch.rand(2, 5, generator=seeded(1)) + 0.1
    tau = v.mean(1)[:, None]
    mean, var = network(z, v)
    torch.testing.assert_close(mean, z, rtol=0, atol=0)
    torch.testing.assert_close(var, (tau / (1 + tau)).expand(2, 5), rtol=1e-5, atol=0)
    mean, _ = network(z, torch.full((2, 5), 100.0))  # 10 is the strongest noise of training
    torch.testing.assert_close(mean, z * 11 / 101, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("tau", [10.0, 0.3, 0.001])
def test_tweedie_gives_the_gaussian_posterior(tau):
    """Scores of CN(0, C) give LMMSE C (C + tau)^-1 z and the mean diagonal of C - C (C + tau)^-1 C."""
    n, m = 5, 3
    rng = np.random.default_rng(0)
    root = rng.normal(size=(n, n)) + 1j * rng.normal(size=(n, n))
    covariance = root @ root.conj().T / (2 * n)
    z = rng.normal(size=(2, n, m)) + 1j * rng.normal(size=(2, n, m))
    mean, var = gaussian_network(covariance)(
        torch.from_numpy(np.concatenate([z.real, z.imag], 1)), torch.full((2, m), tau, dtype=torch.float64)
    )
    gain = covariance @ np.linalg.inv(covariance + tau * np.eye(n))
    posterior = covariance - gain @ covariance
    # Double precision; Tweedie's formulas cancel at most 1/tau + 1 = 1000 : 1.
    np.testing.assert_allclose(mean[:, :n] + 1j * mean[:, n:], gain @ z, atol=1e-11)
    np.testing.assert_allclose(var, np.trace(posterior).real / n, rtol=1e-9)


def test_variance_per_antenna_and_its_limits():
    class Second(nn.Module):
        def forward(self, x: torch.Tensor, tau: torch.Tensor) -> torch.Tensor:
            y = torch.zeros_like(x)
            y[..., 0], y[..., 1] = 0.5, -100.0  # no variance is above tau or negative
            y[:, 0, :, 2], y[:, 1, :, 2] = -0.1, -0.3  # two outputs an entry
            return y

    network = NcsnNetwork(4, width=2)
    network.second = Second()
    _, var = network(torch.zeros(1, 8, 3), torch.full((1, 3), 2.0))
    np.testing.assert_allclose(var[0], [2.0, 2e-4, 2 - 4 * 0.2], rtol=1e-6)


def test_levels_interpolate_in_decibels():
    table = torch.randn(LEVELS, 9, generator=seeded(0))

    def at(snr: float) -> torch.Tensor:
        return (level_weights(torch.tensor([10 ** (-snr / 10)]), LEVELS) @ table)[0]

    # The position, up to 40, is known to a few of its roundings; neighbouring rows differ by less than 10.
    close = {"rtol": 0, "atol": 4 * 40 * 10 * 1.2e-7}
    for snr in range(-10, 31):
        torch.testing.assert_close(at(snr), table[snr + 10], **close)
    torch.testing.assert_close(at(3.25), 0.75 * table[13] + 0.25 * table[14], **close)
    torch.testing.assert_close(at(-90), table[0], **close)
    torch.testing.assert_close(at(90), table[40], **close)
    torch.testing.assert_close(level_weights(torch.rand(3), 1), torch.ones(3, 1))


def test_instance_norm_is_its_formula():
    norm = InstanceNorm(4, 1)
    norm.table.data = torch.randn(1, 12, generator=seeded(0))
    x = 3 + torch.randn(2, 4, 5, 3, generator=seeded(1), dtype=torch.float64)
    gain, share, bias = np.split(norm.table.detach().double().numpy()[0], 3)
    y = x.numpy()
    means = y.mean((2, 3))
    relative = (means - means.mean(1, keepdims=True)) / np.sqrt(means.var(1, keepdims=True) + 1e-5)
    maps = (y - means[..., None, None]) / np.sqrt(y.var((2, 3), keepdims=True) + 1e-5)
    wanted = gain[:, None, None] * (maps + (share * relative)[..., None, None]) + bias[:, None, None]
    norm.double()
    np.testing.assert_allclose(norm(x, torch.ones(2, 1, dtype=torch.float64)).detach(), wanted, atol=1e-10)


def test_first_is_unconditional_second_is_not():
    network = random_network().double()
    x = torch.randn(1, 2, 6, 5, generator=seeded(0), dtype=torch.float64)
    one, two = torch.tensor([0.5], dtype=torch.float64), torch.tensor([5.0], dtype=torch.float64)

    def output(order: int, tau: torch.Tensor) -> torch.Tensor:
        if order == 1:
            return network.first(x, tau) * tau.sqrt()
        return (network.second(x, tau) * (1 + tau) + 1) * tau

    torch.testing.assert_close(output(1, one), output(1, two), rtol=0, atol=1e-10)
    assert (output(2, one) - output(2, two)).abs().max() > 1e-3


def test_limits_of_the_noise():
    network = random_network()
    z = torch.randn(2, 12, 5, generator=seeded(0))
    with torch.no_grad():
        weak = torch.full((2, 5), 1e-8)
        mean, var = network(z, weak)
        assert (mean - z).abs().max() < 100 * 1e-4  # a bounded output times the noise's standard deviation
        assert ((var > 0) & (var <= 1e-8)).all()
        # Strong noise: the estimate stays at a channel's size, to the rounding of z itself.
        mean, var = network(1e3 * z, torch.full((2, 5), 1e6))
        assert mean.abs().max() < 100
        mean, var = network(1e12 * z, torch.full((2, 5), 1e24))
        assert torch.isfinite(mean).all()
        assert ((var > 0) & (var <= 1e24)).all()


def test_scripted_equals_eager():
    network = random_network()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        scripted = torch.jit.script(network)
    for n, m in ((6, 5), (8, 4), (6, 5)):
        z, v = torch.randn(2, 2 * n, m, generator=seeded(n)), torch.rand(2, m, generator=seeded(m)) + 0.01
        with torch.no_grad():
            for one, other in zip(network(z, v), scripted(z, v), strict=True):
                torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("n", "m"), [(48, 32), (7, 3)])
def test_multiplications(n, m):
    network = NcsnNetwork(n, width=3)
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        network(torch.zeros(1, 2 * n, m), torch.ones(1, m))
    flops = sum(count for name, count in counter.get_flop_counts()["Global"].items() if "convolution" in str(name))
    assert 2 * network.multiplications(m) == flops
    assert all(not p.is_meta for p in network.parameters())


def test_the_paper_s_size():
    with torch.device("meta"):
        network = NcsnNetwork(48, width=128)
    for net in (network.first, network.second):  # Cai VI-A.2: 30 million weights each
        assert 28e6 < sum(p.numel() for p in net.parameters()) < 31e6


def test_refuses_no_width():
    with pytest.raises(ValueError, match="width: expected at least 2, found 1"):
        NcsnNetwork(48, width=1)


def channels(count: int, n: int, m: int, seed: int) -> torch.Tensor:
    """Unit-power channels of one path each, as `losses` takes them."""
    delay, angle = 2 * np.pi * np.random.default_rng(seed).uniform(size=(2, count, 1, 1))
    h = np.exp(1j * (delay * np.arange(n)[:, None] + angle * np.arange(m)))
    return torch.from_numpy(np.concatenate([h.real, h.imag], 1).astype(np.float32))


def test_losses_are_the_paper_s():
    """A transcription of Cai (48) and (53) with weights tau^2 and tau^4, on the noise that the networks saw."""
    count, n, m = 5, 4, 3
    network, truth = random_network(n).double(), channels(count, n, m, 0).double()
    seen = []
    network.first.register_forward_hook(lambda _, inputs, output: seen.append((*inputs, output)))
    network.second.register_forward_hook(lambda _, inputs, output: seen.append((*inputs, output)))
    first, second = ncsn.losses(network, truth, seeded(3))
    (x, tau, one), (x2, tau2, two) = [[t.detach().numpy() for t in call] for call in seen]
    np.testing.assert_array_equal(x, x2)
    np.testing.assert_array_equal(tau, tau2)
    h = truth.numpy()[:, :n] + 1j * truth.numpy()[:, n:]
    noisy, s1, s2 = x[:, 0] + 1j * x[:, 1], one[:, 0] + 1j * one[:, 1], two.mean(1)
    l1 = [np.linalg.norm(s1[i] + (noisy[i] - h[i]) / tau[i]) ** 2 for i in range(count)]
    l2 = [abs(s2[i].sum() - l1[i] + n * m / tau[i]) ** 2 for i in range(count)]
    assert first.item() == pytest.approx(np.mean(tau**2 * l1) / (n * m), rel=1e-10)
    assert second.item() == pytest.approx(np.mean(tau**4 * l2) / (n * m) ** 2, rel=1e-10)
    first, second = ncsn.losses(network, truth, seeded(3), exponent=1)
    assert first.item() == pytest.approx(np.mean(tau * l1) / (n * m), rel=1e-10)
    assert second.item() == pytest.approx(np.mean(tau**2 * l2) / (n * m) ** 2, rel=1e-10)
    snr = -10 * np.log10(tau)
    np.testing.assert_allclose(snr, np.round(snr), atol=1e-9)


def test_noise_of_the_losses():
    """Every level occurs, and the noise has the variance that the network is told."""
    network = NcsnNetwork(6, width=2)
    truth, seen = channels(4000, 6, 4, 0), []
    network.first = Gaussian(np.eye(6), 1)
    network.second = Gaussian(np.eye(6), 2)
    network.first.register_forward_hook(lambda _, inputs, __: seen.append(inputs))
    ncsn.losses(network, truth, seeded(0))
    x, tau = seen[0]
    levels = np.round(-10 * np.log10(tau.numpy())).astype(int)
    assert set(levels) == set(range(-10, 31))  # missing one of 41 in 4000 draws: probability 41 e^-98
    white = (x - truth.view_as(x)) / (tau / 2).sqrt()[:, None, None, None]
    assert float(white.var()) == pytest.approx(1, abs=5 * (2 / white.numel()) ** 0.5)


def test_losses_of_the_true_scores():
    """For CN(0, 1) entries the error is tau / (1 + tau), and one channel's mean error varies by that / sqrt(N M)."""
    n, m, count = 6, 4, 20_000
    truth = torch.randn(count, 2 * n, m, generator=seeded(0)) / 2**0.5
    first, second = ncsn.losses(gaussian_network(np.eye(n)), truth, seeded(1))
    tau = 10 ** (-np.arange(-10, 31) / 10)
    error = tau / (1 + tau)
    # Standard error from the spread of `error` over levels (0.35) and, of the second, from kurtosis: below 2 %.
    assert first.item() == pytest.approx(error.mean(), rel=0.05)
    assert second.item() == pytest.approx((error**2).mean() / (n * m), rel=0.1)


def test_losses_gradients_and_repetition():
    network, truth = random_network(), channels(4, 6, 5, 0)
    first, second = ncsn.losses(network, truth, seeded(0))
    again = ncsn.losses(network, truth, seeded(0))
    assert (first.item(), second.item()) == (again[0].item(), again[1].item())
    assert ncsn.losses(network, truth, seeded(1))[0].item() != first.item()
    second.backward()
    assert all(p.grad is None for p in network.first.parameters())
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in network.second.parameters())
    network.zero_grad()
    first.backward()
    assert all(p.grad is None for p in network.second.parameters())
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in network.first.parameters())


def test_training_reduces_the_losses():
    torch.manual_seed(0)
    network, truth = NcsnNetwork(8, width=4), channels(32, 8, 8, 0)
    optimiser = torch.optim.Adam(network.parameters(), 5e-3)

    def measured() -> list[float]:
        with torch.no_grad():
            return [float(x) for x in ncsn.losses(network, truth, seeded(100))]

    before = measured()
    for step in range(20):
        optimiser.zero_grad()
        sum(ncsn.losses(network, truth, seeded(step))).backward()
        optimiser.step()
    after = measured()
    assert after[0] < 0.8 * before[0]
    assert after[1] < 0.8 * before[1]
