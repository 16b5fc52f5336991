"""A coded link after the pilots: active devices of a cell send LDPC-coded QPSK over channels that were estimated."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import _check
from ..baselines.receivers.estimate import Complex, Estimate
from ..priors.cell import CellPrior
from .cell_drop import CellDrop, CellScenario, draw_cell
from .cell_receivers import Contender, load_receiver
from .engine import Point, Stop, run
from .impairments import complex_normal
from .store import Store

INFORMATION_BITS, CODED_BITS = 200, 400  # a word of the 5G LDPC code; symbols hold two bits
_ITERATIONS = 20  # iterations of the decoder
_DATA_STREAM = 3  # random stream of one seed


@dataclass(frozen=True)
class LinkRow:
    """Words of one receiver at one operating point.

    Attributes
    ----------
    receiver : str
    snr_db : float
    words, lost : int
        Words sent by active devices, and those that were not decoded, because of the channel or because the device was
        not detected.
    missed : int
        Of those, words of devices that were not detected.
    """

    receiver: str
    snr_db: float
    words: int
    lost: int
    missed: int

    @property
    def block_error_rate(self) -> float:
        """Share of words that were lost."""
        return self.lost / max(self.words, 1)

    def row(self) -> dict[str, Any]:
        """Flat form, one line of a table."""
        return asdict(self) | {"block_error_rate": self.block_error_rate}


class Code:
    """5G LDPC code of rate one half with QPSK: Sionna's, the field's reference implementation.

    Raises
    ------
    ValueError
        If Sionna is not installed.
    """

    def __init__(self) -> None:
        try:
            ldpc, mapping = (importlib.import_module(f"sionna.phy.{name}") for name in ("fec.ldpc", "mapping"))
        except ImportError:
            raise ValueError(
                "sionna: expected the package for the coded link, found none; pip install jadce-fast[sim]"
            ) from None
        encoder = ldpc.LDPC5GEncoder(INFORMATION_BITS, CODED_BITS)
        self._encode, self._map = encoder, mapping.Mapper("qam", 2)
        self._demap = mapping.Demapper("app", "qam", 2)
        self._decode = ldpc.LDPC5GDecoder(encoder, hard_out=True, num_iter=_ITERATIONS)

    def send(self, bits: npt.NDArray[np.int64]) -> Complex:
        """Symbols (K, 200) of information bits (K, 200)."""
        import torch

        return np.asarray(self._map(self._encode(torch.from_numpy(bits).float())).numpy(), np.complex128)

    def receive(self, symbols: Complex, variance: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
        """Information bits of symbols (K, 200) plus noise of variance (K,)."""
        import torch

        noise = torch.from_numpy(np.repeat(variance[:, None], symbols.shape[1], 1).astype(np.float32))
        soft = self._demap(torch.from_numpy(symbols.astype(np.complex64)), noise)
        return np.asarray(self._decode(soft).numpy(), np.int64)


def equalise(y: Complex, found: Estimate, noise_var: float) -> tuple[npt.NDArray[np.int64], Complex, Any]:
    """LMMSE detection of all devices found active; the variances of their channels count as noise.

    Parameters
    ----------
    y : ndarray, shape (M, S)
        Received data.
    found : Estimate
    noise_var : float

    Returns
    -------
    devices : ndarray, shape (D,)
    symbols : ndarray, shape (D, S)
        Unbiased.
    variance : ndarray, shape (D,)
        Of their noise.
    """
    devices = np.flatnonzero(found.active)
    h = found.x[devices].T
    level = noise_var + float(np.sum(np.maximum(found.variance[devices], 0)))
    filters = np.linalg.solve(h @ h.conj().T + level * np.eye(len(y)), h).conj().T
    gain = np.clip(np.real(np.einsum("dm,md->d", filters, h)), 1e-9, 1 - 1e-9)
    return devices, filters @ y / gain[:, None], (1 - gain) / gain


def simulate_link(
    points: Sequence[CellScenario],
    receivers: Sequence[str] = ("cell", "lmmse", "truth"),
    draws: int = 100,
    seed: int = 0,
    *,
    belief: CellPrior | None = None,
    threads: int | None = None,
    resume: str | os.PathLike[str] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[LinkRow]:
    """Block error rates with estimated and with true channels, on the same draws, data and noise.

    Parameters
    ----------
    points : sequence of CellScenario
        Data are received with the noise of the pilots.
    receivers : sequence of str
        As for `simulate_cell`, and "truth", which knows the channels and who is active.
    draws : int
    seed : int
    belief, threads, resume : see `simulate_cell`
    progress : callable, optional
        Called with the number of draws done and that of all; an exception in it cancels, and what is done is kept.

    Returns
    -------
    list of LinkRow
        In the order of points, then receivers.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range or unknown, Sionna is missing, or the directory is of another campaign.
    """
    draws, seed = _check.integer("draws", draws, 1), _check.integer("seed", seed, 0)
    code, store = Code(), Store(resume, "coded link", {"seed": seed})

    def run_point(index: int, scenario: CellScenario) -> list[LinkRow]:
        world = belief or scenario.prior
        at_work = {name: load_receiver(name, scenario, world, seed, threads, {}) for name in receivers}
        key = {"scenario": asdict(scenario), "belief": asdict(world)}
        kept = {n: store.lists(key | {"receiver": n, "fingerprint": c.fingerprint}) for n, c in at_work.items()}

        def draw(trial: int) -> _Sent:
            return _send(code, draw_cell(scenario, seed, trial), scenario.noise_var, (seed, _DATA_STREAM, trial))

        def count(_: int, done: int) -> None:
            if progress is not None:
                progress(index * draws + done, len(points) * draws)

        measure = {name: partial(_words, code, contender) for name, contender in at_work.items()}
        run(store, [Point(kept, draw, measure)], Stop(draws), progress=count)
        sums = ({f: int(sum(kept[n][f][:draws])) for f in ("words", "lost", "missed")} for n in receivers)
        return [LinkRow(name, scenario.snr_db, **own) for name, own in zip(receivers, sums, strict=True)]

    return [row for index, scenario in enumerate(points) for row in run_point(index, scenario)]


@dataclass(frozen=True)
class _Sent:
    """A drop, the bits of its active devices, and what is received of their symbols."""

    drop: CellDrop
    bits: npt.NDArray[np.int64]
    y: Complex


def _send(code: Code, drop: CellDrop, noise_var: float, stream: tuple[int, int, int]) -> _Sent:
    rng = np.random.default_rng(stream)
    bits = rng.integers(0, 2, (len(drop.active), INFORMATION_BITS))
    noise = np.sqrt(noise_var) * complex_normal(rng, drop.y.shape[2], CODED_BITS // 2)
    return _Sent(drop, bits, (drop.channels[:, 0].T @ code.send(bits) if len(bits) else 0) + noise)


def _words(code: Code, contender: Contender, sent: _Sent) -> dict[str, float]:
    """Words sent, lost, and lost because their device was missed."""
    drop = sent.drop
    devices, symbols, variance = equalise(sent.y, contender.estimate(drop), drop.noise_var)
    heard = np.isin(drop.active, devices)
    decoded = code.receive(symbols, variance) if len(devices) else np.zeros((0, INFORMATION_BITS), np.int64)
    right = 0
    for k, bits in zip(drop.active[heard], sent.bits[heard], strict=True):
        right += int(np.array_equal(decoded[np.searchsorted(devices, k)], bits))
    words = len(drop.active)
    return {"words": words, "lost": words - right, "missed": int(np.sum(~heard))}
