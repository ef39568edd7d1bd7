"""Nearest points against the book, and the promises about their bits."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smalgos._jit import COMPILED
from smalgos.formats.block import Csr
from smalgos.kernels.cpu import nearest, nearest_tiles, nearest_top
from smalgos.kernels.cpu.nearest_top import top
from smalgos.kernels.cpu.shared import threads
from tests.reference import nearest as reference

EXAMPLES = 25 if COMPILED else 8
sizes = st.tuples(st.integers(0, 99), st.integers(1, 70), st.integers(1, 40), st.integers(1, 40))


def problem(seed, n, d, k, far=0.0):
    """Rows and points, some of them equal."""
    rng = np.random.default_rng(seed)
    X = (rng.standard_normal((n, d)) + far).astype(np.float32)
    P = (rng.standard_normal((k, d)) + far).astype(np.float32)
    P[rng.integers(k, size=k // 3)] = X[rng.integers(n, size=k // 3)]
    P[rng.integers(k, size=k // 4)] = P[0]
    return X, P


def sparse(X, share=0.9):
    """The rows with most entries zero, dense and sparse; empty ones among them."""
    gone = np.random.default_rng(0).random(X.shape) < share
    X = np.where(gone, np.float32(0), X)
    return X, Csr.of(X)


@settings(deadline=None, max_examples=EXAMPLES)
@given(sizes, st.sampled_from([0.0, 10.0]))
def test_assign_finds_the_nearest(size, far):
    X, P = problem(*size, far)
    labels, square = nearest.assign(X, nearest.Points(P))
    want = reference.distances(X, P)
    assert labels.dtype == np.int32
    assert square.dtype == np.float32
    own = want[np.arange(len(X)), labels]
    np.testing.assert_allclose(square, own, rtol=1e-6)
    off = nearest.margin(X.shape[1]) * ((X**2).sum(axis=1) + (P**2).sum(axis=1).max())
    assert (own <= want.min(axis=1) + 4 * off).all()
    first = (P[labels][:, None] == P[None]).all(axis=2).argmax(axis=1)
    np.testing.assert_array_equal(labels, first)  # of equal points


@settings(deadline=None, max_examples=EXAMPLES)
@given(sizes, st.sampled_from([0.0, 1000.0]))
def test_distances_match_the_book(size, far):
    X, P = problem(*size, far)
    got = nearest.distances(X, nearest.Points(P))
    want = reference.distances(X, P)
    np.testing.assert_allclose(got, want, rtol=2e-2 if far else 1e-3)
    assert (got >= 0).all()
    assert (got[want == 0] == 0).all()


@settings(deadline=None, max_examples=EXAMPLES)
@given(sizes, st.data(), st.sampled_from([0.0, 3000.0]))
def test_top_is_exact(size, data, far):
    X, P = problem(*size, far)
    k = data.draw(st.integers(1, len(P)))
    points = nearest.Points(P)
    for metric in ("l2", "ip"):
        numbers, values = top(X, points, k, metric)
        want_numbers, want = reference.top(X, P, k, metric)
        np.testing.assert_allclose(values, want, rtol=1e-6, atol=1e-6)
        assert (values == want).mean() > 0.9 or values.size < 40
        if (values == want).all():  # else the last bit of a float64 sum may have tipped one
            np.testing.assert_array_equal(numbers, want_numbers)
        assert numbers.dtype == np.int64


@pytest.mark.compiled
@pytest.mark.parametrize("metric", ["l2", "ip"])
def test_top_of_many_points_is_exact_however_they_are_cut(metric, monkeypatch):
    rng = np.random.default_rng(0)
    X = rng.integers(-3, 4, (300, 5)).astype(np.float32)  # many ties, all sums exact
    P = rng.integers(-3, 4, (5000, 5)).astype(np.float32)
    points = nearest.Points(P)
    want = reference.top(X, P, 30, metric)
    monkeypatch.setattr(nearest_top, "BLOCK", 5 * nearest_tiles.TALL * 7)
    for share in (1 << 13, 300):
        monkeypatch.setattr(nearest_top, "SHARE", share)
        for jobs in (1, 3):
            with threads(jobs):
                got = top(X, points, 30, metric)
            for a, b in zip(got, want, strict=True):
                np.testing.assert_array_equal(a, b)
    for n in range(1, nearest_top.FEW + 2):
        few = top(X[7 : 7 + n], points, 30, metric)
        for a, b in zip(few, want, strict=True):
            np.testing.assert_array_equal(a, b[7 : 7 + n])


@settings(deadline=None, max_examples=EXAMPLES)
@given(sizes, st.booleans())
def test_sparse_rows_have_the_bits_of_dense_ones(size, thin):
    X, P = problem(*size)
    P += np.float32(5)
    X, rows = sparse(X, 0.95 if thin else 0.5)
    points = nearest.Points(P)
    labels, square = nearest.assign(X, points)
    got, got_square = nearest.assign(rows, points)
    np.testing.assert_array_equal(got, labels)
    np.testing.assert_allclose(got_square, square, rtol=1e-6)
    np.testing.assert_array_equal(nearest.square_norms(rows), nearest.square_norms(X))
    far = nearest.distances(X, points)
    np.testing.assert_allclose(nearest.distances(rows, points), far, rtol=1e-6)
    for a, b in zip(top(rows, points, 1), top(X, points, 1), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_sparse_row_equal_to_a_point_is_at_no_distance():
    X, rows = sparse(np.random.default_rng(0).standard_normal((20, 60)).astype(np.float32))
    points = nearest.Points(X[::-1].copy())
    np.testing.assert_allclose(nearest.assign(rows, points)[1], 0, atol=1e-12)
    assert (np.diag(nearest.distances(rows, points)[:, ::-1]) < 1e-12).all()


def test_sparse_rows_in_any_order_with_columns_named_twice():
    values = np.array([9, 1, 2, 3, 4, 5], np.float32)
    rows = Csr(values, np.array([0, 30, 3, 30, 0, 1], np.int32), np.array([1, 4, 4, 6]), 40)
    points = nearest.Points(np.random.default_rng(0).standard_normal((7, 40)))
    want = nearest.distances(rows.toarray(), points)
    np.testing.assert_allclose(nearest.distances(rows, points), want, rtol=1e-6)
    np.testing.assert_array_equal(nearest.square_norms(rows), [20, 0, 41])


@pytest.mark.parametrize("n", [1, 15, 16, 17, 31, 32, 33])
def test_bits_depend_on_nothing_else(n):
    X, P = problem(3, n, 37, 29)
    points = nearest.Points(P)
    labels, square = nearest.assign(X, points)
    far = nearest.distances(X, points)
    for i in (0, n // 2, n - 1):  # a row alone
        alone = nearest.assign(X[i : i + 1], points)
        assert alone[0] == labels[i]
        assert alone[1] == square[i]
        np.testing.assert_array_equal(nearest.distances(X[i : i + 1], points)[0], far[i])
    for k in (1, 5, 6, 7, 12, 13):  # the first points alone
        np.testing.assert_array_equal(nearest.distances(X, nearest.Points(P[:k])), far[:, :k])


@pytest.mark.compiled
def test_same_bytes_for_any_number_of_threads():
    X, P = problem(1, 3 * 4096 + 5, 20, 50)
    points = nearest.Points(P)
    results = []
    for jobs in (1, 3):
        with threads(jobs):
            results.append((*nearest.assign(X, points), nearest.distances(X, points)))
    for a, b in zip(*results, strict=True):
        np.testing.assert_array_equal(a, b)


def test_square_norms():
    X = np.random.default_rng(0).standard_normal((50, 21)).astype(np.float32)
    want = (X.astype(np.float64) ** 2).sum(axis=1)
    np.testing.assert_allclose(nearest.square_norms(X), want, rtol=1e-7)


def test_read_only_and_strided_rows():
    X, P = problem(0, 9, 8, 5)
    want = nearest.assign(X, nearest.Points(P))
    X.setflags(write=False)
    P.setflags(write=False)
    for rows in (X, np.asfortranarray(X), np.repeat(X, 2, axis=1)[:, ::2]):
        np.testing.assert_array_equal(nearest.assign(rows, nearest.Points(P))[0], want[0])


def test_no_rows():
    points = nearest.Points(np.ones((3, 2)))
    X = np.empty((0, 2), np.float32)
    assert nearest.assign(X, points)[0].shape == (0,)
    assert nearest.distances(X, points).shape == (0, 3)
    assert top(X, points, 2)[0].shape == (0, 2)


def test_what_does_not_fit_is_refused():
    points = nearest.Points(np.ones((3, 4)))
    with pytest.raises(ValueError, match="4 features"):
        nearest.assign(np.ones((2, 3), np.float32), points)
    for shape in ((0, 4), (3, 0), (3,)):
        with pytest.raises(ValueError, match="points of shape"):
            nearest.Points(np.ones(shape))
    for k, metric in ((0, "l2"), (4, "l2"), (1, "cosine")):
        with pytest.raises(ValueError, match="of 3 points"):
            top(np.ones((1, 4), np.float32), points, k, metric)
    bad = Csr(np.ones(1, np.float32), np.array([4], np.int32), np.array([0, 1]), 4)
    with pytest.raises(ValueError, match="columns"):
        nearest.assign(bad, points)


@pytest.mark.parametrize("metric", ["l2", "ip"])
def test_top_of_numbers_whose_squares_are_beyond_float32(metric):
    X = np.array([[1e30, 1.0], [1.0, 1.0]], np.float32)
    P = np.array([[-1e30, 2.0], [3e38, 1.0], [1.0, 3.0]], np.float32)
    with np.errstate(over="ignore"):
        numbers, _ = top(X, nearest.Points(P), 3, metric)
    np.testing.assert_array_equal(np.sort(numbers, axis=1), [[0, 1, 2]] * 2)
    assert numbers[1, 0] == (2 if metric == "l2" else 1)
