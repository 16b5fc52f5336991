"""Drops of a simulated cell, the genie, and campaigns of many trials at one operating point."""

from .cell import CellDrop, CellScenario, draw_cell
from .drop import Drop, Scenario, draw_drop
from .genie import GeniePrior
from .run import Outcome, simulate

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
