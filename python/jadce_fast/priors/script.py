"""The prior of a network in TorchScript, anyone's."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from .. import _check
from .protocol import Complex, Real, check_denoise
from .torchscript import compile_network, for_inference, load_module, run_network, save_module

_STATISTICS = ("basis", "eigenvalues", "beam_gain", "beam_weight", "beamspace")


class ScriptPrior:
    """A torch network with the statistics of its channel family. Other attributes as in `Prior`.

    ``forward(z, v) -> (mean, var)`` takes float32 tensors: noisy coefficients z (A, 2 P, M) of unit-power channels, P
    real parts, then P imaginary parts, and their complex noise variance v (A, M). It gives the posterior mean
    (A, 2 P, M) and the error variance (A, M), summed over coefficients and divided by N. It has to take any number A.

    Parameters
    ----------
    network : torch.nn.Module
        Scripted, or such that ``torch.jit.script`` takes it. It may hold the rest itself, as buffers or attributes of
        these names; files of ``jadce export`` do.
    basis : (N, P) array_like, optional
        Orthonormal columns over subcarriers.
    eigenvalues : (P,) array_like, optional
        Mean power of each coefficient per antenna.
    beam_gain, beam_weight : (G,) array_like, optional
        The mixture of powers of a beam.
    beamspace : bool, optional
        Whether the network works on beams, the unitary DFT over antennas, or on antennas.

    Raises
    ------
    TypeError, ValueError
        If the network cannot be scripted, or neither it nor the arguments say one of these.
    """

    closed_form = False

    def __init__(
        self,
        network: torch.nn.Module,
        *,
        basis: npt.ArrayLike | None = None,
        eigenvalues: npt.ArrayLike | None = None,
        beam_gain: npt.ArrayLike | None = None,
        beam_weight: npt.ArrayLike | None = None,
        beamspace: bool | None = None,
    ) -> None:
        if not isinstance(network, torch.nn.Module):
            raise TypeError(f"network: expected a torch module, found {type(network).__name__}")
        given: dict[str, Any] = dict(
            zip(_STATISTICS, (basis, eigenvalues, beam_gain, beam_weight, beamspace), strict=True)
        )
        for name, value in given.items():
            if value is None and not hasattr(network, name):
                raise ValueError(f"{name}: expected an attribute of the network or an argument, found neither")
        found = {name: getattr(network, name) if value is None else value for name, value in given.items()}
        self.beamspace = found.pop("beamspace")
        arrays = {name: x.detach().cpu().numpy() if torch.is_tensor(x) else x for name, x in found.items()}
        self.basis: Complex = _check.owned("basis", arrays["basis"], ("N", "P"), np.complex64)
        self.subcarriers = len(self.basis)
        lengths = {"eigenvalues": self.basis.shape[1], "beam_gain": "G", "beam_weight": np.size(arrays["beam_gain"])}
        self.eigenvalues, self.beam_gain, self.beam_weight = (
            _check.owned(name, arrays[name], (length,), np.float32) for name, length in lengths.items()
        )
        self.network = for_inference(network)
        try:
            self.compiled: Any = compile_network(self.network)
        except (RuntimeError, TypeError, NotImplementedError) as error:  # torch has a dozen reasons
            raise TypeError(f"network: expected one that torch.jit.script takes, found another: {error}") from None

    @classmethod
    def of(cls, prior: Any) -> ScriptPrior:
        """The network of any prior that has one, with the prior's statistics."""
        return cls(prior.network, **{name: getattr(prior, name) for name in _STATISTICS})

    def __reduce__(self) -> tuple[Any, ...]:
        """Let pickle and copy compile anew: TorchScript travels as a file."""
        arrays = {name: getattr(self, name) for name in _STATISTICS}
        return functools.partial(_unpack, save_module(self.network), **arrays), ()

    def denoise(
        self, z: npt.ArrayLike, noise_var: npt.ArrayLike, devices: npt.ArrayLike | None = None
    ) -> tuple[Complex, Real]:
        """Posterior mean and error variance by the network; see `Prior.denoise`.

        Raises
        ------
        ValueError
            If the network fails.
        """
        noisy, v = check_denoise(z, noise_var, len(self.eigenvalues))
        try:
            return run_network(self.compiled, noisy, v)
        except (RuntimeError, TypeError, ValueError, AttributeError) as error:
            raise ValueError(
                f"prior: expected a network forward(z {(len(v), 2 * noisy.shape[1], noisy.shape[2])}, v {v.shape}) -> "
                f"(mean, var), found one that fails: {str(error).strip().splitlines()[-1]}"
            ) from error


def _unpack(content: bytes, **arrays: Any) -> ScriptPrior:
    return ScriptPrior(load_module(content), **arrays)
