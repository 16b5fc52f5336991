"""Streams of a receiver on a GPU; without one the same kernels and graphs run on the emulator."""

import threading

import numpy as np
import pytest
from problems import SIZES, problem, qpsk_pilots

import jadce_fast as jf

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("pilots", ["dft", "qpsk"])
def test_any_chunks_give_what_detect_gives(gpu_device, pilots):
    sizes = SIZES["prime"]
    if pilots == "qpsk":
        pilots = qpsk_pilots(*(sizes[x] for x in ("devices", "symbols", "subcarriers")))
    blocks = [problem(**sizes, pilots=pilots, seed=seed) for seed in range(4)]
    p = blocks[0]
    rx = jf.Receiver(p.pilots, p.y.shape[2], "gaussian", None, device="cuda")
    y = np.concatenate([b.y for b in blocks])
    found = []
    with rx.stream(p.noise_var) as stream:
        for first, count in ((0, 1), (1, 3), (4, 25), (29, 15)):
            found += stream.push(y[first] if count == 1 else y[first : first + count])
        found += stream.wait(60)
    assert [one.block for one in found] == [0, 1, 2, 3]
    for one, block in zip(found, blocks, strict=True):
        assert one.detection == rx.detect(block.y, p.noise_var)
        assert one.detection.learned_rate is not None
    said = stream.statistics()
    assert (said.detected, said.dropped, said.missed, said.ended) == (4, 0, 0, 0)


def test_deadlines_and_dropped_blocks(gpu_device, monkeypatch):
    p = problem(**SIZES["plain"], seed=1)
    rx = jf.Receiver(p.pilots, 8, "gaussian", p.activity_rate, device="cuda")
    one = jf.Receiver(p.pilots, 8, "gaussian", p.activity_rate, device="cuda", rules=jf.Rules(max_iterations=1))
    with rx.stream(p.noise_var, deadline=1.0) as stream:
        (found,) = stream.push(p.y) + stream.wait(60)
    assert (found.detection.stopped_because, found.detection.iterations) == ("deadline", 1)
    assert np.array_equal(found.detection.channels, one.detect(p.y, p.noise_var).channels)
    assert stream.statistics().ended == stream.statistics().missed == 1

    entered, opened, run = threading.Event(), threading.Event(), rx.gpu.detector.run

    def slow(*arguments):
        entered.set()
        assert opened.wait(60)
        run(*arguments)

    monkeypatch.setattr(rx.gpu.detector, "run", slow)
    with rx.stream(p.noise_var, wait=False) as stream:
        stream.push(p.y)
        assert entered.wait(60)  # block 0 is being detected,
        stream.push(p.y)  # 1 waits,
        stream.push(np.concatenate([p.y, p.y[:5]]))  # and 2 has no place
        assert stream.statistics().dropped == 1
        opened.set()
        first = stream.wait(60)
        second = stream.push(p.y[5:]) + stream.wait(60)
    assert [one.block for one in first + second] == [0, 1, 3]
    assert first[0].detection == second[0].detection


def test_the_graph_waits_for_the_symbols(gpu_device, monkeypatch):
    """What is waited for was marked, but for the first detection, which comes after none."""
    p, waited = problem(**SIZES["plain"], seed=1), []
    rx = jf.Receiver(p.pilots, 8, "gaussian", p.activity_rate, device="cuda")
    device = type(rx.gpu.detector.device)
    monkeypatch.setattr(
        device, "mark", lambda self, event, real=device.mark: (marked.append(event), real(self, event))[1]
    )
    monkeypatch.setattr(
        device, "wait", lambda self, event, real=device.wait: (waited.append(event in marked), real(self, event))[1]
    )
    marked = []
    with rx.stream(p.noise_var) as stream:
        found = stream.push(np.concatenate([p.y, p.y])) + stream.wait(60)
    assert len(found) == 2
    assert waited.count(True) >= 3
    assert waited.count(False) <= 1
