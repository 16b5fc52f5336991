"""Training: the channel family, its statistics, the loss, and a run of a few seconds that is interrupted."""

from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import pytest
import torch

from jadce_fast.prior import load_prior
from jadce_fast.training import evaluate, family, mixture, train

CPU = torch.device("cpu")


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Small operators: torch's threads only wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


TABLES = family.load_tables(CPU)


def test_tables():
    assert TABLES.delay.shape == (5, 24)
    torch.testing.assert_close(TABLES.power.sum(1), torch.ones(5))
    assert TABLES.specular.sum(1).tolist() == [0, 0, 0, 1, 1]


@pytest.mark.parametrize("case", [(None, None), ("C", 1), ("D", 0)])
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
    source, real, imag = train.symmetries(64, 32, seeded(9))
    moved = wave.expand(64, 1, 32).gather(2, source) * torch.complex(*torch.broadcast_tensors(real, imag))
    antennas = torch.fft.ifft(moved, dim=2, norm="ortho")[:, 0]
    ratio = antennas[:, 1:] / antennas[:, :-1]
    torch.testing.assert_close(ratio, ratio[:, :1].expand_as(ratio), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(ratio.abs(), torch.ones_like(ratio.abs()), rtol=1e-4, atol=1e-4)
    assert len({round(a, 2) for a in ratio[:, 0].angle().tolist()}) > 20


def test_noise_maps():
    v = train.noise_maps(4000, 32, seeded(10))
    assert (v > 0).all()
    depth = v.max(1).values / v.min(1).values
    assert (depth < 1.001).float().mean().item() == pytest.approx(0.25, abs=0.05)
    assert depth.quantile(0.9) > 10


def test_variance_loss_is_least_at_the_expected_error():
    generator = seeded(11)
    truth, v = torch.zeros(4000, 2, 1), torch.ones(4000, 1)
    mean = 0.5 * torch.randn(4000, 2, 1, generator=generator)  # error of mean 0.5, exponential
    lam = torch.ones(1)

    def loss(s: float) -> float:
        return float(train.losses(mean, torch.full((4000, 1), s), truth, v, lam, 1)[1])

    assert loss(0.5) < min(loss(0.4), loss(0.6))


def test_beam_powers_of_a_known_mixture():
    """Beams of CDL channels differ in power by more than 100; the fit must be normalised, and of unit mean."""
    basis, value = family.klt(TABLES, seeded(), 4000)
    gain, weight = mixture.fit_beam_powers(TABLES, basis[:, :12], value[:12], seeded(1), count=300)
    assert gain.shape == weight.shape == (12,)
    assert (gain.diff() > 0).all()
    assert weight.sum().item() == pytest.approx(1, abs=1e-5)
    # The mean power is 1 by the normalisation of channels; coefficients do not share one factor exactly.
    assert (gain * weight).sum().item() == pytest.approx(1, abs=0.25)


@pytest.fixture
def quick(monkeypatch):
    """Train a small network on few channels, with cheap statistics: the loop itself is what is tested."""
    architecture = {"width": 16, "hidden": 16, "blocks": 2, "taps": 3, "dilations": (1,)}
    klt, fit, curve = family.klt, mixture.fit_beam_powers, evaluate.curve
    monkeypatch.setitem(train.SIZES, "test", architecture)
    monkeypatch.setattr(evaluate, "CASES", {"C arrival": ("C", 1)})
    monkeypatch.setattr(family, "klt", lambda tables, generator, count: klt(tables, generator, 2000))
    monkeypatch.setattr(mixture, "fit_beam_powers", lambda *a: fit(*a, count=100))
    monkeypatch.setattr(evaluate, "curve", lambda n, b, **k: curve(n, b, count=32, with_genie=False))
    options = {"size": "test", "batch": 16, "pool": 512, "rate": 1e-2, "report": lambda line: None}
    return lambda path, steps: train.train(path, steps=steps, **options)


def test_training_learns(tmp_path, quick):
    result = quick(tmp_path / "a.safetensors", 400)
    prior = load_prior(tmp_path / "a.safetensors")
    assert prior.metadata["steps"] == 400
    assert prior.metadata["license"] == "Apache-2.0"
    assert "--steps 400" in prior.metadata["recipe"]
    untrained = type(prior.network)(prior.network.eigenvalues, 48, **prior.network.architecture)
    wiener = evaluate.curve(untrained, torch.from_numpy(prior.basis))["C arrival"]["nmse"]
    # The network starts as population Wiener; this run gains 0.3 to 0.5 dB at 20 and 30 dB.
    for i in (3, 4):
        assert result["curve"]["C arrival"]["nmse"][i] < wiener[i] - 0.15


def test_training_is_reproducible_and_resumes(tmp_path, quick, monkeypatch):
    a, b, c = (tmp_path / f"{name}.safetensors" for name in "abc")
    assert quick(a, 30)["loss"] == quick(b, 30)["loss"]
    np.testing.assert_array_equal(load_prior(a).network.inp.weight, load_prior(b).network.inp.weight)

    # An interrupted run leaves a checkpoint and the next one goes on from it.
    step = train.Trainer.step

    def interrupted(self, rate):
        step(self, rate)
        if self.count == 20:
            self.save(tmp_path / "c.safetensors.checkpoint", 5.0)
            raise KeyboardInterrupt

    monkeypatch.setattr(train.Trainer, "step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        quick(c, 30)
    assert not c.exists()
    counted = []
    monkeypatch.setattr(train.Trainer, "step", lambda self, rate: (counted.append(rate), step(self, rate)))
    quick(c, 30)
    assert len(counted) == 10
    assert load_prior(c).metadata["steps"] == 30
    assert sorted(p.name for p in tmp_path.iterdir()) == [a.name, b.name, c.name]


def test_train_refuses(tmp_path):
    with pytest.raises(ValueError, match="size: expected one of tiny, base, large, found 'huge'"):
        train.train(tmp_path / "a", size="huge")
    with pytest.raises(ValueError, match="table: expected one of A, B, C, D, E, found 'AB'"):
        train.train(tmp_path / "a", table="AB")
    with pytest.raises(ValueError, match="steps: expected at least 1, found 0"):
        train.train(tmp_path / "a", steps=0)
    with pytest.raises(ValueError, match="minutes: expected a finite number"):
        train.train(tmp_path / "a", minutes=-1)


def test_command_line(tmp_path):
    def call(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "jadce_fast.training", *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=300)

    assert "--size" in call("--help").stdout
    wrong = call("--out", str(tmp_path / "a"), "--size", "huge")
    assert wrong.returncode == 2
    assert "huge" in wrong.stderr
