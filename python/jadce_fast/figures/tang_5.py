"""Tang Fig. 5: NMSE and accuracy of activity over SNR."""

from ..campaigns.cell_drop import CellScenario
from ..campaigns.cell_receivers import ALGORITHM_1, LMMSE, TMP
from .cell_curves import Curve, curves_command

CURVES = [Curve("", "", CellScenario())]

command = curves_command(
    "tang-5",
    CURVES,
    title="Tang Fig. 5: M = 16 antennas, N = 64 devices, 10 % active, L = 48 pilots",
    text="NMSE and accuracy of activity over SNR, Tang Fig. 5, beside message passing and LMMSE.",
    draws=100,
    baselines=(TMP, LMMSE, ALGORITHM_1),
)
