"""What a trained network is worth: error on the plain CDL tables against the genie, and calibration."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..network import BeamNetwork
from . import family

SNR_DB = (-10, 0, 10, 20, 30)
CASES = {"C arrival": ("C", 1), "C departure": ("C", 0), "A": ("A", 0), "B": ("B", 0), "D": ("D", 0)}
_SEED = 1_000_003


def split(z: Tensor) -> Tensor:
    """Complex [A, P, M] to real parts, then imaginary parts [A, 2 P, M]."""
    return torch.cat([z.real, z.imag], 1)


def curve(
    network: BeamNetwork, basis: Tensor, *, count: int = 256, with_genie: bool = True
) -> dict[str, dict[str, list[float]]]:
    """Denoising error of held-out channels of the plain tables (no jitter), white noise, by SNR of `SNR_DB`.

    Parameters
    ----------
    network : BeamNetwork
        On any device, in evaluation mode.
    basis : (N, P) complex tensor
        Its KLT basis.
    count : int
        Channels of each case.
    with_genie : bool
        Also estimate by LMMSE with the true path covariance of every channel.

    Returns
    -------
    dict
        By case: ``nmse`` (dB, over all subcarriers), ``calibration`` (promised over true error variance of
        the kept coefficients) and ``genie`` (dB).
    """
    device = network.eigenvalues.device
    generator = torch.Generator(device).manual_seed(_SEED)
    tables, basis = family.load_tables(device), basis.to(device)
    result: dict[str, dict[str, list[float]]] = {}
    for case, (table, convention) in CASES.items():
        paths = family.draw_paths(tables, count, generator, table, convention)
        h = family.channels(paths, generator)
        white = torch.randn(h.shape, generator=generator, device=device, dtype=h.dtype)
        energy, z = _energy(h), basis.mH @ h
        left_out = _energy(h - basis @ z)
        rows: dict[str, list[float]] = {"nmse": [], "calibration": []}
        for snr in SNR_DB:
            v = 10 ** (-snr / 10)
            y = h + v**0.5 * white
            with torch.no_grad():
                mean, var = network(split(basis.mH @ y), torch.full((count, h.shape[2]), v, device=device))
            error = (mean - split(z)).double().square().sum().item()
            rows["nmse"].append(10 * math.log10((error + left_out) / energy))
            rows["calibration"].append(var.double().sum().item() * network.subcarriers / error)
            if with_genie:
                lost = 0.0
                for some in torch.arange(count, device=device).split(32):
                    part = family.Paths(*(x[some] for x in paths))
                    lost += _energy(family.genie(part, y[some], v) - h[some])
                rows.setdefault("genie", []).append(10 * math.log10(lost / energy))
        result[case] = {name: [round(value, 3) for value in row] for name, row in rows.items()}
    return result


def table(result: dict[str, dict[str, list[float]]]) -> str:
    """`curve`'s result as text, one line a case and quantity."""
    lines = [f"{'SNR, dB':24s}" + "".join(f"{snr:8d}" for snr in SNR_DB)]
    for case, rows in result.items():
        for name, row in rows.items():
            lines.append(f"{case + ' ' + name:24s}" + "".join(f"{x:8.2f}" for x in row))
    return "\n".join(lines)


def _energy(h: Tensor) -> float:
    return float(h.abs().double().square().sum())
