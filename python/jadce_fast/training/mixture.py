"""The activity test's model of an active device: a mixture of beam powers, fitted to the family."""

from __future__ import annotations

import torch
from torch import Tensor

from .data import Source

GRID = 10 ** torch.linspace(-3.0, 1.5, 16)  # 10^0.3 apart
NOISE = (0.01, 0.1, 1.0, 10.0)


def fit_beam_powers(
    source: Source,
    basis: Tensor,
    eigenvalues: Tensor,
    generator: torch.Generator,
    *,
    count: int = 4000,
    kept: int = 12,
    iterations: int = 100,
) -> tuple[Tensor, Tensor]:
    """Fit by expectation maximisation: coefficient p of a beam is CN(0, g eigenvalues[p]), g of weight w.

    The channels are observed in noise of the variances `NOISE`: beams and coefficients far below it do not
    tell active from inactive devices and shall not shape the fit. Of the grid the `kept` heaviest powers
    stay.

    Returns
    -------
    beam_gain, beam_weight : (kept,) tensors
        Rising powers and their weights, which sum to 1.
    """
    h = basis.mH @ source.draw(count, generator)
    noise = torch.randn(h.shape, generator=generator, device=h.device, dtype=h.dtype)
    gain = GRID.to(h.device)
    power = gain[:, None] * eigenvalues.to(h.device)  # [G, P]
    parts = []
    for v in NOISE:
        energy = (h + v**0.5 * noise).abs().square().permute(0, 2, 1).flatten(0, 1)  # [count M, P]
        parts.append(-energy @ (1 / (power + v)).mT - (power + v).log().sum(1))
    likelihood = torch.cat(parts)
    weight = torch.full((len(gain),), 1 / len(gain), device=h.device)
    for _ in range(2):
        for _ in range(iterations):
            weight = torch.softmax(likelihood + weight.clamp_min(1e-30).log(), 1).mean(0)
        keep = weight.topk(min(kept, len(weight))).indices.sort().values
        gain, weight, likelihood = gain[keep], weight[keep] / weight[keep].sum(), likelihood[:, keep]
    return gain.cpu(), weight.cpu()
