"""Arrays of antennas: a row of them, panels of several rows, two polarisations; and their beams."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from . import _check

_MOST = 4096  # antennas


class Array(NamedTuple):
    """Polarisations of a panel of rows of antennas, which are counted in this order, columns fastest.

    Beams, the unitary DFT over columns and rows, are counted the other way round, polarisations fastest: what a network
    for one row takes for neighbours at `stride` times their distance are the neighbours in azimuth of the same row and
    the same polarisation, around the end as well.
    """

    polarisations: int
    rows: int
    columns: int

    @classmethod
    def of(cls, antennas: int | Sequence[int]) -> Array:
        """The array of an argument `antennas`: M, (rows, columns), or (polarisations, rows, columns)."""
        if isinstance(antennas, str) or not isinstance(antennas, Sequence):
            if getattr(antennas, "ndim", 0):
                raise TypeError(f"antennas: expected an integer or a tuple of them, found {type(antennas).__name__}")
            return cls(1, 1, _check.integer("antennas", antennas, 1, _MOST))
        sides = tuple(antennas)
        if not 1 <= len(sides) <= 3:
            raise ValueError(
                f"antennas: expected a number, (rows, columns) or (polarisations, rows, columns), found {antennas!r}"
            )
        array = cls(*(1,) * (3 - len(sides)), *(_check.integer("antennas", side, 1, _MOST) for side in sides))
        if array.antennas > _MOST:
            raise ValueError(f"antennas: expected at most {_MOST}, found {array.antennas}")
        return array

    @property
    def antennas(self) -> int:
        """M, all of them."""
        return self.polarisations * self.rows * self.columns

    @property
    def stride(self) -> int:
        """Distance of neighbours in azimuth among the beams."""
        return self.polarisations * self.rows

    def beams(self, x: npt.NDArray[Any]) -> npt.NDArray[np.complex64]:
        """Antennas (..., M) to beams."""
        panel = np.fft.fft2(x.reshape(*x.shape[:-1], *self).astype(np.complex128), norm="ortho")
        with np.errstate(over="ignore", invalid="ignore"):  # the receiver refuses what is not finite
            return np.ascontiguousarray(np.moveaxis(panel, (-3, -2, -1), (-1, -2, -3)), np.complex64).reshape(x.shape)

    def from_beams(self, x: npt.NDArray[Any]) -> npt.NDArray[np.complex64]:
        """Beams (..., M) to antennas."""
        panel = np.moveaxis(x.reshape(*x.shape[:-1], *self[::-1]), (-3, -2, -1), (-1, -2, -3))
        return np.ascontiguousarray(np.fft.ifft2(panel, norm="ortho"), np.complex64).reshape(x.shape)

    def covariance_of_beams(self, covariance: npt.NDArray[np.complex128]) -> npt.NDArray[np.complex128]:
        """Covariances over antennas (N, M, M) to covariances over beams, F C F^H."""
        panel = np.fft.fft2(np.eye(self.antennas).reshape(-1, *self), norm="ortho")
        f = np.moveaxis(panel, (-3, -2, -1), (-1, -2, -3)).reshape(self.antennas, self.antennas).T
        return np.asarray(f @ covariance @ f.conj().T)


def on_array(prior: Any, array: Array) -> Any:
    """The prior as a receiver of an array takes it: of several rows or polarisations it works on the array's beams.

    Raises
    ------
    ValueError
        If it is a prior of a panel of other rows.
    TypeError
        If its beams cannot be counted otherwise.
    """
    rows = getattr(prior, "rows", 1)
    if rows not in (1, array.rows):
        expected = "one row of antennas" + (f" or for {array.rows}" if array.rows > 1 else "")
        raise ValueError(f"prior: expected one for {expected}, found one for {rows}")
    if array.stride == 1 or prior.closed_form:
        return prior
    if not hasattr(prior, "of_array"):
        raise TypeError(
            "prior: expected a beam network, 'beams' or 'gaussian' for several rows or polarisations, found "
            f"{type(prior).__name__}"
        )
    return prior.of_array(array)
