"""Pictures of demonstrations, campaigns, the denoising benchmark and trainings. Drawn without a display."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

from ..campaigns.demo import Contender, Demonstration
from ..campaigns.denoising import Row
from ..campaigns.estimators import GENIE
from ..campaigns.ofdm_campaign import Record
from ..campaigns.ofdm_drop import Scenario

# Okabe and Ito's colours, told apart with any colour vision.
INK, GREY, BLUE, ORANGE, GREEN = "#1b2733", "#aab4be", "#0072b2", "#d55e00", "#009e73"
_COLOURS = (BLUE, ORANGE, GREEN, "#cc79a7", "#56b4e9", "#e69f00")
_STYLE = {
    "font.family": "sans-serif",
    "font.size": 12,
    "axes.titlesize": 13.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 10,
    "axes.edgecolor": "#6b7783",
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid.axis": "y",
    "grid.color": "#e3e7eb",
    "text.color": INK,
    "xtick.color": "#46525e",
    "ytick.color": "#46525e",
    "legend.frameon": False,
    "figure.facecolor": "white",
}
_BASELINES = {  # of the denoising benchmark: label, colour, marker
    "ls": ("least squares", "#8a949e", "x"),
    "omp": ("OMP, 100 atoms", "#a6761d", "s"),
    "omp-stop": ("OMP, ends at the noise", "#a6761d", "D"),
    "bg": ("Bernoulli-Gaussian, 0.15", "#7d6bb0", "^"),
    "bg-em": ("Bernoulli-Gaussian, EM", "#7d6bb0", "v"),
    "valse": ("VALSE", INK, "P"),
}
_PRIOR_MARKERS = "o<>hp*dH8"
_NEAR_DB = 4.0  # the panel of distances to the genie ends here
_RANGE_DB = 35.0  # dynamic range of channel images
_PAD = 4  # zero padding of the delay-angle transform


def demo_figure(demo: Demonstration) -> Figure:
    """Draw activity probabilities, a channel and its estimates, and NMSE per iteration."""
    learned, gaussian, genie = demo.contenders
    s = demo.scenario
    with rc_context(_STYLE):
        figure = Figure(figsize=(13.6, 7.65), layout=ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.1))
        rows: Any = figure.subfigures(3, 1, height_ratios=(0.26, 0.95, 1.3))
        head, top, bottom = rows
        title = "Who is active, and through which channel?"
        head.text(0.012, 0.66, title, fontsize=19, weight="bold", va="center")
        setup = (
            f"{s.devices} devices share {s.symbols} pilot symbols × {s.subcarriers} subcarriers, "
            f"{s.antennas} antennas, {s.snr_db:g} dB, CDL-{s.model}; "
            f"one detection takes {learned.milliseconds:.3g} ms"
        )
        head.text(0.012, 0.16, setup, fontsize=13, color="#5b6874", va="center")
        left, right = bottom.subfigures(1, 2, width_ratios=(1.85, 1))
        _draw_activity(top.subplots(), learned, demo)
        _draw_channels(left.subplots(1, 3, sharey=True), demo, learned, gaussian)
        _draw_curves(right.subplots(), learned, gaussian, genie)
    return figure


def trials_figure(records: Sequence[Record], scenario: Scenario) -> Figure:
    """Draw the distribution over trials of NMSE and of detection time, one line for each prior."""
    names = list(dict.fromkeys(r.prior for r in records))
    with rc_context(_STYLE | {"axes.grid": True, "axes.grid.axis": "both"}):
        figure = Figure(figsize=(11, 4.6), layout="constrained")
        figure.suptitle(
            f"K={scenario.devices}, N={scenario.subcarriers}, M={scenario.antennas}, T={scenario.symbols}, "
            f"{scenario.snr_db:g} dB, activity {scenario.activity_rate:g}, CDL-{scenario.model}",
            x=0.012,
            ha="left",
            fontsize=13,
        )
        left, right = figure.subplots(1, 2)
        for i, name in enumerate(names):
            own = [r for r in records if r.prior == name]
            colour = _COLOURS[i % len(_COLOURS)]
            errors = [r.score.nmse_db for r in own if r.score.channel_energy > 0]
            _draw_distribution(left, errors, name, colour)
            _draw_distribution(right, [1e3 * r.seconds for r in own], name, colour)
        left.set(title="NMSE of a drop", xlabel="dB", ylabel="share of drops")
        right.set(title="Time of a detection", xlabel="ms", xscale="log")
        right.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        right.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        right.xaxis.set_minor_formatter(NullFormatter())
        left.legend()
    return figure


def denoising_figure(rows: Sequence[Row], title: str) -> Figure:
    """Draw NMSE over SNR, and the distance to the genie with two standard errors, of one kind of noise."""
    lines: dict[str, list[Row]] = {}
    for row in rows:
        lines.setdefault(row.estimator, []).append(row)
    priors = [name for name in lines if name not in (*_BASELINES, GENIE)]
    with rc_context(_STYLE | {"axes.grid": True, "axes.grid.axis": "both"}):
        figure = Figure(figsize=(13.2, 6.2), layout=ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.08, wspace=0.03))
        figure.suptitle(title, x=0.012, ha="left", fontsize=13)
        left, right = figure.subplots(1, 2)
        for name, own in lines.items():
            look: dict[str, Any] = {"lw": 2.0, "ms": 7, "mec": "white", "mew": 0.6}
            if name == GENIE:
                look |= {"label": "genie (true paths)", "color": "black", "ls": (0, (4, 2)), "lw": 1.8, "zorder": 4}
            elif name in _BASELINES:
                label, colour, marker = _BASELINES[name]
                look |= {"label": label, "color": colour, "marker": marker, "lw": 1.4, "ls": (0, (2, 1.5))}
                look |= {"mec": colour, "mew": 1.2} if marker == "x" else {}
            else:
                i = priors.index(name)
                look |= {"label": _prior_label(name), "color": _COLOURS[i % len(_COLOURS)], "zorder": 3}
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


def training_figure(rows: Sequence[dict[str, Any]], exact: float) -> Figure:
    """Training loss over steps, both logarithmic, and the loss of the exact score."""
    with rc_context(_STYLE):
        figure = Figure(figsize=(8, 5), layout=ConstrainedLayoutEngine())
        axes = figure.subplots()
        steps, losses = [row["step"] for row in rows], [row["loss"] for row in rows]
        axes.plot(steps, losses, color=BLUE, lw=1.8, label="score network")
        axes.axhline(exact, color=INK, ls=(0, (4, 2)), label="exact score")
        axes.set(title="Denoising score matching", xlabel="update", ylabel="loss per entry", xscale="log", yscale="log")
        axes.grid(True)
        axes.legend()
        return figure


def save_figure(figure: Figure, path: str | os.PathLike[str]) -> None:
    """Write a figure to .png, .pdf or .svg, atomically."""
    path = Path(path)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.tmp{path.suffix}")
    FigureCanvasAgg(figure)
    try:
        with rc_context(_STYLE):
            figure.savefig(temporary, dpi=160)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def delay_angle(channel: npt.ArrayLike, pad: int = _PAD) -> npt.NDArray[np.float64]:
    """Power of a channel over delay and angle.

    Parameters
    ----------
    channel : array_like, shape (N, M)
    pad : int
        Zero padding in each dimension.

    Returns
    -------
    ndarray of float64, shape (pad * N, pad * M)
        Delay i is i / (pad N spacing), circular; column j has sine 2 j / (pad M) - 1. Hann windows in both
        dimensions keep the side lobes of strong paths from covering weak ones.
    """
    h = np.asarray(channel, np.complex128)
    n, m = h.shape
    windowed = h * np.hanning(n + 2)[1:-1, None] * np.hanning(m + 2)[1:-1]
    delay = np.fft.ifft(windowed, pad * n, axis=0)
    angle = np.fft.fftshift(np.fft.fft(delay, pad * m, axis=1), axes=1)
    power: npt.NDArray[np.float64] = np.abs(angle) ** 2
    return power


def _draw_activity(axes: Any, learned: Contender, demo: Demonstration) -> None:
    probability = learned.detection.activity
    truth = np.zeros(demo.scenario.devices, bool)
    truth[demo.drop.active] = True
    idle = np.flatnonzero(~truth)
    active = np.flatnonzero(truth)
    axes.axhline(0.5, color=GREY, lw=1, ls=(0, (4, 3)))
    axes.vlines(active, 0, probability[active], color=BLUE, lw=1.3, alpha=0.75)
    dots = {"lw": 0, "clip_on": False}
    axes.scatter(idle, probability[idle], s=9, color=GREY, label="truly idle", zorder=2, **dots)
    axes.scatter(active, probability[active], s=30, color=BLUE, label="truly active", zorder=3, **dots)
    wrong = np.flatnonzero((probability >= 0.5) != truth)
    if len(wrong):
        ring = {"facecolors": "none", "edgecolors": ORANGE, "lw": 2, "clip_on": False}
        axes.scatter(wrong, probability[wrong], s=120, label="wrong decision", zorder=4, **ring)
    axes.set(
        xlim=(-0.01 * demo.scenario.devices, 1.01 * demo.scenario.devices),
        ylim=(-0.03, 1.08),
        yticks=(0, 0.5, 1),
        xlabel="device",
        ylabel="probability",
    )
    errors = learned.score
    axes.set_title(
        f"Activity of every device: {errors.active} active, {errors.missed} missed, {errors.false_alarms} false alarms"
    )
    axes.legend(loc="lower right", bbox_to_anchor=(1.005, 1), ncols=3, borderaxespad=0.2, handletextpad=0.1)


def _draw_channels(axes: Sequence[Any], demo: Demonstration, learned: Contender, gaussian: Contender) -> None:
    """Draw the same device true and estimated; the scale is that of the truth."""
    place = _showpiece(demo, learned)
    if place is None:
        for ax in axes:
            ax.set_axis_off()
        return
    device = int(demo.drop.active[place])
    truth = demo.drop.channels[place]
    images = [
        (f"Truth, device {device}", truth),
        ("Score-prior estimate", _estimate(learned, device)),
        ("Gaussian estimate", _estimate(gaussian, device)),
    ]
    peak = float(delay_angle(truth).max())
    spacing = 30e3
    period = 1e6 / spacing  # of the delay axis, microseconds
    for i, (ax, (title, channel)) in enumerate(zip(axes, images, strict=True)):
        power = np.zeros_like(delay_angle(truth)) if channel is None else delay_angle(channel)
        level = 10 * np.log10(np.maximum(power / peak, 1e-12))
        shift = power.shape[0] // 24
        image = ax.imshow(
            np.roll(level, shift, axis=0)[: 4 * shift],
            origin="lower",
            aspect="auto",
            extent=(-1, 1, -period / 24, 3 * period / 24),
            vmin=-_RANGE_DB,
            vmax=0,
            cmap="magma",
            interpolation="bilinear",
        )
        ax.set(title=title, xlabel="sine of angle", xticks=(-0.5, 0, 0.5))
        ax.spines[:].set_visible(False)
        if i == 0:
            ax.set_ylabel("delay in µs")
        else:
            ax.tick_params(left=False)
            corner = {"ha": "right", "va": "top", "transform": ax.transAxes}
            ax.text(0.97, 0.95, _error(channel, truth), color="white", weight="bold", **corner)
    bar = axes[0].figure.colorbar(image, ax=list(axes), aspect=32, pad=0.015, ticks=(0, -10, -20, -30))
    bar.outline.set_visible(False)
    bar.ax.set_title("dB", fontsize=11)


def _draw_curves(axes: Any, learned: Contender, gaussian: Contender, genie: Contender) -> None:
    last = max(len(c.nmse_db) for c in (learned, gaussian, genie))
    for contender, label, colour, marker, line in (
        (gaussian, "Gaussian prior", ORANGE, "s", "-"),
        (learned, "score prior", BLUE, "o", "-"),
        (genie, "genie (true paths)", INK, None, (0, (4, 2))),
    ):
        curve = (0.0, *contender.nmse_db)  # before the first iteration every estimate is zero
        steps = np.arange(len(curve))
        axes.plot(steps, curve, color=colour, marker=marker, ls=line, lw=2.2, ms=6.5)
        # Finished: the estimate stays.
        axes.plot((steps[-1], last + 0.4), [contender.nmse_db[-1]] * 2, color=colour, lw=1.4, ls=":")
        above = contender is not genie
        # The label ends at the right; a falling curve must pass below its left end.
        height = max(np.interp(0.52 * last, steps, curve), curve[-1]) if above else curve[-1]
        axes.annotate(
            f"{label}  {_db(contender.nmse_db[-1])}",
            (last + 0.4, height),
            xytext=(0, 6 if above else -6),
            textcoords="offset points",
            ha="right",
            va="bottom" if above else "top",
            color=colour,
            weight="bold",
        )
    axes.grid(True)
    every = [0.0, *learned.nmse_db, *gaussian.nmse_db, *genie.nmse_db]
    low, high = min(every), max(every)
    margin = 0.1 * max(high - low, 1.0)
    axes.set(
        title="Channel error of all active devices",
        xlabel="iteration",
        ylabel="NMSE in dB",
        xlim=(-0.2, last + 0.5),
        ylim=(low - 1.3 * margin, high + margin),
    )
    axes.xaxis.get_major_locator().set_params(integer=True)


def _draw_distribution(axes: Any, values: Sequence[float], name: str, colour: str) -> None:
    ordered = np.sort(values)
    share = np.arange(1, len(ordered) + 1) / max(len(ordered), 1)
    axes.plot(ordered, share, color=colour, lw=2.2, drawstyle="steps-post", label=name, marker="o", ms=3)
    axes.set(ylim=(0, 1.02))


def _prior_label(name: str) -> str:
    """Name of a prior, or of its file without the folder."""
    return f"network {Path(name).stem}" if name != "gaussian" else "Gaussian prior"


def _error(channel: npt.NDArray[np.complex64] | None, truth: npt.NDArray[np.complex64]) -> str:
    if channel is None:
        return "missed"
    ratio = np.sum(abs(channel - truth) ** 2) / np.sum(abs(truth) ** 2)
    return f"error {_db(10 * np.log10(max(float(ratio), 1e-30)))}"


def _db(level: float) -> str:
    return f"{level:.1f} dB".replace("-", "\N{MINUS SIGN}")


def _showpiece(demo: Demonstration, learned: Contender) -> int | None:
    """Position of the active, detected device with the richest channel: the largest entropy of its power."""
    detected = np.flatnonzero(np.isin(demo.drop.active, learned.detection.active))
    if not len(detected):
        return None
    shares = [power / power.sum() for power in (delay_angle(h, 1) for h in demo.drop.channels[detected])]
    return int(detected[np.argmax([-np.sum(p * np.log(p + 1e-30)) for p in shares])])


def _estimate(contender: Contender, device: int) -> npt.NDArray[np.complex64] | None:
    place = np.flatnonzero(contender.detection.active == device)
    return contender.detection.channels[place[0]] if len(place) else None
