"""Runs the CUDA kernels on NumPy arrays: emulated on the CPU, and on a GPU where there is one."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util

import numpy as np
import pytest
import torch

from jadce_fast import _core
from jadce_fast.cuda import device as _cuda

EPS = np.finfo(np.float32).eps
GUARD = 64  # elements before and after every output that no kernel may touch


class Emulated:
    """The CPU's emulator. `falling` runs the threads of a block in the opposite order."""

    def __init__(self, falling: bool) -> None:
        self.native = importlib.import_module("jadce_fast._emulated")
        self.native.set_reversed(falling)

    def put(self, a):
        return torch.from_numpy(np.array(a))

    def launch(self, name, *arguments):
        getattr(self.native, name)(*arguments, 0)


class Gpu(Emulated):
    def __init__(self) -> None:
        self.native = _core

    def put(self, a):
        return torch.from_numpy(np.array(a)).cuda()

    def launch(self, name, *arguments):
        getattr(self.native, name)(*arguments, torch.cuda.current_stream().cuda_stream)
        torch.cuda.synchronize()


class EmulatedMachine(_cuda.Machine):
    """Stands in for a GPU: kernels run on the CPU at once, tensors are torch's on the CPU."""

    def here(self):
        return contextlib.nullcontext()

    def stream(self):
        return 0

    def event(self):
        return None

    def wait(self, event):
        pass

    def finish(self, event):
        pass

    def synchronize(self):
        pass

    def child(self, enqueue, pool=None):
        return EmulatedChild(), self.native.graph_of(enqueue)

    def capture(self, enqueue):
        return enqueue


class EmulatedChild:
    def pool(self):
        return None


def machine(backend):
    """The machine of a backend, as receivers take it."""
    if isinstance(backend, Gpu):
        return _cuda.machine("cuda")
    return EmulatedMachine(backend.native, torch.device("cpu"))


class Out:
    """An output: initially poisoned, with guards on either side."""

    def __init__(self, shape, dtype=np.float32, start=None):
        self.shape, self.dtype, self.start = shape, np.dtype(dtype), start


def poison(dtype):
    """NaN, or for integers a number that no kernel writes."""
    return np.nan if np.dtype(dtype).kind in "fc" else np.iinfo(dtype).max - 7


def run(backend, name, *arguments):
    """Calls a launcher with arrays, tensors of `backend.put`, `Out`s (None: null) and numbers; returns the outputs."""
    held, values, outputs = [], [], []
    for a in arguments:
        if isinstance(a, Out):
            size = int(np.prod(a.shape))
            flat = np.full(size + 2 * GUARD, poison(a.dtype), a.dtype)
            if a.start is not None:
                flat[GUARD : GUARD + size] = np.asarray(a.start, a.dtype).ravel()
            tensor = backend.put(flat)
            outputs.append((a, tensor))
            values.append(tensor.data_ptr() + GUARD * a.dtype.itemsize)
            held.append(tensor)
        elif isinstance(a, torch.Tensor):  # a kernel may change what is there already
            values.append(a.data_ptr())
        elif isinstance(a, np.ndarray):
            held.append(backend.put(np.ascontiguousarray(a)))
            values.append(held[-1].data_ptr() if a.size else 0)
        else:
            values.append(0 if a is None else a)
    backend.launch(name, *values)
    found = []
    for a, tensor in outputs:
        flat = tensor.cpu().numpy()
        size = int(np.prod(a.shape))
        for edge in (flat[:GUARD], flat[GUARD + size :]):
            assert np.array_equal(edge, np.full(GUARD, poison(a.dtype), a.dtype), equal_nan=a.dtype.kind in "fc")
        found.append(flat[GUARD : GUARD + size].reshape(a.shape))
    return found[0] if len(found) == 1 else tuple(found)


def control(backend, **words):
    """Control of several blocks, (B, words) int32; members by name, the others poisoned."""
    count = max(np.size(value) for value in words.values())
    fields = np.full((count, backend.native.control_words), poison(np.int32), np.int32)
    for name, value in words.items():
        value = np.asarray(value)
        kind = np.float32 if value.dtype.kind == "f" else np.int32
        fields[:, backend.native.control_fields[name]] = value.astype(kind).view(np.int32)
    return fields


def word(backend, control, name):
    """Address of a member of the first block's Control."""
    return control.data_ptr() + 4 * backend.native.control_fields[name]


def read_word(backend, control, name, real=False):
    """A member of every block's Control."""
    values = control.cpu().numpy()[:, backend.native.control_fields[name]]
    return values.view(np.float32) if real else values


emulator = pytest.mark.skipif(
    importlib.util.find_spec("jadce_fast._emulated") is None, reason="needs a build with JADCE_EMULATOR=ON"
)
gpu = pytest.mark.skipif(
    not (torch.cuda.is_available() and _core.cuda_built), reason="needs a GPU and a build with nvcc"
)


def error(found, expected):
    """Relative error in the Euclidean norm; not a number if an element is not one."""
    scale = np.linalg.norm(expected)
    return np.linalg.norm(found - expected) / scale if scale else np.linalg.norm(found)


def by_row(pilots):
    """Measurements t N + n in the order of their DFT rows, and where each row's begin."""
    flat = pilots.rows.ravel()
    count = np.bincount(flat, minlength=pilots.devices)
    return np.concatenate([[0], np.cumsum(count)]).astype(np.int32), np.argsort(flat, kind="stable").astype(np.int32)


def mixture(gain, eigenvalues, powers):
    """Distinct products of gains and powers (U,), where each pair's is (J, G), and the eigenvalues."""
    pairs = np.outer(powers, gain).astype(np.float32)
    product, index = np.unique(pairs, return_inverse=True)
    return product, index.reshape(pairs.shape).astype(np.int32), np.asarray(eigenvalues, np.float32)


def denoise(backend, network, z, v, counts, *, go=None, tensor=False):
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
    if go is not None:
        go = np.stack([go, *words[:, 1:].T], 1).astype(np.int32)
    return run(
        backend,
        *(f"cuda_beam_network{'_tensor' * tensor}", z, v, network.eigenvalues.float().numpy(), np.concatenate(packed)),
        *(np.array([b.depthwise.dilation for b in blocks], np.int32), words, go, words.shape[1], a),
        *(network.subcarriers, m, p, network.inp.weight.shape[0], blocks[0].expand.weight.shape[0], len(blocks)),
        *(blocks[0].depthwise.weight.shape[1], batch, Out(z.shape, np.complex64), Out(v.shape)),
    )
