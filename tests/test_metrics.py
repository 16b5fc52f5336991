import json

import numpy as np
import pytest

from jadce_fast.detection import Detection, Explained
from jadce_fast.metrics import Score, score


def detection(active, channels, devices=10):
    active = np.asarray(active, np.int64)
    activity = np.zeros(devices, np.float32)
    activity[active] = 1
    channels = np.asarray(channels, np.complex64).reshape(len(active), 2, 3)
    return Detection(
        activity,
        active,
        channels,
        np.zeros(len(active), np.float32),
        1,
        True,
        0.1,
        Explained(1.0, 0.8, 1.2),
        "fixed point",
    )


def test_hit_miss_and_false_alarm():
    truth = np.ones((2, 2, 3)) * np.array([1, 2j]).reshape(2, 1, 1)
    # Device 7 is estimated with error 0.5 an entry, device 3 missed, device 5 a false alarm.
    found = detection([5, 7], np.stack([np.full((2, 3), 3), np.full((2, 3), 1.5)]))
    result = score(found, [7, 3], truth)
    assert (result.devices, result.active, result.missed, result.false_alarms, result.trials) == (10, 2, 1, 1, 1)
    assert result.error_energy == pytest.approx(6 * (0.25 + 4))
    assert result.channel_energy == pytest.approx(6 * (1 + 4))
    assert result.false_alarm_energy == pytest.approx(6 * 9)
    assert result.nmse == pytest.approx(4.25 / 5)
    assert result.nmse_db == pytest.approx(10 * np.log10(4.25 / 5))
    assert result.error_rate == pytest.approx(0.2)


def test_scores_add_to_a_ratio_of_sums():
    weak = score(detection([1], np.ones((2, 3))), [1], np.full((1, 2, 3), 0.5))  # NMSE 1
    strong = score(detection([1], np.full((2, 3), 10)), [1], np.full((1, 2, 3), 10))  # NMSE 0
    total = sum([weak, strong], Score())
    assert total == sum([weak, strong]) == weak + strong
    assert (total.trials, total.devices) == (2, 20)
    assert total.nmse == pytest.approx(0.25 / (0.25 + 100))


def test_nobody_active_and_a_perfect_estimate_are_finite():
    nobody = score(detection([], []), [], np.zeros((0, 2, 3)))
    assert (nobody.nmse, nobody.nmse_db, nobody.error_rate) == (0, -300, 0)
    alarm = score(detection([4], np.ones((2, 3))), [], np.zeros((0, 2, 3)))
    assert (alarm.nmse, alarm.false_alarms, alarm.false_alarm_energy) == (0, 1, 6)
    perfect = score(detection([4], np.ones((2, 3))), [4], np.ones((1, 2, 3)))
    assert perfect.nmse_db == -300
    assert Score().error_rate == 0
    json.dumps([nobody.nmse_db, perfect.nmse_db], allow_nan=False)


@pytest.mark.parametrize(
    ("active", "shape", "error", "message"),
    [
        ([1, 1], (2, 2, 3), ValueError, "true_active: expected distinct devices, found 1 repeated"),
        ([10], (1, 2, 3), ValueError, "true_active: expected 0 to 9, found 10 to 10"),
        ([-1], (1, 2, 3), ValueError, "true_active: expected 0 to 9, found -1 to -1"),
        ([1.5], (1, 2, 3), TypeError, "true_active: expected integers, found dtype float64"),
        ([[1]], (1, 2, 3), ValueError, "true_active: expected shape (A,), found (1, 1)"),
        ([1], (2, 2, 3), ValueError, "true_channels: expected shape (1, 2, 3), found (2, 2, 3)"),
        ([1], (1, 3, 2), ValueError, "true_channels: expected shape (1, 2, 3), found (1, 3, 2)"),
    ],
)
def test_bad_truth(active, shape, error, message):
    with pytest.raises(error) as caught:
        score(detection([1], np.ones((2, 3))), active, np.ones(shape))
    assert str(caught.value) == message
