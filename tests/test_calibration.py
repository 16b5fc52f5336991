"""Campaigns of trust: counts of probabilities, mismatches, and their figures."""

import csv
import json
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.image import imread
from scipy.stats import binomtest

from jadce_fast.campaigns.calibration import Contender, measure_calibration
from jadce_fast.campaigns.intervals import clopper_pearson
from jadce_fast.campaigns.mismatch import MISMATCHES, measure_mismatch
from jadce_fast.campaigns.odds import LOG_ODDS, count_odds
from jadce_fast.campaigns.ofdm_drop import Scenario
from jadce_fast.receiver import Receiver

SMALL = Scenario(devices=120, symbols=8, antennas=8, activity_rate=0.08)


def counts(probability, active):
    class Found:
        activity = np.asarray(probability, np.float32)
        trusted = True

    return count_odds(Found, np.asarray(active))


def test_devices_are_counted_by_probability():
    found = counts([0, 1, 0.004, 0.02, 0.4, 0.6, 0.995, 0.995], [1, 5, 6])
    assert (found.missed, found.false_alarms, found.sure, found.sure_wrong) == (0, 1, 3, 1)
    assert found.active.sum() == 3
    assert found.idle.sum() == 5
    both = found + counts([0.3], [0])
    assert (both.missed, both.blocks) == (1, 2)
    idle, active = both.curve()
    assert idle[0] == 4  # all but the one of probability zero
    assert active[np.argmin(abs(LOG_ODDS))] == 3


def test_calibration_error():
    """Ten devices of 0.3 of which three are active are as promised, ten of 0.9 of which none is are 0.9 off."""
    assert counts([0.3] * 10, [0, 4, 9]).error() == pytest.approx(0, abs=1e-7)
    off = counts([0.3] * 10 + [0.9] * 10, [0, 4, 9])
    assert off.error() == pytest.approx(0.45)
    zeros = counts([0.3] * 10 + [0.9] * 10 + [0] * 980, [0, 4, 9])
    assert zeros.error() == pytest.approx(0.009)
    assert zeros.error(plausible=True) == pytest.approx(0.45)


def test_campaign_counts_what_the_receiver_says_and_goes_on(tmp_path):
    path = tmp_path / "kept"
    contenders = [Contender("cdl-tiny", "known"), Contender("gaussian")]
    done = []
    first = measure_calibration([SMALL], contenders, 2, resume=path, threads=1)
    again = measure_calibration([SMALL], contenders, 3, resume=path, threads=1, progress=lambda *at: done.append(at))
    assert done == [(1, 3), (2, 3), (3, 3)]
    fresh = measure_calibration([SMALL], contenders, 3, threads=1)
    for a, b, c in zip(first[0], again[0], fresh[0], strict=True):
        assert (a.blocks, b.blocks) == (2, 3)
        assert b.row() == c.row()
        assert (b.idle + b.active).sum() == 3 * 120
        assert np.all(b.idle >= a.idle)
    with pytest.raises(ValueError, match="seed"):
        measure_calibration([SMALL], contenders, 1, seed=1, resume=path)


def test_intervals_are_scipys():
    low, high = clopper_pearson([0, 3, 10], [10, 10, 10])
    for i, hits in enumerate((0, 3, 10)):
        exact = binomtest(hits, 10).proportion_ci(0.95, "exact")
        assert (low[i], high[i]) == pytest.approx((exact.low, exact.high))


def test_mismatches_are_noticed(tmp_path):
    kinds = [replace(MISMATCHES[0], sizes=(0.0, 0.01)), replace(MISMATCHES[2], sizes=(10.0,)), MISMATCHES[4]]
    none, offset, told, in_order, shuffled = measure_mismatch("cdl-tiny", 1, mismatches=kinds, threads=1)
    assert none.trusted == in_order.trusted == 1
    assert none.nmse_db == in_order.nmse_db < -25
    assert offset.trusted == told.trusted == shuffled.trusted == 0
    assert offset.explained > offset.most
    assert told.explained < told.least


@pytest.mark.parametrize("name", ["calibration", "roc", "mismatch"])
def test_figures(jadce, tmp_path, name):
    arguments = ("figures", name, "--quick", "--blocks", 1, "--threads", 1, "--prior", "cdl-tiny", "--output", tmp_path)
    status, out, err = jadce(*arguments, "--json")
    assert (status, err) == (0, "")
    assert sorted(path.name for path in tmp_path.iterdir()) == [name, f"{name}.csv", f"{name}.png"]
    with open(tmp_path / f"{name}.csv") as file:
        assert len(list(csv.DictReader(file))) == len(json.loads(out)["results"])
    assert imread(tmp_path / f"{name}.png")[..., :3].std() > 0.03
    status, again, _ = jadce(*arguments)
    assert status == 0
    assert f"{name}.png" in again


def test_a_detection_is_counted():
    from jadce_fast.campaigns.ofdm_drop import draw_drop

    drop = draw_drop(SMALL, 0, 0)
    out = Receiver(drop.pilots, 8, "cdl-tiny", 0.08, threads=1).detect(drop.y, drop.noise_var)
    found = count_odds(out, drop.active)
    assert (found.blocks, found.trusted) == (1, int(out.trusted))
    assert found.promised.sum() == pytest.approx(float(out.activity.sum()), rel=1e-5)
    assert found.false_alarms - found.missed == len(out.active) - len(drop.active)
