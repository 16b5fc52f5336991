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
    tables: Tables,
    count: int,
    generator: torch.Generator,
    table: str | None = None,
    convention: int | None = None,
) -> Paths:
    """Draw `count` sets of paths.

    Without `table`, from the randomised family. With a letter A...E and a convention (0 departure, 1
    arrival, None either at random), the table as it stands, with random azimuth, random coupling of azimuth
    and zenith rays, delay spread 100-363 ns.
    """
    device = tables.delay.device

    def uniform(*shape: int) -> Tensor:
        return torch.rand(shape, generator=generator, device=device)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, device=device)

    spread = 100e-9 + 263e-9 * uniform(count, 1)
    if table is None:
        weight = torch.tensor(_TABLE_WEIGHT, device=device)
        index = torch.multinomial(weight, count, replacement=True, generator=generator)
        side = (uniform(count) < 0.5).long()
        tail = uniform(count, 1) < 0.15
        spread = torch.where(tail, 30e-9 * 20 ** uniform(count, 1), spread)
    else:
        index = torch.full((count,), TABLES.index(table), device=device)
        side = (uniform(count) < 0.5).long() if convention is None else torch.full_like(index, convention)
    delay, power = tables.delay[index], tables.power[index]
    azimuth, zenith = tables.azimuth[index, side], tables.zenith[index, side]
    azimuth_spread = tables.azimuth_spread[index, side][:, None]
    zenith_spread = tables.zenith_spread[index, side][:, None]
    if table is None:
        delay = delay * torch.exp(0.4 * normal(count, _CLUSTERS))
        power = power * 10 ** (0.3 * normal(count, _CLUSTERS))
        power = power / power.sum(1, keepdim=True)
        present = power > 0
        delay = delay - torch.where(present, delay, torch.inf).min(1, keepdim=True).values
        delay = torch.where(present, delay, 0.0)
        azimuth = azimuth + 15 * normal(count, _CLUSTERS)
        zenith = zenith + 4 * normal(count, _CLUSTERS)
        azimuth_spread = azimuth_spread * torch.exp(0.35 * normal(count, _CLUSTERS))
        zenith_spread = zenith_spread * torch.exp(0.35 * normal(count, _CLUSTERS))
    azimuth = azimuth + 360 * uniform(count, 1)
    offsets = torch.tensor([s * o for o in _OFFSETS for s in (1, -1)], device=device)
    # A random permutation of zenith offsets couples them to the azimuth offsets (TR 38.901, 7.7.1 step 2).
    coupled = offsets[uniform(count, _CLUSTERS, _RAYS).argsort(2)]
    scattered = 1 - tables.specular[index][:, :, None]
    azimuth = azimuth[:, :, None] + azimuth_spread[:, :, None] * offsets * scattered
    zenith = zenith[:, :, None] + zenith_spread[:, :, None] * coupled * scattered
    share = torch.full((_RAYS,), 1 / _RAYS, device=device) * scattered
    share[:, :, 0] += 1 - scattered[:, :, 0]
    step = torch.pi * torch.sin(torch.deg2rad(zenith)) * torch.sin(torch.deg2rad(azimuth))
    return Paths(delay * spread, power[:, :, None] * share, step)


def responses(paths: Paths) -> tuple[Tensor, Tensor]:
    """Frequency response [B, N, C] of every delay, array response [B, C, R, M] of every ray, unit modulus."""
    device = paths.delay.device
    n = 2 * torch.pi * SPACING * torch.arange(SUBCARRIERS, device=device)
    m = torch.arange(ANTENNAS, device=device, dtype=torch.float32)
    frequency = -n[:, None] * paths.delay[:, None, :]
    space = -paths.phase_step[..., None] * m
    return torch.polar(torch.ones_like(frequency), frequency), torch.polar(torch.ones_like(space), space)


def channels(paths: Paths, generator: torch.Generator) -> Tensor:
    """Channels [B, N, M] in beamspace, unit mean power each, of rays with random phases."""
    frequency, space = responses(paths)
    phase = 2 * torch.pi * torch.rand(paths.power.shape, generator=generator, device=paths.power.device)
    rays = torch.polar(paths.power.sqrt(), phase)[:, :, None, :] @ space  # [B, C, 1, M]
    h = torch.fft.fft(frequency @ rays[:, :, 0], dim=2, norm="ortho")
    return h / h.abs().pow(2).mean((1, 2), keepdim=True).sqrt()


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


def klt(tables: Tables, generator: torch.Generator, count: int = 100_000) -> tuple[Tensor, Tensor]:
    """Karhunen-Loeve basis [N, N] and eigenvalues [N] of the family's mean covariance over subcarriers.

    The covariance follows from delays and powers alone (ray phases are independent). Eigenvalues fall and sum
    to N: the mean power of each coefficient per antenna of a unit-power channel.
    """
    lag = torch.zeros(SUBCARRIERS, dtype=torch.complex128)
    n = 2 * torch.pi * SPACING * torch.arange(SUBCARRIERS, device=tables.delay.device, dtype=torch.float64)
    done = 0
    while done < count:
        paths = draw_paths(tables, min(4000, count - done), generator)
        power, angle = paths.power.sum(2).double().flatten(), -n[:, None] * paths.delay.double().flatten()
        lag += (torch.polar(power.expand_as(angle), angle).sum(1)).cpu()
        done += len(paths.delay)
    lag /= done
    i = torch.arange(SUBCARRIERS)
    offset = i[:, None] - i[None, :]
    covariance = torch.where(offset >= 0, lag[offset.abs()], lag[offset.abs()].conj())
    value, basis = torch.linalg.eigh(covariance)
    value, basis = value.flip(0), basis.flip(1)
    # An eigenvector's phase is free: the largest entry is made real and positive, for one basis a seed.
    largest = basis.gather(0, basis.abs().argmax(0, keepdim=True))
    basis = basis * (largest.conj() / largest.abs())
    return basis.to(torch.complex64).contiguous(), value.clamp_min(0).float()
