"""Files of trained priors, safetensors, and the priors that come with the package, by name."""

from __future__ import annotations

import json
import math
import os
from dataclasses import asdict
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar, cast

import numpy as np
import safetensors
import safetensors.numpy

from .. import _extras
from ..files import write_atomically
from .beam import BeamPrior
from .beam_weights import BeamWeights
from .beams import BeamsPrior
from .cascade import CascadePrior
from .gaussian import GaussianPrior
from .grids import SPACING, on_grid
from .protocol import Real

if TYPE_CHECKING:
    from .cell_network_prior import CellNetworkPrior
    from .ncsn import NcsnPrior
    from .script import ScriptPrior

_FORMAT, _VERSION = "jadce-prior", 1
_KINDS = ("beam", "ncsn", "cell")  # networks, as the priors' attribute `kind` and files call them
_CASCADE, _JOIN = "cascade", "+"  # the kind in a file; what names of members are joined by
_WEIGHTS, _SCRIPT = ".safetensors", ".pt"
_CELL = "cell-"  # names of shipped networks of a cell begin so
T = TypeVar("T")
AnyPrior: TypeAlias = "BeamPrior | NcsnPrior | CellNetworkPrior | CascadePrior | ScriptPrior"


def save_prior(path: str | os.PathLike[str], prior: AnyPrior) -> None:
    """Write a prior to one safetensors file, atomically; the metadata may be anything that JSON can hold.

    Of a `BeamPrior` network, basis and beam powers are written, of an `NcsnPrior` the networks, of a cell's prior the
    network and the cell without its power, of a `CascadePrior` its members.

    Raises
    ------
    TypeError
        If `prior` is none of these.
    """
    if isinstance(prior, CascadePrior):
        header = {"members": str(len(prior.members)), "network": _CASCADE}
        tensors: dict[str, Real] = {}
        for i, member in enumerate(prior.members):
            words, arrays = _parts(member)
            header |= {f"{i}.{key}": value for key, value in words.items()}
            tensors |= {f"{i}.{key}": value for key, value in arrays.items()}
    else:
        header, tensors = _parts(prior)
    with write_atomically(path) as part:
        part.write_bytes(safetensors.numpy.save(tensors, {"format": _FORMAT, "version": str(_VERSION)} | header))


def _parts(prior: Any) -> tuple[dict[str, str], dict[str, Real]]:
    """Header and tensors of one network's prior."""
    kind = getattr(prior, "kind", None)
    if getattr(prior, "bands", 1) > 1:
        raise ValueError(f"prior: expected one of one band, found one of {prior.bands}; jadce train makes one of all")
    if kind not in _KINDS:
        wanted = "BeamPrior, NcsnPrior or a cell's network prior"
        raise TypeError(f"prior: expected a {wanted}, found {type(prior).__name__}")
    if isinstance(prior, BeamPrior):
        network: Any = prior.weights
        weights = network.arrays
        parts = {"basis.real": prior.basis.real, "basis.imag": prior.basis.imag}
        parts |= {"beam_gain": prior.beam_gain, "beam_weight": prior.beam_weight}
    else:
        network, parts = prior.network, {}
        weights = {name: value.detach().cpu().numpy() for name, value in network.state_dict().items()}
    parts |= {f"network.{name}": value for name, value in weights.items()}
    header = {
        "network": str(kind),
        "subcarriers": str(network.subcarriers),
        "architecture": json.dumps(network.architecture),
        "metadata": json.dumps(prior.metadata),
    }
    if kind == "cell":
        header["cell"] = json.dumps({k: v for k, v in asdict(prior.cell).items() if k != "power"})
    return header, {name: np.array(value, np.float32, order="C") for name, value in parts.items()}


def shipped_priors() -> list[str]:
    """Names of the channel priors that come with the package, which :class:`jadce_fast.Receiver` takes."""
    return [name for name in _shipped() if not name.startswith(_CELL)]


def shipped_cell_priors() -> list[str]:
    """Names of the score networks of a cell that come with it, which :class:`jadce_fast.LangevinReceiver` takes."""
    return [name for name in _shipped() if name.startswith(_CELL)]


def _shipped() -> list[str]:
    folder = resources.files(__package__) / "weights"
    return sorted(f.name.removesuffix(_WEIGHTS) for f in folder.iterdir() if f.name.endswith(_WEIGHTS))


