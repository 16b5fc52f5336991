"""Detections on a GPU, from the block on the device to results there, and with host transfers; in the same run the
same algorithm in torch, batches of blocks, and the memory of 100 000 devices. Says so and ends where there is no GPU.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from gpu_timing import events
from plain_receivers import torch_detect
from timing import measure, report

import jadce_fast as jf
from jadce_fast.campaigns.ofdm_drop import Drop, Scenario, draw_drop
from jadce_fast.cuda.device import devices

BLOCKS = 100
AIRTIME_MS = {20: 0.714, 40: 1.43}  # T OFDM symbols at 30 kHz
CASES = (
    *((800, 20, prior, network) for prior in ("cdl", "cdl-tiny") for network in ("bf16", "fp32")),
    (800, 20, "gaussian", "auto"),
    *((3000, 40, prior, "auto") for prior in ("cdl", "cdl-tiny", "gaussian")),
)
# Detections by graphs recorded in other ways: whether kernels overlap, iterations in a pass of the loop.
GRAPHS = ((True, 1), (False, 1), (True, 2), (True, 4))


def agreement(rx: jf.Receiver, drop: Drop, prior: str) -> tuple[Any, dict[str, Any]]:
    """The detection, and how it compares with the CPU's; what disagrees is shown, not hidden by an end of the run."""
    expected = jf.Receiver(drop.pilots, 32, prior, 0.05, 1.0).detect(drop.y, drop.noise_var)
    out = rx.detect(drop.y, drop.noise_var)
    same = np.array_equal(out.active, expected.active)
    error = np.linalg.norm(out.channels - expected.channels) / np.linalg.norm(expected.channels) if same else np.nan
    return out, {"same devices as the CPU": same, "channels differ by": float(error)}


def detection(k: int, t: int, prior: str, network: str) -> dict[str, Any]:
    drop = draw_drop(Scenario(devices=k, symbols=t))
    rx = jf.Receiver(drop.pilots, 32, prior, 0.05, 1.0, device="cuda", network=network)  # type: ignore[arg-type]
    out, compared = agreement(rx, drop, prior)
    y = torch.from_numpy(drop.y).cuda()
    warm = events(lambda: rx.enqueue(y, drop.noise_var), 2000)
    cold = events(lambda: rx.enqueue(y, drop.noise_var), 300, cold=True)
    host = measure(lambda: rx.detect(drop.y, drop.noise_var), seconds=0.5)
    device = measure(lambda: rx.detect(y, drop.noise_var), seconds=0.5)
    return {
        **{"K": k, "T": t, "prior": prior, "network": network, "active": len(out.active)},
        **{"iterations": out.iterations, "p50 ms": warm["p50_ms"], "p99 ms": warm["p99_ms"]},
        **{"max ms": warm["max_ms"], "cold p50 ms": cold["p50_ms"], "cold p99 ms": cold["p99_ms"]},
        **{"detect() p50 ms": device["p50_ms"], "NumPy to NumPy p50 ms": host["p50_ms"]},
        **({"of airtime": warm["p99_ms"] / AIRTIME_MS[t], "overlapping": rx.gpu.detector.overlapping} | compared),
    }


def graphs(prior: str) -> list[dict[str, Any]]:
    """One detection by graphs that were recorded in other ways."""
    drop = draw_drop(Scenario(devices=800, symbols=20))
    detector = jf.Receiver(drop.pilots, 32, prior, 0.05, 1.0, device="cuda").gpu.detector
    y = torch.from_numpy(drop.y)[None].cuda()
    rows = []
    for overlapping, iterations in GRAPHS:
        try:
            graph = detector.record(overlapping=overlapping, iterations=iterations)
        except RuntimeError as error:  # a driver that does not overlap kernels inside a loop
            print(f"overlapping={overlapping}: {error}")
            continue

        def run(graph: Any = graph) -> None:
            detector.set_input(y, drop.noise_var)
            graph.launch(detector.device.stream())

        time = events(run, 2000)
        names = {"prior": prior, "overlapping": overlapping, "iterations a pass": iterations}
        rows.append(names | {"p50 ms": time["p50_ms"], "p99 ms": time["p99_ms"]})
    return rows


