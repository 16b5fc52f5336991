"""Runs the CUDA kernels on NumPy arrays: emulated on the CPU, and on a GPU where there is one."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from jadce_fast.cuda import device as cuda_device
from jadce_fast.transform import activity_tables

EPS = np.finfo(np.float32).eps
GUARD = 64  # elements before and after every output that no kernel may touch


class Emulated:
    """The CPU's emulator. `falling` runs the threads of a block in the opposite order."""

    def __init__(self, falling: bool) -> None:
        self.native = importlib.import_module("jadce_fast._emulated")
        self.native.set_reversed(falling)

    def put(self, a):
        return torch.from_numpy(np.array(a))

    def launch(self, name, **arguments):
        getattr(self.native, name)(**arguments, stream=0)


class Gpu(Emulated):
    def __init__(self) -> None:
        self.native = cuda_device.kernels()

    def put(self, a):
        return torch.from_numpy(np.array(a)).cuda()

    def launch(self, name, **arguments):
        getattr(self.native, name)(**arguments, stream=torch.cuda.current_stream().cuda_stream)
        torch.cuda.synchronize()


class EmulatedDevice(cuda_device.Device):
    """Stands in for a GPU: kernels run on the CPU at once, tensors are torch's on the CPU."""

    def here(self):
        return contextlib.nullcontext()

    def stream(self):
        return 0

    def side_stream(self):
        return None

    def on(self, side):
        return contextlib.nullcontext()

    def event(self):
        return SimpleNamespace(marked=False)

    def mark(self, event):
        event.marked = True

    def wait(self, event):
        pass

    def finish(self, event):
        pass

    def host(self, tensor):
        return torch.empty_like(tensor)

    def synchronize(self):
        pass

    def child(self, enqueue, pool=None):
        return EmulatedChild(), self.native.graph_of(enqueue)

    def capture(self, enqueue):
        return enqueue


class EmulatedChild:
    def pool(self):
        return None


def open_device(backend):
    """The device of a backend, as receivers take it."""
    if isinstance(backend, Gpu):
        return cuda_device.open_device("cuda")
    return EmulatedDevice(backend.native, torch.device("cpu"))


class Out:
    """An output: initially poisoned, with guards on either side."""

    def __init__(self, shape, dtype=np.float32, start=None):
        self.shape, self.dtype, self.start = shape, np.dtype(dtype), start


def poison(dtype):
    """NaN, or for integers a number that no kernel writes."""
    return np.nan if np.dtype(dtype).kind in "fc" else np.iinfo(dtype).max - 7


class Fields(dict):
    """Fields of a native struct, with arrays, tensors and outputs in them."""

    def __init__(self, struct, **fields):
        super().__init__(**fields)
        self.struct = struct


def run(backend, name, **arguments):
    """Call a launcher by the names of its arguments.

    Takes arrays, tensors of `backend.put`, `Out`s, numbers, `Fields` of these, and None for null. Returns the outputs
    by name.
    """
    held, outputs = [], {}

    def value(key, a):
        if isinstance(a, Fields):
            found = {k: value(k, x) for k, x in a.items() if x is not None}
            return getattr(backend.native, a.struct)(**found)
        if isinstance(a, Out):
            size = int(np.prod(a.shape))
            flat = np.full(size + 2 * GUARD, poison(a.dtype), a.dtype)
            if a.start is not None:
                flat[GUARD : GUARD + size] = np.asarray(a.start, a.dtype).ravel()
            tensor = backend.put(flat)
            assert key not in outputs
            outputs[key] = (a, tensor)
            return tensor.data_ptr() + GUARD * a.dtype.itemsize
        if isinstance(a, torch.Tensor):  # a kernel may change what is there already
            return a.data_ptr()
        if isinstance(a, np.ndarray):
            held.append(backend.put(np.ascontiguousarray(a)))
            return held[-1].data_ptr() if a.size else 0
        return a

    backend.launch(name, **{key: value(key, a) for key, a in arguments.items() if a is not None})
    found = {}
    for key, (a, tensor) in outputs.items():
        flat = tensor.cpu().numpy()
        size = int(np.prod(a.shape))
        for edge in (flat[:GUARD], flat[GUARD + size :]):
            assert np.array_equal(edge, np.full(GUARD, poison(a.dtype), a.dtype), equal_nan=a.dtype.kind in "fc")
        found[key] = flat[GUARD : GUARD + size].reshape(a.shape)
    return SimpleNamespace(**found)


