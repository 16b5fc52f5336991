"""The C library on a GPU, which is emulated here: its results are those of Python on the same GPU, to the bit."""

import ctypes

import libjadce
import numpy as np
import pytest
import torch
from kernels import Emulated, emulator
from libjadce import ARGUMENT, CUDA, UNSUPPORTED, WEIGHTS, Error, Plan
from problems import complex_normal, problem

import jadce_fast as jf
from jadce_fast.detection import REASONS

if not (libjadce.HOME / "lib" / "libjadce_emulated.so").exists():
    pytest.skip("needs a build with JADCE_EMULATOR=ON", allow_module_level=True)
pytestmark = [emulator, pytest.mark.usefixtures("one_thread")]

TINY = str(WEIGHTS / "cdl-tiny.safetensors")
SMALL = dict(devices=40, symbols=6, subcarriers=48, antennas=6, active=3, delay_spread=0.02)
IID = dict(devices=40, symbols=16, subcarriers=3, antennas=6, active=3, channels="iid")


@pytest.fixture
def backend():
    """Where Python's receivers detect."""
    return Emulated(falling=False)


def same(found, expected):
    assert np.array_equal(found.active, expected.active)
    for name in ("activity", "channels", "channel_var"):
        assert np.array_equal(getattr(found, name), getattr(expected, name)), name
    r = found.result
    assert (r.iterations, bool(r.converged), r.overflow) == (expected.iterations, expected.converged, expected.overflow)
    assert r.noise_var == expected.noise_var
    assert r.residual_ratio == pytest.approx(expected.residual_ratio, rel=1e-6)  # over the noise, rounded or not
    assert (r.least, r.most) == expected.explained[1:]
    assert REASONS[r.stopped] == expected.stopped_because
    assert bool(r.trusted) == expected.trusted


# name: problem, prior, options of Python's receiver; of the library's those that have other names
CASES = {
    "gaussian": (IID, "gaussian", dict(power=1.0), {}),
    "unknown-power": (IID | dict(power_spread_db=12.0), "gaussian", {}, {}),
    "qpsk": (IID | dict(pilots="qpsk"), "gaussian", {}, {}),
    "learned-rate": (IID, "gaussian", dict(activity_rate=None), dict(activity_rate=0.0)),
    "nobody": (IID | dict(active=0), "gaussian", {}, {}),
    "overflow": (IID | dict(active=9), "gaussian", dict(capacity=4), {}),
    "tensor-cores": (SMALL, TINY, dict(power=1.0), {}),
    "single-precision": (SMALL, TINY, dict(network="fp32"), dict(network=2)),
    "cascade": (SMALL, f"{TINY}+{TINY}", dict(rules=jf.Rules(max_iterations=3)), dict(max_iterations=3)),
}


@pytest.mark.parametrize("name", CASES)
def test_results_are_those_of_python(name, gpu_device):
    sizes, prior, options, others = CASES[name]
    p = problem(**sizes, seed=1)
    options = dict(activity_rate=p.activity_rate, capacity=16) | options
    plain = {key: value for key, value in options.items() if isinstance(value, int | float)}
    plan = Plan(p.pilots, p.y.shape[2], prior, lib="jadce_emulated", device=CUDA, **(plain | others))
    assert plan.sizes.on_device > p.y.nbytes
    rx = jf.Receiver(p.pilots, p.y.shape[2], prior, device="cuda", **options)
    expected = rx.detect(p.y, p.noise_var)
    for _ in range(2):  # the second one finds the first one's leavings
        same(plan.detect(p.y, p.noise_var), expected)
    plan.enqueue(p.y, p.noise_var)
    same(plan.wait(), expected)
    plan.close()


def at(address, kind, count):
    return list((kind * count).from_address(address))


