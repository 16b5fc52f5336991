"""The coded uplink of the examples: blocks are lost without channels, and with devices that are not found."""

import csv
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("sionna.phy")
torch = pytest.importorskip("torch")
EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.fixture(scope="module")
def uplink():
    sys.path.insert(0, str(EXAMPLES))
    try:
        import coded_uplink
    finally:
        sys.path.remove(str(EXAMPLES))
    return coded_uplink


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
