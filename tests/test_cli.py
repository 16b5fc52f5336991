"""The command line: results, purity of JSON, exit status and messages."""

import csv
import itertools
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import jadce_fast as jf
from jadce_fast.cli import console
from jadce_fast.cuda.device import devices
from jadce_fast.priors import DEFAULT

DATA = Path(__file__).parent / "data"
DFT, QPSK = DATA / "sionna_cdl_c_dft.npz", DATA / "sionna_cdl_a_qpsk.npz"
SMALL = ["--devices", 100, "--symbols", 12, "--antennas", 16]


def strict(text):
    """The one JSON object of `text`, without NaN or Infinity."""

    def refuse(name):
        raise AssertionError(f"{name} in JSON")

    return json.loads(text, parse_constant=refuse)


def without_truth(path, target, *more):
    with np.load(path) as file:
        dropped = ("true_active", "true_channels", *more)
        np.savez(target, **{k: file[k] for k in file.files if k not in dropped})
    return target


@pytest.mark.parametrize("capture", [DFT, QPSK])
def test_detect_scores_a_capture_of_another_simulator(jadce, capture):
    status, out, err = jadce("detect", capture, "--json")
    found = strict(out)
    assert status == 0
    assert err == ""
    assert found["missed"] == found["false_alarms"] == 0
    assert found["nmse_db"] < -27  # a wrong convention of angles or delays costs more than 20 dB
    assert found["converged"] is True
    assert found["active"] == sorted(np.load(capture)["true_active"].tolist())
    assert all(p > 0.5 for p in found["probabilities"])
    assert found["stopped_because"] == "fixed point"
    assert 0.8 < found["residual_ratio"] < 1.1
    assert found["residual_ratio"] == pytest.approx(found["noise_var"] / float(np.load(capture)["noise_var"]))
    assert found["seconds"] > 0
    assert found["iterations"] >= 1
    assert found["trusted"] is True
    assert found["reason"] == ""
    assert found["explained"]["least"] < found["explained"]["ratio"] < found["explained"]["most"]


def test_detect_warns_where_nothing_fits(jadce, tmp_path):
    """Subcarriers in another order than the pilots'."""
    path, output = tmp_path / "mixed.npz", tmp_path / "result.npz"
    with np.load(DFT) as file:
        np.savez(path, **{k: np.fft.fftshift(file[k], axes=1) if k == "y" else file[k] for k in file.files})
    status, out, err = jadce("detect", path, "--json", "-o", output)
    found = strict(out)
    assert status == 0
    assert found["trusted"] is False
    assert err == f"jadce: warning: not to be trusted: {found['reason']}\n"
    with np.load(output) as result:
        assert not result["trusted"]
        assert str(result["reason"]) == found["reason"]
        assert result["explained"].tolist() == pytest.approx(list(found["explained"].values()))


@pytest.mark.skipif(devices()[0] > 0, reason="needs a machine without a GPU")
def test_detect_says_why_there_is_no_gpu(jadce):
    status, out, err = jadce("detect", DFT, "--device", "cuda", "--json")
    assert (status, out) == (2, "")
    assert "--device: expected 'cpu', found 'cuda', but CUDA is off: " in err


def test_detect_without_the_truth(jadce, tmp_path):
    capture = without_truth(DFT, tmp_path / "blind.npz")
    blind = strict(jadce("detect", capture, "--json")[1])
    scored = strict(jadce("detect", DFT, "--json")[1])
    assert blind["active"] == scored["active"]
    assert not {"nmse_db", "missed", "false_alarms"} & set(blind)


def test_detect_with_indices_as_the_only_truth(jadce, tmp_path):
    with np.load(DFT) as file:
        kept = {k: file[k] for k in file.files if k != "true_channels"}
    kept["true_active"] = kept["true_active"][1:]
    np.savez(tmp_path / "c.npz", **kept)
    found = strict(jadce("detect", tmp_path / "c.npz", "--json")[1])
    assert (found["missed"], found["false_alarms"], found["nmse_db"]) == (0, 1, None)


