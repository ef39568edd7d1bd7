"""Trees against a twin that looks at every split of every node, and between ways to grow them."""

import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smalgos._jit import COMPILED
from smalgos.errors import UserError
from smalgos.formats.block import Csr
from smalgos.kernels.cpu import bins as b
from smalgos.kernels.cpu import boosting, bundles, growth
from smalgos.kernels.cpu.shared import threads
from tests.reference import trees as twin

SCALE = 0.25  # of gradients and hessians: a power of two, so that sums are exact
MANY = 20_000 if COMPILED else 60  # rows of several tasks


class Exact(boosting.Grower):
    """Takes gradients and hessians that are whole numbers times `SCALE` as they are."""

    def _pack(self, g, h, key, pairs, steps):
        pairs[:] = (np.rint(g / SCALE).astype(np.int32) << 16) + np.rint(h / SCALE).astype(np.int32)
        return 1 / SCALE, 1 / SCALE


def alone(grower, g, h, key, *, levels=None, steps=0):
    """A tree on its own."""
    (root,) = grower.roots([(g, h)], [key], steps=steps)
    return grower.grow(root, key, levels=levels)


@pytest.fixture(autouse=True)
def short_tasks(monkeypatch):
    if not COMPILED:  # constants of compiled code stay what they are
        monkeypatch.setattr(growth, "ROWS", 7)
        monkeypatch.setattr(boosting, "ROWS", 7)


def absent(X):
    stored = ~np.isnan(X)
    row, column = np.nonzero(stored)
    offsets = np.concatenate(([0], np.cumsum(stored.sum(axis=1)))).astype(np.int64)
    return Csr(X[row, column], column.astype(np.int32), offsets, X.shape[1])


def binned(X, bins, categorical, sparse):
    """Rows whose values are their bins."""
    cuts = [
        np.arange(1, k + 1, dtype=np.float32)
        if kind
        else np.append(np.arange(k - 1) + 0.5, b.LAST).astype(np.float32)
        for k, kind in zip(bins, categorical, strict=True)
    ]
    rows = boosting.Binned(b.Bins(cuts, np.array(categorical, np.bool_)), len(X), sparse=sparse)
    assert rows.add(absent(X) if sparse else X) == -1
    rows.done()
    return rows


def shape(d, **given):
    """(boosting.Shape, the twin's) of the same limits."""
    limits = twin.Limits(d, **given)
    bits = np.full(d, -1, np.int64)
    if limits.groups is not None:
        bits[:] = 0
        for i, group in enumerate(limits.groups):
            for f in group:
                bits[f] |= 1 << i
    s = limits
    return limits, boosting.Shape(
        s.depth, s.leaves, s.lossguide, s.min_child_weight, s.reg_lambda, s.reg_alpha,
        s.max_delta_step, s.gamma, s.max_cat_to_onehot, 1.0, np.array(s.monotone, np.int64), bits,
    )  # fmt: skip


class Grown:
    """What a tree says, node by node, in the caller's numbers of features."""

    def __init__(self, tree, rows):
        self.tree, self.rows = tree, rows

    def child(self, i):
        return int(self.tree.child[i]) if i < len(self.tree.child) else -1

    def __call__(self, i):
        if i >= len(self.tree.child) or self.tree.child[i] < 0:
            return None
        f, choice, by = (int(v) for v in self.tree.splits.nodes[i, 1:])
        bins = self.rows.bins
        if bins.categorical[f]:
            sides = self.tree.splits.sides[i]
            assert sides[-1] == by
            choice = frozenset(np.flatnonzero(sides[: bins.bins[f]] == 0).tolist())
            assert choice == set(self.tree.right_sets[i])
        return f, choice, bool(by)


