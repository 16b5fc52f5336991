"""Priors adapted by received blocks: what blocks say of channels, the loss that learns from it, the held-out rule."""

from __future__ import annotations

import dataclasses
import json
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from problems import WienerPrior, problem

import jadce_fast as jf
from jadce_fast.metrics import score
from jadce_fast.priors.beam_network import BeamNetwork
from jadce_fast.priors.files import load_prior, save_prior
from jadce_fast.training import adapt as module
from jadce_fast.training.adapt import Choice
from jadce_fast.training.beam import mean_and_variance_loss
from jadce_fast.training.held_out_blocks import HeldOutBlocks, left_out
from jadce_fast.training.noisy import example, noise_levels
from jadce_fast.training.received import Detecting, Heard, Observations, digest, missing_share, observe

pytestmark = pytest.mark.usefixtures("one_thread")
SIZE = {"devices": 64, "symbols": 12, "subcarriers": 8, "antennas": 8, "active": 4}
DETECTING = Detecting(None, "unknown", 1)


def new_prior(subcarriers=8, seed=0, **architecture):
    """Return a network that has learned nothing, which is the population's Wiener estimate, for `path_channels`."""
    torch.manual_seed(seed)
    wiener = WienerPrior(subcarriers)
    sizes = {"width": 16, "hidden": 16, "blocks": 2, "taps": 3} | architecture
    network = BeamNetwork(torch.from_numpy(wiener.eigenvalues), subcarriers, **sizes)
    return jf.BeamPrior(network, wiener.basis, wiener.beam_gain, wiener.beam_weight, {"name": "new"})


def wrong_prior(**more):
    """Return one whose network adds nonsense to the Wiener estimate."""
    prior = new_prior(**more)
    torch.nn.init.normal_(prior.network.out.weight, std=0.3)
    return prior


def captures(count=30, truth=False, **more):
    """Blocks of one set of pilots."""
    found = []
    pilots = None
    for seed in range(count):
        p = problem(**(SIZE | {"pilots": pilots or "dft", "seed": seed} | more))
        pilots = p.pilots
        known = {"true_active": p.active, "true_channels": p.channels} if truth else {}
        found.append(jf.Capture(p.y, pilots, p.noise_var, p.activity_rate, **known))
    return found


def run(blocks, out, steps, **more):
    return jf.adapt(blocks, out, **({"steps": steps, "prior": wrong_prior(), "report": lambda *a: None} | more))


def weights(path):
    return load_prior(path).network.state_dict()


def equal(one, two):
    return all(torch.equal(a, b) for a, b in zip(one.values(), two.values(), strict=True))


@pytest.mark.parametrize("pilots", ["dft", "qpsk"])
def test_observations_are_channels_in_white_noise_of_the_promised_variance(pilots):
    """Whatever the prior leaves out of them: its own estimates are far from white errors."""
    p = problem(400, 20, 12, 16, 20, pilots=pilots, seed=3)
    prior = new_prior(12)
    block = jf.Capture(p.y, p.pilots, p.noise_var, 0.05)
    ((noise_var, seen),) = observe([block], prior, DETECTING, lambda done: None)
    assert noise_var == p.noise_var
    beams = np.fft.fft(p.channels, axis=2, norm="ortho")
    z = prior.basis.conj().T @ beams
    truth = torch.from_numpy(np.concatenate([z.real, z.imag], 1))
    assert seen.seen.shape == truth.shape
    scale = (seen.estimate * truth).sum((1, 2)) / truth.square().sum((1, 2))  # to unit power
    error = (seen.seen - scale[:, None, None] * truth).square()
    promised = 0.5 * seen.noise[:, None].expand_as(error)
    # 20 * 12 * 16 squares of normal numbers have a mean within 2.3 % (one standard deviation), coefficients 5.6 %.
    assert float(error.sum() / promised.sum()) == pytest.approx(1, abs=0.1)
    each = error.sum((0, 2)) / promised.sum((0, 2))
    assert float((each - 1).abs().max()) < 0.25
    left = (seen.estimate - scale[:, None, None] * truth).square().sum((0, 2)) / promised.sum((0, 2))
    assert float(left.max() / left.min()) > 10  # the errors of estimates are not white


def test_the_missing_share_solves_its_equation():
    for load in (0.0, 0.01, 0.3, 2.0, 1e6):
        k = missing_share(load)
        assert 0 <= k < 1
        assert k == pytest.approx(load * (1 - k) ** 2, abs=1e-9)


