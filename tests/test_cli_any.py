"""Any arguments and files: the command line ends with 0, or with 2 and a line that names what was wrong."""

import contextlib
import io
from pathlib import Path

import numpy as np
import pytest
import typer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import jadce_fast as jf
from jadce_fast import cli
from jadce_fast.cli.app import app

COMMANDS = typer.main.get_command(app).commands
# What runs for long with what it is given by default gets little to do, before the arguments that are drawn.
LITTLE = {
    "detect": ("CAPTURE",),
    "simulate": "--devices 12 --symbols 4 --antennas 2 --subcarriers 3 --prior gaussian --trials 1 --workers 1".split(),
    "simulate-cell": "--devices 8 --symbols 4 --antennas 2 --trials 1 --workers 1 --receivers lmmse".split(),
    "report": ("CAPTURE",),
    "export": ("CAPTURE",),
    "adapt": ("out.safetensors", "CAPTURE"),
    "info": (),
}
SLOW = ("--devices", "--trials", "--minutes", "--updates", "--errors", "--resume", "--levels", "--steps", "--network")
VALUES = ["", " ", "0", "-1", "1", "2", "0.5", "1e-300", "1e400", "nan", "inf", "x", "1,2", "0:1:0", "0:x", "-", "--"]
VALUES += ["é", "\ud800", "a\nb", "cdl", "gaussian", "cdl-tiny+cdl-tiny", "auto", "unknown", "known", "langevin", "bg"]
VALUES += ["CAPTURE", "nosuch.npz", "folder", "folder/a.npz", "out.npz", "out.csv", "out.png", "cpu", "cuda", "2x1"]


def options(name):
    return [x for x in COMMANDS[name].params if x.param_type_name == "option" and x.opts[0] not in SLOW]


@st.composite
def command_lines(draw):
    """A command, what it is given at least, and options of its own, or of nobody, with any values."""
    name = draw(st.sampled_from(sorted(LITTLE)))
    words = [name, *LITTLE[name]]
    value = st.sampled_from(VALUES) | st.text(max_size=8)
    for option in draw(st.lists(st.sampled_from(options(name)), max_size=3)) if options(name) else ():
        words += [option.opts[0], *(draw(value) for _ in range(0 if option.is_flag else option.nargs))]
    return words + draw(st.lists(value | st.just("--nosuch"), max_size=1))


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A folder to run in, with the bytes of a capture that is in order."""
    folder = tmp_path_factory.mktemp("any")
    (folder / "folder").mkdir()
    pilots = jf.dft_pilots(12, 4, 3)
    y = np.einsum("tn,nm->tnm", pilots.select([5])[:, :, 0], np.ones((3, 2))) + 0.1
    jf.save_capture(folder / "good.npz", jf.Capture(y.astype(np.complex64), pilots, 0.1, 0.1))
    return folder, (folder / "good.npz").read_bytes()


@st.composite
def contents(draw, good):
    """A capture, a damaged one, or any bytes."""
    kind = draw(st.sampled_from(["good", "good", "damaged", "bytes"]))
    if kind == "bytes":
        return draw(st.binary(max_size=40))
    data = bytearray(good)
    for _ in range(3 if kind == "damaged" else 0):
        data[draw(st.integers(0, len(data) - 1))] = draw(st.integers(0, 255))
    return bytes(data)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_command_line(files, monkeypatch, data):
    folder, good = files
    monkeypatch.chdir(folder)
    words = [word.replace("CAPTURE", "capture.npz") for word in data.draw(command_lines())]
    Path("capture.npz").write_bytes(data.draw(contents(good)))
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), pytest.raises(SystemExit) as end:
        cli.main(words)
    said = err.getvalue()
    assert end.value.code in (0, 2), said
    if end.value.code == 2:
        reason = said.splitlines()[-1]
        assert reason.startswith("jadce: error: "), said
        assert out.getvalue() == ""
        given = {str(Path(word)) for word in words[1:]}  # as messages show it: as it is, or quoted
        names = {x.opts[0] for x in COMMANDS[words[0]].params} | given | {repr(word)[1:-1] for word in given}
        assert any(" ".join(name.split()) in reason for name in names) or "argument" in reason, (words, reason)
