"""Drops of a simulated cell, the genie, and campaigns of many trials at one operating point."""

from .drop import Drop, Scenario, draw_drop
from .genie import GeniePrior
from .run import Outcome, simulate

__all__ = ["Drop", "GeniePrior", "Outcome", "Scenario", "draw_drop", "simulate"]
