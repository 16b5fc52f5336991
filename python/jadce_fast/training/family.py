"""Randomised CDL channels in torch: what the shipped priors are trained on (Cai VI-A.1).

A draw picks one of the 3GPP TR 38.901 tables CDL-A...E, one of its two columns of base-station angles, a
delay spread and a device azimuth, then jitters delays, powers, angles and angle spreads.
`jadce_fast.channels` is the library's generator in NumPy; this one makes a million channels a second on a
GPU.
"""

from __future__ import annotations

import json
from importlib import resources
from typing import NamedTuple

import torch
from torch import Tensor

SUBCARRIERS, ANTENNAS, SPACING = 48, 32, 30e3  # SPACING in Hz
TABLES = "ABCDE"
MIXED = ("cdl", "wide")  # families of randomised tables, see `draw_paths`
_TABLE_WEIGHT = (0.2, 0.2, 0.35, 0.15, 0.1)
_OFFSETS = (0.0447, 0.1413, 0.2492, 0.3715, 0.5129, 0.6797, 0.8844, 1.1481, 1.5195, 2.1551)  # Table 7.5-3
_RAYS = 2 * len(_OFFSETS)
_CLUSTERS = 24


class Tables(NamedTuple):
    """CDL tables, padded to 24 clusters; convention 0 is departure (aod, zod), 1 is arrival (aoa, zoa)."""

    delay: Tensor  # [5, C] in units of the delay spread
    power: Tensor  # [5, C] summing to 1
    azimuth: Tensor  # [5, 2, C] degrees
    zenith: Tensor  # [5, 2, C] degrees
    azimuth_spread: Tensor  # [5, 2] degrees
    zenith_spread: Tensor  # [5, 2] degrees
    specular: Tensor  # [5, C] 1 where the cluster is a single line-of-sight ray


class Paths(NamedTuple):
    """Paths of a batch of channels: clusters C of R rays."""

    delay: Tensor  # [B, C] seconds
    power: Tensor  # [B, C, R] summing to 1
    phase_step: Tensor  # [B, C, R] radians from antenna to antenna


def load_tables(device: torch.device) -> Tables:
    """Read the tables that the package ships."""
    columns: list[list[Tensor]] = [[] for _ in Tables._fields]
    for letter in TABLES:
        text = (resources.files("jadce_fast") / f"channels/tables/CDL-{letter}.json").read_text()
        table = json.loads(text)

        def pad(name: str, fill: float, table: dict[str, list[float]] = table) -> Tensor:
            values = torch.full((_CLUSTERS,), fill)
            values[: len(table[name])] = torch.tensor(table[name])
            return values

        power = 10 ** (pad("powers", -torch.inf) / 10)
        specular = torch.zeros(_CLUSTERS)
        specular[0] = float(table["los"])
        for column, value in zip(
            columns,
            (
                pad("delays", 0.0),
                power / power.sum(),
                torch.stack([pad("aod", 0.0), pad("aoa", 0.0)]),
                torch.stack([pad("zod", 90.0), pad("zoa", 90.0)]),
                torch.tensor([table["cASD"], table["cASA"]]),
                torch.tensor([table["cZSD"], table["cZSA"]]),
                specular,
            ),
            strict=True,
        ):
            column.append(value)
    return Tables(*(torch.stack(c).to(device) for c in columns))