def check(X, bins, categorical, g, h, sparse=False, levels=None, **given):
    """Grow, compare with the twin, node by node and row by row."""
    n, d = X.shape
    limits, own = shape(d, **given)
    limits.levels = levels
    rows = binned(X, bins, categorical, sparse)
    grower = Exact(rows, own)
    tree = alone(
        grower, (g * SCALE).astype(np.float32), (h * SCALE).astype(np.float32), 5, levels=levels
    )
    values = np.where(np.isnan(X), bins, X).astype(np.int64)
    taken = Grown(tree, rows)
    nodes = twin.grow(
        values, np.array(bins), np.array(categorical), g, h, limits.scaled(SCALE), taken
    )
    leaf = np.empty(n, np.int64)
    assert len(nodes) == len(tree.child)
    for i, node in enumerate(nodes):
        assert node.child == tree.child[i], i
        if node.child >= 0:
            assert taken(i) == node.split, i
            assert tree.gain[i] == pytest.approx(node.gain, rel=1e-9, abs=1e-9)
        else:
            leaf[node.rows] = i
        np.testing.assert_array_equal([tree.g[i], tree.h[i]], node.sums * SCALE)
        want = limits.weight(*(node.sums * SCALE), node.bounds)
        if node.sums[1] * SCALE < limits.min_child_weight:  # a light root says nothing
            assert i == 0
            want = 0.0
        assert tree.weight[i] == pytest.approx(want, rel=1e-9, abs=1e-12)
    np.testing.assert_array_equal(grower.leaf, leaf)
    walked = np.empty(n, np.uint32)
    boosting.walk(rows, tree.splits, walked)
    np.testing.assert_array_equal(walked, leaf)
    grower.close()
    return tree


