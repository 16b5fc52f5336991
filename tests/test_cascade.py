"""Priors of several denoisers that take turns."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from problems import SIZES, WienerPrior, problem
from test_cuda_receiver import same
from test_prior import inputs, random_prior

import jadce_fast as jf
from jadce_fast import reference
from jadce_fast.priors.export import export_torchscript
from jadce_fast.priors.files import load_prior, save_prior
from jadce_fast.priors.gaussian import GaussianPrior


class Cautious(WienerPrior):
    """Leaves a part of every channel out, and says so; counts the devices that it is given."""

    def __init__(self, subcarriers: int, left_out: float) -> None:
        super().__init__(subcarriers)
        self.left_out, self.calls = left_out, 0

    def denoise(self, z, v, devices):
        self.calls += 1
        mean, var = super().denoise(z, v, devices)
        left = self.left_out
        return (1 - left) * mean, var + left**2 * self.eigenvalues.sum() / self.subcarriers


def cascade(subcarriers: int, *left_out: float) -> jf.CascadePrior:
    return jf.CascadePrior([Cautious(subcarriers, part) for part in left_out])


@pytest.mark.parametrize("size", ["plain", "prime", "odd", "one-antenna", "one-subcarrier"])
@pytest.mark.parametrize("most", [2, 9])
def test_equals_the_dense_reference(size, most):
    """The members' turns too; tolerances are those of test_receiver.py."""
    p = problem(**SIZES[size], snr_db=15, seed=5)
    n, m = p.y.shape[1:]
    rules = jf.Rules(max_iterations=most, screening=False)
    prior = cascade(n, 0.3, 0.1, 0.0)
    out = jf.Receiver(p.pilots, m, prior, p.activity_rate, 1.0, threads=1, rules=rules).detect(p.y, p.noise_var)
    calls = [member.calls for member in prior.members]
    history = reference.beamspace_stmp(
        p.y, p.pilots, prior, p.noise_var, p.activity_rate, iterations=out.iterations, rules=rules
    )
    turns = [iteration.member for iteration in history]
    assert calls == [turns.count(member) for member in range(3)]
    assert turns[-1] == 2
    for found, expected in zip(out.history, history, strict=True):
        assert found["error_var"] == pytest.approx(expected.v.mean(), rel=1e-3)
    kept = reference.best(history, rules)
    assert kept.member == 2
    x = np.einsum("np,apm->anm", prior.basis.astype(complex), kept.mean)[np.searchsorted(kept.candidates, out.active)]
    expected_channels = reference.beamspace(x, inverse=True)
    assert np.array_equal(out.active, np.flatnonzero(kept.probability >= 0.5))
    assert np.linalg.norm(out.channels - expected_channels) <= 2e-3 * np.linalg.norm(expected_channels)


def test_hands_over_at_the_rule():
    """The first member works while the error falls by more than `handover`, and the loop ends with the last."""
    p = problem(**SIZES["odd"], snr_db=20, seed=1)
    used = []
    for handover in (0.05, 0.5, 0.99):
        prior = cascade(12, 0.3, 0.0)
        rules = jf.Rules(handover=handover)
        out = jf.Receiver(p.pilots, 16, prior, p.activity_rate, 1.0, threads=1, rules=rules).detect(p.y, p.noise_var)
        error = [step["error_var"] for step in out.history]
        falls = np.divide(error[1:], error[:-1])
        first = prior.members[0].calls
        assert (falls[: first - 1] <= handover).all()
        assert falls[first - 1] > handover
        assert prior.members[1].calls == out.iterations - first >= 1
        assert out.stopped_because == "fixed point"
        used.append(first)
    assert used == sorted(used)
    assert used[0] < used[-1]


def test_is_as_good_as_its_last_member():
    """What a poor first member leaves is undone."""
    p = problem(**SIZES["odd"], snr_db=20, seed=1)

    def error(prior):
        out = jf.Receiver(p.pilots, 16, prior, p.activity_rate, 1.0, threads=1).detect(p.y, p.noise_var)
        assert np.array_equal(out.active, p.active)
        return np.linalg.norm(out.channels - p.channels)

    first, last = error(Cautious(12, 0.3)), error(WienerPrior(12))
    assert error(cascade(12, 0.3, 0.0)) <= 1.02 * last < 0.5 * first


