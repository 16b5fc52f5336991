"""Tang Fig. 6: antennas, devices and active devices varied one at a time."""

from ..campaigns.cell_drop import CellScenario
from .cell_curves import Curve, curves_command

DENSITY = 0.75  # L / N where N varies

CURVES = [Curve("antennas", f"M = {m}", CellScenario(antennas=m)) for m in (8, 16, 32, 64)]
CURVES += [Curve("devices", f"N = {n}", CellScenario(devices=n, symbols=round(DENSITY * n))) for n in (32, 64, 128)]
CURVES += [Curve("active", f"K = {k}", CellScenario(active=k)) for k in (2, 4, 8, 12)]

command = curves_command(
    "tang-6",
    CURVES,
    title="Tang Fig. 6: antennas, devices (L / N = 0.75) and active devices varied one at a time",
    text="Antennas, devices and active devices varied one at a time, Tang Fig. 6.",
)
