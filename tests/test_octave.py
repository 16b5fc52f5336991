"""Captures in and results out of GNU Octave, in the files that it writes and reads itself."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import scipy.io
from captures import K, M, N, T, complex_normal

import jadce_fast as jf
from jadce_fast.capture import Capture, load_capture, save_capture, save_result

OCTAVE = shutil.which("octave-cli") or shutil.which("octave")
pytestmark = pytest.mark.skipif(OCTAVE is None, reason="needs GNU Octave")
EXAMPLE = Path(__file__).parents[1] / "examples/octave/detect.m"


def octave(code, folder, path=os.environ["PATH"]):
    """What Octave prints that runs a piece of code in a folder."""
    done = subprocess.run(
        [OCTAVE, "--norc", "--quiet", "--eval", code],
        cwd=folder,
        env=os.environ | {"PATH": path, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def capture(pilots):
    truth = dict(true_active=[7, 2], true_channels=complex_normal(2, N, M))
    return Capture(complex_normal(T, N, M), pilots, noise_var=0.1, activity_rate=0.05, **truth)


CAPTURES = {
    "dft": capture(jf.dft_pilots(K, T, N, power=2.0)),
    "scrambled": capture(jf.dft_pilots(K, T, N, scrambled=True)),
    "any": capture(jf.Pilots(complex_normal(T, N, K))),
    "little": Capture(complex_normal(T, N, 1), jf.dft_pilots(K, T, N)),
    "nobody": Capture(
        complex_normal(T, N, M), jf.dft_pilots(K, T, N), true_active=[], true_channels=np.zeros((0, N, M), np.complex64)
    ),
    "coloured": Capture(complex_normal(T, N, M), jf.dft_pilots(K, T, N), noise_var=np.linspace(0.1, 0.2, M)[None]),
}


def test_captures_go_there_and_back(tmp_path):
    for name, sent in CAPTURES.items():
        save_capture(tmp_path / f"{name}.mat", sent)
    names = " ".join(f"'{name}'" for name in CAPTURES)
    octave(
        f"""for name = {{{names}}}
              held = load([name{{1}} '.mat']);
              save('-v7', [name{{1}} '-7.mat'], '-struct', 'held');
              save('-v6', [name{{1}} '-6.mat'], '-struct', 'held');
            end""",
        tmp_path,
    )
    for name, sent in CAPTURES.items():
        assert load_capture(tmp_path / f"{name}-7.mat") == sent
        assert load_capture(tmp_path / f"{name}-6.mat") == sent


def test_results_are_numbers_to_calculate_with(tmp_path):
    block = load_capture(Path(__file__).parent / "data/sionna_cdl_c_dft.npz")
    found = jf.Receiver(block.pilots, 32, "cdl-tiny", 0.05, threads=1).detect(block.y, block.noise_var)
    assert len(found.active) > 1
    save_capture(tmp_path / "capture.mat", block)
    save_result(tmp_path / "result.mat", found)
    octave(
        """c = load('capture.mat'); r = load('result.mat');
           likely = r.activity(r.active + 1);
           left = c.y;
           for a = 1:numel(r.active)
             sent = exp(-2i * pi * c.pilot_rows * r.active(a) / c.devices);
             left = left - sent .* reshape(r.channels(a, :, :), 1, 48, 32);
           end
           if r.trusted
             errors = double(r.channel_var) / mean(abs(left(:)) .^ 2);
           end
           reason = r.reason;
           save('-v7', 'answer.mat', 'likely', 'left', 'errors', 'reason')""",
        tmp_path,
    )
    answer = scipy.io.loadmat(tmp_path / "answer.mat")
    np.testing.assert_array_equal(answer["likely"].ravel(), found.activity[found.active])
    pilots = block.pilots.select(found.active)
    left = block.y - np.einsum("tna,anm->tnm", pilots, found.channels)
    np.testing.assert_allclose(answer["left"], left, atol=1e-4 * np.abs(block.y).max())
    np.testing.assert_allclose(answer["errors"].ravel(), found.channel_var / np.mean(np.abs(left) ** 2), rtol=1e-4)
    assert str(answer["reason"].squeeze() if answer["reason"].size else "") == found.reason


def test_octaves_own_formats_are_named(tmp_path):
    octave(
        """y = complex(rand(4, 3, 2), 1);
           save('text.mat', 'y'); save('-binary', 'binary.mat', 'y'); save('-hdf5', 'capture.h5', 'y')""",
        tmp_path,
    )
    for name in ("text.mat", "binary.mat", "capture.h5"):
        with pytest.raises(ValueError, match=r"save -v7"):
            load_capture(tmp_path / name)


def test_the_example(tmp_path):
    programs = tmp_path / "bin"
    programs.mkdir()
    command = programs / "jadce"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -c "from jadce_fast.cli import main; main()" "$@"\n')
    command.chmod(0o755)
    seeded = f"rand('seed', 1); randn('seed', 1); source('{EXAMPLE}')"
    printed = octave(seeded, tmp_path, os.pathsep.join([str(programs), os.environ["PATH"]]))
    sent, detected, trusted = (line.split(":", 1)[1].strip() for line in printed.strip().splitlines())
    assert sent == detected
    assert trusted.startswith("1,")
    block, result = load_capture(tmp_path / "capture.mat"), scipy.io.loadmat(tmp_path / "result.mat")
    found = jf.Receiver(block.pilots, 32, activity_rate=block.activity_rate).detect(block.y, block.noise_var)
    assert sent == "[" + " ".join(map(str, found.active)) + "]"
    np.testing.assert_array_equal(result["active"].ravel(), found.active)
