"""Baselines that the library is compared with: classical channel denoisers, and receivers of a cell.

Denoisers, the baselines of Cai, Fig. 4, estimate H from Y = H + W; channels are (B, N, M), in the antenna domain.
``docs/baselines.md`` has the models and equations. Receivers, the baselines of Tang, Fig. 5, estimate the columns of X
from Y = X P + Z: ``estimate(y, noise_var)``.
"""

from .denoisers.bernoulli_gaussian import bernoulli_gaussian
from .denoisers.omp import omp
from .denoisers.valse import LineSpectra, valse, valse_lines
from .receivers.algorithm_1 import Algorithm1
from .receivers.estimate import Estimate
from .receivers.lmmse import Lmmse
from .receivers.message_passing import MessagePassing

__all__ = [
    "Algorithm1",
    "Estimate",
    "LineSpectra",
    "Lmmse",
    "MessagePassing",
    "bernoulli_gaussian",
    "omp",
    "valse",
    "valse_lines",
]
