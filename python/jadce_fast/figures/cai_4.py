"""Cai Fig. 4: denoising error over SNR of baselines, priors and the genie."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..campaigns.denoising import Row, benchmark
from ..campaigns.estimators import BASELINES, GENIE
from ..campaigns.held_out import NOISES, HeldOut
from ..priors.files import shipped_priors
from .result import Output, Progress, Result, Seed, Snr, Table, over_snr, snr_levels
from .style import COLOURS, DASHES, GRID, INK, drawing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_BASELINES = {  # label, colour, marker
    "ls": ("least squares", "#8a949e", "x"),
    "omp": ("OMP, 100 atoms", "#a6761d", "s"),
    "omp-stop": ("OMP, ends at the noise", "#a6761d", "D"),
    "bg": ("Bernoulli-Gaussian, 0.15", "#7d6bb0", "^"),
    "bg-em": ("Bernoulli-Gaussian, EM", "#7d6bb0", "v"),
    "valse": ("VALSE", INK, "P"),
}
_PRIOR_MARKERS = "o<>hp*dH8"
_COSTS = ("channels", "ms a channel", "weights", "million MACs")
_NEAR_DB = 4.0  # the panel of distances to the genie ends here


def command(
    *,
    output: Output = Path("out"),
    channels: Annotated[int, typer.Option(help="Channels; 5000 for two digits.")] = 500,
    slow_channels: Annotated[int, typer.Option(help="Channels for OMP, VALSE and networks above 5e7 MACs.")] = 50,
    snr: Snr = "-10:30:10",
    prior: Annotated[
        list[str] | None, typer.Option(help="Shipped prior, gaussian, or file; repeat.", show_default="all shipped")
    ] = None,
    baseline: Annotated[
        list[str] | None, typer.Option(help="ls, omp, omp-stop, bg, bg-em or valse; repeat.", show_default="all")
    ] = None,
    model: Annotated[str, typer.Option(help="CDL model A ... E.")] = "C",
    angles: Annotated[str, typer.Option(help="Table's column of angles: arrival or departure.")] = "arrival",
    noise: Annotated[str, typer.Option(help="white, coloured (10:1 over beams) or both.")] = "both",
    seed: Seed = 0,
    threads: Annotated[int, typer.Option(help="Threads of torch.")] = 1,
    progress: Progress,
) -> Result:
    """Denoising error over SNR, Cai Fig. 4, of baselines, priors and the genie.

    With the defaults five to ten minutes on one core, half of them for VALSE and OMP; --baseline ls leaves them out.
    The directory OUTPUT/cai-4 keeps what is done: an interrupted or extended command goes on from it.
    """
    if noise not in (*NOISES, "both"):
        raise ValueError(f"--noise: expected white, coloured or both, found {noise!r}")
    for name in baseline or ():
        if name not in BASELINES:
            raise ValueError(f"--baseline: expected {' or '.join(BASELINES)}, found {name!r}")
    kinds = NOISES if noise == "both" else (noise,)
    setting, levels = HeldOut(model, angles, seed=seed), snr_levels(snr)
    output.mkdir(parents=True, exist_ok=True)
    rows = benchmark(
        setting,
        [*(baseline or BASELINES), *(prior or shipped_priors())],
        levels,
        kinds,
        channels=channels,
        slow_channels=slow_channels,
        threads=threads,
        resume=output / "cai-4",
        progress=lambda done, name: progress(done, channels, name),
    )
    pictures, tables = {}, []
    for kind in kinds:
        own = [row for row in rows if row.noise == kind]
        size = f"{setting.subcarriers} subcarriers × {setting.antennas} antennas"
        title = f"CDL-{model}, {angles} angles, {size}, {kind} noise"
        pictures["cai-4" if kind == "white" else f"cai-4-{kind}"] = draw(own, title)
        tables += _tables(own, f"{kind} noise")
    return Result([asdict(row) for row in rows], pictures, {"setting": asdict(setting), "threads": threads}, tables)


def draw(rows: Sequence[Row], title: str) -> Figure:
    """Draw NMSE over SNR, and the distance to the genie with two standard errors, of one kind of noise."""
    lines: dict[str, list[Row]] = {}
    for row in rows:
        lines.setdefault(row.estimator, []).append(row)
    priors = [name for name in lines if name not in (*_BASELINES, GENIE)]
    with drawing(13.2, 6.2, title, **GRID) as figure:
        left, right = figure.subplots(1, 2)
        for name, own in lines.items():
            look: dict[str, Any] = {"lw": 2.0, "ms": 7, "mec": "white", "mew": 0.6}
            if name == GENIE:
                look |= {"label": "genie (true paths)", "color": "black", "ls": DASHES[1], "lw": 1.8, "zorder": 4}
            elif name in _BASELINES:
                label, colour, marker = _BASELINES[name]
                look |= {"label": label, "color": colour, "marker": marker, "lw": 1.4, "ls": (0, (2, 1.5))}
                look |= {"mec": colour, "mew": 1.2} if marker == "x" else {}
            else:
                i = priors.index(name)
                look |= {"label": _prior_label(name), "color": COLOURS[i % len(COLOURS)], "zorder": 3}
                look |= {"marker": _PRIOR_MARKERS[i % len(_PRIOR_MARKERS)]}
            snr = [row.snr_db for row in own]
            left.plot(snr, [row.nmse_db for row in own], **look)
            gap = [row.genie_gap_db for row in own]
            errors = [2 * (row.genie_gap_db_se or 0.0) for row in own]
            right.errorbar(snr, gap, errors, capsize=2.5, elinewidth=1, **look)
        farthest = max((r.genie_gap_db + 2 * (r.genie_gap_db_se or 0) for n in priors for r in lines[n]), default=1.0)
        left.set(title="Denoising error", xlabel="SNR in dB", ylabel="NMSE in dB")
        right.set(title="Distance to the genie", xlabel="SNR in dB", ylabel="dB above the genie")
        right.set_ylim(-0.05, min(max(1.1 * farthest, 1.0), _NEAR_DB))
        handles, labels = left.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside right center", handlelength=2.6)
    return figure


def _prior_label(name: str) -> str:
    """Name of a prior, or of its file without the folder."""
    return f"network {Path(name).stem}" if name != "gaussian" else "Gaussian prior"


def _tables(rows: Sequence[Row], title: str) -> list[Table]:
    """Tables with a line for each estimator and a column for each SNR."""
    costs: dict[str, list[str]] = {}
    for name in dict.fromkeys(row.estimator for row in rows):
        own = [row for row in rows if row.estimator == name]
        costs[name] = [str(own[0].channels), f"{1e3 * median(r.seconds for r in own):.2f}", *_size(own[0])]
    tables = []
    for text, column, digits in (
        ("NMSE in dB", "nmse_db", 2),
        ("dB above the genie", "genie_gap_db", 2),
        ("promised / true squared error", "calibration", 3),
        ("divergence, probe / promise", "divergence_ratio", 3),
    ):
        some = [r for r in rows if getattr(r, column) is not None and (column, r.estimator) != ("genie_gap_db", GENIE)]
        cells = [(r.estimator, r.snr_db, _number(getattr(r, column), getattr(r, f"{column}_se"), digits)) for r in some]
        more = (_COSTS, costs) if column == "nmse_db" else ((), {})
        if cells:
            tables.append(over_snr(f"{title}: {text}", cells, *more))
    return tables


def _number(value: float, error: float | None, digits: int) -> str:
    return f"{value:.{digits}f}" + ("" if error is None else f" ± {error:.{digits}f}")


def _size(row: Row) -> list[str]:
    weights = "" if row.parameters is None else str(row.parameters)
    return [weights, "" if row.multiplications is None else f"{1e-6 * row.multiplications:.2f}"]
