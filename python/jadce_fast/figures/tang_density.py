"""Pilot density L / N below and above one."""

from ..campaigns.cell_drop import CellScenario
from .cell_curves import Curve, curves_command

CURVES = [Curve("", f"L/N = {n / 64:g}", CellScenario(symbols=n)) for n in (16, 24, 32, 48, 64, 96)]

command = curves_command(
    "tang-density",
    CURVES,
    title="Pilot density L / N below and above one, M = 16, N = 64",
    text="Pilot density L / N below and above one.",
)
