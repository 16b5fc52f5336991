"""A prior seen on some of its subcarriers only."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from .protocol import Complex, Real, check_denoise

Indices = npt.NDArray[np.int64]

_DETERMINED = 1e-7  # power of a coefficient, over the greatest one's, below which it is left out
_TYPICAL_NOISE = 1e-2  # of a subcarrier, at which `imbalance` compares errors


class RestrictedPrior:
    """A prior of channels on N subcarriers for those who observe only some of them. Other attributes as in `Prior`.

    The prior's coefficients have no orthonormal basis there. This one has the Karhunen-Loeve basis of the restricted
    channels, and denoises with the mixture of beam powers that the prior's activity test uses: its posterior is exact
    for any basis, where a network has learned that of all subcarriers.

    Parameters
    ----------
    prior : Prior
    subcarriers : array_like of int, shape (N',)
        The observed ones.

    Attributes
    ----------
    extend : ndarray of complex128, shape (N, N')
        Conditional mean of a channel on all subcarriers, from its posterior mean on the observed ones.
    stretch : ndarray of float64, shape (P,)
        Error variance that an error of one in a coefficient makes there, summed over all N.
    rest : float
        Variance per subcarrier that the observed ones leave of a unit-power channel.
    """

    closed_form = False

    def __init__(self, prior: Any, subcarriers: Indices) -> None:
        root = np.asarray(prior.basis, np.complex128) * np.sqrt(np.asarray(prior.eigenvalues, np.float64))
        self.beamspace, self.subcarriers, self.places = prior.beamspace, len(subcarriers), subcarriers.tolist()
        self.beam_gain, self.beam_weight = prior.beam_gain, prior.beam_weight
        basis, size, turn = np.linalg.svd(root[subcarriers], full_matrices=False)
        kept = size**2 > _DETERMINED * size[0] ** 2
        back = root @ turn[kept].conj().T / size[kept]  # (N, P)
        self.basis: Complex = basis[:, kept].astype(np.complex64)
        self.eigenvalues: Real = (size[kept] ** 2).astype(np.float32)
        self.extend = back @ basis[:, kept].conj().T
        self.stretch = (np.abs(back) ** 2).sum(0)
        self.rest = max(float(np.sum(np.abs(root) ** 2) - self.stretch @ size[kept] ** 2), 0.0) / len(root)

    def imbalance(self, noise_var: float = _TYPICAL_NOISE) -> float:
        """Mean error variance over all subcarriers, over that of the observed ones."""
        error = self._errors(noise_var)
        return float((self.stretch @ error / len(self.extend) + self.rest) / (error.sum() / self.subcarriers))

    def extended_var(self, var: Real, power: Real) -> Real:
        """Mean variance over all subcarriers (A,) from that of the observed ones (A,), of channels of this power (A,).

        The noise is that at which Wiener filters err as much.
        """
        share = np.clip(var / power, 1e-12, 1)
        noise = np.geomspace(1e-12, 1e6, 200)
        errors = np.array([self._errors(v) for v in noise])  # (V, P)
        at = np.argmin(np.abs(np.log(errors.sum(1) / self.subcarriers) - np.log(share)[:, None]), axis=1)
        scale = share * self.subcarriers / errors[at].sum(1)
        whole = (errors[at] @ self.stretch * scale / len(self.extend) + self.rest) * power
        return np.asarray(whole, np.float32)

    def _errors(self, noise_var: float) -> npt.NDArray[np.float64]:
        return self.eigenvalues.astype(np.float64) * noise_var / (self.eigenvalues + noise_var)

    def denoise(
        self, z: npt.ArrayLike, noise_var: npt.ArrayLike, devices: npt.ArrayLike | None = None
    ) -> tuple[Complex, Real]:
        """Posterior mean and error variance under the mixture of beam powers; see `Prior.denoise`."""
        noisy, noise = check_denoise(z, noise_var, len(self.eigenvalues))
        energy = np.abs(noisy.astype(np.complex128)) ** 2
        snr = (
            np.asarray(self.beam_gain, np.float64)[:, None, None, None] * self.eigenvalues[:, None] / noise[:, None, :]
        )
        log = (energy / noise[:, None, :] * (snr / (1 + snr)) - np.log1p(snr)).sum(2)  # (G, A, M)
        log += np.log(np.asarray(self.beam_weight, np.float64))[:, None, None]
        weight = np.exp(log - np.logaddexp.reduce(log, axis=0))
        wiener = snr / (1 + snr)
        gain = (weight[:, :, None] * wiener).sum(0)  # (A, P, M)
        spread = (weight[:, :, None] * wiener**2).sum(0) - gain**2
        var = (gain * noise[:, None, :] + spread * energy).sum(1) / self.subcarriers
        return (gain * noisy).astype(np.complex64), var.astype(np.float32)
