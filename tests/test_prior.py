"""Priors: the files, the network's invariances and limits, and what the shipped weights are worth."""

from __future__ import annotations

import json
import warnings

import numpy as np
import pytest
import safetensors.torch
import torch

import jadce_fast as jf
from jadce_fast.priors.beam_network import BeamNetwork
from jadce_fast.priors.export import export_torchscript
from jadce_fast.priors.files import load_prior, save_prior, shipped_priors
from jadce_fast.priors.gaussian import GaussianPrior
from jadce_fast.priors.ncsn import NcsnPrior
from jadce_fast.priors.ncsn_network import NcsnNetwork

P, N, M = 5, 12, 16


def random_prior(seed: int = 0) -> jf.BeamPrior:
    """A small network with random weights everywhere, so that every layer counts."""
    generator = torch.Generator().manual_seed(seed)
    eigenvalues = torch.tensor([8.0, 2.0, 1.0, 0.5, 0.1])
    network = BeamNetwork(eigenvalues, N, width=8, hidden=12, blocks=3, taps=5, dilations=(1, 2))
    with torch.no_grad():
        for weight in network.parameters():
            weight.copy_(0.3 * torch.randn(weight.shape, generator=generator))
    basis = np.linalg.qr(noise((N, P), seed))[0].astype(np.complex64)
    return jf.BeamPrior(
        network, basis, np.array([0.1, 1, 4], np.float32), np.array([0.3, 0.5, 0.2], np.float32), {"seed": 1}
    )


def score_prior(subcarriers: int = P, seed: int = 0) -> NcsnPrior:
    """The paper's networks, small, with random weights in the last layers too, which start from zero."""
    torch.manual_seed(seed)
    network = NcsnNetwork(subcarriers, width=2)
    for net in (network.first, network.second):
        torch.nn.init.normal_(net.end.weight, std=0.1)
    return NcsnPrior(network, {"seed": 1})


