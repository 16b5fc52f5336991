"""What clocks and radios did to a block: estimated from a detection, and taken out for the next one.

A device whose clock is off sends early or late, and its carrier turns from symbol to symbol, as its phase does that
moves; a base station's oscillator turns all devices together, its mixers add images and offsets, and somebody else may
send too. With the devices found, each of these is a linear regression on what remains of the block.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from .detection import Detection
from .pilots import Pilots

Complex = npt.NDArray[np.complexfloating[Any, Any]]
Real = npt.NDArray[np.float64]

_ROUNDS = 5
_SWEEPS = 6
_TERMS = 5  # of a polynomial over the block: a carrier that turns by two radians is left with -50 dB
_SURE = 6.0  # deviations by which a regression must explain more than noise would
_DELAYS = np.linspace(-0.05, 0.05, 41)  # cycles a subcarrier: 1.7 us at 30 kHz
_NATS = 5.0  # by which another delay must be more likely
_IDLE = 64  # devices at least, if there are, beside those that were found
_EDGE = 1.2  # times the largest eigenvalue of white noise's covariance
_AS_MUCH = 1.1  # may remain as before where a result is trusted
_PLAIN = 20.0  # times the energy of devices and noise there: seen before they are detected
_FAR = 30.0  # eigenvalue of the strongest interferer over others that count beside it
_MOST = 0.9  # of the energy that is not noise's must come from there
_FEW = 8  # one direction of interference for so many antennas at most


class _Seen:
    """Devices as they are seen, and the block without what the base station's radio added.

    Attributes
    ----------
    y : (T, N, M) complex
    clear : (M, M) complex or None
        Times antennas from the right: takes interference out.
    devices : (D,) int64
        Those that were found, and idle ones that show the noise.
    gain : (T, D) complex
        Of each device in each symbol, with a mean square of one over the block.
    delay : (D,) float
        Cycles a subcarrier.
    """

    def __init__(self, y: Complex, found: Detection, clear: Complex | None = None) -> None:
        self.y, self.clear = y, clear
        idle = np.setdiff1d(np.arange(len(found.activity)), found.active)
        step = max(len(idle) // max(_IDLE, 2 * len(found.active)), 1)
        self.devices: npt.NDArray[np.int64] = np.sort(np.concatenate([found.active, idle[step // 2 :: step]]))
        self.gain: Complex = np.ones((len(y), len(self.devices)), np.complex128)
        self.delay: Real = np.zeros(len(self.devices))

    def turns(self) -> Complex:  # [T, N, D]
        """What each pilot is multiplied by."""
        return self.gain[:, None, :] * _ramp(self.delay, self.y.shape[1])

    def pilots(self, pilots: Pilots, some: npt.NDArray[np.int64]) -> Complex:  # [T, N, A]
        """Pilots of some of the devices, as they are seen."""
        return pilots.select(self.devices[some]) * self.turns()[:, :, some]


def _ramp(delay: Real, subcarriers: int) -> Complex:  # [N, D]
    ramp: Complex = np.exp(-2j * np.pi * np.arange(subcarriers)[:, None] * delay)
    return ramp


def _sum(x: Complex, h: Complex) -> Complex:
    """What devices with pilots (T, N, A) and channels (A, N, M) send, (T, N, M)."""
    return (x.swapaxes(0, 1) @ h.swapaxes(0, 1)).swapaxes(0, 1)


def _more_than_noise(explained: float, noise: float, numbers: float) -> bool:
    """Whether so many complex numbers explain more energy than they would of noise."""
    return explained > noise * (numbers + _SURE * math.sqrt(numbers))


def _gains(x: Complex, h: Complex, y: Complex, noise: float) -> Complex | None:
    """Gains (T, A) of devices over symbols that explain a block, or None if they would explain as much of noise.

    A gain is a polynomial over the block, its terms of a learned variance, times a number a symbol that all devices
    share: that of the base station's oscillator. By least squares, in sweeps that take devices for uncorrelated.

    Parameters
    ----------
    x : (T, N, A)
        Pilots.
    h : (A, N, M)
        Channels.
    y : (T, N, M)
    noise : float
        Variance of an entry.
    """
    t, _, a = x.shape
    terms = min(_TERMS, t) - 1
    basis = np.linalg.qr(np.vander(np.linspace(-1, 1, t), terms + 1, increasing=True))[0][:, 1:] * np.sqrt(t)  # [T, D]
    sent, channels, seen = x.swapaxes(0, 1), h.swapaxes(0, 1), y.swapaxes(0, 1)  # by subcarriers
    matched = channels.conj().swapaxes(1, 2)
    energy = np.einsum("nta,na->ta", np.abs(sent) ** 2, np.sum(np.abs(channels) ** 2, axis=2))
    energy = np.maximum(energy, 1e-9 * energy.max())

    def remains(gain: Complex) -> tuple[float, Complex]:
        """Energy that these gains leave, and what is left along each device, (T, A)."""
        rest = seen - (sent * gain) @ channels
        return float(np.sum(np.abs(rest) ** 2)), np.sum(sent.conj() * (rest @ matched), axis=0)

    common, term = np.ones((t, 1), complex), np.zeros((terms, a), complex)
    gain = np.ones((t, a), complex)
    before, along = remains(gain)
    spread, after = 0.1, before
    for sweep in range(_SWEEPS):
        size = np.sum(energy * np.abs(gain) ** 2, axis=1, keepdims=True)
        step = np.sum(gain.conj() * along, axis=1, keepdims=True)
        turned = common * (1 + step / size)
        along = along - energy * gain * (step / size)
        common = turned / np.sqrt(np.mean(np.abs(turned) ** 2))
        left = np.einsum("td,te,ta->ade", basis, basis, energy)
        right = np.einsum("ade,ea->ad", left, term) + (basis.T @ (along * common.conj())).T
        inverse = np.linalg.inv(left + noise / spread * np.eye(terms))
        new = np.einsum("ade,ae->da", inverse, right)
        if terms:
            spread = max(float(np.mean(np.abs(new) ** 2) + noise * np.mean(np.einsum("add->ad", inverse))), 1e-6)
        trial = common * (1 + basis @ new)
        left_over, along = remains(trial)
        if left_over >= after or (sweep == 0 and not _more_than_noise(before - left_over, noise, t + terms * a)):
            break
        term, gain, after = new, trial, left_over
    return gain if after < before else None


def _delays(seen: Complex, noise: Real, prior: Any) -> Real:
    """Delays (A,) in cycles a subcarrier by which channels fit a prior's delays better.

    Parameters
    ----------
    seen : (A, N, M)
        Channels in noise, not denoised.
    noise : (A,)
        Its variance.
    prior : Prior
    """
    n = seen.shape[1]
    power = np.maximum(np.mean(np.abs(seen) ** 2, axis=(1, 2)) - noise, noise / 100)
    turned = np.exp(2j * np.pi * _DELAYS[:, None] * np.arange(n))  # [D, N], takes a delay out
    columns = (turned[:, :, None].conj() * prior.basis).reshape(len(_DELAYS), n, -1)
    z = np.einsum("dnp,anm->adpm", columns.conj(), seen, optimize=True)
    energy = np.sum(np.abs(z) ** 2, axis=3)  # [A, D, P]
    variance = power[:, None] * prior.eigenvalues + noise[:, None]  # [A, P]
    # Entries outside of the basis are noise alone: log-likelihood up to what all delays share.
    gain = np.einsum("adp,ap->ad", energy, 1 / noise[:, None] - 1 / variance)
    best = np.argmax(gain, axis=1)
    here = gain[:, len(_DELAYS) // 2]
    return np.where(gain[np.arange(len(best)), best] > here + _NATS, _DELAYS[best], 0.0)


def _with_constant(rest: Complex, noise: float | None = None) -> int | None:
    """Subcarrier on which more is constant over symbols than on others, that of DC, if there is one.

    Beside noise of this variance, or beside all devices.
    """
    t, n, m = rest.shape
    if t < 3 or n < 3:
        return None
    energy = t * np.sum(np.abs(rest.mean(0)) ** 2, axis=1)
    strongest, usual = int(np.argmax(energy)), float(np.median(energy))
    if noise is None:
        stands_out = energy[strongest] > _PLAIN * usual
    else:
        stands_out = _more_than_noise(energy[strongest], max(noise, usual / m), m + math.sqrt(2 * m * math.log(n)))
    return strongest if stands_out else None


def _without_constant(y: Complex, rest: Complex, subcarrier: int) -> Complex:
    """A block without what of `rest` is constant there."""
    y = y.copy()
    y[:, subcarrier] -= rest[:, subcarrier].mean(0)
    return y


def _radio(y: Complex, rest: Complex) -> Complex:
    """A block, of which `rest` is not explained, without what the base station's radio added: offsets and images."""
    t, _, m = y.shape
    noise = float(np.mean(np.abs(rest) ** 2))
    if (place := _with_constant(rest, noise)) is not None:
        y, rest = _without_constant(y, rest, place), _without_constant(rest, rest, place)

    def take(part: Complex) -> None:
        nonlocal y, rest
        if _more_than_noise(float(np.sum(np.abs(part) ** 2)), noise, m):
            y, rest = y - part, rest - part

    if t > 2:
        take(np.broadcast_to(rest.mean((0, 1)), rest.shape))
    for image in (y.conj(), y[:, ::-1].conj()):
        size = np.maximum(np.sum(np.abs(image) ** 2, axis=(0, 1)), 1e-30)
        take(np.sum(image.conj() * rest, axis=(0, 1)) / size * image)
    return y


