"""Priors: what a receiver knows about an active device's channel. Trained ones are safetensors files."""

from __future__ import annotations

import json
import os
import warnings
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import safetensors
import safetensors.torch
import torch

from . import _check
from .network import BeamNetwork

_FORMAT, _VERSION = "jadce-prior", 1
_Complex = npt.NDArray[np.complex64]
_Real = npt.NDArray[np.float32]


class Prior:
    """A beam network with the statistics of its channel family.

    Attributes
    ----------
    subcarriers : int
        N.
    basis : (N, P) complex64
        Karhunen-Loeve basis over subcarriers, orthonormal columns.
    eigenvalues : (P,) float32
        Mean power of each coefficient per antenna for a unit-power channel.
    beam_gain, beam_weight : (G,) float32
        Under "active", coefficient p of a beam is CN(0, g eigenvalues[p]) with a power g from this mixture.
    network : BeamNetwork
        The denoiser, an eager module in evaluation mode on the CPU.
    metadata : dict
        How the prior was made and what was measured.
    """

    def __init__(
        self,
        network: BeamNetwork,
        basis: _Complex,
        beam_gain: _Real,
        beam_weight: _Real,
        metadata: dict[str, Any],
    ) -> None:
        self.subcarriers, self.basis = network.subcarriers, basis
        self.eigenvalues: _Real = network.eigenvalues.numpy().copy()
        self.beam_gain, self.beam_weight, self.metadata = beam_gain, beam_weight, metadata
        self.network = network.eval().requires_grad_(False)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", category=DeprecationWarning)  # TorchScript has no successor
            self._compiled = torch.jit.freeze(torch.jit.script(self.network))

    def denoise(
        self, z: npt.ArrayLike, v: npt.ArrayLike, devices: npt.ArrayLike | None = None
    ) -> tuple[_Complex, _Real]:
        """Posterior mean and error variance of unit-power channels.

        Parameters
        ----------
        z : (A, P, M) complex64
            Noisy KLT coefficients in beamspace.
        v : (A, M) float32
            Complex noise variance of every beam, positive.
        devices : (A,) int64, optional
            Which devices these are; not used.

        Returns
        -------
        mean : (A, P, M) complex64
            Posterior mean.
        var : (A, M) float32
            Posterior error variance, summed over coefficients and divided by the number of subcarriers.

        Raises
        ------
        TypeError, ValueError
            For arguments of another shape or type, not finite, or noise that is not positive.
        """
        z, v = _check_denoise(z, v, len(self.eigenvalues))
        with torch.inference_mode():
            mean, var = self._compiled(torch.from_numpy(np.concatenate([z.real, z.imag], 1)), torch.from_numpy(v))
        real, imag = np.split(mean.numpy(), 2, axis=1)
        return (real + 1j * imag).astype(np.complex64), var.numpy()


class GaussianPrior:
    """Independent CN(0, 1) entries, the channel model of BG-TMP. Attributes and `denoise` as in `Prior`.

    Equal antennas need no beams: the receiver works on antennas, as the paper does, where the noise is white.
    """

    beamspace = False
    closed_form = True

    def __init__(self, subcarriers: int) -> None:
        self.subcarriers = _check.integer("subcarriers", subcarriers, 1)
        self.basis: _Complex = np.eye(self.subcarriers, dtype=np.complex64)
        self.eigenvalues: _Real = np.ones(self.subcarriers, np.float32)
        self.beam_gain: _Real = np.ones(1, np.float32)
        self.beam_weight: _Real = np.ones(1, np.float32)

    def denoise(
        self, z: npt.ArrayLike, v: npt.ArrayLike, devices: npt.ArrayLike | None = None
    ) -> tuple[_Complex, _Real]:
        """Wiener estimate z / (1 + v) and its error variance v / (1 + v); see `Prior.denoise`."""
        z, v = _check_denoise(z, v, self.subcarriers)
        return z / (1 + v[:, None, :]), v / (1 + v)


def gaussian_prior(subcarriers: int) -> GaussianPrior:
    """The i.i.d. Gaussian prior over `subcarriers`."""
    return GaussianPrior(subcarriers)


def save_prior(
    path: str | os.PathLike[str],
    *,
    network: BeamNetwork,
    basis: npt.ArrayLike,
    beam_gain: npt.ArrayLike,
    beam_weight: npt.ArrayLike,
    metadata: dict[str, Any],
) -> None:
    """Write a prior to one safetensors file, atomically.

    Parameters
    ----------
    path : path
        File to write.
    network, basis, beam_gain, beam_weight : see `Prior`
        Its parts.
    metadata : dict
        Anything JSON can hold: recipe, seed, measured curve, licence.
    """
    columns = np.asarray(basis)
    tensors = {f"network.{k}": value.detach().cpu().contiguous() for k, value in network.state_dict().items()}
    for name, value in (
        ("basis.real", columns.real),
        ("basis.imag", columns.imag),
        ("beam_gain", beam_gain),
        ("beam_weight", beam_weight),
    ):
        tensors[name] = torch.from_numpy(np.array(value, np.float32, order="C"))
    header = {
        "format": _FORMAT,
        "version": str(_VERSION),
        "subcarriers": str(network.subcarriers),
        "architecture": json.dumps(network.architecture),
        "metadata": json.dumps(metadata),
    }
    part = Path(f"{os.fspath(path)}.part")
    part.write_bytes(safetensors.torch.save(tensors, header))
    os.replace(part, path)


