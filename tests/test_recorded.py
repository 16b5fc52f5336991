"""The receiver gives the answers that it gave before: `recorded` says when and how they were kept."""

import numpy as np
import pytest
import recorded

KEPT = np.load(recorded.FILE)


@pytest.mark.parametrize("name", recorded.CASES)
def test_detections_are_the_recorded_ones(name):
    """On one instruction set the bits are the same; the others add in another order.

    Between the three of them results differ by up to 1e-6, some ten times the rounding of single precision; ten times
    that is allowed.
    """
    found = recorded.fields(recorded.detect(name))
    kept = {key: KEPT[f"{name}/{key}"] for key in found}
    assert np.array_equal(found["active"], kept["active"])
    assert np.array_equal(found["numbers"], kept["numbers"])
    assert np.array_equal(found["candidates"], kept["candidates"])
    for name, value in found.items():
        assert np.max(np.abs(value - kept[name]), initial=0) <= 1e-5 * np.max(np.abs(kept[name]), initial=0), name
