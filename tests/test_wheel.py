"""The wheel in an environment of its own, without a compiler and without the extras."""

import json
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LARGEST = 10e6  # bytes
DETECT = """
import sys
import jadce_fast as jf
block = jf.load_capture(sys.argv[1])
found = jf.Receiver(block.pilots, antennas=32).detect(block.y, block.noise_var)
assert found.trusted and set(found.active) == set(block.true_active)
assert not {"torch", "scipy", "h5py", "matplotlib"} & set(sys.modules)
"""


def call(*command, env=None, seconds=120):
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=env, timeout=seconds)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


@pytest.mark.slow
def test_a_wheel_detects_with_numpy_and_safetensors_alone(tmp_path, monkeypatch):
    options = ["--no-deps", "--no-build-isolation", f"-Cbuild-dir={ROOT / 'build/wheel'}"]
    options += ["-Ccmake.define.JADCE_CUDA=OFF", "-w", str(tmp_path)]
    call(sys.executable, "-m", "pip", "wheel", str(ROOT), *options, seconds=3000)
    (wheel,) = tmp_path.glob("*.whl")
    assert wheel.stat().st_size < LARGEST
    names = zipfile.ZipFile(wheel).namelist()
    assert not [name for name in names if "_emulated" in name or name.startswith(("tests", "csrc"))]
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv/bin/python"
    call(python, "-m", "pip", "install", "-q", wheel, seconds=600)
    installed = {entry["name"] for entry in json.loads(call(python, "-m", "pip", "list", "--format", "json"))}
    assert not {"torch", "scipy", "h5py", "matplotlib"} & installed
    bare = {"PATH": str(python.parent), "HOME": str(tmp_path)}  # no compiler is found there
    capture = ROOT / "tests/data/sionna_cdl_c_dft.npz"
    monkeypatch.chdir(tmp_path)
    call(python, "-c", DETECT, capture, env=bare)
    found = json.loads(call(python.parent / "jadce", "detect", capture, "--json", env=bare))
    assert (found["missed"], found["false_alarms"]) == (0, 0)
    assert "--version" in call(python.parent / "jadce", env=bare)
    assert call(python.parent / "jadce", "--version", env=bare).startswith("jadce ")
