"""The estimators of the denoising benchmark, and what is measured of each."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import baselines
from ..baselines import denoisers
from ..priors.files import resolve_prior
from ..priors.gaussian import GaussianPrior
from .genie import GeniePrior
from .held_out import Chunk, HeldOut, to_antennas, to_beams
from .store import fingerprint

BASELINES = ("ls", "omp", "omp-stop", "bg", "bg-em", "valse")
GENIE = "genie"
_SLOW_BASELINES = ("omp", "omp-stop", "valse")
_SLOW_NETWORK = 5e7  # multiplications a channel
_PROBE_STEP = 0.05  # length of the divergence's probe, in standard deviations of the noise

_Complex = npt.NDArray[np.complex64]
_Real = npt.NDArray[np.float32]


class Baseline:
    """A classical estimator. It is told the noise variance of every beam.

    Attributes
    ----------
    name : str
    slow : bool
    fingerprint : str
        Of the code, or of the weights: what was measured with others is of no use.
    parameters, multiplications : int or None
        Weights, multiply-accumulate operations a channel.
    """

    parameters: int | None = None
    multiplications: int | None = None

    def __init__(self, name: str) -> None:
        self.name, self.slow = name, name in _SLOW_BASELINES
        files = sorted(Path(denoisers.__path__[0]).rglob("*.py"))
        self.fingerprint = hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:16]

    def measure(self, chunk: Chunk, noise: str, snr: float) -> dict[str, npt.ArrayLike]:
        """Seconds and squared error of every channel."""
        y, v = chunk.observe(noise, snr)
        start = time.perf_counter()
        estimate = self.estimate(y, float(v[0, 0]) if noise == "white" else v)
        seconds = (time.perf_counter() - start) / len(y)
        return {"seconds": np.full(len(y), seconds), "error": _energy(estimate - chunk.h)}

    def estimate(self, y: _Complex, noise_var: float | _Real) -> _Complex:
        """Estimate channels (B, N, M)."""
        if self.name == "omp":
            return baselines.omp(y, noise_var, atoms=100)
        if self.name == "omp-stop":
            return baselines.omp(y, noise_var, atoms=100, stop_at_noise=True)
        if self.name == "bg":
            return baselines.bernoulli_gaussian(y, noise_var, sparsity=0.15)
        if self.name == "bg-em":
            return baselines.bernoulli_gaussian(y, noise_var, sparsity="em")
        if self.name == "valse":
            return baselines.valse(y, noise_var)
        return y


class Denoiser:
    """A prior. Those that work in beamspace are told the noise of every beam, others its mean."""

    def __init__(self, name: str, prior: Any, setting: HeldOut) -> None:
        if prior.subcarriers != setting.subcarriers:
            raise ValueError(
                f"prior {name}: expected one for {setting.subcarriers} subcarriers, found {prior.subcarriers}"
            )
        self.name, self.prior = name, prior
        self.fingerprint, self.parameters, self.multiplications = _describe(prior, setting.antennas)
        self.slow = (self.multiplications or 0) > _SLOW_NETWORK

    def measure(self, chunk: Chunk, noise: str, snr: float) -> dict[str, npt.ArrayLike]:
        """Seconds, squared errors and divergences, true and promised, of every channel."""
        y, v = chunk.observe(noise, snr)
        start = time.perf_counter()
        mean, var, z, v = self._denoise(y, v)
        estimate = self._channels(mean)
        seconds = (time.perf_counter() - start) / len(y)
        probe = chunk.probe[:, : z.shape[1]]
        return {
            "seconds": np.full(len(y), seconds),
            "error": _energy(estimate - chunk.h),
            "kept_error": _energy(mean - self._coefficients(chunk.h)),
            "promised_error": len(chunk.h[0]) * var.sum(1, dtype=np.float64),
            "divergence": divergence(self.prior, z, v, probe),
            "promised_divergence": len(chunk.h[0]) * (var / v).sum(1, dtype=np.float64),
        }

    def _denoise(self, y: _Complex, v: _Real) -> tuple[_Complex, _Real, _Complex, _Real]:
        """Posterior mean and variance, and the coefficients and variances they are of."""
        if not self.prior.beamspace:
            v = np.tile(v.mean(1, keepdims=True), v.shape[1])
        z = self._coefficients(y)
        mean, var = self.prior.denoise(z, v)
        return mean, var, z, v

    def _coefficients(self, h: _Complex) -> _Complex:
        kept: _Complex = self.prior.basis.conj().T @ (to_beams(h) if self.prior.beamspace else h)
        return kept

    def _channels(self, mean: _Complex) -> _Complex:
        h: _Complex = self.prior.basis @ mean
        return to_antennas(h) if self.prior.beamspace else h


class Genie:
    """LMMSE with every channel's own path covariance and the noise of every beam."""

    name, slow, fingerprint = GENIE, False, ""
    parameters: int | None = None
    multiplications: int | None = None

    def __init__(self, setting: HeldOut) -> None:
        self._prior = GeniePrior(GaussianPrior(setting.subcarriers))
        self._known: Chunk | None = None
        self._seconds = 0.0

    def measure(self, chunk: Chunk, noise: str, snr: float) -> dict[str, npt.ArrayLike]:
        """Seconds, with those of its covariance, and squared errors, true and promised, of every channel."""
        if self._known is None or not np.array_equal(self._known.paths.phase, chunk.paths.phase):
            start = time.perf_counter()
            self._prior.reveal(np.arange(len(chunk)), chunk.paths, chunk.h.shape[2])
            self._seconds = (time.perf_counter() - start) / len(chunk)
            self._known = chunk
        y, v = chunk.observe(noise, snr)
        start = time.perf_counter()
        mean, var = self._prior.denoise(to_beams(y), v, np.arange(len(y)))  # its basis is the identity
        estimate = to_antennas(mean)
        seconds = self._seconds + (time.perf_counter() - start) / len(y)
        error = _energy(estimate - chunk.h)
        promised = chunk.h.shape[1] * var.sum(1, dtype=np.float64)
        return {"seconds": np.full(len(y), seconds), "error": error, "kept_error": error, "promised_error": promised}


