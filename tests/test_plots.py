"""Pictures."""

import dataclasses

import numpy as np
import pytest
from matplotlib.image import imread

from jadce_fast.campaigns import Scenario, simulate
from jadce_fast.campaigns.demo import demonstrate
from jadce_fast.figures.demo import delay_angle, demo_figure
from jadce_fast.figures.style import save_figure
from jadce_fast.figures.trials import trials_figure

SMALL = Scenario(devices=100, symbols=12, antennas=16, activity_rate=0.08)


def test_one_path_is_one_spot():
    n, m, pad = 48, 32, 4
    delay, sine = 20, 24  # on the padded grids
    h = np.exp(-2j * np.pi * np.arange(n)[:, None] * delay / (pad * n) + 1j * np.pi * np.arange(m) * (2 * sine / 128))
    power = delay_angle(h, pad)
    assert power.shape == (pad * n, pad * m)
    assert np.unravel_index(power.argmax(), power.shape) == (delay, pad * m // 2 + sine)
    far = np.roll(power, (-delay, -pad * m // 2 - sine), (0, 1))[2 * pad + 4 : -2 * pad - 4]
    assert far.max() < 10**-3 * power.max()  # side lobes of a Hann window are below -31 dB


def test_demonstration_has_a_curve_that_ends_at_its_score():
    shown = demonstrate(SMALL, seed=1)
    for contender in shown.contenders:
        assert len(contender.nmse_db) == contender.detection.iterations
        assert contender.nmse_db[-1] == contender.score.nmse_db
    learned, gaussian, genie = shown.contenders
    assert genie.score.nmse < learned.score.nmse < gaussian.score.nmse


@pytest.mark.parametrize("rate", [0.08, 1e-6])  # somebody, nobody
def test_demo_picture(tmp_path, rate):
    path = tmp_path / "demo.png"
    save_figure(demo_figure(demonstrate(dataclasses.replace(SMALL, activity_rate=rate))), path)
    image = imread(path)
    assert image.shape[0] > 1000
    assert image[..., :3].std() > 0.05
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("suffix", [".png", ".pdf", ".svg"])
def test_trials_picture(tmp_path, suffix):
    records = simulate(SMALL, ("cdl", "gaussian"), trials=2)
    path = tmp_path / f"trials{suffix}"
    save_figure(trials_figure(records, SMALL), path)
    start = {".png": b"\x89PNG", ".pdf": b"%PDF", ".svg": b"<?xml"}[suffix]
    assert path.read_bytes().startswith(start)


def test_a_failed_save_leaves_nothing(tmp_path):
    records = simulate(SMALL, ("cdl",), trials=1)
    with pytest.raises(ValueError, match="not supported"):
        save_figure(trials_figure(records, SMALL), tmp_path / "trials.nosuch")
    assert not list(tmp_path.iterdir())
