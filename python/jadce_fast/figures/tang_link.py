"""Block error rate of a coded link after the pilots."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..campaigns.cell_drop import CellScenario
from ..campaigns.cell_link import LinkRow, simulate_link
from .cell_curves import label_of, look_of
from .result import Output, Priors, Progress, Result, Seed, Snr, Threads, over_snr, snr_levels
from .style import DASHES, GRID, INK, drawing

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw(rows: Sequence[LinkRow]) -> Figure:
    """Draw block error rates over SNR; a rate of zero is not drawn."""
    with drawing(7.6, 5.2, **GRID) as figure:
        axes = figure.subplots()
        for i, name in enumerate(dict.fromkeys(row.receiver for row in rows)):
            own = [row for row in rows if row.receiver == name and row.lost > 0]
            look = look_of(0, i, True) | ({"ls": DASHES[1], "color": INK} if name == "truth" else {})
            axes.plot([r.snr_db for r in own], [r.block_error_rate for r in own], label=label_of(name), **look)
        axes.set(title="LDPC-coded QPSK, rate 1/2", xlabel="SNR in dB", ylabel="block error rate", yscale="log")
        axes.set_ylim(top=1.1)
        axes.legend()
    return figure


def command(
    *,
    output: Output = Path("out"),
    draws: Annotated[int, typer.Option(help="Draws at every SNR, each with some six words.")] = 100,
    snr: Snr = "0:40:5",
    prior: Priors = None,
    seed: Seed = 0,
    threads: Threads = None,
    progress: Progress,
) -> Result:
    """Block error rate of LDPC-coded QPSK after LMMSE detection with estimated and with true channels.

    Needs Sionna (pip install jadce-fast[sim]).
    The directory OUTPUT/tang-link keeps what is done; an interrupted run goes on.
    """
    import torch

    torch.set_num_threads(threads or 1)  # decoders of a few words are small: more threads wait for each other
    points = [CellScenario(snr_db=level) for level in snr_levels(snr)]
    output.mkdir(parents=True, exist_ok=True)
    rows = simulate_link(
        points,
        [*(prior or ["cell"]), "lmmse", "truth"],
        draws,
        seed,
        threads=threads,
        resume=output / "tang-link",
        progress=lambda done, total: progress(done, total, ""),
    )
    table = over_snr("block error rate", [(row.receiver, row.snr_db, f"{row.block_error_rate:.4f}") for row in rows])
    return Result([row.row() for row in rows], {"tang-link": draw(rows)}, {"draws": draws}, [table])
