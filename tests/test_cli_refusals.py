"""What the command line refuses: exit status 2, one line that names the option."""

from pathlib import Path

import pytest

DATA = Path(__file__).parent / "data"
DFT, QPSK = DATA / "sionna_cdl_c_dft.npz", DATA / "sionna_cdl_a_qpsk.npz"


BAD = {
    "unknown command": (["dance"], "No such command 'dance'"),
    "unknown option": (["detect", DFT, "--loud"], "No such option: --loud"),
    "no capture": (["detect"], "Missing argument 'CAPTURE'"),
    "missing file": (["detect", "nosuch.npz"], "nosuch.npz: expected a capture, found no such file"),
    "extension": (["detect", "a.csv"], "a.csv: expected the extension .npz, .h5, .hdf5, .mat"),
    "receiver": (["detect", DFT, "--receiver", "ls"], "--receiver: expected stmp, langevin, bg, tmp-em, gmmv-amp,"),
    "bg with a prior": (["detect", DFT, "--receiver", "bg", "--prior", "cdl"], "--prior: expected none"),
    "langevin with a prior": (
        ["detect", DFT, "--receiver", "langevin", "--prior", "cdl"],
        "--prior: expected a cell's score network (cell-network or a file), found 'cdl'",
    ),
    "langevin on subcarriers": (
        ["detect", DFT, "--receiver", "langevin"],
        "--receiver langevin: expected a capture of one subcarrier, found 48",
    ),
    "prior": (["detect", DFT, "--prior", "nosuch"], "--prior: expected one of cdl"),
    "prior of a cell": (["detect", DFT, "--prior", "cell-network"], "--prior: expected a channel prior"),
    "empty prior": (["detect", DFT, "--prior", ""], "--prior: expected one of cdl"),
    "prior file": (["detect", DFT, "--prior", "no/such.safetensors"], "no/such.safetensors"),
    "power text": (["detect", DFT, "--power", "loud"], "--power: expected unknown or a number, found 'loud'"),
    "power": (["detect", DFT, "--power", "-1"], "--power: expected a finite number"),
    "rate": (["detect", DFT, "--rate", "1.5"], "--rate: expected a finite number in (0, 1), found 1.5"),
    "rate nan": (["detect", DFT, "--rate", "nan"], "--rate: expected a finite number"),
    "threads": (["detect", DFT, "--threads", 0], "--threads: expected 1 to"),
    "threads of a baseline": (["detect", DFT, "--receiver", "somp", "--threads", 2], "--threads: expected none for"),
    "device": (["detect", DFT, "--device", "abacus"], "--device: expected"),
    "output extension": (["detect", DFT, "-o", "a.csv"], "--output: expected the extension .npz or .h5"),
    "output folder": (["detect", DFT, "-o", "no/such.npz"], "--output: expected a file in an existing directory"),
    "not a number": (["simulate", "--trials", "many"], "--trials"),
    "trials": (["simulate", "--trials", 0], "--trials: expected at least 1, found 0"),
    "no number of devices": (["simulate", "--devices", "inf"], "--devices: expected a list such as"),
    "plot over ranges": (
        ["simulate", "--delay-spread", "100,200", "300,300", "--plot", "a.png"],
        "--plot: expected an axis of single values, found ranges of delay_spread",
    ),
    "threads of torch": (["adapt", "a.safetensors", DFT, "--threads", 0], "--threads: expected 1 to 1024, found 0"),
    "model": (["simulate", "--model", "F"], "--model: expected A or B"),
    "symbols": (["simulate", "--devices", 5, "--symbols", 6], "--symbols: expected at most devices=5, found 6"),
    "delays": (["simulate", "--delay-spread", 300, 100], "--delay-spread: expected low <= high"),
    "simulate power": (["simulate", "--power", 2], '--power: expected "unknown" or "known", found \'2\''),
    "subcarriers": (["simulate", "--subcarriers", 24, "--prior", "ncsn-c"], "--prior: expected one for 24 subcarriers"),
    "several numbers": (["simulate", "--snr", "0:x"], "--snr: expected a list such as 0,10,20 or LOW:HIGH:STEP"),
    "whole numbers": (["simulate", "--devices", "10.5"], "--devices: expected integers, found '10.5'"),
    "errors": (["simulate", "--errors", 0], "--errors: expected at least 1, found 0"),
    "width": (["simulate", "--width", 0], "--width: expected a finite number in (0, inf), found 0"),
    "workers": (["simulate", "--workers", 0], "--workers: expected at least 1, found 0"),
    "distances": (["simulate", "--distance", 200, 35], "--distance: expected near <= far"),
    "no campaign": (["report", "nosuch"], "nosuch: expected the directory of a campaign, found none"),
    "snr": (["simulate", "--snr", 200], "--snr: expected a finite number in [-100, 100], found 200"),
    "spread": (["simulate", "--power-spread", -1], "--power-spread: expected a finite number in [0, 100], found -1"),
    "rate of a simulation": (["simulate", "--rate", 1], "--rate: expected a finite number in (0, 1), found 1"),
    "option of the cell": (["simulate", "--bits", 2], "No such option: --bits"),
    "plot": (["simulate", "--plot", "a.docx"], "--plot: expected the extension .png or .pdf or .svg"),
    "csv": (["simulate", "--csv", "no/such.csv"], "--csv: expected a file in an existing directory"),
    "seed": (["demo", "--seed", -1], "--seed: expected at least 0, found -1"),
}


@pytest.mark.parametrize("case", BAD)
def test_unusable_input(jadce, tmp_path, monkeypatch, case):
    monkeypatch.chdir(tmp_path)
    arguments, message = BAD[case]
    status, out, err = jadce(*arguments)
    assert status == 2
    assert out == ""
    assert message in err
    assert err.startswith("jadce: error: ")
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "found an empty file"),
        (b"PK\x03\x04 and no more", "expected an .npz archive"),
        (DFT.read_bytes()[:5000], "expected an .npz archive"),
    ],
)
def test_unusable_files(jadce, tmp_path, content, message):
    path = tmp_path / "capture.npz"
    path.write_bytes(content)
    status, out, err = jadce("detect", path, "--json")
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert str(path) in err
    assert message in err
