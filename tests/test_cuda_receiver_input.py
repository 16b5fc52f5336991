"""Arrays that a receiver on a GPU takes, what it refuses, and the memory that it plans."""

import sys

import numpy as np
import pytest
import torch
from kernels import EmulatedDevice
from problems import SIZES, WienerPrior, problem
from test_cuda_receiver import TorchWienerPrior

import jadce_fast as jf
from jadce_fast.cuda import denoisers
from jadce_fast.cuda import device as cuda_device

pytestmark = pytest.mark.usefixtures("one_thread")


class Exporter:
    """An array of another library: speaks DLPack and nothing else."""

    def __init__(self, tensor):
        self.tensor, self.ndim = tensor, tensor.ndim

    def __dlpack__(self, **arguments):
        return self.tensor.__dlpack__(**arguments)

    def __dlpack_device__(self):
        return self.tensor.__dlpack_device__()


def test_arrays_stay_where_they_are(gpu_device):
    p = problem(**SIZES["plain"], seed=1)
    rx = jf.Receiver(p.pilots, 8, "gaussian", p.activity_rate, device="cuda")
    expected = rx.detect(p.y, p.noise_var)
    assert all(isinstance(x, np.ndarray) for x in (expected.active, expected.channels, expected.activity))
    tensor = torch.from_numpy(p.y).to(gpu_device)
    for y in (tensor, Exporter(tensor)):
        out = rx.detect(y, p.noise_var)
        for name in ("activity", "active", "channels", "channel_var"):
            value = getattr(out, name)
            assert value.device == gpu_device
            assert np.array_equal(value.cpu().numpy(), getattr(expected, name))
    assert rx.gpu.enqueue(tensor, 0.1).keeps[0].data_ptr() == tensor.data_ptr()
    listed = rx.detect(p.y.tolist(), p.noise_var)
    assert np.array_equal(listed.channels, expected.channels)


def test_what_the_host_does_for_a_detection(gpu_device, monkeypatch):
    """A launch of the graph, one copy of the report to the host, and one of the results, but for others' channels.

    Nothing is asked of the driver but these, whatever the results are asked for: no memory, no event, no history.
    """
    p = problem(**SIZES["plain"], seed=1)
    rx = jf.Receiver(p.pilots, 8, "gaussian", p.activity_rate, device="cuda", batch=3)
    y = torch.from_numpy(np.stack([p.y] * 3)).to(gpu_device)
    rx.detect_many(y, p.noise_var)
    called = []
    monkeypatch.setattr(type(rx.gpu.detector.device), "event", None)

    def note(frame, event, what):
        if event == "c_call":
            called.append(what.__name__)

    sys.setprofile(note)
    try:
        found = rx.detect_many(y, p.noise_var)
    finally:
        sys.setprofile(None)
    assert len(found) == 3
    counts = {name: called.count(name) for name in ("set_input", "launch", "copy_", "to", "cpu", "clone", "empty")}
    assert counts == {"set_input": 1, "launch": 1, "copy_": 1, "to": 3, "cpu": 0, "clone": 0, "empty": 0}
    steps = found[0].history
    assert steps == tuple(steps) == steps[:]
    assert len(steps) == found[0].iterations
    rx.detect_many(torch.zeros_like(y), p.noise_var)
    assert steps[-1]["error_var"] > 0
    assert torch.equal(found[2].channels, found[0].channels)
    with pytest.raises(ValueError, match=r"ys: expected shape \(B, 12, 8, 8\), found one block \(12, 8, 8\)"):
        rx.detect_many(y[0], p.noise_var)


def test_bad_blocks(gpu_device):
    p = problem(**SIZES["plain"], seed=1)
    rx = jf.Receiver(p.pilots, 8, "gaussian", p.activity_rate, device="cuda", batch=2)
    y = torch.from_numpy(p.y).to(gpu_device)
    with pytest.raises(TypeError, match="y: expected complex64 on .*, found torch.complex128"):
        rx.detect(y.to(torch.complex128), 0.1)
    with pytest.raises(ValueError, match=r"y: expected shape \(12, 8, 8\) or \(B, 12, 8, 8\), found \(11, 8, 8\)"):
        rx.detect(y[:11], 0.1)
    with pytest.raises(ValueError, match="y: expected a C-contiguous array, found a strided or conjugated view"):
        rx.detect(y.transpose(1, 2), 0.1)
    with pytest.raises(ValueError, match="found a strided or conjugated view"):
        rx.detect(y.conj(), 0.1)
    with pytest.raises(TypeError, match="y: expected an array without gradients"):
        rx.detect(y.clone().requires_grad_(), 0.1)
    with pytest.raises(TypeError, match="y: expected a tensor on .* or a NumPy array, found one on meta"):
        rx.detect(y.to("meta"), 0.1)
    with pytest.raises(ValueError, match="y: expected finite numbers"):
        rx.detect(torch.full_like(y, torch.inf), 0.1)
    with pytest.raises(ValueError, match="y: expected finite numbers"):
        rx.detect(np.full_like(p.y, np.nan), 0.1)
    with pytest.raises(ValueError, match="noise_var: expected"):
        rx.enqueue(y, 0.0)
    with pytest.raises(ValueError, match="y: expected 1 to batch=2 blocks, found 3"):
        rx.enqueue(torch.stack([y] * 3), 0.1)
    with pytest.raises(ValueError, match="y: expected 1 to batch=2 blocks, found 0"):
        rx.enqueue(y[None][:0], 0.1)
    assert rx.detect_many(y[None][:0], 0.1) == []
    assert len(rx.detect_many(torch.stack([y] * 3), 0.1)) == 3


