"""The library as a guest in other programs: their processes, copies, buffers and global states do not reach in."""

from __future__ import annotations

import contextlib
import copy
import os
import pickle
import signal
import threading
import time

import numpy as np
import pytest
import torch
from problems import problem

import jadce_fast as jf
from jadce_fast.capture import Capture
from jadce_fast.fork_lock import ForkLock
from jadce_fast.priors.files import load_cell_prior
from jadce_fast.transform import quota

COPIES = {"pickle": lambda x: pickle.loads(pickle.dumps(x)), "deepcopy": copy.deepcopy, "copy": copy.copy}


def block(**sizes):
    return problem(**(dict(devices=60, symbols=10, subcarriers=48, antennas=8, active=3, seed=1) | sizes))


def langevin():
    pilots = np.exp(0.5j * np.pi * np.random.default_rng(0).integers(4, size=(12, 16)))
    y = np.random.default_rng(1).standard_normal((12, 4, 2)) @ [1, 1j]
    return jf.LangevinReceiver(pilots, 4, levels=5, power="unknown"), y


@pytest.mark.parametrize("how", COPIES)
@pytest.mark.parametrize("prior", ["cdl-tiny", "ncsn-c", "gaussian"])
def test_receivers_are_planned_anew_where_they_are_copied_to(how, prior):
    p = block()
    rx = jf.Receiver(p.pilots, 8, prior, 0.1, 1.0, rules=jf.Rules(max_iterations=3), threads=1, capacity=20)
    other = COPIES[how](rx)
    assert other.detect(p.y, p.noise_var) == rx.detect(p.y, p.noise_var)
    assert (other.capacity, other.rules, other.threads) == (20, jf.Rules(max_iterations=3), 1)


@pytest.mark.parametrize("how", COPIES)
def test_langevin_receivers_priors_and_plans_are_copied(how):
    rx, y = langevin()
    assert COPIES[how](rx).detect(y, 0.1) == rx.detect(y, 0.1)
    columns = np.ones((3, 5, 4), complex)
    cell = load_cell_prior("cell-network")
    for one, two in zip(
        COPIES[how](cell).posterior(columns, np.ones((3, 5))), cell.posterior(columns, np.ones((3, 5))), strict=True
    ):
        np.testing.assert_array_equal(one, two)
    p = block()
    prior = jf.load_prior("cdl-tiny")
    prior.denoise(np.ones((1, len(prior.eigenvalues), 4)), np.ones((1, 4)))  # compiles it
    plan = jf.ops.Transform(p.pilots, 8, prior.basis, threads=1, merge=2)
    np.testing.assert_array_equal(jf.ops.energies(COPIES[how](plan), p.y), jf.ops.energies(plan, p.y))
    assert COPIES[how](p.pilots) == p.pilots
    np.testing.assert_array_equal(COPIES[how](prior).basis, prior.basis)
    activity = jf.ops.activity_plan(prior.eigenvalues, prior.beam_gain, prior.beam_weight)
    energy = np.ones((4, len(prior.eigenvalues), 8), np.float32)
    null = np.ones(energy.shape[1:], np.float32)
    np.testing.assert_array_equal(
        jf.ops.activity_llr(COPIES[how](activity), energy, null), jf.ops.activity_llr(activity, energy, null)
    )


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("threads", [1, 2])
def test_a_process_forked_while_another_thread_detects_goes_on(threads):
    p = block()
    rx = jf.Receiver(p.pilots, 8, "cdl-tiny", threads=threads)
    want = rx.detect(p.y, p.noise_var)
    done = threading.Event()
    busy = threading.Thread(target=lambda: [rx.detect(p.y, p.noise_var) for _ in iter(done.is_set, True)])
    busy.start()
    try:
        for _ in range(5):
            time.sleep(0.01)
            child = os.fork()
            if child == 0:
                os._exit(0 if rx.detect(p.y, p.noise_var) == want else 1)
            for _ in range(1000):
                ended, status = os.waitpid(child, os.WNOHANG)
                if ended:
                    break
                time.sleep(0.01)
            else:
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
                pytest.fail("the child hangs")
            assert status == 0
    finally:
        done.set()
        busy.join()


def test_a_forked_child_finds_locks_free():
    lock = ForkLock()
    with lock:
        child = os.fork()
        if child == 0:
            signal.alarm(10)
            with lock:
                os._exit(0)
        assert os.waitpid(child, 0)[1] == 0


def test_several_blocks_are_blocks():
    p = block()
    receivers = [jf.Receiver(p.pilots, 8, "gaussian"), jf.baselines.somp(p.pilots, 8), langevin()[0]]
    for rx in receivers:
        with pytest.raises(TypeError, match="ys: expected .* iterable of blocks, found int"):
            rx.detect_many(3, 0.1)


