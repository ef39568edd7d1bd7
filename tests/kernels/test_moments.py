"""Sums of outer products against the book, and the promises about their bits."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smalgos._jit import COMPILED
from smalgos.kernels.cpu import moments
from smalgos.kernels.cpu.shared import threads
from tests.reference import moments as reference


def rows_of(seed, n, d):
    rng = np.random.default_rng(seed)
    X = (rng.standard_normal((n, d)) * rng.uniform(0.1, 10, d) + 5).astype(np.float32)
    return X, (X[:1].mean(axis=0) if n else np.zeros(d)).astype(np.float32)


def sums(X, shift, stable=False, blocks=()):
    d = X.shape[1]
    gram, total = np.zeros((d, d)), np.zeros(d)
    for part in np.split(X, blocks):
        assert moments.add_moments(part, shift, gram, total, stable) == -1
    return np.triu(gram), total


def csr_of(X):
    row, column = np.nonzero(X)
    offsets = 3 + np.concatenate([[0], np.cumsum(np.bincount(row, minlength=len(X)))])
    values = np.concatenate([[np.nan] * 3, X[row, column]]).astype(np.float32)
    return values, np.concatenate([[0] * 3, column]).astype(np.int32), offsets


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 99), st.integers(0, 40), st.integers(1, 50), st.booleans())
def test_moments_match_the_book(seed, n, d, stable):
    X, shift = rows_of(seed, n, d)
    gram, total = sums(X, shift, stable)
    want, want_total = reference.moments(X, shift)
    size = np.sqrt(np.outer(np.diag(want), np.diag(want)))
    assert (abs(gram - want) <= (1e-12 if stable else 2e-6) * size + 1e-12).all()
    np.testing.assert_allclose(total, want_total, rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize("d", [15, 16, 17, 60])
def test_moments_of_several_runs_of_rows(d):
    n = 2 * moments.AT_ONCE + 9 if COMPILED else 70
    X, shift = rows_of(0, n, d)
    z = X.astype(float) - shift
    gram, total = sums(X, shift)
    want = np.triu(z.T @ z)
    size = np.sqrt(np.outer(np.diag(want), np.diag(want)))
    assert (abs(gram - want) <= 2e-6 * size).all()
    np.testing.assert_allclose(total, z.sum(axis=0), rtol=1e-5, atol=1e-2)


@pytest.mark.skipif(not COMPILED, reason="several chunks of rows take long without the JIT")
@pytest.mark.parametrize("stable", [False, True])
def test_bits_depend_on_nothing_else(stable, monkeypatch):
    X, shift = rows_of(0, 3 * moments.ROWS + 100, 33)
    with threads(1):
        gram, total = sums(X, shift, stable)
    with threads(3):
        again = sums(X, shift, stable)
        cut = sums(X, shift, stable, [moments.ROWS])
    for other in (again, cut):
        np.testing.assert_array_equal(other[0], gram)
        np.testing.assert_array_equal(other[1], total)


@pytest.mark.parametrize("stable", [False, True])
def test_wide_rows_are_cut_into_strips(stable, monkeypatch):
    X, shift = rows_of(0, 20, 130)
    gram, total = sums(X, shift, stable)
    monkeypatch.setattr(moments, "STRIP", 60 * 144)
    assert moments._strips(130, 144) == [(0, 48), (48, 96), (96, 130)]
    monkeypatch.setattr(moments, "WAVE", 2)
    cut = sums(X, shift, stable)
    if stable:
        np.testing.assert_allclose(cut[0], gram, rtol=1e-13)
    else:
        np.testing.assert_array_equal(cut[0], gram)
    np.testing.assert_array_equal(cut[1], total)


@pytest.mark.parametrize("stable", [False, True])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_row_that_is_not_finite_is_named(stable, value):
    X, shift = rows_of(0, moments.ROWS + 90 if COMPILED else 90, 5)
    for row in (len(X) - 1, 77, 3):
        X[row, row % 5] = value
        gram, total = np.zeros((5, 5)), np.zeros(5)
        with threads(1), np.errstate(all="ignore"):
            assert moments.add_moments(X, shift, gram, total, stable) == row


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 99), st.integers(0, 30), st.integers(1, 40))
def test_sparse_moments_match_the_book(seed, n, d):
    X, _ = rows_of(seed, n, d)
    X = np.where(np.random.default_rng(seed).random(X.shape) < 0.4, X, 0)
    gram, total = np.zeros((d, d)), np.zeros(d)
    assert moments.add_moments_csr(*csr_of(X), gram, total) == -1
    want, want_total = reference.moments(X, np.zeros(d))
    np.testing.assert_allclose(np.triu(gram), want, rtol=1e-12)
    np.testing.assert_allclose(total, want_total, rtol=1e-12)


def test_sparse_rows_may_name_a_column_twice():
    gram, total = np.zeros((3, 3)), np.zeros(3)
    values, indices = np.array([2, 3, 5], np.float32), np.array([2, 2, 0], np.int32)
    moments.add_moments_csr(values, indices, np.array([0, 3]), gram, total)
    np.testing.assert_array_equal(gram, [[25, 0, 25], [0, 0, 0], [0, 0, 25]])
    np.testing.assert_array_equal(total, [5, 0, 5])


def test_a_sparse_row_that_is_not_finite_is_named():
    X = np.diag([1.0, 0, np.inf, np.nan]).astype(np.float32)
    gram, total = np.zeros((4, 4)), np.zeros(4)
    assert moments.add_moments_csr(*csr_of(X), gram, total) == 2
    assert not gram.any()


@pytest.mark.parametrize(("d", "k"), [(1, 1), (6, 2), (30, 30), (80, 5)])
def test_top_eigen(d, k):
    X = np.random.default_rng(0).standard_normal((100, d)) * np.arange(1, d + 1)
    C = X.T @ X
    want_values, want = reference.top_eigen(C, k)
    junk = np.triu(C) + np.tril(np.full((d, d), 1e9), -1)
    values, vectors = moments.top_eigen(junk, k)
    np.testing.assert_allclose(values, want_values, rtol=1e-9)
    np.testing.assert_allclose(vectors, want, atol=1e-7)
    assert values.shape == (k,)
    assert vectors.shape == (d, k)
    np.testing.assert_allclose(vectors.T @ vectors, np.eye(k), atol=1e-12)


def test_sign_does_not_hang_on_rounding():
    C = np.array([[2.0, -1.0], [-1.0, 2.0]])  # (1, -1) / sqrt(2): both loadings are the largest
    for noise in (0, 1e-13, -1e-13):
        _, vectors = moments.top_eigen(C + np.diag([noise, 0]), 1)
        assert vectors[0, 0] > 0


@pytest.mark.parametrize(("d", "k"), [(5, 1), (40, 20)])
def test_projections(d, k):
    X, mean = rows_of(0, 50, d)
    X = np.where(np.random.default_rng(0).random(X.shape) < 0.4, X, 0).astype(np.float32)
    V = np.linalg.qr(np.random.default_rng(0).standard_normal((d, d)))[0][:, :k]
    want, centred = X.astype(float) @ V, (X.astype(float) - mean) @ V
    np.testing.assert_allclose(moments.project(X, V), want, atol=1e-4)
    np.testing.assert_allclose(moments.project(X, V, mean), centred, atol=1e-4)
    np.testing.assert_allclose(moments.project_csr(*csr_of(X), V), want, atol=1e-4)
    np.testing.assert_allclose(moments.project_csr(*csr_of(X), V, mean), centred, atol=1e-4)


def test_wrong_shapes_are_refused():
    with pytest.raises(ValueError, match="4 features"):
        moments.add_moments(np.ones((3, 4)), np.zeros(4), np.zeros((3, 3)), np.zeros(4))
