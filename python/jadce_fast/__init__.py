"""jadce-fast: joint activity detection and channel estimation for massive random access."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from . import channels, ops, reference
    from .capture import Capture, load_capture, save_capture, save_result
    from .detection import Detection
    from .langevin import LangevinReceiver
    from .pilots import Pilots, dft_pilots
    from .priors.beam import BeamPrior
    from .priors.cell import CellPrior
    from .priors.files import load_cell_prior, load_prior
    from .priors.protocol import ColumnPrior, Prior
    from .receiver import Receiver
    from .rules import Rules

__version__ = "0.1.0"
__all__ = [
    "BeamPrior",
    "Capture",
    "CellPrior",
    "ColumnPrior",
    "Detection",
    "LangevinReceiver",
    "Pilots",
    "Prior",
    "Receiver",
    "Rules",
    "channels",
    "dft_pilots",
    "load_capture",
    "load_cell_prior",
    "load_prior",
    "ops",
    "reference",
    "save_capture",
    "save_result",
]

_HOME = {
    "BeamPrior": "priors.beam",
    "Capture": "capture",
    "CellPrior": "priors.cell",
    "ColumnPrior": "priors.protocol",
    "Detection": "detection",
    "LangevinReceiver": "langevin",
    "Pilots": "pilots",
    "Prior": "priors.protocol",
    "Receiver": "receiver",
    "Rules": "rules",
    "dft_pilots": "pilots",
    "load_capture": "capture",
    "load_cell_prior": "priors.files",
    "load_prior": "priors.files",
    "save_capture": "capture",
    "save_result": "capture",
}


def __getattr__(name: str) -> Any:
    # Loaded on first use: torch takes seconds to import, and pilots or captures do not need it.
    if name in _HOME:
        return getattr(importlib.import_module(f".{_HOME[name]}", __name__), name)
    if name in ("channels", "ops", "reference"):
        return importlib.import_module(f".{name}", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
