"""Attribution, density, neighbours, imputation and forecasts of forests."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smalgos.algorithms.random_cut_forest import imputation, queries
from smalgos.algorithms.random_cut_forest.typical import near, representatives
from smalgos.errors import UserError
from smalgos.formats.block import Csr
from smalgos.kernels import load
from tests.kernels.cut_forests import golden, grown

k = load("random_cut_forest")


def forest_of(rows, trees=50, capacity=256, seed=0):
    """A forest of a sample of rows."""
    rng = np.random.default_rng(seed)
    chosen = np.concatenate([rng.permutation(len(rows))[:capacity] for _ in range(trees)])
    sizes = np.full(trees, min(capacity, len(rows)))
    return k.CutTrees.grow(np.asarray(rows, np.float32)[chosen], sizes, seed)


@pytest.fixture(scope="module")
def normal():
    """A forest of standard normal points with a few far ones."""
    rng = np.random.default_rng(4)
    far = rng.random((4000, 1)) < 0.02
    rows = np.where(far, 5 + 1.5 * rng.standard_normal((4000, 3)), rng.standard_normal((4000, 3)))
    return forest_of(rows)


# -- scores and their parts


def test_parts_say_which_feature_is_too_great_or_too_small(normal):
    X = np.array([[0, 9, 0], [0, 0, -9], [0, 0, 0]])
    parts = queries.attribution(normal, X, "library")
    assert parts.high.shape == parts.low.shape == (3, 3)
    np.testing.assert_allclose(parts.total, normal.scores(np.float32(X), "library"), rtol=1e-9)
    np.testing.assert_allclose(parts.by_feature, parts.high + parts.low)
    assert parts.high[0, 1] > 0.7 * parts.total[0]
    assert parts.low[1, 2] > 0.7 * parts.total[1]
    assert parts.total[2] < 1.2 < 2 < parts.total[:2].min()


def test_a_row_is_scored_as_if_it_had_not_been_there(normal):
    held = normal.points[:20].copy()
    plain = queries.scores(normal, held, "library")
    np.testing.assert_allclose(plain, normal.scores(held, "library"), rtol=1e-6)
    without = queries.scores(normal, held, "library", ignore_leaf_mass=1)
    assert (without > plain).all()
    parts = queries.attribution(normal, held, "library", ignore_leaf_mass=1)
    np.testing.assert_allclose(parts.total, without, rtol=1e-12)


def test_few_trees_are_near_all_of_them(normal):
    X = np.random.default_rng(0).standard_normal((200, 3))
    every, few = (queries.scores(normal, X, "library", precision=p) for p in (0, 0.1))
    assert 0 < np.abs(every - few).max() < 0.2


def test_scores_by_functions_of_the_caller(normal):
    X = np.random.default_rng(0).standard_normal((20, 3)).astype(np.float32)
    own = dict(
        seen=lambda depth, mass: 1 / (depth + np.log2(mass + 1)),
        unseen=lambda depth, mass: 1 / (depth + 1),
        damp=lambda mass, whole: 1 - mass / (2 * whole),
    )
    X[:5] = normal.points[:5]
    want = normal.scores(X, "library") / np.log2(257)
    np.testing.assert_allclose(queries.dynamic_scores(normal, X, **own), want, rtol=1e-6)
    parts = queries.dynamic_attribution(normal, X, **own)
    np.testing.assert_allclose(parts.total, want, rtol=1e-6)
    constant = dict.fromkeys(own, lambda *_: 0.5)
    found = queries.dynamic_scores(normal, X, **constant, ignore_leaf_mass=3)
    np.testing.assert_allclose(found, 0.5)


@pytest.mark.compiled
def test_displacement_finds_groups_that_hide_each_other():
    rng = np.random.default_rng(1)
    rows = rng.standard_normal((1000, 2))
    rows[::100] = 6 + 0.01 * rng.standard_normal((10, 2))  # one would mask the others
    found = queries.codisplacements(forest_of(rows), rows)
    assert found[::100].min() > np.quantile(found, 0.98)


# -- density and neighbours


def test_density_falls_with_the_distance_from_the_points(normal):
    """As AWS's open library has it in its own tests."""
    X = np.array([[0, 0, 0], [6, 6, 0], [-4, -4, 0], [-6, -6, 0]])
    found = queries.density(normal, X)
    dense = found.density(0.001, 3)
    assert dense[0] > dense[1:].max()
    assert dense[2] > dense[3]
    parts = found.directional(0.001, 3)
    np.testing.assert_allclose(parts.total, dense, rtol=1e-12)
    assert parts.low[1, :2].min() < parts.high[1, :2].max()  # the points are below that row
    far = found.distances.total
    assert far[0] < far[2] < far[3]


