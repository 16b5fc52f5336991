"""Baselines that the library is compared with: classical channel denoisers, and receivers of a cell.

Denoisers, the baselines of Cai, Fig. 4, estimate H from Y = H + W; channels are (B, N, M), in the antenna domain.
``docs/baselines.md`` has the models and equations. Receivers, the baselines of Tang, Fig. 5, estimate the columns of X
from Y = X P + Z: ``estimate(y, noise_var)``.
"""

from .denoisers.bernoulli_gaussian import bernoulli_gaussian as bernoulli_gaussian
from .denoisers.omp import omp as omp
from .denoisers.valse import LineSpectra as LineSpectra
from .denoisers.valse import valse as valse
from .denoisers.valse import valse_lines as valse_lines
from .receivers.algorithm_1 import Algorithm1 as Algorithm1
from .receivers.estimate import Estimate as Estimate
from .receivers.lmmse import Lmmse as Lmmse
from .receivers.message_passing import MessagePassing as MessagePassing
