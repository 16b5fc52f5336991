"""Arithmetic and seconds of a detection by every receiver, which Cai et al. do not give."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..baselines.receivers.by_name import is_baseline, prior_of
from ..priors.files import resolve_prior
from . import cai
from .result import Output, Progress, Result, Seed, Table
from .style import GRID, drawing
from .sweep import look_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RECEIVERS = (*cai.ALL, "cdl", "cdl-tiny", "printed-stmp:cdl-tiny", "oracle:cdl")
_MULTIPLY = 8  # real operations of a complex product and sum
_LAST = 2.0  # iterations of a cascade's last network, about


def command(
    *,
    output: Output = Path("out"),
    receiver: cai.Receivers = None,
    trials: cai.Trials = None,
    quick: cai.QuickSet = False,
    seed: Seed = 0,
    progress: Progress,
) -> Result:
    """Arithmetic and seconds of a detection: K=800, T=20, 10 dB, one thread.

    Operations are those of the leading terms (a product or a sum of real numbers is one) at the number of iterations
    that was measured; the time is the median over drops. OUTPUT/complexity keeps what is done.
    """
    run = cai.Run(output / "complexity", trials or (3 if quick else 20), seed, 1, None, progress)
    rows = cai.measure([cai.Group([cai.WORLD], receiver or RECEIVERS)], run)
    for row in rows:
        flops = operations(row["prior"], row["iterations"], row["active"] / row["trials"])
        row |= {"gflop": 1e-9 * flops, "gflop_per_second": 1e-9 * flops / row["seconds_p50"]}
    lines = [
        [
            *(look_of(r["prior"])["label"], f"{r['iterations']:.1f}", f"{r['gflop']:.3g}"),
            *(f"{1e3 * r['seconds_p50']:.3g}", f"{r['gflop_per_second']:.3g}", cai.level(r)),
        ]
        for r in rows
    ]
    columns = ["receiver", "iterations", "Gflop", "ms", "Gflop/s", "NMSE dB"]
    return Result(rows, {"complexity": draw(rows)}, {"trials": run.trials}, [Table("complexity", columns, lines)])


def operations(receiver: str, iterations: float, active: float) -> float:
    """Real operations of a detection in `cai.WORLD`, leading terms.

    Parameters
    ----------
    receiver : str
    iterations : float
    active : float
        Active devices: those that the library's network sees, and that greedy receivers take.
    """
    s = cai.WORLD
    n, m, t, k = s.subcarriers, s.array.antennas, s.symbols, s.devices
    product = _MULTIPLY * n * t * k * m  # pilots times all devices' channels
    head, name = receiver.partition(":")[0], prior_of(receiver) if is_baseline(receiver) else receiver
    prior: Any = None if name is None else resolve_prior(name, n)
    members = getattr(prior, "members", [prior])
    networks = [2.0 * p.network.multiplications(m) if hasattr(p, "network") else 0.0 for p in members]
    network = networks[0] + (networks[-1] - networks[0]) * min(_LAST / max(iterations, 1.0), 1.0)
    kept = n if prior is None or getattr(prior, "basis", None) is None else prior.basis.shape[1]
    if not is_baseline(receiver) or head == "bg":
        # Transforms of K points of every coefficient and beam, products with active devices' pilots, their network.
        transforms = 5 * kept * m * k * math.log2(k)
        return iterations * (transforms + _MULTIPLY * n * t * active * m + active * network)
    small, large = sorted((active * kept, float(n * t)))
    support = _MULTIPLY * (small**2 * large + small**3 + small * large * m)  # LMMSE of the devices that were found
    return {
        "lmmse": product + _MULTIPLY * n * t * t * m,
        "tmp-em": iterations * 2 * product,
        "mmv-amp": iterations * 2 * product,
        "gmmv-amp": iterations * (2 * product + 2 * product / 4),  # two products with |q|^2, which are real
        "covariance": iterations * 2 * _MULTIPLY * n * k * t * t + support,  # two quadratic forms a device and sweep
        "somp": active * product + support,
        "oracle": support,
        "printed-stmp": iterations * (2 * product + k * network),
    }.get(head, math.nan)


def draw(rows: Sequence[dict[str, Any]]) -> Figure:
    """Draw NMSE over seconds."""
    with drawing(10.5, 5.6, "K=800, T=20, 10 dB, one thread", **GRID) as figure:
        axes = figure.subplots()
        for row in rows:
            look = look_of(row["prior"]) | {"ls": "", "ms": 10}
            axes.plot([row["seconds_p50"]], [row["nmse_db"]], **look)
        axes.set(title="error over time", xlabel="seconds a detection", ylabel="NMSE, dB", xscale="log")
        figure.legend(*axes.get_legend_handles_labels(), loc="outside right upper", fontsize=10)
    return figure
