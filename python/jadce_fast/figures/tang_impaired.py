"""Quantised pilots, and pilots with interference."""

from dataclasses import replace

from ..campaigns.cell_drop import CellScenario
from .cell_curves import Curve, curves_command

_HARD = {f"{bits} bit": CellScenario(bits=bits) for bits in (1, 2, 3, 4)}
_HARD |= {f"interference {x} dB": CellScenario(interference_db=float(x)) for x in (0, 10, 20)}

CURVES = [Curve("told", "none", CellScenario())]
CURVES += [Curve("told", label, scenario) for label, scenario in _HARD.items()]
CURVES += [Curve("not told", label, replace(scenario, told=False)) for label, scenario in _HARD.items()]

command = curves_command(
    "tang-impaired",
    CURVES,
    title="Quantised and interfered pilots, and whether the receiver is told their variance",
    text="Pilots quantised to 1 to 4 bits, and pilots with interference.",
)
