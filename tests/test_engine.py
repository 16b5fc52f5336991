"""The engine of campaigns and its store: order, interruption, stopping, processes, Dask."""

import csv
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import t as student

from jadce_fast import channels
from jadce_fast.campaigns import Scenario, draw_drop, simulate, summarize, summarize_odds, sweep
from jadce_fast.campaigns.engine import Point, Stop, run
from jadce_fast.campaigns.intervals import clopper_pearson, ratio_interval
from jadce_fast.campaigns.odds import LOG_ODDS, numbers_of
from jadce_fast.campaigns.ofdm_drop import recorded_channels
from jadce_fast.campaigns.report import read_report
from jadce_fast.campaigns.store import Store, count_draws

SMALL = Scenario(devices=60, symbols=10, antennas=4, activity_rate=0.08, snr_db=12)
NUMBERS = ("missed", "false_alarms", "error_energy", "channel_energy")


def draw(trial):
    return trial


def measure(drop):
    """Numbers of a draw that nothing else depends on; a slow one now and then."""
    rng = np.random.default_rng(drop)
    return dict(zip(NUMBERS, (float(rng.random() < 0.3), 0.0, 1 + rng.random(), 10 + rng.random()), strict=True))


def twice(drop):
    return {name: 2 * value for name, value in measure(drop).items()}


def die(drop):
    os.kill(os.getpid(), signal.SIGKILL)


def points(store, count=3):
    kept = [{name: store.lists({"point": i, "prior": name}) for name in ("a", "b")} for i in range(count)]
    return [Point(own, draw, {"a": measure, "b": twice}) for own in kept]


def table(path):
    return (path / "results.csv").read_bytes()


def whole(path, stop=None, **options):
    store = Store(path, "test", {"seed": 0})
    counts = run(store, points(store), stop or Stop(7), **options)
    return counts, table(path)


def test_a_table_has_every_draw_once_in_order(tmp_path):
    counts, text = whole(tmp_path)
    assert counts == [7, 7, 7]
    rows = list(csv.DictReader(text.decode().splitlines()))
    at = [(int(r["point"]), int(r["draw"]), r["prior"]) for r in rows]
    assert at == [(p, d, name) for p in range(3) for d in range(7) for name in ("a", "b")]
    assert float(rows[3]["error_energy"]) == pytest.approx(twice(1)["error_energy"], rel=1e-6)


def test_processes_make_the_same_table(tmp_path):
    """Stopping by errors, too: what was measured ahead of the last draw is left out."""
    stop = Stop(40, errors=3)
    counts, text = whole(tmp_path / "one", stop)
    assert whole(tmp_path / "two", stop, workers=2) == (counts, text)
    assert counts[0] < 40


def whole_batches(drops):
    assert 1 <= len(drops) <= 3
    return [twice(drop) | {"batch": len(drops)} for drop in drops]


@pytest.mark.parametrize("workers", [1, 2])
def test_batches(tmp_path, workers):
    """Of a contender that takes several draws at once, beside one that does not, and going on where less is kept."""

    def run_batches(path, trials, workers):
        store = Store(path, "test", {"seed": 0})
        own = [replace(point, many={"b": whole_batches}, batch=3) for point in points(store)]
        run(store, own, Stop(trials), workers=workers)
        return [{name: point.kept[name] for name in "ab"} for point in own]

    run_batches(tmp_path / "kept", 2, 1)
    found = run_batches(tmp_path / "kept", 7, workers)
    for lists in found:
        assert lists["a"]["missed"] == [measure(i)["missed"] for i in range(7)]
        assert lists["b"]["error_energy"] == pytest.approx([twice(i)["error_energy"] for i in range(7)], rel=1e-6)
        assert lists["b"]["batch"][:2] == [2, 2]
    assert [lists["batch"] for lists in (point["b"] for point in found)] == [[2, 2, 3, 3, 3, 2, 2]] * 3


@pytest.mark.parametrize("where", range(0, 14, 3))
def test_interrupted_anywhere_it_goes_on_to_the_same_table(tmp_path, where):
    """Between draws, and in the middle of a line that was being written."""
    _, text = whole(tmp_path / "whole")

    def stop(point, done):
        if 7 * point + done > where:
            raise KeyboardInterrupt

    path = tmp_path / "part"
    store = Store(path, "test", {"seed": 0})
    with pytest.raises(KeyboardInterrupt):
        run(store, points(store), Stop(7), progress=stop)
    assert text.startswith(table(path))
    with (path / "results.csv").open("ab") as file:
        file.write(text[len(table(path)) :][: 5 + where])  # a part of the next line
    assert whole(path)[1] == text


