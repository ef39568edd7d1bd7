"""Rows added to the sums of their clusters."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smalgos.formats.block import Csr
from smalgos.kernels import load
from tests.reference import kmeans as reference

K = load("kmeans")


def empty(k, d):
    return np.zeros((k, d)), np.zeros(k), np.full((k, d), 7, np.float32)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 60), st.integers(1, 20), st.integers(1, 40), st.booleans(), st.integers(0, 9))
def test_sums_of_clusters(n, d, k, weighted, seed):
    rng = np.random.default_rng(seed)
    X = (rng.normal(size=(n, d)) * (rng.random((n, d)) < 0.6)).astype(np.float32)
    labels = rng.integers(0, k, n).astype(np.int32)
    weights = rng.integers(0, 3, n).astype(np.float32) if weighted else None
    want, got, sparse = empty(k, d), empty(k, d), empty(k, d)
    for _ in range(2):  # sums go on
        reference.add_rows(X, weights, labels, *want)
        K.add_rows(X, weights, labels, *got)
        K.add_rows(Csr.of(X), weights, labels, *sparse)
    for w, g, s in zip(want, got, sparse, strict=True):
        assert np.array_equal(w, g)
        assert np.array_equal(w, s)


def test_rows_that_are_read_only_or_slices_of_sparse_ones():
    X = np.arange(24, dtype=np.float32).reshape(6, 4)
    labels = np.array([1, 0, 1], np.int32)
    want, got, sparse = empty(2, 4), empty(2, 4), empty(2, 4)
    reference.add_rows(X[2:5], None, labels, *want)
    X.flags.writeable = labels.flags.writeable = False
    K.add_rows(X[2:5], None, labels, *got)
    K.add_rows(Csr.of(X)[2:5], None, labels, *sparse)
    for w, g, s in zip(want, got, sparse, strict=True):
        assert np.array_equal(w, g)
        assert np.array_equal(w, s)


def test_labels_are_checked():
    X = np.zeros((2, 1), np.float32)
    for bad in ([0, 2], [-1, 0]):
        with pytest.raises(ValueError, match="labels must be from 0 to 1"):
            K.add_rows(X, None, np.array(bad, np.int32), *empty(2, 1))
