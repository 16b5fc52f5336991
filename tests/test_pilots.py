"""Pilots: Cai (66) and its conditions, and every refusal."""

import numpy as np
import pytest

import jadce_fast as jf


@pytest.mark.parametrize(("devices", "symbols", "subcarriers"), [(1, 1, 1), (5, 5, 2), (97, 11, 4), (64, 3, 7)])
def test_partial_orthogonality(devices, symbols, subcarriers):
    pilots = jf.dft_pilots(devices, symbols, subcarriers, seed=3, power=2.0)
    q = pilots.select().astype(complex)
    gram = np.einsum("tnk,snk->nts", q, q.conj())
    np.testing.assert_allclose(gram, 2.0 * devices * np.broadcast_to(np.eye(symbols), gram.shape), atol=1e-4 * devices)
    np.testing.assert_allclose(abs(q) ** 2, 2.0, rtol=1e-6)


def test_rows_are_distinct_over_the_grid_where_they_can_be():
    rows = jf.dft_pilots(800, 10, 48).rows
    assert len(np.unique(rows)) == 480
    rows = jf.dft_pilots(800, 20, 48).rows
    assert all(len(np.unique(rows[:, n])) == 20 for n in range(48))


def test_seed():
    rows = jf.dft_pilots(100, 10, 4, seed=1).rows
    assert np.array_equal(rows, jf.dft_pilots(100, 10, 4, seed=1).rows)
    assert not np.array_equal(rows, jf.dft_pilots(100, 10, 4, seed=2).rows)


def test_select_of_both_kinds():
    dft = jf.dft_pilots(30, 4, 3, power=0.5)
    same = jf.Pilots(dft.select())
    np.testing.assert_array_equal(same.select([3, 1]), dft.select()[:, :, [3, 1]])
    assert same.power == pytest.approx(0.5, rel=1e-6)
    assert "arbitrary" in repr(same)
    assert "partial DFT" in repr(dft)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: jf.dft_pilots(10, 11, 2), ValueError, r"T <= K\), found T=11, K=10"),
        (lambda: jf.dft_pilots(0, 1, 2), ValueError, "devices: expected 1 to 16777216, found 0"),
        (lambda: jf.dft_pilots(10.5, 1, 2), TypeError, "devices: expected an integer, found float"),
        (lambda: jf.dft_pilots(10, 0, 2), ValueError, "symbols: expected at least 1"),
        (lambda: jf.dft_pilots(10, 1, True), TypeError, "subcarriers: expected an integer, found bool"),
        (lambda: jf.dft_pilots(10, 1, 2, power=0), ValueError, "power: expected a finite number"),
        (lambda: jf.Pilots.from_rows([[0, 1], [0, 2]], 5), ValueError, "a repeated row on subcarrier 0"),
        (lambda: jf.Pilots.from_rows([[0, 5]], 5), ValueError, "pilot_rows: expected 0 to 4, found 0 to 5"),
        (lambda: jf.Pilots.from_rows([[-1, 2]], 5), ValueError, "found -1 to 2"),
        (lambda: jf.Pilots.from_rows([[0.0, 1.0]], 5), TypeError, "pilot_rows: expected integers, found dtype float64"),
        (lambda: jf.Pilots.from_rows([0, 1], 5), ValueError, r"pilot_rows: expected shape \(T, N\), found \(2,\)"),
        (lambda: jf.Pilots(np.ones((3, 2))), ValueError, r"pilots: expected shape \(T, N, K\), found \(3, 2\)"),
        (lambda: jf.Pilots(np.ones((3, 2, 2))), ValueError, r"T <= K\), found T=3, K=2"),
        (lambda: jf.Pilots(np.zeros((1, 2, 2))), ValueError, "pilots: expected symbols with power"),
        (lambda: jf.Pilots(np.empty((1, 0, 2))), ValueError, "at least one symbol, subcarrier and device"),
        (lambda: jf.Pilots(np.full((1, 2, 2), np.inf)), ValueError, "pilots: expected finite numbers, found 4 NaN"),
        (lambda: jf.Pilots(np.full((1, 2, 2), 1e300)), ValueError, "pilots: expected numbers that fit complex64"),
        (lambda: jf.Pilots(np.array([[["a"]]])), TypeError, "pilots: expected complex64, found dtype <U1"),
    ],
)
def test_errors(call, error, message):
    with pytest.raises(error, match=message):
        call()
