"""Forests that follow a stream: exact after any updates, the same bits however they are cut."""

import copy
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smalgos._jit import COMPILED
from smalgos.kernels import load
from tests.kernels.test_cut_trees import assert_exact
from tests.reference import cut_trees as reference

k = load("random_cut_forest")


def stream(trees=3, capacity=8, width=2, decay=0.01, fraction=1.0, seed=0):
    return k.CutStream(trees, capacity, width, decay, fraction, seed)


def same(a, b):
    a, b = a.arrays(), b.arrays()
    assert a.keys() == b.keys()
    for name in a:
        np.testing.assert_array_equal(a[name], b[name], name)


@st.composite
def streams(draw):
    """Settings of a stream, and rows with ties, -0.0 and constant features."""
    capacity, d = draw(st.integers(1, 9)), draw(st.sampled_from([1, 2, 17]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    X = rng.standard_normal((draw(st.integers(1, 60)), d)).astype(np.float32)
    if draw(st.booleans()):
        X = np.round(X)
    X[:, rng.random(d) < 0.2] = 4
    weights = rng.exponential(size=len(X)) * (rng.random(len(X)) < 0.8)
    settings = {
        "trees": draw(st.integers(1, 4)), "capacity": capacity, "width": d,
        "decay": draw(st.sampled_from([0.0, 0.01, 0.5, 3.0, 60.0, 1000.0])),
        "fraction": draw(st.sampled_from([1.0, 0.5, 1e-3])), "seed": draw(st.integers(0, 99)),
    }  # fmt: skip
    return settings, X, weights if draw(st.booleans()) else None


@settings(deadline=None, max_examples=80 if COMPILED else 10)
@given(streams(), st.data())
def test_trees_are_exact_and_bits_the_same_however_cut(given, data):
    settings, X, weights = given
    whole, parts, rows, idle = (stream(**settings) for _ in range(4))
    want = whole.score_update(X, weights)
    assert_exact(whole.trees)
    first = 0
    while first < len(X):
        size = data.draw(st.integers(1, len(X)))
        part = None if weights is None else weights[first : first + size]
        found = parts.score_update(X[first : first + size], part)
        np.testing.assert_array_equal(found, want[first : first + size])
        idle.update(X[first : first + size], part)
        parts = k.CutStream.of(parts.arrays())
        first += size
    ones = np.ones(len(X)) if weights is None else weights
    np.testing.assert_array_equal(
        [rows.score_update_row(x, w) for x, w in zip(X, ones, strict=True)], want
    )
    for other in (parts, rows, idle):
        same(whole, other)
    assert_exact(parts.trees)
    np.testing.assert_array_equal(parts.score(X), whole.score(X))


@settings(deadline=None, max_examples=30 if COMPILED else 3)
@given(streams())
def test_each_row_is_scored_by_the_trees_before_it(given):
    settings, X, weights = given
    a, b = stream(**settings), stream(**settings)
    ones = np.ones(len(X)) if weights is None else weights
    want = []
    for i in range(len(X)):
        want.append(b.score(X[i : i + 1])[0])
        b.update(X[i : i + 1], ones[i : i + 1])
    np.testing.assert_array_equal(a.score_update(X, weights), want)
    np.testing.assert_allclose(
        b.score(X[:5]), reference.scores(b.trees.plain(), X[:5], "library"), rtol=2e-6
    )


@pytest.mark.skipif(not COMPILED, reason="several blocks take long without the JIT")
def test_the_same_bits_for_any_threads_and_blocks():
    rng = np.random.default_rng(3)
    X = rng.standard_normal((5000, 10)).astype(np.float32)
    found = []
    for n in (1, 3):
        with k.threads(n):
            forest = stream(21, 64, 10, 0.1 / 64)
            found.append((forest.score_update(X), forest))
    np.testing.assert_array_equal(found[0][0], found[1][0])
    same(found[0][1], found[1][1])
    assert_exact(found[0][1].trees)
    rows = stream(21, 64, 10, 0.1 / 64)
    np.testing.assert_array_equal([rows.score_update_row(x) for x in X], found[0][0])
    same(rows, found[0][1])
    many = stream(300, 4, 10)  # more trees than share a list
    np.testing.assert_array_equal(
        stream(300, 4, 10).score_update(X[:50]), [many.score_update_row(x) for x in X[:50]]
    )


def test_decay_may_change_and_the_base_of_keys():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((60, 2)).astype(np.float32)
    a, b = stream(decay=2.0), stream(decay=2.0)
    a.update(X[:30])
    for x in X[:30]:
        b.score_update_row(x)
    assert a.arrays()["base"] > 0  # of several
    for forest in (a, b):
        forest.set_decay(0.25)
    assert a.decay == 0.25
    a.update(X[30:])
    b.update(X[30:41])
    b = k.CutStream.of(b.arrays())
    b.update(X[41:])
    same(a, b)
    assert_exact(a.trees)
    still = stream(decay=0.0)
    still.update(X)
    assert still.arrays()["total"] == 60


def test_rows_of_no_weight_only_pass():
    X = np.ones((5, 2), np.float32)
    forest = stream()
    forest.update(X, np.zeros(5))
    assert forest.seen == 5
    assert (forest.trees.roots == -1).all()
    np.testing.assert_array_equal(forest.score(X), np.zeros(5))
    forest = stream(1, 2)
    forest.update(X)
    held = forest.arrays()
    forest.update(2 * X, np.zeros(5))
    np.testing.assert_array_equal(forest.arrays()["points"], held["points"])


def test_a_point_a_thousand_times_is_one_leaf():
    forest = stream(4, 32, 3)
    forest.update(np.full((1000 if COMPILED else 50, 3), -0.0, np.float32))
    assert (forest.trees.leaves == 1).all()
    assert (forest.trees.mass[forest.trees.roots] == 32).all()
    assert_exact(forest.trees)


def test_copies_are_streams_of_their_own():
    X = np.random.default_rng(0).standard_normal((40, 2)).astype(np.float32)
    forest = stream()
    forest.update(X[:20])
    copies = copy.deepcopy(forest), pickle.loads(pickle.dumps(forest))
    trees = copy.copy(forest.trees)
    before = forest.score(X)
    forest.update(X[20:])
    np.testing.assert_array_equal(trees.scores(X, "library"), before)
    for other in copies:
        np.testing.assert_array_equal(other.score(X), before)
        other.update(X[20:])
        same(other, forest)


def test_what_kernels_would_not_look_at_is_refused():
    forest = stream()
    X = np.zeros((3, 2), np.float32)
    for wrong in (X[:, :1], X[0]):
        for ask in (forest.score, forest.update, forest.score_update):
            with pytest.raises(ValueError, match="2 wide"):
                ask(wrong)
    with pytest.raises(ValueError, match="as wide as"):
        forest.score_update_row(np.zeros(3, np.float32))
    for weights in ([1.0, 1.0], [1.0, 1.0, -1.0], [1.0, np.nan, 1.0], [1.0, np.inf, 1.0]):
        with pytest.raises(ValueError, match="weights"):
            forest.update(X, np.array(weights))
    for bad in ({"decay": -1.0}, {"decay": np.inf}, {"fraction": 0.0}, {"trees": 0}):
        with pytest.raises(ValueError, match=r"\d"):
            stream(**bad)
    with pytest.raises(ValueError, match="decay"):
        forest.set_decay(np.nan)


def ages(forest, X, n):
    """How old each held row is, where a row's first coordinate is its number."""
    plain = forest.trees.plain()
    return n - 1 - np.repeat(plain["points"][:, 0], plain["mass"][plain["feature"] < 0])


def two_samples(a, b, bins=8):
    """Chi-squared of two samples being one distribution, over its degrees of freedom."""
    edges = np.quantile(np.concatenate([a, b]), np.linspace(0, 1, bins + 1)[1:-1])
    x, y = (np.bincount(np.searchsorted(edges, v), minlength=bins) for v in (a, b))
    r = np.sqrt(y.sum() / x.sum())
    keep = x + y > 0
    return ((r * x - y / r)[keep] ** 2 / (x + y)[keep]).sum() / (keep.sum() - 1)


@pytest.mark.compiled
@pytest.mark.parametrize(
    ("decay", "fraction", "weighted"),
    [(0.0, 1.0, False), (0.02, 1.0, False), (0.02, 0.25, True), (0.0, 1e-3, False)],
)
def test_samples_are_those_of_direct_keys(decay, fraction, weighted):
    n, capacity = 300, 20
    X = np.arange(n, dtype=np.float32)[:, None]
    rng = np.random.default_rng(0)
    weights = rng.exponential(size=n) * (rng.random(n) < 0.8) if weighted else None
    forest = stream(600, capacity, 1, decay, fraction, seed=2)
    forest.update(X, weights)
    found = ages(forest, X, n)
    want = np.concatenate([
        n - 1 - np.array(reference.sample(rng, n, capacity, decay, weights, fraction))
        for _ in range(200)
    ])  # fmt: skip
    assert two_samples(found, want) < 26.1 / 7 * 1.2  # 7 degrees of freedom: 1 in 2000
    if decay and not weighted:  # in the tail chances fall by exp(-decay) a row
        tail = [((found >= a) & (found < a + 40)).sum() for a in (100, 140)]
        assert tail[1] / tail[0] == pytest.approx(np.exp(-40 * decay), rel=0.25)
    if not decay:
        halves = np.bincount((found >= n / 2).astype(int))
        if fraction == 1.0:
            assert abs(halves[0] - halves[1]) < 4 * np.sqrt(len(found))


@pytest.mark.compiled
def test_streamed_trees_are_distributed_as_grown_ones():
    """Insertion and deletion leave no trace: root cuts and depths (chi-squared, fixed seeds)."""
    rng = np.random.default_rng(0)
    trees, capacity = 2000, 16
    X = (rng.standard_normal((200, 4)) * [1, 2, 3, 4]).astype(np.float32)
    streamed = stream(trees, capacity, 4, 0.01, seed=4).trees
    forest = stream(trees, capacity, 4, 0.01, seed=4)
    forest.update(X)
    streamed = forest.trees
    plain = streamed.plain()
    mass = plain["mass"][plain["feature"] < 0]
    samples = np.repeat(plain["points"], mass, axis=0)
    grown = k.CutTrees.grow(samples, np.full(trees, capacity), 9)
    counts = [np.bincount(f.records[f.roots, 1], minlength=4) for f in (streamed, grown)]
    assert ((counts[0] - counts[1]) ** 2 / (counts[0] + counts[1])).sum() < 16.3  # 3: 1 in 1000
    probes = np.concatenate([X[:20], 3 * X[:20]])
    for leaf in ("container", "library"):
        a, b = (f.scores(probes, leaf) for f in (streamed, grown))
        np.testing.assert_allclose(a, b, rtol=0.03)
    depth = []
    for f in (streamed, grown):
        flat = f.plain()
        depth.append(np.concatenate([
            [len(reference.path(t, x)) for x in X[:3]]
            for t in reference.split(flat)[:500]
        ]))  # fmt: skip
    assert two_samples(*depth, bins=6) < 4


@pytest.mark.parametrize(("trees", "width"), [(1, 1), (3, 4), (70, 20)])
def test_one_row_scores_as_among_others(trees, width):
    X = np.random.default_rng(width).standard_normal((60, width)).astype(np.float32).round(1)
    forest = stream(trees, 16, width)
    for i in (0, 1, 2, 20, 60):  # no point, a leaf alone, and more
        forest.update(X[forest.seen : i])
        asked = np.concatenate([X[:4], 5 * X[4:8]])
        one = [forest.trees.score(x, "library") for x in asked]
        assert one == forest.trees.scores(asked, "library").tolist()


def test_when_points_came():
    rows = np.random.default_rng(3).integers(0, 4, (60, 2)).astype(np.float32)
    forest = stream(trees=2, capacity=16)
    for row in rows[:30]:
        forest.score_update_row(row)
    forest.update(rows[30:])
    points = np.unique(rows, axis=0)
    arrived = forest.arrivals(points)
    for point, numbers in zip(points, arrived, strict=True):
        assert (rows[numbers] == point).all()
        assert (np.diff(numbers) > 0).all()
    held = np.concatenate([k.CutStream.of(forest.arrays()).arrays()["arrived"]])
    np.testing.assert_array_equal(np.unique(held), np.sort(np.concatenate(arrived)))
    assert len(held) == 32
    assert forest.arrivals(np.full((1, 2), 9, np.float32))[0].size == 0


def test_arrays_of_no_stream_are_refused():
    forest = stream(decay=0.1)
    forest.update(np.round(np.random.default_rng(0).standard_normal((40, 2))).astype(np.float32))
    arrays = forest.arrays()
    same(k.CutStream.of(arrays), forest)

    def with_(name, at, value):
        array = arrays[name].copy()
        array[at] = value
        return arrays | {name: array}

    wrong = [
        with_("held", 0, -1), with_("held", 0, 99), with_("keys", 0, 0.0), with_("keys", 3, np.nan),
        with_("keys", 7, np.inf), with_("sizes", 0, 9), with_("sizes", 0, 7), with_("drawn", 0, -1),
        with_("next", 1, np.nan), arrays | {"decay": -1.0}, arrays | {"decay": np.inf},
        arrays | {"total": np.nan}, arrays | {"base": 41}, arrays | {"base": -1},
        arrays | {"trees": 2}, arrays | {"capacity": 7}, arrays | {"capacity": 0},
        arrays | {"capacity": 1 << 40}, arrays | {"initial_accept_fraction": 0.0},
        arrays | {"keys": arrays["keys"][:-1]}, arrays | {"drawn": arrays["drawn"][:-1]},
        arrays | {"held": arrays["held"].astype(np.int64)},
        arrays | {"held": np.roll(arrays["held"], 1)}, with_("arrived", 0, 40),
        with_("arrived", 0, -1), arrays | {"arrived": arrays["arrived"][:-1]},
    ]  # fmt: skip
    for case in wrong:
        with pytest.raises(ValueError, match=r"\w"):
            k.CutStream.of(case)


@pytest.mark.slow
@settings(deadline=None, max_examples=1000 if COMPILED else 10)
@given(streams(), st.data())
def test_spoiled_streams_are_refused_or_go_on(given, data):
    settings, X, weights = given
    forest = stream(**settings)
    forest.update(X, weights)
    arrays = forest.arrays()
    for _ in range(data.draw(st.integers(1, 3))):
        name = data.draw(st.sampled_from(sorted(arrays)))
        value = data.draw(st.integers(-2, 70) | st.sampled_from([2**31 - 1, -(2**31)]))
        if not isinstance(arrays[name], np.ndarray):
            arrays[name] = value
        elif arrays[name].size:
            array = arrays[name].copy()
            array.reshape(-1)[data.draw(st.integers(0, array.size - 1))] = value
            arrays[name] = array
    if not 1 <= arrays["capacity"] < 1000:
        return
    try:
        again = k.CutStream.of(arrays)
    except ValueError:
        return
    again.score_update(X)
    assert_exact(again.trees)