def test_members_must_agree():
    a, b = random_prior(0), random_prior(1)
    with pytest.raises(ValueError, match=r"members: expected two priors or more, found 1"):
        jf.CascadePrior([a])
    with pytest.raises(ValueError, match=r"members\[1\]\.basis: expected the first one's, found another"):
        jf.CascadePrior([a, b])
    with pytest.raises(ValueError, match=r"members\[1\]\.beamspace: expected True like the first one's, found False"):
        jf.CascadePrior([a, GaussianPrior(12)])
    with pytest.raises(TypeError, match=r"members\[1\]: expected a prior of channels, found CellPrior"):
        jf.CascadePrior([a, jf.CellPrior(0.05)])
    with pytest.raises(ValueError, match=r"members\[1\]\.basis: expected the first one's"):
        load_prior("cdl-tiny+cdl-wide")
    with pytest.raises(ValueError, match="prior: expected one of .*found 'cdx'"):
        load_prior("cdl+cdx")
    with pytest.raises(ValueError, match="prior: expected one of .*found ''"):
        load_prior("cdl+")


def pair() -> jf.CascadePrior:
    """Two networks over one basis."""
    first, second = random_prior(0), random_prior(1)
    shared = (first.basis, first.beam_gain, first.beam_weight)
    return jf.CascadePrior([first, jf.BeamPrior(second.network, *shared, {"seed": 2})])


def test_files(tmp_path):
    prior, path = pair(), tmp_path / "a+b.safetensors"
    save_prior(path, prior)
    again = load_prior(str(path))
    assert isinstance(again, jf.CascadePrior)
    assert again.metadata == {"members": [{"seed": 1}, {"seed": 2}]}
    for mine, theirs in zip(prior.members, again.members, strict=True):
        for one, other in zip(mine.denoise(*inputs()), theirs.denoise(*inputs()), strict=True):
            np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(again.denoise(*inputs())[0], prior.members[1].denoise(*inputs())[0])
    path.write_bytes(path.read_bytes().replace(b'"members":"2"', b'"members":"3"'))
    with pytest.raises(ValueError, match="inconsistent file"):
        load_prior(path)


def test_names():
    prior = load_prior("cdl-tiny+cdl-large")
    assert isinstance(prior, jf.CascadePrior)
    for member, name in zip(prior.members, ("cdl-tiny", "cdl-large"), strict=True):
        assert member.network.architecture == load_prior(name).network.architecture


def test_is_exported_by_its_members(tmp_path):
    with pytest.raises(TypeError, match="prior: expected one with a network, found CascadePrior; export its members"):
        export_torchscript(pair(), tmp_path / "a.pt")


@pytest.mark.parametrize(("network", "tolerance"), [("fp32", 1e-3), ("bf16", 0.02)])
def test_gpu(gpu_device, network, tolerance):
    """In one graph, each block of a batch at its own pace."""
    p = problem(devices=90, symbols=12, subcarriers=48, antennas=4, active=4, snr_db=18, delay_spread=0.02, seed=1)
    other = problem(**(dict(devices=90, symbols=12, subcarriers=48, antennas=4, active=2)), snr_db=0, seed=2)
    y = np.stack([p.y, other.y])
    arguments = dict(prior="cdl-tiny+cdl", activity_rate=0.05, power=1.0, rules=jf.Rules(max_iterations=6), capacity=8)
    cpu = jf.Receiver(p.pilots, 4, threads=1, network="fp32", **arguments)
    rx = jf.Receiver(p.pilots, 4, device="cuda", batch=2, network=network, **arguments)
    assert rx.gpu.detector.word("members").tolist() == [2, 2]
    for found, block in zip(rx.detect_many(y, p.noise_var), y, strict=True):
        same(found, cpu.detect(block, p.noise_var), tolerance)
    assert rx.gpu.detector.word("member").tolist() == [1, 1]


def test_gpu_without_kernels_for_all_runs_the_last_member(gpu_device):
    p = problem(devices=50, symbols=10, subcarriers=48, antennas=3, active=3, snr_db=15, seed=1)
    arguments = dict(activity_rate=0.05, power=1.0, rules=jf.Rules(max_iterations=2), capacity=6)
    found, expected = (
        jf.Receiver(p.pilots, 3, prior, device="cuda", network="torchscript", **arguments).detect(p.y, p.noise_var)
        for prior in ("cdl+cdl-tiny", "cdl-tiny")
    )
    assert found.history == expected.history
    assert torch.equal(torch.as_tensor(found.channels), torch.as_tensor(expected.channels))
