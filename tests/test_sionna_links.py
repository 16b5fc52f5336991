"""Links in Sionna: the coded uplink of the examples, and a known user beside Sionna's own channel estimators."""

import csv
import importlib
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import jadce_fast as jf

pytest.importorskip("sionna.phy")
torch = pytest.importorskip("torch")
ROOT = Path(__file__).parents[1]


def program(folder, name):
    sys.path.insert(0, str(ROOT / folder))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(ROOT / folder))


@pytest.fixture(scope="module")
def uplink():
    return program("examples", "coded_uplink")


@pytest.fixture(scope="module")
def link(uplink):
    return uplink.Uplink(devices=100, antennas=16, pilot_symbols=5, data_symbols=3)


def test_blocks_are_lost_where_channels_are_not_known(uplink, link):
    found = {row["receiver"]: row for row in uplink.rows(link, [-2.0], 2)}
    assert list(found) == list(uplink.RECEIVERS)
    active = found["true channels"]["active"]
    assert active >= 10
    assert all(row["active"] == active for row in found.values())
    assert found["true channels"]["lost"] == found["this library"]["lost"] == 0
    assert found["this library"]["missed"] == found["this library"]["false_alarms"] == 0
    assert found["gaussian"]["lost"] > active // 2  # 240 pilots an antenna are too few for ten times 48 unknowns
    assert found["oracle"]["missed"] == found["true channels"]["missed"] == 0


def test_a_device_that_is_not_found_has_lost_its_block(link):
    rng = np.random.default_rng(1)
    sent, no = link.send(0.0, rng), torch.tensor(1.0)
    _, active, _, _ = sent
    assert link.lost("true channels", sent, no) == (0, 0, 0)
    # A receiver of other devices finds none of those that send.
    silent = np.setdiff1d(np.arange(100), active)[:4]
    detect = link.estimator.receiver.detect

    def others(y, noise_var):
        channels = detect(y, noise_var).channels[:4]
        return SimpleNamespace(active=silent, channels=channels, channel_var=np.ones(4, np.float32))

    link.planned["deaf"] = SimpleNamespace(pilots=link.pilots, detect=others)
    assert len(active) >= 4
    assert link.lost("deaf", sent, no) == (len(active), len(active), 4)


def test_it_writes_a_table_and_a_picture(uplink, tmp_path):
    pytest.importorskip("matplotlib")
    table, picture = tmp_path / "uplink.csv", tmp_path / "uplink.png"
    uplink.main([str(table), "--snr", "-9", "--blocks", "1", "--plot", str(picture)])
    with table.open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 5
    assert {row["snr_db"] for row in rows} == {"-9.0"}
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_a_known_user_is_estimated_no_worse_than_by_sionna():
    user = program("scripts", "known_user").KnownUser(jf.channels.cdl(500, seed=1))
    channels = jf.channels.cdl(8, seed=2)
    for snr_db in (0.0, 10.0):
        found = user.errors(channels, snr_db)
        least = found["LS, linear interpolation"]
        # 12 288 errors of noise, whose mean power is known: five standard deviations.
        assert least.made == pytest.approx(10 ** (-snr_db / 10), rel=5 / np.sqrt(channels.size))
        assert least.promised == pytest.approx(10 ** (-snr_db / 10), rel=1e-3)
        ours = found["this library"]
        for name, error in found.items():
            assert ours.made <= error.made, name
        assert 0.8 < ours.promised / ours.made < 1.25