@contextlib.contextmanager
def default_dtype():
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


@contextlib.contextmanager
def default_device():
    torch.set_default_device("meta")
    try:
        yield
    finally:
        torch.set_default_device("cpu")


STATES = {
    "double precision": default_dtype,
    "another default device": default_device,
    "inference mode": torch.inference_mode,
    "autocast": lambda: torch.autocast("cpu", dtype=torch.bfloat16),
    "NumPy raises": lambda: np.errstate(all="raise"),
}


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("prior", ["cdl-tiny", "ncsn-c"])
def test_global_states_of_torch_and_numpy_do_not_reach_in(state, prior):
    p = block()

    def everything():
        loaded = jf.load_prior(prior)
        cell = load_cell_prior("cell-network")
        shape = (2, len(loaded.eigenvalues), 8)
        return (
            jf.Receiver(p.pilots, 8, loaded, threads=1).detect(p.y, p.noise_var),
            *loaded.denoise(np.ones(shape), np.full((2, 8), 0.1)),
            *(cell.posterior(np.ones((3, 5, 4), complex), np.full((3, 5), 0.3))),
        )

    want = everything()
    with STATES[state]():
        found = everything()
    assert found[0] == want[0]
    for one, two in zip(found[1:], want[1:], strict=True):
        np.testing.assert_array_equal(one, two)


def test_loading_a_prior_leaves_the_random_numbers_of_torch_alone():
    torch.manual_seed(0)
    want = torch.rand(1)
    torch.manual_seed(0)
    for name in ("cdl", "ncsn-c"):
        jf.load_prior(name)
    load_cell_prior("cell-network")
    assert torch.rand(1) == want


def test_buffers_belong_to_the_caller():
    p = block()
    q = np.array(p.pilots.select())
    rows = np.array(p.pilots.rows)
    y, channels, active = (np.array(x) for x in (p.y, p.channels, p.active))
    kept = jf.Pilots(q), jf.Pilots.from_rows(rows, 60), Capture(y, p.pilots, 0.1, 0.1, active, channels)
    again = copy.deepcopy(kept)
    for buffer in (q, rows, y, channels, active):
        buffer[...] = 0
    assert kept == again
    tensor = torch.from_numpy(np.array(p.pilots.select()))
    pilots = jf.Pilots(tensor)
    tensor.zero_()
    assert pilots.power == pytest.approx(np.mean(np.abs(pilots.select()) ** 2))
    with pytest.raises(ValueError, match="read-only"):
        kept[2].y[...] = 1


def test_a_mask_is_refused():
    p = block()
    masked = np.ma.masked_array(p.y)
    masked[0, 0, 0] = np.ma.masked
    with pytest.raises(TypeError, match="y: expected an array without a mask, found a masked array"):
        jf.Receiver(p.pilots, 8).detect(masked, 0.1)
    with pytest.raises(TypeError, match="pilots: expected an array without a mask"):
        jf.Pilots(np.ma.masked_array(p.pilots.select()))


def test_results_compare():
    p = block()
    rx = jf.Receiver(p.pilots, 8, threads=1)
    one, two = rx.detect(p.y, p.noise_var), rx.detect(p.y, p.noise_var)
    assert one == two
    assert one != rx.detect(p.y * 2, p.noise_var)
    assert one != "a detection"
    assert jf.Pilots(p.pilots.select()) == jf.Pilots(p.pilots.select())
    assert jf.Pilots(p.pilots.select()) != p.pilots
    assert len({p.pilots, jf.Pilots.from_rows(p.pilots.rows, 60)}) == 1


def test_a_prior_of_the_other_receiver_is_refused():
    with pytest.raises(TypeError, match="found CellPrior, a cell's prior, which LangevinReceiver takes"):
        jf.Receiver(block().pilots, 8, jf.CellPrior())
    with pytest.raises(TypeError, match="a prior of OFDM channels, which Receiver takes"):
        jf.LangevinReceiver(np.ones((8, 4)), 4, jf.load_prior("cdl"))


@pytest.mark.parametrize(
    ("files", "processors"),
    [
        ({"cpu.max": "150000 100000\n"}, 1.5),
        ({"cpu.max": "max 100000\n"}, np.inf),
        ({"cpu/cpu.cfs_quota_us": "400000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 4),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, np.inf),
        ({}, np.inf),
    ],
)
def test_quota_of_a_control_group(tmp_path, files, processors):
    (tmp_path / "cpu").mkdir()
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    assert quota(tmp_path) == processors