def test_noisy_examples_teach_the_posterior_mean():
    """Normal channels of power 2 in noise 0.5: targets are worth, without bias, what the channels would be."""
    generator = torch.Generator().manual_seed(0)
    lam, own, count = 2.0, 0.5, 20_000

    def normal(power):
        return math.sqrt(power / 2) * torch.randn(count, 2, 4, generator=generator)

    x = normal(lam)
    noise, white = torch.full((count, 4), own), normal(2.0)
    for v in (0.55, 1.0, 8.0):
        noisy, level, target, excess = example(x + normal(own), noise, x, torch.full_like(noise, v), white)
        assert float(level[0, 0]) == pytest.approx(max(v, 1.25 * own))
        wiener = lam / (lam + level[:, None])
        assert float((noisy * target).sum() / noisy.square().sum()) == pytest.approx(float(wiener[0, 0, 0]), abs=0.02)
        eigenvalues = torch.tensor([lam])
        variance = (lam * level / (lam + level))[:, :, None].squeeze(2)
        fit, spread = mean_and_variance_loss(wiener * noisy, variance, target, level, eigenvalues, 1, excess=excess)
        weight = float(1 / (1 + excess[0, 0] / variance[0, 0]))
        assert float(fit) == pytest.approx(weight, abs=0.05)  # the error is the Wiener error, its unit
        assert float(spread) == pytest.approx(weight, abs=0.05)  # log 1 + 1
    noisy, level, target, excess = example(x + normal(own), noise, x, torch.full_like(noise, 0.1), white)
    assert torch.equal(target, x)  # here the estimates: levels below that of the observations
    assert float(excess.max()) == 0
    assert float(level.max()) == pytest.approx(0.1)


def test_half_of_the_levels_are_near_the_observations():
    generator = torch.Generator().manual_seed(0)
    v = noise_levels(torch.full((1000, 6), 0.01), 0.5, generator)
    near = v[:500].mean(1)
    assert 0.004 < float(near.min()) < 0.01
    assert 0.05 < float(near.max()) < 0.1
    assert float(v[500:].max()) > 10


def test_predicted_symbols_tell_the_error_without_truth():
    blocks = captures(12, truth=True)
    prior = new_prior()
    held_out = HeldOutBlocks(blocks, [b.noise_var for b in blocks], DETECTING)
    found = held_out.predict(prior)
    error = energy = 0.0
    ghosts = 0
    for block in blocks:
        keep = ~left_out(12)
        pilots = jf.Pilots.from_rows(block.pilots.rows[keep], 64)
        out = jf.Receiver(pilots, 8, prior, block.activity_rate).detect(block.y[keep], block.noise_var)
        assert np.isin(block.true_active, out.active).all()
        ghosts += len(out.active) - len(block.true_active)
        estimate = out.channels[np.isin(out.active, block.true_active)]
        error += np.sum(np.abs(estimate - block.true_channels) ** 2)
        energy += np.sum(np.abs(block.true_channels) ** 2)
    assert ghosts <= 2  # of 720 idle devices: 4 of 9000 over 150 such blocks
    # 12 blocks of 64 entries in noise 0.1 beside 4 channels of power one: 0.2 dB
    assert found.error == pytest.approx(error / energy, abs=0.01)
    # A candidate that takes noise for channels explains them worse.
    wrong = wrong_prior()
    assert (held_out.predict(wrong).likelihood < found.likelihood).mean() > 0.8
    np.testing.assert_array_equal(left_out(20).nonzero()[0], [5, 15])
    np.testing.assert_array_equal(left_out(2).nonzero()[0], [1])


def test_scrambled_pilots_are_kept():
    plain = jf.dft_pilots(64, 12, 8)
    scrambled, other = (
        jf.Pilots.from_rows(plain.rows, 64, 1.0, np.exp(2j * np.pi * np.random.default_rng(seed).random((12, 8))))
        for seed in (1, 2)
    )
    assert len({digest(pilots) for pilots in (plain, scrambled, other)}) == 3
    blocks = captures(12, pilots=scrambled)
    found = HeldOutBlocks(blocks, [b.noise_var for b in blocks], DETECTING).predict(new_prior())
    # A twentieth of the channels' power is left where pilots are known; with others all of it is.
    assert found.error < 0.05


