"""Tables of the levels of the Langevin sampler for its kernels, as tensors of one device."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from ..anneal import Level
from ..chains import Problem

_WORKSPACE = 1 << 30  # bytes for matrices of levels and what they are computed from


class Tables:
    """Numbers, forces and mixtures of all levels, (levels, B, ...); matrices of a few levels at a time only."""

    def __init__(
        self, problem: Problem, rotation: torch.Tensor, rotated: torch.Tensor, levels: list[list[Level]]
    ) -> None:
        """`rotation` is U, `rotated` Y V, (B, M, rank); levels are the blocks'."""
        self._rotation, device = rotation, rotation.device
        by_level = list(zip(*levels, strict=True))
        numbers = np.array([[(x.keep, x.shift, x.noise, x.sigma**2) for x in row] for row in by_level])
        self.level = torch.tensor(numbers, dtype=torch.float32, device=device)
        self.start = torch.zeros_like(self.level[0])
        self.start[:, 2:] = torch.tensor([(x.sigma, x.sigma**2) for x in by_level[0]])
        self.denoised = by_level[0][0].denoised
        self._white = by_level[0][0].covariance[0] == 0
        diagonals = np.array([[x.diagonals(problem.singular) for x in row] for row in by_level])
        self._diagonals = torch.from_numpy(diagonals).to(device)  # (levels, B, 2, K)
        rank = rotated.shape[-1]
        weight = np.array([[x.force[:rank] for x in row] for row in by_level])
        weighted = rotated * torch.from_numpy(weight).to(device)[:, :, None]  # (levels, B, M, rank)
        force = weighted.to(torch.complex64) @ rotation[:, :rank].mH.to(torch.complex64)
        self._force = force.transpose(2, 3).contiguous()
        mixtures = problem.mixtures(numbers[..., 3])
        self._mixtures = None if mixtures is None else torch.from_numpy(mixtures).to(device)  # (levels, B, 3, G)
        self.components = 0 if mixtures is None else mixtures.shape[-1]
        each = 64 * len(levels) * problem.devices**2
        self._room = max(1, min(len(by_level), _WORKSPACE // each))
        self._first = -self._room
        self._matrix: Any = None
        self._factor: Any = None

    def matrices(self, level: int) -> dict[str, torch.Tensor | None]:
        """Matrix, factor and force of a level."""
        if not self._first <= level < self._first + self._room:
            self._first = level
            chosen, u = self._diagonals[level : level + self._room], self._rotation
            self._matrix = ((u * chosen[:, :, 0, None]) @ u.mH).to(torch.complex64)
            if not self._white:
                covariance = (u * chosen[:, :, 1, None]) @ u.mH
                factor = torch.linalg.cholesky_ex(covariance)[0]  # its check would wait for the device
                self._factor = factor.mH.to(torch.complex64).resolve_conj().contiguous()
        at = level - self._first
        factor = None if self._factor is None else self._factor[at]
        return {"matrix": self._matrix[at], "factor": factor, "force": self._force[level]}

    def mixture(self, level: int) -> torch.Tensor | None:
        """Mixture of a level, if the prior is the exact one."""
        return None if self._mixtures is None else self._mixtures[level]
