"""The papers and the library's own receiver in plain double-precision NumPy: the oracle of every test.

Nothing here is fast and nothing on a hot path imports it. Symbols and equation numbers are those of Cai et al., "Joint
Activity Detection and Channel Estimation for Massive Connectivity: Where Message Passing Meets Score-Based Generative
Priors" (written "Cai (7)"); where an equation is corrected the comment says ``erratum:``. ``docs/math.md`` lists
symbols, equations and errata.

Dense states are (K, N, M): devices, subcarriers, antennas (or beams). Received blocks are (T, N, M).
"""

from .activity import activity_llr, decide, log_odds, sigmoid, structured_llr
from .beamspace import (
    BeamspaceIteration,
    BeamspacePrior,
    alpha,
    beamspace,
    beamspace_stmp,
    best,
    candidates,
    device_power,
    klt_statistics,
    least_power,
    noise_reference,
    project,
)
from .cell import cell_lmmse, cell_posterior, cell_score, cell_tmp, log_density
from .langevin import algorithm1_step, langevin_noise, philox, preconditioned_step
from .linear import (
    adjoint,
    correction,
    damp,
    extrinsic,
    extrinsic_ratio,
    extrinsic_variance,
    gram_eigen,
    linear_mmse,
    measure,
    module_a,
    pilot_array,
    pilot_power,
    residual,
    residual_variance,
)
from .stmp import (
    Iteration,
    combine,
    gaussian_denoiser,
    normalise,
    posterior_variance,
    rescale,
    score_denoiser,
    stmp,
    tmp,
)

__all__ = [
    "BeamspaceIteration",
    "BeamspacePrior",
    "Iteration",
    "activity_llr",
    "adjoint",
    "algorithm1_step",
    "alpha",
    "beamspace",
    "beamspace_stmp",
    "best",
    "candidates",
    "cell_lmmse",
    "cell_posterior",
    "cell_score",
    "cell_tmp",
    "combine",
    "correction",
    "damp",
    "decide",
    "device_power",
    "extrinsic",
    "extrinsic_ratio",
    "extrinsic_variance",
    "gaussian_denoiser",
    "gram_eigen",
    "klt_statistics",
    "langevin_noise",
    "least_power",
    "linear_mmse",
    "log_density",
    "log_odds",
    "measure",
    "module_a",
    "noise_reference",
    "normalise",
    "philox",
    "pilot_array",
    "pilot_power",
    "posterior_variance",
    "preconditioned_step",
    "project",
    "rescale",
    "residual",
    "residual_variance",
    "score_denoiser",
    "sigmoid",
    "stmp",
    "structured_llr",
    "tmp",
]