def test_more_draws_points_and_contenders_later(tmp_path):
    store = Store(tmp_path, "test", {"seed": 0})
    first = Point({"a": store.lists({"prior": "a"})}, draw, {"a": measure})
    assert run(store, [first], Stop(2)) == [2]
    store = Store(tmp_path, "test", {"seed": 0})
    extra = {"c": lambda drop: measure(drop) | {"own": 1.0}}  # a column that was not there
    kept = {"a": store.lists({"prior": "a"}), "c": store.lists({"prior": "c", "option": 3})}
    assert run(store, [Point(kept, draw, {"a": measure} | extra)], Stop(3)) == [3]
    again = Store(tmp_path, "test", {"seed": 0})
    assert [count_draws(again.lists({"prior": name})) for name in "ac"] == [3, 0]
    assert again.lists({"prior": "c", "option": 3})["own"] == [1.0] * 3
    assert again.lists({"prior": "a"})["missed"] == [measure(i)["missed"] for i in range(3)]


def test_two_campaigns_do_not_share_a_directory(tmp_path):
    one, other = (Store(tmp_path, "test", {"seed": 0}) for _ in range(2))
    run(one, points(one), Stop(2))
    with pytest.raises(ValueError, match="expected to be the only campaign in it"):
        run(other, points(other), Stop(2))
    with pytest.raises(ValueError, match="expected a campaign with seed=1, found 0"):
        Store(tmp_path, "test", {"seed": 1})
    with pytest.raises(ValueError, match="expected a campaign of kind other, found test"):
        Store(tmp_path, "other", {"seed": 0})
    other = Store(tmp_path / "learned", "test", {"seed": 0, "learn": True})
    run(other, points(other), Stop(1))
    with pytest.raises(ValueError, match="expected a campaign with learn=None, found True"):
        Store(tmp_path / "learned", "test", {"seed": 0})
    lines = table(tmp_path).splitlines(keepends=True)
    (tmp_path / "results.csv").write_bytes(b"".join([lines[0], *lines[3:]]))  # a draw was taken out
    with pytest.raises(ValueError, match="draw 0 is missing before 1"):
        Store(tmp_path, "test", {"seed": 0})


def test_who_comes_second_leaves_the_manifest_of_the_first(tmp_path):
    one, other = (Store(tmp_path, "test", {"seed": seed}) for seed in (0, 1))
    run(one, points(one), Stop(2))
    with pytest.raises(ValueError, match="expected to be the only campaign in it"):
        run(other, points(other), Stop(2))
    assert json.loads((tmp_path / "manifest.json").read_text())["setup"] == {"seed": 0}


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_a_write_that_fails_leaves_no_half_and_loses_nothing(tmp_path, monkeypatch, error):
    store = Store(tmp_path, "test", {"seed": 0})
    run(store, points(store), Stop(2))
    before = table(tmp_path)
    lists = store.lists({"point": 0, "prior": "a"})
    store.add(lists, {name: values[:1] for name, values in lists.items()})

    opened = Path.open

    class Full:
        """A file on a disk that is full."""

        def __init__(self, file):
            self._file = file

        def __enter__(self):
            return self

        def __exit__(self, *_):
            self._file.close()

        def __getattr__(self, name):
            return getattr(self._file, name)

        def write(self, text):
            self._file.write(text[:9])
            raise error

    monkeypatch.setattr(
        Path, "open", lambda self, mode="r", *a: (Full if mode == "r+b" else lambda f: f)(opened(self, mode, *a))
    )
    with pytest.raises(error):
        store.save()
    monkeypatch.undo()
    assert table(tmp_path) == before
    store.save()
    assert table(tmp_path).startswith(before)
    assert table(tmp_path).count(b"\n") == before.count(b"\n") + 1


def test_measurements_of_other_networks_are_not_pooled(tmp_path):
    store = Store(tmp_path, "ofdm", {"seed": 0})
    simulate(SMALL, ("bg",), 2, threads=1, resume=tmp_path / "kept")
    simulate(replace(SMALL, snr_db=12.0), ("bg",), 2, threads=1, resume=tmp_path / "kept")  # the same point
    assert [row["trials"] for row in read_report(tmp_path / "kept").rows] == [2]
    numbers = simulate(SMALL, ("bg",), 2, threads=1)
    for weights in ("aa", "bb"):
        lists = store.lists({"scenario": {"snr_db": 12.0}, "prior": "own", "fingerprint": weights})
        for one in numbers:
            flat = one.row() | {"relative_error": one.score.relative_error}
            flat |= numbers_of(one.odds)
            store.add(lists, {k: v for k, v in flat.items() if k not in ("point", "trial", "prior", "nmse_db")})
    store.save()
    found = read_report(tmp_path)
    assert ([row["prior"] for row in found.rows], found.axes) == (["own aa", "own bb"], [])


