"""Queries of random cut trees against slow trees, the paper's definitions, and AWS's library."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smalgos.kernels.cpu import random_cut_forest as kernels
from smalgos.kernels.cpu.cut_trees import tree_keys
from smalgos.kernels.cpu.shared import threads
from tests.kernels.cut_forests import golden, grown
from tests.reference import cut_queries as twin

LEAVES = "container", "library"
OWN = dict(
    seen=lambda depth, mass: 1 / (depth + mass),
    unseen=lambda depth, mass: 1 / (depth + 2) + 0.01 * mass,
    damp=lambda mass, whole: 1 - mass / (3 * whole),
)


FORESTS = st.tuples(
    st.integers(0, 1 << 30),
    st.integers(1, 4),
    st.integers(1, 12),
    st.integers(1, 4),
    st.integers(1, 8),
)


def check_scores(given):
    forest, trees, X = grown(*given)
    for leaf in LEAVES:
        terms = twin.Terms(leaf)
        want = twin.scores(trees, X, terms)
        np.testing.assert_allclose(forest.scores(X, leaf), want, rtol=1e-6)
        high, low = kernels.attribution(forest, X, leaf)
        want_high, want_low = twin.attribution(trees, X, terms)
        np.testing.assert_allclose(high, want_high, rtol=1e-6, atol=1e-9)
        np.testing.assert_allclose(low, want_low, rtol=1e-6, atol=1e-9)
        total = (high + low).sum(axis=1)
        np.testing.assert_allclose(total, forest.scores(X, leaf), rtol=1e-9)
    for ignore in (0, 1, 3):
        for terms, worth in (
            (twin.Terms("library"), kernels.worth_of("library", ignore)),
            (twin.Terms(**OWN), kernels.worth_by(forest, **OWN, ignore=ignore)),
        ):
            found, used = kernels.worth_scores(forest, X, worth)
            np.testing.assert_allclose(found, twin.scores(trees, X, terms, ignore), rtol=1e-12)
            assert (used == len(trees)).all()
            parts = kernels.worth_attribution(forest, X, worth)
            want = np.stack(twin.attribution(trees, X, terms, ignore), axis=1)
            np.testing.assert_allclose(parts, want, rtol=1e-9, atol=1e-12)


def check_others(given):
    forest, trees, X = grown(*given)
    want = [np.mean([twin.codisplacement(tree, x) for tree in trees]) for x in X]
    np.testing.assert_allclose(kernels.codisplacements(forest, X), want, rtol=1e-12)
    for found, want in zip(kernels.densities(forest, X), twin.densities(trees, X), strict=True):
        np.testing.assert_allclose(found, want, rtol=1e-12, atol=1e-14)
    for within in (0.6, np.inf):
        offsets, points, distances, counts = kernels.neighbours(forest, X, within)
        for r, x in enumerate(X):
            part = slice(offsets[r], offsets[r + 1])
            assert (np.diff(distances[part]) >= 0).all()
            found = zip(distances[part], map(tuple, points[part]), counts[part], strict=True)
            assert sorted(found) == twin.neighbours(trees, x, within)


def check_imputation(given):
    forest, trees, X = grown(*given)
    missing = np.random.default_rng(given[0]).random(X.shape) < 0.4
    keys = tree_keys(7, len(trees), "imputation")
    for centrality in (1.0, 0.5, 0.0):
        leaves, distances, ranks = kernels.impute(
            forest, np.where(missing, np.nan, X), missing, centrality, 7
        )
        for r, x in enumerate(X):
            for t, tree in enumerate(trees):
                drawn = twin.chances(keys[t], x, missing[r])
                guess = twin.impute(tree, x, missing[r], centrality, drawn)
                point = np.where(missing[r], forest.points[leaves[r, t]], x)
                assert distances[r, t] == pytest.approx(guess.distance, abs=1e-12)
                assert ranks[r, t] == pytest.approx(guess.rank, rel=1e-12)
                np.testing.assert_array_equal(point, guess.point.astype(np.float32))


@settings(deadline=None, max_examples=10)
@given(FORESTS)
def test_scores_and_their_parts(given):
    check_scores(given)


@settings(deadline=None, max_examples=10)
@given(FORESTS)
def test_displacement_density_and_neighbours(given):
    check_others(given)


@settings(deadline=None, max_examples=10)
@given(FORESTS)
def test_imputation(given):
    check_imputation(given)


@pytest.mark.slow
@settings(deadline=None, max_examples=300)
@given(FORESTS)
def test_all_of_it_often(given):
    for check in (check_scores, check_others, check_imputation):
        check(given)


# -- the paper's definitions: means over every tree of a few points


def few(seed, n=4, width=2):
    """Distinct points, how often each is given, and another point."""
    rng = np.random.default_rng(seed)
    cells = rng.permutation(36)[: n + 1]
    points = np.stack([cells // 6, cells % 6], axis=1)[:, :width].astype(np.float64)
    return points[:n], rng.integers(1, 3, n), points[n] + rng.integers(-3, 4, width)


@pytest.mark.parametrize("seed", range(4))
def test_the_score_is_the_expected_inverse_depth_over_all_trees_with_the_row(seed):
    points, masses, x = few(seed)
    if (points == x).all(axis=1).any():
        x = x + 7
    with_x = list(twin.all_trees(np.vstack([points, x]), np.append(masses, 1), x))
    want = sum(chance / (len(twin.path(tree, x)[0]) - 1) for tree, chance in with_x)
    terms = twin.Terms("library")
    without = list(twin.all_trees(points, masses, x))
    mean = sum(chance * twin.tree_score(tree, x, terms) for tree, chance in without)
    assert mean == pytest.approx(want * np.log2(masses.sum() + 1), rel=1e-12)
    want = sum(chance * twin.displacement(tree, x) for tree, chance in with_x)
    mean = sum(chance * twin.codisplacement(tree, x) for tree, chance in without)
    assert mean == pytest.approx(want, rel=1e-12)


@pytest.mark.compiled
def test_many_trees_come_to_the_mean_over_all_trees():
    points, masses, x = few(1)
    rows = np.repeat(points, masses, axis=0).astype(np.float32)
    trees, count = list(twin.all_trees(points, masses, x)), 4000
    X = np.concatenate([points, x[None]]).astype(np.float32)
    forest = kernels.CutTrees.grow(np.tile(rows, (count, 1)), np.full(count, len(rows)), 5)
    terms = twin.Terms("library")
    for found, one in (
        (forest.scores(X, "library"), lambda tree, row: twin.tree_score(tree, row, terms)),
        (kernels.codisplacements(forest, X), twin.codisplacement),
    ):
        for row, mean in zip(X, found, strict=True):
            values = np.array([[chance, one(tree, row)] for tree, chance in trees]).T
            want = (values[0] * values[1]).sum()
            sd = np.sqrt((values[0] * (values[1] - want) ** 2).sum())
            assert mean == pytest.approx(want, abs=4 * sd / np.sqrt(count) + 1e-6)


def test_displacement_of_every_leaf_by_taking_groups_out():
    forest, (tree, *_), _ = grown(3, trees=1, capacity=40, width=2, grid=9)
    X = forest.plain()["points"]
    want = [twin.displacement(tree, x) for x in X]
    np.testing.assert_allclose(kernels.codisplacements(forest, X), want, rtol=1e-12)
    far = np.float32([[100, -100]])
    # Alone against all, but where a cut among the others comes first.
    assert kernels.codisplacements(forest, far)[0] == pytest.approx(40, rel=0.05)


# -- the same answers however they are asked for


@pytest.mark.compiled
def test_rows_are_answered_alone_as_together_by_any_number_of_threads():
    rng = np.random.default_rng(0)
    points = rng.standard_normal((20 * 32, 5)).astype(np.float32)
    forest = kernels.CutTrees.grow(points, np.full(20, 32), 1)
    X = rng.standard_normal((200, 5)).astype(np.float32)
    missing = rng.random(X.shape) < 0.3

    def asked(rows):
        near = kernels.neighbours(forest, X[rows], 1.5)
        yield from kernels.attribution(forest, X[rows], "library")
        yield from kernels.densities(forest, X[rows])
        yield from kernels.impute(forest, X[rows], missing[rows], 0.5, 3)
        yield kernels.codisplacements(forest, X[rows])
        yield from kernels.worth_scores(forest, X[rows], kernels.worth_of("library", 1), 0.1)
        yield from (np.diff(near[0]), *near[1:])

    with threads(1):
        want = list(asked(slice(0, 200)))
    with threads(3):
        together = list(asked(slice(0, 200)))
        alone = [list(asked(slice(r, r + 1))) for r in range(200)]
    for i, array in enumerate(want):
        np.testing.assert_array_equal(array, together[i])
        np.testing.assert_array_equal(array, np.concatenate([parts[i] for parts in alone]))


def test_answers_do_not_change_when_trees_are_read_from_a_file():
    forest, _, X = grown(4, trees=4, capacity=12)
    again = kernels.CutTrees.of(forest.plain())
    missing = np.zeros(X.shape, np.bool_)
    missing[:, 0] = True
    one, other = (kernels.impute(f, X, missing, 0.3, 2) for f in (forest, again))
    np.testing.assert_array_equal(forest.points[one[0]], again.points[other[0]])
    np.testing.assert_array_equal(one[2], other[2])
    for a, b in zip(kernels.densities(forest, X), kernels.densities(again, X), strict=True):
        np.testing.assert_array_equal(a, b)


def test_few_trees_are_enough_where_they_agree():
    forest, trees, X = grown(6, trees=40, capacity=10)
    for precision, high in ((0.1, True), (0.2, False), (0.01, True)):
        worth = kernels.worth_of("library")
        found, used = kernels.worth_scores(forest, X, worth, precision, high)
        terms = twin.Terms("library")
        want = [twin.approximate(trees, x, terms, precision, high) for x in X]
        np.testing.assert_allclose(found, [score for score, _ in want], rtol=1e-12)
        np.testing.assert_array_equal(used, [count for _, count in want])
        assert (used < 40).any() == (precision > 1 / 40)


def test_an_empty_tree_says_nothing():
    forest = kernels.CutTrees(3, 4, 2)
    X, missing = np.ones((2, 2), np.float32), np.array([[True, False]] * 2)
    assert not np.any(kernels.attribution(forest, X))
    assert not np.any(kernels.densities(forest, X))
    assert not kernels.codisplacements(forest, X).any()
    assert not kernels.worth_scores(forest, X, kernels.worth_by(forest, **OWN))[0].any()
    assert len(kernels.neighbours(forest, X, np.inf)[1]) == 0
    leaves, distances, _ = kernels.impute(forest, X, missing)
    assert (leaves == -1).all()
    assert np.isnan(distances).all()


# -- trees that follow a stream


@pytest.mark.parametrize("width", [1, 3])
def test_trees_are_asked_while_they_follow_a_stream(width):
    rng = np.random.default_rng(width)
    stream = kernels.CutStream(3, 8, width, 0.05, 1.0, 3)
    X = (rng.integers(0, 5, (60, width)) / 4).astype(np.float32)
    missing = rng.random(X.shape) < 0.4
    for first in range(0, 60, 20):
        stream.update(X[first : first + 20])
        forest = stream.trees
        trees, rows = twin.trees_of(forest.plain()), slice(first + 15, first + 25)
        terms = twin.Terms("library")
        want = np.stack(twin.attribution(trees, X[rows], terms), axis=1)
        parts = np.stack(kernels.attribution(forest, X[rows], "library"), axis=1)
        np.testing.assert_allclose(parts, want, rtol=1e-6, atol=1e-9)
        want = [np.mean([twin.codisplacement(tree, x) for tree in trees]) for x in X[rows]]
        np.testing.assert_allclose(kernels.codisplacements(forest, X[rows]), want, rtol=1e-12)
        _, _, ranks = kernels.impute(forest, X[rows], missing[rows])
        guesses = zip(X[rows], missing[rows], strict=True)
        want = [[twin.impute(tree, x, gone).rank for tree in trees] for x, gone in guesses]
        np.testing.assert_allclose(ranks, want, rtol=1e-12)


# -- AWS's open library


def test_scores_are_those_of_the_library():
    forest, said, X = golden()
    own = dict(OWN, unseen=lambda depth, mass: 1 / (depth + 2))
    plain, dynamic = kernels.worth_of("library"), kernels.worth_by(forest, **own)
    np.testing.assert_allclose(forest.scores(X, "library"), said["score"], rtol=1e-6)
    found, _ = kernels.worth_scores(forest, X, plain, 0.1)
    np.testing.assert_allclose(found, said["approximate"], rtol=1e-11)
    found, used = kernels.worth_scores(forest, X, dynamic, 0.25, high=False)
    np.testing.assert_allclose(found, said["dynamic_low"], rtol=1e-11)
    assert used.max() < forest.trees
    for ignored in (0, 1, 3):
        worth = kernels.worth_by(forest, **own, ignore=ignored)
        found, _ = kernels.worth_scores(forest, X, worth)
        np.testing.assert_allclose(found, said[f"dynamic_{ignored}"], rtol=1e-11)
    parts = np.stack(kernels.attribution(forest, X, "library"), axis=1)
    np.testing.assert_allclose(parts, said["attribution"], rtol=1e-6)
    parts = kernels.worth_attribution(forest, X, dynamic)
    np.testing.assert_allclose(parts, said["dynamic_attribution"], rtol=1e-10)


def test_densities_and_neighbours_are_those_of_the_library():
    forest, said, X = golden()
    names = "measure", "mass", "distance"
    for name, found in zip(names, kernels.densities(forest, X), strict=True):
        np.testing.assert_allclose(found, said[name], rtol=1e-10)
    offsets, points, distances, _ = kernels.neighbours(forest, X, 2.0)
    for r, want in enumerate(said["neighbours"]):
        part = slice(offsets[r], offsets[r + 1])
        found = sorted(zip(distances[part], points[part].tolist(), strict=True))
        for (distance, point), (want_distance, want_point) in zip(found, sorted(want), strict=True):
            assert distance == pytest.approx(want_distance, abs=1e-9)
            assert point == want_point
