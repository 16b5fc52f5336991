"""A prior of several denoisers: a small one for the first iterations, a better one for the last."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ..array import Array, on_array
from .protocol import Complex, Real, check_prior

_FLAGS = ("subcarriers", "beamspace", "closed_form")
_STATISTICS = ("basis", "eigenvalues", "beam_gain", "beam_weight")


class CascadePrior:
    """Denoisers that take turns in a detection, each until it does little more.

    Early iterations see so much noise that a small network does what a large one would, at a fraction of its
    arithmetic. :attr:`Rules.handover` says when the next one takes over. Other attributes as in `Prior`.

    Parameters
    ----------
    members : sequence of Prior
        Two or more, in their order.

    Attributes
    ----------
    members : tuple of Prior
        They have one basis, its eigenvalues and one mixture of beam powers in common.
    metadata : dict
        Those of the members that have some.

    Raises
    ------
    TypeError
        If one is no prior of channels.
    ValueError
        If there are fewer than two, or they do not agree.
    """

    def __init__(self, members: Sequence[Any]) -> None:
        if len(members) < 2:
            raise ValueError(f"members: expected two priors or more, found {len(members)}")
        self.members, first = tuple(members), members[0]
        for i, member in enumerate(self.members):
            if not hasattr(member, "denoise"):
                raise TypeError(f"members[{i}]: expected a prior of channels, found {type(member).__name__}")
            check_prior(member, getattr(member, "subcarriers", 0))
            for name in _FLAGS:
                found, expected = getattr(member, name), getattr(first, name)
                if found != expected:
                    raise ValueError(f"members[{i}].{name}: expected {expected} like the first one's, found {found}")
            for name in _STATISTICS:
                if not _agree(getattr(first, name), getattr(member, name)):
                    raise ValueError(
                        f"members[{i}].{name}: expected the first one's, found another; the members of a cascade have "
                        "one basis and one mixture of beam powers"
                    )
        self.subcarriers, self.basis, self.eigenvalues = first.subcarriers, first.basis, first.eigenvalues
        self.beam_gain, self.beam_weight = first.beam_gain, first.beam_weight
        self.beamspace, self.closed_form = first.beamspace, first.closed_form
        self.rows, self.bands = (max(getattr(m, name, 1) for m in self.members) for name in ("rows", "bands"))
        self.metadata: dict[str, Any] = {"members": [getattr(member, "metadata", {}) for member in self.members]}

    def of_array(self, array: Array) -> CascadePrior:
        """The same on the beams of an array."""
        return CascadePrior([on_array(member, array) for member in self.members])

    def denoise(
        self, z: npt.ArrayLike, noise_var: npt.ArrayLike, devices: npt.ArrayLike | None = None
    ) -> tuple[Complex, Real]:
        """Posterior mean and error variance by the last member; see `Prior.denoise`."""
        answer: tuple[Complex, Real] = self.members[-1].denoise(z, noise_var, devices)
        return answer


def _agree(one: npt.ArrayLike, other: npt.ArrayLike) -> bool:
    """Tell whether two arrays are equal but for rounding."""
    a, b = np.asarray(one), np.asarray(other)
    return a.shape == b.shape and bool(np.max(np.abs(a - b), initial=0.0) <= 1e-6 * np.max(np.abs(a), initial=0.0))
