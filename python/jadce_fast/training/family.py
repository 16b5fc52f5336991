"""Randomised CDL channels in torch: what the shipped priors are trained on (Cai VI-A.1).

A draw picks one of the 3GPP TR 38.901 tables CDL-A...E, one of its two columns of base-station angles, a delay spread
and a device azimuth. Clusters, their jitter and their rays are those of `jadce_fast.channels`; the sums over rays are
written for torch, which makes a million channels a second on a GPU.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..channels.clusters import DELAY_SPREAD, RAY_OFFSETS, RAYS, Clusters, jitter, settle, spread_rays
from ..channels.tables import ANGLES, MODELS, load_table

SUBCARRIERS, ANTENNAS, SPACING = 48, 32, 30e3  # SPACING in Hz
MIXED = ("cdl", "wide")  # families of randomised tables, see `draw_paths`
RANDOM_C = "random-C"
_TABLE_WEIGHT = (0.2, 0.2, 0.35, 0.15, 0.1)
_CLUSTERS = 24


class Grid(NamedTuple):
    """Where channels are sampled, by default as for the shipped priors."""

    subcarriers: int = SUBCARRIERS
    antennas: int = ANTENNAS  # M, those of all rows
    spacing: float = SPACING
    rows: int = 1  # of a panel, one above the other; beams [columns, rows] are numbered in this order


GRID = Grid()


class Paths(NamedTuple):
    """Paths of a batch of channels: clusters C of R rays."""

    delay: Tensor  # [B, C] seconds
    power: Tensor  # [B, C, R] summing to 1
    phase_step: Tensor  # [B, C, R] radians from antenna to antenna of a row
    rise: Tensor  # [B, C, R] radians from a row to the one above


def load_tables(device: torch.device) -> Clusters:
    """Tables that the package ships, [2, 5, C]: departure and arrival angles, CDL-A...E, padded to C = 24 clusters."""

    def stack(name: str) -> Tensor:
        values = np.full((len(ANGLES), len(MODELS), _CLUSTERS), 90.0 if name == "zenith" else 0.0)
        for side, angles in enumerate(ANGLES):
            for i, model in enumerate(MODELS):
                column = getattr(load_table(model, angles), name)
                values[side, i, : len(column)] = column
        return torch.from_numpy(values).float().to(device)

    return Clusters._make(map(stack, Clusters._fields))


def draw_paths(
    tables: Clusters, count: int, generator: torch.Generator, kind: str = "cdl", convention: int | None = None
) -> Paths:
    """Draw `count` sets of paths.

    Parameters
    ----------
    tables : Clusters
        From `load_tables`.
    count : int
    generator : torch.Generator
        On the tables' device.
    kind : {"cdl", "wide", "random-C", "A", "B", "C", "D", "E"}
        A letter takes the table as it stands, with random azimuth, random coupling of azimuth and zenith rays,
        delay spread 100-363 ns. "cdl" mixes the five with jittered delays, powers, angles and angle spreads, a
        sixth of them at 30-600 ns. "wide" takes delay spreads of 30-1000 ns (evenly in their logarithm), Rician
        factors of 0-22 dB where there is a line of sight, per-cluster azimuth spreads of 2-17 degrees in half of
        the draws, and in a third of them clusters of no table: uniform azimuths, exponential delays.
        "random-C" is the training set of Cai VI-A.1: the 24 clusters of CDL-C with angles, delays and gains at random;
        azimuths all round, exponential delays, the table's powers jittered.
    convention : {0, 1}, optional
        Departure or arrival columns; without, either at random.
    """
    device = tables.delay.device

    def uniform(*shape: int) -> Tensor:
        return torch.rand(shape, generator=generator, device=device)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, device=device)

    mixed = kind in MIXED
    if mixed:
        weight = torch.tensor(_TABLE_WEIGHT, device=device)
        index = torch.multinomial(weight, count, replacement=True, generator=generator)
    else:
        index = torch.full((count,), MODELS.index("C" if kind == RANDOM_C else kind), device=device)
    side = (uniform(count) < 0.5).long() if convention is None else torch.full_like(index, convention)
    low, high = DELAY_SPREAD
    spread = low + (high - low) * uniform(count, 1)
    c = Clusters._make(x[side, index] for x in tables)
    if mixed:
        tail = uniform(count, 1) < 0.15
        spread = torch.where(tail, 30e-9 * 20 ** uniform(count, 1), spread)
        c = jitter(torch, c, lambda: normal(count, _CLUSTERS))
    if kind == "wide":
        spread = 30e-9 * (1000 / 30) ** uniform(count, 1)
        c = _widen(c, count, uniform, normal)
    if kind == RANDOM_C:
        delay = -uniform(count, _CLUSTERS).clamp_min(1e-6).log()
        c = jitter(torch, c, lambda: normal(count, _CLUSTERS))
        c = c._replace(azimuth=360 * uniform(count, _CLUSTERS), delay=delay)
    if mixed or kind == RANDOM_C:
        c = settle(torch, c)
    c = c._replace(azimuth=c.azimuth + 360 * uniform(count, 1))
    offsets = torch.tensor(RAY_OFFSETS, device=device)
    power, azimuth, zenith = spread_rays(c, offsets, offsets[uniform(count, _CLUSTERS, RAYS).argsort(2)])
    step = torch.pi * torch.sin(torch.deg2rad(zenith)) * torch.sin(torch.deg2rad(azimuth))
    return Paths(c.delay * spread, power, step, torch.pi * torch.cos(torch.deg2rad(zenith)))


def _widen(c: Clusters, count: int, uniform: Callable[..., Tensor], normal: Callable[..., Tensor]) -> Clusters:
    """Clusters of the family "wide", not yet settled."""
    any_spread = uniform(count, 1) < 0.5
    azimuth_spread = torch.where(any_spread, 2 + 15 * uniform(count, _CLUSTERS), c.azimuth_spread)
    zenith_spread = torch.where(any_spread, 1 + 6 * uniform(count, _CLUSTERS), c.zenith_spread)
    # TR 38.901 (7.5-1), (7.5-5): delays of unit rms spread, powers that fall with them.
    free = (uniform(count, 1) < 0.3) & (c.power > 0)
    delay = torch.where(free, -uniform(count, _CLUSTERS).clamp_min(1e-6).log(), c.delay)
    power = torch.where(free, torch.exp(-0.6 * delay) * 10 ** (0.3 * normal(count, _CLUSTERS)), c.power)
    azimuth = torch.where(free, 360 * uniform(count, _CLUSTERS), c.azimuth)
    rician = 10 ** (2.2 * uniform(count, 1))
    scattered = (power * (1 - c.specular)).sum(1, keepdim=True)
    power = torch.where(c.specular > 0, rician * scattered, power)
    spreads = {"azimuth_spread": azimuth_spread, "zenith_spread": zenith_spread}
    return c._replace(delay=delay, power=power, azimuth=azimuth, **spreads)


def responses(paths: Paths, grid: Grid = GRID) -> tuple[Tensor, Tensor]:
    """Frequency response [B, N, C] of every delay, array response [B, C, R, M] of every ray, unit modulus."""
    columns, rows = (torch.arange(x, device=paths.delay.device) for x in (grid.antennas // grid.rows, grid.rows))
    space = -paths.phase_step[..., None, None] * columns[:, None] + paths.rise[..., None, None] * rows
    return _delay_response(paths.delay, grid), torch.polar(torch.ones_like(space), space).flatten(3)


def _delay_response(delay: Tensor, grid: Grid) -> Tensor:
    n = 2 * torch.pi * grid.spacing * torch.arange(grid.subcarriers, device=delay.device)
    frequency = -n[:, None] * delay[:, None, :]
    return torch.polar(torch.ones_like(frequency), frequency)


def _to_beams(h: Tensor, grid: Grid) -> Tensor:
    """Antennas [..., M] to beams."""
    beams = torch.fft.fft2(h.unflatten(-1, (-1, grid.rows)), norm="ortho")
    return beams.flatten(-2)


def channels(paths: Paths, generator: torch.Generator, grid: Grid = GRID) -> Tensor:
    """Channels [B, N, M] in beamspace, unit mean power each, of rays with random phases."""
    device = paths.delay.device
    phase = 2 * torch.pi * torch.rand(paths.power.shape, generator=generator, device=device)
    # A CPU takes few channels at a time, so that their rays stay in the cache; with rays first, sums add whole arrays.
    parts = torch.arange(len(phase), device=device).split(64 if device.type == "cpu" else max(len(phase), 1))
    return torch.cat([_synthesize(Paths._make(x[i] for x in paths), phase[i], grid) for i in parts])


def _synthesize(paths: Paths, phase: Tensor, grid: Grid) -> Tensor:
    first = torch.polar(paths.power.sqrt(), phase).permute(2, 0, 1).contiguous()
    angles = (-paths.phase_step, paths.rise)
    step, rise = (torch.polar(torch.ones_like(x), x).permute(2, 0, 1).contiguous() for x in angles)
    clusters = torch.empty(*paths.delay.shape, grid.antennas, dtype=first.dtype, device=first.device)
    for row in range(grid.rows):
        ray = first.clone()
        for m in range(row, grid.antennas, grid.rows):
            clusters[:, :, m] = ray.sum(0)
            ray *= step  # one multiplication an antenna instead of an exponential; the error grows by 1e-7 a step
        first *= rise
    h = _to_beams(_delay_response(paths.delay, grid) @ clusters, grid)
    return h / h.abs().square().mean((1, 2), keepdim=True).sqrt()


def genie(paths: Paths, y: Tensor, noise_var: float, grid: Grid = GRID) -> Tensor:
    """LMMSE estimate of channels y [B, N, M] (beamspace, white noise) by each one's true path covariance."""
    frequency, space = responses(paths, grid)
    space = _to_beams(space, grid)
    count, c, r, m = space.shape
    a = frequency.repeat_interleave(r, dim=2)  # [B, N, L], L = C R
    b = space.reshape(count, c * r, m)
    root = paths.power.reshape(count, -1).sqrt().to(a.dtype)
    gram = (a.mH @ a) * (b.conj() @ b.mT) * root[:, :, None] * root[:, None, :]
    gram.diagonal(dim1=1, dim2=2).add_(noise_var)
    matched = torch.einsum("bnl,bnm,blm->bl", a.conj(), y, b.conj()) * root
    weight = torch.linalg.solve(gram.to(torch.complex128), matched.to(torch.complex128)).to(a.dtype) * root
    return (a * weight[:, None, :]) @ b


