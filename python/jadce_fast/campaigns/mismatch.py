"""Blocks that do not fit a receiver's model, by kind and size of what is wrong, and what the receiver says of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import _check
from ..metrics import score
from ..receiver import Receiver
from .engine import Point, Stop, run
from .ofdm_drop import Drop, Scenario, draw_drop, draw_pilots
from .store import Lists, Store, count_draws, fingerprint

SPACING = 30e3  # of subcarriers, Hz
MATCHED = Scenario(devices=400)
Block = npt.NDArray[np.complex64]


def rotate(y: Block, cycles: float) -> Block:
    """Carrier offset in cycles a symbol."""
    return np.asarray(y * np.exp(2j * np.pi * cycles * np.arange(len(y)))[:, None, None], np.complex64)


def middle(h: Block, cycles: float) -> Block:
    """Channels (A, N, M) in the middle of the block under that offset."""
    return np.asarray(h * np.exp(1j * np.pi * cycles * (MATCHED.symbols - 1)), np.complex64)


def hasten(y: Block, microseconds: float) -> Block:
    """Devices that are early by so much."""
    turn = 2j * np.pi * SPACING * 1e-6 * microseconds * np.arange(y.shape[1])
    return np.asarray(y * np.exp(turn)[None, :, None], np.complex64)


def shuffle(y: Block, wrong: float) -> Block:
    """Subcarriers in FFT order, if it is wrong."""
    return np.fft.fftshift(y, axes=1) if wrong else y


@dataclass(frozen=True)
class Mismatch:
    """A kind of mismatch.

    Attributes
    ----------
    label : str
        What is wrong, and after a comma in which units.
    sizes : tuple of float
        The first one is none at all.
    change, truth : callable
        Make the received block (T, N, M), and the channels (A, N, M) that are in it, of a size from those that fit.
    told : bool
        The size is the noise variance that the receiver is told, over the true one.
    delay_spread : bool
        The size is the delay spread in nanoseconds of channels for a receiver that expects 100 to 363.
    """

    label: str
    sizes: tuple[float, ...]
    change: Callable[[Block, float], Block] = lambda y, size: y
    truth: Callable[[Block, float], Block] = lambda h, size: h
    told: bool = False
    delay_spread: bool = False

    def scenario(self, size: float) -> Scenario:
        """Where the block comes from."""
        return replace(MATCHED, delay_spread=(1e-9 * size, 1e-9 * size)) if self.delay_spread else MATCHED


MISMATCHES = (
    Mismatch("carrier offset, cycles a symbol", (0.0, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02), rotate, middle),
    Mismatch("early by, µs", (0.0, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0), hasten, hasten),
    Mismatch("noise told, over noise", (1.0, 0.1, 0.2, 0.5, 0.8, 1.25, 2.0, 5.0, 10.0), told=True),
    Mismatch("delay spread, ns", (300.0, 400.0, 500.0, 700.0, 1000.0, 1500.0), delay_spread=True),
    Mismatch("FFT order, 1 if so", (0.0, 1.0), shuffle, shuffle),
)


@dataclass(frozen=True)
class MismatchRow:
    """What a receiver made of the blocks of one kind and size.

    Attributes
    ----------
    mismatch : str
    size : float
    blocks, trusted, active, missed, false_alarms : int
    explained, least, most : float
        Medians of ``Detection.explained``.
    nmse_db : float
    """

    mismatch: str
    size: float
    blocks: int
    trusted: int
    active: int
    missed: int
    false_alarms: int
    explained: float
    least: float
    most: float
    nmse_db: float


def measure_mismatch(
    prior: str = "cdl",
    draws: int = 20,
    seed: int = 0,
    *,
    mismatches: Sequence[Mismatch] = MISMATCHES,
    threads: int | None = None,
    resume: Any = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[MismatchRow]:
    """Detect blocks that do not fit.

    Parameters
    ----------
    prior : str
        Name or file of the receiver's prior.
    draws : int
        Blocks of each kind and size, the same ones where the channels are.
    seed : int
    mismatches : sequence of Mismatch
    threads : int, optional
        Native threads.
    resume : path-like, optional
        Directory that keeps what is done.
    progress : callable, optional
        Called with the number of blocks that are done, and of all.

    Returns
    -------
    list of MismatchRow

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range, or the directory is of another campaign.
    """
    from ..priors.files import resolve_prior

    draws = _check.integer("draws", draws, 1)
    loaded = resolve_prior(prior, MATCHED.subcarriers)
    setup = {"seed": _check.integer("seed", seed, 0), "prior": prior, "fingerprint": fingerprint(loaded)}
    store = Store(resume, "mismatch", setup)
    pilots = draw_pilots(MATCHED, seed)
    receiver = Receiver(pilots, MATCHED.antennas, loaded, MATCHED.activity_rate, threads=threads)
    places = [(kind, size) for kind in mismatches for size in kind.sizes]
    rows = []
    for i, (kind, size) in enumerate(places):
        scenario = kind.scenario(size)
        lists = store.lists({"mismatch": kind.label, "size": size, "scenario": asdict(scenario)})

        def draw(trial: int, scenario: Scenario = scenario) -> Drop:
            return draw_drop(scenario, seed, trial, pilots)

        def count(_: int, done: int, i: int = i) -> None:
            if progress is not None:
                progress(i * draws + done, len(places) * draws)

        detect = partial(_detect, receiver, kind, size)
        run(store, [Point({"": lists}, draw, {"": detect})], Stop(draws), progress=count)
        rows.append(_row(kind, size, lists, draws))
    return rows


def _detect(receiver: Receiver, kind: Mismatch, size: float, drop: Drop) -> dict[str, float]:
    y = kind.change(drop.y, size)
    out = receiver.detect(y, drop.noise_var * (size if kind.told else 1.0))
    errors = score(out, drop.active, kind.truth(drop.channels, size))
    names = ("active", "missed", "false_alarms", "error_energy", "channel_energy")
    ratio, least, most = out.explained
    numbers = {"trusted": float(out.trusted), "explained": ratio, "least": least, "most": most}
    return numbers | {name: float(getattr(errors, name)) for name in names}


def _row(kind: Mismatch, size: float, lists: Lists, draws: int) -> MismatchRow:
    blocks = min(draws, count_draws(lists))
    total = {name: sum(values[:blocks]) for name, values in lists.items()}
    middle = {name: float(np.median(lists[name][:blocks])) for name in ("explained", "least", "most")}
    counts = {name: int(total[name]) for name in ("trusted", "active", "missed", "false_alarms")}
    nmse = 10 * float(np.log10(total["error_energy"] / total["channel_energy"]))
    numbers: dict[str, Any] = counts | middle | {"blocks": blocks, "nmse_db": nmse}
    return MismatchRow(mismatch=kind.label, size=size, **numbers)