def _interference(rest: Complex, noise: float | None) -> tuple[Complex, Complex] | None:
    """Covariance (1, M, M) of noise and of interference from few directions, and what takes that out, (M, M)."""
    t, n, m = rest.shape
    if t < 3:
        return None
    entries = (rest - rest.mean(0)).reshape(t * n, m)  # an offset is none
    values, vectors = np.linalg.eigh(entries.T @ entries.conj() / (t * n - n))
    noise = float(np.median(values)) if noise is None else noise
    edge = noise * (1 + np.sqrt(m / (t * n))) ** 2 * _EDGE
    # Far below the strongest is what it made of devices.
    few = min(int(np.count_nonzero(values > max(edge, values[-1] / _FAR))), m // _FEW)
    excess = np.maximum(values - noise, 0)
    if few == 0 or values[-1] <= edge or np.sum(excess[-few:]) < _MOST * np.sum(excess):
        return None
    values[:-few] = noise
    few_of = vectors[:, -few:]
    clear: Complex = np.eye(m) - few_of.conj() @ few_of.T
    return ((vectors * values) @ vectors.conj().T)[None], clear


def _look(seen: _Seen, at: Detection, pilots: Pilots, prior: Any) -> bool:
    """Correct what is seen of devices and block; return whether anything is seen otherwise now."""
    devices, h, y = at.active, at.channels.astype(np.complex128), seen.y
    if seen.clear is not None:
        h, y = h @ seen.clear, y @ seen.clear
    x = seen.pilots(pilots, devices)
    rest = y - _sum(x, h)
    noise = float(np.mean(np.abs(rest) ** 2))
    changed = False
    if len(devices) and (gain := _gains(x, h, y, noise)) is not None:
        size = np.sqrt(np.mean(np.abs(gain) ** 2, axis=0))
        gain, h, changed = gain / size, h * size[:, None, None], True
        seen.gain[:, devices] *= gain
        x = x * gain[:, None, :]
        rest = y - _sum(x, h)
        noise = float(np.mean(np.abs(rest) ** 2))
    if len(devices) and np.ptp(prior.eigenvalues) > 0:
        energy = np.sum(np.abs(x) ** 2, axis=0).T + 1e-30  # [A, N]
        matched = x.transpose(1, 2, 0).conj() @ rest.swapaxes(0, 1)  # [N, A, M]
        raw = h + matched.swapaxes(0, 1) / energy[:, :, None]
        delay = _delays(raw, noise / energy.mean(1), prior)
        seen.delay[devices] += delay
        changed |= bool(delay.any())
    if seen.clear is None:
        seen.y = _radio(y, rest)
        changed |= seen.y is not y
    return changed


def compensated(
    y: Complex, noise: Any, found: Detection, pilots: Pilots, prior: Any, detect: Callable[..., Detection]
) -> Detection:
    """Take out of a block what clocks and radios did to it, as far as more than noise explains it, and detect again.

    Parameters
    ----------
    y : (T, N, M) complex
    noise : float, covariance, or None
        As the receiver was told.
    found : Detection
        In the block as it is.
    pilots : Pilots
    prior : Prior
    detect : callable
        ``detect(pilots, y, noise)`` detects devices of other pilots, all devices if these are None.

    Returns
    -------
    Detection
        `found`, or one that leaves less of the block unexplained.
    """
    told, y, best = noise, np.asarray(y, np.complex128), found
    clear = None
    # First what hides devices, and makes others. Those may have taken a part of a constant: all of it goes.
    if not best.trusted:
        rest = y - _sum(pilots.select(best.active), best.channels)
        place = _with_constant(y)
        place = _with_constant(rest, float(np.mean(np.abs(rest) ** 2))) if place is None else place
        if place is not None:
            y = _without_constant(y, y, place)
            best = detect(None, y, told)
    if not best.trusted and pilots.phases is not None:  # others have devices that are as constant
        mean = y.mean((0, 1))
        if len(y) * y.shape[1] * np.sum(np.abs(mean) ** 2) > _PLAIN * y.shape[2] * np.mean(np.abs(y) ** 2):
            y = y - mean
            best = detect(None, y, told)
    if not best.trusted and (noise is None or isinstance(noise, float)):
        for turn in range(_ROUNDS):
            interference = _interference(y - _sum(pilots.select(best.active), best.channels), noise)
            if interference is None:
                break
            told, clear = interference
            before, best = best, detect(None, y, told)
            # Ghosts go, and it shows better without them.
            if turn and best.explained.ratio > 0.98 * before.explained.ratio:
                break
    if not best.trusted and clear is None:
        radio = _radio(y, y - _sum(pilots.select(best.active), best.channels))
        if radio is not y:
            y, best = radio, detect(None, radio, told)
    seen = _Seen(y, best, clear)
    at = _among(best, seen)
    for _ in range(_ROUNDS):
        if not _look(seen, at, pilots, prior):
            break
        at = detect(pilots.only(seen.devices, times=seen.turns()), seen.y, told)
        # What is aligned better leaves a little more, as less of the noise is fitted.
        if at.explained.ratio > best.explained.ratio * (_AS_MUCH if at.trusted else 1.0):
            return best
        best = _among_all(found, seen, at)
    if not best.trusted and len(y) > 2:
        at = _moving(seen, at, pilots, lambda pilots: detect(pilots, seen.y, told))
        if at.explained.ratio < best.explained.ratio:
            best = _among_all(found, seen, at)
    return best


def _moving(seen: _Seen, at: Detection, pilots: Pilots, detect: Callable[[Pilots], Detection]) -> Detection:
    """Detect devices whose channels change over the block: a slope beside the mean, like a device of its own."""
    t, d = len(seen.y), len(seen.devices)
    x = seen.pilots(pilots, at.active)
    model = _sum(x, at.channels)
    rest = float(np.mean(np.abs(seen.y - model) ** 2))
    share = np.sqrt(rest / np.mean(np.abs(model) ** 2))
    slope = np.linspace(-1, 1, t)
    slope *= share / np.sqrt(np.mean(slope**2))
    turns = seen.turns()
    turns = np.concatenate([turns, turns[:, :, at.active] * slope[:, None, None]], axis=2)
    both = detect(pilots.only(np.concatenate([seen.devices, seen.devices[at.active]]), times=turns))
    mean = both.active < d
    return replace(
        both,
        activity=both.activity[:d],
        active=both.active[mean],
        channels=both.channels[mean],
        channel_var=both.channel_var[mean],
    )


def _among(found: Detection, seen: _Seen) -> Detection:
    """A detection among all devices, as one among those that are seen."""
    return replace(found, activity=found.activity[seen.devices], active=np.searchsorted(seen.devices, found.active))


def _among_all(found: Detection, seen: _Seen, at: Detection) -> Detection:
    """A detection among the devices that are seen, as one among all."""
    activity = found.activity.copy()
    activity[seen.devices] = at.activity
    mean = seen.gain.mean(0)[at.active]
    back = mean[:, None] * _ramp(seen.delay[at.active], seen.y.shape[1]).T
    return replace(
        at,
        activity=activity,
        active=seen.devices[at.active],
        channels=(at.channels * back[:, :, None]).astype(np.complex64),
        channel_var=at.channel_var * np.abs(mean).astype(np.float32) ** 2,
        iterations=found.iterations + at.iterations,
        learned_rate=None if found.learned_rate is None else float(activity.mean()),
    )