Estimator = Baseline | Denoiser | Genie


def load_estimator(name: str, setting: HeldOut) -> Estimator:
    """Return an estimator of `BASELINES`, the genie, "gaussian", or a prior by name or file."""
    if name in BASELINES:
        return Baseline(name)
    if name == GENIE:
        return Genie(setting)
    return Denoiser(name, resolve_prior(name, setting.subcarriers), setting)


def divergence(prior: Any, z: _Complex, v: _Real, probe: _Complex) -> npt.NDArray[np.float64]:
    """Trace of the derivative of a prior's posterior mean f, by a Monte-Carlo probe.

    Parameters
    ----------
    prior : prior
    z : (B, P, M) complex64
        Noisy coefficients.
    v : (B, M) float32
        Their noise variances.
    probe : (B, P, M) complex64
        u, independent numbers of unit modulus and random phase.

    Returns
    -------
    ndarray of float64, shape (B,)
        Re u^H (f(z + d u) - f(z - d u)) / (2 d) with d a twentieth of the noise's standard deviation in every beam.

    Notes
    -----
    Its mean is the real trace of the Wirtinger derivative df/dz, half the sum of d Re f / d Re z and d Im f / d Im z.
    By Tweedie's formula, Cai (45), that of a posterior mean in complex noise of variance v is its posterior variance
    over v.
    """
    step = np.float32(_PROBE_STEP) * np.sqrt(v)[:, None, :]
    above, below = (prior.denoise(z + sign * step * probe, v)[0] for sign in (1, -1))
    slope = (probe.conj() * (above - below)).real / (2 * step)
    return np.asarray(slope.sum((1, 2)), np.float64)


def _describe(prior: Any, antennas: int) -> tuple[str, int | None, int | None]:
    """Fingerprint of a prior's weights, their number, and multiplications a channel; of a cascade the last one's."""
    prior = getattr(prior, "members", (prior,))[-1]
    network = getattr(prior, "network", None)
    if network is None:
        return "", None, None
    parameters = sum(int(p.numel()) for p in network.parameters())
    return fingerprint(prior), parameters, int(network.multiplications(antennas))


def _energy(h: _Complex) -> npt.NDArray[np.float64]:
    """Squared norm of every channel."""
    return np.asarray((h.real**2 + h.imag**2).sum((1, 2), dtype=np.float64))
