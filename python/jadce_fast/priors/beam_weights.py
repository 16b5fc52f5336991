"""The weights of a beam network as arrays: what a receiver's own kernels need, without torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import _check
from .protocol import Real


@dataclass(frozen=True, eq=False)
class BeamWeights:
    """Sizes and weights of a `BeamNetwork`, under the names that its docstring lists.

    Attributes
    ----------
    subcarriers : int
        N.
    architecture : dict
        Arguments of `BeamNetwork`: ``width``, ``hidden``, ``blocks``, ``taps``, ``dilations``, ``rows``.
    arrays : dict of ndarray of float32
        ``eigenvalues`` and all weights.

    Raises
    ------
    TypeError, ValueError
        If the architecture is none, or arrays are missing, left over or of another shape.
    """

    subcarriers: int
    architecture: dict[str, Any]
    arrays: dict[str, Real]

    def __post_init__(self) -> None:
        _check.integer("subcarriers", self.subcarriers, 1)
        sizes = {name: _check.integer(name, self.architecture[name], 1) for name in ("width", "hidden", "taps")}
        dilations = [_check.integer("dilations", d, 1) for d in self.architecture.get("dilations", (1,))]
        _check.integer("rows", self.rows, 1)
        if set(self.architecture) - {*sizes, "blocks", "dilations", "rows"} or not dilations:
            raise ValueError(f"architecture: expected that of a beam network, found {self.architecture}")
        count = 5 + 6 * _check.integer("blocks", self.architecture["blocks"], 1)
        if len(self.arrays) != count:
            raise ValueError(f"arrays: expected {count}, found {len(self.arrays)}")
        p, width = len(self.arrays["eigenvalues"]), sizes["width"]
        shapes: dict[str, tuple[int, ...]] = {"inp": (width, 3 * p + 1), "out": (2 * p + 1, width)}
        for i in range(self.architecture["blocks"]):
            shapes |= {
                f"body.{i}.depthwise": (width, sizes["taps"]),
                f"body.{i}.expand": (sizes["hidden"], width),
                f"body.{i}.mix": (width, sizes["hidden"]),
            }
        for name, shape in shapes.items():
            _check.array(f"{name}.weight", self.arrays[f"{name}.weight"], shape, np.float32)
            _check.array(f"{name}.bias", self.arrays[f"{name}.bias"], shape[:1], np.float32)
        _check.array("eigenvalues", self.arrays["eigenvalues"], (p,), np.float32)

    @property
    def eigenvalues(self) -> Real:
        """Mean power of every coefficient, (P,)."""
        return self.arrays["eigenvalues"]

    @property
    def rows(self) -> int:
        """Rows of the panel that it was made for, 1 if it knows of none."""
        return int(self.architecture.get("rows", 1))

    @property
    def dilations(self) -> list[int]:
        """Spacing of the beams that a block reads, of every block."""
        spacing = self.architecture.get("dilations", (1,))
        return [spacing[i % len(spacing)] for i in range(self.architecture["blocks"])]

    def layers(self) -> list[tuple[Real, Real]]:
        """Weight and bias of every layer, in order of evaluation."""
        body = [f"body.{i}.{part}" for i in range(len(self.dilations)) for part in ("depthwise", "expand", "mix")]
        return [(self.arrays[f"{name}.weight"], self.arrays[f"{name}.bias"]) for name in ("inp", *body, "out")]
