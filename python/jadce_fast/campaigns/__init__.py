"""Drops of simulated OFDM systems and cells, the genie, and campaigns of many trials at operating points."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .cell_campaign import CellOutcome, CellRecord, simulate_cell, summarize_cell
    from .cell_drop import CellDrop, CellScenario, draw_cell
    from .genie import GeniePrior
    from .ofdm_campaign import Outcome, Record, simulate, summarize
    from .ofdm_drop import Drop, Scenario, draw_drop

_HOME = {
    "cell_campaign": ("CellOutcome", "CellRecord", "simulate_cell", "summarize_cell"),
    "cell_drop": ("CellDrop", "CellScenario", "draw_cell"),
    "genie": ("GeniePrior",),
    "ofdm_campaign": ("Outcome", "Record", "simulate", "summarize"),
    "ofdm_drop": ("Drop", "Scenario", "draw_drop"),
}

__all__ = [
    "CellDrop",
    "CellOutcome",
    "CellRecord",
    "CellScenario",
    "Drop",
    "GeniePrior",
    "Outcome",
    "Record",
    "Scenario",
    "draw_cell",
    "draw_drop",
    "simulate",
    "simulate_cell",
    "summarize",
    "summarize_cell",
]


def __getattr__(name: str) -> Any:
    # Loaded on first use: the genie takes torch, and a drop does not need it.
    for module, names in _HOME.items():
        if name in names:
            return getattr(importlib.import_module(f".{module}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
