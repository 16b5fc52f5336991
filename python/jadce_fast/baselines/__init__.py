"""Classical channel denoisers, the baselines of Cai, Fig. 4: estimate H from Y = H + W.

Channels are (B, N, M), in the antenna domain. ``docs/baselines.md`` has the models and equations.
"""

from .bernoulli_gaussian import bernoulli_gaussian
from .omp import omp
from .valse import LineSpectra, valse, valse_lines

__all__ = ["LineSpectra", "bernoulli_gaussian", "omp", "valse", "valse_lines"]
