r"""Two iterations of a detection at K, T, with a prior and a form of its network, for Nsight Compute.

    ncu --set full --import-source yes --clock-control none --profile-from-start off -o /tmp/profile \
        python benchmarks/gpu_profile.py 800 20 cdl bf16

Lines of source are known to a build with `-Ccmake.define.CMAKE_CUDA_FLAGS=-lineinfo`.
"""

from __future__ import annotations

import sys

import torch

import jadce_fast as jf
from jadce_fast.campaigns.ofdm_drop import Scenario, draw_drop


def main() -> None:
    k, t = int(sys.argv[1]), int(sys.argv[2])
    prior, network = sys.argv[3:5]
    drop = draw_drop(Scenario(devices=k, symbols=t))
    detector = jf.Receiver(drop.pilots, 32, prior, 0.05, 1.0, device="cuda", network=network).gpu.detector  # type: ignore[arg-type]
    y, stream = torch.from_numpy(drop.y)[None].cuda(), detector.device.stream()
    x = torch.randn(8192, 8192, device="cuda", dtype=torch.bfloat16)
    for _ in range(30):
        x @ x  # clocks rise
    detector.set_input(y, drop.noise_var)
    torch.cuda.synchronize()
    torch.cuda.profiler.start()
    detector.begin(stream)
    for _ in range(2):
        for launch in detector.iteration().values():
            launch(stream)
    torch.cuda.synchronize()
    torch.cuda.profiler.stop()


if __name__ == "__main__":
    main()
