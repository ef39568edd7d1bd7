"""What neighbours say."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from smalgos.kernels.cpu.votes import majority, mean_label, shares
from tests.reference import neighbours as reference


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 99), st.integers(1, 30), st.integers(1, 12), st.integers(1, 5))
def test_votes(seed, n, k, classes):
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, classes, (n, k)).astype(np.int32)
    weights = rng.integers(1, 3, (n, k)).astype(np.float64)
    assert np.array_equal(majority(codes, weights, classes), reference.majority(codes, weights))
    parts = shares(codes, weights, classes)
    one = np.eye(classes)[codes]
    want = (one * weights[:, :, None]).sum(axis=1) / weights.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(parts, want, rtol=1e-12)
    labels = rng.standard_normal((n, k)).astype(np.float32)
    want = (labels * weights).sum(axis=1) / weights.sum(axis=1)
    np.testing.assert_allclose(mean_label(labels, weights), want, rtol=1e-4, atol=1e-6)