def sizes(devices=1, subcarriers=1, symbols=1, antennas=1, coefficients=1, batch=1):
    """Sizes of a kernel's problem; those that it does not read may be left out."""
    return Fields(
        "Sizes",
        devices=devices,
        subcarriers=subcarriers,
        symbols=symbols,
        antennas=antennas,
        coefficients=coefficients,
        batch=batch,
    )


def control(backend, **words):
    """Control of several blocks, (B, words) int32; members by name, the others poisoned."""
    count = max(np.size(value) for value in words.values())
    record = backend.native.control_dtype
    fields = np.full((count, record.itemsize // 4), poison(np.int32), np.int32)
    for name, value in words.items():
        kind, offset = record.fields[name]
        fields[:, offset // 4] = np.asarray(value).astype(kind).view(np.int32)
    return fields


def word(backend, control, name):
    """Address of a member of the first block's Control."""
    return control.data_ptr() + backend.native.control_dtype.fields[name][1]


def read_word(backend, control, name):
    """A member of every block's Control."""
    kind, offset = backend.native.control_dtype.fields[name]
    return control.cpu().numpy()[:, offset // 4].view(kind)


emulator = pytest.mark.skipif(
    importlib.util.find_spec("jadce_fast._emulated") is None, reason="needs a build with JADCE_EMULATOR=ON"
)
gpu = pytest.mark.skipif(
    not (torch.cuda.is_available() and cuda_device.kernels()), reason="needs a GPU and a build with nvcc"
)


def error(found, expected):
    """Relative error in the Euclidean norm; not a number if an element is not one."""
    scale = np.linalg.norm(expected)
    return np.linalg.norm(found - expected) / scale if scale else np.linalg.norm(found)


def row_order(pilots):
    """Measurements t N + n in the order of their DFT rows, and where each row's begin."""
    flat = pilots.rows.ravel()
    starts = np.concatenate([[0], np.cumsum(np.bincount(flat, minlength=pilots.devices))]).astype(np.int32)
    return Fields("RowOrder", start=starts, measurements=np.argsort(flat, kind="stable").astype(np.int32))


def fft(backend, length):
    """Tables of a transform."""
    names = ("twiddle", "root", "chirp", "chirp_dft")
    return Fields("FftTables", **dict(zip(names, backend.native.fft_tables(length), strict=True)))


def mixture(gain, weight, eigenvalues, powers, share, multiplicity=None):
    """Tables of a mixture as kernels take them."""
    tables = activity_tables(eigenvalues, gain, weight, powers, share, multiplicity)
    j, g = tables["index"].shape
    return Fields("ActivityView", products=len(tables["product"]), powers=j, gains=g, **tables)


def denoise(backend, network, z, v, counts, *, enabled=None, tensor=False):
    """Mean and variance of the network's kernel for z (B, A, P, M) and v (B, A, M); `counts` (B,) of A are used."""
    layers = [(network.inp, "dense")]
    for block in network.body:
        layers += [(block.depthwise, "depthwise"), (block.expand, "dense"), (block.mix, "dense")]
    layers.append((network.out, "dense"))
    packed = [
        getattr(backend.native, f"pack_{kind}{'_tensor' * tensor}")(
            x.weight.detach().float().numpy(), x.bias.detach().float().numpy()
        )
        for x, kind in layers
    ]
    batch, a, p, m = z.shape
    blocks = list(network.body)
    words = np.full((batch, 3), 1 << 30, np.int32)  # the number, and what else may lie beside it
    words[:, 0] = counts
    if enabled is not None:
        enabled = np.stack([enabled, *words[:, 1:].T], 1).astype(np.int32)
    found = run(
        backend,
        f"beam_network{'_tensor' * tensor}",
        z=z,
        noise=v,
        eigenvalue=network.eigenvalues.float().numpy(),
        weights=np.concatenate(packed),
        dilation=np.array([b.depthwise.dilation for b in blocks], np.int32),
        shape=Fields(
            "NetworkShape",
            width=network.inp.weight.shape[0],
            hidden=blocks[0].expand.weight.shape[0],
            blocks=len(blocks),
            taps=blocks[0].depthwise.weight.shape[1],
        ),
        count=words,
        enabled=enabled,
        step=words.shape[1],
        capacity=a,
        sizes=sizes(subcarriers=network.subcarriers, antennas=m, coefficients=p, batch=batch),
        mean=Out(z.shape, np.complex64),
        var=Out(v.shape),
    )
    return found.mean, found.var
