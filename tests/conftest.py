"""Fixtures of several files."""

import pytest
from captures import WRITERS
from hypothesis import settings
from kernels import Emulated, Gpu, emulator, gpu, open_device

from jadce_fast.cuda import device as cuda_device

# The same few examples in every run; `pytest --hypothesis-profile=many` looks for others.
settings.register_profile(
    "few", derandomize=True, max_examples=60, deadline=None, database=None, report_multiple_bugs=True
)
settings.register_profile("many", max_examples=10_000, deadline=None, print_blob=True)
settings.load_profile("few")


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


@pytest.fixture
def gpu_device(backend, monkeypatch):
    """Torch's device of a receiver with device="cuda"; without a GPU the emulator stands in for it."""
    found = open_device(backend)
    if not isinstance(backend, Gpu):
        monkeypatch.setattr(cuda_device, "open_device", lambda device: found)
    return found.device


@pytest.fixture(scope="module")
def one_thread():
    """Small operators: torch's threads only wait for each other."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def jadce(capsys):
    """Run the command in this process: (status, standard output, standard error)."""
    from jadce_fast import cli

    def run(*arguments):
        with pytest.raises(SystemExit) as end:
            cli.main([str(a) for a in arguments])
        return (end.value.code, *capsys.readouterr())

    return run


@pytest.fixture(params=WRITERS)
def write(request, tmp_path):
    """Write arrays as a capture of some format, return its path."""
    writer, suffix = WRITERS[request.param]
    return lambda values: writer(tmp_path / f"capture{suffix}", values)
