"""Every CUDA kernel of an iteration against its floor, in a graph, on a GPU. Says so and ends where there is none.

Kernels get the arguments that a planned receiver gives them, in the state that it is in after three iterations. Data
stay in the second-level cache between runs, as between the kernels of a detection. Matched-filter energies are compared
with the FFT of torch, and of CuPy where it is installed, on the dense state.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from gpu_floors import TENSOR_KERNEL, M, N, floor_us, kernels
from gpu_timing import events, graph_ms, limits
from timing import report

import jadce_fast as jf
from jadce_fast.campaigns.ofdm_drop import Scenario, draw_drop
from jadce_fast.cuda.colored_noise import ColoredNoise
from jadce_fast.cuda.device import devices

ROUNDS = 100_000  # iterations of one loop, in which kernels are called again and again


def planned(k: int, t: int, prior: str, network: str) -> tuple[Any, Any, Any]:
    """A detector in the third iteration of a loop that goes on for ever, and its block twice."""
    drop = draw_drop(Scenario(k, t, N, M))
    endless = jf.Rules(max_iterations=ROUNDS, stalled=1e5, settled=1e5)
    detector = jf.Receiver(drop.pilots, M, prior, 0.05, device="cuda", network=network, rules=endless).gpu.detector
    assert detector.transform.method == "spectral"
    y = torch.from_numpy(drop.y)[None].to(detector.device.device)
    stream = detector.device.stream()
    detector.set_input(y, drop.noise_var)
    detector.begin(stream)
    for _ in range(3):
        for launch in detector.iteration().values():
            launch(stream)
    return detector, drop, y


def dense(r: torch.Tensor, rows: torch.Tensor, k: int, basis: torch.Tensor | None, fft: Any) -> torch.Tensor:
    """Coefficients the plain way: scatter to (K, N, M), one inverse FFT a subcarrier and beam, KLT if any."""
    state = torch.zeros((k, *r.shape[1:]), dtype=r.dtype, device=r.device)
    state[rows, torch.arange(r.shape[1], device=r.device)] = r
    x = fft(state)
    return x if basis is None else torch.einsum("np,knm->kpm", basis.conj(), x)


def energy(z: torch.Tensor) -> torch.Tensor:
    return z.real.square() + z.imag.square()


def ffts() -> dict[str, Callable[[torch.Tensor], torch.Tensor]]:
    """Unnormalised inverse transforms over the first axis."""
    found: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
        "torch": lambda x: torch.fft.ifft(x, dim=0, norm="forward")
    }
    try:
        import cupy
    except ImportError:
        return found
    found["CuPy"] = lambda x: torch.from_dlpack(cupy.fft.ifft(cupy.from_dlpack(x), axis=0, norm="forward"))
    return found


def plain_us(detector: Any, pilots: jf.Pilots) -> dict[str, float]:
    """Time of the plain way in microseconds, after a comparison of the answers."""
    k, rows = pilots.devices, torch.tensor(pilots.rows, device=detector.device.device)
    buffers, basis = detector.buffers, detector.transform.tables.get("basis")
    r = buffers["r_b"][0]
    slot = buffers["slot"][0].long()
    found = {}
    for name, fft in ffts().items():
        z = dense(r, rows, k, basis, fft)
        z[slot >= 0] += buffers["s"][0][slot[slot >= 0]]
        expected = energy(z).permute(1, 2, 0)
        assert (buffers["energy"][0] - expected).norm() <= 1e-4 * expected.norm()
        # CuPy has a stream of its own, which cannot be recorded with torch's.
        time = events(lambda fft=fft: energy(dense(r, rows, k, basis, fft)), 200)
        if name == "torch":
            time = graph_ms([lambda stream, fft=fft: energy(dense(r, rows, k, basis, fft))])
        found[name] = 1e3 * time["p50_ms"]
    return found


def times(k: int, t: int, bound: dict[str, float], against: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Rows of the kernels' times; those of the plain way are added to `against`."""
    rate = {False: 1e12 * bound["single Tflop/s"], True: 1e12 * bound["bfloat16 Tflop/s"]}
    for prior, network in (("cdl", "bf16"), ("cdl", "fp32"), ("gaussian", "auto")):
        detector, drop, y = planned(k, t, prior, network)
        count = int(detector.word("candidates")[0])
        floors = kernels(k, t, count, identity=prior == "gaussian")
        saved = detector.buffers["control"].clone()

        def restore(detector: Any = detector, saved: torch.Tensor = saved) -> None:
            detector.buffers["control"].copy_(saved)

        launches = detector.iteration()
        if "denoise" in launches:
            launches[TENSOR_KERNEL if network == "bf16" else "beam_network"] = launches.pop("denoise")
        for name, launch in launches.items():
            if (prior, network) != ("cdl", "bf16") and name not in ("beam_network", "spectral", "gather"):
                continue
            time = graph_ms([launch], restore)
            # One launch with nothing in the caches; the events take some microseconds of it.
            stream = torch.cuda.current_stream().cuda_stream
            cold = events(lambda f=launch, s=stream: f(s), 200, cold=True, before=restore, seconds=0.2)
            moved, flops, *_ = floors[name]
            floor = 1e6 * max(moved / (1e9 * bound["copy GB/s"]), flops / rate[name == TENSOR_KERNEL])
            row = {"K": k, "T": t, "prior": prior, "kernel": name, "candidates": count}
            us = {f"{p} us": 1e3 * time[f"{p}_ms"] for p in ("p50", "p99", "max")}
            us |= {"cold p50 us": 1e3 * cold["p50_ms"], "cold p99 us": 1e3 * cold["p99_ms"], "floor us": floor}
            yield row | us | {"of limit": floor / (1e3 * time["p50_ms"]), "H200 us": floor_us(*floors[name])}
            if name == "spectral":
                plain = plain_us(detector, drop.pilots)
                ratios = {f"x {n}": us_ / us["p50 us"] for n, us_ in plain.items()}
                against.append({"K": k, "T": t, "prior": prior, "kernel us": us["p50 us"]} | plain | ratios)
        if (prior, network) == ("cdl", "bf16"):  # what takes the place of module_a where noise is not white
            noise = ColoredNoise(detector.plan, 1, detector.device.device)
            noise.tell(np.diag(np.linspace(0.5, 2, M)).astype(complex)[None])
            for name, launch in noise.module_a(detector.launch, detector.word_address("going")).items():
                time = graph_ms([launch], restore)
                row = {"K": k, "T": t, "prior": prior, "kernel": name, "candidates": count}
                yield row | {f"{p} us": 1e3 * time[f"{p}_ms"] for p in ("p50", "p99", "max")}
        time = graph_ms(list(detector.iteration().values()), restore)
        row = {"K": k, "T": t, "prior": f"{prior} {network}", "kernel": "iteration", "candidates": count}
        yield row | {f"{p} us": 1e3 * time[f"{p}_ms"] for p in ("p50", "p99")}
        del y


def main() -> None:
    if devices()[0] == 0:
        print("CUDA kernels: not measured, no GPU:", devices()[1])
        return
    bound = limits()
    report(f"Limits of {torch.cuda.get_device_name()}", [dict(bound)])
    for k, t in ((800, 20), (3000, 40)):
        against: list[dict[str, Any]] = []
        try:
            report(f"CUDA kernels on {torch.cuda.get_device_name()}, in a graph, K={k}", times(k, t, bound, against))
        finally:
            report(f"Matched-filter energies of all devices beside an FFT of the dense state, us, K={k}", against)


if __name__ == "__main__":
    main()