def load_prior(
    name_or_path: str | os.PathLike[str], *, subcarriers: int | None = None, spacing: float | None = None
) -> BeamPrior | NcsnPrior | CascadePrior | ScriptPrior:
    """Load a shipped prior by name, one from a file, or a cascade of several.

    No code from a ``.safetensors`` file is executed. A ``.pt`` file of TorchScript is a program: load those you trust.

    Parameters
    ----------
    name_or_path : str or path
        A name of `shipped_priors`, such as ``"cdl"``, or a path: anything that ends in ``.safetensors`` or ``.pt`` or
        has a directory in it. Several joined by ``+``, such as ``"cdl-tiny+cdl-large"``, are a cascade.
    subcarriers : int, optional
        N, if it shall be other than the prior's own; for beam networks (docs/grids.md).
    spacing : float, optional
        Their distance in Hz, if it is not the prior's own, 30 kHz for the shipped ones.

    Returns
    -------
    BeamPrior, NcsnPrior, ScriptPrior or CascadePrior
        By the networks that the file holds.

    Raises
    ------
    TypeError
        If `name_or_path` is neither a string nor a path.
    FileNotFoundError
        If there is no such file.
    ValueError
        If there is no such name, or the file is damaged, no prior, of a later version of the format, with a network
        that this release does not know, or with one of a cell (`load_cell_prior` reads it); if the members of a
        cascade do not agree.
    """
    prior = _load(name_or_path, shipped_priors())
    if hasattr(prior, "posterior"):
        raise ValueError(
            f"prior: expected a channel prior, found {str(name_or_path)!r}, a cell's score network, which "
            "LangevinReceiver takes"
        )
    if subcarriers is None and spacing is None:
        return prior
    placed: BeamPrior | CascadePrior = _on_grid(
        prior, prior.subcarriers if subcarriers is None else subcarriers, spacing
    )
    return placed


def _on_grid(prior: Any, subcarriers: int, spacing: float | None) -> Any:
    """The prior on other subcarriers; others than beam networks as they are, for the receiver to refuse."""
    if isinstance(prior, CascadePrior) and all(isinstance(member, BeamPrior) for member in prior.members):
        members = [on_grid(member, subcarriers, spacing) for member in prior.members]
        return prior if members[0] is prior.members[0] else CascadePrior(members)
    if isinstance(prior, BeamPrior):
        return on_grid(prior, subcarriers, spacing)
    if spacing is None or math.isclose(spacing, SPACING, rel_tol=1e-9):
        return prior
    from .script import ScriptPrior

    if not isinstance(prior, ScriptPrior):  # whose distance its maker knows
        raise ValueError(f"spacing: expected {SPACING:g} with a prior that has no other, found {spacing:g}")
    return prior


def resolve_prior(name_or_path: str | os.PathLike[str], subcarriers: int, spacing: float | None = None) -> Any:
    """Return the prior "gaussian" or "beams" over `subcarriers`, or what `load_prior` finds, with its errors."""
    if name_or_path == "beams":
        return BeamsPrior(subcarriers)
    if name_or_path == "gaussian":
        return GaussianPrior(subcarriers)
    return load_prior(name_or_path, subcarriers=subcarriers, spacing=spacing)


def load_cell_prior(name_or_path: str | os.PathLike[str]) -> CellNetworkPrior:
    """Load a cell's score network: a shipped one by name, ``"cell-network"``, or a file of ``jadce train``.

    Raises
    ------
    TypeError, FileNotFoundError, ValueError
        As `load_prior`; also if the file holds a channel prior.
    """
    prior = _load(name_or_path, shipped_cell_priors())
    if not hasattr(prior, "posterior"):
        raise ValueError(
            f"prior: expected a cell's score network ({', '.join(shipped_cell_priors())} or a file), "
            f"found {str(name_or_path)!r}, a channel prior, which Receiver takes"
        )
    return cast("CellNetworkPrior", prior)


def load_any(name_or_path: str | os.PathLike[str]) -> AnyPrior:
    """Load a prior of either kind; errors as `load_prior`."""
    return _load(name_or_path, _shipped())


