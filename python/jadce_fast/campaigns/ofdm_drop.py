"""One drop: who is active, their channels and paths, the pilots, and what the base station receives."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from .. import _check, _extras, channels
from ..array import Array
from ..channels import Paths
from ..pilots import Pilots, dft_pilots

MODELS = ("A", "B", "C", "D", "E", "mixed")
_PILOT_STREAM, _DROP_STREAM = 0, 1  # independent random streams of one seed
_CHUNK = 256  # active devices whose pilots are expanded at a time


@dataclass(frozen=True)
class Scenario:
    """An operating point.

    Attributes
    ----------
    devices, symbols, subcarriers : int
        K, T <= K, N.
    antennas : int or tuple of int
        M, or (rows, columns) or (polarisations, rows, columns), as of :class:`jadce_fast.Receiver`. Polarisations have
        the same paths with phases of their own.
    spacing : float
        Of the subcarriers, in Hz.
    activity_rate : float
        Probability that a device is active, in (0, 1); devices are active independently.
    snr_db : float
        Pilot power over noise variance per device, antenna and subcarrier, for channels of unit mean power.
    model : str
        CDL model "A" ... "E", or "mixed": each device has one of the five at random.
    angles : str
        Column of base-station angles, "departure" (standard uplink) or "arrival".
    delay_spread : (float, float)
        Range in seconds of the uniform RMS delay spread.
    pilots : str
        "dft" (partial DFT, Cai (66)) or "qpsk" (random).
    power_spread_db : float
        Received powers are uniform in dB over this range, with mean one; 0 is power control.
    fresh_pilots : bool
        New pilots in every trial; otherwise one set for all.
    distance : (float, float), optional
        Devices are at uniform distances in metres in this range and have the path loss of Cai VI-A.1 (the paper: 35 to
        200), with mean power one; not together with a power spread.
    channels : str
        File of channels (``.npz``, ``.mat``, ``.h5``: `channels` (S, N, M)) in place of the generator, scaled to unit
        power each; model, angles and delay spread then say nothing.

    Raises
    ------
    TypeError, ValueError
        If an attribute is out of range or unknown.
    """

    devices: int = 800
    symbols: int = 20
    subcarriers: int = 48
    antennas: int | tuple[int, ...] = 32
    activity_rate: float = 0.05
    snr_db: float = 10.0
    model: str = "C"
    angles: str = "departure"
    delay_spread: tuple[float, float] = (100e-9, 363e-9)
    pilots: str = "dft"
    power_spread_db: float = 0.0
    fresh_pilots: bool = False
    distance: tuple[float, float] | None = None
    channels: str = ""
    spacing: float = 30e3

    def __post_init__(self) -> None:
        for name in ("devices", "symbols", "subcarriers"):
            object.__setattr__(self, name, _check.integer(name, getattr(self, name), 1))
        sides = tuple(Array.of(self.antennas))
        object.__setattr__(self, "antennas", sides[-1] if sides[:-1] == (1, 1) else sides)
        object.__setattr__(self, "spacing", _check.real("spacing", self.spacing))
        if self.symbols > self.devices:
            raise ValueError(f"symbols: expected at most devices={self.devices}, found {self.symbols}")
        # 10 and 10.0 are one point.
        object.__setattr__(self, "activity_rate", _check.real("activity_rate", self.activity_rate, 0, 1))
        object.__setattr__(self, "snr_db", _check.real("snr_db", self.snr_db, -100, 100, closed=True))
        spread = _check.real("power_spread_db", self.power_spread_db, 0, 100, closed=True)
        object.__setattr__(self, "power_spread_db", spread)
        for name, allowed in (("model", MODELS), ("angles", ("departure", "arrival")), ("pilots", ("dft", "qpsk"))):
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name}: expected {' or '.join(allowed)}, found {getattr(self, name)!r}")
        channels.draw_paths(0, delay_spread=self.delay_spread)  # this checks the range
        if self.distance is not None:
            channels.path_loss_gains(0, self.distance)
            if self.power_spread_db > 0:
                raise ValueError(f"distance: expected no power_spread_db beside it, found {self.power_spread_db:g}")
        for name in ("delay_spread", "distance"):
            if (ends := getattr(self, name)) is not None:
                object.__setattr__(self, name, tuple(map(float, ends)))

    @property
    def array(self) -> Array:
        """The antennas."""
        return Array.of(self.antennas)

    @property
    def noise_var(self) -> float:
        """Complex noise variance per received entry, for pilots of unit power."""
        return float(10 ** (-self.snr_db / 10))


@dataclass(frozen=True)
class Drop:
    """A received block with the truth.

    Attributes
    ----------
    y : ndarray of complex64, shape (T, N, M)
    pilots : Pilots
    noise_var : float
    active : ndarray of int64, shape (A,)
        Ascending.
    channels : ndarray of complex64, shape (A, N, M)
    paths : Paths or None
        Of the active devices; the powers of each add to one, whatever the received power. None for recorded channels.
    """

    y: npt.NDArray[np.complex64]
    pilots: Pilots
    noise_var: float
    active: npt.NDArray[np.int64]
    channels: npt.NDArray[np.complex64]
    paths: Paths | None


def draw_pilots(scenario: Scenario, seed: int = 0, trial: int = 0) -> Pilots:
    """Pilots of unit power of one trial; the same in all trials unless the scenario wants fresh ones."""
    stream = (_PILOT_STREAM, trial if scenario.fresh_pilots else 0)
    rng = np.random.default_rng((_check.integer("seed", seed, 0), *stream))
    k, t, n = scenario.devices, scenario.symbols, scenario.subcarriers
    if scenario.pilots == "dft":
        return dft_pilots(k, t, n, seed=int(rng.integers(2**62)))
    quadrant = rng.integers(0, 4, (t, n, k))
    return Pilots(np.exp(0.5j * np.pi * (np.arange(4) + 0.5)).astype(np.complex64)[quadrant])


def draw_drop(scenario: Scenario, seed: int = 0, trial: int = 0, pilots: Pilots | None = None) -> Drop:
    """Draw one trial, the same for the same seed and trial whatever was drawn before.

    Parameters
    ----------
    scenario : Scenario
    seed, trial : int
        Of the random streams.
    pilots : Pilots, optional
        Those of ``draw_pilots``, if they are at hand.

    Returns
    -------
    Drop
    """
    pilots = draw_pilots(scenario, seed, trial) if pilots is None else pilots
    trial = _check.integer("trial", trial, 0)
    rng = np.random.default_rng((_check.integer("seed", seed, 0), _DROP_STREAM, trial))
    active = np.flatnonzero(rng.random(scenario.devices) < scenario.activity_rate).astype(np.int64)
    paths = None if scenario.channels else _draw_paths(scenario, len(active), rng)
    h = np.zeros((0, scenario.subcarriers, scenario.array.antennas), np.complex64)
    if paths is None:
        recorded = recorded_channels(scenario)
        h = recorded[rng.choice(len(recorded), len(active), replace=len(active) > len(recorded))]
    elif len(active):
        h = channels.unit_power(_synthesized(scenario, paths, rng))
    if scenario.distance is None:
        gains = channels.spread_gains(len(active), scenario.power_spread_db, seed=rng)
    else:
        gains = channels.path_loss_gains(len(active), scenario.distance, seed=rng)
    h *= np.sqrt(gains).astype(np.float32)[:, None, None]
    noise_var = pilots.power * scenario.noise_var
    shape = (scenario.symbols, scenario.subcarriers, scenario.array.antennas)
    noise = rng.standard_normal((*shape, 2), np.float32).view(np.complex64)[..., 0]
    y = np.float32(np.sqrt(noise_var / 2)) * noise + received(pilots, active, h)
    return Drop(y, pilots, noise_var, active, h, paths)


def recorded_channels(scenario: Scenario) -> npt.NDArray[np.complex64]:
    """Channels (S, N, M) of the scenario's file, of unit power each.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError, TypeError
        If it has no such array.
    """
    found = _read(scenario.channels, Path(scenario.channels).stat().st_mtime_ns)
    if found.shape[1:] != (scenario.subcarriers, scenario.array.antennas) or not len(found):
        expected = f"(S, {scenario.subcarriers}, {scenario.array.antennas})"
        raise ValueError(f"{scenario.channels}: expected channels {expected}, found {found.shape}")
    return found


@lru_cache(maxsize=2)
def _read(path: str, time: int) -> npt.NDArray[np.complex64]:
    """Channels of a file as it was at that time."""
    with _extras.named():
        from ..training.recording import load_channels

    return channels.unit_power(load_channels(path).numpy())


def received(pilots: Pilots, active: npt.NDArray[np.int64], h: npt.NDArray[np.complex64]) -> npt.NDArray[np.complex64]:
    """Noiseless received block, (T, N, M), from the active devices alone."""
    y = np.zeros((pilots.subcarriers, pilots.symbols, h.shape[2]), np.complex64)
    for start in range(0, len(active), _CHUNK):
        part = slice(start, start + _CHUNK)
        y += pilots.select(active[part]).transpose(1, 0, 2) @ h[part].transpose(1, 0, 2)
    return np.ascontiguousarray(y.transpose(1, 0, 2))


def _synthesized(scenario: Scenario, paths: Paths, rng: np.random.Generator) -> npt.NDArray[np.complex64]:
    """Channels of the paths, not scaled; polarisations after the first draw phases of their own."""
    panel, parts = scenario.array[1:], []
    for _ in range(scenario.array.polarisations):
        parts.append(channels.synthesize(paths, scenario.subcarriers, panel, scenario.spacing))
        if len(parts) < scenario.array.polarisations:
            paths = replace(paths, phase=rng.uniform(-np.pi, np.pi, paths.phase.shape))
    return np.concatenate(parts, axis=2) if len(parts) > 1 else parts[0]


def _draw_paths(scenario: Scenario, count: int, rng: np.random.Generator) -> Paths:
    """Paths of `count` devices; those of mixed models are padded with clusters without power."""
    models = MODELS[:-1] if scenario.model == "mixed" else (scenario.model,)
    choice = rng.integers(len(models), size=count)
    parts = [
        channels.draw_paths(
            int(np.count_nonzero(choice == i)),
            model,
            delay_spread=scenario.delay_spread,
            angles=scenario.angles,
            seed=rng,
        )
        for i, model in enumerate(models)
    ]
    clusters = max(part.delay.shape[1] for part in parts)
    order = np.argsort(np.argsort(choice, kind="stable"))

    def join(name: str) -> npt.NDArray[np.float64]:
        values = [getattr(part, name) for part in parts]
        return np.concatenate(
            [np.pad(v, [(0, 0), (0, clusters - v.shape[1])] + [(0, 0)] * (v.ndim - 2)) for v in values]
        )[order]

    return Paths(join("delay"), join("power"), join("azimuth"), join("zenith"), join("phase"))
