"""Priors as receivers ask for them, of OFDM channels and of the columns of a cell, and the checks of them."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from .. import _check

Complex = npt.NDArray[np.complex64]
Real = npt.NDArray[np.float32]


class Prior(Protocol):
    """Prior of an active device's channel for :class:`jadce_fast.Receiver`; any object of this form will do.

    Attributes
    ----------
    subcarriers : int
        N.
    basis : (N, P) complex64
        Basis over subcarriers, such as the Karhunen-Loeve one, orthonormal columns.
    eigenvalues : (P,) float32
        Mean power of each coefficient per antenna for a unit-power channel, positive.
    beam_gain, beam_weight : (G,) float32
        Under "active", coefficient p of a beam is CN(0, g eigenvalues[p]) with a power g from this mixture; positive.
    beamspace : bool
        Whether `denoise` works on beams, the unitary DFT over antennas; otherwise on antennas.
    exact : bool, optional
        Whether the variance that `denoise` gives is that of its model, not a network's: no caution is needed then.
    closed_form : bool
        Whether `denoise` is the Wiener estimate z / (1 + v) of independent CN(0, 1) entries and its variance
        v / (1 + v), which a receiver then computes itself, trusting the variance as exact.
    """

    subcarriers: int
    basis: Complex
    eigenvalues: Real
    beam_gain: Real
    beam_weight: Real
    beamspace: bool
    closed_form: bool

    def denoise(
        self, z: npt.ArrayLike, noise_var: npt.ArrayLike, devices: npt.ArrayLike | None = None
    ) -> tuple[Complex, Real]:
        """Posterior mean and error variance of the unit-power channels of A active devices.

        Parameters
        ----------
        z : (A, P, M) complex64
            Noisy coefficients in the basis, of beams or of antennas.
        noise_var : (A, M) float32
            Their complex noise variance in every beam or antenna, positive, in units of the channel's mean power.
        devices : (A,) int64, optional
            Which devices these are, for priors that know them apart; others leave it alone.

        Returns
        -------
        mean : (A, P, M) complex64
            Posterior mean.
        var : (A, M) float32
            Posterior error variance per beam or antenna, summed over coefficients and divided by N.

        Raises
        ------
        TypeError, ValueError
            For arguments of another shape or type, not finite, or noise that is not positive.
        """


class ColumnPrior(Protocol):
    """Prior of a device's column of X for :class:`jadce_fast.LangevinReceiver`; any object of this form will do.

    Attributes
    ----------
    unit : float
        Root mean square of an entry of X, inactive devices included.
    takes_tensors : bool
        Whether `posterior` takes torch tensors of any device too, and answers with tensors there. Otherwise a receiver
        on a GPU copies every state to the host and back.
    """

    @property
    def unit(self) -> float:
        """See above."""

    @property
    def takes_tensors(self) -> bool:
        """See above."""

    def with_power(self, power: float | None) -> ColumnPrior:
        """The same prior for active devices of another mean power per entry; None: the one where `unit` is one."""

    def posterior(self, columns: Any, noise_var: Any) -> tuple[Any, Any, Any]:
        """Posterior of columns in white noise.

        Parameters
        ----------
        columns : ndarray of complex128, shape (..., K, M)
            Columns of X plus noise, one for every device.
        noise_var : ndarray of float64, shape (..., K)
            Complex noise variance per entry of each column, positive.

        Returns
        -------
        mean : ndarray of complex128, shape (..., K, M)
        variance : ndarray of float64, shape (..., K)
            Posterior variance per entry, averaged over the M entries.
        probability : ndarray of float64, shape (..., K)
            Posterior probability that the device is active.
        """


def check_prior(prior: Any, subcarriers: int) -> Any:
    """Return a prior that a receiver on `subcarriers` can work with, or raise.

    Raises
    ------
    TypeError
        If it is no object of the form of `Prior`.
    ValueError
        If it is one of other subcarriers, or its arrays do not fit each other or are not positive.
    """
    if isinstance(prior, type) or not hasattr(prior, "denoise"):
        other = ", a cell's prior, which LangevinReceiver takes" if hasattr(prior, "posterior") else ""
        raise TypeError(f"prior: expected a name, a file or a prior object, found {type(prior).__name__}{other}")
    for name in ("subcarriers", "basis", "eigenvalues", "beam_gain", "beam_weight"):
        if not hasattr(prior, name):
            raise TypeError(f"prior.{name}: expected this attribute, {type(prior).__name__} has none")
    for name in ("beamspace", "closed_form"):
        flag = getattr(prior, name, None)
        if not isinstance(flag, bool):
            raise TypeError(f"prior.{name}: expected True or False, found {flag!r}")
    if prior.subcarriers != subcarriers:
        raise ValueError(
            f"prior: expected one for {subcarriers} subcarriers like the pilots, found {prior.subcarriers}"
        )
    basis = _check.array("prior.basis", prior.basis, (subcarriers, "P"), np.complex64)
    for name, length in (("eigenvalues", basis.shape[1]), ("beam_gain", "G"), ("beam_weight", "G")):
        value = _check.array(f"prior.{name}", getattr(prior, name), (length,), np.float32)
        if value.size == 0 or value.min() <= 0:
            raise ValueError(f"prior.{name}: expected positive numbers, found {value}")
    return prior


def check_column_prior(prior: Any) -> ColumnPrior:
    """Return a prior that a Langevin receiver can work with, or raise TypeError."""
    names = ("posterior", "with_power", "unit", "takes_tensors")
    if isinstance(prior, type) or not all(hasattr(prior, name) for name in names):
        other = ", a prior of OFDM channels, which Receiver takes" if hasattr(prior, "denoise") else ""
        raise TypeError(
            f"prior: expected 'cell', a name, a file or an object with {', '.join(names)}, "
            f"found {type(prior).__name__}{other}"
        )
    checked: ColumnPrior = prior
    return checked


def check_denoise(z: npt.ArrayLike, noise_var: npt.ArrayLike, coefficients: int) -> tuple[Complex, Real]:
    """Return the arguments of `Prior.denoise` as arrays, or raise."""
    noisy: Complex = _check.array("z", z, (None, coefficients, None), np.complex64)
    noise: Real = _check.array("noise_var", noise_var, (noisy.shape[0], noisy.shape[2]), np.float32)
    if not (noise > 0).all():
        raise ValueError(f"noise_var: expected positive variances, found {noise.min():g}")
    return noisy, noise


def unstructured(subcarriers: int) -> tuple[Complex, Real, Real, Real]:
    """Basis, eigenvalues, beam gain and weight of a prior without a Karhunen-Loeve basis and a mixture."""
    return (
        np.eye(subcarriers, dtype=np.complex64),
        np.ones(subcarriers, np.float32),
        np.ones(1, np.float32),
        np.ones(1, np.float32),
    )