def _load(name_or_path: str | os.PathLike[str], names: list[str]) -> AnyPrior:
    if not isinstance(name_or_path, (str, os.PathLike)):
        raise TypeError(f"prior: expected a name or a path, found {type(name_or_path).__name__}")
    text = str(os.fspath(name_or_path))
    shipped = ", ".join(names)
    if isinstance(name_or_path, str) and _JOIN in text and not os.path.isfile(text):
        return CascadePrior([_load(part, names) for part in text.split(_JOIN)])
    if isinstance(name_or_path, str) and not text.endswith((_WEIGHTS, _SCRIPT)) and os.path.basename(text) == text:
        if text not in _shipped():
            raise ValueError(f"prior: expected one of {shipped} or a .safetensors file, found {text!r}")
        with resources.as_file(resources.files(__package__) / "weights" / f"{text}.safetensors") as path:
            return _read(path, shipped)
    if not os.path.isfile(text):
        raise FileNotFoundError(f"prior: expected one of {shipped} or a .safetensors file, found none at {text!r}")
    if text.endswith(_SCRIPT):
        with _extras.named():
            from . import torch_files
        return torch_files.script_prior(Path(text))
    return _read(Path(text), shipped)


def _read(path: Path, shipped: str) -> AnyPrior:
    wanted = f"prior: expected a {_FORMAT} file (shipped: {shipped}), found"
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            header = file.metadata() or {}
            kinds = {name: file.get_slice(name).get_dtype() for name in file.keys()}
            # NumPy has no name for some of the others.
            tensors = {name: file.get_tensor(name) for name, kind in kinds.items() if kind == "F32"}
    except (safetensors.SafetensorError, OSError) as error:
        raise ValueError(f"{wanted} damaged file {str(path)!r}: {error}") from None
    if header.get("format") != _FORMAT:
        raise ValueError(f"{wanted} {str(path)!r} of format {header.get('format')!r}")
    if header.get("version") != str(_VERSION):
        found = header.get("version")
        raise ValueError(f"{wanted} {str(path)!r} of version {found}; this release reads version {_VERSION}")
    if header.get("network", "beam") not in (*_KINDS, _CASCADE):
        expected = " or ".join(map(repr, (*_KINDS, _CASCADE)))
        raise ValueError(f"{wanted} {str(path)!r} with network {header['network']!r}; expected {expected}")
    try:
        for name in set(kinds) - set(tensors):
            raise ValueError(f"{name} holds {kinds[name]}, not F32")
        return _assemble(header, tensors)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"{wanted} inconsistent file {str(path)!r}: {error}") from None


def _within(member: int, parts: dict[str, T]) -> dict[str, T]:
    """What a file says of one member of a cascade."""
    prefix = f"{member}."
    return {key.removeprefix(prefix): value for key, value in parts.items() if key.startswith(prefix)}


def _assemble(header: dict[str, str], tensors: dict[str, Real]) -> AnyPrior:
    for name, tensor in tensors.items():
        if not np.isfinite(tensor).all():
            raise ValueError(f"{name} holds numbers that are not finite")
    if header.get("network") == _CASCADE:
        members = range(int(header["members"]))
        return CascadePrior([_assemble(_within(i, header), _within(i, tensors)) for i in members])
    subcarriers = int(header["subcarriers"])
    architecture, metadata = json.loads(header["architecture"]), json.loads(header["metadata"])
    weights = {name.removeprefix("network."): value for name, value in tensors.items() if name.startswith("network.")}
    if header.get("network", "beam") != "beam":
        with _extras.named():
            from . import torch_files
        if header["network"] == "ncsn":
            return torch_files.ncsn_prior(subcarriers, architecture, weights, metadata)
        return torch_files.cell_prior(architecture, weights, json.loads(header["cell"]), metadata)
    basis = tensors["basis.real"] + 1j * tensors["basis.imag"]
    network = BeamWeights(subcarriers, architecture, weights)
    gain, weight = tensors["beam_gain"], tensors["beam_weight"]
    if basis.shape != (subcarriers, len(network.eigenvalues)) or gain.ndim != 1 or gain.shape != weight.shape:
        raise ValueError(f"basis {basis.shape}, beam_gain {gain.shape}, beam_weight {weight.shape}")
    if (network.eigenvalues <= 0).any() or (gain <= 0).any() or (weight < 0).any():
        raise ValueError("eigenvalues, beam_gain and beam_weight must be positive")
    return BeamPrior(network, basis.astype(np.complex64), gain, weight, metadata)
