"""How far probabilities of activity can be believed: reliability, and the expected calibration error of every point."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer

from ..campaigns.calibration import Contender, measure_calibration
from ..campaigns.odds import Calibration
from ..campaigns.ofdm_drop import Scenario
from .activity import draw_reliability
from .result import Output, Progress, Quick, Result, Rows, Seed, Table, Threads
from .style import BLUE, COLOURS, DASHES, GRID, INK, ORANGE, drawing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SPREADS = (0.0, 20.0, 30.0)
_MARKERS = dict(zip(_SPREADS, "os^", strict=True))
_GOAL = 0.01
_LEAST = 1e-5  # errors are drawn down to this
POINTS = [
    Scenario(symbols=t, snr_db=snr, power_spread_db=spread)
    for t in (2, 3, 5, 10, 20)
    for snr in (-15.0, -10.0, -5.0, 0.0, 10.0, 20.0)
    for spread in _SPREADS
] + [
    Scenario(devices=k, activity_rate=rate, symbols=t, snr_db=snr, power_spread_db=spread)
    for k, rate in ((400, 0.05), (3000, 0.05), (800, 0.01), (800, 0.15))
    for t in (5, 20)
    for snr in (-10.0, 10.0)
    for spread in _SPREADS[:2]
]


def command(
    *,
    output: Output = Path("out"),
    blocks: Annotated[
        int, typer.Option(help="Blocks at each of the 122 points, detected with known and unknown power.")
    ] = 20,
    prior: Annotated[str, typer.Option(help="Shipped prior, gaussian, or file.")] = "cdl",
    quick: Quick = False,
    seed: Seed = 0,
    threads: Threads = None,
    progress: Progress,
) -> Result:
    """Reliability of activity probabilities, and their expected calibration error at every point.

    T = 2 ... 20, -15 ... 20 dB, K = 400 ... 3000, 1 ... 15 % active, powers over 0, 20 and 30 dB. Some five minutes on
    one core. The directory OUTPUT/calibration keeps what is done; an interrupted command goes on.
    """
    points, blocks = (POINTS[::7], min(blocks, 3)) if quick else (POINTS, blocks)
    contenders = [Contender(prior, "unknown"), Contender(prior, "known")]
    output.mkdir(parents=True, exist_ok=True)
    found = measure_calibration(
        points,
        contenders,
        blocks,
        seed,
        threads=threads,
        resume=output / "calibration",
        progress=lambda done, total: progress(done, total, ""),
    )
    rows: Rows = []
    for scenario, own in zip(points, found, strict=True):
        about = {
            name: asdict(scenario)[name]
            for name in ("devices", "symbols", "snr_db", "activity_rate", "power_spread_db")
        }
        rows += [about | {"power": c.power} | x.row() for c, x in zip(contenders, own, strict=True)]
    pooled: dict[str, Calibration] = {}
    for i, contender in enumerate(contenders):
        # A receiver that is told the power takes it for that of all devices.
        some = [
            own[i]
            for s, own in zip(points, found, strict=True)
            if contender.power == "unknown" or s.power_spread_db == 0
        ]
        pooled[contender.power] = sum(some[1:], some[0])
    return Result(rows, {"calibration": draw(rows, pooled, prior)}, {"blocks": blocks, "prior": prior}, [_table(rows)])


def draw(rows: Rows, pooled: dict[str, Calibration], prior: str) -> Figure:
    """Draw shares of active devices over probabilities, and calibration errors over SNR."""
    title = f"Can a probability be believed? Prior {prior}, {len(rows) // 2} points, {rows[0]['blocks']} blocks each"
    with drawing(13.2, 6.0, title, **GRID) as figure:
        left, right = figure.subplots(1, 2, width_ratios=(1, 1.25))
        for (power, counts), colour in zip(pooled.items(), (BLUE, ORANGE), strict=True):
            draw_reliability(left, counts, {"label": f"power {power}", "color": colour})
        left.legend(loc="upper left")
        for i, symbols in enumerate(dict.fromkeys(row["symbols"] for row in rows)):
            for spread in _SPREADS:
                own = [
                    r for r in rows if (r["symbols"], r["power_spread_db"], r["power"]) == (symbols, spread, "unknown")
                ]
                snr = [r["snr_db"] + 0.5 * (i - 2) for r in own]
                error = [max(r["calibration_error"], _LEAST) for r in own]
                label = f"T={symbols}" if spread == 0 else None
                right.plot(snr, error, _MARKERS[spread], color=COLOURS[i], label=label, ms=6, mec="white", mew=0.5)
        for spread in _SPREADS[1:]:
            right.plot([], [], _MARKERS[spread], color=INK, label=f"powers over {spread:g} dB")
        right.axhline(_GOAL, color=INK, ls=DASHES[1], lw=1.2)
        right.set(
            title="Expected calibration error, power unknown",
            xlabel="SNR in dB",
            yscale="log",
            ylim=(0.7 * _LEAST, 0.1),
        )
        right.legend(loc="upper right", ncols=2, fontsize=10, columnspacing=1.0, handletextpad=0.3)
    return figure


def _table(rows: Rows) -> Table:
    """Worst points by symbols and spread."""
    lines: list[list[str]] = []
    for power in ("unknown", "known"):
        for spread in _SPREADS:
            for symbols in dict.fromkeys(row["symbols"] for row in rows):
                key = (power, spread, symbols)
                own = [r for r in rows if (r["power"], r["power_spread_db"], r["symbols"]) == key]
                if own:
                    lines.append([power, f"{spread:g} dB", str(symbols), *_cells(own)])
    columns = [
        "power",
        "spread",
        "T",
        "blocks",
        "active",
        "missed",
        "ghosts",
        "ECE, mean",
        "worst",
        "of those above 0.01",
    ]
    return Table("calibration", [*columns, "wrong above 0.99"], lines)


def _cells(own: Sequence[dict[str, Any]]) -> list[str]:
    total = {
        name: sum(r[name] for r in own) for name in ("blocks", "active", "missed", "false_alarms", "sure", "sure_wrong")
    }
    error = [r["calibration_error"] for r in own]
    plausible = float(np.mean([r["calibration_error_plausible"] for r in own]))
    counts = [str(total[name]) for name in ("blocks", "active", "missed", "false_alarms")]
    errors = [f"{np.mean(error):.4f}", f"{max(error):.4f}", f"{plausible:.3f}"]
    return [*counts, *errors, f"{total['sure_wrong']} of {total['sure']}"]
