"""Random projections: their definitions, their seeds, what they keep."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smalgos.formats.block import Csr
from smalgos.kernels.cpu.projections import Hadamard, Signs, projection
from smalgos.kernels.cpu.shared import threads
from tests.reference import neighbours as reference


def rows(n, d, seed=0):
    return np.random.default_rng(seed).standard_normal((n, d)).astype(np.float32)


@settings(deadline=None, max_examples=15)
@given(st.integers(1, 40), st.integers(1, 40), st.data())
def test_hadamard_is_its_definition(n, d, data):
    t = data.draw(st.integers(1, 1 << max(d - 1, 0).bit_length()))
    X, given = rows(n, d), Hadamard(d, t, 7)
    want = reference.hadamard(X, given.signs, given.picked)
    np.testing.assert_allclose(given(X), want, rtol=1e-4, atol=1e-5)
    assert len(set(given.picked)) == t


@settings(deadline=None, max_examples=15)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 30))
def test_signs_are_a_product(n, d, t):
    X, given = rows(n, d), Signs(d, t, 7)
    R = given(np.eye(d, dtype=np.float32))
    assert np.abs(R) == pytest.approx(1 / np.sqrt(t))
    np.testing.assert_allclose(given(X), X.astype(np.float64) @ R, rtol=1e-4, atol=1e-5)


@pytest.mark.compiled
@pytest.mark.parametrize("kind", ["sign", "fjlt"])
def test_lengths_are_kept(kind):
    X = rows(60, 300)
    X[:, :3] *= 20  # a few coordinates hold nearly all
    Y = projection(kind, 300, 256, 0)(X)
    ratio = np.linalg.norm(Y, axis=1) / np.linalg.norm(X, axis=1)
    assert ratio.mean() == pytest.approx(1, abs=0.05)
    assert ratio.std() < 0.12


@pytest.mark.compiled
@pytest.mark.parametrize("kind", ["sign", "fjlt"])
def test_seeds_sparse_rows_and_threads(kind):
    X = rows(1100, 20) * (rows(1100, 20, 1) > 0)
    want = projection(kind, 20, 8, 5)(X)
    assert not np.allclose(projection(kind, 20, 8, 6)(X), want)
    with threads(5):
        assert np.array_equal(projection.__wrapped__(kind, 20, 8, 5)(X), want)
    np.testing.assert_allclose(projection(kind, 20, 8, 5)(Csr.of(X)), want, rtol=1e-5, atol=1e-5)
    assert np.array_equal(projection(kind, 20, 8, 5)(X[:1]), want[:1])


def test_too_many_coordinates():
    with pytest.raises(ValueError, match="17 coordinates of 16"):
        Hadamard(10, 17, 0)
