"""Receiver of pilots that repeat one sequence over all subcarriers, as most papers on activity detection assume.

Interference is then a channel seen through the same mixing on every subcarrier: it has the channels' covariance over
subcarriers, and a coefficient of theirs is a problem of its own with T measurements and the same pilots
(docs/structured.md).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from . import _check, _core, transform
from .detection import Detection, Explained, Reason, reason
from .pilots import Pilots
from .rules import Rules

Complex = npt.NDArray[np.complex64]

_SAME = 1e-6  # energy of the difference of two sequences, over their own, up to which they are one
_UNIMODULAR = 1e-3  # deviation of a scrambling's magnitude from one


@dataclass(frozen=True)
class Sequences:
    """One sequence a device, the same on all subcarriers but for a scrambling that all devices share.

    Attributes
    ----------
    symbols : ndarray of complex128, shape (T, K)
    scrambling : ndarray of complex64, shape (T, N)
        Of magnitude one.
    """

    symbols: npt.NDArray[np.complex128]
    scrambling: Complex


def sequences(pilots: Pilots) -> Sequences | None:
    """The sequences of several devices if they repeat on all subcarriers, of which there are several, else None."""
    if pilots.subcarriers < 2 or pilots.devices < 2:  # nobody interferes with one device
        return None
    if pilots.rows is not None:
        if (pilots.rows != pilots.rows[:, :1]).any():
            return None
        alone = Pilots.from_rows(pilots.rows[:, :1], pilots.devices, pilots.power).select()[:, 0]
        phases = np.ones(pilots.rows.shape, np.complex64) if pilots.phases is None else pilots.phases
        return Sequences(np.asarray(alone, np.complex128), phases)
    q = pilots.select()
    one = np.asarray(q[:, 0], np.complex128)
    energy = np.maximum(np.sum(np.abs(one) ** 2, axis=1), 1e-300)
    scrambling = np.ones(q.shape[:2], np.complex128)
    for n in range(1, q.shape[1]):
        scrambling[:, n] = np.sum(q[:, n] * one.conj(), axis=1) / energy
        size = np.abs(scrambling[:, n])
        scrambling[size == 0, n] = 1  # a symbol without energy
        if (np.abs(size[size > 0] - 1) > _UNIMODULAR).any():
            return None
        if np.sum(np.abs(q[:, n] - scrambling[:, n, None] * one) ** 2) > _SAME * energy.sum():
            return None
    return Sequences(one, scrambling.astype(np.complex64))


class RepeatedReceiver:
    """Detects devices and estimates their channels as :class:`jadce_fast.Receiver` does, for repeated pilots.

    Parameters
    ----------
    pilots : Sequences
    antennas : int
    prior : Prior
        Its statistics serve: channels are estimated under the mixture of its activity test.
    activity_rate : float
    power : float or None
        Mean received power of an active device for unit pilots, None if it is unknown.
    levels : ndarray, shape (J,)
        Received powers that are looked for where they are not known, relative to the mean.
    rules : Rules
    capacity : int
        Most candidates of an iteration.
    threads : int, optional
    """

    def __init__(
        self,
        pilots: Sequences,
        antennas: int,
        prior: Any,
        *,
        activity_rate: float,
        power: float | None,
        levels: npt.NDArray[np.float64],
        rules: Rules,
        capacity: int,
        threads: int | None,
    ) -> None:
        self._gain = np.sqrt(np.mean(np.abs(pilots.symbols) ** 2, axis=0))
        self._symbols, self._scrambling = pilots.symbols / self._gain, pilots.scrambling.conj()
        self._prior, self._basis = prior, np.asarray(prior.basis, np.complex128)
        self._power = None if power is None else power * float(np.mean(self._gain**2))
        self._rules, self._expected = rules, max(activity_rate * len(self._gain), 1.0)
        known = power is not None and bool(np.ptp(self._gain) <= 1e-3 * self._gain.max())
        level = np.ones(1) if known else levels
        tables = transform.activity_tables(
            prior.eigenvalues, prior.beam_gain, prior.beam_weight, level, np.full(len(level), 1 / len(level)), None
        )
        self._native = _core.Repeated(
            pilots=np.ascontiguousarray(self._symbols.T),
            activity=_core.ActivityPlan(**tables),
            antennas=antennas,
            capacity=capacity,
            rules=rules.native(),
            rate=activity_rate,
            threads=transform.default_threads() if threads is None else _check.integer("threads", threads, 1, 1024),
        )

    def detect(self, y: Complex, noise_var: float) -> Detection:
        """See :meth:`jadce_fast.Receiver.detect`; `y` was checked."""
        received = float(np.mean(np.abs(y.astype(np.complex128)) ** 2))
        least = self._rules.smallest_mean_power * noise_var / len(y)
        power = max((received - noise_var) / self._expected, least) if self._power is None else self._power
        block = (y * self._scrambling[:, :, None]).astype(np.complex128) / np.sqrt(power)
        layers = np.einsum("np,tnm->tpm", self._basis.conj(), block)
        layers = np.fft.fft(layers, axis=-1, norm="ortho") if self._prior.beamspace else layers
        noise, mean_square = noise_var / power, received / power
        found = self._native.detect(layers.astype(np.complex64), noise=noise, received=mean_square, entries=block.size)
        chosen = found["activity"][found["candidates"]] >= self._rules.active
        active, mean = found["candidates"][chosen], found["mean"][chosen]
        remains = layers - np.einsum("ta,apm->tpm", self._symbols[:, active], mean)
        outside = mean_square - np.sum(np.abs(layers) ** 2) / block.size
        left = float(np.sum(np.abs(remains) ** 2) / block.size + outside)
        stopped: Reason = "fixed point" if found["settled"] else "iterations"
        if len(active) and not left <= mean_square:
            active, mean, left, stopped = active[:0], mean[:0], mean_square, "silence"
            found["activity"][:] = 0
        var = found["var"][chosen][: len(active)].sum(1).mean(1) / len(self._basis)
        explained = Explained(
            left / noise,
            *_core.explained_remainder(
                rules=self._rules.native(),
                taken=len(active) * mean.shape[1] / (block.shape[0] * block.shape[1]),
                errors=float(var.sum()) / noise,
                excess=(mean_square - noise) / noise,
            ),
        )
        scale = np.sqrt(power) / self._gain[active]
        mean = np.fft.ifft(mean, axis=-1, norm="ortho") if self._prior.beamspace else mean
        return Detection(
            activity=found["activity"],
            active=active,
            channels=(np.einsum("np,apm->anm", self._basis, mean) * scale[:, None, None]).astype(np.complex64),
            channel_var=(var * scale**2).astype(np.float32),
            iterations=len(found["history"]),
            converged=stopped == "fixed point" and explained.ratio <= explained.most,
            noise_var=left * power,
            explained=explained,
            stopped_because=stopped,
            overflow=found["overflow"],
            reason=reason(stopped, explained, found["overflow"])
            or ("the set of devices did not settle" if stopped == "iterations" else ""),
            history=tuple({**step, "error_var": step["error_var"] * power} for step in found["history"]),
        )

    def seconds(self) -> dict[str, float]:
        """Nothing: its parts are not timed."""
        return {}
