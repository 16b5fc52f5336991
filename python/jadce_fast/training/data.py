"""Sources of channels: a family of CDL channels made on the fly, or a user's recording."""

from __future__ import annotations

import hashlib
import math
from typing import NamedTuple

import torch
from torch import Tensor

from ..channels.tables import MODELS
from . import family

KINDS = (*family.MIXED, family.RANDOM_C, *MODELS)
_HELD_OUT_SEED = 1_000_003
_TAIL = 1e-5  # share of a recording's energy that its KLT basis may leave out
# The same of families: 14 of 48 coefficients at 30 kHz, which keep all but -56 dB of the energy of CDL-C at 100-363 ns
# (12 leave out -52 dB and cost 0.2 dB at an SNR of 30 dB); of delay spreads of up to 1000 ns 20, for all but -42 dB.
_FAMILY_TAIL, _WIDE_TAIL = 4.8e-5, 6.4e-5


class HeldOut(NamedTuple):
    """Channels that training never sees."""

    name: str
    beams: Tensor  # [B, N, M]
    paths: family.Paths | None  # the genie's knowledge
    grid: family.Grid = family.GRID


class Family:
    """Endless channels of `family.draw_paths`, or of one CDL table as it stands.

    Parameters
    ----------
    kind : {"cdl", "wide", "random-C", "A", "B", "C", "D", "E"}
    device : torch.device
    grid : Grid
    """

    def __init__(self, kind: str, device: torch.device, grid: family.Grid = family.GRID) -> None:
        self.kind, self.tables, self.grid = kind, family.load_tables(device), grid
        self.subcarriers, self.antennas = grid.subcarriers, grid.antennas
        self.narrow = kind not in family.MIXED

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """Channels [count, N, M] in beamspace, unit mean power each."""
        return family.channels(family.draw_paths(self.tables, count, generator, self.kind), generator, self.grid)

    def klt(self, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Basis [N, P] and eigenvalues [P]. One table alone takes those of the mixed family: it stays usable there."""
        count = 400_000 if generator.device.type == "cuda" else 20_000
        basis, value = family.klt(self.tables, generator, count, "cdl" if self.narrow else self.kind, self.grid)
        kept = significant(value, _WIDE_TAIL if self.kind == "wide" else _FAMILY_TAIL)
        return basis[:, :kept].contiguous(), value[:kept]

    def held_out(self, count: int) -> list[HeldOut]:
        """Channels of plain tables: no jitter, random azimuths, delay spreads of 100-363 ns."""
        letters = "C" if self.kind in ("C", family.RANDOM_C) else "CABD" if not self.narrow else self.kind
        generator = torch.Generator(self.tables.delay.device).manual_seed(_HELD_OUT_SEED)
        cases = []
        for letter, side in [(letters[0], 1), *((letter, 0) for letter in letters)]:
            paths = family.draw_paths(self.tables, count, generator, letter, side)
            name = f"CDL-{letter} {'arrival' if side else 'departure'}"
            cases.append(HeldOut(name, family.channels(paths, generator, self.grid), paths, self.grid))
        return cases


class Recording:
    """A user's channels, of which a tenth (at most 2000) is held out.

    Parameters
    ----------
    channels : (S, N, M) complex tensor
        Over subcarriers and antennas, at least 20 of them; each is scaled to unit mean power.
    device : torch.device
    spacing : float
        Distance of the subcarriers in Hz.

    Raises
    ------
    ValueError
        If there are fewer or one is zero.
    """

    kind, narrow = "recording", True

    def __init__(self, channels: Tensor, device: torch.device, spacing: float = family.SPACING) -> None:
        power = channels.abs().square().mean((1, 2), keepdim=True)
        if len(channels) < 20 or not bool((power > 0).all()):
            raise ValueError(
                f"channels: expected at least 20 that are not zero, found {len(channels)}, "
                f"{int((power == 0).sum())} of them zero"
            )
        self.fingerprint = hashlib.sha256(channels.contiguous().numpy().tobytes()).hexdigest()[:16]
        order = torch.randperm(len(channels), generator=torch.Generator().manual_seed(_HELD_OUT_SEED))
        beams = torch.fft.fft((channels / power.sqrt())[order].to(device), dim=2, norm="ortho")
        aside = min(max(len(channels) // 10, 1), 2000)
        self.test, self.train = beams[:aside], beams[aside:]
        self.subcarriers, self.antennas = beams.shape[1:]
        self.grid = family.Grid(self.subcarriers, self.antennas, spacing)

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """Channels [count, N, M] in beamspace, unit mean power each."""
        index = torch.randint(len(self.train), (count,), generator=generator, device=self.train.device)
        return self.train[index]

    def klt(self, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Basis [N, P] and eigenvalues [P] that leave out 1e-5 of the energy."""
        h = self.train.transpose(1, 2).flatten(0, 1).to(torch.complex128)
        covariance = (h.mT @ h.conj()) / len(h)
        basis, value = family.principal(covariance)
        kept = significant(value, _TAIL)
        return basis[:, :kept].contiguous(), value[:kept].clamp_min(1e-9)

    def held_out(self, count: int) -> list[HeldOut]:
        """Some of the channels set aside."""
        return [HeldOut("held out", self.test[:count], None)]


Source = Family | Recording


def significant(value: Tensor, tail: float) -> int:
    """Number of eigenvalues, which fall, that leave out this share of their sum at most."""
    left_out = 1 - value.double().cumsum(0) / value.double().sum()
    return min(int((left_out > tail).sum()) + 1, len(value))


def coordinates(beams: Tensor, basis: Tensor, beamspace: bool) -> Tensor:
    """Channels [B, N, M] in beamspace as a network sees them, [B, 2 P, M]: real parts, then imaginary parts.

    P coefficients of the basis [N, P], over beams or (not `beamspace`) antennas.
    """
    z = basis.mH @ beams
    if not beamspace:
        z = torch.fft.ifft(z, dim=2, norm="ortho")
    return torch.cat([z.real, z.imag], 1)


class Pool:
    """Channels to train on, in a network's coordinates [size, 2 P, M], of which `refresh` replaces the oldest.

    Chunk i is drawn with a seed of its own, so that the pool of any moment can be made again from the number of
    chunks made so far.
    """

    def __init__(self, source: Source, basis: Tensor, beamspace: bool, *, size: int, seed: int) -> None:
        self.source, self.basis, self.beamspace = source, basis, beamspace
        self.generator, self.seed = torch.Generator(basis.device).manual_seed(seed), seed
        self.chunk = min(size, 4096)
        self.chunks = math.ceil(size / self.chunk)
        self.size = self.chunks * self.chunk
        shape = (self.size, 2 * basis.shape[1], source.antennas)
        self.data = torch.empty(shape, device=basis.device)
        self.made = 0
        self.remake(0)

    def remake(self, made: int) -> None:
        """Make the pool of the moment when so many chunks had been made, at least as many as it holds."""
        self.made = max(made - self.chunks, 0)
        while self.made < max(made, self.chunks):
            self.refresh()

    def pick(self, count: int, generator: torch.Generator) -> Tensor:
        """Some of the channels at random, [count, 2 P, M]."""
        index = torch.randint(self.size, (count,), generator=generator, device=self.data.device)
        return self.data[index]

    def refresh(self) -> None:
        """Replace one chunk by new channels."""
        self.generator.manual_seed(self.seed + 7919 * self.made)
        start = self.made % self.chunks * self.chunk
        fresh = self.source.draw(self.chunk, self.generator)
        self.data[start : start + self.chunk] = coordinates(fresh, self.basis, self.beamspace)
        self.made += 1
