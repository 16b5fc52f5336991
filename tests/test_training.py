"""Training runs of a few seconds: what they reach, interruptions, recordings, several processes, the command line."""

from __future__ import annotations

import json
import subprocess
import sys
import warnings

import numpy as np
import pytest
import torch

from jadce_fast.priors.cell import CellPrior
from jadce_fast.priors.files import load_cell_prior, load_prior
from jadce_fast.priors.ncsn import NcsnPrior
from jadce_fast.training import beam, cell, data, evaluate, family, load_channels, mixture, train

pytestmark = pytest.mark.usefixtures("one_thread")
CPU = torch.device("cpu")


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def quick(monkeypatch):
    """Train a small network on few channels, with cheap statistics: the loop itself is what is tested."""
    architecture = {"width": 16, "hidden": 16, "blocks": 2, "taps": 3, "dilations": (1,)}
    klt, fit, held_out = family.klt, mixture.fit_beam_powers, data.Family.held_out
    monkeypatch.setitem(beam.SIZES, "tiny", architecture)
    monkeypatch.setattr(family, "klt", lambda tables, generator, count, *rest: klt(tables, generator, 2000, *rest))
    monkeypatch.setattr(cell, "COLUMNS", 100)
    monkeypatch.setattr(beam, "fit_beam_powers", lambda *a: fit(*a, count=100))
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


@pytest.mark.parametrize("network", ["tiny", "ncsn", "cell"])
def test_interrupted_training_ends_with_the_same_bits(tmp_path, quick, network):
    a, b = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    steps = 60 if network == "tiny" else 6  # the pool is refreshed every 4 * 512 / 16 updates or not at all
    more = {"network": network, "width": 2, "pool": 32 if network == "tiny" else 512}
    load = load_cell_prior if network == "cell" else load_prior
    quick(a, steps, **more)
    for step in (steps // 3, steps // 2):
        with pytest.raises(KeyboardInterrupt):
            quick(b, steps, report=stop_at(step), **more)
        assert not b.exists()
    quick(b, steps, **more)
    one, two = load(a), load(b)
    for x, y in zip(one.network.state_dict().values(), two.network.state_dict().values(), strict=True):
        assert torch.equal(x, y)
    for x, y in zip(one.metadata["history"], two.metadata["history"], strict=True):
        assert x | {"seconds": 0} == y | {"seconds": 0}
    assert one.metadata["losses"] == two.metadata["losses"]
    assert [row[0] for row in one.metadata["losses"]][:5] == [1, 2, 3, 4, 5]
    assert isinstance(one, NcsnPrior) == (network == "ncsn")
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

    refused(tmp_path / "a.csv", "expected the extension .npz, .h5, .hdf5, .mat, found .csv")
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
from jadce_fast.priors.beam_network import BeamNetwork
from jadce_fast.training import data
from jadce_fast.training.beam import BeamObjective
from jadce_fast.training.trainer import Trainer, process_seed

torch.set_num_threads(1)
torch.distributed.init_process_group("gloo")
processes, rank = torch.distributed.get_world_size(), torch.distributed.get_rank()


def trained(processes, rank):
    torch.manual_seed(0)
    value, basis = torch.ones(3), torch.eye(48, dtype=torch.complex64)[:, :3]
    network = BeamNetwork(value, 48, width=8, hidden=8, blocks=1, taps=3)
    source = data.Family("C", torch.device("cpu"))
    cpu = torch.device("cpu")
    statistics = (basis, torch.ones(1), torch.ones(1))
    objective = BeamObjective(network, source, statistics, pool=32, seed=process_seed(1, rank) + 1, device=cpu)
    run = Trainer(objective, seed=1, device=cpu, batch=8, rank=rank, processes=processes)
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
    with pytest.raises(ValueError, match="network: expected one of tiny, base, large, ncsn, cell, found 'huge'"):
        train(tmp_path / "a", network="huge")
    with pytest.raises(ValueError, match="channels: expected one of cdl, wide, random-C, A, B, C, D, E or recorded"):
        train(tmp_path / "a", channels="AB")
    with pytest.raises(ValueError, match="channels: expected one of cdl, .*found CellPrior"):
        train(tmp_path / "a", channels=CellPrior())
    with pytest.raises(ValueError, match="channels: expected cell or a CellPrior with network cell, found 'cdl'"):
        train(tmp_path / "a", network="cell", channels="cdl")
    with pytest.raises(ValueError, match="reach: expected an odd number of devices, found 2"):
        train(tmp_path / "a", network="cell", reach=2)
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


def test_command_line(tmp_path, jadce):
    record(tmp_path / "r.npz")
    out = tmp_path / "a.safetensors"
    wanted = ["--network", "tiny", "--channels", tmp_path / "r.npz", "--steps", 10, "--threads", 1]
    status, text, notes = jadce("train", out, *wanted, "--json")
    assert status == 0, notes
    result = json.loads(text)
    assert result["steps"] == 10
    assert result["prior"] == str(out)
    assert "held out NMSE" in notes
    status, text, _ = jadce("export", out, tmp_path / "a.pt", "--json")
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
        status, text, notes = jadce(*arguments)
        assert (status, text) == (2, "")
        assert reason in notes
