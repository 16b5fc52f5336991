"""Drops of simulated OFDM systems and cells, the genie, and campaigns of many trials at operating points."""

from .cell_campaign import CellOutcome as CellOutcome
from .cell_campaign import CellRecord as CellRecord
from .cell_campaign import simulate_cell as simulate_cell
from .cell_campaign import summarize_cell as summarize_cell
from .cell_drop import CellDrop as CellDrop
from .cell_drop import CellScenario as CellScenario
from .cell_drop import draw_cell as draw_cell
from .genie import GeniePrior as GeniePrior
from .ofdm_campaign import simulate as simulate
from .ofdm_campaign import sweep as sweep
from .ofdm_drop import Drop as Drop
from .ofdm_drop import Scenario as Scenario
from .ofdm_drop import draw_drop as draw_drop
from .ofdm_outcome import Outcome as Outcome
from .ofdm_outcome import Record as Record
from .ofdm_outcome import summarize as summarize
from .ofdm_outcome import summarize_odds as summarize_odds