def test_density_and_its_parts_are_those_of_the_library():
    forest, said, X = golden()
    found = queries.density(forest, X)
    np.testing.assert_allclose(found.density(), said["density"], rtol=1e-9)
    np.testing.assert_allclose(found.density(0.01, 2), said["density_of_plane"], rtol=1e-9)
    parts = np.stack(found.directional(), axis=1)
    np.testing.assert_allclose(parts, said["directional"], rtol=1e-9)


def test_neighbours_by_row(normal):
    X = np.concatenate([normal.points[:2], [[99, 99, 99]]])
    found = queries.neighbours(normal, X, within=1.0)
    assert len(found) == len(list(found)) == 3
    assert found[0].distances[0] == 0
    np.testing.assert_array_equal(found[0].points[0], normal.points[0])
    assert found[0].counts.sum() <= normal.trees
    assert len(found[2].points) == len(found[-1].counts) == 0
    assert queries.neighbours(normal, X)[2].counts.sum() == normal.trees
    with pytest.raises(IndexError):
        found[3]


# -- imputation


@pytest.mark.parametrize("which", range(3))
def test_imputation_is_that_of_the_library(which):
    forest, said, X = golden()
    missing = np.isin(np.arange(4), ([0], [1, 3], [0, 1, 2, 3])[which])
    found = queries.impute(forest, X, missing)
    names = "median", "mean", "deviation", "lower", "upper"
    for i, name in enumerate(names):
        want = said[f"imputation_{which}"][:, i]
        np.testing.assert_allclose(getattr(found, name)[:, missing], want[:, missing], atol=1e-6)
    np.testing.assert_array_equal(found.median[:, ~missing], X[:, ~missing])
    assert not found.deviation[:, ~missing].any()


@pytest.mark.compiled
def test_what_is_missing_is_filled_in_from_the_matching_cluster():
    rng = np.random.default_rng(0)
    side = rng.choice([-5, 5], (2000, 1))
    forest = forest_of(side + 0.1 * rng.standard_normal((2000, 3)))
    X = np.array([[np.nan, 5, 5], [-5, np.nan, -5], [5, 5, 5]])
    found = queries.impute(forest, X)
    assert found.median[0, 0] == pytest.approx(5, abs=0.5)
    assert found.median[1, 1] == pytest.approx(-5, abs=0.5)
    np.testing.assert_array_equal(found.median[2], X[2])
    assert (found.lower <= found.median).all()
    assert (found.median <= found.upper).all()


@pytest.mark.compiled
def test_typical_points_of_two_clusters():
    """As AWS's open library has it in its own tests: two ways to fill in, about as likely."""
    rng = np.random.default_rng(3)
    rows = 0.01 * rng.standard_normal((2000, 30))
    rows[:, 0] += rng.choice([-5, 5], 2000)
    upper = []
    for seed, known in ((0, 0), (1, 1), (2, 1)):
        x = np.zeros(30)
        x[1] = known
        (found,) = queries.typical(forest_of(rows, 100, seed=seed), [x], np.arange(30) == 0)
        first = found.points[:, 0]
        assert 2 <= len(first) <= 5
        np.testing.assert_allclose(np.abs(first), 5, atol=0.05)
        np.testing.assert_array_equal(found.points[:, 1], known)
        assert found.weights.sum() == pytest.approx(1)
        upper.append(found.weights[first > 0].sum())
        assert 0.1 < upper[-1] < 0.9
    assert 0.25 < np.mean(upper) < 0.75


