"""Priors: what a receiver knows about an active device's channel. Trained ones are safetensors files."""

from __future__ import annotations

import functools
import json
import os
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import safetensors
import safetensors.torch
import torch

from .. import _check
from .beam_network import BeamNetwork
from .cell import CellPrior
from .cell_network import CellNetwork
from .cell_score import CellScorePrior
from .ncsn_network import ScoreNetwork
from .torchscript import compile_network

_FORMAT, _VERSION = "jadce-prior", 1
_KINDS = ("beam", "score", "cell")  # of networks
_CELL = "cell-"  # what the names of shipped networks of a cell begin with
_CHUNK = 64  # devices that a score network denoises at once, which bounds its memory
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
        return _run(self._compiled, *_check_denoise(z, v, len(self.eigenvalues)))

    @functools.cached_property
    def _compiled(self) -> Any:
        return compile_network(self.network)  # takes a second, and receivers have a native kernel for these


class ScorePrior:
    """The paper's pair of score networks (Cai IV), on antennas and all subcarriers. Attributes as in `Prior`.

    The networks know white noise only: of a device's noise variances they are told the mean.
    """

    beamspace = False

    def __init__(self, network: ScoreNetwork, metadata: dict[str, Any]) -> None:
        self.subcarriers, self.metadata = network.subcarriers, metadata
        self.basis, self.eigenvalues, self.beam_gain, self.beam_weight = _unstructured(self.subcarriers)
        self.network = network.eval().requires_grad_(False)
        self._compiled = compile_network(self.network)  # now: a detection shall not wait for it

    def denoise(
        self, z: npt.ArrayLike, v: npt.ArrayLike, devices: npt.ArrayLike | None = None
    ) -> tuple[_Complex, _Real]:
        """Posterior mean and error variance by Tweedie's formulas; see `Prior.denoise`, with antennas for beams."""
        z, v = _check_denoise(z, v, self.subcarriers)
        starts = range(0, max(len(z), 1), _CHUNK)
        means, variances = zip(
            *[_run(self._compiled, z[i : i + _CHUNK], v[i : i + _CHUNK]) for i in starts], strict=True
        )
        return np.concatenate(means), np.concatenate(variances)


class GaussianPrior:
    """Independent CN(0, 1) entries, the channel model of BG-TMP. Attributes and `denoise` as in `Prior`.

    Equal antennas need no beams: the receiver works on antennas, as the paper does, where the noise is white.
    """

    beamspace = False
    closed_form = True

    def __init__(self, subcarriers: int) -> None:
        self.subcarriers = _check.integer("subcarriers", subcarriers, 1)
        self.basis, self.eigenvalues, self.beam_gain, self.beam_weight = _unstructured(self.subcarriers)

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
    network: BeamNetwork | ScoreNetwork | CellNetwork,
    basis: npt.ArrayLike | None = None,
    beam_gain: npt.ArrayLike | None = None,
    beam_weight: npt.ArrayLike | None = None,
    cell: CellPrior | None = None,
    metadata: dict[str, Any],
) -> None:
    """Write a prior to one safetensors file, atomically.

    Parameters
    ----------
    path : path
        File to write.
    network, basis, beam_gain, beam_weight : see `Prior`
        Its parts. Of a score network's prior the network alone is written: the rest is fixed.
    cell : CellPrior, optional
        With a `CellNetwork`: the cell it was trained on; its power is not kept.
    metadata : dict
        Anything JSON can hold: recipe, seed, measured curve, licence.

    Raises
    ------
    TypeError
        If a beam network comes without basis, gains or weights, or a cell's without the cell.
    """
    tensors = {f"network.{k}": value.detach().cpu().contiguous() for k, value in network.state_dict().items()}
    kind = {CellNetwork: "cell", ScoreNetwork: "score"}.get(type(network), "beam")
    if kind == "beam":
        for name, value in (("basis", basis), ("beam_gain", beam_gain), ("beam_weight", beam_weight)):
            if value is None:
                raise TypeError(f"{name}: expected an array with a beam network, found None")
        columns = np.asarray(basis)
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
        "network": kind,
        "subcarriers": str(network.subcarriers),
        "architecture": json.dumps(network.architecture),
        "metadata": json.dumps(metadata),
    }
    if kind == "cell":
        if cell is None:
            raise TypeError("cell: expected a CellPrior with a cell's network, found None")
        header["cell"] = json.dumps({"activity_rate": cell.activity_rate, "inner": cell.inner, "outer": cell.outer})
    part = Path(f"{os.fspath(path)}.part")
    part.write_bytes(safetensors.torch.save(tensors, header))
    os.replace(part, path)