def klt(
    tables: Clusters, generator: torch.Generator, count: int = 100_000, kind: str = "cdl", grid: Grid = GRID
) -> tuple[Tensor, Tensor]:
    """Karhunen-Loeve basis [N, N] and eigenvalues [N] of the family's mean covariance over subcarriers.

    The covariance follows from delays and powers alone (ray phases are independent). Eigenvalues fall and sum
    to N: the mean power of each coefficient per antenna of a unit-power channel.
    """
    lag = torch.zeros(grid.subcarriers, dtype=torch.complex128)
    n = 2 * torch.pi * grid.spacing * torch.arange(grid.subcarriers, device=tables.delay.device, dtype=torch.float64)
    done = 0
    while done < count:
        paths = draw_paths(tables, min(4000, count - done), generator, kind)
        power, angle = paths.power.sum(2).double().flatten(), -n[:, None] * paths.delay.double().flatten()
        lag += (torch.polar(power.expand_as(angle), angle).sum(1)).cpu()
        done += len(paths.delay)
    lag /= done
    i = torch.arange(grid.subcarriers)
    offset = i[:, None] - i[None, :]
    covariance = torch.where(offset >= 0, lag[offset.abs()], lag[offset.abs()].conj())
    return principal(covariance)


def principal(covariance: Tensor) -> tuple[Tensor, Tensor]:
    """Eigenvectors as columns and eigenvalues, which fall, of a Hermitian matrix."""
    value, basis = torch.linalg.eigh(covariance)
    value, basis = value.flip(0), basis.flip(1)
    # An eigenvector's phase is free: the largest entry is made real and positive, for one basis a seed.
    largest = basis.gather(0, basis.abs().argmax(0, keepdim=True))
    basis = basis * (largest.conj() / largest.abs())
    return basis.to(torch.complex64).contiguous(), value.clamp_min(0).float()
