"""Streams: symbols in any chunks, deadlines, back-pressure and what happens when something goes wrong."""

import contextlib
import subprocess
import sys
import threading
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from problems import WienerPrior, problem, qpsk_pilots

import jadce_fast as jf

SIZES = {
    "plain": dict(devices=64, symbols=12, subcarriers=8, antennas=8, active=4),
    "prime": dict(devices=97, symbols=11, subcarriers=7, antennas=5, active=5),
    "one-symbol": dict(devices=60, symbols=1, subcarriers=6, antennas=4, active=1),
    "one-antenna": dict(devices=50, symbols=10, subcarriers=9, antennas=1, active=2),
}


def receiver(p, prior=None, **options):
    n, m = p.y.shape[1:]
    return jf.Receiver(p.pilots, m, prior or WienerPrior(n), p.activity_rate, 1.0, threads=2, **options)


def chunks(y, seed):
    """The symbols of y (T, N, M) in pieces of random length."""
    rng, at = np.random.default_rng(seed), 0
    while at < len(y):
        count = int(rng.integers(1, 6))
        yield y[at : at + count]
        at += count


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("pilots", ["dft", "qpsk"])
def test_any_chunks_give_the_bits_of_detect(size, pilots):
    """Symbols of other pilots than DFT rows are rotated into one another, a sum that chunks continue in its order."""
    blocks = [problem(**SIZES[size], pilots="dft", seed=s) for s in range(4)]
    if pilots == "qpsk":
        of = qpsk_pilots(*(SIZES[size][x] for x in ("devices", "symbols", "subcarriers")))
        blocks = [problem(**SIZES[size], pilots=of, seed=s) for s in range(4)]
    p = blocks[0]
    rx = receiver(p)
    y = np.concatenate([b.y for b in blocks])
    found = []
    with rx.stream(p.noise_var) as stream:
        for some in chunks(y, 3):
            found += stream.push(some[0] if len(some) == 1 else some)
        found += stream.wait(60)
        found += stream.close()
    assert [one.block for one in found] == [0, 1, 2, 3]
    for one, block in zip(found, blocks, strict=True):
        assert one.detection == rx.detect(block.y, p.noise_var)
        assert one.latency_us > 0
    said = stream.statistics()
    assert (said.detected, said.dropped, said.missed, said.ended) == (4, 0, 0, 0)
    assert said.p50_us <= said.p99_us <= said.p999_us <= said.worst_us == max(one.latency_us for one in found)


def test_noise_of_all_forms_shared_pilots_and_rates_that_are_learned():
    p = problem(**SIZES["plain"], seed=2)
    array = p.pilots.select()
    array[:, :, 5] = array[:, :, 9]
    array[:, :, 7] = 0
    with pytest.warns(UserWarning, match="cannot be told"):
        rx = jf.Receiver(array, 8, WienerPrior(8), None, "unknown", threads=2)
    for noise in (p.noise_var, p.noise_var * np.linspace(0.5, 2, 8)[None, :] * np.ones((8, 1))):
        noise = noise if np.ndim(noise) == 0 else noise[:, :, None]
        with rx.stream(noise) as stream:
            (found,) = stream.push(p.y) + stream.wait(60)
        assert found.detection == rx.detect(p.y, noise)
        assert found.detection.learned_rate is not None


def test_a_deadline_ends_with_the_best_state_so_far():
    """A microsecond is over before the second iteration; the result is that of one."""
    p = problem(**SIZES["plain"], seed=1)
    rx, one = receiver(p), receiver(p, rules=jf.Rules(max_iterations=1))
    with rx.stream(p.noise_var, deadline=1.0) as stream:
        (found,) = stream.push(p.y) + stream.wait(60)
    out, expected = found.detection, one.detect(p.y, p.noise_var)
    assert (out.stopped_because, out.iterations, out.converged) == ("deadline", 1, False)
    for name in ("activity", "active", "channels", "channel_var"):
        np.testing.assert_array_equal(getattr(out, name), getattr(expected, name))
    said = stream.statistics()
    assert (said.detected, said.ended, said.missed) == (1, 1, 1)
    with rx.stream(p.noise_var, deadline=60e6) as stream:
        (found,) = stream.push(p.y) + stream.wait(60)
    assert found.detection == rx.detect(p.y, p.noise_var)
    assert (stream.statistics().ended, stream.statistics().missed) == (0, 0)


class Gate(WienerPrior):
    """A prior that denoises when it is let."""

    def __init__(self, subcarriers):
        super().__init__(subcarriers)
        self.entered, self.open = threading.Event(), threading.Event()

    def denoise(self, z, v, devices):
        self.entered.set()
        assert self.open.wait(60)
        return super().denoise(z, v, devices)


def test_blocks_are_dropped_where_two_wait():
    p = problem(**SIZES["plain"], seed=1)
    gate = Gate(8)
    with receiver(p, gate).stream(p.noise_var, wait=False) as stream:
        stream.push(p.y)
        assert gate.entered.wait(60)  # block 0 is being detected,
        stream.push(p.y)  # 1 waits,
        stream.push(np.concatenate([p.y, p.y[:5]]))  # and 2 has no place
        assert stream.statistics().dropped == 1
        gate.open.set()
        first = stream.wait(60)
        second = stream.push(p.y[5:]) + stream.wait(60)
    assert [one.block for one in first + second] == [0, 1, 3]
    assert first[0].detection == second[0].detection  # what was dropped left nothing behind
    assert (stream.statistics().detected, stream.statistics().waited) == (3, 0)


