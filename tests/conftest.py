"""Fixtures of several files."""

import pytest
from kernels import Emulated, Gpu, emulator, gpu


@pytest.fixture(
    params=[
        pytest.param("emulated", marks=emulator),
        pytest.param("emulated-falling", marks=emulator),
        pytest.param("cuda", marks=gpu),
    ]
)
def backend(request):
    """Where a kernel runs."""
    return Gpu() if request.param == "cuda" else Emulated(request.param.endswith("falling"))