def test_detect_learns_what_the_capture_does_not_say(jadce, tmp_path):
    told = strict(jadce("detect", DFT, "--json")[1])
    capture = without_truth(DFT, tmp_path / "blind.npz", "activity_rate", "noise_var")
    status, out, _ = jadce("detect", capture, "--json")
    assert status == 0
    found = strict(out)
    assert found["active"] == told["active"]
    assert found["trusted"]
    assert found["activity_rate"] == found["learned_rate"] == pytest.approx(len(told["active"]) / 400, rel=0.1)
    assert found["learned_noise_var"] == pytest.approx(float(np.load(DFT)["noise_var"]), rel=0.15)
    assert "noise variance learned from the block" in jadce("detect", capture)[1]
    status, out, err = jadce("detect", capture, "--rate", 0.1, "--json")
    assert err == ""
    assert strict(out)["activity_rate"] == 0.1


@pytest.mark.parametrize("suffix", [".npz", ".mat"])
def test_detect_writes_a_result(jadce, tmp_path, suffix):
    path = tmp_path / f"result{suffix}"
    active = strict(jadce("detect", DFT, "-o", path, "--json")[1])["active"]
    if suffix == ".npz":
        result = dict(np.load(path))
    else:
        from scipy.io import loadmat

        result = loadmat(path)
    assert result["active"].ravel().tolist() == active
    assert result["channels"].shape == (len(active), *np.load(DFT)["y"].shape[1:])
    assert result["activity"].size == 400
    assert result["channel_var"].size == len(active)


def test_detect_table(jadce):
    status, out, _ = jadce("detect", QPSK)
    assert status == 0
    assert "devices active" in out
    assert "0 missed, 0 false alarms" in out


def test_detect_receivers_and_powers(jadce):
    assert strict(jadce("detect", DFT, "--receiver", "bg", "--json")[1])["prior"] == "gaussian"
    known = strict(jadce("detect", DFT, "--power", 1, "--threads", 1, "--prior", "cdl-tiny", "--json")[1])
    assert known["missed"] == known["false_alarms"] == 0


def cell_capture(path, active):
    """Capture of one subcarrier, of the cell of Tang et al."""
    from jadce_fast.campaigns import CellScenario, draw_cell

    drop = draw_cell(CellScenario(snr_db=30, active=active), 0, 1)
    pilots = jf.Pilots(drop.pilots)
    capture = jf.Capture(drop.y, pilots, drop.noise_var, active / 64, drop.active, drop.channels)
    jf.save_capture(path, capture)
    return path


@pytest.mark.parametrize(("power", "prior"), list(itertools.product(["10", "unknown"], ["cell", "cell-network"])))
def test_detect_langevin(jadce, tmp_path, power, prior):
    capture = cell_capture(tmp_path / "cell.npz", 5)
    wanted = ["--receiver", "langevin", "--prior", prior, "--power", power, "--threads", 1, "--json"]
    status, text, notes = jadce("detect", capture, *wanted)
    assert status == 0
    result = strict(text)
    assert result["prior"] == prior
    assert ("was trained for 0.1" in notes) == (prior != "cell")
    assert result["missed"] == result["false_alarms"] == 0
    assert result["nmse_db"] < -25
    assert result["restarts"] == 0


def test_detect_points_one_subcarrier_to_the_receivers_that_take_it(jadce, tmp_path):
    capture = cell_capture(tmp_path / "cell.npz", 5)
    status, out, err = jadce("detect", capture, "--prior", "ncsn-c")
    assert (status, out) == (2, "")
    wanted = "--prior: expected one for the capture's number of subcarriers, 1, found 'ncsn-c' for 48"
    assert f"{wanted}; --receiver langevin or --receiver bg would do\n" in err
    assert strict(jadce("detect", capture, "--receiver", "bg", "--json")[1])["missed"] == 0


def test_detect_in_noise_finds_nobody_and_shows_what_remains(jadce, tmp_path):
    with np.load(DFT) as file:
        noise = dict(file) | {"y": np.random.default_rng(0).normal(size=(*file["y"].shape, 2)).view(complex)[..., 0]}
    np.savez(tmp_path / "noise.npz", **noise)
    status, out, _ = jadce("detect", tmp_path / "noise.npz")
    found = strict(jadce("detect", tmp_path / "noise.npz", "--json")[1])
    assert status == 0
    assert found["active"] == []
    assert f"residual {found['residual_ratio']:.2f} times the noise" in out


def test_help_is_what_a_command_without_arguments_prints(jadce):
    for group, some in (((), "simulate-cell"), (("figures",), "tang-5")):
        status, out, err = jadce(*group)
        assert (status, err) == (0, "")
        assert some in out
        assert out == jadce(*group, "--help")[1]


