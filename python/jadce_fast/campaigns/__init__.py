"""Drops of simulated OFDM systems and cells, the genie, and campaigns of many trials at operating points."""

from .cell_campaign import CellOutcome, CellRecord, simulate_cell, summarize_cell
from .cell_drop import CellDrop, CellScenario, draw_cell
from .genie import GeniePrior
from .ofdm_campaign import Outcome, Record, simulate, summarize
from .ofdm_drop import Drop, Scenario, draw_drop

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
