"""Worth of a network on held-out channels in white noise: its error, the genie's, and its calibration."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from . import family
from .data import HeldOut, Source, coordinates

SNR_DB = (-10, 0, 10, 20, 30)
_SEED = 1_000_033
_CHUNK = 64
Rows = dict[str, list[float]]


class HeldOutChannels:
    """Channels of a family or a recording: two cases of 64 during training, all of 256 at its end."""

    snr_db = SNR_DB

    def __init__(self, source: Source, basis: Tensor, *, beamspace: bool) -> None:
        self.source, self.basis, self.beamspace = source, basis, beamspace
        self.cases = source.held_out(64)[:2]

    def curve(self, network: nn.Module, *, final: bool = False) -> dict[str, Rows]:
        """See `curve`."""
        cases = self.source.held_out(256) if final else self.cases
        return curve(network, self.basis, cases, beamspace=self.beamspace)

    def genie(self) -> dict[str, Rows]:
        """See `genie`."""
        return genie(self.cases)


def curve(network: nn.Module, basis: Tensor, cases: list[HeldOut], *, beamspace: bool = True) -> dict[str, Rows]:
    """Denoising error by SNR of `SNR_DB`.

    Parameters
    ----------
    network : BeamNetwork or NcsnNetwork
        On the channels' device, in evaluation mode.
    basis : (N, P) complex tensor
        Its basis over subcarriers.
    cases : list of HeldOut
    beamspace : bool
        Whether it works on beams or on antennas.

    Returns
    -------
    dict
        By case: ``nmse`` (dB, over all subcarriers) and ``calibration`` (promised over true error variance of
        the kept coefficients).
    """
    result: dict[str, Rows] = {}
    for case in cases:
        h = case.beams
        energy, left_out = _energy(h), _energy(h - basis @ (basis.mH @ h))
        rows: Rows = {"nmse": [], "calibration": []}
        for snr, y in zip(SNR_DB, _received(h), strict=True):
            v = torch.full((len(h), h.shape[2]), 10 ** (-snr / 10), device=h.device)
            error = promised = 0.0
            for part in torch.arange(len(h), device=h.device).split(_CHUNK):
                with torch.no_grad():
                    mean, var = network(coordinates(y[part], basis, beamspace), v[part])
                error += _energy(mean - coordinates(h[part], basis, beamspace))
                promised += float(var.double().sum()) * h.shape[1]
            rows["nmse"].append(round(10 * math.log10((error + left_out) / energy), 3))
            rows["calibration"].append(round(promised / max(error, 1e-300), 3))
        result[case.name] = rows
    return result


def genie(cases: list[HeldOut]) -> dict[str, Rows]:
    """Error in dB of LMMSE with each channel's true path covariance, for the cases whose paths are known."""
    result: dict[str, Rows] = {}
    for case in cases:
        if case.paths is None:
            continue
        h = case.beams
        row = []
        for snr, y in zip(SNR_DB, _received(h), strict=True):
            lost = 0.0
            for part in torch.arange(len(h), device=h.device).split(_CHUNK // 2):
                paths = family.Paths._make(x[part] for x in case.paths)
                lost += _energy(family.genie(paths, y[part], 10 ** (-snr / 10), case.grid) - h[part])
            row.append(round(10 * math.log10(lost / _energy(h)), 3))
        result[case.name] = {"genie": row}
    return result


def table(result: dict[str, Rows], levels: Sequence[int] = SNR_DB) -> str:
    """`curve`'s and `genie`'s results as text, one line a case and quantity."""
    lines = [f"{'SNR, dB':28s}" + "".join(f"{snr:8d}" for snr in levels)]
    for case, rows in result.items():
        for name, row in rows.items():
            lines.append(f"{case + ' ' + name:28s}" + "".join(f"{x:8.2f}" for x in row))
    return "\n".join(lines)


def _received(h: Tensor) -> list[Tensor]:
    """Channels in white noise, the same at every SNR."""
    generator = torch.Generator(h.device).manual_seed(_SEED)
    white = torch.randn(h.shape, generator=generator, device=h.device, dtype=h.dtype)
    return [h + 10 ** (-snr / 20) * white for snr in SNR_DB]


def _energy(h: Tensor) -> float:
    return float(h.abs().double().square().sum())
