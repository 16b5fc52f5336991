"""A coded link after the pilots: active devices of a cell send LDPC-coded QPSK over channels that were estimated."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import _check
from ..priors.cell import CellPrior
from .cell_campaign import SAVE_EVERY
from .cell_drop import CellDrop, CellScenario, draw_cell
from .cell_receivers import Estimate, load_receiver, true_matrix
from .impairments import complex_normal
from .store import Store

INFORMATION_BITS, CODED_BITS = 200, 400  # of a word of the 5G LDPC code; two bits a symbol
_ITERATIONS = 20  # of the decoder
_DATA_STREAM = 3  # random stream of one seed

Complex = npt.NDArray[np.complex128]


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
    h = found.x[:, devices]
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
        Called with the number of draws done and that of all; an exception in it cancels, and the file is written.

    Returns
    -------
    list of LinkRow
        In the order of points, then receivers.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range or unknown, Sionna is missing, or the file to resume from is of another campaign.
    """
    draws, seed = _check.integer("draws", draws, 1), _check.integer("seed", seed, 0)
    code, store = Code(), Store(resume, "coded link", {"seed": seed})
    rows, done = [], 0
    try:
        for scenario in points:
            world = belief or scenario.prior
            at_work = {name: load_receiver(name, scenario, world, seed, threads, {}) for name in receivers}
            key = {"scenario": asdict(scenario), "belief": asdict(world)}
            kept = {
                name: store.lists(key | {"receiver": name, "fingerprint": receiver.fingerprint})
                for name, receiver in at_work.items()
            }
            for trial in range(draws):
                waiting = [name for name in receivers if len(kept[name].get("words", ())) <= trial]
                if waiting:
                    drop = draw_cell(scenario, seed, trial)
                    bits, y = _data(code, drop, scenario.noise_var, seed, trial)
                for name in waiting:
                    store.add(kept[name], _words(code, drop, at_work[name].estimate(drop), bits, y))
                done += 1
                store.save(SAVE_EVERY)
                if progress is not None:
                    progress(done, len(points) * draws)
            for name in receivers:
                counts = {f: int(sum(kept[name][f][:draws])) for f in ("words", "lost", "missed")}
                rows.append(LinkRow(name, scenario.snr_db, **counts))
    finally:
        store.save()
    return rows


def _data(code: Code, drop: CellDrop, noise_var: float, seed: int, trial: int) -> tuple[npt.NDArray[np.int64], Complex]:
    """Bits of the active devices, and what is received of their symbols."""
    rng = np.random.default_rng((seed, _DATA_STREAM, trial))
    bits = rng.integers(0, 2, (len(drop.active), INFORMATION_BITS))
    x, active = true_matrix(drop)
    noise = np.sqrt(noise_var) * complex_normal(rng, len(drop.y), CODED_BITS // 2)
    return bits, (x[:, active] @ code.send(bits) if len(bits) else 0) + noise


def _words(code: Code, drop: CellDrop, found: Estimate, bits: npt.NDArray[np.int64], y: Complex) -> dict[str, float]:
    """Words sent, lost, and lost because their device was missed."""
    devices, symbols, variance = equalise(y, found, drop.noise_var)
    heard = np.isin(drop.active, devices)
    decoded = code.receive(symbols, variance) if len(devices) else np.zeros((0, INFORMATION_BITS), np.int64)
    right = 0
    for k, sent in zip(drop.active[heard], bits[heard], strict=True):
        right += int(np.array_equal(decoded[np.searchsorted(devices, k)], sent))
    words = len(drop.active)
    return {"words": words, "lost": words - right, "missed": int(np.sum(~heard))}
