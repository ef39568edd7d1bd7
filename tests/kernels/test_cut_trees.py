"""Trees: growing, layout, what files hold, scores against a slow walk."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smalgos._jit import COMPILED
from smalgos.kernels import load
from smalgos.kernels.cpu import cut_files
from tests.reference import cut_trees as reference

k = load("random_cut_forest")


@st.composite
def samples(draw, most=40):
    """Rows with ties, constant features and -0.0, cut up for trees of which some are empty."""
    sizes = draw(st.lists(st.integers(0, most), min_size=1, max_size=4))
    d = draw(st.sampled_from([1, 2, 5, 16, 17, 33]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    X = rng.standard_normal((sum(sizes), d)).astype(np.float32)
    if draw(st.booleans()):
        X = np.round(X)  # duplicates, -0.0
    X[:, rng.random(d) < 0.2] = -3
    return X, np.array(sizes), draw(st.integers(0, 2**63 - 1))


def assert_exact(forest):
    """Boxes, sides, masses and links, each anew from what is below."""
    plain = forest.plain()
    cut_files.check(plain)
    again = k.CutTrees.of(plain, forest.capacity)
    order, _ = forest.preorder()
    other, _ = again.preorder()
    inner = forest.trees * forest.capacity
    a, b = order[order < inner], other[other < inner]
    np.testing.assert_array_equal(forest.boxes[a], again.boxes[b])
    np.testing.assert_array_equal(forest.sides[a], again.sides[b])
    for tree, (points, offset) in enumerate(
        zip(reference.split(plain), plain["offsets"][:-1], strict=True)
    ):
        nodes = order[offset : offset + len(points[0])]
        for i, node in enumerate(nodes):
            parent = forest.parents[node]
            assert (parent == -1) == (i == 0)
            if i == 0:
                assert forest.roots[tree] == node
            if node < inner:
                low, high = reference.box(points, i, plain["points"])
                np.testing.assert_array_equal(forest.boxes[node], [low, high])
    assert not (np.signbit(plain["points"]) & (plain["points"] == 0)).any()


@settings(deadline=None, max_examples=60 if COMPILED else 10)
@given(samples())
def test_grown_trees_hold_their_samples(given):
    X, sizes, seed = given
    forest = k.CutTrees.grow(X, sizes, seed)
    assert_exact(forest)
    plain = forest.plain()
    first = 0
    for size, tree in zip(sizes, reference.split(plain), strict=True):
        leaves = tree[0] < 0
        held = np.repeat(plain["points"][tree[5][leaves]], tree[4][leaves], axis=0)
        want = X[first : first + size] + np.float32(0)
        assert sorted(map(tuple, held)) == sorted(map(tuple, want))
        assert len(np.unique(want, axis=0)) == leaves.sum()
        first += size


@settings(deadline=None, max_examples=60 if COMPILED else 10)
@given(samples(), st.sampled_from(["container", "library"]))
def test_scores_are_those_of_a_slow_walk(given, leaf):
    X, sizes, seed = given
    forest = k.CutTrees.grow(X, sizes, seed)
    rng = np.random.default_rng(seed)
    near = X[rng.integers(0, len(X), 9)] if len(X) else X
    Q = np.concatenate(
        [near, near + rng.standard_normal(near.shape), 10 * rng.standard_normal((9, X.shape[1]))]
    ).astype(np.float32)
    want = reference.scores(forest.plain(), Q, leaf)
    np.testing.assert_allclose(forest.scores(Q, leaf), want, rtol=2e-6)
    again = k.CutTrees.of(forest.plain())
    np.testing.assert_array_equal(again.scores(Q, leaf), forest.scores(Q, leaf))


@pytest.mark.skipif(not COMPILED, reason="several chunks of rows take long without the JIT")
def test_the_same_bits_for_any_threads_and_cuts():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((50 * 64, 5)).astype(np.float32)
    sizes = np.full(50, 64)
    forests = []
    for n in (1, 3):
        with k.threads(n):
            forests.append(k.CutTrees.grow(X, sizes, 7))
    a, b = (f.plain() for f in forests)
    for name in a:
        np.testing.assert_array_equal(a[name], b[name])
    Q = rng.standard_normal((5000, 5)).astype(np.float32)
    with k.threads(3):
        want = forests[0].scores(Q)
    for size in (1, 17, 700):
        parts = [forests[0].scores(Q[i : i + size]) for i in range(0, 1400, size)]
        np.testing.assert_array_equal(np.concatenate(parts)[:1400], want[:1400])
    frozen = Q.copy()
    frozen.flags.writeable = False
    np.testing.assert_array_equal(forests[0].scores(frozen), want)


def test_a_far_point_is_cut_off_at_once():
    rng = np.random.default_rng(1)
    X = rng.standard_normal((5 * 63, 3)).astype(np.float32)
    forest = k.CutTrees.grow(X, np.full(5, 63), 0)
    assert forest.scores(np.full((1, 3), 1e20, np.float32))[0] == pytest.approx(6, rel=1e-6)


def test_the_smallest_forests():
    one = k.CutTrees.grow(np.float32([[1, 2]]), np.array([1]), 0)
    Q = np.float32([[1, 2], [1, 3]])
    np.testing.assert_allclose(one.scores(Q), [1, 1])
    np.testing.assert_allclose(one.scores(Q, "library"), [0.5, 1])
    same = k.CutTrees.grow(np.full((8, 2), 3, np.float32), np.array([8]), 0)
    assert (same.leaves == 1).all()
    np.testing.assert_allclose(
        same.scores(np.float32([[3, 3], [4, 3]])), np.log2(9) * np.array([1 / 3, 1])
    )
    none = k.CutTrees.grow(np.zeros((0, 2), np.float32), np.array([0, 0]), 0)
    np.testing.assert_array_equal(none.scores(Q), [0, 0])
    assert len(none.scores(Q[:0])) == 0
    k.CutTrees.of(none.plain())


@pytest.mark.compiled  # NumPy warns
def test_sums_may_leave_float32():
    rng = np.random.default_rng(0)
    X = (3e38 * rng.uniform(-1, 1, (40, 20))).astype(np.float32)
    forest = k.CutTrees.grow(X, np.array([20, 20]), 0)
    assert (forest.leaves == 20).all()
    for Q in (X, X / 2, -X):
        assert np.isfinite(forest.scores(Q)).all()
    stream = k.CutStream(2, 8, 20, 0.01)
    assert np.isfinite(stream.score_update(X)).all()
    cut_files.check(stream.trees.plain())
    far = k.CutTrees.grow(X / np.float32(1e38), np.array([20, 20]), 0).scores(X)
    np.testing.assert_allclose(far, np.log2(21), rtol=1e-5)


def test_neighbouring_floats_are_parted():
    a = np.float32(1)
    X = np.array([[a], [np.nextafter(a, np.float32(2))]], np.float32)
    for seed in range(20):
        forest = k.CutTrees.grow(X, np.array([2]), seed)
        assert forest.cuts[0, 0] == a
        assert_exact(forest)


def test_cuts_are_uniform_over_the_sides():
    """Root cuts: the feature by the sides, the value uniform (chi-squared, fixed seed)."""
    trees = 4000 if COMPILED else 100
    corners = np.float32([[0, 0, 5], [1, 3, 5], [0.5, 1, 5]])
    forest = k.CutTrees.grow(np.tile(corners, (trees, 1)), np.full(trees, 3), 5)
    feature, cut = forest.records[forest.roots, 1], forest.cuts[forest.roots, 0]
    counts = np.bincount(feature, minlength=3)
    assert counts[2] == 0
    assert abs(counts[0] - trees / 4) < 4 * np.sqrt(trees * 3 / 16)
    bins = np.histogram(cut[feature == 1], 10, (0, 3))[0]
    want = counts[1] / 10
    assert ((bins - want) ** 2 / want).sum() < 33.7  # 9 degrees of freedom: 1 in 10 000


def test_sizes_must_be_those_of_the_rows():
    with pytest.raises(ValueError, match="7 rows are not 8"):
        k.CutTrees.grow(np.zeros((7, 1), np.float32), np.array([4, 4]), 0)
    with pytest.raises(ValueError, match="in all"):
        k.CutTrees(1 << 20, 1 << 20, 1)


def spoiled(plain, name, at, value):
    array = plain[name].copy()
    array[at] = value
    return plain | {name: array}


def test_arrays_of_no_tree_are_refused():
    rng = np.random.default_rng(0)
    plain = k.CutTrees.grow(rng.random((20, 3), np.float32), np.array([10, 10]), 0).plain()
    leaf, inner = int(np.argmax(plain["feature"] < 0)), 0
    wrong = [
        ("offsets", 1, 40), ("offsets", 0, 1), ("offsets", -1, 37), ("offsets", 1, -1),
        ("offsets", 1, 18), ("feature", inner, 3), ("feature", inner, -2), ("feature", inner, -1),
        ("feature", leaf, 0), ("left", inner, 0), ("right", inner, 0), ("right", inner, 19),
        ("right", inner, 1 << 30), ("left", leaf, 1), ("mass", leaf, 0), ("mass", leaf, -5),
        ("mass", inner, 11), ("point", leaf, 1), ("point", leaf, 1 << 30),
        ("cut", inner, np.nan), ("cut", inner, 9.0), ("points", 0, np.inf), ("points", 0, 7.0),
    ]  # fmt: skip
    for case in wrong:
        with pytest.raises(ValueError, match=r"\w"):
            k.CutTrees.of(spoiled(plain, *case))
    for name in plain:
        with pytest.raises(ValueError, match=name):
            k.CutTrees.of(plain | {name: plain[name].astype(np.float16)})
    with pytest.raises(ValueError, match="length"):
        k.CutTrees.of(plain | {"mass": plain["mass"][:-1]})
    with pytest.raises(ValueError, match="room"):
        k.CutTrees.of(plain, 9)


@pytest.mark.slow
@settings(deadline=None, max_examples=2000 if COMPILED else 20)
@given(samples(12), st.data())
def test_spoiled_arrays_are_refused_or_sound(given, data):
    X, sizes, seed = given
    plain = k.CutTrees.grow(X, sizes, seed).plain()
    for _ in range(data.draw(st.integers(1, 3))):
        name = data.draw(st.sampled_from(sorted(n for n in plain if plain[n].size)))
        at = data.draw(st.integers(0, len(plain[name]) - 1))
        value = data.draw(st.integers(-2, 45) | st.sampled_from([2**31 - 1, -(2**31)]))
        plain = spoiled(plain, name, at, value)
    try:
        forest = k.CutTrees.of(plain)
    except ValueError:
        return
    assert_exact(forest)
    forest.scores(np.zeros((20, X.shape[1]), np.float32))
