"""The picture of ``jadce demo``: who is active, one channel and its estimates, NMSE over iterations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..campaigns.demo import Contender, Demonstration
from .style import BLUE, DASHES, GREY, INK, ORANGE, drawing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_RANGE_DB = 35.0  # dynamic range of channel images
_PAD = 4  # zero padding of the delay-angle transform


def demo_figure(demo: Demonstration) -> Figure:
    """Draw activity probabilities, a channel and its estimates, and NMSE per iteration."""
    learned, gaussian, genie = demo.contenders
    s = demo.scenario
    with drawing(13.6, 7.65) as figure:
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
    period = 1e6 / spacing  # length of the delay axis, microseconds
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
        (genie, "genie (true paths)", INK, None, DASHES[1]),
    ):
        curve = (0.0, *contender.nmse_db)  # before the first iteration every estimate is zero
        steps = np.arange(len(curve))
        axes.plot(steps, curve, color=colour, marker=marker, ls=line, lw=2.2, ms=6.5)
        # The receiver has finished: its estimate stays.
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
