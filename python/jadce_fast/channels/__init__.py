"""3GPP TR 38.901 CDL channels of single-antenna devices to a half-wavelength array, from steering vectors.

``cdl`` draws channels in one call; ``draw_paths`` and ``synthesize`` are its two halves, and
``path_covariance_factor`` gives a genie the true covariance of drawn paths.
"""

from .cdl import cdl, unit_power
from .paths import Paths, draw_paths
from .power import path_gain_db, path_loss_gains, spread_gains
from .synthesis import path_covariance_factor, synthesize

__all__ = [
    "Paths",
    "cdl",
    "draw_paths",
    "path_covariance_factor",
    "path_gain_db",
    "path_loss_gains",
    "spread_gains",
    "synthesize",
    "unit_power",
]
