"""Denoising benchmark, Cai Fig. 4: error of estimators over SNR, calibration and divergence of priors.

Every estimator sees the same held-out channels and the same noise, at all SNRs. The genie is always among them.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from .. import _check
from ..campaigns.estimators import GENIE, Estimator, load_estimator
from ..campaigns.held_out import CHUNK, NOISES, HeldOut
from ..campaigns.ofdm_campaign import write_text

_SAVE_EVERY = 20.0  # seconds between writes of the file to resume from
_Lists = dict[str, list[float]]
_Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Row:
    """One estimator at one SNR in one kind of noise. Standard errors of a single channel are None.

    Attributes
    ----------
    estimator, noise : str
    snr_db : float
        Mean power of a channel over that of the noise.
    channels : int
        How many were estimated.
    nmse_db, nmse_db_se : float
        Summed squared errors over summed energies, all N subcarriers, and its standard error.
    genie_gap_db, genie_gap_db_se : float
        Distance to the genie on the same channels.
    seconds : float
        Per channel, median over batches of 25.
    calibration, calibration_se : float or None
        Promised over true squared error, sums over the coefficients that the prior keeps.
    divergence, promised_divergence : float or None
        By a Monte-Carlo probe, and from the promised variance, var / v; mean over N M coefficients.
    divergence_ratio, divergence_ratio_se : float or None
        Probe over promise; one for a posterior mean with its true variance.
    parameters, multiplications : int or None
        Of the network: weights, multiply-accumulate operations a channel.
    """

    estimator: str
    noise: str
    snr_db: float
    channels: int
    nmse_db: float
    nmse_db_se: float | None
    genie_gap_db: float
    genie_gap_db_se: float | None
    seconds: float
    calibration: float | None = None
    calibration_se: float | None = None
    divergence: float | None = None
    promised_divergence: float | None = None
    divergence_ratio: float | None = None
    divergence_ratio_se: float | None = None
    parameters: int | None = None
    multiplications: int | None = None


def benchmark(
    setting: HeldOut,
    estimators: Sequence[str],
    snr_db: Sequence[float] = (-10, 0, 10, 20, 30),
    noises: Sequence[str] = NOISES,
    *,
    channels: int = 500,
    slow_channels: int = 50,
    threads: int = 1,
    resume: str | os.PathLike[str] | None = None,
    progress: Callable[[int, str], None] | None = None,
) -> list[Row]:
    """Denoise the same channels with several estimators.

    Parameters
    ----------
    setting : HeldOut
    estimators : sequence of str
        "ls", "omp" (100 atoms), "omp-stop" (100 atoms at most, ends at the noise), "bg" (sparsity 0.15), "bg-em",
        "valse", "gaussian", and names or files of priors. The genie is added.
    snr_db : sequence of float
    noises : sequence of str
        Of "white" and "coloured": a variance per beam, max/min = 10, as of ``noise_profiles``. Estimators are told
        the variances, but priors that work on antennas only their mean.
    channels : int
        Number of channels.
    slow_channels : int
        Number of channels, the first ones, for OMP, VALSE and networks of more than 5e7 multiplications.
    threads : int
        Of torch.
    resume : path-like, optional
        JSON file that keeps what is done; an interrupted run goes on from it. Baselines whose code and networks
        whose weights have changed are measured anew; what the file has of other estimators, SNRs and noises stays.
    progress : callable, optional
        Called with the number of channels that are done and the estimator that is at work.

    Returns
    -------
    list of Row
        By noise, then estimator in the given order with the genie last, then SNR.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range or unknown, or the file to resume from is of other channels.
    FileNotFoundError
        If there is no file of that name with a prior.
    """
    channels = _check.integer("channels", channels, 1)
    slow_channels = _check.integer("slow_channels", slow_channels, 1)
    threads = _check.integer("threads", threads, 1)
    levels = [_check.real("snr_db", snr, -100, 100, closed=True) for snr in dict.fromkeys(snr_db)]
    kinds = list(dict.fromkeys(noises))
    for argument, given in (("snr_db", levels), ("noises", kinds)):
        if not given:
            raise ValueError(f"{argument}: expected at least one, found none")
    for kind in kinds:
        if kind not in NOISES:
            raise ValueError(f"noises: expected white or coloured, found {kind!r}")
    names = [*(name for name in dict.fromkeys(estimators) if name != GENIE), GENIE]
    at_work = [load_estimator(name, setting) for name in names]
    count = {e.name: min(channels, slow_channels) if e.slow else channels for e in at_work}
    store = _Store(resume, asdict(setting) | {"delay_spread": list(setting.delay_spread), "threads": threads})
    conditions = [(kind, snr) for kind in kinds for snr in levels]

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        for start in range(0, channels, CHUNK):
            chunk = None
            for estimator in at_work:
                for kind, snr in conditions:
                    lists = store.lists(estimator.name, kind, snr, estimator.fingerprint)
                    first, last = max(len(lists["error"]), start), min(start + CHUNK, count[estimator.name])
                    if first >= last:
                        continue
                    if progress is not None:
                        progress(start, estimator.name)
                    chunk = setting.chunk(start // CHUNK) if chunk is None else chunk
                    found = estimator.measure(chunk.part(first - start, last - start), kind, snr)
                    if not np.isfinite(found["error"]).all():
                        raise ValueError(f"{estimator.name}: expected finite estimates, found others at {snr:g} dB")
                    for name, values in found.items():
                        # Six digits are enough and keep the file small.
                        lists.setdefault(name, []).extend(float(f"{x:.6g}") for x in np.asarray(values).tolist())
                    store.save(_SAVE_EVERY)
            if progress is not None:
                progress(min(start + CHUNK, channels), "")
    finally:
        torch.set_num_threads(before)
        store.save()

    energy = setting.subcarriers * setting.antennas  # of every channel
    return [
        _row(estimator, kind, snr, count[estimator.name], energy, store)
        for kind in kinds
        for estimator in at_work
        for snr in levels
    ]


def _row(estimator: Estimator, noise: str, snr: float, count: int, energy: int, store: _Store) -> Row:
    """Sum up the first `count` channels of one estimator."""
    lists = store.lists(estimator.name, noise, snr, estimator.fingerprint)
    columns = {name: np.array(values[:count]) for name, values in lists.items()}
    error = columns["error"]
    genie = np.array(store.lists(GENIE, noise, snr, "")["error"][:count])
    nmse, nmse_se = _ratio(error, np.full(count, float(energy)))
    gap, gap_se = _ratio(error, genie)
    row: dict[str, Any] = {}
    if "promised_error" in columns:
        row["calibration"], row["calibration_se"] = _ratio(columns["promised_error"], columns["kept_error"])
    if "divergence" in columns:
        probed, promised = columns["divergence"], columns["promised_divergence"]
        row["divergence"], row["promised_divergence"] = float(probed.mean() / energy), float(promised.mean() / energy)
        row["divergence_ratio"], row["divergence_ratio_se"] = _ratio(probed, promised)
    return Row(
        estimator.name,
        noise,
        snr,
        count,
        _db(nmse),
        _db_error(nmse, nmse_se),
        _db(gap),
        _db_error(gap, gap_se),
        float(np.median(lists["seconds"])),
        parameters=estimator.parameters,
        multiplications=estimator.multiplications,
        **row,
    )


def _ratio(above: _Floats, below: _Floats) -> tuple[float, float | None]:
    """Ratio of means and its standard error by the delta method; None for one channel."""
    ratio = float(above.mean() / below.mean())
    if len(above) < 2:
        return ratio, None
    return ratio, float(np.std(above - ratio * below, ddof=1) / below.mean() / len(above) ** 0.5)


def _db(ratio: float) -> float:
    return 10 * float(np.log10(ratio))


def _db_error(ratio: float, error: float | None) -> float | None:
    return None if error is None else 10 / float(np.log(10)) * error / ratio


class _Store:
    """Numbers of every channel by estimator, noise and SNR, in a JSON file if there is a path."""

    def __init__(self, path: str | os.PathLike[str] | None, setup: dict[str, Any]) -> None:
        self._path = None if path is None else Path(path)
        self._setup = setup
        self._entries: dict[tuple[str, str, float], dict[str, Any]] = {}
        self._saved = time.monotonic()
        if self._path is not None and self._path.exists():
            self._load(self._path)

    def lists(self, estimator: str, noise: str, snr: float, fingerprint: str) -> _Lists:
        """What is measured so far; nothing, if it was of other code or weights."""
        entry = self._entries.get((estimator, noise, snr))
        if entry is None or entry["fingerprint"] != fingerprint:
            entry = {"estimator": estimator, "noise": noise, "snr_db": snr, "fingerprint": fingerprint}
            entry["lists"] = {"seconds": [], "error": []}
            self._entries[estimator, noise, snr] = entry
        lists: _Lists = entry["lists"]
        return lists

    def save(self, interval: float = 0.0) -> None:
        """Write the file if the last time is longer ago than `interval` seconds."""
        if self._path is None or time.monotonic() - self._saved < interval:
            return
        entries = [e for e in self._entries.values() if e["lists"]["error"]]
        write_text(self._path, json.dumps({"setup": self._setup, "entries": entries}, allow_nan=False))
        self._saved = time.monotonic()

    def _load(self, path: Path) -> None:
        try:
            found = json.loads(path.read_text())
            setup = dict(found["setup"])
            for entry in found["entries"]:
                lists = entry["lists"]
                whole = min(len(values) for name, values in lists.items() if name != "seconds")
                for name in lists.keys() - {"seconds"}:
                    del lists[name][whole:]  # an interrupt may have come between two lists
                if not isinstance(entry["fingerprint"], str) or "error" not in lists:
                    raise ValueError("an entry without errors or fingerprint")
                self._entries[entry["estimator"], entry["noise"], entry["snr_db"]] = entry
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{path}: expected a denoising benchmark, found another file ({error})") from None
        for key, value in self._setup.items():
            if setup.get(key) != value:
                raise ValueError(f"{path}: expected a benchmark with {key}={value}, found {setup.get(key)}")
