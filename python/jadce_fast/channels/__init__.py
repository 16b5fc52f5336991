"""3GPP TR 38.901 CDL channels of single-antenna devices to a half-wavelength array, from steering vectors.

``cdl`` draws channels in one call; ``draw_paths`` and ``synthesize`` are its two halves, and
``path_covariance_factor`` gives a genie the true covariance of drawn paths.
"""

from .cdl import cdl as cdl
from .cdl import unit_power as unit_power
from .paths import Paths as Paths
from .paths import draw_paths as draw_paths
from .power import path_gain_db as path_gain_db
from .power import path_loss_gains as path_loss_gains
from .power import spread_gains as spread_gains
from .synthesis import path_covariance_factor as path_covariance_factor
from .synthesis import synthesize as synthesize
