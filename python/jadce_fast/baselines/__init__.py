"""Baselines that the library is compared with: classical channel denoisers, receivers of OFDM blocks and of a cell.

Denoisers, the baselines of Cai, Fig. 4, estimate H from Y = H + W; channels are (B, N, M), in the antenna domain.
Receivers of OFDM blocks are planned by functions, ``NAME(pilots, antennas, ...)``, and have the interface of
:class:`jadce_fast.Receiver`: ``detect(y, noise_var)``. ``docs/baselines.md`` has the models and equations of both.
Receivers of a cell, the baselines of Tang, Fig. 5, estimate the columns of X from Y = X P + Z:
``estimate(y, noise_var)``.
"""

from .denoisers.bernoulli_gaussian import bernoulli_gaussian as bernoulli_gaussian
from .denoisers.omp import omp as omp
from .denoisers.valse import LineSpectra as LineSpectra
from .denoisers.valse import valse as valse
from .denoisers.valse import valse_lines as valse_lines
from .receivers.algorithm_1 import Algorithm1 as Algorithm1
from .receivers.block_receiver import BlockReceiver as BlockReceiver
from .receivers.covariance import covariance as covariance
from .receivers.dps import dps as dps
from .receivers.estimate import Estimate as Estimate
from .receivers.gmmv_amp import gmmv_amp as gmmv_amp
from .receivers.linear import linear as linear
from .receivers.lmmse import Lmmse as Lmmse
from .receivers.message_passing import MessagePassing as MessagePassing
from .receivers.mmv_amp import mmv_amp as mmv_amp
from .receivers.oracle import oracle as oracle
from .receivers.printed_stmp import printed_stmp as printed_stmp
from .receivers.somp import somp as somp
from .receivers.tmp_em import tmp_em as tmp_em