def draw_paths(
    tables: Tables, count: int, generator: torch.Generator, kind: str = "cdl", convention: int | None = None
) -> Paths:
    """Draw `count` sets of paths.

    Parameters
    ----------
    tables : Tables
    count : int
    generator : torch.Generator
        On the tables' device.
    kind : {"cdl", "wide", "A", "B", "C", "D", "E"}
        A letter takes the table as it stands, with random azimuth, random coupling of azimuth and zenith rays,
        delay spread 100-363 ns. "cdl" mixes the five with jittered delays, powers, angles and angle spreads, a
        sixth of them at 30-600 ns. "wide" takes delay spreads of 30-1000 ns (evenly in their logarithm), Rician
        factors of 0-22 dB where there is a line of sight, per-cluster azimuth spreads of 2-17 degrees in half of
        the draws, and in a third of them clusters of no table: uniform azimuths, exponential delays.
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
        index = torch.full((count,), TABLES.index(kind), device=device)
    side = (uniform(count) < 0.5).long() if convention is None else torch.full_like(index, convention)
    spread = 100e-9 + 263e-9 * uniform(count, 1)
    delay, power = tables.delay[index], tables.power[index]
    azimuth, zenith = tables.azimuth[index, side], tables.zenith[index, side]
    azimuth_spread = tables.azimuth_spread[index, side][:, None]
    zenith_spread = tables.zenith_spread[index, side][:, None]
    specular = tables.specular[index]
    if mixed:
        tail = uniform(count, 1) < 0.15
        spread = torch.where(tail, 30e-9 * 20 ** uniform(count, 1), spread)
        delay = delay * torch.exp(0.4 * normal(count, _CLUSTERS))
        power = power * 10 ** (0.3 * normal(count, _CLUSTERS))
        azimuth = azimuth + 15 * normal(count, _CLUSTERS)
        zenith = zenith + 4 * normal(count, _CLUSTERS)
        azimuth_spread = azimuth_spread * torch.exp(0.35 * normal(count, _CLUSTERS))
        zenith_spread = zenith_spread * torch.exp(0.35 * normal(count, _CLUSTERS))
    if kind == "wide":
        spread = 30e-9 * (1000 / 30) ** uniform(count, 1)
        any_spread = uniform(count, 1) < 0.5
        azimuth_spread = torch.where(any_spread, 2 + 15 * uniform(count, _CLUSTERS), azimuth_spread)
        zenith_spread = torch.where(any_spread, 1 + 6 * uniform(count, _CLUSTERS), zenith_spread)
        # TR 38.901 (7.5-1), (7.5-5): delays of unit rms spread, powers that fall with them.
        free = (uniform(count, 1) < 0.3) & (power > 0)
        delay = torch.where(free, -uniform(count, _CLUSTERS).clamp_min(1e-6).log(), delay)
        power = torch.where(free, torch.exp(-0.6 * delay) * 10 ** (0.3 * normal(count, _CLUSTERS)), power)
        azimuth = torch.where(free, 360 * uniform(count, _CLUSTERS), azimuth)
        rician = 10 ** (2.2 * uniform(count, 1))
        scattered = (power * (1 - specular)).sum(1, keepdim=True)
        power = torch.where(specular > 0, rician * scattered, power)
    if mixed:
        power = power / power.sum(1, keepdim=True)
        present = power > 0
        delay = delay - torch.where(present, delay, torch.inf).min(1, keepdim=True).values
        delay = torch.where(present, delay, 0.0)
    azimuth = azimuth + 360 * uniform(count, 1)
    offsets = torch.tensor([s * o for o in _OFFSETS for s in (1, -1)], device=device)
    # A random permutation of zenith offsets couples them to the azimuth offsets (TR 38.901, 7.7.1 step 2).
    coupled = offsets[uniform(count, _CLUSTERS, _RAYS).argsort(2)]
    scatter = 1 - specular[:, :, None]
    azimuth = azimuth[:, :, None] + azimuth_spread[:, :, None] * offsets * scatter
    zenith = zenith[:, :, None] + zenith_spread[:, :, None] * coupled * scatter
    share = torch.full((_RAYS,), 1 / _RAYS, device=device) * scatter
    share[:, :, 0] += 1 - scatter[:, :, 0]
    step = torch.pi * torch.sin(torch.deg2rad(zenith)) * torch.sin(torch.deg2rad(azimuth))
    return Paths(delay * spread, power[:, :, None] * share, step)


def responses(paths: Paths) -> tuple[Tensor, Tensor]:
    """Frequency response [B, N, C] of every delay, array response [B, C, R, M] of every ray, unit modulus."""
    m = torch.arange(ANTENNAS, device=paths.delay.device, dtype=torch.float32)
    space = -paths.phase_step[..., None] * m
    return _delay_response(paths.delay), torch.polar(torch.ones_like(space), space)


def _delay_response(delay: Tensor) -> Tensor:
    n = 2 * torch.pi * SPACING * torch.arange(SUBCARRIERS, device=delay.device)
    frequency = -n[:, None] * delay[:, None, :]
    return torch.polar(torch.ones_like(frequency), frequency)


def channels(paths: Paths, generator: torch.Generator) -> Tensor:
    """Channels [B, N, M] in beamspace, unit mean power each, of rays with random phases."""
    device = paths.delay.device
    phase = 2 * torch.pi * torch.rand(paths.power.shape, generator=generator, device=device)
    # On a CPU few at a time, so that the rays stay in the cache; rays first: sums then add whole arrays.
    parts = torch.arange(len(phase), device=device).split(64 if device.type == "cpu" else max(len(phase), 1))
    return torch.cat([_synthesize(Paths(*(x[i] for x in paths)), phase[i]) for i in parts])


def _synthesize(paths: Paths, phase: Tensor) -> Tensor:
    ray = torch.polar(paths.power.sqrt(), phase).permute(2, 0, 1).contiguous()
    step = torch.polar(torch.ones_like(paths.phase_step), -paths.phase_step).permute(2, 0, 1).contiguous()
    clusters = torch.empty(*paths.delay.shape, ANTENNAS, dtype=ray.dtype, device=ray.device)
    for m in range(ANTENNAS):
        clusters[:, :, m] = ray.sum(0)
        ray *= step  # one multiplication an antenna instead of an exponential; the error grows by 1e-7 a step
    h = torch.fft.fft(_delay_response(paths.delay) @ clusters, dim=2, norm="ortho")
    return h / h.abs().square().mean((1, 2), keepdim=True).sqrt()


def genie(paths: Paths, y: Tensor, noise_var: float) -> Tensor:
    """LMMSE estimate of channels y [B, N, M] (beamspace, white noise) by each one's true path covariance."""
    frequency, space = responses(paths)
    space = torch.fft.fft(space, dim=3, norm="ortho")
    count, c, r, m = space.shape
    a = frequency.repeat_interleave(r, dim=2)  # [B, N, L], L = C R
    b = space.reshape(count, c * r, m)
    root = paths.power.reshape(count, -1).sqrt().to(a.dtype)
    gram = (a.mH @ a) * (b.conj() @ b.mT) * root[:, :, None] * root[:, None, :]
    gram.diagonal(dim1=1, dim2=2).add_(noise_var)
    matched = torch.einsum("bnl,bnm,blm->bl", a.conj(), y, b.conj()) * root
    weight = torch.linalg.solve(gram.to(torch.complex128), matched.to(torch.complex128)).to(a.dtype) * root
    return (a * weight[:, None, :]) @ b


def klt(tables: Tables, generator: torch.Generator, count: int = 100_000, kind: str = "cdl") -> tuple[Tensor, Tensor]:
    """Karhunen-Loeve basis [N, N] and eigenvalues [N] of the family's mean covariance over subcarriers.

    The covariance follows from delays and powers alone (ray phases are independent). Eigenvalues fall and sum
    to N: the mean power of each coefficient per antenna of a unit-power channel.
    """
    lag = torch.zeros(SUBCARRIERS, dtype=torch.complex128)
    n = 2 * torch.pi * SPACING * torch.arange(SUBCARRIERS, device=tables.delay.device, dtype=torch.float64)
    done = 0
    while done < count:
        paths = draw_paths(tables, min(4000, count - done), generator, kind)
        power, angle = paths.power.sum(2).double().flatten(), -n[:, None] * paths.delay.double().flatten()
        lag += (torch.polar(power.expand_as(angle), angle).sum(1)).cpu()
        done += len(paths.delay)
    lag /= done
    i = torch.arange(SUBCARRIERS)
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
