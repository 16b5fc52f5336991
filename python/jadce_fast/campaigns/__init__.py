"""Drops of a simulated cell, the genie, and campaigns of many trials at one operating point."""

from .cell_drop import CellDrop, CellScenario, draw_cell
from .genie import GeniePrior
from .ofdm_campaign import Outcome, simulate
from .ofdm_drop import Drop, Scenario, draw_drop

__all__ = [
    "CellDrop",
    "CellScenario",
    "Drop",
    "GeniePrior",
    "Outcome",
    "Scenario",
    "draw_cell",
    "draw_drop",
    "simulate",
]
