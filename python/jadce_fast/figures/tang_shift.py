"""Draws from other distributions than the prior's."""

from ..campaigns.cell_drop import CellScenario, moved
from .cell_curves import TRAINING, Curve, curves_command

_WORLDS = {
    "training distribution": CellScenario(),
    "ring 100–400 m": CellScenario(prior=moved(TRAINING, inner=100.0, outer=400.0)),
    "path-loss exponent 3.0": CellScenario(prior=moved(TRAINING, exponent=3.0)),
    "shadowing 8 dB": CellScenario(shadowing_db=8.0),
    "Rician, 10 dB": CellScenario(rician_db=10.0),
    "correlated antennas, 0.9": CellScenario(correlation=0.9),
    "twice as active": CellScenario(prior=moved(TRAINING, activity_rate=0.2)),
}
CURVES = [Curve("", label, scenario) for label, scenario in _WORLDS.items()]

command = curves_command(
    "tang-shift",
    CURVES,
    title="Other channels than the prior's, M = 16, N = 64, L = 48",
    text="Draws from other distributions than the prior's.",
)