@st.composite
def problems(draw):
    """Small tables of few values, and limits of any kind."""
    n, d = draw(st.integers(1, 40)), draw(st.integers(1, 5))
    seed = draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    bins = [draw(st.sampled_from([1, 2, 3, 5, 9, 18])) for _ in range(d)]
    kinds = draw(st.sampled_from(["numbers", "categories", "both"]))
    categorical = [
        kinds == "categories" or (kinds == "both" and draw(st.booleans())) for _ in range(d)
    ]
    X = np.stack([rng.integers(0, k, n) for k in bins], axis=1).astype(np.float32)
    if draw(st.booleans()):  # columns that can be bundled, or nearly
        owner = rng.integers(0, d, n)[:, None]
        X[(owner != np.arange(d)) & (rng.random((n, d)) < draw(st.sampled_from([0.9, 1.0])))] = 0
    X[rng.random((n, d)) < draw(st.sampled_from([0.0, 0.1, 0.6]))] = np.nan
    wide = draw(st.sampled_from([2, 30]))
    g, h = rng.integers(-wide, wide + 1, n), rng.integers(draw(st.integers(0, 1)), 6, n)
    if draw(st.booleans()):  # a signal
        g += np.where(np.nan_to_num(X[:, 0]) > bins[0] // 2, 10, -10)
    g = np.where(h == 0, 0, g)
    given = {
        "depth": draw(st.integers(0, 4)),
        "leaves": draw(st.sampled_from([0, 0, 2, 5])),
        "lossguide": draw(st.booleans()),
        "min_child_weight": draw(st.sampled_from([0.0, 1.0, 2.5])),
        "reg_lambda": draw(st.sampled_from([0.0, 1.0, 0.5])),
        "reg_alpha": draw(st.sampled_from([0.0, 0.0, 1.0, 3.0])),
        "max_delta_step": draw(st.sampled_from([0.0, 0.0, 0.5])),
        "gamma": draw(st.sampled_from([0.0, 0.0, 2.0])),
        "max_cat_to_onehot": draw(st.sampled_from([1, 4, 100])),
    }
    if draw(st.booleans()):
        signs = [draw(st.sampled_from([-1, 0, 1])) for _ in range(d)]
        given["monotone"] = [0 if c else s for c, s in zip(categorical, signs, strict=True)]
    if draw(st.integers(0, 3)) == 0:
        groups = st.lists(st.integers(0, d - 1), min_size=1, max_size=3, unique=True)
        given["groups"] = draw(st.lists(groups, min_size=1, max_size=3))
    if draw(st.integers(0, 3)) == 0:
        levels = np.array(
            [[draw(st.integers(0, 1)) for _ in range(d)] for _ in range(draw(st.integers(1, 2)))],
            np.uint8,
        )
        levels[:, draw(st.integers(0, d - 1))] = 1
        given["levels"] = levels
    return X, bins, categorical, g, h, given


@settings(deadline=None, max_examples=150 if COMPILED else 40)
@given(problems(), st.booleans())
def test_trees_are_those_of_the_twin(problem, sparse):
    X, bins, categorical, g, h, given = problem
    check(X, bins, categorical, g, h, sparse, **given)


@pytest.mark.slow
@settings(deadline=None, max_examples=3000 if COMPILED else 200)
@given(problems(), st.booleans(), st.integers(1, 3))
def test_trees_are_those_of_the_twin_often(problem, sparse, n_jobs):
    X, bins, categorical, g, h, given = problem
    with pytest.MonkeyPatch.context() as patch, threads(n_jobs):
        patch.setattr(boosting, "SMALL", 0)
        patch.setattr(boosting, "BATCH", n_jobs)
        patch.setattr(boosting, "POOL", 0)
        check(X, bins, categorical, g, h, sparse, **given)


def signal(seed, n, d, distinct=9, missing=0.1):
    """Rows of few values, gradients that depend on them, whole hessians."""
    rng = np.random.default_rng(seed)
    X = rng.integers(0, distinct, (n, d)).astype(np.float32)
    g = np.rint(3 * (X[:, 0] - distinct / 2) * np.sin(X[:, 1 % d]) + rng.normal(0, 3, n))
    X[rng.random((n, d)) < missing] = np.nan
    return X, [distinct] * d, [False] * d, g.astype(np.int64), rng.integers(1, 4, n)


@pytest.mark.parametrize("sparse", [False, True])
def test_rows_of_several_tasks(sparse):
    problem = signal(0, MANY, 3)
    check(*problem, sparse, depth=5)
    check(*problem, sparse, leaves=12, lossguide=True)


def grown(rows, g, h, n_jobs, monkeypatch, own, **limits):
    for name, value in limits.items():
        monkeypatch.setattr(boosting, name, value)
    with threads(n_jobs):
        grower = Exact(rows, own)
        tree = alone(grower, (g * SCALE).astype(np.float32), (h * SCALE).astype(np.float32), 5)
        leaf = grower.leaf.copy()
        grower.close()
    said = [tree.child, tree.feature, tree.threshold, tree.default_left, tree.gain, tree.g, tree.h]
    return [*said, tree.weight, *tree.splits, leaf.astype(np.int64)]


def same(a, b):
    for x, y in zip(a, b, strict=True):
        np.testing.assert_array_equal(x, y)


@pytest.mark.parametrize("lossguide", [False, True])
@pytest.mark.parametrize("sparse", [False, True])
def test_neither_members_nor_room_change_a_bit(monkeypatch, lossguide, sparse):
    """Histograms that had to go are summed up again; nodes come in other batches."""
    X, bins, _, g, h = signal(1, MANY, 5)
    categorical = [False, True, False, False, True]
    _, own = shape(5, depth=7, leaves=60, lossguide=lossguide, max_cat_to_onehot=3)
    rows = binned(X, bins, categorical, sparse)
    want = grown(rows, g, h, 1, monkeypatch, own)
    assert len(want[0]) == 119 or not COMPILED
    for n_jobs in (1, 2, 3, 8):
        for limits in ({}, {"BATCH": 1}, {"BATCH": 3, "POOL": 0}, {"ROOM": 0, "POOL": 0}):
            usual = {"BATCH": 64, "ROOM": 1 << 22, "POOL": 1 << 25, "SMALL": 0}
            same(grown(rows, g, h, n_jobs, monkeypatch, own, **usual | limits), want)


def test_kinds_of_rows_give_the_same_trees(monkeypatch):
    """Dense and sparse, bins of one byte and of two."""
    X, bins, _, g, h = signal(2, 300, 4)
    categorical = [False, True, False, False]
    _, own = shape(4, depth=5)
    want = grown(binned(X, bins, categorical, False), g, h, 1, monkeypatch, own)
    assert len(want[0]) > 20
    same(grown(binned(X, bins, categorical, True), g, h, 1, monkeypatch, own), want)
    monkeypatch.setattr(np, "uint8", np.uint16)  # as `Bins` chooses
    for sparse in (False, True):
        rows = binned(X, bins, categorical, sparse)
        monkeypatch.undo()
        assert rows.bins.dtype == np.uint16
        same(grown(rows, g, h, 1, monkeypatch, own), want)
        monkeypatch.setattr(np, "uint8", np.uint16)


def test_more_than_255_bins():
    rng = np.random.default_rng(0)
    X = np.stack([rng.integers(0, 400, 500), rng.integers(0, 3, 500)], axis=1).astype(np.float32)
    X[rng.random((500, 2)) < 0.1] = np.nan
    g = np.rint(np.sin(np.nan_to_num(X[:, 0]) / 30) * 20).astype(np.int64)
    for sparse in (False, True):
        check(X, [400, 3], [False, False], g, np.ones(500, np.int64), sparse, depth=3)
        check(X, [400, 3], [True, False], g, np.ones(500, np.int64), sparse, depth=3)


@pytest.mark.compiled
def test_more_than_65535_nodes():
    n = 70_000
    rng = np.random.default_rng(0)
    X = np.stack([np.arange(n) % 300, np.arange(n) // 300], axis=1).astype(np.float32)
    g = rng.integers(-100, 101, n)
    rows = binned(X, [300, 234], [False, False], False)
    _, own = shape(2, reg_lambda=0.0)
    grower = Exact(rows, own)
    tree = alone(grower, (g * SCALE).astype(np.float32), np.full(n, SCALE, np.float32), 1)
    assert len(tree.child) > 100_000
    # Rows go on being parted until those of a leaf agree.
    leaf, leaves = grower.leaf, np.flatnonzero(tree.child < 0)
    np.testing.assert_array_equal(np.unique(leaf), leaves)
    low, high = np.full(len(tree.child), 1000), np.full(len(tree.child), -1000)
    np.minimum.at(low, leaf, g)
    np.maximum.at(high, leaf, g)
    assert (low[leaves] == high[leaves]).mean() > 0.99
    grower.close()


def test_what_has_nothing_to_gain_is_a_leaf():
    X = np.arange(10, dtype=np.float32)[:, None]
    ones = np.ones(10, np.int64)
    for g, h in ((ones, ones), (0 * ones, ones), (0 * ones, 0 * ones)):
        tree = check(X, [10], [False], g, h)
        assert len(tree.child) == 1
    for limits in (
        {"min_child_weight": 10 * SCALE}, {"gamma": 1e9}, {"reg_alpha": 1e9}, {"leaves": 1}
    ):  # fmt: skip
        assert len(check(X, [10], [False], np.arange(10) - 5, ones, **limits).child) == 1
    nothing = np.full((10, 2), np.nan, np.float32)
    for sparse in (False, True):
        tree = check(nothing, [1, 1], [False, False], np.arange(10) - 5, ones, sparse)
        assert len(tree.child) == 1
    assert len(check(X[:1], [10], [False], ones[:1], ones[:1]).child) == 1


def test_features_outside_all_constraints_stand_alone():
    """As in XGBoost, one may be the first of a path, and then no other joins it."""
    rng = np.random.default_rng(0)
    X = rng.integers(0, 2, (200, 3)).astype(np.float32)
    g = ((X @ [40, 9, 3]) - 20).astype(np.int64)
    tree = check(X, [2] * 3, [False] * 3, g, np.ones(200, np.int64), groups=[[1, 2]])
    assert tree.feature[0] == 0
    assert len(tree.child) == 3


def test_a_share_of_the_features_for_each_node():
    """Nodes draw their own; with two of four, none of the best two may be worse than third."""
    d, n = 4, 400
    X, bins, categorical, g, h = signal(3, n, d, distinct=4, missing=0)
    g = g + np.rint(np.nan_to_num(X) @ [4, 3, 2, 1] * 3).astype(np.int64)
    rows = binned(X, bins, categorical, False)
    limits, own = shape(d, depth=1)
    order = np.argsort(
        [
            -max(
                split[0]
                for split in twin._splits(
                    limits, f, False, 4, X[:, f].astype(int), g, h, (-np.inf, np.inf),
                    np.array([g.sum(), h.sum()]),
                )
            )
            for f in range(d)
        ]
    )  # fmt: skip
    counts = np.zeros(d)
    keys = 300
    for key in range(keys):
        grower = Exact(rows, own._replace(bynode=0.5))
        key = (key * 0x9E3779B97F4A7C15) & 0xFFFFFFFFFFFFFFFF
        tree = alone(grower, (g * SCALE).astype(np.float32), (h * SCALE).astype(np.float32), key)
        counts[tree.feature[0]] += 1
        grower.close()
    # The best feature of two drawn out of four: 3/6, 2/6, 1/6, never.
    share = counts[order] / keys
    np.testing.assert_allclose(share, [1 / 2, 1 / 3, 1 / 6, 0], atol=0.1)
    assert share[3] == 0
    grower = Exact(rows, own._replace(depth=6, bynode=0.5))
    tree = alone(grower, (g * SCALE).astype(np.float32), (h * SCALE).astype(np.float32), 3)
    assert len(set(tree.feature[1:][tree.child[1:] >= 0])) > 2  # nodes of a tree draw anew
    grower.close()


# -- rounding, and leaves after it


def uniform(n, d=3, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.integers(0, 5, (n, d)).astype(np.float32)
    return rng, binned(X, [5] * d, [False] * d, False)


def test_whole_hessians_are_exact():
    """min_child_weight often is as much as some rows have."""
    for n in (100, 100_003 if COMPILED else 101):
        rng, rows = uniform(n)
        h = rng.integers(1, 4, n).astype(np.float32) / 2
        _, own = shape(3, depth=2, min_child_weight=float(h.sum()))
        grower = boosting.Grower(rows, own)
        tree = alone(grower, rng.standard_normal(n).astype(np.float32), h, 77)
        assert tree.h[0] == h.sum(dtype=np.float64)
        leaf = np.unique(grower.leaf)
        np.testing.assert_array_equal(tree.h[leaf], np.bincount(grower.leaf, h)[leaf])
        grower.close()


@pytest.mark.parametrize("count", [1, 5])
def test_children_of_exactly_min_child_weight(count):
    n = 10 * count
    X = (np.arange(n) % 10).astype(np.float32)[:, None]
    g = np.where(X[:, 0] == 0, -1, 1).astype(np.float32)
    _, own = shape(1, depth=1, min_child_weight=float(count))
    rows = binned(X, [10], [False], False)
    for key in range(20):
        grower = boosting.Grower(rows, own)
        tree = alone(grower, g, np.ones(n, np.float32), key * 12345)
        assert tree.child[0] == 1
        assert tree.h[1] == count
        grower.close()


@pytest.mark.parametrize("scale", [1e-30, 1e-6, 1.0, 1e6, 1e30])
def test_gradients_of_any_size(scale):
    n = 500
    rng, rows = uniform(n)
    g = (rng.standard_normal(n) * scale).astype(np.float32)
    h = (rng.random(n) * scale).astype(np.float32)
    _, own = shape(3, depth=3, reg_lambda=0.0)
    grower = boosting.Grower(rows, own)
    tree = alone(grower, g, h, 3)
    leaves = tree.child < 0
    for sums, x in ((tree.g, g), (tree.h, h)):
        want = np.bincount(grower.leaf, x, len(leaves))
        error = np.abs(x).max() / 30_000 * n
        np.testing.assert_allclose(sums[leaves], want[leaves], atol=error, rtol=1e-3)
    grower.close()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_gradients_that_are_none_are_refused(bad):
    _, rows = uniform(50)
    g, h = np.ones(50, np.float32), np.ones(50, np.float32)
    for x in (g, h):
        grower = boosting.Grower(rows, shape(3)[1])
        x[30] = bad
        with pytest.raises(UserError, match="not finite"):
            alone(grower, g, h, 1)
        x[30] = 1
    h[49] = -1e-3
    with pytest.raises(UserError, match="a hessian is negative"):
        alone(grower, g, h, 1)


def test_sums_of_many_rows_do_not_overflow():
    n = 300_000 if COMPILED else 50
    _, rows = uniform(n, 1)
    g = np.full(n, 3.0, np.float32)
    grower = boosting.Grower(rows, shape(1, depth=1)[1])
    for sign in (1, -1):
        tree = alone(grower, sign * g, 7 * g, 3)
        assert tree.g[0] == pytest.approx(sign * 3.0 * n, rel=1e-4)
        assert tree.h[0] == pytest.approx(21.0 * n, rel=1e-4)
    grower.close()


@pytest.mark.parametrize("steps", [2, 4, 15, 1000])
def test_leaves_of_coarse_gradients_are_refitted(steps):
    n = 400
    rng, rows = uniform(n)
    g = rng.standard_normal(n).astype(np.float32)
    h = rng.random(n).astype(np.float32)
    limits, own = shape(3, depth=3, reg_alpha=0.5, max_delta_step=0.4, monotone=[1, 0, 0])
    grower = boosting.Grower(rows, own)
    tree = alone(grower, g, h, 3, steps=steps)
    assert len(tree.child) > 3
    scale = (steps // 2) / float(np.abs(g).max())
    np.testing.assert_allclose(tree.g * scale, np.rint(tree.g * scale), atol=1e-3)
    refitted, leaf = grower.refit(tree, g, h), grower.leaf.astype(np.int64)
    own_bounds = grower._work.reals[: len(tree.child), 1:]
    for node in range(len(tree.child)):
        if tree.child[node] >= 0:
            assert refitted.weight[node] == tree.weight[node]
            continue
        own_rows = leaf == node
        sums = g[own_rows].sum(dtype=np.float64), h[own_rows].sum(dtype=np.float64)
        want = limits.weight(*sums, own_bounds[node])
        assert refitted.weight[node] == pytest.approx(want, rel=1e-9)
    grower.close()


def test_margins_get_what_leaves_say(monkeypatch):
    monkeypatch.setattr(boosting, "CHUNK", 7)
    rng = np.random.default_rng(0)
    margin = rng.standard_normal(40).astype(np.float32)
    values = rng.standard_normal(9).astype(np.float32)
    for dtype in (np.uint16, np.uint32):
        leaf = rng.integers(0, 9, 40).astype(dtype)
        got = margin.copy()
        boosting.add_margins(leaf, values, got)
        np.testing.assert_array_equal(got, margin + values[leaf])


def test_bundles_change_no_tree(monkeypatch):
    """Nor does the order of features in a histogram settle which of equal splits is taken."""
    rng = np.random.default_rng(11)
    n = MANY
    level = rng.integers(0, 9, n)
    X = np.hstack([level[:, None] == np.arange(9), rng.integers(0, 6, (n, 3))]).astype(np.float32)
    X[:, 3] = X[:, 5]  # the same split twice
    bins = [2] * 9 + [6] * 3
    g = (rng.standard_normal(n) + 3 * (level % 3) - 3).astype(np.float32)
    h = np.ones(n, np.float32)
    trees = []
    for kept in (True, False):
        if not kept:
            monkeypatch.setattr(bundles, "_plan", lambda c, b: ([], np.full(len(b), -1)))
        rows = binned(X, bins, [False] * 12, False)
        assert len(rows.by_rows()[0].columns) == (5 if kept else 12)
        grower = boosting.Grower(rows, shape(12, depth=5)[1])
        trees.append(alone(grower, g, h, 3))
        grower.close()
    for name in ("child", "feature", "threshold", "gain", "g", "h", "weight"):
        one, other = (getattr(tree, name) for tree in trees)
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("count", [2, 3, 8])
def test_trees_whose_roots_are_summed_up_together(count):
    X, bins, categorical, g, h = signal(12, MANY, 5)
    rows = binned(X, bins, categorical, False)
    grower = boosting.Grower(rows, shape(5, depth=3)[1])
    rng = np.random.default_rng(0)
    gradients = [
        (
            g.astype(np.float32) + rng.standard_normal(len(g)).astype(np.float32),
            h.astype(np.float32),
        )
        for _ in range(count)
    ]
    keys = list(range(count))
    together = [
        grower.grow(root, key)
        for root, key in zip(grower.roots(gradients, keys), keys, strict=True)
    ]
    for tree, pair, key in zip(together, gradients, keys, strict=True):
        own = alone(grower, *pair, key)
        for name in ("child", "feature", "threshold", "g", "h", "weight"):
            np.testing.assert_array_equal(getattr(tree, name), getattr(own, name))
    grower.close()


@pytest.mark.parametrize("sparse", [False, True])
def test_other_rows_walk_as_thresholds_say(sparse):
    """Missing values, and rows whose values no training row had."""
    X, bins, _, g, h = signal(4, 200, 4)
    categorical = [False, True, False, False]
    rows = binned(X, bins, categorical, sparse)
    grower = Exact(rows, shape(4, depth=5)[1])
    tree = alone(grower, (g * SCALE).astype(np.float32), (h * SCALE).astype(np.float32), 5)
    rng = np.random.default_rng(9)
    other = rng.uniform(-3, 12, (150, 4)).astype(np.float32)
    other[:, 1] = rng.integers(0, 9, 150)
    other[rng.random(other.shape) < 0.3] = np.nan
    held = boosting.Binned(rows.bins, 150, sparse=sparse)
    assert held.add(absent(other) if sparse else other) == -1
    held.done()
    leaf = np.empty(150, np.uint32)
    boosting.walk(held, tree.splits, leaf)
    for row, found in zip(other, leaf, strict=True):
        node = 0
        while tree.child[node] >= 0:
            x = row[tree.feature[node]]
            if np.isnan(x):
                left = tree.default_left[node]
            elif node in tree.right_sets:
                left = x not in tree.right_sets[node]
            else:
                left = x < tree.threshold[node]
            node = tree.child[node] + 1 - int(left)
        assert node == found
    grower.close()


def test_trees_together():
    """A tree of one node among those that are split by categories."""
    X, bins, _, g, h = signal(6, 100, 3)
    rows = binned(X, bins, [True, False, True], False)
    grower = Exact(rows, shape(3, depth=3)[1])
    h = (h * SCALE).astype(np.float32)
    one = alone(grower, np.zeros(100, np.float32), h, 1)
    other = alone(grower, (g * SCALE).astype(np.float32), h, 1)
    assert len(one) == 1
    assert other.right_sets
    for parts in ([one, other], [other, one], [other, other]):
        several, at = boosting.Tree.together(parts), 0
        for part in parts:
            own = slice(at, at + len(part))
            for name in ("child", "feature", "threshold", "default_left", "gain", "g", "weight"):
                np.testing.assert_array_equal(getattr(several, name)[own], getattr(part, name))
            for node, right in part.right_sets.items():
                np.testing.assert_array_equal(several.right_sets[at + node], right)
            at += len(part)
        assert len(several) == at
        assert len(several.right_sets) == sum(len(part.right_sets) for part in parts)
    grower.close()


@pytest.mark.compiled
def test_a_fault_in_one_member_ends_the_others(monkeypatch):
    X, bins, categorical, g, h = signal(5, MANY, 3)
    rows = binned(X, bins, categorical, False)
    monkeypatch.setattr(boosting, "SMALL", 0)
    usual = boosting.grow

    def faulty(member, *rest):
        if member == 1:
            raise RuntimeError("out of order")
        usual(member, *rest)

    caught = []

    def call():
        with threads(3):
            grower = Exact(rows, shape(3, depth=6)[1])
            try:
                alone(grower, g.astype(np.float32), h.astype(np.float32), 1)
            except RuntimeError as error:
                caught.append(str(error))
            grower.close()

    monkeypatch.setattr(boosting, "grow", faulty)
    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    thread.join(60)
    assert caught == ["out of order"]