def test_bench_checks_the_answer_and_times_it(jadce):
    small = ["bench", "--seconds", 0.02, "--devices", 100, "--symbols", 12, "--antennas", 16]
    status, out, _ = jadce(*small, "--prior", "cdl-tiny", "--json")
    assert status == 0
    found = json.loads(out)
    assert [(row["prior"], row["power"]) for row in found["results"]] == [
        ("cdl-tiny", "known"),
        ("cdl-tiny", "unknown"),
    ]
    for row in found["results"]:
        assert 0 < row["p50_ms"] <= row["p99_ms"] <= row["p99.9_ms"] <= row["max_ms"]
        assert row["runs"] >= 10
        assert row["nmse_db"] < -15
    assert "p99.9 ms" in jadce(*small, "--prior", "cdl-tiny")[1]
    status, _, err = jadce("bench", "--symbols", 1, "--devices", 40, "--prior", "gaussian")
    assert (status, "expected a drop that is detected without an error" in err) == (2, True)


def test_help_lists_commands_in_the_order_of_use(jadce):
    lines = jadce("--help")[1].split("Commands")[1].split("\n")
    names = [line.split()[1] for line in lines if line[2:3].isalpha()]
    assert names == [
        "demo",
        "detect",
        "simulate",
        "report",
        "simulate-cell",
        "train",
        "adapt",
        "export",
        "figures",
        "tune",
        "bench",
        "info",
    ]


def test_version(jadce):
    assert jadce("--version") == (0, f"jadce {jf.__version__}\n", "")


def test_simulate(jadce, tmp_path):
    arguments = ["simulate", *SMALL, "--trials", 3, "--prior", "cdl", "--prior", "gaussian", "--genie", "--json"]
    status, out, err = jadce(*arguments, "--csv", tmp_path / "t.csv", "--plot", tmp_path / "t.png")
    first, second = strict(out), strict(jadce(*arguments)[1])
    assert status == 0
    assert err == ""
    assert [r["prior"] for r in first["results"]] == ["cdl", "gaussian", "genie"]
    assert first["scenario"]["devices"] == 100
    for a, b in zip(first["results"], second["results"], strict=True):
        same = set(a) - {"seconds_p50", "seconds_p99"}
        assert {k: a[k] for k in same} == {k: b[k] for k in same}
    learned, _, genie = first["results"]
    assert learned["genie_distance_db"] == pytest.approx(learned["nmse_db"] - genie["nmse_db"])
    rows = list(csv.DictReader((tmp_path / "t.csv").open()))
    assert len(rows) == 9
    assert sum(int(r["active"]) for r in rows if r["prior"] == "cdl") == learned["active"]
    assert (tmp_path / "t.png").stat().st_size > 1000


def test_simulate_options_reach_the_scenario(jadce):
    arguments = ["simulate", *SMALL, "--trials", 1, "--rate", 0.1, "--snr", 5, "--model", "mixed", "--pilots", "qpsk"]
    arguments += ["--angles", "arrival", "--delay-spread", 50, 60, "--power-spread", 10, "--power", "known"]
    arguments += ["--seed", 4, "--fresh-pilots", "--prior", "gaussian"]
    found = strict(jadce(*arguments, "--json")[1])
    delays = found["scenario"].pop("delay_spread")
    assert delays == pytest.approx([50e-9, 60e-9])
    assert found["scenario"] == {
        "devices": 100,
        "symbols": 12,
        "subcarriers": 48,
        "antennas": 16,
        "activity_rate": 0.1,
        "snr_db": 5.0,
        "model": "mixed",
        "angles": "arrival",
        "pilots": "qpsk",
        "power_spread_db": 10.0,
        "fresh_pilots": True,
        "distance": None,
        "channels": "",
        "spacing": 30e3,
    }
    assert (found["power"], found["seed"], found["trials"]) == ("known", 4, 1)


def test_simulate_table(jadce):
    status, out, _ = jadce("simulate", *SMALL, "--trials", 2)
    assert status == 0
    assert "NMSE dB" in out
    assert "cdl" in out


@pytest.mark.parametrize(("width", "turned"), [(80, True), (140, False)])
def test_a_table_fits_the_terminal(monkeypatch, capsys, width, turned):
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    names = ["prior", "trials", "false alarms", "NMSE dB", "iterations", "converged", "p50 ms", "p99 ms", "to genie dB"]
    rows = [[name, "50", "0", "-33.37", "7.1", "100%", "18.0", "19.9", "3.05"] for name in ("cdl", "gaussian")]
    console.show(console.table(None, names, rows))
    lines = re.sub(r"\x1b\[\d*m", "", capsys.readouterr().out).split("\n")
    assert max(map(len, lines)) <= width
    assert any(line.split() == ["NMSE", "dB", "-33.37", "-33.37"] for line in lines) is turned
    assert "false alarms" in "\n".join(lines)


