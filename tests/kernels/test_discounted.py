"""Discounted sums against their definition."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smalgos.kernels import load
from tests.reference import discounted as slow


def followed(X, missing, decay):
    """What the kernel says after the last row."""
    step, d = load("discounted").step, X.shape[1]
    sums, mean, deviation = np.zeros((3, 5, d)), np.empty((5, d)), np.empty((2, d))
    keep = 1.0 - decay * np.array([1, 1, 1, 0.1, 0.1])
    previous = np.zeros(d)
    for i, x in enumerate(X):
        step(sums, keep, x, previous, missing[i], i > 0, mean, deviation)
        previous = x
    return mean, deviation


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 25), st.integers(1, 3), st.floats(0, 0.5), st.integers(0, 2**32),
    st.sampled_from([0.0, 0.3]),
)  # fmt: skip
def test_as_defined(n, d, decay, seed, share):
    rng = np.random.default_rng(seed)
    X = rng.normal(3, 10, (n, d)).round(2)
    missing = rng.random((n, d)) < share
    got, want = followed(X, missing, decay), slow.moments(X, missing, decay)
    np.testing.assert_allclose(got[0], want[0], rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(got[1], want[1], rtol=1e-6, atol=1e-5)  # squares cancel


def test_a_column_without_values_and_a_constant_one():
    X = np.full((9, 2), 4.0)
    missing = np.zeros((9, 2), np.bool_)
    missing[:, 0] = True
    mean, deviation = followed(X, missing, 0.01)
    assert mean[:, 0].tolist() == [0, 0, 0, 0, 0]
    assert mean[:, 1].tolist() == pytest.approx([4, 0, 0, 0, 0])
    assert deviation.tolist() == [[0, 0], [0, 0]]
