"""The papers and the library's own receiver in plain double-precision NumPy: the oracle of every test.

Nothing here is fast and nothing on a hot path imports it. Symbols and equation numbers are those of Cai et al., "Joint
Activity Detection and Channel Estimation for Massive Connectivity: Where Message Passing Meets Score-Based Generative
Priors" (written "Cai (7)"); where an equation is corrected the comment says ``erratum:``. ``docs/math.md`` lists
symbols, equations and errata.

Dense states are (K, N, M): devices, subcarriers, antennas (or beams). Received blocks are (T, N, M).
"""

from .activity import activity_llr as activity_llr
from .activity import decide as decide
from .activity import log_odds as log_odds
from .activity import sigmoid as sigmoid
from .activity import structured_llr as structured_llr
from .beamspace import BeamspaceIteration as BeamspaceIteration
from .beamspace import BeamspacePrior as BeamspacePrior
from .beamspace import alpha as alpha
from .beamspace import beamspace as beamspace
from .beamspace import beamspace_stmp as beamspace_stmp
from .beamspace import best as best
from .beamspace import candidates as candidates
from .beamspace import klt_statistics as klt_statistics
from .beamspace import noise_reference as noise_reference
from .beamspace import project as project
from .cell import cell_lmmse as cell_lmmse
from .cell import cell_posterior as cell_posterior
from .cell import cell_score as cell_score
from .cell import cell_tmp as cell_tmp
from .cell import log_density as log_density
from .langevin import algorithm1_step as algorithm1_step
from .langevin import langevin_noise as langevin_noise
from .langevin import philox as philox
from .langevin import preconditioned_step as preconditioned_step
from .linear import adjoint as adjoint
from .linear import colored_correction as colored_correction
from .linear import colored_variance as colored_variance
from .linear import correction as correction
from .linear import damp as damp
from .linear import extrinsic as extrinsic
from .linear import extrinsic_ratio as extrinsic_ratio
from .linear import extrinsic_variance as extrinsic_variance
from .linear import gram_eigen as gram_eigen
from .linear import linear_mmse as linear_mmse
from .linear import measure as measure
from .linear import module_a as module_a
from .linear import pilot_array as pilot_array
from .linear import pilot_power as pilot_power
from .linear import residual as residual
from .linear import residual_variance as residual_variance
from .powers import device_power as device_power
from .powers import faintest_power as faintest_power
from .powers import least_power as least_power
from .powers import prior_rate as prior_rate
from .powers import unseen as unseen
from .repeated import RepeatedIteration as RepeatedIteration
from .repeated import cavity as cavity
from .repeated import detect_repeated as detect_repeated
from .repeated import moments as moments
from .repeated import power_weights as power_weights
from .stmp import Iteration as Iteration
from .stmp import combine as combine
from .stmp import gaussian_denoiser as gaussian_denoiser
from .stmp import normalise as normalise
from .stmp import posterior_variance as posterior_variance
from .stmp import rescale as rescale
from .stmp import score_denoiser as score_denoiser
from .stmp import stmp as stmp
from .stmp import tmp as tmp
