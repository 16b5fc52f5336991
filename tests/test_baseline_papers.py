"""Every baseline is within 0.3 dB, or a factor of 1.5, of the theory of its own paper."""

import math

import numpy as np
import papers
import pytest
from problems import complex_normal

from jadce_fast.baselines.receivers import covariance as ml


@pytest.mark.parametrize("compare", papers.ALL, ids=lambda compare: compare.__name__)
def test_a_baseline_is_what_its_paper_says(compare):
    """0.3 dB are 7 %: errors are means of a thousand and more independent ones, counts are of a hundred."""
    for name, (expected, measured) in compare().items():
        if "probability" in name:
            assert 1 / 1.5 < measured / expected < 1.5, name
        else:
            assert abs(10 * math.log10(measured / expected)) < 0.3, name


@pytest.mark.parametrize(("share", "told_apart"), [(1.35, True), (0.6, False)])
def test_covariance_tells_devices_apart_on_one_side_of_the_phase_transition(share, told_apart):
    """With exact covariances, of infinitely many antennas: 20 of 200 devices, T symbols above and below the bound."""
    k, active, noise = 200, 20, 0.1
    t = round(share * papers.identifiable(k, active / k))
    rng = np.random.default_rng(1)
    q = complex_normal(rng, t, k)
    truth = (np.arange(k) < active) * 1.0
    exact = (q * truth) @ q.conj().T + noise * np.eye(t)
    gamma, *_ = ml.descend(np.ascontiguousarray(q.T)[:, None], exact[None], noise, iterations=200)
    # Descent ends at changes of a thousandth; on the other side powers are far from those of the devices.
    error = np.sum((gamma - truth) ** 2) / active
    assert error < 0.01 if told_apart else error > 0.1
