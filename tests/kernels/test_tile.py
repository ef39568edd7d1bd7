"""The tile kernel against its definition, and the promise about its bits."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smalgos.kernels.cpu import tile
from tests.reference import tile as reference


def problem(seed, n, d, m):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d)).astype(np.float32)
    W = rng.standard_normal((d, m)).astype(np.float32)
    return X, tile.to_panels(W), tile.to_panels(rng.standard_normal((n, m)))


def times(X, B, C):
    """C + X B for a whole matrix X."""
    C = C.copy()
    n, d = X.shape
    tile.multiply_add(X, 0, d, n, 1, d, B, C)
    return C


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 99), st.integers(1, 30), st.integers(0, 9), st.integers(1, 40))
def test_matches_the_definition(seed, n, d, m):
    X, B, C = problem(seed, n, d, m)
    want = reference.multiply_add(X, 0, d, n, 1, d, B, C)
    np.testing.assert_allclose(times(X, B, C), want, rtol=1e-5, atol=1e-5)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 99), st.integers(1, 20), st.integers(1, 30), st.integers(1, 40), st.data())
def test_transposed_operand_in_the_middle_of_an_array(seed, n, d, m, data):
    X, _, G = problem(seed, n, d, m)
    first = data.draw(st.integers(0, n - 1))
    depth = data.draw(st.integers(0, n - first))
    C = tile.aligned(len(G), d + 2, tile.PANEL)
    tile.multiply_add(X, first * d, 1, d, d, depth, G, C)
    want = reference.multiply_add(X, first * d, 1, d, d, depth, G, np.zeros(C.shape, np.float32))
    np.testing.assert_allclose(C, want, rtol=1e-5, atol=1e-5)
    assert not C[:, d:].any()


@pytest.mark.parametrize("rows", [1, 2, 3, 5, 6, 7, 11, 12, 13, 25])
def test_memory_outside_is_neither_used_nor_written(rows):
    d, guard = 5, np.float32(np.nan)
    X, B, C = problem(0, rows, d, 32)
    wide = np.full((rows + 2, d), guard)
    wide[1:-1] = X
    framed = np.full((2, rows + 3, tile.PANEL), guard)
    framed[:, :rows] = C
    tile.multiply_add(wide, d, d, rows, 1, d, B, framed)
    np.testing.assert_array_equal(framed[:, :rows], times(X, B, C))
    assert np.isnan(framed[:, rows:]).all()


def test_bits_depend_on_nothing_else():
    X, B, C = problem(1, 50, 37, 80)
    whole = times(X, B, C)
    for i in range(50):  # a row alone
        np.testing.assert_array_equal(times(X[i : i + 1], B, C[:, i : i + 1]), whole[:, i : i + 1])
    for p in range(5):  # a panel alone
        np.testing.assert_array_equal(times(X, B[p : p + 1], C[p : p + 1]), whole[p : p + 1])
    for cut in (1, 17, 36):  # the chain cut in two
        half = C.copy()
        tile.multiply_add(X, 0, 37, 50, 1, cut, B, half)
        tile.multiply_add(X, cut, 37, 50, 1, 37 - cut, B[:, cut:].copy(), half)
        np.testing.assert_array_equal(half, whole)


def test_each_step_is_fused():
    # 1 + 2**-23 squared has a bit that rounding the product would lose.
    x = np.float32(1 + 2.0**-23)
    got = times(np.array([[x]]), np.full((1, 1, 16), x), np.full((1, 1, 16), -x * x))
    assert (got == np.float32(2.0**-46)).all()


def test_panels_hold_a_matrix():
    W = np.arange(7 * 20, dtype=np.float32).reshape(7, 20)
    panels = tile.to_panels(W)
    assert panels.shape == (2, 7, 16)
    assert panels.ctypes.data % 64 == 0
    assert panels[1, 3, 2] == W[3, 18]
    assert not panels[1, :, 4:].any()
    np.testing.assert_array_equal(tile.from_panels(panels, 20), W)


def test_scratch_is_aligned():
    assert all(tile.scratch(n).ctypes.data % 64 == 0 for n in (1, 100, 5000))
    assert len(tile.scratch(100)) == 100