def shipped_priors() -> list[str]:
    """Names of the channel priors that come with the package, which :class:`jadce_fast.Receiver` takes."""
    return [name for name in _shipped() if not name.startswith(_CELL)]


def shipped_cell_priors() -> list[str]:
    """Names of the score networks of a cell that come with it, which :class:`jadce_fast.LangevinReceiver` takes."""
    return [name for name in _shipped() if name.startswith(_CELL)]


def _shipped() -> list[str]:
    folder = resources.files(__package__) / "weights"
    return sorted(f.name.removesuffix(".safetensors") for f in folder.iterdir() if _is_weights(f.name))


def load_prior(name_or_path: str | os.PathLike[str]) -> Prior | ScorePrior:
    """Load a shipped prior by name, or one from a file. No code from the file is executed.

    Parameters
    ----------
    name_or_path : str or path
        A name of `shipped_priors`, such as ``"cdl"``, or a path: anything that ends in ``.safetensors`` or
        has a directory in it.

    Returns
    -------
    Prior or ScorePrior
        By the network that the file holds.

    Raises
    ------
    TypeError
        If `name_or_path` is neither a string nor a path.
    FileNotFoundError
        If there is no such file.
    ValueError
        If there is no such name, or the file is damaged, no prior, of a later version of the format, with a network
        that this release does not know, or with one of a cell (`load_cell_prior` reads it).
    """
    prior = _load(name_or_path, shipped_priors())
    if isinstance(prior, CellScorePrior):
        raise ValueError(
            f"prior: expected a channel prior, found {str(name_or_path)!r}, a cell's score network, which "
            "LangevinReceiver takes"
        )
    return prior


def load_cell_prior(name_or_path: str | os.PathLike[str]) -> CellScorePrior:
    """Load a cell's score network: a shipped one by name, ``"cell-refinenet"``, or a file of ``jadce train``.

    Raises
    ------
    TypeError, FileNotFoundError, ValueError
        As `load_prior`; also if the file holds a channel prior.
    """
    prior = _load(name_or_path, shipped_cell_priors())
    if not isinstance(prior, CellScorePrior):
        raise ValueError(
            f"prior: expected a cell's score network ({', '.join(shipped_cell_priors())} or a file), "
            f"found {str(name_or_path)!r}, a channel prior, which Receiver takes"
        )
    return prior


def load_any(name_or_path: str | os.PathLike[str]) -> Prior | ScorePrior | CellScorePrior:
    """Load a prior of either kind; errors as `load_prior`."""
    return _load(name_or_path, _shipped())


def _load(name_or_path: str | os.PathLike[str], names: list[str]) -> Prior | ScorePrior | CellScorePrior:
    if not isinstance(name_or_path, (str, os.PathLike)):
        raise TypeError(f"prior: expected a name or a path, found {type(name_or_path).__name__}")
    text = str(os.fspath(name_or_path))
    shipped = ", ".join(names)
    if isinstance(name_or_path, str) and not _is_weights(text) and os.path.basename(text) == text:
        if text not in _shipped():
            raise ValueError(f"prior: expected one of {shipped} or a .safetensors file, found {text!r}")
        with resources.as_file(resources.files(__package__) / "weights" / f"{text}.safetensors") as path:
            return _read(path, shipped)
    if not os.path.isfile(text):
        raise FileNotFoundError(f"prior: expected one of {shipped} or a .safetensors file, found none at {text!r}")
    return _read(Path(text), shipped)


