"""Training: the channel family, its statistics, the loss, and a run of a few seconds that is interrupted."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import warnings

import numpy as np
import pytest
import torch

from jadce_fast import cli
from jadce_fast.network import BeamNetwork
from jadce_fast.prior import ScorePrior, load_prior
from jadce_fast.training import beam_loss, data, evaluate, family, load_channels, loop, mixture, train

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


@pytest.mark.parametrize("case", [("cdl", None), ("wide", None), ("C", 1), ("D", 0)])
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
    source, real, imag = beam_loss.symmetries(64, 32, seeded(9))
    moved = wave.expand(64, 1, 32).gather(2, source) * torch.complex(*torch.broadcast_tensors(real, imag))
    antennas = torch.fft.ifft(moved, dim=2, norm="ortho")[:, 0]
    ratio = antennas[:, 1:] / antennas[:, :-1]
    torch.testing.assert_close(ratio, ratio[:, :1].expand_as(ratio), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(ratio.abs(), torch.ones_like(ratio.abs()), rtol=1e-4, atol=1e-4)
    assert len({round(a, 2) for a in ratio[:, 0].angle().tolist()}) > 20


def test_noise_maps():
    v = beam_loss.noise_maps(4000, 32, seeded(10))
    assert (v > 0).all()
    depth = v.max(1).values / v.min(1).values
    assert (depth < 1.001).float().mean().item() == pytest.approx(0.25, abs=0.05)
    assert depth.quantile(0.9) > 10


@pytest.mark.parametrize("antennas", [1, 2, 3])
def test_noise_maps_of_few_antennas(antennas):
    v = beam_loss.noise_maps(20000, antennas, seeded(10))
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
        return float(beam_loss.mean_and_variance_loss(mean, torch.full((4000, 1), s), truth, v, lam, 1)[1])

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
    network = BeamNetwork(value, 48, **loop.SIZES["tiny"]).eval()
    wiener = evaluate.curve(network, basis, case)["CDL-C arrival"]
    genie = evaluate.genie(case)["CDL-C arrival"]["genie"]
    assert all(g < w - 0.3 for g, w in zip(genie, wiener["nmse"], strict=True))
    assert all(low < high for low, high in zip(wiener["nmse"][1:], wiener["nmse"][:-1], strict=True))


def test_pool_of_any_moment_can_be_made_again():
    source = data.Family("C", CPU)
    basis = torch.eye(48, dtype=torch.complex64)[:, :2]
    pool = data.Pool(source, basis, True, 64, seeded(3))
    for _ in range(3):
        pool.refresh()
    again = data.Pool(source, basis, True, 64, seeded(3), made=pool.made)
    torch.testing.assert_close(again.data, pool.data, rtol=0, atol=0)
    assert not torch.equal(data.Pool(source, basis, True, 64, seeded(4), made=4).data, pool.data)


def test_beam_powers_of_a_known_mixture():
    """Beams of CDL channels differ in power by more than 100; the fit must be normalised, and of unit mean."""
    basis, value = family.klt(TABLES, seeded(), 4000)
    gain, weight = mixture.fit_beam_powers(data.Family("cdl", CPU), basis[:, :12], value[:12], seeded(1), count=300)
    assert gain.shape == weight.shape == (12,)
    assert (gain.diff() > 0).all()
    assert weight.sum().item() == pytest.approx(1, abs=1e-5)
    # The mean power is 1 by the normalisation of channels; coefficients do not share one factor exactly.
    assert (gain * weight).sum().item() == pytest.approx(1, abs=0.25)


@pytest.fixture
def quick(monkeypatch):
    """Train a small network on few channels, with cheap statistics: the loop itself is what is tested."""
    architecture = {"width": 16, "hidden": 16, "blocks": 2, "taps": 3, "dilations": (1,)}
    klt, fit, held_out = family.klt, mixture.fit_beam_powers, data.Family.held_out
    monkeypatch.setitem(loop.SIZES, "tiny", architecture)
    monkeypatch.setattr(family, "klt", lambda tables, generator, count, kind: klt(tables, generator, 2000, kind))
    monkeypatch.setattr(mixture, "fit_beam_powers", lambda *a: fit(*a, count=100))
    monkeypatch.setattr(data.Family, "held_out", lambda self, count: held_out(self, min(count, 16))[:1])

    def run(path, steps, **more):
        options = {"network": "tiny", "batch": 16, "pool": 512, "rate": 1e-2, "report": lambda *a: None}
        return train(path, steps=steps, **(options | more))

    return run


def test_training_learns(tmp_path, quick):
    quick(tmp_path / "a.safetensors", 400, channels="C")
    prior = load_prior(tmp_path / "a.safetensors")
    assert prior.metadata["steps"] == 400
    assert prior.metadata["license"] == "Apache-2.0"
    assert "--steps 400" in prior.metadata["recipe"]
    assert len(prior.metadata["history"]) == 24
    untrained = type(prior.network)(prior.network.eigenvalues, 48, **prior.network.architecture).eval()
    held_out, basis = data.Family("C", CPU).held_out(256)[:1], torch.from_numpy(prior.basis)
    before, after = (evaluate.curve(n, basis, held_out)["CDL-C arrival"]["nmse"] for n in (untrained, prior.network))
    # The network starts as population Wiener; this run gains 0.66 and 1.28 dB at 20 and 30 dB.
    for i in (3, 4):
        assert after[i] < before[i] - 0.3


def stop_at(step):
    def report(done, count, line):
        if count == step:
            raise KeyboardInterrupt

    return report


@pytest.mark.parametrize("network", ["tiny", "ncsn"])
def test_interrupted_training_ends_with_the_same_bits(tmp_path, quick, network):
    a, b = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    steps = 60 if network == "tiny" else 6  # the pool is refreshed every 4 * 512 / 16 updates or not at all
    more = {"network": network, "width": 2, "pool": 32 if network == "tiny" else 512}
    quick(a, steps, **more)
    for step in (steps // 3, steps // 2):
        with pytest.raises(KeyboardInterrupt):
            quick(b, steps, report=stop_at(step), **more)
        assert not b.exists()
    quick(b, steps, **more)
    one, two = load_prior(a), load_prior(b)
    for x, y in zip(one.network.state_dict().values(), two.network.state_dict().values(), strict=True):
        assert torch.equal(x, y)
    for x, y in zip(one.metadata["history"], two.metadata["history"], strict=True):
        assert x | {"seconds": 0} == y | {"seconds": 0}
    assert isinstance(one, ScorePrior) == (network == "ncsn")
    assert sorted(p.name for p in tmp_path.iterdir()) == [a.name, b.name]


def test_checkpoint_of_other_settings_or_damaged_is_refused(tmp_path, quick):
    out = tmp_path / "a.safetensors"
    with pytest.raises(KeyboardInterrupt):
        quick(out, 30, report=stop_at(5))
    with pytest.raises(ValueError, match=r"steps: expected 30 like the checkpoint .*, found 31"):
        quick(out, 31)
    with pytest.raises(ValueError, match="seed: expected 0 like the checkpoint"):
        quick(out, 30, seed=1)
    one, other = (torch.randn(20, 4, 2, dtype=torch.complex64, generator=seeded(i)) for i in (1, 2))
    with pytest.raises(KeyboardInterrupt):
        quick(tmp_path / "b.safetensors", 30, report=stop_at(5), channels=one)
    with pytest.raises(ValueError, match="recording: expected '[0-9a-f]+' like the checkpoint"):
        quick(tmp_path / "b.safetensors", 30, channels=other)
    checkpoint = tmp_path / "a.safetensors.checkpoint"
    checkpoint.write_bytes(checkpoint.read_bytes()[:1000])
    with pytest.raises(ValueError, match="checkpoint: expected one that this command wrote"):
        quick(out, 30)


def test_divergence_is_an_error(tmp_path, quick):
    with pytest.raises(RuntimeError, match="training diverged at step"):
        quick(tmp_path / "a", 50, rate=1e30)


def record(path, key="channels", shape=(60, 6, 5)):
    import h5py
    from scipy.io import savemat

    rng = np.random.default_rng(0)
    smooth = rng.standard_normal((shape[0], 2, shape[2])) + 1j * rng.standard_normal((shape[0], 2, shape[2]))
    h = (np.exp(2j * np.pi * np.outer(np.arange(shape[1]), [0, 0.03])) @ smooth).astype(np.complex64)
    if path.suffix == ".npz":
        np.savez(path, **{key: h})
    elif path.suffix == ".mat":
        savemat(path, {key: h})
    else:
        with h5py.File(path, "w") as file:
            file[key] = h
    return h


@pytest.mark.parametrize("suffix", [".npz", ".mat", ".h5"])
def test_recorded_channels_of_any_size(tmp_path, quick, suffix):
    path = tmp_path / f"r{suffix}"
    h = record(path)
    loaded = load_channels(path)
    np.testing.assert_array_equal(loaded.numpy(), h)
    result = quick(tmp_path / "a.safetensors", 20, channels=loaded)
    prior = load_prior(tmp_path / "a.safetensors")
    assert prior.basis.shape == (6, 2)  # two delays: two coefficients hold all the energy
    span = prior.basis @ (prior.basis.conj().T @ h)
    assert np.linalg.norm(span - h) < 0.01 * np.linalg.norm(h)
    assert result["curve"]["held out"]["nmse"][4] < -25
    mean, var = prior.denoise(np.ones((3, 2, 5), np.complex64), np.ones((3, 5), np.float32))
    assert np.isfinite(mean).all()
    assert (var > 0).all()


def test_unusable_recordings(tmp_path):
    def refused(path, match, error=ValueError):
        with pytest.raises(error, match=match):
            load_channels(path)

    refused(tmp_path / "a.csv", "expected the extension .npz, .mat, .h5, .hdf5, found .csv")
    refused(tmp_path / "a.npz", "expected a file of channels, found none", FileNotFoundError)
    (tmp_path / "a.h5").write_bytes(b"nothing")
    refused(tmp_path / "a.h5", "found a damaged one")
    record(tmp_path / "b.h5", "other")
    refused(tmp_path / "b.h5", "channels: expected an array of this name, found none")
    np.savez(tmp_path / "c.npz", channels=np.full((30, 2, 2), np.nan))
    refused(tmp_path / "c.npz", "channels: expected finite numbers")
    np.savez(tmp_path / "d.npz", channels=np.ones((30, 2)))
    refused(tmp_path / "d.npz", "channels: expected shape")
    few = torch.ones(5, 2, 2, dtype=torch.complex64)
    with pytest.raises(ValueError, match="channels: expected at least 20"):
        train(tmp_path / "a", channels=few)


def test_tensorboard_has_the_validation_curve(tmp_path, quick):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    quick(tmp_path / "a.safetensors", 24, log=tmp_path / "log", channels="C")
    events = accumulator.EventAccumulator(str(tmp_path / "log")).Reload()
    tags = events.Tags()["scalars"]
    assert {"loss/mean", "rate", "CDL-C arrival NMSE dB/10 dB", "CDL-C arrival above genie dB/-10 dB"} <= set(tags)
    assert [e.step for e in events.Scalars("loss/mean")] == list(range(1, 25))


AVERAGED = """
import torch
from jadce_fast.network import BeamNetwork
from jadce_fast.training import data
from jadce_fast.training.trainer import Trainer

