"""Contributions against all subsets of features, against XGBoost, and their sums."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smalgos.kernels.cpu.forest import Forest
from smalgos.kernels.cpu.shared import threads
from tests.kernels import forests
from tests.kernels.test_forest import BOOSTERS, train
from tests.reference import forest as reference


def check(seed, trees, depth, width, outputs, categories):
    given, X = (
        forests.forest(seed, trees, depth, width, outputs, categories),
        forests.rows(seed, 2, width),
    )
    base = np.random.default_rng(seed).standard_normal((2, outputs)).astype(np.float32)
    forest = Forest(given, width, outputs)
    values, pairs = forest.contributions(X, base), forest.interactions(X, base)
    steps = forest.contributions_approx(X, base)
    want, want_pairs, want_steps = np.zeros_like(values), np.zeros_like(pairs), np.zeros_like(steps)
    want[..., -1] = want_pairs[..., -1, -1] = want_steps[..., -1] = base
    for r, row in enumerate(X):
        for t, g in enumerate(given.group):
            expected = reference.expected(given, t, row, ())
            want[r, g, :-1] += reference.contributions(given, t, row, width)
            want_pairs[r, g, :-1, :-1] += reference.interactions(given, t, row, width)
            want_steps[r, g, :-1] += reference.steps(given, t, row, width)
            want[r, g, -1] += expected
            want_pairs[r, g, -1, -1] += expected
            want_steps[r, g, -1] += expected
    np.testing.assert_allclose(values, want, atol=1e-5)
    np.testing.assert_allclose(pairs, want_pairs, atol=1e-5)
    np.testing.assert_allclose(steps, want_steps, atol=1e-5)
    np.testing.assert_allclose(values.sum(axis=-1), forest.margins(X, base), atol=1e-5)
    np.testing.assert_allclose(pairs.sum(axis=-1), values, atol=1e-5)


TREES = st.tuples(
    st.integers(0, 1 << 30),
    st.integers(0, 2),
    st.integers(0, 6),
    st.integers(1, 4),
    st.integers(1, 2),
    st.booleans(),
)


@settings(deadline=None, max_examples=15)
@given(TREES)
def test_matches_all_subsets(arguments):
    check(*arguments)


@pytest.mark.slow
@settings(deadline=None, max_examples=300)
@given(TREES)
def test_matches_all_subsets_often(arguments):
    check(*arguments)


@pytest.mark.slow
@settings(deadline=None, max_examples=10)
@given(st.integers(0, 99))
def test_matches_all_subsets_of_six_features(seed):
    check(seed, 1, 8, 6, 1, False)


@pytest.mark.parametrize("width", [3, 64])
def test_a_chain_of_many_levels_sums_to_the_margin(width):
    depth = 64
    nodes = []
    for i in range(depth):
        nodes += [(2 * i + 1, 2 * i + 2, i % width, i / 50 - 1, i % 2, []), (-1, -1, 0, 0, 0, [])]
    nodes.append((-1, -1, 0, 0, 0, []))
    value = np.random.default_rng(0).standard_normal(len(nodes))
    cover = np.maximum(1000.0 - 7.5 * np.arange(len(nodes)), 1)
    cover[1::2] = 15
    trees = forests.from_nodes([nodes], [0], [1], value, cover)
    X, forest, base = forests.rows(0, 40, width), Forest(trees, width, 1), np.zeros(1, np.float32)
    want = forest.margins(X, base)
    got = forest.contributions(X, base)
    np.testing.assert_allclose(got.sum(axis=-1), want, atol=1e-5)
    if width > 3:
        return
    pairs = forest.interactions(X[:2], base)
    np.testing.assert_allclose(pairs.sum(axis=-1), got[:2], atol=1e-5)
    np.testing.assert_array_equal(pairs, pairs.swapaxes(2, 3))


def test_same_bits_for_any_cut_and_any_n_jobs():
    trees, X = forests.forest(0, 8, 6, 5, 2, True), forests.rows(0, 300)
    forest, base = Forest(trees, 5, 2), np.array([0.5, -1], np.float32)
    for method in (forest.contributions, forest.interactions, forest.contributions_approx):
        with threads(1):
            whole = method(X, base)
        with threads(3):
            parts = [method(X[a : a + 37], base) for a in range(0, 300, 37)]
        np.testing.assert_array_equal(np.concatenate(parts), whole)


@pytest.mark.parametrize("parameters", BOOSTERS, ids=range(len(BOOSTERS)))
def test_matches_xgboost(parameters):
    booster, X, rows = train(**parameters)
    trees, outputs = forests.from_xgboost(booster), parameters.get("num_class", 1)
    forest, base = Forest(trees, 6, outputs), np.full(outputs, 0.5, np.float32)
    rows, X = rows.slice(range(80)), X[:80]
    got = forest.contributions(X, base)
    want = booster.predict(rows, pred_contribs=True).reshape(got.shape)
    np.testing.assert_allclose(got, want, rtol=1e-3, atol=1e-4)
    got = forest.contributions_approx(X, base)
    want = booster.predict(rows, pred_contribs=True, approx_contribs=True).reshape(got.shape)
    np.testing.assert_allclose(got, want, rtol=1e-3, atol=1e-4)
    rows = rows.slice(range(10))
    got = forest.interactions(X[:10], base)
    want = booster.predict(rows, pred_interactions=True).reshape(got.shape)
    np.testing.assert_allclose(got, want, rtol=1e-3, atol=1e-4)
