"""Prints the table of docs/design.md: what sixteen-bit operands of the network's matrix products do to a detection.

``python scripts/rounding.py``, a few minutes: as the tensor cores of a GPU compute, emulated in torch on the CPU.
"""

from __future__ import annotations

import copy

import numpy as np
import torch

import jadce_fast as jf
from jadce_fast.campaigns.ofdm_drop import Drop, Scenario, draw_drop
from jadce_fast.metrics import score
from jadce_fast.priors.beam import BeamPrior
from jadce_fast.priors.files import load_prior

KINDS = {"single precision": None, "bfloat16": torch.bfloat16, "float16": torch.float16}
SNR_DB, DROPS = (0.0, 10.0, 20.0, 30.0, 40.0), 12


class Rounded(torch.nn.Module):
    """A dense layer with rounded weights and inputs."""

    def __init__(self, layer: torch.nn.Linear, kind: torch.dtype) -> None:
        super().__init__()
        self.weight, self.bias, self.kind = layer.weight.to(kind).float(), layer.bias, kind

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """See `torch.nn.Linear`."""
        return torch.nn.functional.linear(x.to(self.kind).float(), self.weight, self.bias)


class TorchPrior:
    """A prior whose network runs in torch, its dense layers' operands rounded."""

    beamspace, closed_form = True, False

    def __init__(self, prior: BeamPrior, kind: torch.dtype | None) -> None:
        self.subcarriers, self.basis, self.eigenvalues = prior.subcarriers, prior.basis, prior.eigenvalues
        self.beam_gain, self.beam_weight = prior.beam_gain, prior.beam_weight
        self.network = copy.deepcopy(prior.network)
        if kind is not None:
            self.network.inp, self.network.out = Rounded(self.network.inp, kind), Rounded(self.network.out, kind)
            for block in self.network.body:
                block.expand, block.mix = Rounded(block.expand, kind), Rounded(block.mix, kind)

    def denoise(self, z: np.ndarray, v: np.ndarray, devices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """See `jadce_fast.Prior.denoise`."""
        with torch.inference_mode():
            mean, var = self.network(torch.from_numpy(np.concatenate([z.real, z.imag], 1)), torch.from_numpy(v))
        real, imag = np.split(mean.numpy(), 2, axis=1)
        return (real + 1j * imag).astype(np.complex64), var.numpy()


def lost(drop: Drop, prior: TorchPrior) -> tuple[float, int]:
    """Normalised error of a detection, and devices missed or wrongly found."""
    out = jf.Receiver(drop.pilots, drop.y.shape[2], prior, 0.05).detect(drop.y, drop.noise_var)
    errors = score(out, drop.active, drop.channels)
    return errors.nmse, errors.missed + errors.false_alarms


def main() -> None:
    print(f"| prior, operands | {' | '.join(f'{x:g} dB' for x in SNR_DB)} | wrong |\n|" + "---|" * (len(SNR_DB) + 2))
    drops = {snr_db: [draw_drop(Scenario(snr_db=snr_db), seed=seed) for seed in range(DROPS)] for snr_db in SNR_DB}
    for name in ("cdl", "cdl-tiny"):
        for label, kind in KINDS.items():
            prior, wrong, cells = TorchPrior(load_prior(name), kind), 0, []
            for some in drops.values():
                found = [lost(drop, prior) for drop in some]
                errors = [error for error, _ in found]
                wrong += sum(mistakes for _, mistakes in found)
                cells.append(f"{10 * np.log10(np.mean(errors)):.2f}".replace("-", "−"))
            print(f"| `{name}`, {label} | {' | '.join(cells)} | {wrong} |", flush=True)


if __name__ == "__main__":
    main()