def test_adapting_explains_new_blocks_better(tmp_path):
    out = tmp_path / "a.safetensors"
    result = run(captures(), out, 48)
    assert result["adapted"]
    assert result["gain"] > 2 * result["gain_error"] > 0
    assert result["gain"] == max(row["gain"] for row in result["history"])
    assert result["blocks"] + result["held_out"] + result["refused"] == 30
    prior = load_prior(out)
    assert prior.metadata["adapted"]["gain"] == result["gain"]
    assert "adapted" in prior.metadata["name"]
    assert not (tmp_path / "a.safetensors.checkpoint").exists()
    errors = []
    for which in (wrong_prior(), out):
        total = sum(
            scored(jf.Receiver(b.pilots, 8, which, b.activity_rate).detect(b.y, b.noise_var), b)
            for b in captures(40, truth=True)[30:]
        )
        errors.append(total.nmse_db)
    assert errors[1] < errors[0] - 1  # 1.75 dB when this was written


def scored(found, block):
    return score(found, block.true_active, block.true_channels)


def test_a_network_that_explains_held_out_blocks_worse_is_not_chosen():
    blocks, start, candidate = captures(6), new_prior(), wrong_prior()
    held_out = HeldOutBlocks(blocks, [b.noise_var for b in blocks], DETECTING)
    trainer = SimpleNamespace(loss=torch.zeros(2), count=1, average=candidate.network)
    progress = {"history": []}
    choice = Choice(trainer, [start], held_out, held_out.predict(start), progress)
    for validation in range(16):
        assert not progress.get("over")
        choice(float(validation))
    assert progress["over"]  # two thirds of the run brought nothing better
    assert all(row["gain"] < 0 for row in progress["history"])
    assert choice.best() is None
    # The other way round the same networks are a gain, and are kept whatever comes after.
    trainer.average = start.network
    choice = Choice(trainer, [candidate], held_out, held_out.predict(candidate), progress := {"history": []})
    choice(0.0)
    trainer.average = candidate.network
    choice(1.0)
    assert progress["history"][0]["gain"] > 0 >= progress["history"][1]["gain"]
    assert equal(choice.best().network.state_dict(), start.network.state_dict())


def test_noise_taken_for_channels_leaves_no_worse_prior(tmp_path, monkeypatch):
    """What is learned of noise grows worse and worse; what is written does not."""
    blocks, start = captures(), new_prior()
    heard = observe(blocks, start, DETECTING, lambda done: None)
    generator = torch.Generator().manual_seed(0)

    def noise(one):
        white = [torch.randn(x.shape, generator=generator) for x in (one.seen, one.estimate)]
        return Observations(white[0], one.noise, white[1])

    spoiled = [Heard(one.noise_var, noise(one.seen)) for one in heard]
    monkeypatch.setattr(module, "observe", lambda *a: spoiled)
    result = run(blocks, tmp_path / "a.safetensors", 96, prior=start)
    gains = [row["gain"] for row in result["history"]]
    assert gains[-1] < 0
    assert result["gain"] == pytest.approx(max(0.0, *gains))
    assert result["steps"] < 96  # it has not waited for the end
    assert start.metadata == {"name": "new"}


def stop_at(step):
    def report(done, count, line):
        if count == step:
            raise KeyboardInterrupt

    return report


def test_an_interrupted_run_ends_with_the_same_bits_and_looks_at_no_truth(tmp_path):
    a, b = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    one = run(captures(), a, 30)
    lies = [
        dataclasses.replace(block, true_active=[0], true_channels=np.ones((1, 8, 8), np.complex64))
        for block in captures()
    ]
    for step in (10, 21):
        with pytest.raises(KeyboardInterrupt):
            run(lies, b, 30, report=stop_at(step))
        assert not b.exists()
    with pytest.raises(ValueError, match="seed: expected 0 like the checkpoint"):
        run(lies, b, 30, seed=1)
    with pytest.raises(ValueError, match="blocks: expected '[0-9a-f]+' like the checkpoint"):
        run(lies[1:], b, 30)
    two = run(lies, b, 30)
    assert one["adapted"]
    assert equal(weights(a), weights(b))
    assert [row["gain"] for row in one["history"]] == [row["gain"] for row in two["history"]]
    assert sorted(path.name for path in tmp_path.iterdir()) == [a.name, b.name]


