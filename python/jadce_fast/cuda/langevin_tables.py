"""What the kernels of the Langevin sampler want of its levels, and the exact posterior, as tensors of one device."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from ..anneal import Level
from ..priors.cell import CellPrior

if TYPE_CHECKING:
    from ..langevin import LangevinReceiver

_WORKSPACE = 1 << 30  # bytes for matrices of levels and what they are computed from


class Tables:
    """What the kernels want of all levels, (levels, B, ...); matrices only of a few levels at a time."""

    def __init__(self, rx: LangevinReceiver, rotation: Any, rotated: Any, levels: list[list[Level]]) -> None:
        """`rotation` is U, `rotated` Y times the right singular vectors of P, (B, M, rank)."""
        import torch

        self.rotation, device = rotation, rotation.device
        by_level = [[block[i] for block in levels] for i in range(len(levels[0]))]
        numbers = [[(x.keep, x.shift, x.noise, x.sigma**2) for x in row] for row in by_level]
        self.level = torch.tensor(numbers, dtype=torch.float32, device=device)
        self.start = torch.tensor(
            [(0, 0, x.sigma, x.sigma**2) for x in by_level[0]], dtype=torch.float32, device=device
        )
        self.denoised = by_level[0][0].denoised
        self.white = by_level[0][0].covariance[0] == 0
        diagonals = np.array([[x.diagonals(rx._singular) for x in row] for row in by_level])
        self.diagonals = torch.from_numpy(diagonals).to(device)  # (levels, B, 2, N)
        rank = rotated.shape[-1]
        weight = torch.from_numpy(np.array([[x.force[:rank] for x in row] for row in by_level])).to(device)
        weighted = rotated * weight[:, :, None]  # (levels, B, M, rank)
        force = weighted.to(torch.complex64) @ rotation[:, :rank].mH.to(torch.complex64)
        self.force = force.transpose(2, 3).contiguous()
        self.components, self._mixture = 0, None
        if rx._exact:
            variances = np.array([[x.sigma**2 for x in row] for row in by_level])
            mixture = np.stack(rx._inside.tables(variances, rx.antennas), axis=2).astype(np.float32)
            self._mixture = torch.from_numpy(np.ascontiguousarray(mixture)).to(device)  # (levels, B, 3, G)
            self.components = mixture.shape[-1]
        each = 64 * len(levels) * rx.devices**2
        self.room = max(1, min(len(by_level), _WORKSPACE // each))
        self.first = -self.room
        self.matrix: Any = None
        self.factor: Any = None

    def pointers(self, index: int | None) -> tuple[Any, Any, Any]:
        """Matrix, factor and force of a level, or nothing."""
        import torch

        if index is None:
            return None, None, None
        if not self.first <= index < self.first + self.room:
            self.first = index
            chosen, u = self.diagonals[index : index + self.room], self.rotation
            self.matrix = ((u * chosen[:, :, 0, None]) @ u.mH).to(torch.complex64)
            if not self.white:
                covariance = (u * chosen[:, :, 1, None]) @ u.mH
                factor = torch.linalg.cholesky_ex(covariance)[0]  # its check would wait for the device
                self.factor = factor.mH.to(torch.complex64).resolve_conj().contiguous()
        at = index - self.first
        return self.matrix[at], None if self.factor is None else self.factor[at], self.force[index]

    def mixture(self, index: int | None) -> Any:
        """Mixture of a level, or nothing."""
        return None if index is None or self._mixture is None else self._mixture[index]


def cell_posterior(prior: CellPrior, power: Any, weight: Any, columns: Any, noise_var: Any) -> tuple[Any, Any, Any]:
    """:meth:`CellPrior.denoise` of tensors: columns (..., M), noise_var (...), and the quadrature of its mixture."""
    import torch

    antennas = columns.shape[-1]
    energy = (columns.real**2 + columns.imag**2).sum(-1)
    v = noise_var[..., None]
    odds = math.log(prior.activity_rate) - math.log1p(-prior.activity_rate)
    exponent = torch.log(weight) + odds - antennas * torch.log1p(power / v) - energy[..., None] / (power + v)
    zero = -energy / noise_var
    top = torch.maximum(exponent.amax(-1), zero)
    density, gain = torch.exp(exponent - top[..., None]), power / (power + v)
    total = density.sum(-1) + torch.exp(zero - top)
    first, second = (density * gain).sum(-1) / total, (density * gain**2).sum(-1) / total
    variance = noise_var * first + energy / antennas * (second - first**2).clamp(min=0)
    return first[..., None] * columns, variance, density.sum(-1) / total
