"""The CUDA gather kernel against the same product in torch, on a GPU. Says so and ends where there is none."""

from __future__ import annotations

import numpy as np
import torch
from timing import report, summary

from jadce_fast import _core, dft_pilots, ops


def events(call: object, runs: int = 500) -> dict[str, float]:
    times = []
    for _ in range(20):
        call()
    for _ in range(runs):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        call()
        end.record()
        end.synchronize()
        times.append(start.elapsed_time(end))
    return summary(times)


def main() -> None:
    if not (torch.cuda.is_available() and _core.cuda_built):
        print("CUDA gather: not measured, no GPU:", _core.cuda_devices()[1])
        return
    a, b = (
        torch.empty(1 << 28, dtype=torch.uint8, device="cuda"),
        torch.empty(1 << 28, dtype=torch.uint8, device="cuda"),
    )
    bandwidth = 2 * a.nbytes / events(lambda: b.copy_(a), 50)["p50_ms"] / 1e6
    rows = []
    for devices, symbols, candidates in ((800, 20, 40), (800, 20, 800), (3000, 40, 160)):
        rng = np.random.default_rng(0)
        pilots = dft_pilots(devices, symbols, 48)
        basis = np.linalg.qr(rng.standard_normal((48, 48)))[0][:, :12].astype(np.complex64)
        plan = ops.Transform(pilots, 32, basis)
        r = torch.randn(symbols, 48, 32, dtype=torch.complex64, device="cuda")
        index = torch.from_numpy(rng.permutation(devices)[:candidates]).cuda()
        q = torch.from_numpy(pilots.select(index.cpu().numpy())).cuda().permute(1, 2, 0).conj().resolve_conj()
        v = torch.from_numpy(basis).cuda().conj().resolve_conj()

        def plain(q=q, r=r, v=v):
            x = q @ r.transpose(0, 1)  # (N, A, M)
            return (v.T @ x.reshape(48, -1)).reshape(12, -1, 32).transpose(0, 1)

        found, expected = ops.gather(plan, r, index), plain()
        assert (found - expected).norm() <= 1e-5 * expected.norm()
        ours, theirs = events(lambda: ops.gather(plan, r, index)), events(plain)
        bytes_moved = r.nbytes + found.nbytes + pilots.rows.size * 4
        floor = bytes_moved / bandwidth / 1e6
        rows.append(
            {"K": devices, "T": symbols, "devices": candidates}
            | {"kernel p50 ms": ours["p50_ms"], "p99 ms": ours["p99_ms"], "torch p50 ms": theirs["p50_ms"]}
            | {"faster": theirs["p50_ms"] / ours["p50_ms"], "of bandwidth": floor / ours["p50_ms"]}
        )
    print(f"copy bandwidth {bandwidth:.0f} GB/s")
    report(f"CUDA gather on {torch.cuda.get_device_name()}, launch and Python call included", rows)


if __name__ == "__main__":
    main()
