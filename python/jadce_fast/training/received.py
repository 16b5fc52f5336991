"""Received blocks as noisy data of their channels: what detections leave, made into observations without bias."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ..capture import Capture
from ..detection import Detection
from ..parts import split
from ..pilots import Pilots
from ..receiver import Receiver

_CERTAIN = 0.99  # probability from which an estimate is used,
_IDLE = 0.01  # and below which a device shows the noise
_LISTENED, _FEWEST = 256, 16  # idle devices that are listened to, and the fewest that show the noise
_FAINT = 0.5  # noise over a device's power beyond which its estimate is left out
_EVEN = 1e-3  # relative difference of a pilot's energies on two subcarriers

Complex = npt.NDArray[np.complex64]


class Observations(NamedTuple):
    """S channels of unit mean power over P Karhunen-Loeve coefficients and M beams, real parts and imaginary parts."""

    seen: Tensor  # [S, 2 P, M] channel and noise
    noise: Tensor  # [S, M] complex variance of that noise per coefficient
    estimate: Tensor  # [S, 2 P, M] posterior mean


class Heard(NamedTuple):
    """What a block says: its noise variance, given or learned, infinite if it cannot be trusted, and its channels."""

    noise_var: float
    seen: Observations | None


@dataclass(frozen=True)
class Detecting:
    """How blocks are detected.

    Attributes
    ----------
    activity_rate : float or None
        Of all blocks; None: as each says, or learned.
    power, threads
        As of `Receiver`.
    """

    activity_rate: float | None
    power: Any
    threads: int | None

    def groups(self, blocks: Sequence[Capture]) -> Iterator[tuple[Pilots, float | None, list[int]]]:
        """Pilots, activity rate and indices of the blocks that one receiver serves."""
        found: dict[Any, tuple[Pilots, float | None, list[int]]] = {}
        keys: dict[int, str] = {}
        for i, block in enumerate(blocks):
            rate = block.activity_rate if self.activity_rate is None else self.activity_rate
            if id(block.pilots) not in keys:
                keys[id(block.pilots)] = digest(block.pilots)
            key = keys[id(block.pilots)]
            found.setdefault((key, block.y.shape[2], rate), (block.pilots, rate, []))[2].append(i)
        yield from found.values()

    def receiver(self, pilots: Pilots, antennas: int, prior: Any, rate: float | None) -> Receiver:
        """A receiver with `prior`."""
        return Receiver(pilots, antennas, prior, rate, self.power, threads=self.threads)


def digest(pilots: Pilots) -> str:
    """Fingerprint of pilots."""
    symbols = pilots.select() if pilots.rows is None else pilots.rows
    words = f"{symbols.shape} {pilots.devices} {pilots.power} ".encode()
    phases = b"" if pilots.phases is None else pilots.phases.tobytes()
    return hashlib.sha256(words + np.ascontiguousarray(symbols).tobytes() + phases).hexdigest()


def observe(blocks: Sequence[Capture], prior: Any, detecting: Detecting, heard: Callable[[int], None]) -> list[Heard]:
    """Detect blocks and return what they say of the channels of devices that are surely active.

    At the end of a detection the residual Z = y - Q x of all devices, correlated with a device's pilot, is that
    device's error and effective noise. It is too small, as estimates follow the noise: a share k = k0 (1 - k)^2 of it
    is missing, where k0 = E / (T u), E is the sum of the active devices' error variances and u the energy that idle
    devices show. (That is the memory term of approximate message passing: E over T v is the mean slope of the denoiser
    times the active devices per symbol, and v = u / (1 - k)^2.) x + Q^H Z / (T (1 - k)) is the channel in white noise
    of variance v per beam, whatever the prior has made of it.

    Parameters
    ----------
    blocks : sequence of Capture
    prior : BeamPrior or CascadePrior
    detecting : Detecting
    heard : callable
        Takes the number of blocks that are done.

    Returns
    -------
    list of Heard
        One a block, without observations and noise variance if its result is not to be trusted.
    """
    basis = np.asarray(prior.basis, np.complex64)
    result = [Heard(math.inf, None)] * len(blocks)
    done = 0
    for pilots, rate, indices in detecting.groups(blocks):
        energy = _energy(pilots, prior)
        rx = detecting.receiver(pilots, blocks[indices[0]].y.shape[2], prior, rate)
        for i in indices:
            y, noise_var = blocks[i].y, blocks[i].noise_var
            found = rx.detect(y, noise_var)
            if found.trusted:
                learned = found.learned_noise_var
                result[i] = Heard(
                    float(noise_var if learned is None else learned),  # type: ignore[arg-type]
                    _observe(y, pilots, energy, found, basis),
                )
            heard(done := done + 1)
    return result


def _energy(pilots: Pilots, prior: Any) -> npt.NDArray[np.float32]:
    """Energy (K,) of the pilots on any subcarrier, or `ValueError` if subcarriers differ."""
    energy = (np.abs(pilots.select()) ** 2).sum(0)
    mean = energy.mean(0)
    if split(pilots, prior) or np.ptp(energy, axis=0).max() > _EVEN * mean.max() or mean.min() <= 0:
        raise ValueError(
            "pilots: expected sequences of one energy on all subcarriers, which differ from one to the next, found "
            "devices without a pilot on some, or repeated sequences"
        )
    result: npt.NDArray[np.float32] = mean.astype(np.float32)
    return result


def _observe(
    y: Complex, pilots: Pilots, energy: npt.NDArray[np.float32], found: Detection, basis: Complex
) -> Observations | None:
    """What one trusted detection says of its devices, None if that is nothing."""
    idle = np.flatnonzero(found.activity < _IDLE)
    if len(idle) < _FEWEST or not len(found.active):
        return None
    idle = idle[:: -(-len(idle) // _LISTENED)]
    q = pilots.select(found.active)
    rest = y - np.einsum("tna,anm->tnm", q, found.channels, optimize=True)
    rest = np.fft.fft(rest, axis=2, norm="ortho").astype(np.complex64)
    shown = _correlate(pilots.select(idle), rest) / energy[idle][:, None, None]
    u = (np.abs(shown) ** 2).mean((0, 1))  # (M,)
    load = float(found.channel_var @ energy[found.active]) / (len(y) * float(energy[idle].mean()) * float(u.mean()))
    missing = missing_share(load)

    sure = found.activity[found.active] > _CERTAIN
    channels, own = found.channels[sure], energy[found.active][sure][:, None, None]
    power = (np.abs(channels) ** 2).mean((1, 2)) + found.channel_var[sure]
    noise = u * (float(energy[idle].mean()) / own[:, 0]) / (1 - missing) ** 2 / power[:, None]  # (A, M)
    clear = noise.mean(1) < _FAINT
    root = np.sqrt(power)[:, None, None]
    estimate = np.fft.fft(channels, axis=2, norm="ortho") / root
    seen = estimate + _correlate(q[:, :, sure], rest) / (own * (1 - missing) * root)
    return Observations(_coordinates(seen[clear], basis), _real(noise[clear]), _coordinates(estimate[clear], basis))


def missing_share(load: float) -> float:
    """Return the solution k in [0, 1) of k = load (1 - k)^2."""
    return 2 * load / (1 + 2 * load + math.sqrt(1 + 4 * load))


def _correlate(q: Complex, rest: Complex) -> Complex:
    """Q^H rest, (A, N, M), of pilots (T, N, A) and a block (T, N, M)."""
    product: Complex = np.matmul(q.conj().transpose(1, 2, 0), rest.transpose(1, 0, 2)).transpose(1, 0, 2)
    return product


def _coordinates(beams: npt.NDArray[Any], basis: Complex) -> Tensor:
    """Channels (A, N, M) over beams as a network sees them, [A, 2 P, M]."""
    z = basis.conj().T @ beams
    return _real(np.concatenate([z.real, z.imag], 1))


def _real(values: npt.NDArray[Any]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(values, np.float32))