def test_demo(jadce, tmp_path):
    status, out, err = jadce("demo", *SMALL, "--output", tmp_path / "new" / "folder", "--json")
    found = strict(out)
    assert status == 0
    assert err == ""
    assert Path(found["picture"]).read_bytes().startswith(b"\x89PNG")
    assert [r["prior"] for r in found["results"]] == [DEFAULT, "gaussian", "genie"]
    assert found["results"][0]["missed"] == 0
    status, out, _ = jadce("demo", *SMALL, "--output", tmp_path)
    assert status == 0
    assert "false alarms" in out
    assert str(tmp_path / "demo.png") in out


def test_info(jadce):
    found = strict(jadce("info", "--json")[1])
    assert found["jadce_fast"] == jf.__version__
    assert found["kernels"] in found["kernels_available"]
    assert "cdl" in found["priors"]
    assert found["cuda"]["devices"] > 0 or found["cuda"]["reason"]
    assert found["threads"] >= 1
    status, out, _ = jadce("info")
    assert status == 0
    assert "kernels" in out


def test_as_a_program():
    """Output of a real process: nothing but the object, and help that loads neither torch nor NumPy."""
    run = [sys.executable, "-m", "jadce_fast.cli"]
    done = subprocess.run([*run, "detect", DFT, "--json"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("\n") == 1
    assert strict(done.stdout)["missed"] == 0
    failed = subprocess.run([*run, "detect", "nosuch.npz"], capture_output=True, text=True, check=False)
    assert (failed.returncode, failed.stdout) == (2, "")
    assert failed.stderr == "jadce: error: nosuch.npz: expected a capture, found no such file\n"
    script = "import sys, jadce_fast.cli; print(sorted({'torch', 'numpy', 'matplotlib'} & set(sys.modules)))"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert loaded.stdout == "[]\n"


def test_a_sweep_and_its_report(jadce, tmp_path):
    axes = ["--snr", "0:10:10", "--antennas", "4,8", "--trials", 2, "--prior", "cdl-tiny", "--receiver", "bg"]
    files = ["--csv", tmp_path / "t.csv", "--plot", tmp_path / "t.png", "--resume", tmp_path / "kept"]
    status, out, err = jadce("simulate", "--devices", 60, "--symbols", 10, *axes, *files, "--json")
    assert (status, err) == (0, "")
    found = strict(out)
    assert found["axes"] == {"snr_db": [0, 10], "antennas": [4, 8]}
    assert [(r["snr_db"], r["antennas"]) for r in found["results"][::2]] == [(0, 4), (10, 4), (0, 8), (10, 8)]
    assert len(list(csv.DictReader((tmp_path / "t.csv").open()))) == 16
    assert (tmp_path / "t.png").stat().st_size > 10000
    again = strict(jadce("report", tmp_path / "kept", "--json")[1])
    for row in again["results"]:
        assert row in found["results"]
    assert sorted(again["axes"]) == ["antennas", "snr_db"]
    names = {"report.csv", "report-snr_db.png", "report-antennas.png", *(f"report-activity-{i}.png" for i in range(4))}
    assert names <= {p.name for p in (tmp_path / "kept").iterdir()}
    # The curve passes through the errors that were counted, at a threshold of one half.
    lines = list(csv.DictReader((tmp_path / "kept/report-activity.csv").open()))
    for row in found["results"]:
        own = [r for r in lines if (r["prior"], float(r["snr_db"])) == (row["prior"], row["snr_db"])]
        half = next(r for r in own if float(r["log_odds"]) == 0 and int(r["antennas"]) == row["antennas"])
        assert float(half["missed"]) * row["active"] == pytest.approx(row["missed"])
        assert float(half["false_alarm"]) * (2 * 60 - row["active"]) == pytest.approx(row["false_alarms"])
        assert [(r["missed"], r["idle"]) for r in row["roc"]][14] == (float(half["missed"]), float(half["idle"]))
    assert "95 %" in jadce("report", tmp_path / "kept", "--output", tmp_path)[1]