def test_of_a_cascade_the_last_member_is_adapted(tmp_path):
    cascade = jf.CascadePrior([wrong_prior(width=8), wrong_prior(seed=1)])
    result = run(captures(), tmp_path / "a.safetensors", 48, prior=cascade)
    assert result["adapted"]
    found = load_prior(tmp_path / "a.safetensors")
    kept = [
        equal(old.network.state_dict(), new.network.state_dict())
        for old, new in zip(cascade.members, found.members, strict=True)
    ]
    assert kept == [True, False]


def test_unusable_blocks(tmp_path):
    blocks = captures()

    def refused(match, blocks=blocks, error=ValueError, **more):
        with pytest.raises(error, match=match):
            run(blocks, tmp_path / "a.safetensors", 5, **more)

    refused("blocks: expected at least 20, found 3", blocks[:3])
    refused(r"blocks\[0\]: expected a jadce_fast.Capture, found int", [1], TypeError)
    refused(r"blocks\[0\]: expected the prior's 48 subcarriers, found 8", prior="cdl")
    refused(r"blocks\[0\]: expected at least two symbols", captures(20, symbols=1, active=1))
    refused(r"blocks\[1\]: expected 8 antennas like the first, found 4", [blocks[0], *captures(20, antennas=4)])
    noisy = [dataclasses.replace(block, noise_var=np.full((8, 1), 0.1)) for block in blocks]
    refused(r"blocks\[0\].noise_var: expected one number or none", noisy)
    refused(
        "prior: expected a beam network's or a cascade of such, found WienerPrior",
        error=TypeError,
        prior=WienerPrior(8),
    )
    refused("minutes: expected a finite number", minutes=0)
    silent = [dataclasses.replace(block, y=0.3 * block.y) for block in blocks]  # as if noise_var were far too large
    refused("blocks: expected at least 20 whose detections .* can be trusted, found", silent)
    empty = captures(30, active=0)
    refused("blocks: expected at least 100 devices in all .* found 0", empty)
    same = jf.Pilots(np.repeat(blocks[0].pilots.select()[:, :1], 8, axis=1))
    refused("pilots: expected sequences of one energy", captures(20, pilots=same))


def test_several_blocks_in_a_file_and_the_command(tmp_path, jadce):
    blocks = captures(31)
    first = blocks[0]
    shared = {"pilot_rows": first.pilots.rows, "devices": 64, "noise_var": first.noise_var}
    several, one, out = (tmp_path / name for name in ("several.npz", "one.npz", "a.safetensors"))
    np.savez(several, y=np.stack([b.y for b in blocks[:30]]), activity_rate=first.activity_rate, **shared)
    jf.save_capture(one, blocks[30])
    found = jf.load_blocks(several)
    assert len(found) == 30
    assert found[7] == blocks[7]
    assert found[7].pilots is found[0].pilots
    assert jf.load_blocks(one) == [blocks[30]]
    with pytest.raises(ValueError, match=r"y: expected shape \(12, 8, M\)"):
        jf.load_capture(several)
    save_prior(tmp_path / "start.safetensors", wrong_prior())
    command = ["adapt", out, several, one, "--prior", tmp_path / "start.safetensors", "--threads", 1]
    status, text, notes = jadce(*command, "--steps", 24, "--json")
    assert status == 0, notes
    result = json.loads(text)
    assert result["prior"] == str(out)
    assert result["blocks"] + result["held_out"] + result["refused"] == 31
    assert "31 blocks detected" in notes
    assert "held-out blocks: likelihood" in notes
    assert jf.Receiver(first.pilots, 8, out, 0.05).detect(first.y, first.noise_var).trusted
    status, text, notes = jadce(*command, "--minutes", 0.01)
    assert status == 0, notes
    assert "held-out blocks: channels" in text
    for arguments, reason in (
        (["adapt", tmp_path / "a.pt", one], "OUTPUT: expected the extension .safetensors"),
        (["adapt", out, tmp_path / "no.npz"], "expected a capture, found no such file"),
        (["adapt", out, one, "--power", "loud"], "--power: expected unknown or a number"),
        (["adapt", out, one], "blocks: expected the prior's 48 subcarriers"),
    ):
        status, text, notes = jadce(*arguments)
        assert (status, text) == (2, "")
        assert reason in notes.replace("blocks[0]", "blocks")