def beside_torch(k: int, t: int) -> list[dict[str, Any]]:
    """Eager torch on the GPU and with its network compiled, beside ours for the same block."""
    drop, prior = draw_drop(Scenario(devices=k, symbols=t)), jf.load_prior("cdl")
    rx = jf.Receiver(drop.pilots, 32, prior, 0.05, 1.0, device="cuda")
    y = torch.from_numpy(drop.y).cuda()
    ours = measure(lambda: rx.detect(y, drop.noise_var), seconds=0.5)
    rows: list[dict[str, Any]] = []
    network = prior.network.cuda()
    for name, call in (("eager", network), ("torch.compile", torch.compile(network, dynamic=True))):

        def plain(call: Any = call) -> Any:
            return torch_detect(y, drop.noise_var, 0.05, drop.pilots, prior, call)

        try:
            active, channels = plain()
        except Exception as error:  # torch.compile needs a compiler that not every machine has
            print(f"{name}: {type(error).__name__}: {error}")
            continue
        out = rx.detect(y, drop.noise_var)
        same = torch.equal(active, out.active)
        difference = float((channels - out.channels).norm() / out.channels.norm()) if same else math.nan
        time = measure(plain, seconds=1.0)
        row = {"K": k, "T": t, "torch": name, "torch p50 ms": time["p50_ms"], "ours p50 ms": ours["p50_ms"]}
        rows.append(row | {"x torch": time["p50_ms"] / ours["p50_ms"], "same": same, "channels differ by": difference})
    network.cpu()
    return rows


def batches(prior: str) -> dict[str, Any]:
    """Throughput of BLOCKS blocks at once and one at a time."""
    scenario = Scenario(devices=800, symbols=20)
    first = draw_drop(scenario)
    drops = [draw_drop(scenario, trial=i, pilots=first.pilots) for i in range(BLOCKS)]
    y = torch.from_numpy(np.stack([drop.y for drop in drops])).cuda()
    one = jf.Receiver(first.pilots, 32, prior, 0.05, 1.0, device="cuda")
    many = jf.Receiver(first.pilots, 32, prior, 0.05, 1.0, device="cuda", batch=BLOCKS)
    single = [one.detect(block, first.noise_var) for block in y]
    together = many.detect_many(y, first.noise_var)
    same = all(torch.equal(a.channels, b.channels) for a, b in zip(single, together, strict=True))

    def each() -> None:
        for block in y:
            one.enqueue(block, first.noise_var)

    alone, batch = events(each, 50)["p50_ms"], events(lambda: many.enqueue(y, first.noise_var), 200)["p50_ms"]
    rates = {"one at a time, blocks/s": 1e3 * BLOCKS / alone, "batched, blocks/s": 1e3 * BLOCKS / batch}
    names = {"K": 800, "T": 20, "prior": prior, "blocks": BLOCKS}
    return names | rates | {"x one at a time": alone / batch, "same": same}


def large(prior: str) -> dict[str, Any]:
    drop = draw_drop(Scenario(devices=100_000, symbols=64, activity_rate=0.001))
    torch.cuda.synchronize()
    torch.cuda.empty_cache()  # or what is cached would be used again
    free = torch.cuda.mem_get_info()[0]
    rx = jf.Receiver(drop.pilots, 32, prior, 0.001, device="cuda")
    out = rx.detect(drop.y, drop.noise_var)
    used = free - torch.cuda.mem_get_info()[0]
    right = np.array_equal(out.active, drop.active)
    y = torch.from_numpy(drop.y).cuda()
    time = events(lambda: rx.enqueue(y, drop.noise_var), 50)
    memory = {"device MB": used / 2**20, "planned MB": rx.gpu.detector.memory / 2**20}
    names = {"K": 100_000, "T": 64, "prior": prior}
    return names | memory | {"detection p50 ms": time["p50_ms"], "right devices": right}


def main() -> None:
    if devices()[0] == 0:
        print("CUDA detections: not measured, no GPU:", devices()[1])
        return
    name = torch.cuda.get_device_name()
    setting = "N=48, M=32, rate 0.05, CDL-C, 10 dB, power known"
    report(f"Detection on {name}, {setting}", [detection(*c) for c in CASES])
    report("Graphs of a detection, K=800", [row for prior in ("cdl-tiny", "gaussian") for row in graphs(prior)])
    report("Batches", [batches(prior) for prior in ("cdl", "cdl-tiny", "gaussian")])
    report("100 000 devices", [large(prior) for prior in ("cdl", "gaussian")])
    report("The same algorithm in torch", [row for size in ((800, 20), (3000, 40)) for row in beside_torch(*size)])
    report("With TorchScript's network", [detection(800, 20, prior, "torchscript") for prior in ("cdl", "cdl-tiny")])


if __name__ == "__main__":
    main()
