"""A prior of several denoisers: a small one for the first iterations, a better one for the last."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from .protocol import Complex, Prior, Real


class CascadePrior:
    """Denoisers that take turns in a detection: each until it does little more, then the next.

    Early iterations see so much noise that a small network does what a large one would, at a fraction of its
    arithmetic; `Rules.handover` says when the next one takes over. Other attributes as in `Prior`.

    Attributes
    ----------
    members : tuple of Prior
        In their order. One basis, its eigenvalues and one mixture of beam powers are common to them.

    Parameters
    ----------
    members : sequence of Prior
        Two or more.

    Raises
    ------
    ValueError
        If there are fewer than two, or they do not agree.
    """

    def __init__(self, members: Sequence[Prior]) -> None:
        if len(members) < 2:
            raise ValueError(f"members: expected two priors or more, found {len(members)}")
        self.members, first = tuple(members), members[0]
        self.metadata: dict[str, Any] = {}
        for i, member in enumerate(self.members[1:], 1):
            for name in ("subcarriers", "beamspace", "closed_form"):
                if getattr(member, name) != getattr(first, name):
                    raise ValueError(
                        f"members[{i}].{name}: expected {getattr(first, name)} like the first, found {getattr(member, name)}"
                    )
            for name in ("basis", "eigenvalues", "beam_gain", "beam_weight"):
                mine, other = np.asarray(getattr(first, name)), np.asarray(getattr(member, name))
                if mine.shape != other.shape or np.max(np.abs(mine - other), initial=0.0) > 1e-6 * np.max(np.abs(mine)):
                    raise ValueError(f"members[{i}].{name}: expected that of the first, found another one")
        self.subcarriers, self.basis, self.eigenvalues = first.subcarriers, first.basis, first.eigenvalues
        self.beam_gain, self.beam_weight = first.beam_gain, first.beam_weight
        self.beamspace, self.closed_form = first.beamspace, first.closed_form

    def denoise(
        self, z: npt.ArrayLike, noise_var: npt.ArrayLike, devices: npt.ArrayLike | None = None
    ) -> tuple[Complex, Real]:
        """Posterior mean and error variance by the last member; see `Prior.denoise`."""
        return self.members[-1].denoise(z, noise_var, devices)