def test_whoever_brings_symbols_waits_if_told_to():
    p = problem(**SIZES["plain"], seed=1)
    gate = Gate(8)
    with receiver(p, gate).stream(p.noise_var) as stream:
        stream.push(p.y)
        assert gate.entered.wait(60)
        bringing = threading.Thread(target=lambda: stream.push(np.concatenate([p.y] * 2)))
        bringing.start()
        until = time.monotonic() + 60
        while not stream.statistics().waited and time.monotonic() < until:
            time.sleep(0.001)
        assert bringing.is_alive()
        gate.open.set()
        bringing.join(60)
    said = stream.statistics()
    assert (said.detected, said.dropped, said.waited) == (3, 0, 1)


def test_errors_of_a_prior_reach_who_waits():
    p = problem(**SIZES["plain"], seed=1)

    class Broken(WienerPrior):
        calls = 0

        def denoise(self, z, v, devices):
            self.calls += 1
            raise ZeroDivisionError("as it happens")

    with receiver(p, Broken(8)).stream(p.noise_var) as stream:
        with contextlib.suppress(ZeroDivisionError):  # it may be too early for it
            stream.push(p.y)
        for _ in range(2):
            with pytest.raises(ZeroDivisionError):
                stream.wait(60)
    with pytest.raises(ZeroDivisionError), receiver(p, Broken(8)).stream(p.noise_var) as stream:
        stream.push(p.y)  # nobody was told before the end


def test_refusals_name_the_argument():
    p = problem(**SIZES["plain"], seed=1)
    rx = receiver(p)
    for options, message in [
        (dict(deadline=0.0), "deadline: expected a finite number"),
        (dict(deadline="soon"), "deadline: expected a real number"),
        (dict(wait=1), "wait: expected True or False, found 1"),
    ]:
        with pytest.raises((ValueError, TypeError), match=message):
            rx.stream(p.noise_var, **options)
    with pytest.raises(TypeError, match="noise_var"):
        rx.stream(None)
    with pytest.raises(ValueError, match="prior: expected one for a stream, found 'auto'"):
        jf.Receiver(p.pilots, 8).stream(p.noise_var)
    comb = p.pilots.select()
    comb[:, ::2, ::2] = comb[:, 1::2, 1::2] = 0
    with pytest.raises(ValueError, match="pilots: expected"):
        jf.Receiver(comb, 8, "gaussian").stream(p.noise_var)
    with rx.stream(p.noise_var) as stream:
        for bad, message in [
            (p.y[:, :, :3], r"symbols: expected shape \(\?, 8, 8\), found \(12, 8, 3\)"),
            (p.y[0, 0], r"symbols: expected shape"),
            (p.y * np.nan, "symbols: expected finite numbers"),
        ]:
            with pytest.raises(ValueError, match=message):
                stream.push(bad)
        (found,) = stream.push(p.y) + stream.wait(60)
        assert found.detection == rx.detect(p.y, p.noise_var)
    with pytest.raises(ValueError, match="stream: expected an open one, found a closed one"):
        stream.push(p.y)


def test_streams_of_one_receiver_do_not_mix():
    blocks = [problem(**(SIZES["plain"] | {"seed": seed})) for seed in range(4)]
    rx = jf.Receiver(blocks[0].pilots, blocks[0].y.shape[2], "gaussian", threads=1)
    want = [rx.detect(b.y, 0.1) for b in blocks]
    found: list[list] = [[], []]

    def bring(i):
        with rx.stream(0.1) as stream:
            for _ in range(20):
                for b in blocks[2 * i : 2 * i + 2]:
                    found[i] += stream.push(b.y)
            found[i] += stream.wait(60)

    threads = [threading.Thread(target=bring, args=[i]) for i in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    for i, those in enumerate(found):
        assert [one.block for one in those] == list(range(40))
        assert all(one.detection == want[2 * i + one.block % 2] for one in those)


def resident_kib():
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS")).split()[1])


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="sizes are read as Linux tells them")
def test_memory_does_not_grow():
    """Of three thousand blocks, whose channels alone are 6 MB, nothing stays."""
    p = problem(**SIZES["plain"], seed=1)
    rx = jf.Receiver(p.pilots, 8, "gaussian", threads=1)
    assert rx.detect(p.y, p.noise_var).channels.nbytes > 1500

    def bring(stream, count):
        for _ in range(count):
            stream.push(p.y)
        stream.wait(60)
        return resident_kib()

    with rx.stream(p.noise_var) as stream:
        before = bring(stream, 500)
        assert bring(stream, 3000) < before + 1024
        tracemalloc.start()
        bring(stream, 200)
        before, _ = tracemalloc.get_traced_memory()
        bring(stream, 500)
        now, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert now < before + 20_000
    assert stream.statistics().detected == 4200


def test_a_program_may_end_with_an_open_stream():
    program = """
import numpy as np, jadce_fast as jf
rx = jf.Receiver(jf.dft_pilots(800, 20, 48), 32, "cdl")
stream = rx.stream(1e-3)
stream.push(np.ones((20, 48, 32), np.complex64))
"""
    assert subprocess.run([sys.executable, "-c", program], timeout=60, capture_output=True).returncode == 0