def test_manifest_says_what_was_run(tmp_path):
    whole(tmp_path)
    found = json.loads((tmp_path / "manifest.json").read_text())
    assert (found["kind"], found["setup"]) == ("test", {"seed": 0})
    (run,) = found["runs"]
    assert run["packages"]["numpy"] == np.__version__
    assert run["processor"]["name"]
    assert run["command"] == shlex.join(sys.argv)


@pytest.mark.parametrize(("change", "most"), [({"errors": 5}, 60), ({"width_db": 0.6}, 60), ({}, 5)])
def test_stopping(change, most):
    stop, store = Stop(most, **change), Store(None, "test", {})
    (count,) = run(store, points(store, 1), stop)
    found = store.lists({"point": 0, "prior": "a"})
    if not change:
        assert count == most
        return

    def enough(n):
        if "errors" in change:
            return sum(found["missed"][:n]) >= 5
        low, high = ratio_interval(found["error_energy"][:n], found["channel_energy"][:n])
        return n >= 3 and low > 0 and 10 * np.log10(high / low) <= 0.6

    assert count < most
    assert enough(count)
    assert not enough(count - 1)


def test_ratio_interval():
    """Of a mean, where the denominator is one: Student's."""
    x = np.random.default_rng(0).normal(5, 1, 12)
    reach = student.ppf(0.975, 11) * x.std(ddof=1) / 12**0.5
    assert ratio_interval(x, np.ones(12)) == pytest.approx((x.mean() - reach, x.mean() + reach))
    assert ratio_interval([1.0], [1.0]) == (0.0, np.inf)


def test_a_killed_process_is_told(tmp_path):
    store = Store(tmp_path, "test", {})
    kept = {"a": store.lists({"prior": "a"})}
    with pytest.raises(ChildProcessError, match="workers: a process was killed"):
        run(store, [Point(kept, draw, {"a": die})], Stop(3), workers=2)


def test_a_sweep_measures_the_same_drops(tmp_path):
    """In two processes as in one; the report reads the same numbers."""
    scenarios = sweep(SMALL, {"snr_db": [0.0, 12.0], "antennas": [4, 8]})
    assert [(s.snr_db, s.antennas) for s in scenarios] == [(0, 4), (0, 8), (12, 4), (12, 8)]
    names = ("cdl-tiny", "bg")
    records = simulate(scenarios, names, 2, seed=1, threads=1, resume=tmp_path)
    other = simulate(scenarios, names, 2, seed=1, workers=2)
    assert [(r.point, r.trial, r.prior, r.score) for r in other] == [
        (r.point, r.trial, r.prior, r.score) for r in records
    ]
    single = simulate(scenarios[2], names, 2, seed=1, threads=1)
    assert [r.score for r in single] == [r.score for r in records if r.point == 2]
    kept = read_report(tmp_path)
    assert kept.axes == ["snr_db", "antennas"] or kept.axes == ["antennas", "snr_db"]
    assert len(kept.rows) == 8
    at = [(r["snr_db"], r["antennas"], r["prior"]) for r in kept.rows].index((12, 4, "bg"))
    assert kept.rows[at]["nmse_db"] == pytest.approx(summarize(records, "bg", 2).nmse_db)
    expected = summarize_odds(records, "bg", 2)
    assert summarize_odds(kept.records[at], "bg").row() == expected.row()
    assert expected.missed == kept.rows[at]["missed"]
    assert expected.idle.sum() + expected.active.sum() == 2 * 60
    with pytest.raises(ValueError, match="axes: expected values of devices"):
        sweep(SMALL, {"colour": [1]})


def test_means_of_devices_and_intervals():
    scenario = replace(SMALL, distance=(35, 200))
    records = simulate(scenario, ("bg",), 3, threads=1)
    found = summarize(records, "bg")
    ratios = []
    for trial in range(3):
        drop = draw_drop(scenario, 0, trial)
        ratios.append(len(drop.active))
    total = sum(r.score.relative_error for r in records)
    assert found.mean_nmse_db == pytest.approx(10 * np.log10(total / sum(ratios)))
    assert found.mean_nmse_db > found.nmse_db + 1  # weak devices are estimated worse, and count as much
    low, high = clopper_pearson(found.missed + found.false_alarms, 180)
    assert (found.error_rate_low, found.error_rate_high) == (float(low), float(high))


