"""Tang Fig. 4: training loss over steps."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..priors.files import load_cell_prior
from .result import Output, Progress, Result, Rows
from .style import BLUE, DASHES, INK, drawing

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw(rows: Rows, exact: float) -> Figure:
    """Training loss over steps, both logarithmic, and the loss of the exact score."""
    with drawing(8, 5) as figure:
        axes = figure.subplots()
        steps, losses = [row["step"] for row in rows], [row["loss"] for row in rows]
        axes.plot(steps, losses, color=BLUE, lw=1.8, label="score network")
        axes.axhline(exact, color=INK, ls=DASHES[1], label="exact score")
        axes.set(title="Denoising score matching", xlabel="update", ylabel="loss per entry", xscale="log", yscale="log")
        axes.grid(True)
        axes.legend()
    return figure


def command(
    *,
    output: Output = Path("out"),
    prior: Annotated[str, typer.Option(help="Shipped score network of a cell, or a file.")] = "cell-network",
    progress: Progress,
) -> Result:
    """Training loss over steps, Tang Fig. 4, beside the loss of the exact score, which no network can go below.

    The curve is the one in the prior's file; the other loss is measured anew, and the network's on the same draws.
    """
    from ..training.cell import final_losses

    loaded = load_cell_prior(prior)
    curve = loaded.metadata.get("losses")
    if not curve:
        raise ValueError(f"--prior: expected a file with its training losses, found {prior!r} without")
    rows = [{"step": int(step), "loss": loss} for step, loss, *_ in curve]
    network, exact = final_losses(loaded)
    text = (
        f"{loaded.metadata['steps']} updates; loss per entry of the trained network {network:.5f}, "
        f"of the exact score {exact:.5f}"
    )
    facts = {"prior": prior, "network": network, "exact": exact}
    return Result(rows, {"tang-4": draw(rows, exact)}, facts, text=text)