def shipped_priors() -> list[str]:
    """Names of the priors that come with the package."""
    folder = resources.files("jadce_fast") / "weights"
    return sorted(f.name.removesuffix(".safetensors") for f in folder.iterdir() if _is_weights(f.name))


def load_prior(name_or_path: str | os.PathLike[str]) -> Prior:
    """Load a shipped prior by name, or one from a file. No code from the file is executed.

    Parameters
    ----------
    name_or_path : str or path
        A name of `shipped_priors`, such as ``"cdl"``, or a path: anything that ends in ``.safetensors`` or
        has a directory in it.

    Returns
    -------
    Prior

    Raises
    ------
    TypeError
        If `name_or_path` is neither a string nor a path.
    FileNotFoundError
        If there is no such file.
    ValueError
        If there is no such name, or the file is damaged, no prior, or of a later version of the format.
    """
    if not isinstance(name_or_path, (str, os.PathLike)):
        raise TypeError(f"prior: expected a name or a path, found {type(name_or_path).__name__}")
    text = str(os.fspath(name_or_path))
    shipped = ", ".join(shipped_priors())
    if isinstance(name_or_path, str) and not _is_weights(text) and os.path.basename(text) == text:
        if text not in shipped_priors():
            raise ValueError(f"prior: expected one of {shipped} or a .safetensors file, found {text!r}")
        with resources.as_file(resources.files("jadce_fast") / "weights" / f"{text}.safetensors") as path:
            return _read(path, shipped)
    if not os.path.isfile(text):
        raise FileNotFoundError(f"prior: expected one of {shipped} or a .safetensors file, found none at {text!r}")
    return _read(Path(text), shipped)


def _is_weights(name: str) -> bool:
    return name.endswith(".safetensors")


def _read(path: Path, shipped: str) -> Prior:
    wanted = f"prior: expected a {_FORMAT} file (shipped: {shipped}), found"
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}
    except (safetensors.SafetensorError, OSError) as error:
        raise ValueError(f"{wanted} damaged file {str(path)!r}: {error}") from None
    if header.get("format") != _FORMAT:
        raise ValueError(f"{wanted} {str(path)!r} of format {header.get('format')!r}")
    if header.get("version") != str(_VERSION):
        found = header.get("version")
        raise ValueError(f"{wanted} {str(path)!r} of version {found}; this release reads version {_VERSION}")
    try:
        return _assemble(header, tensors)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"{wanted} inconsistent file {str(path)!r}: {error}") from None


def _assemble(header: dict[str, str], tensors: dict[str, torch.Tensor]) -> Prior:
    for name, tensor in tensors.items():
        if tensor.dtype != torch.float32 or not bool(torch.isfinite(tensor).all()):
            raise ValueError(f"{name} holds {tensor.dtype} or numbers that are not finite")
    subcarriers = int(header["subcarriers"])
    weights = {name.removeprefix("network."): value for name, value in tensors.items() if name.startswith("network.")}
    p = len(weights["eigenvalues"])
    network = BeamNetwork(weights["eigenvalues"], subcarriers, **json.loads(header["architecture"]))
    network.load_state_dict(weights)
    basis = tensors["basis.real"].numpy() + 1j * tensors["basis.imag"].numpy()
    gain, weight = tensors["beam_gain"].numpy(), tensors["beam_weight"].numpy()
    if basis.shape != (subcarriers, p) or gain.ndim != 1 or gain.shape != weight.shape:
        raise ValueError(f"basis {basis.shape}, beam_gain {gain.shape}, beam_weight {weight.shape}")
    if bool((weights["eigenvalues"] <= 0).any()) or (gain <= 0).any() or (weight < 0).any():
        raise ValueError("eigenvalues, beam_gain and beam_weight must be positive")
    return Prior(network, basis.astype(np.complex64), gain, weight, json.loads(header["metadata"]))


def _check_denoise(z: npt.ArrayLike, v: npt.ArrayLike, coefficients: int) -> tuple[_Complex, _Real]:
    noisy: _Complex = _check.array("z", z, (None, coefficients, None), np.complex64)
    noise: _Real = _check.array("v", v, (noisy.shape[0], noisy.shape[2]), np.float32)
    if not (noise > 0).all():
        raise ValueError(f"v: expected positive variances, found {noise.min():g}")
    return noisy, noise