def test_path_loss():
    """Mean one; 28 dB between 35 and 200 m."""
    scenario = Scenario(devices=4000, symbols=1, subcarriers=1, antennas=1, activity_rate=0.9, distance=(35, 200))
    power = np.mean(abs(draw_drop(scenario).channels) ** 2, axis=(1, 2))
    assert 10 * np.log10(power.max() / power.min()) == pytest.approx(36.7 * np.log10(200 / 35), abs=0.3)
    gains = channels.path_loss_gains(200_000, (35, 200), seed=1)
    assert gains.mean() == pytest.approx(1, rel=0.02)
    with pytest.raises(ValueError, match="distance: expected no power_spread_db beside it"):
        replace(scenario, power_spread_db=3.0)
    with pytest.raises(ValueError, match="distance: expected near <= far"):
        replace(scenario, distance=(200, 35))


def test_recorded_channels(tmp_path):
    own = tmp_path / "channels.npz"
    rng = np.random.default_rng(0)
    values = rng.standard_normal((30, 48, 4)) + 1j * rng.standard_normal((30, 48, 4))
    np.savez(own, channels=values)
    scenario = replace(SMALL, channels=str(own))
    assert np.mean(abs(recorded_channels(scenario)) ** 2, axis=(1, 2)) == pytest.approx(np.ones(30), rel=1e-5)
    drop = draw_drop(scenario, 3)
    unit = values / np.sqrt(np.mean(abs(values) ** 2, axis=(1, 2), keepdims=True))
    for h in drop.channels:
        assert np.abs(unit - h).max(axis=(1, 2)).min() < 1e-5
    first = simulate(scenario, ("bg",), 1, threads=1, resume=tmp_path / "kept")
    np.savez(own, channels=values[::-1].copy())  # other channels under the same name are measured anew
    os.utime(own, (1, 1))
    assert simulate(scenario, ("bg",), 1, threads=1, resume=tmp_path / "kept")[0].score != first[0].score
    with pytest.raises(ValueError, match="expected channels"):
        draw_drop(replace(scenario, antennas=8))
    with pytest.raises(ValueError, match="priors: expected no genie with recorded channels"):
        simulate(scenario, ("genie",), 1)


CLUSTER = """
import sys, time, os, signal
from distributed import LocalCluster
if __name__ == "__main__":
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None, host="127.0.0.1") as cluster:
        print(cluster.scheduler_address, *(w.pid for w in cluster.workers.values()), flush=True)
        sys.stdin.read()
"""


def test_dask_survives_a_killed_worker(tmp_path):
    pytest.importorskip("distributed")
    options = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True}
    with subprocess.Popen([sys.executable, "-c", CLUSTER], **options) as cluster:
        try:
            address, *workers = cluster.stdout.readline().split()

            def kill(done, _):
                if done == 2:
                    os.kill(int(workers[0]), signal.SIGKILL)

            names = ("cdl-tiny", "bg")
            there = simulate(SMALL, names, 12, scheduler=address, resume=tmp_path / "there", progress=kill)
        finally:
            cluster.stdin.close()
            cluster.terminate()
            cluster.wait(timeout=30)
    here = simulate(SMALL, names, 12, threads=1, resume=tmp_path / "here")
    assert [(r.trial, r.prior, r.score) for r in there] == [(r.trial, r.prior, r.score) for r in here]


def test_scheduler_that_is_not_there():
    dask = pytest.importorskip("dask")
    with dask.config.set({"distributed.comm.timeouts.connect": "1s"}), pytest.raises(OSError, match="imed out"):
        simulate(SMALL, ("bg",), 1, scheduler="tcp://127.0.0.1:1")


def test_scheduler_without_dask(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ImportError, match=r"distributed: .*pip install 'jadce-fast\[dask\]'"):
        simulate(SMALL, ("bg",), 1, scheduler="tcp://127.0.0.1:1")


@pytest.mark.parametrize("workers", [1, 2])
def test_termination_leaves_whole_files_and_no_process(tmp_path, workers):
    command = [sys.executable, "-m", "jadce_fast.cli", "simulate", "--devices", "60", "--symbols", "10"]
    options = ["--antennas", "4", "--trials", "100000", "--workers", workers, "--prior", "gaussian", "--json"]
    run = [*command, *map(str, options), "--resume", str(tmp_path / "kept")]
    with subprocess.Popen(run, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            while not (tmp_path / "kept/results.csv").exists() and process.poll() is None:
                time.sleep(0.05)
            process.send_signal(signal.SIGTERM if workers == 2 else signal.SIGINT)
            out, message = process.communicate(timeout=60)  # ends when no process holds the pipes any more
        finally:
            process.kill()
    assert (process.returncode, out, message) == (130, "", "jadce: error: interrupted\n")
    setup = {"seed": 0, "power": "unknown", "log_odds": LOG_ODDS.tolist()}
    Store(tmp_path / "kept", "ofdm", setup)  # reads every line
    assert table(tmp_path / "kept").endswith(b"\n")