def test_a_smaller_centrality_is_more_random(normal):
    x = np.array([[np.nan, 0, 0]])
    widths = []
    for centrality in (1.0, 0.5, 0.0):
        found = queries.impute(normal, x, centrality=centrality, seed=1)
        widths.append(found.upper[0, 0] - found.lower[0, 0])
        again = queries.impute(normal, x, centrality=centrality, seed=1)
        np.testing.assert_array_equal(found.median, again.median)
    assert widths[0] < widths[2]
    other = queries.completions(normal, x, centrality=0.0, seed=2)
    one = queries.completions(normal, x, centrality=0.0, seed=1)
    assert (one.points != other.points).any()


def test_rows_are_completed_some_at_a_time(normal, monkeypatch):
    X = np.random.default_rng(0).standard_normal((30, 3)).astype(np.float32)
    X[np.random.default_rng(1).random(X.shape) < 0.3] = np.nan
    want = queries.impute(normal, X, percentile=0.8)
    monkeypatch.setattr(imputation, "ENTRIES", 500)
    found = queries.impute(normal, X, percentile=0.8)
    for name in ("median", "mean", "deviation", "lower", "upper"):
        np.testing.assert_array_equal(getattr(found, name), getattr(want, name))
    every = queries.completions(normal, X)
    assert every.points.shape == (30, 50, 3)
    middle = np.sort(every.points, axis=1)[:, 24]
    np.testing.assert_array_equal(middle, want.median)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 1 << 30), st.integers(1, 40), st.integers(1, 5), st.integers(1, 3))
def test_representatives_stand_for_all_points(seed, n, most, width):
    rng = np.random.default_rng(seed)
    points = rng.integers(0, 4, (n, width)).astype(np.float32)
    weights = rng.integers(1, 4, n).astype(np.float64)
    found = representatives(points, weights, most)
    assert 1 <= len(found.points) <= most or len(found.points) == n <= most
    assert found.weights.sum() == pytest.approx(1)
    assert (np.diff(found.weights) <= 1e-12).all()
    assert (found.points >= points.min(axis=0)).all()
    assert (found.points <= points.max(axis=0)).all()
    distances = np.sort(rng.integers(0, 3, n)).astype(np.float64)
    counts = [near(distances, weights, centrality) for centrality in (1.0, 0.5, 0.0)]
    assert 1 <= counts[0] <= counts[1] <= counts[2] == n


# -- forecasts


@pytest.mark.parametrize("cyclic", [False, True])
def test_forecasts_are_those_of_the_library(cyclic):
    forest, said, X = golden()
    found = queries.extrapolate(forest, X, 3, 2, cyclic=cyclic)
    want = said["cyclic" if cyclic else "sliding"].reshape(len(X), 3, 3, 2)
    for i, name in enumerate(("values", "lower", "upper")):
        np.testing.assert_array_equal(getattr(found, name), want[:, i].astype(np.float32))


