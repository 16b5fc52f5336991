"""The score network's CUDA kernels beside torch in bfloat16, in a graph, on a GPU, and what bounds one pass, derived.

Torch gets the used candidates only, the kernels all places and the number of those in use, as in a detection.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from gpu_timing import graph_ms
from timing import report

from jadce_fast.cuda.denoisers import Beams
from jadce_fast.cuda.device import devices, open_device
from jadce_fast.priors.beam_network import BeamNetwork
from jadce_fast.priors.files import load_prior

M = 32
SIZES = ((1, 47, 64), (1, 164, 256), (100, 47, 64))  # received blocks, candidates, places
CLOCK = 990e12 / (132 * 4096)  # an H200's bfloat16 flop/s by its data sheet, over flops a cycle
SHARED, L2 = 128, 64  # bytes a cycle of one multiprocessor
WAIT = 150  # cycles that a layer adds until all warps work, and after the first ones have ended; assumed


def one_pass(network: BeamNetwork) -> dict[str, float]:
    """Traffic of beam_network_tensor.cu for one candidate on one multiprocessor, and microseconds at the limits."""

    def up(count: int) -> int:
        return -(-count // 16) * 16

    shape, p = network.architecture, network.coefficients
    rows, width, hidden = up(M), up(shape["width"]), up(shape["hidden"])
    blocks, taps = shape["blocks"], shape["taps"]
    layers = [(up(3 * p + 1), width), *[(width, hidden), (hidden, width)] * blocks, (width, up(2 * p + 1))]
    weights = sum(4 * o + 2 * o * i for i, o in layers) + blocks * 4 * width * (1 + taps)
    products = sum(rows * o * i for i, o in layers)
    moved = weights  # written once
    for i, o in layers:
        beams = 32 if rows % 32 == 0 and o // 16 * rows // 32 >= 4 else 16
        moved += rows // beams * (o // 16) * (i // 16) * 32 * (beams + 16)
    moved += rows * (4 * width + 4 * up(2 * p + 1)) + rows * 2 * width + blocks * rows * (2 * hidden + 8 * width)
    moved += blocks * (M // 8 * width * 4 * (8 + 2 * taps) + 2 * M * width)
    waits = 3 * blocks + 4
    shared_us, l2_us, tensor_us, wait_us = (
        1e6 / CLOCK * x for x in (moved / SHARED, weights / L2, products / 2048, waits * WAIT)
    )
    return {
        "weights kB": weights / 1e3,
        "from L2 us": l2_us,
        "shared memory kB": moved / 1e3,
        "its us": shared_us,
        "products us": tensor_us,
        "layers": waits,
        "their waits us": wait_us,
        "pass us": max(shared_us, l2_us, tensor_us) + wait_us,
    }


def launches(network: BeamNetwork, batch: int, used: int, places: int) -> dict[str, Callable[[int], Any]]:
    """Kernels and torch as functions of a stream."""
    p, device = network.coefficients, open_device("cuda")
    rng = np.random.default_rng(0)
    z = torch.from_numpy(rng.standard_normal((batch, places, p, M, 2)).astype(np.float32)).cuda()
    noise = torch.full((batch, places, M), 0.1, device="cuda")
    count = torch.full((batch,), used, dtype=torch.int32, device="cuda")
    sizes = {"devices": places, "subcarriers": network.subcarriers, "symbols": 1, "antennas": M}
    fields = {"z": z, "noise": noise, "count": count, "step": 1, "capacity": places}
    fields["sizes"] = device.struct("Sizes", **sizes, coefficients=p, batch=batch)
    calls: dict[str, Callable[[int], Any]] = {}
    outputs = []
    for name, tensor in (("kernel", False), ("kernel_tensor", True)):
        beams = Beams(device, network, tensor)
        outputs.append(torch.zeros_like(z))
        own = beams.fields | {"mean": outputs[-1], "var": torch.zeros_like(noise)}
        calls[name] = partial(device.launch, beams.name, **fields, **own)
    plain = load_copy(network)
    split = torch.cat([z[..., 0], z[..., 1]], 2)[:, :used].reshape(-1, 2 * p, M).contiguous()
    level = noise[:, :used].reshape(-1, M).contiguous()
    for name, module in (("torch", plain), ("torch.compile", torch.compile(plain))):  # compiled when first called

        def run(_: int, module: Any = module) -> Any:
            with torch.no_grad(), torch.autocast("cuda", torch.bfloat16, cache_enabled=False):
                return module(split, level)[0]

        calls[name] = run
    for call in (calls["kernel"], calls["kernel_tensor"]):
        call(torch.cuda.current_stream().cuda_stream)
    expected = torch.cat([outputs[0][..., 0], outputs[0][..., 1]], 2)[:, :used].reshape(-1, 2 * p, M)
    # Products and activations in bfloat16 cost one to two percent.
    assert (outputs[1] - outputs[0])[:, :used].norm() <= 0.05 * expected.norm()
    assert (calls["torch"](0) - expected).norm() <= 0.05 * expected.norm()
    return calls


def load_copy(network: BeamNetwork) -> Any:
    """The network on the GPU."""
    copy = BeamNetwork(network.eigenvalues, network.subcarriers, **network.architecture)
    copy.load_state_dict(network.state_dict())
    return copy.cuda().eval().requires_grad_(False)


def main() -> None:
    networks = {name: load_prior(name).network for name in ("cdl-tiny", "cdl", "cdl-large")}
    report(
        "One pass of the network on tensor cores, derived", [{"prior": n} | one_pass(x) for n, x in networks.items()]
    )
    if devices()[0] == 0:
        print("CUDA network: not measured, no GPU:", devices()[1])
        return
    title = f"CUDA network on {torch.cuda.get_device_name()}, in a graph"
    report(title, [row(name, networks[name], size) for name in networks for size in SIZES])
    # Compiling takes long and may fail, here without harm to what was measured.
    try:
        report(f"{title}, torch.compile", [row("cdl", networks["cdl"], size, "torch.compile") for size in SIZES])
    except Exception as error:  # it needs a compiler that not every machine has
        print(f"torch.compile: {type(error).__name__}: {error}")


def row(name: str, network: BeamNetwork, size: tuple[int, int, int], *also: str) -> dict[str, object]:
    """Times of the kernels and eager torch, or of what else is named."""
    batch, used, _ = size
    found: dict[str, object] = {"prior": name, "blocks": batch, "candidates": used}
    calls = launches(network, *size)
    for what in also or ("kernel", "kernel_tensor", "torch"):
        time = graph_ms([calls[what]])
        found |= {f"{what} p50 us": 1e3 * time["p50_ms"], f"{what} p99 us": 1e3 * time["p99_ms"]}
        if what == "kernel_tensor":
            flop = 2 * network.multiplications(M) * batch * used
            found["tensor Tflop/s"] = flop / time["p50_ms"] / 1e9
    return found


if __name__ == "__main__":
    main()
