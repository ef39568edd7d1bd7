"""Sketches against the book, and the promises about their bits."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smalgos._jit import COMPILED
from smalgos.formats.block import Csr
from smalgos.kernels.cpu import sketch
from smalgos.kernels.cpu.shared import threads
from tests.reference import sketch as reference


def rows_of(seed, n, d):
    rng = np.random.default_rng(seed)
    X = (rng.standard_normal((n, d)) * rng.uniform(0.1, 10, d) + 5).astype(np.float32)
    return X, X[0].copy() if n else np.zeros(d, np.float32)


def directions(seed, d, m=15):
    return np.random.default_rng(seed).standard_normal((d, m)).astype(np.float32)


def zeros(shape):
    return np.zeros(shape), np.zeros(shape[0]), np.zeros(1)


def sums(X, shift, W, blocks=()):
    packed, (product, total, squares) = sketch.Directions(W), zeros(W.shape)
    for part in np.split(X, blocks):
        assert sketch.add_sketch(part, shift, packed, product, total, squares) == -1
    return product, total, squares


def sparse_sums(X, W):
    sparse, out = Csr.of(X), zeros(W.shape)
    given = sparse.values, sparse.indices, sparse.offsets
    assert sketch.add_sketch_csr(*given, sketch.Directions(W), *out) == -1
    return out


@pytest.fixture
def _small(monkeypatch):
    """Several slices of features, and runs of rows, of little data."""
    monkeypatch.setattr(sketch, "SLICE", 32)
    monkeypatch.setattr(sketch, "AT_ONCE", 16)


@pytest.mark.usefixtures("_small")
@settings(deadline=None, max_examples=40)
@given(st.integers(0, 99), st.integers(0, 40), st.integers(1, 90), st.sampled_from([15, 31, 47]))
def test_sketch_matches_the_book(seed, n, d, m):
    X, shift = rows_of(seed, n, d)
    W = directions(seed, d, m)
    product, total, squares = sums(X, shift, W)
    want, want_total, want_squares = reference.sketch(X, shift, W.astype(float))
    np.testing.assert_allclose(product, want, atol=3e-6 * np.abs(want).max(initial=1) * d)
    np.testing.assert_allclose(total, want_total, rtol=1e-5, atol=1e-2)
    assert squares == pytest.approx(want_squares, rel=1e-5)


@pytest.mark.usefixtures("_small")
@settings(deadline=None, max_examples=40)
@given(st.integers(0, 99), st.integers(0, 30), st.integers(1, 60), st.sampled_from([15, 31]))
def test_sparse_sketch_matches_the_book(seed, n, d, m):
    X, _ = rows_of(seed, n, d)
    X = np.where(np.random.default_rng(seed).random(X.shape) < 0.3, X, 0)
    W = directions(seed, d, m)
    product, total, squares = sparse_sums(X, W)
    want, want_total, want_squares = reference.sketch(X, np.zeros(d), W.astype(float))
    np.testing.assert_allclose(product, want, atol=3e-6 * np.abs(want).max(initial=1) * d)
    np.testing.assert_allclose(total, want_total, rtol=1e-12)
    assert squares == pytest.approx(want_squares, rel=1e-12)


def test_sparse_rows_may_name_a_column_twice():
    product, total, squares = zeros((3, 15))
    values, indices = np.array([9, 2, 3, 5], np.float32), np.array([9, 2, 2, 0], np.int32)
    W = directions(0, 3)
    given = values, indices, np.array([1, 4])
    sketch.add_sketch_csr(*given, sketch.Directions(W), product, total, squares)
    row = np.array([5.0, 0, 5])
    assert squares == 50
    np.testing.assert_array_equal(total, row)
    np.testing.assert_allclose(product, np.outer(row, row @ W), rtol=1e-5)


@pytest.mark.skipif(not COMPILED, reason="several chunks of rows take long without the JIT")
def test_bits_depend_on_nothing_else():
    X, shift = rows_of(0, 3 * sketch.ROWS + 100, 33)
    W = directions(0, 33, 31)
    with threads(1):
        want = sums(X, shift, W)
    with threads(3):
        again = sums(X, shift, W)
    for other in (again, sums(X, shift, W, [sketch.ROWS])):
        for a, b in zip(other, want, strict=True):
            np.testing.assert_array_equal(a, b)
    X = np.where(X > 5, X, 0)
    with threads(1):
        want = sparse_sums(X, W)
    with threads(3):
        again = sparse_sums(X, W)
    for a, b in zip(again, want, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_row_that_is_not_finite_is_named(value):
    X, shift = rows_of(0, sketch.ROWS + 90 if COMPILED else 90, 5)
    W = sketch.Directions(directions(0, 5))
    for row in (len(X) - 1, 77, 3):
        X[row, row % 5] = value
        with threads(1), np.errstate(all="ignore"):
            assert sketch.add_sketch(X, shift, W, *zeros((5, 15))) == row
        sparse = Csr.of(X)
        given = sparse.values, sparse.indices, sparse.offsets
        assert sketch.add_sketch_csr(*given, W, *zeros((5, 15))) == row


def test_wrong_shapes_are_refused():
    W = sketch.Directions(directions(0, 4))
    with pytest.raises(ValueError, match="4 features"):
        sketch.add_sketch(np.ones((3, 5)), np.zeros(4), W, *zeros((4, 15)))
    with pytest.raises(ValueError, match="16 directions: take 31"):
        sketch.Directions(directions(0, 4, 16))
    row = np.ones(1, np.float32), np.full(1, 4, np.int32), np.array([0, 1])
    with pytest.raises(ValueError, match="columns 4 to 4 in rows of 4"):
        sketch.add_sketch_csr(*row, W, *zeros((4, 15)))


@pytest.mark.parametrize(("m", "columns"), [(1, 15), (15, 15), (16, 31), (100, 111)])
def test_a_lane_is_free_for_the_sums_of_rows(m, columns):
    assert sketch.columns_of(m) == columns


def test_random_directions_are_the_same_everywhere():
    W = sketch.random_directions(7, 300, 31)
    assert set(np.unique(W * np.sqrt(300)).round(12)) == {-1, 1}
    assert abs(W.mean()) < 0.01
    np.testing.assert_allclose(W.T @ W, np.eye(31), atol=0.25)
    np.testing.assert_array_equal(sketch.random_directions(7, 300, 15), W[:, :15])
    assert (sketch.random_directions(8, 300, 31) != W).any()
    assert (W[:3, :4] > 0).tolist() == [
        [True, False, False, False], [True, False, True, True], [True, True, False, True]
    ]  # fmt: skip


@pytest.mark.parametrize("rank", [0, 3, 10])
def test_orthonormal(rank):
    rng = np.random.default_rng(0)
    W = rng.standard_normal((40, 10)) * np.geomspace(1, 1e-6, 10)
    W[:, rank:] = 0
    Q = sketch.orthonormal(W)
    np.testing.assert_allclose(Q.T @ Q, np.eye(10), atol=1e-9)
    kept = W[:, :rank]
    np.testing.assert_allclose(Q @ (Q.T @ kept), kept, atol=1e-12)


@pytest.mark.parametrize(("d", "k"), [(60, 1), (60, 15), (200, 7)])
def test_nystrom_matches_the_book(d, k):
    rng = np.random.default_rng(0)
    turn = np.linalg.qr(rng.standard_normal((d, d)))[0]
    C = turn * np.geomspace(10, 1e-3, d) @ turn.T
    W = sketch.orthonormal(rng.standard_normal((d, 15)))
    values, vectors = sketch.nystrom(C @ W, W, k)
    want_values, want = reference.nystrom(C, W, k)
    np.testing.assert_allclose(values, want_values, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(np.abs((vectors * want).sum(axis=0)), 1, atol=1e-4)
    np.testing.assert_allclose(vectors.T @ vectors, np.eye(k), atol=1e-9)
    assert (vectors[np.abs(vectors).argmax(axis=0), np.arange(k)] > 0).all()
    assert values.sum() <= np.linalg.eigvalsh(C)[::-1][:k].sum() * (1 + 1e-6)


@pytest.mark.parametrize("rank", [0, 2])
def test_nystrom_of_little_rank(rank):
    rng = np.random.default_rng(0)
    B = rng.standard_normal((rank, 80))
    C, W = B.T @ B, sketch.orthonormal(rng.standard_normal((80, 15)))
    values, vectors = sketch.nystrom(C @ W, W, 6)
    want = np.linalg.eigvalsh(C)[::-1][:6]
    np.testing.assert_allclose(values, np.maximum(want, 0), atol=1e-4 * max(want[0], 1))
    np.testing.assert_allclose(vectors.T @ vectors, np.eye(6), atol=1e-9)