@pytest.mark.compiled
@pytest.mark.parametrize(("cyclic", "period"), [(False, 25.1), (True, 8)])
def test_a_wave_goes_on(cyclic, period):
    time = np.arange(3000)
    angle = 2 * np.pi * time / period
    noise = 0.02 * np.random.default_rng(0).standard_normal((3000, 2))
    series, length = np.stack([np.sin(angle), np.cos(angle)], axis=1) + noise, 8
    ends = np.arange(length - 1, 2900)
    shingles = np.stack([series[ends - length + 1 + i] for i in range(length)], axis=1)
    if cyclic:  # the row of time t is at t modulo the length
        turned = zip(shingles, (ends + 1) % length, strict=True)
        shingles = np.stack([np.roll(shingle, by, axis=0) for shingle, by in turned])
    points = shingles.reshape(len(ends), -1)
    position = int((ends[-1] + 1) % length)
    found = queries.extrapolate(
        forest_of(points), points[-1:], 12, 2, cyclic=cyclic, position=position
    )
    assert found.values.shape == (1, 12, 2)
    assert np.abs(found.values[0] - series[2900:2912]).mean() < 0.1
    assert (found.lower <= found.values).all()
    assert (found.values <= found.upper).all()


# -- bad input


def test_rows_must_be_points_of_the_forest(normal):
    sparse = Csr(
        np.array([2], np.float32), np.array([1], np.int32), np.array([0, 0, 1], np.int64), 3
    )
    want = queries.codisplacements(normal, [[0, 0, 0], [0, 2, 0]])
    np.testing.assert_array_equal(queries.codisplacements(normal, sparse), want)
    assert len(queries.codisplacements(normal, np.empty((0, 3)))) == 0
    with pytest.raises(UserError, match="rows of 2 features: the points of the forest have 3"):
        queries.density(normal, [[0, 0]])
    with pytest.raises(UserError, match="1 axes"):
        queries.density(normal, [0, 0, 0])
    with pytest.raises(UserError, match="feature 2 of row 1 is NaN"):
        queries.attribution(normal, [[0, 0, 0], [0, 0, np.nan]], "library")
    with pytest.raises(UserError, match="feature 0 of row 0 is infinite"):
        queries.impute(normal, [[1e300, np.nan, 0]])
    with pytest.raises(UserError, match="feature 1 of row 0 is NaN"):
        queries.impute(normal, [[0, np.nan, np.nan]], [False, False, True])


@pytest.mark.parametrize(
    ("ask", "why"),
    [
        (lambda f, x: queries.impute(f, x, [True, False]), "missing has shape"),
        (lambda f, x: queries.impute(f, x, x < 1, centrality=1.5), "centrality=1.5"),
        (lambda f, x: queries.impute(f, x, percentile=0.5), "percentile=0.5"),
        (lambda f, x: queries.neighbours(f, x, 0), "within=0"),
        (lambda f, x: queries.scores(f, x, "library", ignore_leaf_mass=-1), "ignore_leaf_mass=-1"),
        (lambda f, x: queries.scores(f, x, "library", precision=2), "precision=2"),
        (lambda f, x: queries.extrapolate(f, x, 1, 3), "block=3"),
        (lambda f, x: queries.extrapolate(f, x, 1, 2), "block=2"),
        (lambda f, x: queries.extrapolate(f, x, 0), "horizon=0"),
        (lambda f, x: queries.extrapolate(f, x, 1, cyclic=True, position=3), "position=3"),
        (lambda f, x: queries.impute(k.CutTrees(3, 4, 3), x, x < 1), "holds no points"),
        (lambda f, x: queries.density(k.CutTrees(3, 4, 3), x), "holds no points"),
    ],
)
def test_what_is_out_of_range_is_said(normal, ask, why):
    with pytest.raises(UserError, match=why):
        ask(normal, np.zeros((2, 3)))


def test_one_point_alone():
    forest, _, _ = grown(0, trees=2, capacity=1, width=1, grid=1)
    assert queries.codisplacements(forest, [[0], [3]]).tolist() == [0, 1]
    found = queries.impute(forest, [[np.nan]])
    assert found.median.tolist() == found.upper.tolist() == [[0]]
    (only,) = queries.typical(forest, [[np.nan]])
    assert only.points.tolist() == [[0]]
    assert np.isfinite(queries.density(forest, [[0], [3]]).density()).all()
