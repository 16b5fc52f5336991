"""Baselines that the library is compared with: classical channel denoisers, receivers of OFDM blocks and of a cell.

Denoisers, the baselines of Cai, Fig. 4, estimate H from Y = H + W; channels are (B, N, M), in the antenna domain.
Receivers of OFDM blocks are planned by functions, ``NAME(pilots, antennas, ...)``, and have the interface of
:class:`jadce_fast.Receiver`: ``detect(y, noise_var)``. ``docs/baselines.md`` has the models and equations of both.
Receivers of a cell, the baselines of Tang, Fig. 5, estimate the columns of X from Y = X P + Z:
``estimate(y, noise_var)``.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from .. import _extras

if TYPE_CHECKING:
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

_HOME = {
    "Algorithm1": "receivers.algorithm_1",
    "BlockReceiver": "receivers.block_receiver",
    "Estimate": "receivers.estimate",
    "LineSpectra": "denoisers.valse",
    "Lmmse": "receivers.lmmse",
    "MessagePassing": "receivers.message_passing",
    "bernoulli_gaussian": "denoisers.bernoulli_gaussian",
    "covariance": "receivers.covariance",
    "dps": "receivers.dps",
    "gmmv_amp": "receivers.gmmv_amp",
    "linear": "receivers.linear",
    "mmv_amp": "receivers.mmv_amp",
    "omp": "denoisers.omp",
    "oracle": "receivers.oracle",
    "printed_stmp": "receivers.printed_stmp",
    "somp": "receivers.somp",
    "tmp_em": "receivers.tmp_em",
    "valse": "denoisers.valse",
    "valse_lines": "denoisers.valse",
}
__all__ = [*_HOME]


def __getattr__(name: str) -> Any:
    # Loaded on first use: some of them need SciPy or torch, receivers beside which they are named do not.
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    with _extras.named():
        return getattr(importlib.import_module(f".{_HOME[name]}", __name__), name)


def __dir__() -> list[str]:
    return [*__all__]
