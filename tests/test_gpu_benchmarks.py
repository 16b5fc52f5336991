"""The benchmarks of a GPU, on the emulator with a clock of the host: they come to their end."""

import importlib
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def bench(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "benchmarks"))
    return importlib.import_module("bench_cuda")


@pytest.mark.parametrize("backend", ["emulated"], indirect=True)
def test_the_table_for_users(bench, gpu_device, monkeypatch, capsys):
    def once(call, *arguments, **named):
        start = time.perf_counter()
        call()
        return importlib.import_module("timing").percentiles([1e3 * (time.perf_counter() - start)])

    for name, stand_in in {"events": once, "measure": once, "BLOCKS": 2}.items():
        monkeypatch.setattr(bench, name, stand_in)
    bound = {"copy GB/s": 3e3, "single Tflop/s": 50.0, "bfloat16 Tflop/s": 800.0}
    bench.report("Detections", (bench.user(60, 6, "cdl-tiny", "bf16", card="none", bound=bound) for _ in range(1)))
    header, row = capsys.readouterr().out.splitlines()[-2:]
    for column in ("card", "K", "T", "prior", "p50 ms", "p99 ms", "p99.9 ms", "blocks/s", "of limit", "x torch"):
        assert column in header
    assert row.startswith("none")
    assert "False" not in row  # the CPU, torch and a batch find the same


def test_what_was_measured_is_kept(bench, capsys):
    def rows():
        yield {"first": 1}
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        bench.report("Interrupted", rows())
    assert "first" in capsys.readouterr().out
