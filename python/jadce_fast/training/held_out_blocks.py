"""Worth of a prior without truth: how well what it makes of some symbols of a block predicts the others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ..capture import Capture
from ..pilots import Pilots
from .received import Detecting

_ONE_IN = 10  # symbols


class Prediction(NamedTuple):
    """How well symbols were predicted.

    Attributes
    ----------
    likelihood : ndarray, shape (B,)
        Of every block the mean log-likelihood of an entry (of its real and imaginary part together), in nats.
    error : float
        Mean squared error of the channels that predicted, over their energy: what the predictions miss by beyond the
        noise, over what the block has beyond it. Of all blocks together; not above zero if noise hides it.
    """

    likelihood: npt.NDArray[np.float64]
    error: float


class HeldOutBlocks:
    """Blocks that training never sees, each with a tenth of its symbols left out (one at least).

    Parameters
    ----------
    blocks : sequence of Capture
        Of two symbols at least.
    noise_var : sequence of float
        Of every block.
    detecting : Detecting
    """

    def __init__(self, blocks: Sequence[Capture], noise_var: Sequence[float], detecting: Detecting) -> None:
        self.blocks, self.noise_var, self.detecting = blocks, noise_var, detecting
        self._groups = [
            (_only(pilots, ~left), pilots, left, rate, indices)
            for pilots, rate, indices in detecting.groups(blocks)
            for left in [left_out(pilots.symbols)]
        ]

    def predict(self, prior: Any) -> Prediction:
        """Detect by the kept symbols and predict the others.

        A left-out symbol has the received power |sum of q x|^2 of the found channels, and the variance of the noise and
        of their errors: the complex normal likelihood of what was received.
        """
        likelihood = np.empty(len(self.blocks))
        missed = energy = 0.0
        for kept, pilots, left, rate, indices in self._groups:
            rx = self.detecting.receiver(kept, self.blocks[indices[0]].y.shape[2], prior, rate)
            for i in indices:
                y, noise = self.blocks[i].y, self.noise_var[i]
                found = rx.detect(y[~left], noise)
                q = pilots.select(found.active)[left]
                error = y[left] - np.einsum("tna,anm->tnm", q, found.channels, optimize=True)
                square = np.abs(error.astype(np.complex128)) ** 2
                spread = noise + (np.abs(q) ** 2 @ found.channel_var.astype(np.float64))[..., None]  # (T', N, 1)
                likelihood[i] = -float(np.mean(square / spread + np.log(np.pi * spread)))
                missed += float(np.sum(square - noise))
                energy += float(np.sum(np.abs(y[left].astype(np.complex128)) ** 2 - noise))
        return Prediction(likelihood, missed / energy if energy > 0 else 0.0)


def left_out(symbols: int) -> npt.NDArray[np.bool_]:
    """Mask (T,) of the symbols that are to be predicted."""
    mask = np.zeros(symbols, bool)
    mask[min(_ONE_IN // 2, symbols // 2) :: _ONE_IN] = True
    return mask


def _only(pilots: Pilots, symbols: npt.NDArray[np.bool_]) -> Pilots:
    if pilots.rows is not None:
        phases = None if pilots.phases is None else pilots.phases[symbols]
        return Pilots.from_rows(pilots.rows[symbols], pilots.devices, pilots.power, phases)
    return Pilots(pilots.select()[symbols])