def noise(shape: tuple[int, ...], seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return ((rng.normal(size=shape) + 1j * rng.normal(size=shape)) / 2**0.5).astype(np.complex64)


def inputs(seed: int = 3, count: int = 6) -> tuple[np.ndarray, np.ndarray]:
    v = np.random.default_rng(seed).uniform(0.05, 2, (count, M)).astype(np.float32)
    return 2 * noise((count, P, M), seed), v


def test_round_trip(tmp_path):
    prior, path = random_prior(), tmp_path / "small.safetensors"
    save_prior(path, prior)
    again = load_prior(path)
    assert again.subcarriers == N
    assert again.metadata == {"seed": 1}
    for name in ("basis", "eigenvalues", "beam_gain", "beam_weight"):
        np.testing.assert_array_equal(getattr(again, name), getattr(prior, name))
    for one, other in zip(prior.denoise(*inputs()), again.denoise(*inputs()), strict=True):
        np.testing.assert_array_equal(one, other)
    assert [p.name for p in tmp_path.iterdir()] == ["small.safetensors"]  # no temporary file stays


def test_round_trip_of_score_networks(tmp_path):
    prior, path = score_prior(), tmp_path / "pair.safetensors"
    save_prior(path, prior)
    again = load_prior(path)
    assert isinstance(again, NcsnPrior)
    assert (again.subcarriers, again.metadata) == (P, {"seed": 1})
    assert again.network.architecture == prior.network.architecture
    for name, value in prior.network.state_dict().items():
        np.testing.assert_array_equal(again.network.state_dict()[name], value)
    for one, other in zip(prior.denoise(*inputs()), again.denoise(*inputs()), strict=True):
        np.testing.assert_array_equal(one, other)
    assert [p.name for p in tmp_path.iterdir()] == ["pair.safetensors"]


def test_files_without_the_name_of_a_network_hold_a_beam_network(tmp_path):
    """As written before there were two."""
    path = tmp_path / "old.safetensors"
    save_prior(path, random_prior())
    content = path.read_bytes()
    with safetensors.safe_open(path, framework="pt") as file:
        header = file.metadata()
    assert header.pop("network") == "beam"
    path.write_bytes(safetensors.torch.save(safetensors.torch.load(content), header))
    assert isinstance(load_prior(path), jf.BeamPrior)


def test_score_prior_denoises_in_pieces():
    prior = score_prior()
    z, v = inputs(count=70)  # more than go through the networks at once
    mean, var = prior.denoise(z, v)
    stacked = torch.from_numpy(np.concatenate([z.real, z.imag], 1))
    eager_mean, eager_var = (x.numpy() for x in prior.network(stacked, torch.from_numpy(v)))
    assert (mean.dtype, var.dtype) == (np.complex64, np.float32)
    # Some 60 layers of sums in single precision in another order.
    np.testing.assert_allclose(mean, eager_mean[:, :P] + 1j * eager_mean[:, P:], atol=1e-4)
    np.testing.assert_allclose(var, eager_var, rtol=1e-3)
    none, nothing = prior.denoise(z[:0], v[:0])
    assert (none.shape, nothing.shape) == ((0, P, M), (0, M))


def test_receiver_takes_a_score_prior():
    """With networks that know nothing a detection still ends, with finite numbers."""
    prior = score_prior(12)
    pilots = jf.dft_pilots(devices=40, symbols=8, subcarriers=12, seed=0)
    x = np.zeros((40, 12, 4), complex)
    x[[3, 17]] = noise((2, 12, 4), 1)
    y = np.einsum("tnk,knm->tnm", pilots.select(), x) + 0.1 * noise((8, 12, 4), 2)
    for power in (1.0, "unknown"):
        receiver = jf.Receiver(pilots, antennas=4, prior=prior, power=power, rules=jf.Rules(max_iterations=4))
        out = receiver.detect(y, noise_var=0.01)
        assert np.isfinite(out.activity).all()
        assert np.isfinite(out.channels).all()
        assert np.isfinite(out.channel_var).all()
        assert out.iterations >= 1


@pytest.mark.parametrize("prior", [random_prior(), score_prior()])
def test_export(prior, tmp_path):
    path = tmp_path / "network.pt"
    difference = export_torchscript(prior, path)
    assert [p.name for p in tmp_path.iterdir()] == ["network.pt"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        loaded = torch.jit.load(path)
    assert loaded.beamspace is prior.beamspace
    for name in ("basis", "eigenvalues", "beam_gain", "beam_weight"):  # all that a receiver needs
        np.testing.assert_array_equal(getattr(loaded, name), getattr(prior, name))
    z, v = inputs()
    mean, var = loaded(torch.from_numpy(np.concatenate([z.real, z.imag], 1)), torch.from_numpy(v))
    wanted_mean, wanted_var = prior.denoise(z, v)
    assert mean.dtype == var.dtype == torch.float32
    np.testing.assert_allclose(mean[:, :P] + 1j * mean[:, P:], wanted_mean, atol=1e-4)
    np.testing.assert_allclose(var, wanted_var, rtol=1e-3)
    assert 0 <= difference < 1e-4


def test_export_refuses(tmp_path):
    with pytest.raises(TypeError, match="prior: expected one with a network, found GaussianPrior"):
        export_torchscript(GaussianPrior(P), tmp_path / "a.pt")  # type: ignore[arg-type]
    prior = random_prior()
    prior.denoise(*inputs())
    prior.network = random_prior(1).network  # no longer what was compiled
    with pytest.raises(RuntimeError, match="path: expected outputs within .* of the prior's, found"):
        export_torchscript(prior, tmp_path / "a.pt")
    assert not list(tmp_path.iterdir())


def test_denoise_is_deterministic_and_equals_the_eager_network():
    prior = random_prior()
    z, v = inputs()
    mean, var = prior.denoise(z, v)
    assert (mean.dtype, var.dtype) == (np.complex64, np.float32)
    for _ in range(3):  # TorchScript specialises in its first runs
        again = prior.denoise(z, v)
        np.testing.assert_array_equal(again[0], mean)
        np.testing.assert_array_equal(again[1], var)
    stacked = torch.from_numpy(np.concatenate([z.real, z.imag], 1))
    eager_mean, eager_var = (x.numpy() for x in prior.network(stacked, torch.from_numpy(v)))
    # The same operations in single precision, fused or not: some 50 rounding errors of numbers of order 1.
    np.testing.assert_allclose(mean, eager_mean[:, :P] + 1j * eager_mean[:, P:], atol=1e-5)
    np.testing.assert_allclose(var, eager_var, rtol=1e-5)


def test_network_is_its_documented_formula():
    """A double-precision transcription of the class docstring, as the native kernel implements it."""
    prior = random_prior()
    w = {name: value.double().numpy() for name, value in prior.network.state_dict().items()}
    z, v = inputs(count=1)
    lam, noise_var, z = w["eigenvalues"][:, None], v[0].astype(float), z[0].astype(complex)
    s = lam + noise_var
    e, u = lam * noise_var / s, z / np.sqrt(s)
    x = np.concatenate([1.4 * u.real, 1.4 * u.imag, np.log(abs(u) ** 2 + 1e-3) / 2, np.log(noise_var)[None] / 4])
    x = w["inp.weight"] @ x + w["inp.bias"][:, None]
    for i, dilation in enumerate((1, 2, 1)):
        name = f"body.{i}."
        y = w[name + "depthwise.bias"][:, None] + sum(
            w[name + "depthwise.weight"][:, t, None] * np.roll(x, -(t - 2) * dilation, 1) for t in range(5)
        )
        y = w[name + "expand.weight"] @ y + w[name + "expand.bias"][:, None]
        x = x + w[name + "mix.weight"] @ (y / (1 + np.exp(-y))) + w[name + "mix.bias"][:, None]
    f = w["out.weight"] @ x + w["out.bias"][:, None]
    step = 0.7 * np.sqrt(e / (1 + noise_var / 1000))
    mean, var = prior.denoise(*(a[:1] for a in inputs(count=1)))
    np.testing.assert_allclose(mean[0], z * lam / s + step * (f[:P] + 1j * f[P : 2 * P]), atol=1e-5)
    np.testing.assert_allclose(var[0], e.sum(0) / N * np.exp(np.clip(f[2 * P], -12, 4)), rtol=1e-5)


def test_circular_shift_of_beams():
    prior = random_prior()
    z, v = inputs()
    mean, var = prior.denoise(z, v)
    shifted_mean, shifted_var = prior.denoise(np.roll(z, 5, 2), np.roll(v, 5, 1))
    np.testing.assert_allclose(shifted_mean, np.roll(mean, 5, 2), atol=1e-5)
    np.testing.assert_allclose(shifted_var, np.roll(var, 5, 1), rtol=1e-5)


def test_limits_of_the_noise():
    prior = random_prior()
    z, _ = inputs()
    tiny, huge = np.float32(1e-8), np.float32(1e10)
    mean, var = prior.denoise(z, np.full((len(z), M), tiny))
    assert abs(mean - z).max() < 100 * tiny**0.5  # the correction is a bounded multiple of the noise
    assert (var > 0).all()
    assert var.max() <= P / N * tiny * np.exp(4) * 1.001
    mean, var = prior.denoise(z, np.full((len(z), M), huge))
    # step <= 0.7 sqrt(8 * 1000 / 1e10), times outputs that stay below 100 with these weights
    assert abs(mean).max() < 0.07
    assert np.isfinite(var).all()
    assert (var > 0).all()


def test_gaussian_prior():
    prior = GaussianPrior(N)
    np.testing.assert_array_equal(prior.basis, np.eye(N))
    z, v = noise((4, N, M), 1), np.full((4, M), 0.25, np.float32)
    mean, var = prior.denoise(z, v, np.arange(4))
    np.testing.assert_allclose(mean, 0.8 * z, rtol=1e-6)
    np.testing.assert_allclose(var, 0.2, rtol=1e-6)
    assert mean.dtype == np.complex64
    with pytest.raises(ValueError, match="subcarriers: expected at least 1, found 0"):
        GaussianPrior(0)


@pytest.mark.parametrize("prior", [random_prior(), GaussianPrior(P), score_prior()])
def test_denoise_refuses(prior):
    z, v = inputs()
    with pytest.raises(ValueError, match=r"z: expected shape \(\?, 5, \?\), found \(6, 4, 16\)"):
        prior.denoise(z[:, 1:], v)
    with pytest.raises(ValueError, match=r"noise_var: expected shape \(6, 16\), found \(5, 16\)"):
        prior.denoise(z, v[1:])
    with pytest.raises(ValueError, match="noise_var: expected positive variances, found 0"):
        prior.denoise(z, 0 * v)
    with pytest.raises(ValueError, match="z: expected finite numbers"):
        prior.denoise(z * np.nan, v)
    with pytest.raises(TypeError, match="noise_var: expected real numbers"):
        prior.denoise(z, v + 0j)


def test_unknown_names_and_files(tmp_path):
    with pytest.raises(ValueError, match=r"prior: expected one of cdl, .*cdl-tiny.* found 'cdx'"):
        load_prior("cdx")
    with pytest.raises(FileNotFoundError, match=r"prior: expected one of cdl, .*found none at .*none\.safetensors"):
        load_prior(tmp_path / "none.safetensors")
    with pytest.raises(FileNotFoundError, match=r"prior: .*found none at"):
        load_prior(str(tmp_path / "no" / "such"))
    with pytest.raises(TypeError, match="prior: expected a name or a path, found int"):
        load_prior(3)  # type: ignore[arg-type]


def test_unusable_files(tmp_path):
    path = tmp_path / "a.safetensors"
    save_prior(path, random_prior())
    content = path.read_bytes()

    def refused(data: bytes, message: str) -> None:
        path.write_bytes(data)
        with pytest.raises(ValueError, match=rf"(?s)^prior: expected a jadce-prior file .*found {message}"):
            load_prior(path)

    refused(b"", "damaged file")
    refused(content[: len(content) // 2], "damaged file")
    refused(content[:7], "damaged file")
    refused(b"\xff" * 500, "damaged file")
    refused(safetensors.torch.save({"a": torch.zeros(2)}), ".* of format None")

    tensors = safetensors.torch.load(content)
    header = {
        "format": "jadce-prior",
        "version": "1",
        "subcarriers": str(N),
        "architecture": json.dumps(random_prior().network.architecture),
        "metadata": "{}",
    }

    def variant(change: dict[str, str], **replaced: torch.Tensor) -> bytes:
        return safetensors.torch.save(tensors | replaced, header | change)

    path.write_bytes(variant({}))
    load_prior(path)  # this much is right
    refused(variant({"version": "2"}), ".* of version 2; this release reads version 1")
    refused(variant({"architecture": "{"}), "inconsistent file")
    refused(variant({"architecture": '{"width": 1000000000}'}), "inconsistent file")
    refused(variant({"subcarriers": "13"}), "inconsistent file .*basis")
    refused(variant({"network": "spline"}), ".* with network 'spline'; expected 'beam' or 'ncsn' or 'cell'")
    refused(variant({}, **{"network.inp.bias": torch.full((8,), torch.nan)}), "inconsistent file .*network.inp.bias")
    refused(variant({}, **{"network.inp.bias": torch.zeros(9)}), "inconsistent file")
    refused(variant({}, **{"beam_gain": torch.zeros(3)}), "inconsistent file .*must be positive")


def test_unusable_files_of_score_networks(tmp_path):
    path = tmp_path / "a.safetensors"
    save_prior(path, score_prior())
    tensors = safetensors.torch.load(path.read_bytes())
    header = {"format": "jadce-prior", "version": "1", "network": "ncsn", "subcarriers": str(P)}
    header |= {"architecture": '{"width": 2}', "metadata": "{}"}

    def refused(message: str, change: dict[str, str], **replaced: torch.Tensor) -> None:
        path.write_bytes(safetensors.torch.save(tensors | replaced, header | change))
        with pytest.raises(ValueError, match=rf"(?s)^prior: expected a jadce-prior file .*found {message}"):
            load_prior(path)

    path.write_bytes(safetensors.torch.save(tensors, header))
    load_prior(path)  # this much is right
    refused("inconsistent file .*size mismatch", {"architecture": '{"width": 100000}'})
    refused("inconsistent file", {"architecture": '{"width": 10000000000}'})
    refused("inconsistent file .*width: expected at least 2", {"architecture": '{"width": 0}'})
    refused("inconsistent file", {"architecture": '{"depth": 2}'})
    refused("inconsistent file", {"architecture": "[]"})
    refused("inconsistent file .*subcarriers: expected at least 1", {"subcarriers": "0"})
    refused("inconsistent file", {"network": "beam"})
    refused("inconsistent file .*network.first.end.bias", {}, **{"network.first.end.bias": torch.full((2,), torch.inf)})
    refused("inconsistent file .*Unexpected key", {}, **{"network.third": torch.zeros(2)})


def test_save_refuses_a_prior_without_a_network(tmp_path):
    with pytest.raises(TypeError, match="prior: expected a BeamPrior, NcsnPrior or .*, found GaussianPrior"):
        save_prior(tmp_path / "a.safetensors", GaussianPrior(P))  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", shipped_priors())
def test_shipped(name):
    """Better than population Wiener on held-out plain CDL-C, calibrated, and as good as the file itself says."""
    from jadce_fast.training import evaluate, family

    torch.set_num_threads(1)
    prior = load_prior(name)
    p = len(prior.eigenvalues)
    np.testing.assert_allclose(prior.basis.conj().T @ prior.basis, np.eye(p), atol=1e-5)
    assert prior.beam_weight.sum() == pytest.approx(1, abs=1e-5)
    assert (prior.beam_gain * prior.beam_weight).sum() == pytest.approx(1, abs=0.2)
    generator = torch.Generator().manual_seed(11)
    paths = family.draw_paths(family.load_tables(torch.device("cpu")), 96, generator, "C", 0)
    h = prior.basis.conj().T @ family.channels(paths, generator).numpy()
    if isinstance(prior, NcsnPrior):
        h = np.fft.ifft(h, axis=2, norm="ortho").astype(np.complex64)  # works on antennas
    curve = prior.metadata["curve"]
    promised = curve.get("CDL-C departure") or curve["C departure"]
    lam = prior.eigenvalues[:, None]
    for i, (snr, margin) in enumerate([(0, 1.5), (10, 2.0), (20, 2.5), (30, 2.5)], 1):
        v = np.float32(10 ** (-snr / 10))
        z = h + v**0.5 * noise(h.shape, 5 + i)
        mean, var = prior.denoise(z, np.full(z.shape[::2], v))
        error = (abs(mean - h) ** 2).sum()
        wiener = (abs(z * lam / (lam + v) - h) ** 2).sum()
        assert 10 * np.log10(wiener / error) > margin
        assert 0.8 < var.sum() * prior.subcarriers / error < 1.25
        nmse = 10 * np.log10(error / (abs(h) ** 2).sum())
        # Between draws of 96 and 256 channels the mean error differs by some 0.1 dB (1 sigma).
        assert nmse == pytest.approx(promised["nmse"][i], abs=0.5)
    assert evaluate.SNR_DB[1:] == (0, 10, 20, 30)


def test_single_precision_leaves_torch_as_it_was():
    from jadce_fast.priors.torchscript import single_precision

    before = torch.backends.cudnn.allow_tf32, torch.backends.cudnn.deterministic
    with single_precision():
        assert torch.backends.cudnn.deterministic
    assert (torch.backends.cudnn.allow_tf32, torch.backends.cudnn.deterministic) == before
