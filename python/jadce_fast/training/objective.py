"""Objective of a kind of network, as the trainer asks for it; there is one each in `beam`, `ncsn` and `cell`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor, nn

from ..priors.files import AnyPrior
from .data import Pool

Rows = dict[str, list[float]]


@dataclass(frozen=True)
class Defaults:
    """Highest learning rate, updates until it is reached, and batch and pool on a GPU and on a CPU."""

    rate: float
    warm_up: int
    batch: tuple[int, int]
    pool: tuple[int, int]


class Examiner(Protocol):
    """Channels that training never sees."""

    @property
    def snr_db(self) -> Sequence[int]:
        """SNRs of the curves."""

    def curve(self, network: nn.Module, *, final: bool = False) -> dict[str, Rows]:
        """Error by case and SNR; `final` for more channels at the end."""

    def genie(self) -> dict[str, Rows]:
        """Error of an estimator that knows more than a network can, by case and SNR."""


class Trainable(Protocol):
    """A network and its losses.

    Attributes
    ----------
    network : nn.Module
    inner : list of tensor
        Weights of dense layers inside the network, for which there is a better optimiser than Adam.
    variance_weight : float
        Of the second loss.
    one_shape : bool
        Whether the tensors of all updates have the same shapes, so that a CUDA graph can hold an update.
    """

    network: Any
    inner: list[Tensor]
    variance_weight: float
    one_shape: bool

    @property
    def pool(self) -> Pool | None:
        """Channels to draw from, if new ones cost more than an update."""

    def losses(self, batch: int, update: int, generator: Any) -> Tensor:
        """Losses [2] of one update on `batch` new channels."""


class Objective(Trainable, Protocol):
    """A network that is trained by channels, and its measure.

    Attributes
    ----------
    normalisation : str
        What has unit power.
    settings : dict
        What makes another training besides network, channels, batch and the like, by the names of options.
    """

    normalisation: str
    settings: dict[str, Any]

    def examiner(self) -> Examiner:
        """Return the measure of the network."""

    def prior(self, network: Any, metadata: dict[str, Any]) -> AnyPrior:
        """The prior of a trained network."""
