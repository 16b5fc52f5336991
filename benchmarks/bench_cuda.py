"""Detections on a GPU. Says so and ends where there is none.

The first table is what a user asks for: percentiles of one detection, from the block on the device to results there,
detections a second in batches, the share of what the GPU's limits allow, and eager torch in the same run. Then come
cold caches and host transfers, other ways to record a graph, and the memory of 100 000 devices. With the argument
`compile`, which takes long, torch.compile is timed instead.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from gpu_floors import detection_limit_us
from gpu_timing import events, limits
from plain_receivers import torch_detect
from timing import measure, report

import jadce_fast as jf
from jadce_fast.campaigns.ofdm_drop import Drop, Scenario, draw_drop
from jadce_fast.cuda.device import devices

BLOCKS = 100
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


def planned(k: int, t: int, prior: str, network: str, batch: int = 1) -> tuple[jf.Receiver, list[Drop], torch.Tensor]:
    """A receiver for blocks of known power, as many blocks as it takes at a time, and these on its device."""
    scenario = Scenario(devices=k, symbols=t)
    drops = [draw_drop(scenario)]
    drops += [draw_drop(scenario, trial=i, pilots=drops[0].pilots) for i in range(1, batch)]
    rx = jf.Receiver(drops[0].pilots, 32, prior, 0.05, 1.0, device="cuda", batch=batch, network=network)  # type: ignore[arg-type]
    return rx, drops, torch.from_numpy(np.stack([drop.y for drop in drops])).to(rx.gpu.detector.device.device)


def user(k: int, t: int, prior: str, network: str, *, card: str, bound: dict[str, float]) -> dict[str, Any]:
    """The row of the table that a user reads."""
    rx, (drop,), (y,) = planned(k, t, prior, network)
    out, compared = agreement(rx, drop, prior)
    one = events(lambda: rx.enqueue(y, drop.noise_var), 5000, seconds=3.0)
    many, drops, ys = planned(k, t, prior, network, BLOCKS)
    together = many.detect_many(ys, drops[0].noise_var)
    compared["same in a batch"] = np.array_equal(torch.as_tensor(together[0].channels).cpu().numpy(), out.channels)
    batch = events(lambda: many.enqueue(ys, drops[0].noise_var), 100, least=5, seconds=0.5)
    limit = detection_limit_us(k, t, len(out.active), prior, network, iterations=out.iterations, bound=bound)
    row = {
        "card": card,
        "K": k,
        "T": t,
        "prior": prior,
        "network": network,
        "active": len(out.active),
        "iterations": out.iterations,
    }
    row |= {name: one[f"{name[:-3]}_ms"] for name in ("p50 ms", "p99 ms", "p99.9 ms")}
    row |= {"blocks/s": 1e3 * BLOCKS / batch["p50_ms"], "of limit": limit / 1e3 / one["p50_ms"]}
    if prior != "gaussian":
        torch_ms, same = in_torch(drop, y, prior, out)
        row |= {"eager torch ms": torch_ms, "x torch": torch_ms / one["p50_ms"], "torch finds the same": same}
    return row | compared


def in_torch(
    drop: Drop, y: torch.Tensor, prior: str, out: jf.Detection, *, compiled: bool = False
) -> tuple[float, bool]:
    """Median milliseconds of the same algorithm in torch, and whether it finds the same devices."""
    loaded = jf.load_prior(prior)
    network = loaded.network.to(y.device)
    call: Any = torch.compile(network, dynamic=True) if compiled else network

    def plain() -> Any:
        return torch_detect(y, drop.noise_var, 0.05, drop.pilots, loaded, call)

    active, _ = plain()
    time = measure(plain, seconds=0.5)
    network.cpu()
    return time["p50_ms"], bool(np.array_equal(active.cpu().numpy(), np.asarray(out.active)))


def compiled(k: int, t: int) -> dict[str, Any]:
    """The same algorithm with its network compiled by torch."""
    rx, (drop,), (y,) = planned(k, t, "cdl", "auto")
    out = rx.detect(drop.y, drop.noise_var)
    torch_ms, same = in_torch(drop, y, "cdl", out, compiled=True)
    ours = events(lambda: rx.enqueue(y, drop.noise_var), 1000)["p50_ms"]
    return {"K": k, "T": t, "torch.compile ms": torch_ms, "ours ms": ours, "x torch": torch_ms / ours, "same": same}


def around(k: int, t: int, prior: str, network: str) -> dict[str, Any]:
    """What is around a detection: caches, Python, transfers."""
    rx, (drop,), (y,) = planned(k, t, prior, network)
    cold = events(lambda: rx.enqueue(y, drop.noise_var), 300, cold=True)
    device = measure(lambda: rx.detect(y, drop.noise_var), seconds=0.5)
    host = measure(lambda: rx.detect(drop.y, drop.noise_var), seconds=0.5)
    row: dict[str, Any] = {"K": k, "T": t, "prior": prior, "network": network}
    row |= {"cold p50 ms": cold["p50_ms"], "cold p99 ms": cold["p99_ms"]}
    antennas = drop.noise_var * np.linspace(0.5, 2, drop.y.shape[2])
    row["noise by antenna p50 ms"] = events(lambda: rx.enqueue(y, antennas), 300)["p50_ms"]
    row |= {f"detect() {p} ms": device[f"{p}_ms"] for p in ("p50", "p99", "p99.9")}
    return row | {"NumPy to NumPy p50 ms": host["p50_ms"], "overlapping": rx.gpu.detector.overlapping}


def graphs(prior: str) -> Iterator[dict[str, Any]]:
    """One detection by graphs that were recorded in other ways."""
    rx, (drop,), y = planned(800, 20, prior, "auto")
    detector = rx.gpu.detector
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
        yield names | {"p50 ms": time["p50_ms"], "p99 ms": time["p99_ms"]}


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
    if sys.argv[1:] == ["compile"]:
        report(f"torch.compile on {name}, {setting}", (compiled(*size) for size in ((800, 20), (3000, 40))))
        return
    bound = limits()
    report(f"Detections, {setting}; batches of {BLOCKS}", (user(*case, card=name, bound=bound) for case in CASES))
    report(f"Around a detection on {name}", (around(*case) for case in CASES))
    report("100 000 devices", (large(prior) for prior in ("cdl", "gaussian")))
    report("Graphs of a detection, K=800", (row for prior in ("cdl-tiny", "gaussian") for row in graphs(prior)))
    report("With TorchScript's network", (around(800, 20, prior, "torchscript") for prior in ("cdl", "cdl-tiny")))


if __name__ == "__main__":
    main()
