"""The score network of a cell: any size, symmetries, its loss in closed form, files, and how near it is to exact."""

from __future__ import annotations

import json
import math
import warnings

import numpy as np
import pytest
import safetensors.torch
import torch
from problems import complex_normal
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import jadce_fast as jf
from jadce_fast.priors.cell_network import CellNetwork
from jadce_fast.priors.cell_network_prior import CellNetworkPrior
from jadce_fast.priors.export import export_torchscript
from jadce_fast.priors.files import load_cell_prior, load_prior, save_prior, shipped_cell_priors, shipped_priors
from jadce_fast.training import cell
from jadce_fast.training.cell import Cell, ExactScore, HeldOutCell, matching

pytestmark = pytest.mark.usefixtures("one_thread")
CPU = torch.device("cpu")


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def random_network(reach: int = 1) -> CellNetwork:
    """Random weights in the last layer too, which starts from zero."""
    torch.manual_seed(1)
    network = CellNetwork(width=6, blocks=2, reach=reach).eval()
    nn.init.normal_(network.end.weight, std=0.3)
    return network.requires_grad_(False)


def inputs(m: int, n: int, count: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    v = 10 ** (4 * torch.rand(count, n, generator=seeded(1)) - 2)
    return torch.randn(count, 2, m, n, generator=seeded(0)) * (1 + v.sqrt())[:, None, None, :], v


@pytest.mark.parametrize("reach", [1, 3])
@pytest.mark.parametrize(("m", "n"), [(16, 64), (7, 5), (64, 3), (1, 4), (2, 1)])
def test_any_number_of_antennas_and_devices(m, n, reach):
    network, (x, v) = random_network(reach), inputs(m, n)
    mean = network(x, v)
    assert mean.shape == x.shape
    assert torch.isfinite(mean).all()
    alone = torch.cat([network(x[i : i + 1], v[i : i + 1]) for i in range(3)])
    torch.testing.assert_close(mean, alone, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(network.score(x, v), (mean - x) / v[:, None, None, :])


def test_columns_are_strangers():
    """With a reach of one, another order of devices is the same result in that order; with three it is not."""
    x, v = inputs(9, 12)
    order = torch.randperm(12, generator=seeded(3))
    for reach in (1, 3):
        network = random_network(reach)
        mean, other = network(x, v)[..., order], network(x[..., order], v[:, order])
        assert torch.allclose(mean, other, rtol=1e-4, atol=1e-5) == (reach == 1)


def test_a_turn_of_the_phase_turns_the_result():
    network, (x, v) = random_network(), inputs(8, 20)
    phase = torch.polar(torch.ones(3, 1, 20), 2 * math.pi * torch.rand(3, 1, 20, generator=seeded(4)))

    def turned(y: torch.Tensor) -> torch.Tensor:
        z = torch.complex(y[:, 0], y[:, 1]) * phase
        return torch.stack([z.real, z.imag], 1)

    # Energies, and all that follows, differ by rounding.
    torch.testing.assert_close(network(turned(x), v), turned(network(x, v)), rtol=1e-3, atol=1e-4)


def test_noise_outside_the_range_of_training():
    """Means stay finite, small where noise drowns everything, and far above the noise the input."""
    network = random_network()
    x = 1e15 * torch.randn(1, 2, 8, 5, generator=seeded())
    assert network(x, torch.full((1, 5), 1e30)).abs().max() < 1e15 * 1e4 / 1e30 * 10
    near = network(torch.ones(1, 2, 8, 5), torch.full((1, 5), 1e-20))
    assert torch.isfinite(near).all()
    assert torch.count_nonzero(network(torch.zeros(1, 2, 8, 5), torch.ones(1, 5))) == 0


def test_multiplications_are_those_that_torch_counts():
    network = CellNetwork(width=5, blocks=3)
    with FlopCounterMode(display=False) as counter:
        network(torch.zeros(1, 2, 11, 1), torch.ones(1, 1))
    assert network.multiplications(11) == counter.get_total_flops() // 2


class Linear(nn.Module):
    """Score -theta x, that of CN(0, 1 / theta)."""

    def __init__(self, theta: float) -> None:
        super().__init__()
        self.theta = nn.Parameter(torch.tensor(theta, dtype=torch.float64))

    def score(self, x: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        return -self.theta * x


@pytest.mark.parametrize(("theta", "v"), [(0.2, 0.5), (0.4, 0.5), (0.05, 8.0)])
def test_loss_and_gradient_in_closed_form(theta, v):
    """For CN(0, g) entries the loss is v theta^2 (g + v) - 2 v theta + 1, whose minimum is at 1 / (g + v)."""
    g, parts = 2.0, 64
    network, generator = Linear(theta), seeded(5)
    losses, gradients = [], []
    for _ in range(parts):
        truth = torch.randn(4, 2, 16, 32, generator=generator, dtype=torch.float64) * math.sqrt(g / 2)
        white = torch.randn(truth.shape, generator=generator, dtype=torch.float64) / math.sqrt(2)
        loss = matching(network, truth, torch.full((4, 32), v, dtype=torch.float64), white)
        gradients.append(float(torch.autograd.grad(loss, network.theta)[0]))
        losses.append(float(loss.detach()))
    # Means of independent parts: five standard errors.
    wanted = {"loss": v * theta**2 * (g + v) - 2 * v * theta + 1, "gradient": 2 * v * theta * (g + v) - 2 * v}
    for values, target in zip((losses, gradients), wanted.values(), strict=True):
        assert abs(np.mean(values) - target) < 5 * np.std(values) / math.sqrt(parts)


@pytest.mark.parametrize("exponent", [3.76, 2.5])
def test_training_draws_the_world_of_the_exact_prior(exponent):
    """Mean power one, activity and powers as they are; the exact score has the least loss of all scalings of it."""
    prior = jf.CellPrior(0.3, inner=50, exponent=exponent)
    x = Cell(prior, CPU).draw(200, 8, 50, seeded())
    power = x.square().sum(1).mean(1)
    active = power > 0
    n = active.numel()
    assert abs(active.double().mean() - 0.3) < 5 * math.sqrt(0.3 * 0.7 / n)
    assert abs(power.mean() - 1) < 5 * float(power.std()) / math.sqrt(n)
    weakest = float(prior.gain(250.0))
    assert power[active].min() > 0.1 * weakest  # sixteen degrees of freedom

    class Scaled(ExactScore):
        def score(self, x, v):
            return self.factor * super().score(x, v)

    losses = []
    for Scaled.factor in (0.97, 1.0, 1.03):
        losses.append(float(Cell(prior, CPU).losses(Scaled(prior), 4, 3, seeded(2))[0]))
    assert losses[1] < min(losses[0], losses[2])


@pytest.mark.parametrize("name", shipped_cell_priors())
def test_shipped_is_near_the_exact_posterior_mean(name, monkeypatch):
    """At every noise level and number of antennas its error is at most 0.1 dB above the least possible."""
    monkeypatch.setattr(cell, "COLUMNS", 1000)
    prior = load_cell_prior(name)
    curve = HeldOutCell(Cell(prior.cell, CPU)).curve(prior.network, final=True)
    assert set(curve) == {"M=8", "M=16", "M=64"}
    for antennas, rows in curve.items():
        assert max(rows["above_exact"]) < 0.1, antennas
        assert max(prior.metadata["curve"][antennas]["above_exact"]) < 0.1  # as the file says of ten times as many


def test_posterior_in_any_shape_and_unit():
    prior = load_cell_prior("cell-network")
    rng = np.random.default_rng(0)
    v = rng.uniform(0.1, 2, (2, 3, 5))
    x = 3 * complex_normal(rng, 2, 3, 5, 12) * (rng.random((2, 3, 5, 1)) < 0.4)
    x = x + np.sqrt(v)[..., None] * complex_normal(rng, 2, 3, 5, 12)
    mean, variance, probability = prior.posterior(x, v)
    exact = jf.CellPrior().posterior(x, v)
    assert mean.shape == x.shape
    assert np.array_equal(variance, exact[1])
    assert np.array_equal(probability, exact[2])
    # Squared distance to the exact mean against the posterior variance: 0.1 dB is 2.3 %.
    assert np.mean(np.abs(mean - exact[0]) ** 2) < 0.023 * np.mean(variance)
    np.testing.assert_allclose(prior.posterior(x[0, 1, 2], v[0, 1, 2])[0], mean[0, 1, 2], rtol=1e-4, atol=1e-5)
    scaled = prior.with_power(10 * 1e4)
    np.testing.assert_allclose(scaled.posterior(1e2 * x, 1e4 * v)[0], 1e2 * mean, rtol=1e-4, atol=1e-3)
    assert prior.posterior(np.zeros((4, 0, 3)), np.ones((4, 0)))[0].shape == (4, 0, 3)
    with pytest.raises(ValueError, match="noise_var: expected positive finite variances, found 0 to 2"):
        prior.posterior(np.zeros((2, 3)), [0, 2])
    with pytest.raises(ValueError, match="columns: expected finite numbers"):
        prior.posterior(np.full((2, 3), np.nan), 1)


def test_read_only_arrays_pass_without_a_warning():
    x, v = np.broadcast_to(1.0 + 0j, (3, 4)), np.broadcast_to(0.5, (3,))
    torch.set_warn_always(True)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            CellNetworkPrior(random_network(), jf.CellPrior(), {}).posterior(x, v)
    finally:
        torch.set_warn_always(False)


def test_round_trip_and_export(tmp_path):
    path, world = tmp_path / "a.safetensors", jf.CellPrior(0.2, None, 40, 300, 3.0)
    network = random_network(3)
    save_prior(path, CellNetworkPrior(network, world.with_power(7.0), {"seed": 1}))
    again = load_cell_prior(path)
    assert (again.cell, again.metadata) == (world, {"seed": 1})
    assert again.network.architecture == {"width": 6, "blocks": 2, "reach": 3}
    for one, two in zip(network.state_dict().values(), again.network.state_dict().values(), strict=True):
        assert torch.equal(one, two)
    assert export_torchscript(again, tmp_path / "a.pt") < 1e-4
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        loaded = torch.jit.load(tmp_path / "a.pt")
    for size in ((5, 9), (16, 3)):
        x, v = inputs(*size)
        torch.testing.assert_close(loaded(x, v), network(x, v), rtol=1e-4, atol=1e-5)


def test_each_kind_of_prior_has_its_receiver(tmp_path):
    assert shipped_cell_priors() == ["cell-network"]
    assert "cell-network" not in shipped_priors()
    with pytest.raises(ValueError, match="prior: expected a channel prior, found 'cell-network'"):
        load_prior("cell-network")
    with pytest.raises(ValueError, match="prior: expected a cell's score network .*found 'cdl-tiny'"):
        load_cell_prior("cdl-tiny")
    pilots = np.ones((4, 3))
    with pytest.raises(ValueError, match="prior: expected one of cell-network or a .safetensors file, found 'cell-x'"):
        jf.LangevinReceiver(pilots, 2, "cell-x")
    with pytest.raises(FileNotFoundError, match="prior: expected one of cell-network"):
        jf.LangevinReceiver(pilots, 2, tmp_path / "none.safetensors")
    wanted = (
        "prior: expected 'cell', a name, a file or an object with posterior, with_power, unit, takes_tensors, found"
    )
    with pytest.raises(TypeError, match=f"{wanted} int"):
        jf.LangevinReceiver(pilots, 2, 3)
    with pytest.raises(TypeError, match=f"{wanted} type"):
        jf.LangevinReceiver(pilots, 2, jf.CellPrior)
    with pytest.raises(TypeError, match=f"{wanted} BeamPrior, a prior of OFDM channels, which Receiver takes"):
        jf.LangevinReceiver(pilots, 2, jf.load_prior("cdl-tiny"))


def test_unusable_files(tmp_path):
    path = tmp_path / "a.safetensors"
    save_prior(path, CellNetworkPrior(random_network(), jf.CellPrior(), {}))
    tensors = safetensors.torch.load(path.read_bytes())
    header = {"format": "jadce-prior", "version": "1", "network": "cell", "subcarriers": "1", "metadata": "{}"}
    header |= {"architecture": json.dumps(random_network().architecture)}
    header |= {"cell": '{"activity_rate": 0.1, "inner": 35, "outer": 250}'}

    def refused(message: str, change: dict[str, str], **replaced: torch.Tensor) -> None:
        path.write_bytes(safetensors.torch.save(tensors | replaced, header | change))
        with pytest.raises(ValueError, match=rf"(?s)^prior: expected a jadce-prior file .*found {message}"):
            load_cell_prior(path)

    path.write_bytes(safetensors.torch.save(tensors, header))
    load_cell_prior(path)  # this much is right
    refused("inconsistent file .*size mismatch", {"architecture": '{"width": 100000}'})
    refused("inconsistent file .*reach: expected an odd number", {"architecture": '{"reach": 2}'})
    refused("inconsistent file .*activity_rate", {"cell": '{"activity_rate": 2}'})
    refused("inconsistent file", {"cell": "[]"})
    refused("inconsistent file .*network.end.bias", {}, **{"network.end.bias": torch.full((3,), torch.nan)})


def test_receiver_with_the_network_is_as_good_as_with_the_exact_score():
    """The goals of docs/langevin.md: 2 dB of message passing and 1 % of 4 x 48 decisions, also at another M and N."""
    from jadce_fast import reference
    from jadce_fast.campaigns import CellScenario, draw_cell

    for antennas, snr in ((8, 10), (16, 45)):
        errors, wrong = [], np.zeros(2)
        for trial in range(4):
            drop = draw_cell(CellScenario(antennas=antennas, devices=48, symbols=36, snr_db=snr, active=5), 0, trial)
            rx = jf.LangevinReceiver(drop.pilots, antennas, "cell-network", threads=1)
            assert isinstance(rx.prior, CellNetworkPrior)
            p = rx.sample(drop.y, drop.noise_var)
            turbo = reference.cell_tmp(*drop.matrices, drop.noise_var, jf.CellPrior().posterior)
            active = np.isin(np.arange(48), drop.active)
            energy = np.sum(np.abs(drop.x) ** 2)
            errors.append([10 * np.log10(np.sum(np.abs(x - drop.x) ** 2) / energy) for x in (p.mean, turbo[0].T)])
            wrong += [np.sum((q >= 0.5) != active) for q in (p.probability, turbo[1])]
        network, message_passing = np.median(errors, axis=0)
        assert network < message_passing + 2
        assert wrong[0] <= wrong[1] + 2


def test_estimate_comes_from_the_network():
    """Another network, another estimate; the probability, closed form, follows only from what the chains found."""
    from jadce_fast.campaigns import CellScenario, draw_cell

    drop = draw_cell(CellScenario(antennas=6, devices=20, symbols=15, snr_db=20), 0, 4)
    good = jf.LangevinReceiver(drop.pilots, 6, "cell-network", threads=1).sample(drop.y, drop.noise_var)
    silent = CellNetworkPrior(random_network(), jf.CellPrior(), {})
    silent.posterior = lambda x, v: (0 * x, *jf.CellPrior().posterior(x, v)[1:])
    nothing = jf.LangevinReceiver(drop.pilots, 6, silent, threads=1).sample(drop.y, drop.noise_var)
    assert np.abs(good.mean).max() > 1
    assert not np.any(nothing.mean)


def test_figure_4(tmp_path, jadce):
    status, text, _ = jadce("figures", "tang-4", "--output", tmp_path, "--json")
    assert status == 0
    result = json.loads(text)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["tang-4.csv", "tang-4.png"]
    assert (tmp_path / "tang-4.csv").read_text().splitlines()[0] == "step,loss"
    assert result["results"][0]["loss"] > 10 * result["results"][-1]["loss"]
    # No network is below the exact score, on the same draws less what chance can do.
    assert 0.999 < result["network"] / result["exact"] < 1.01
    save_prior(tmp_path / "a.safetensors", CellNetworkPrior(random_network(), jf.CellPrior(), {}))
    status, _, notes = jadce("figures", "tang-4", "--prior", tmp_path / "a.safetensors")
    assert status == 2
    assert "--prior: expected a file with its training losses" in notes


def test_training_learns(tmp_path, monkeypatch):
    from jadce_fast.training import train

    monkeypatch.setattr(cell, "COLUMNS", 200)
    out = tmp_path / "a.safetensors"
    world = jf.CellPrior(0.2, None, 50, 200, 3.0)
    result = train(out, network="cell", width=8, channels=world, batch=4, steps=120, report=lambda *a: None)
    prior = load_cell_prior(out)
    assert prior.cell == world
    assert "--network cell --width 8 --reach 1" in prior.metadata["recipe"]
    losses = [row[1] for row in result["losses"]]
    assert np.median(losses[-10:]) < 1e-2 * np.median(losses[:3])
    # An untrained network leaves half of every column, -6 dB, where there is no noise to speak of.
    assert result["curve"]["M=16"]["nmse"][-1] < -40
