"""What `jadce export` writes holds all that a C++ program needs of a prior: the LibTorch example, built and run."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from kernels import error

import jadce_fast as jf
from jadce_fast.priors.export import export_torchscript

EXAMPLE = Path(__file__).parents[1] / "examples/libtorch"
# Compiling what includes torch's headers takes half a minute.
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")]


def run(*command, timeout=20):
    return subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=timeout, check=False)


@pytest.fixture(scope="module")
def denoise(tmp_path_factory):
    folder = tmp_path_factory.mktemp("libtorch")
    cmake = shutil.which("cmake", path=Path(sys.executable).parent) or shutil.which("cmake")
    if cmake is None or shutil.which("c++") is None:
        pytest.skip("needs cmake and a C++ compiler")
    where = f"-DCMAKE_PREFIX_PATH={torch.utils.cmake_prefix_path}"
    for command in ([cmake, "-S", EXAMPLE, "-B", folder, where], [cmake, "--build", folder]):
        done = run(*command, timeout=300)
        assert done.returncode == 0, done.stdout + done.stderr
    return folder / "denoise"


@pytest.mark.parametrize("name", ["cdl-tiny", "ncsn-c"])
def test_channels_are_those_of_python(denoise, name, tmp_path):
    prior, noise_var = jf.load_prior(name), 0.1
    export_torchscript(prior, tmp_path / "prior.pt")
    channels, rng = jf.channels.cdl(3, "C", seed=1), np.random.default_rng(0)
    noise = rng.standard_normal((*channels.shape, 2)).view(np.complex128)[..., 0]
    y = (channels + np.sqrt(noise_var / 2) * noise).astype(np.complex64)
    torch.save(torch.from_numpy(y), tmp_path / "received.pt")
    done = run(
        denoise, tmp_path / "prior.pt", tmp_path / "received.pt", noise_var, tmp_path / "channels.pt", timeout=90
    )
    assert done.returncode == 0, done.stderr
    found = torch.load(tmp_path / "channels.pt").numpy()
    z = prior.basis.conj().T @ (np.fft.fft(y, norm="ortho") if prior.beamspace else y)
    mean, var = prior.denoise(z.astype(np.complex64), np.full((3, 32), noise_var, np.float32))
    expected = prior.basis @ mean
    assert error(found, np.fft.ifft(expected, norm="ortho") if prior.beamspace else expected) <= 1e-4
    assert error(found, channels) ** 2 < noise_var / 10
    assert float(re.search(r"expected error (\S+)", done.stdout)[1]) == pytest.approx(float(var.mean()), rel=1e-3)


def test_what_is_wrong_is_named(denoise, tmp_path):
    export_torchscript(jf.load_prior("cdl-tiny"), tmp_path / "prior.pt")
    arguments = [tmp_path / "prior.pt", tmp_path / "received.pt", 0.1, tmp_path / "channels.pt"]
    assert run(denoise, *arguments[:2]).returncode == 2
    assert "expected a tensor, found no such file" in run(denoise, *arguments).stderr
    torch.save(torch.zeros(1, 8, 4), tmp_path / "received.pt")
    done = run(denoise, *arguments)
    assert (done.returncode, "expected (A, N, M) with N of the prior, 48" in done.stderr) == (1, True)
    assert not (tmp_path / "channels.pt").exists()
