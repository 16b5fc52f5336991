"""The library as it is without its extras: NumPy and safetensors, and for the command line typer."""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest

from jadce_fast import _extras

ROOT = Path(__file__).parents[1]
DFT = str(ROOT / "tests/data/sionna_cdl_c_dft.npz")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
# Packages of extras are not found, as where they are not installed.
WITHOUT = f"""
import sys

class Without:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {sorted(_extras.EXTRAS)}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Without())
"""


def run(script, *arguments):
    command = [sys.executable, "-c", WITHOUT + script, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


def jadce(*arguments):
    return run("from jadce_fast.cli import main; main(sys.argv[1:])", *arguments)


def names(requirements):
    return {re.match(r"[\w-]+", requirement)[0] for requirement in requirements}


def test_every_extra_says_what_it_installs():
    """The table of the messages and pyproject.toml name the same packages."""
    extras = {name: names(requirements) for name, requirements in PROJECT["optional-dependencies"].items()}
    assert names(PROJECT["dependencies"]) == {"numpy", "safetensors", "typer", "rich"}
    for package, extra in _extras.EXTRAS.items():
        assert {package, f"{package}-no-rt"} & extras[extra], package
    everything = {extra for extra in extras if extra not in ("all", "test", "oracle", "fuzz", "lint")}
    (whole,) = PROJECT["optional-dependencies"]["all"]
    assert set(re.findall(r"\w+", whole.partition("[")[2])) == everything


DETECTIONS = """
import numpy as np
import jadce_fast as jf
from jadce_fast.campaigns.cell_drop import CellScenario, draw_cell

def detections(path):
    block = jf.load_capture(path)
    for prior in ("auto", "cdl-tiny", "cdl-tiny+cdl-large", "beams", "gaussian"):
        rx = jf.Receiver(block.pilots, antennas=32, prior=prior, threads=1)
        one, other = rx.detect_many([block.y, block.y], block.noise_var)
        assert one == other
        yield prior, one
    drop = draw_cell(CellScenario(antennas=4, devices=16, symbols=12, active=2))
    yield "langevin", jf.LangevinReceiver(drop.pilots, 4, levels=30, threads=1).detect(drop.y, drop.noise_var)
"""


def test_detections_without_torch_are_the_same(tmp_path):
    """Receivers run their networks by kernels of their own: no other bits with torch."""
    saved = """
for name, found in detections(sys.argv[1]):
    jf.save_result(f"{sys.argv[2]}/{name}.npz", found)
assert not {"torch", "scipy", "h5py", "matplotlib"} & set(sys.modules)
"""
    done = run(DETECTIONS + saved, DFT, str(tmp_path))
    assert (done.returncode, done.stderr) == (0, "")
    here = {}
    exec(DETECTIONS, here)
    for name, found in here["detections"](DFT):
        assert len(found.active)
        with np.load(tmp_path / f"{name}.npz") as other:
            for key in ("active", "activity", "channels", "channel_var"):
                np.testing.assert_array_equal(other[key], getattr(found, key), f"{name} {key}")


def test_command_line_without_extras(tmp_path):
    result = jadce("detect", DFT, "--json", "-o", str(tmp_path / "out.npz"))
    assert (result.returncode, result.stderr) == (0, "")
    assert json.loads(result.stdout)["missed"] == 0
    assert len(np.load(tmp_path / "out.npz")["active"]) == len(json.loads(result.stdout)["active"])
    packages = json.loads(jadce("info", "--json").stdout)["packages"]
    assert packages["numpy"] == np.__version__


@pytest.mark.parametrize(
    ("arguments", "package", "extra"),
    [
        (["export", "cdl", "a.pt"], "torch", "torch"),
        (["train", "a.safetensors"], "torch", "torch"),
        (["detect", DFT, "--device", "cuda"], "torch", "torch"),
        (["detect", DFT, "--prior", "ncsn-c"], "torch", "torch"),
        (["detect", DFT, "--receiver", "gmmv-amp"], "scipy", "files"),
        (["detect", DFT, "-o", "a.mat"], "scipy", "files"),
        (["simulate", "--trials", "1", "--prior", "cdl-tiny"], "scipy", "files"),
        (["detect", DFT, "-o", "a.h5"], "h5py", "files"),
    ],
)
def test_messages_name_the_extra(arguments, package, extra, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = jadce(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    expected = f"jadce: error: {package}: expected this package, found none; pip install 'jadce-fast[{extra}]'\n"
    assert done.stderr == expected
    assert not list(tmp_path.iterdir())


def test_help_of_figures_needs_no_torch():
    script = (
        WITHOUT.replace(str(sorted(_extras.EXTRAS)), "['torch']")
        + "from jadce_fast.cli import main; main(sys.argv[1:])"
    )
    for arguments in (["--help"], ["tang-link", "--help"]):
        command = [sys.executable, "-c", script, "figures", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
        assert (done.returncode, done.stderr) == (0, "")


def test_errors_of_python_name_the_extra():
    script = """
import jadce_fast as jf
for what in (
    lambda: jf.load_prior("cdl").network,
    lambda: jf.load_prior("cdl").denoise(0, 0),
    lambda: jf.load_cell_prior("cell-network"),
    lambda: jf.baselines.omp,
    lambda: jf.Receiver(jf.dft_pilots(20, 4, 48), 4, "gaussian", device="cuda"),
):
    try:
        what()
    except ImportError as error:
        extra = "files" if error.name == "scipy" else "torch"
        assert str(error).endswith(f"found none; pip install 'jadce-fast[{extra}]'")
    else:
        raise AssertionError
"""
    done = run(script)
    assert (done.returncode, done.stderr) == (0, "")


def test_importing_loads_nothing_that_is_not_asked_for():
    script = "import sys, jadce_fast; print(sorted({'torch', 'numpy', 'scipy', 'safetensors'} & set(sys.modules)))"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert loaded.stdout == "[]\n"
