"""jadce-fast: joint activity detection and channel estimation for massive random access."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from . import _extras

if TYPE_CHECKING:
    from . import baselines as baselines
    from . import campaigns as campaigns
    from . import channels as channels
    from . import ops as ops
    from . import reference as reference
    from .capture import Capture as Capture
    from .capture import load_blocks as load_blocks
    from .capture import load_capture as load_capture
    from .capture import save_capture as save_capture
    from .capture import save_result as save_result
    from .detection import Detection as Detection
    from .langevin import LangevinReceiver as LangevinReceiver
    from .pilots import Pilots as Pilots
    from .pilots import dft_pilots as dft_pilots
    from .priors.beam import BeamPrior as BeamPrior
    from .priors.cascade import CascadePrior as CascadePrior
    from .priors.cell import CellPrior as CellPrior
    from .priors.files import load_cell_prior as load_cell_prior
    from .priors.files import load_prior as load_prior
    from .priors.protocol import ColumnPrior as ColumnPrior
    from .priors.protocol import Prior as Prior
    from .priors.script import ScriptPrior as ScriptPrior
    from .receiver import Receiver as Receiver
    from .rules import Rules as Rules
    from .stream import Stream as Stream
    from .training.adapt import adapt as adapt

__version__ = "0.1.0"
_HOME = {
    "BeamPrior": "priors.beam",
    "Capture": "capture",
    "CascadePrior": "priors.cascade",
    "CellPrior": "priors.cell",
    "ColumnPrior": "priors.protocol",
    "Detection": "detection",
    "LangevinReceiver": "langevin",
    "Pilots": "pilots",
    "Prior": "priors.protocol",
    "Receiver": "receiver",
    "Rules": "rules",
    "Stream": "stream",
    "adapt": "training.adapt",
    "ScriptPrior": "priors.script",
    "dft_pilots": "pilots",
    "load_blocks": "capture",
    "load_capture": "capture",
    "load_cell_prior": "priors.files",
    "load_prior": "priors.files",
    "save_capture": "capture",
    "save_result": "capture",
}
_ROOMS = ("baselines", "campaigns", "channels", "ops", "reference")
__all__ = [*_HOME, *_ROOMS]


def __getattr__(name: str) -> Any:
    # Loaded on first use: who wants pilots or captures does not wait for the rest, nor needs its packages.
    with _extras.named():
        if name in _HOME:
            return getattr(importlib.import_module(f".{_HOME[name]}", __name__), name)
        if name in _ROOMS:
            return importlib.import_module(f".{name}", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
