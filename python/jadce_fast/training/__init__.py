"""Training of score networks: families of channels and recordings, losses, evaluation, the loop."""

from . import evaluate
from .data import KINDS
from .family import Grid
from .loop import NETWORKS, train
from .recording import load_channels

__all__ = ["KINDS", "NETWORKS", "Grid", "evaluate", "load_channels", "train"]