def test_a_detection_in_a_graph_of_the_caller(gpu_device):
    """It is recorded with its loop, launched as often as the caller likes, and reads the block where it lies."""
    first, second = (problem(**IID, seed=seed) for seed in (2, 3))
    plan = Plan(first.pilots, 6, "gaussian", lib="jadce_emulated", device=CUDA, capacity=16)
    rx = jf.Receiver(first.pilots, 6, "gaussian", device="cuda", capacity=16)
    for name in ("emulated_stream", "emulated_end"):
        getattr(plan.lib, name).restype = ctypes.c_void_p
    stream = ctypes.c_void_p(plan.lib.emulated_stream())
    y = first.y.copy()
    plan.lib.emulated_begin(stream)
    plan.enqueue(y, 0.1, stream)
    graph = ctypes.c_void_p(plan.lib.emulated_end(stream))
    for p in (first, second, first):
        y[:] = p.y
        assert plan.lib.emulated_launch(graph) == 0
        expected = rx.detect(p.y, 0.1)
        same(plan.wait(), expected)
        where = plan.on_device()
        assert at(where.found, ctypes.c_int32, 1) == [len(expected.active)]
        active = at(where.active, ctypes.c_int64, 16)
        assert active == [*expected.active, *[-1] * (16 - len(expected.active))]
        assert at(where.activity, ctypes.c_float, 40) == expected.activity.tolist()
    plan.lib.emulated_destroy(graph, stream)
    plan.close()


def test_images_of_the_radio_are_looked_for():
    rng = np.random.default_rng(24)
    q = jf.dft_pilots(60, 10, 12)
    h = np.repeat(complex_normal(rng, 3, 1, 9), 12, 1)
    y = np.einsum("tna,anm->tnm", q.select([7, 20, 50]), h) + 0.1 * complex_normal(rng, 10, 12, 9)
    plan = Plan(q, 9, "gaussian", lib="jadce_emulated", device=CUDA, capacity=16)
    for gain, trusted in ((0.2, False), (0.0, True)):
        seen = (y + gain * y.conj()).astype(np.complex64)
        plan.enqueue(seen, 0.01)
        assert bool(plan.wait().result.trusted) == trusted
        assert bool(plan.numbers(seen, 0.01).trusted) == trusted
    plan.close()


def test_refusals():
    p = problem(**IID, seed=4)
    with pytest.raises(Error, match="device: expected 0 to 1, found 2"):
        Plan(p.pilots, 6, "gaussian", device=2)
    on_cpu = Plan(p.pilots, 6, "gaussian", threads=1)
    for call in (lambda: on_cpu.enqueue(p.y, 0.1), on_cpu.wait, on_cpu.on_device):
        with pytest.raises(Error, match=r"jadce_\w+: expected a plan with device = JADCE_CUDA") as refused:
            call()
        assert refused.value.status == UNSUPPORTED
    on_cpu.close()
    plan = Plan(p.pilots, 6, "gaussian", lib="jadce_emulated", device=CUDA, capacity=16)
    with pytest.raises(Error, match="expected a detection that was enqueued before, found none") as refused:
        plan.wait()
    assert refused.value.status == ARGUMENT
    for options in (dict(kind="int16"), dict(strides=(18, 6, 2))):
        with pytest.raises(Error, match=r"block: expected complex64 \[T, N, M\] without a scale for a GPU"):
            plan.enqueue(p.y, 0.1, **options)
    with pytest.raises(Error, match="noise_var: expected 1e-30 to 1e30, found 0"):
        plan.enqueue(p.y, 0.0)
    broken = p.y.copy()
    broken[1, 1, 1] = np.nan
    plan.enqueue(broken, 0.1)
    with pytest.raises(Error, match="block: expected finite numbers") as refused:
        plan.wait()
    assert refused.value.status == ARGUMENT
    plan.enqueue(p.y, 0.1)  # and goes on
    assert plan.wait().result.found == 3
    plan.close()


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_without_a_gpu_it_says_why():
    """The library loads without a driver, and detects on processors."""
    p = problem(**IID, seed=4)
    with pytest.raises(Error, match="device: expected JADCE_CPU, found JADCE_CUDA, but") as refused:
        Plan(p.pilots, 6, "gaussian", device=CUDA)
    assert refused.value.status == UNSUPPORTED
