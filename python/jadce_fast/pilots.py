"""Pilots: partial-DFT sequences, Cai (66), and arbitrary ones."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from . import _check

_MOST_DEVICES, _MOST_SUBCARRIERS = 2**24, 2**16


class Pilots:
    """Arbitrary pilots, one sequence over symbols and subcarriers for every device; the array is copied.

    Parameters
    ----------
    array : array_like, shape (T, N, K)
        Symbol sent by device k on subcarrier n in OFDM symbol t, complex. At most K symbols (T <= K). Devices may
        send with different power.

    Attributes
    ----------
    symbols, subcarriers, devices : int
        T, N, K.
    power : float
        Mean |q|^2, the transmit power P of Cai (66).
    rows : ndarray of int64, shape (T, N), or None
        For partial-DFT pilots the DFT row of every (t, n), else None.
    phases : ndarray of complex64, shape (T, N), or None
        What partial-DFT pilots of all devices are multiplied by, of magnitude one; None: nothing.

    Raises
    ------
    TypeError, ValueError
        If the array is not numeric, not three-dimensional, not finite, all zero, empty, or has T > K.
    """

    rows: npt.NDArray[np.int64] | None
    phases: npt.NDArray[np.complex64] | None = None
    symbols: int
    subcarriers: int
    devices: int
    power: float

    def __init__(self, array: npt.ArrayLike) -> None:
        values = _check.owned("pilots", array, ("T", "N", "K"), np.complex64)
        if 0 in values.shape:
            raise ValueError(f"pilots: expected at least one symbol, subcarrier and device, found {values.shape}")
        self.symbols, self.subcarriers, self.devices = values.shape
        _check_length(self.symbols, self.devices)
        self.power = float(np.mean(np.abs(values.astype(np.complex128)) ** 2))
        if self.power == 0.0:
            raise ValueError("pilots: expected symbols with power, found only zeros")
        _check.scale("power of the pilots", self.power)
        self.rows = None
        self._array: npt.NDArray[np.complex64] | None = values

    @classmethod
    def from_rows(
        cls, rows: npt.ArrayLike, devices: int, power: float = 1.0, phases: npt.ArrayLike | None = None
    ) -> Pilots:
        """Partial-DFT pilots q[t, n, k] = sqrt(P) phases[t, n] exp(-2 pi i rows[t, n] k / K), Cai (66).

        Parameters
        ----------
        rows : array_like of int, shape (T, N)
            DFT row of every symbol and subcarrier, in 0 ... K - 1 and distinct over t for every n.
        devices : int
            K, at least T.
        power : float
            P > 0.
        phases : array_like of complex, shape (T, N), optional
            Scrambling that all devices share, of magnitude one.
        """
        k = _check.integer("devices", devices, 1, _MOST_DEVICES)
        values = _check.owned("pilot_rows", rows, ("T", "N"), np.int64)
        if 0 in values.shape:
            raise ValueError(f"pilot_rows: expected at least one symbol and subcarrier, found {values.shape}")
        _check_length(values.shape[0], k)
        if values.min() < 0 or values.max() >= k:
            raise ValueError(f"pilot_rows: expected 0 to {k - 1}, found {values.min()} to {values.max()}")
        ordered = np.sort(values, axis=0)
        repeated = np.flatnonzero((np.diff(ordered, axis=0) == 0).any(axis=0))
        if repeated.size:
            raise ValueError(
                f"pilot_rows: expected distinct rows on every subcarrier, found a repeated row on subcarrier "
                f"{repeated[0]}"
            )
        self = cls.__new__(cls)
        self.symbols, self.subcarriers = values.shape
        self.devices, self.power = k, _check.scale("power", power)
        self.rows, self._array = values, None
        if phases is not None:
            self.phases = _check.owned("pilot_phases", phases, values.shape, np.complex64)
            size = np.abs(self.phases)
            if (np.abs(size - 1) > 1e-3).any():
                raise ValueError(f"pilot_phases: expected magnitudes of one, found {size.min():g} to {size.max():g}")
        return self

    def select(self, devices: npt.ArrayLike | None = None) -> npt.NDArray[np.complex64]:
        """Pilot symbols of some devices (default all), shape (T, N, len(devices)), complex64."""
        k = np.arange(self.devices) if devices is None else _check.array("devices", devices, ("A",), np.int64)
        if k.size and (k.min() < 0 or k.max() >= self.devices):
            raise ValueError(f"devices: expected 0 to {self.devices - 1}, found {k.min()} to {k.max()}")
        if self._array is not None:
            return np.ascontiguousarray(self._array[:, :, k])
        assert self.rows is not None
        symbols: npt.NDArray[np.complex64]
        phase = (self.rows[:, :, None] * k) % self.devices
        if phase.size > self.devices:
            symbols = np.exp(-2j * np.pi / self.devices * np.arange(self.devices)).astype(np.complex64)[phase]
        else:
            symbols = np.exp(-2j * np.pi / self.devices * phase).astype(np.complex64)
        symbols = np.float32(np.sqrt(self.power)) * symbols
        return symbols if self.phases is None else symbols * self.phases[:, :, None]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Pilots):
            return NotImplemented
        alike = (self.symbols, self.subcarriers, self.devices, self.power, self.rows is None) == (
            (other.symbols, other.subcarriers, other.devices, other.power, other.rows is None)
        )
        one, two = (p._array if p.rows is None else p.rows for p in (self, other))
        turns = [np.complex64(1) if p.phases is None else p.phases for p in (self, other)]
        return alike and np.array_equal(one, two) and bool(np.all(turns[0] == turns[1]))  # type: ignore[arg-type]

    def __hash__(self) -> int:
        return hash((self.symbols, self.subcarriers, self.devices, self.power))

    def only(
        self,
        devices: npt.ArrayLike | None = None,
        subcarriers: npt.ArrayLike | None = None,
        *,
        times: npt.ArrayLike = 1.0,
    ) -> Pilots:
        """Pilots of some devices on some subcarriers (default all), times what broadcasts to (T, N, K).

        There may be fewer devices than symbols.
        """
        array = self.select(devices) if subcarriers is None else self.select(devices)[:, np.asarray(subcarriers)]
        array = (array * np.asarray(times)).astype(np.complex64)
        subset = type(self).__new__(type(self))
        subset.symbols, subset.subcarriers, subset.devices = array.shape
        subset.power = float(np.mean(np.abs(array.astype(np.complex128)) ** 2))
        subset.rows, subset._array = None, array
        return subset

    def __repr__(self) -> str:
        kind = "arbitrary" if self.rows is None else "partial DFT"
        return f"Pilots({kind}, T={self.symbols}, N={self.subcarriers}, K={self.devices}, power={self.power:g})"


def dft_pilots(
    devices: int, symbols: int, subcarriers: int, seed: int = 0, power: float = 1.0, *, scrambled: bool = False
) -> Pilots:
    """Random partial-DFT pilots, Cai (66).

    The rows on one subcarrier are distinct, so that Q Q^H = K P I; they are distinct over the whole grid where
    subcarriers * symbols <= devices, so that no two measurements of a flat channel repeat each other.

    Parameters
    ----------
    devices, symbols, subcarriers : int
        K, T <= K, N.
    seed : int
        Seed of the random choice of rows.
    power : float
        P > 0.
    scrambled : bool
        Multiply the pilots of all devices by a random phase of every symbol and subcarrier. Costs nothing, and what an
        imbalance of I and Q makes of a device, its conjugate, or a constant offset resembles no other device then
        (docs/impairments.md). Without it they look like device K - k and device 0.

    Returns
    -------
    Pilots

    Raises
    ------
    ValueError
        If a size is below one, T > K, N > 65536, or the power is not positive.
    """
    k = _check.integer("devices", devices, 1, _MOST_DEVICES)
    t = _check.integer("symbols", symbols, 1)
    n = _check.integer("subcarriers", subcarriers, 1, _MOST_SUBCARRIERS)
    _check_length(t, k)
    rng = np.random.default_rng(_check.integer("seed", seed, 0))
    if n * t <= k:
        rows = rng.permutation(k)[: n * t].reshape(t, n)
    else:
        rows = np.stack([rng.permutation(k)[:t] for _ in range(n)], axis=1)
    phases = np.exp(2j * np.pi * rng.random((t, n))) if scrambled else None
    return Pilots.from_rows(rows, k, power, phases)


def _check_length(symbols: int, devices: int) -> None:
    if symbols > devices:
        raise ValueError(
            f"pilots: expected at most as many symbols as devices (T <= K), found T={symbols}, K={devices}"
        )
