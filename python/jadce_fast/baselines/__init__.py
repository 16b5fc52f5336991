"""Classical channel denoisers, the baselines of Cai, Fig. 4: estimate H from Y = H + W.

Channels are (B, N, M), in the antenna domain. ``docs/baselines.md`` has the models and equations.
"""

from .denoisers.bernoulli_gaussian import bernoulli_gaussian
from .denoisers.omp import omp
from .denoisers.valse import LineSpectra, valse, valse_lines

__all__ = ["LineSpectra", "bernoulli_gaussian", "omp", "valse", "valse_lines"]