def test_what_a_gpu_receiver_refuses(gpu_device):
    p = problem(**SIZES["plain"], seed=1)
    with pytest.raises(TypeError, match="prior: expected one with a torch network"):
        jf.Receiver(p.pilots, 8, WienerPrior(8), device="cuda")
    with pytest.raises(ValueError, match="network: expected 'auto' or 'torchscript' for TorchWiener"):
        jf.Receiver(p.pilots, 8, TorchWienerPrior(8), device="cuda", network="fp32")


def test_what_a_cpu_receiver_refuses():
    p = problem(**SIZES["plain"], seed=1)
    with pytest.raises(ValueError, match="batch: expected the default without a GPU, found 2"):
        jf.Receiver(p.pilots, 8, "gaussian", batch=2)
    with pytest.raises(ValueError, match="network: expected 'auto' for this prior on the CPU, found 'fp32'"):
        jf.Receiver(p.pilots, 8, "gaussian", network="fp32")
    with pytest.raises(
        ValueError, match="network: expected 'auto', 'native', 'bf16', 'fp32', 'torchscript', found 'fp64'"
    ):
        jf.Receiver(p.pilots, 8, "gaussian", network="fp64")
    with pytest.raises(ValueError, match="capacity: expected at least 1, found 0"):
        jf.Receiver(p.pilots, 8, "gaussian", capacity=0)
    rx = jf.Receiver(p.pilots, 8, "gaussian")
    with pytest.raises(ValueError, match="device: expected a receiver planned on a GPU"):
        rx.enqueue(p.y, 0.1)
    with pytest.raises(ValueError, match="device: expected 'cpu', 'cuda' or 'cuda:N', found 'tpu'"):
        jf.Receiver(p.pilots, 8, "gaussian", device="tpu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_says_why_cuda_is_off():
    p = problem(**SIZES["plain"], seed=1)
    with pytest.raises(ValueError, match="device: expected 'cpu', found 'cuda', but CUDA is off: ."):
        jf.Receiver(p.pilots, 8, "gaussian", device="cuda")


class Nothing:
    """A native module whose kernels do nothing."""

    def __init__(self, real):
        self.control_dtype, self.no_loop, self.fields = real.control_dtype, real.no_loop, real.fields
        self.input_words, self.Sizes, self.DetectionShape = real.input_words, real.Sizes, real.DetectionShape
        self.detection_buffers, self.rounds = real.detection_buffers, real.rounds
        self.first_steps = self.iteration_steps = self.last_steps = []
        self.fft_tables, self.fft_split = real.fft_tables, real.fft_split

    def Graph(self, *, overlapping):
        return self

    def open_loop(self):
        return 0, 0

    def __getattr__(self, name):
        return lambda *arguments, **named: 0


def test_memory_of_a_hundred_thousand_devices(backend, monkeypatch):
    """A plan for K = 100 000, T = 64 holds less than 2 GB of the device's memory."""
    device = EmulatedDevice(Nothing(backend.native), torch.device("meta"))
    monkeypatch.setattr(cuda_device, "open_device", lambda name: device)
    pilots = jf.dft_pilots(devices=100_000, symbols=64, subcarriers=48)
    for prior in ("cdl", "gaussian"):
        if prior == "cdl":  # its network stays on the CPU here
            monkeypatch.setattr(denoisers, "denoiser", lambda *arguments: Silent())
        rx = jf.Receiver(pilots, 32, prior, 0.05, device="cuda")
        assert 1e8 < rx.gpu.detector.memory < 2e9


class Silent:
    on_torch = False
    closed_form = False
    tables, held = (), ()