def _is_weights(name: str) -> bool:
    return name.endswith(".safetensors")


def _read(path: Path, shipped: str) -> Prior | ScorePrior | CellScorePrior:
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
    if header.get("network", "beam") not in _KINDS:
        expected = " or ".join(map(repr, _KINDS))
        raise ValueError(f"{wanted} {str(path)!r} with network {header['network']!r}; expected {expected}")
    try:
        return _assemble(header, tensors)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"{wanted} inconsistent file {str(path)!r}: {error}") from None


def _assemble(header: dict[str, str], tensors: dict[str, torch.Tensor]) -> Prior | ScorePrior | CellScorePrior:
    for name, tensor in tensors.items():
        if tensor.dtype != torch.float32 or not bool(torch.isfinite(tensor).all()):
            raise ValueError(f"{name} holds {tensor.dtype} or numbers that are not finite")
    subcarriers = int(header["subcarriers"])
    architecture, metadata = json.loads(header["architecture"]), json.loads(header["metadata"])
    weights = {name.removeprefix("network."): value for name, value in tensors.items() if name.startswith("network.")}
    if header.get("network") == "score":
        with torch.device("meta"):  # allocates nothing, however wide the header says
            pair = ScoreNetwork(subcarriers, **architecture)
        pair.load_state_dict(weights, assign=True)
        return ScorePrior(pair, metadata)
    if header.get("network") == "cell":
        with torch.device("meta"):
            cell_network = CellNetwork(**architecture)
        cell_network.load_state_dict(weights, assign=True)
        return CellScorePrior(cell_network, CellPrior(**json.loads(header["cell"])), metadata)
    p = len(weights["eigenvalues"])
    network = BeamNetwork(weights["eigenvalues"], subcarriers, **architecture)
    network.load_state_dict(weights)
    basis = tensors["basis.real"].numpy() + 1j * tensors["basis.imag"].numpy()
    gain, weight = tensors["beam_gain"].numpy(), tensors["beam_weight"].numpy()
    if basis.shape != (subcarriers, p) or gain.ndim != 1 or gain.shape != weight.shape:
        raise ValueError(f"basis {basis.shape}, beam_gain {gain.shape}, beam_weight {weight.shape}")
    if bool((weights["eigenvalues"] <= 0).any()) or (gain <= 0).any() or (weight < 0).any():
        raise ValueError("eigenvalues, beam_gain and beam_weight must be positive")
    return Prior(network, basis.astype(np.complex64), gain, weight, metadata)


def _unstructured(subcarriers: int) -> tuple[_Complex, _Real, _Real, _Real]:
    """Basis, eigenvalues, beam gain and weight without a Karhunen-Loeve basis and a mixture."""
    return (
        np.eye(subcarriers, dtype=np.complex64),
        np.ones(subcarriers, np.float32),
        np.ones(1, np.float32),
        np.ones(1, np.float32),
    )


def _run(compiled: Any, z: _Complex, v: _Real) -> tuple[_Complex, _Real]:
    with torch.inference_mode():
        mean, var = compiled(torch.from_numpy(np.concatenate([z.real, z.imag], 1)), torch.from_numpy(v))
    real, imag = np.split(mean.numpy(), 2, axis=1)
    return (real + 1j * imag).astype(np.complex64), var.numpy()


def _check_denoise(z: npt.ArrayLike, v: npt.ArrayLike, coefficients: int) -> tuple[_Complex, _Real]:
    noisy: _Complex = _check.array("z", z, (None, coefficients, None), np.complex64)
    noise: _Real = _check.array("v", v, (noisy.shape[0], noisy.shape[2]), np.float32)
    if not (noise > 0).all():
        raise ValueError(f"v: expected positive variances, found {noise.min():g}")
    return noisy, noise
