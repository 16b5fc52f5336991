"""The score network's CUDA kernels beside torch in bfloat16, in a graph, on a GPU.

Says so and ends where there is none. Torch gets the used candidates only, the kernels all places and the number of
those in use, as in a detection. With the argument `compile`, which takes long, torch.compile is timed instead.
"""

from __future__ import annotations

import sys
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
    if devices()[0] == 0:
        print("CUDA network: not measured, no GPU:", devices()[1])
        return
    networks = {name: load_prior(name).network for name in ("cdl-tiny", "cdl", "cdl-large")}
    title = f"CUDA network on {torch.cuda.get_device_name()}, in a graph"
    if sys.argv[1:] == ["compile"]:
        report(f"{title}, torch.compile", (row("cdl", networks["cdl"], size, "torch.compile") for size in SIZES))
    else:
        report(title, (row(name, networks[name], size) for name in networks for size in SIZES))


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
