"""Channel matrices of a cell without end, their denoising score matching (Tang (5)), and the exact score beside it."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor, nn

from ..priors.cell import CellPrior
from ..priors.cell_network import LEAST_ANTENNAS, LEAST_NOISE, MOST_ANTENNAS, MOST_NOISE, CellNetwork
from ..priors.cell_network_prior import CellNetworkPrior
from .objective import Defaults, Rows

DEVICES = 64
SNR_DB = (-30, -20, -10, 0, 10, 20, 40, 60)  # per entry, the mean power of entries being one
_ANTENNAS = 16  # a batch counts matrices of so many antennas; others come in proportion
_HELD_OUT = (8, 16, 64)  # antennas
COLUMNS = 4_000  # held-out columns; ten times as many at the end
_HELD_OUT_SEED = 1_000_003
_DECADES = math.log10(MOST_NOISE / LEAST_NOISE)
DEFAULTS = Defaults(rate=3e-3, warm_up=500, batch=(512, 32), pool=(0, 0))


class Cell:
    """Channel matrices of mean power one, Tang 3 and 4.

    Parameters
    ----------
    prior : CellPrior
        Its power does not matter.
    device : torch.device
    """

    kind, subcarriers, antennas, narrow = "cell", 1, _ANTENNAS, True

    def __init__(self, prior: CellPrior, device: torch.device) -> None:
        self.prior, self.device = prior.with_power(None), device

    def draw(self, count: int, antennas: int, devices: int, generator: torch.Generator) -> Tensor:
        """Real and imaginary parts of X, (count, 2, M, N)."""
        p = self.prior
        place, active = torch.rand((2, count, devices), generator=generator, device=self.device)
        square = p.inner**2 + (p.outer**2 - p.inner**2) * place  # squared distance, uniform over the area
        power = torch.where(active < p.activity_rate, float(p.gain(1.0)) * square ** (-0.5 * p.exponent), 0.0)
        normal = torch.randn((count, 2, antennas, devices), generator=generator, device=self.device)
        return (power / 2).sqrt()[:, None, None, :] * normal

    def losses(self, network: nn.Module, batch: int, update: int, generator: torch.Generator) -> Tensor:
        """Loss of `batch` matrices of 16 antennas, or as many entries of others, as a pair with zero.

        Antennas of update i follow from i alone, geometrically spread; noise levels are drawn for every column, evenly
        in their logarithm.
        """
        share = (update + 1) * 0.6180339887498949 % 1.0  # golden section: evenly spread at any time
        antennas = round(LEAST_ANTENNAS * (MOST_ANTENNAS / LEAST_ANTENNAS) ** share)
        count = max(1, round(batch * _ANTENNAS / antennas))
        truth = self.draw(count, antennas, DEVICES, generator)
        level = torch.rand((count, DEVICES), generator=generator, device=self.device)
        white = torch.randn(truth.shape, generator=generator, device=self.device) / math.sqrt(2)
        loss = matching(network, truth, LEAST_NOISE * 10 ** (_DECADES * level), white)
        return torch.stack([loss, torch.zeros_like(loss)])


def matching(network: nn.Module, truth: Tensor, v: Tensor, white: Tensor) -> Tensor:
    """Weighted denoising score matching, Tang (5), per complex entry.

    Parameters
    ----------
    network : CellNetwork
        Or another with its ``score``.
    truth : (A, 2, M, N) tensor
        X.
    v : (A, N) tensor
        sigma_U^2 of every column.
    white : (A, 2, M, N) tensor
        CN(0, 1); U is sigma_U times it.
    """
    noise = v[:, None, None, :]
    # sigma^2 |s + U / sigma^2|^2 = |sigma s + U / sigma|^2
    difference = noise.sqrt() * network.score(truth + noise.sqrt() * white, v) + white
    loss: Tensor = difference.square().sum(1).mean()
    return loss


class CellObjective:
    """A new network, and the matrices that it learns from; it has no pool, as new ones cost less than an update.

    Parameters
    ----------
    source : Cell
    width, reach : int
        Of `CellNetwork`.
    """

    variance_weight, one_shape = 1.0, False
    normalisation = "entries of X of unit mean power, inactive ones included"
    pool = None

    def __init__(self, source: Cell, width: int, reach: int) -> None:
        self.network, self.source = CellNetwork(width=width, reach=reach), source
        self.inner: list[Tensor] = []
        cell = {name: value for name, value in asdict(source.prior).items() if name != "power"}
        self.settings: dict[str, Any] = {"width": width, "reach": reach, "cell": cell}

    def losses(self, batch: int, update: int, generator: torch.Generator) -> Tensor:
        """See `Cell.losses`."""
        return self.source.losses(self.network, batch, update, generator)

    def examiner(self) -> HeldOutCell:
        """Columns beside their exact posterior means."""
        return HeldOutCell(self.source)

    def prior(self, network: CellNetwork, metadata: dict[str, Any]) -> CellNetworkPrior:
        """The network with its cell."""
        return CellNetworkPrior(network, self.source.prior, metadata)


class HeldOutCell:
    """Noisy columns that training never sees, with the exact posterior means beside the truth."""

    snr_db = SNR_DB

    def __init__(self, cell: Cell) -> None:
        self.cell = cell
        self.cases = self._draw(COLUMNS)

    def _draw(self, columns: int) -> dict[str, list[tuple[Tensor, Tensor, Tensor, Tensor]]]:
        """Truth, noisy matrices, noise and exact mean by SNR; `columns` of 16 antennas, of others in proportion."""
        cases: dict[str, list[tuple[Tensor, Tensor, Tensor, Tensor]]] = {}
        generator = torch.Generator(self.cell.device).manual_seed(_HELD_OUT_SEED)
        for antennas in _HELD_OUT:
            truth = self.cell.draw(1, antennas, columns * _ANTENNAS // antennas, generator)
            case = cases[f"M={antennas}"] = []
            for snr in SNR_DB:
                v = torch.full((1, truth.shape[3]), 10 ** (-0.1 * snr), device=self.cell.device)
                white = torch.randn(truth.shape, generator=generator, device=self.cell.device) / math.sqrt(2)
                noisy = truth + v.sqrt()[:, None, None, :] * white
                case.append((truth, noisy, v, exact_mean(self.cell.prior, noisy, v)))
        return cases

    def curve(self, network: nn.Module, *, final: bool = False) -> dict[str, Rows]:
        """Denoising error ``nmse`` in dB by number of antennas and SNR of `SNR_DB`.

        At the end on ten times as many columns, with ``above_exact``: mean squared distance to the exact posterior mean
        over the latter's own error, as what it adds in dB.
        """
        result: dict[str, Rows] = {}
        for name, case in (self._draw(10 * COLUMNS) if final else self.cases).items():
            with torch.no_grad():
                found = [network(noisy, v) for _, noisy, v, _ in case]
            rows = result[name] = {"nmse": [_decibel(x, row[0]) for x, row in zip(found, case, strict=True)]}
            if final:
                # Without the product of both errors, whose mean is zero as the exact mean is the conditional one.
                error = [(_energy(x - row[3]), _energy(row[3] - row[0])) for x, row in zip(found, case, strict=True)]
                rows["above_exact"] = [round(10 * math.log10(1 + more / least), 3) for more, least in error]
        return result

    def genie(self) -> dict[str, Rows]:
        """The error of the exact posterior means: ``genie``."""
        return {
            name: {"genie": [_decibel(exact, truth) for truth, _, _, exact in case]}
            for name, case in self.cases.items()
        }


def _energy(x: Tensor) -> float:
    return float(x.double().square().sum())


def _decibel(found: Tensor, truth: Tensor) -> float:
    return round(10 * math.log10(_energy(found - truth) / _energy(truth)), 3)


def exact_mean(prior: CellPrior, noisy: Tensor, v: Tensor) -> Tensor:
    """Exact posterior mean; shapes as for `CellNetwork.forward`."""
    columns = torch.complex(noisy[:, 0].double(), noisy[:, 1].double()).transpose(1, 2)
    mean = prior.posterior(columns, v.double())[0].transpose(1, 2)
    return torch.stack([mean.real, mean.imag], 1).to(noisy)


class ExactScore(nn.Module):  # type: ignore[misc]
    """The exact score of a cell in a network's place."""

    def __init__(self, prior: CellPrior) -> None:
        super().__init__()
        self.prior = prior

    def score(self, x: Tensor, v: Tensor) -> Tensor:
        """Score, shapes as for `CellNetwork.score`."""
        return (exact_mean(self.prior, x, v) - x) / v[:, None, None, :]


def final_losses(prior: CellNetworkPrior, updates: int = 64, batch: int = 32) -> tuple[float, float]:
    """Training loss of a prior's network and of the exact score of its cell, on the same new matrices."""
    source = Cell(prior.cell, torch.device("cpu"))
    means = []
    for network in (prior.network, ExactScore(source.prior)):
        generator = torch.Generator().manual_seed(_HELD_OUT_SEED)
        with torch.no_grad():
            rows = [float(source.losses(network, batch, i, generator)[0]) for i in range(updates)]
        means.append(sum(rows) / updates)
    return means[0], means[1]
