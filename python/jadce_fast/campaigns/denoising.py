"""Denoising benchmark: error of estimators over SNR, calibration and divergence of priors.

Every estimator sees the same held-out channels and the same noise, at all SNRs. The genie is always among them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import _check
from .estimators import GENIE, Estimator, load_estimator
from .held_out import CHUNK, NOISES, HeldOut
from .store import SAVE_EVERY, Lists, Store, count_draws

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
        Per channel, median over channels, which are estimated in batches of 25.
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
        Directory that keeps what is done; an interrupted run goes on from it. Baselines whose code and networks
        whose weights have changed are measured anew; what it has of other estimators, SNRs and noises stays.
    progress : callable, optional
        Called with the number of channels that are done and the estimator that is at work.

    Returns
    -------
    list of Row
        By noise, then estimator in the given order with the genie last, then SNR.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range or unknown, or the directory to resume from is of other channels.
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
    store = Store(resume, "denoising", asdict(setting) | {"threads": threads})
    conditions = [(kind, snr) for kind in kinds for snr in levels]

    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        for start in range(0, channels, CHUNK):
            chunk = None
            for estimator in at_work:
                for kind, snr in conditions:
                    lists = _lists(store, estimator, kind, snr)
                    first, last = max(count_draws(lists), start), min(start + CHUNK, count[estimator.name])
                    if first >= last:
                        continue
                    if progress is not None:
                        progress(start, estimator.name)
                    chunk = setting.chunk(start // CHUNK) if chunk is None else chunk
                    found = estimator.measure(chunk.part(first - start, last - start), kind, snr)
                    if not np.isfinite(found["error"]).all():
                        raise ValueError(f"{estimator.name}: expected finite estimates, found others at {snr:g} dB")
                    store.add(lists, found)
                    store.save(SAVE_EVERY)
            if progress is not None:
                progress(min(start + CHUNK, channels), "")
    finally:
        torch.set_num_threads(before)
        store.save()

    energy = setting.subcarriers * setting.antennas  # every channel has this one

    def row(estimator: Estimator, kind: str, snr: float) -> Row:
        lists, genie = (_lists(store, e, kind, snr) for e in (estimator, at_work[-1]))
        columns = {name: np.array(values[: count[estimator.name]]) for name, values in lists.items()}
        return _row(estimator, (kind, snr), columns, np.array(genie["error"][: count[estimator.name]]), energy)

    return [row(estimator, kind, snr) for kind in kinds for estimator in at_work for snr in levels]


def _lists(store: Store, estimator: Estimator, noise: str, snr: float) -> Lists:
    key = {"estimator": estimator.name, "fingerprint": estimator.fingerprint}
    return store.lists(key | {"noise": noise, "snr_db": snr})


def _row(
    estimator: Estimator, condition: tuple[str, float], columns: dict[str, _Floats], genie: _Floats, energy: int
) -> Row:
    """Sum up the channels of one estimator at one noise and SNR; `genie` has the genie's errors."""
    error = columns["error"]
    nmse, nmse_se = _ratio(error, np.full(len(error), float(energy)))
    gap, gap_se = _ratio(error, genie)
    row: dict[str, Any] = {}
    if "promised_error" in columns:
        row["calibration"], row["calibration_se"] = _ratio(columns["promised_error"], columns["kept_error"])
    if "divergence" in columns:
        probed, promised = columns["divergence"], columns["promised_divergence"]
        row["divergence"], row["promised_divergence"] = float(probed.mean() / energy), float(promised.mean() / energy)
        row["divergence_ratio"], row["divergence_ratio_se"] = _ratio(probed, promised)
    return Row(
        estimator=estimator.name,
        noise=condition[0],
        snr_db=condition[1],
        channels=len(error),
        nmse_db=_db(nmse),
        nmse_db_se=_db_error(nmse, nmse_se),
        genie_gap_db=_db(gap),
        genie_gap_db_se=_db_error(gap, gap_se),
        seconds=float(np.median(columns["seconds"])),
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