torch.set_num_threads(1)
torch.distributed.init_process_group("gloo")
processes, rank = torch.distributed.get_world_size(), torch.distributed.get_rank()


def trained(processes, rank):
    torch.manual_seed(0)
    value, basis = torch.ones(3), torch.eye(48, dtype=torch.complex64)[:, :3]
    network = BeamNetwork(value, 48, width=8, hidden=8, blocks=1, taps=3)
    source = data.Family("C", torch.device("cpu"))
    run = Trainer(network, source, basis, seed=1, device=torch.device("cpu"), batch=8, pool=32, rank=rank,
                  processes=processes)
    for _ in range(3):
        run.step(1e-2)
    return torch.cat([p.detach().flatten() for p in run.network.parameters()])


# Equal draws in both processes have the mean gradient of one; different draws leave both with equal weights.
assert torch.equal(trained(2, 0), trained(1, 0))
mine = trained(2, rank)
other = [torch.empty_like(mine) for _ in range(2)]
torch.distributed.all_gather(other, mine)
assert torch.equal(*other)
assert not torch.equal(mine, trained(1, 0))
"""


def torchrun(*arguments):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


def test_processes_average_their_gradients(tmp_path):
    script = tmp_path / "averaged.py"
    script.write_text(AVERAGED)
    done = torchrun(str(script))
    assert done.returncode == 0, done.stderr[-2000:]


def test_torchrun_trains_on_a_recording(tmp_path):
    record(tmp_path / "r.npz")
    arguments = ["-m", "jadce_fast.cli", "train", str(tmp_path / "a.safetensors"), "--network", "tiny"]
    arguments += ["--channels", str(tmp_path / "r.npz"), "--steps", "6", "--batch", "8", "--threads", "1"]
    done = torchrun(*arguments)
    assert done.returncode == 0, done.stderr[-2000:]
    assert load_prior(tmp_path / "a.safetensors").metadata["settings"]["processes"] == 2


def test_train_refuses(tmp_path):
    with pytest.raises(ValueError, match="network: expected one of tiny, base, large, ncsn, found 'huge'"):
        train(tmp_path / "a", network="huge")
    with pytest.raises(ValueError, match="channels: expected one of cdl, wide, A, B, C, D, E or recorded"):
        train(tmp_path / "a", channels="AB")
    with pytest.raises(ValueError, match="device: expected cpu or cuda, found 'abacus'"):
        train(tmp_path / "a", device="abacus")
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match="device: expected cpu, or cuda where there is one, found 'cuda'"):
            train(tmp_path / "a", device="cuda")
    with pytest.raises(ValueError, match="out: expected a file in an existing directory"):
        train(tmp_path / "no" / "a.safetensors")
    with pytest.raises(ValueError, match="steps: expected at least 1, found 0"):
        train(tmp_path / "a", steps=0)
    with pytest.raises(ValueError, match="minutes: expected a finite number"):
        train(tmp_path / "a", minutes=-1)


def test_command_line(tmp_path, capsys):
    def call(*arguments):
        with pytest.raises(SystemExit) as end:
            cli.main([str(a) for a in arguments])
        return (end.value.code, *capsys.readouterr())

    record(tmp_path / "r.npz")
    out = tmp_path / "a.safetensors"
    wanted = ["--network", "tiny", "--channels", tmp_path / "r.npz", "--steps", 10, "--threads", 1]
    status, text, notes = call("train", out, *wanted, "--json")
    assert status == 0, notes
    result = json.loads(text)
    assert result["steps"] == 10
    assert result["prior"] == str(out)
    assert "held out NMSE" in notes
    status, text, _ = call("export", out, tmp_path / "a.pt", "--json")
    assert status == 0
    assert json.loads(text)["difference"] < 1e-5
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        network = torch.jit.load(tmp_path / "a.pt")
    mean, var = network(torch.ones(2, 4, 5), torch.ones(2, 5))
    assert mean.shape == (2, 4, 5)
    assert var.shape == (2, 5)

    for arguments, reason in (
        (["train", out, "--network", "huge"], "network: expected one of"),
        (["train", tmp_path / "a.pt"], "OUTPUT: expected the extension .safetensors"),
        (["train", out, "--channels", tmp_path / "no.npz"], "expected a file of channels, found none"),
        (["train", out, "--channels", "no"], "channels: expected one of cdl, wide"),
        (["export", "no", tmp_path / "a.pt"], "prior: expected one of"),
        (["export", out, tmp_path / "a.onnx"], "OUTPUT: expected the extension .pt"),
    ):
        status, text, notes = call(*arguments)
        assert (status, text) == (2, "")
        assert reason in notes
