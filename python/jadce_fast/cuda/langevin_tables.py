"""Tables of the levels of the Langevin sampler for its kernels, as tensors of one device."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from ..anneal import Level
from ..chains import Problem

_WORKSPACE = 1 << 30  # bytes for what a level needs: its matrices, what they are computed from, and the states after it


class Tables:
    """Numbers, forces and mixtures of all levels, (levels, B, ...); matrices of `room` levels at a time only."""

    def __init__(
        self, problem: Problem, rotation: torch.Tensor, rotated: torch.Tensor, levels: list[list[Level]]
    ) -> None:
        """`rotation` is U, `rotated` Y V, (B, M, rank); levels are the blocks'."""
        self._rotation, device = rotation, rotation.device
        by_level = list(zip(*levels, strict=True))
        numbers = np.array([[(x.keep, x.shift, x.noise, x.sigma**2) for x in row] for row in by_level])
        self.level = torch.tensor(numbers, dtype=torch.float32, device=device)
        self.start = torch.tensor([x.sigma for x in by_level[0]], dtype=torch.float32, device=device)
        self.denoised = by_level[0][0].denoised
        self._white = by_level[0][0].covariance[0] == 0
        diagonals = np.array([[x.diagonals(problem.singular) for x in row] for row in by_level])
        self._diagonals = torch.from_numpy(diagonals).to(device)  # (levels, B, 2, K)
        rank = rotated.shape[-1]
        weight = np.array([[x.force[:rank] for x in row] for row in by_level])
        weighted = rotated * torch.from_numpy(weight).to(device)[:, :, None]  # (levels, B, M, rank)
        force = weighted.to(torch.complex64) @ rotation[:, :rank].mH.to(torch.complex64)
        self.force = force.transpose(2, 3).contiguous()
        mixtures = problem.mixtures(numbers[..., 3])
        self.mixture = None if mixtures is None else torch.from_numpy(mixtures).to(device)  # (levels, B, 3, G)
        self.components = 0 if mixtures is None else mixtures.shape[-1]
        blocks, k = len(levels), problem.devices
        each = 64 * blocks * k**2 + 8 * blocks * problem.chains * k * problem.antennas
        self.room = max(1, min(len(by_level), _WORKSPACE // each))
        self._first = -self.room
        self._matrix: Any = None
        self._factor: Any = None

    def of(self, levels: range) -> dict[str, Any]:
        """Fields of the kernel for at most `room` levels."""
        if not self._first <= levels[0] <= levels[-1] < self._first + self.room:
            self._first = levels[0]
            chosen, u = self._diagonals[self._first : self._first + self.room], self._rotation
            self._matrix = self._columns(((u * chosen[:, :, 0, None]) @ u.mH).mT)
            if not self._white:
                covariance = (u * chosen[:, :, 1, None]) @ u.mH
                # The lower factor's conjugate has the columns of the upper one. A check would wait for the device.
                self._factor = self._columns(torch.linalg.cholesky_ex(covariance)[0].conj())
        first, at = levels[0], levels[0] - self._first
        return {
            "matrix": self._matrix[at:],
            "factor": None if self._factor is None else self._factor[at:],
            "force": self.force[first:],
            "level": self.level[first:],
            "mixture": None if self.mixture is None else self.mixture[first:],
            "components": self.components,
            "denoised": self.denoised,
            "levels": len(levels),
        }

    @staticmethod
    def _columns(rows: torch.Tensor) -> torch.Tensor:
        """Columns of matrices, given as rows, in single precision, each of an even number of entries."""
        shape = (*rows.shape[:-1], rows.shape[-1] + rows.shape[-1] % 2)
        found = torch.zeros(shape, dtype=torch.complex64, device=rows.device)
        found[..., : rows.shape[-1]] = rows
        return found
