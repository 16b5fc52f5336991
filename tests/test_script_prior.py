"""Networks by TorchScript on the CPU: anyone's module as a prior, and what `jadce export` writes as one."""

import copy
import pickle

import numpy as np
import pytest
import torch
from kernels import error
from problems import WienerPrior, problem

import jadce_fast as jf
from jadce_fast import _core
from jadce_fast.cli import main
from jadce_fast.priors.export import export_torchscript
from jadce_fast.priors.script import ScriptPrior
from jadce_fast.priors.torchscript import save_module

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning"),
]


class Wiener(torch.nn.Module):
    """`WienerPrior.denoise`, as a user may write it: buffers say what a receiver has to know."""

    def __init__(self, prior):
        super().__init__()
        for name in ("basis", "eigenvalues", "beam_gain", "beam_weight"):
            self.register_buffer(name, torch.from_numpy(np.array(getattr(prior, name))))
        self.beamspace: bool = prior.beamspace

    def forward(self, z: torch.Tensor, v: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        gain = self.eigenvalues[:, None] / (self.eigenvalues[:, None] + v[:, None])
        return torch.cat([gain, gain], 1) * z, (gain * v[:, None]).sum(1) / self.basis.size(0)


class Broken(Wiener):
    def forward(self, z: torch.Tensor, v: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return z @ v, v


def block():
    return problem(devices=60, symbols=10, subcarriers=48, antennas=8, active=3, seed=1)


def detect(prior, **options):
    p = block()
    return jf.Receiver(p.pilots, 8, prior, 0.1, 1.0, threads=1, **options).detect(p.y, p.noise_var)


def assert_same(found, expected, tolerance=1e-3):
    """The same loop with another order of sums in single precision; the tolerance is that of tests/test_receiver.py."""
    assert found.iterations == expected.iterations
    np.testing.assert_array_equal(found.active, expected.active)
    np.testing.assert_allclose(found.activity, expected.activity, atol=tolerance)
    assert error(found.channels, expected.channels) <= tolerance
    np.testing.assert_allclose(found.channel_var, expected.channel_var, rtol=2 * tolerance)


def test_exported_networks_are_priors(tmp_path):
    """A file holds all that a receiver needs; members of a cascade too."""
    native = detect("cdl-tiny", network="fp32")
    assert len(native.active)
    assert_same(detect("cdl-tiny", network="torchscript"), native)
    paths = [str(tmp_path / f"{name}.pt") for name in ("cdl-tiny", "cdl-wide")]
    with pytest.raises(SystemExit, match="0"):
        main(["export", "cdl-tiny", paths[0]])
    assert_same(detect(paths[0]), native)
    assert_same(detect(paths[0], network="torchscript"), native)
    loaded = jf.load_prior(paths[0])
    for name in ("basis", "eigenvalues", "beam_gain", "beam_weight", "subcarriers", "beamspace", "closed_form"):
        np.testing.assert_array_equal(getattr(loaded, name), getattr(jf.load_prior("cdl-tiny"), name))
    again = tmp_path / "again.pt"
    assert export_torchscript(loaded, again) < 1e-4
    assert_same(detect(f"{paths[0]}+{again}"), detect(jf.CascadePrior([loaded, loaded])))


@pytest.mark.parametrize("beamspace", [True, False])
def test_a_network_of_a_user(beamspace, tmp_path):
    prior = WienerPrior(48)
    prior.beamspace = beamspace
    wanted = detect(prior)
    path = tmp_path / "mine.pt"
    path.write_bytes(save_module(Wiener(prior)))
    scripted = jf.ScriptPrior(Wiener(prior))
    for own in (path, scripted, copy.deepcopy(scripted), pickle.loads(pickle.dumps(scripted))):
        assert_same(detect(own), wanted)
    prior.network = Wiener(prior)  # a prior object that has a network beside its function
    assert_same(detect(prior, network="torchscript"), wanted)
    other = ScriptPrior(scripted.network, beam_gain=[1, 2], beam_weight=[0.5, 0.5])
    assert (other.beam_gain.tolist(), other.beamspace) == ([1, 2], beamspace)


def test_one_vocabulary(tmp_path):
    fast = "bf16" if _core.fast_bf16() else "fp32"
    pilots, script = jf.dft_pilots(20, 4, 48), ScriptPrior(Wiener(WienerPrior(48)))
    chosen = {"auto": fast, "native": fast, "bf16": "bf16", "fp32": "fp32", "torchscript": "torchscript"}
    assert {name: jf.Receiver(pilots, 4, "cdl-tiny", network=name).network for name in chosen} == chosen
    assert jf.Receiver(pilots, 4, script).network is None
    assert jf.Receiver(pilots, 4, script, network="torchscript").network == "torchscript"
    for network in ("native", "bf16", "fp32"):
        with pytest.raises(ValueError, match=f"network: expected 'auto' or 'torchscript' for .*, found '{network}'"):
            jf.Receiver(pilots, 4, script, network=network)
    for prior in ("gaussian", WienerPrior(48)):
        with pytest.raises(ValueError, match="network: expected 'auto' for this prior .*, found 'torchscript'"):
            jf.Receiver(pilots, 4, prior, network="torchscript")


def test_refused(tmp_path):
    prior = WienerPrior(48)
    with pytest.raises(ValueError, match="eigenvalues: expected an attribute of the network or an argument, found nei"):
        ScriptPrior(torch.nn.Linear(2, 2), basis=np.eye(48))
    with pytest.raises(TypeError, match="network: expected a torch module, found WienerPrior"):
        ScriptPrior(prior)
    with pytest.raises(ValueError, match=r"eigenvalues: expected shape \(7,\), found"):
        ScriptPrior(Wiener(prior), basis=np.eye(48)[:, :7])
    with pytest.raises(ValueError, match=r"prior: expected a network forward\(z \(\d+, \d+, 8\), v .* that fails: "):
        detect(ScriptPrior(Broken(prior)))
    path = tmp_path / "a.pt"
    with pytest.raises(FileNotFoundError, match=r"prior: expected one of cdl, .* found none at"):
        jf.load_prior(path)
    for content in (b"", b"nothing", save_module(Wiener(prior))[:-100]):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"prior: '.*a.pt': expected a file of TorchScript, found another"):
            jf.load_prior(path)
    export_torchscript(jf.load_cell_prior("cell-network"), path)
    with pytest.raises(ValueError, match=r"prior: '.*a.pt': basis: expected an attribute of the network"):
        jf.load_prior(path)
