"""What a caller may hand over by mistake: values of any kind, and arrays of any type, shape and layout."""

from __future__ import annotations

import decimal
import fractions

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

NUMBERS = st.sampled_from(
    [
        *(0, 1, -1, 2, 3, 2**31, 2**63, 2**64, -(2**63), 10**400, 0.0, -0.0, 0.5, 1.0, -1.0, 1j, 1 + 1j),
        *(1e-320, 1e-45, 1e-38, 1e-20, 1e20, 1e38, 1e39, 1e300, -1e300, float("nan"), float("inf"), float("-inf")),
    ]
)
TEXT = st.sampled_from(["", "a", "unknown", "cdl", "auto", "1", "nan", "\0", "a\0b", "é" * 300, "/", ".", "+", "cpu:0"])
KINDS = ["b1", "i1", "i8", "u8", "f2", "f4", "f8", ">f8", "f16", "c8", "c16", ">c16", "c32", "U3", "S2", "O", "M8[s]"]
KINDS += ["m8[s]", "V4", [("real", "f8"), ("imag", "f8")]]


class Odd:
    """An object that says that it is an array, or a number, and is not."""

    def __init__(self, error: type[Exception]) -> None:
        self._error = error

    def __array__(self, dtype: object = None, copy: object = None) -> np.ndarray:
        raise self._error("no array")

    def __float__(self) -> float:
        raise self._error("no number")

    __index__ = __float__


def filled(shape: tuple[int, ...], kind: object) -> st.SearchStrategy[np.ndarray]:
    """Arrays of a shape and type, of bytes as they come: NaN, infinite, subnormal and huge among them."""
    dtype = np.dtype(kind)
    if dtype.hasobject:
        return NUMBERS.map(lambda value: np.full(shape, value, object))
    size = int(np.prod(shape)) * dtype.itemsize
    noise = st.integers(0, 2**32 - 1).map(lambda seed: np.random.default_rng(seed).bytes(size))
    patterns = st.sampled_from([b"\0", b"\xff", b"\x7f", b"\x80", b"\0\0\x80\x7f"]).map(lambda p: (p * size)[:size])
    return st.one_of(noise, patterns).map(lambda content: np.frombuffer(content, dtype).reshape(shape))


SHAPES = arrays.array_shapes(min_dims=0, max_dims=5, min_side=0, max_side=4)
ARRAYS = st.tuples(SHAPES, st.sampled_from(KINDS)).flatmap(lambda both: filled(*both))
MASKED = ARRAYS.map(lambda array: np.ma.masked_array(array, mask=True))
ODD = st.sampled_from([Odd(error) for error in (TypeError, ValueError, RuntimeError)])
SIMPLE = st.one_of(
    NUMBERS,
    TEXT,
    st.none(),
    st.booleans(),
    st.sampled_from([b"", b"ab", bytearray(3), range(3), {}, {1: 2}, set(), object(), int, np.float64, ..., slice(3)]),
    NUMBERS.filter(lambda x: not isinstance(x, complex) and abs(x) < 2**63).map(np.float64),
    st.sampled_from(
        [decimal.Decimal("NaN"), decimal.Decimal("sNaN"), decimal.Decimal("0.1"), fractions.Fraction(1, 3)]
    ),
    ODD,
)
ANYTHING = st.one_of(SIMPLE, st.recursive(SIMPLE, lambda x: st.lists(x, max_size=3), max_leaves=6), ARRAYS, MASKED)


def laid_out(array: np.ndarray, how: int) -> np.ndarray:
    """The same numbers in other memory: Fortran order, a view of every other entry, reversed twice, not aligned."""
    if how == 1:
        return np.asfortranarray(array)
    if how == 2:
        return np.repeat(array, 2, axis=-1)[..., ::2]
    if how == 3:
        return np.ascontiguousarray(array[::-1])[::-1]
    if how == 4:
        buffer = np.zeros(array.nbytes + 1, np.uint8)[1:]
        buffer[:] = np.frombuffer(np.ascontiguousarray(array).tobytes(), np.uint8)
        return buffer.view(array.dtype).reshape(array.shape)
    return array
