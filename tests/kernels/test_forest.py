"""Forests against one row at a time, between their ways, and against XGBoost."""

import time
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smalgos.kernels.cpu import forest as f
from smalgos.kernels.cpu import forest_bits
from smalgos.kernels.cpu.shared import threads
from tests.kernels import forests
from tests.reference import forest as reference

WIDTH = 5


@pytest.fixture(params=["bits", "walk"])
def way(request, monkeypatch):
    """Take one way for any number of rows and trees."""
    monkeypatch.setattr(f, "FEW", 0 if request.param == "bits" else 1 << 60)
    monkeypatch.setattr(f, "COLUMNS", 1 << 60)
    return request.param


def case(seed, trees, n, depth=4, outputs=1, categories=False, **options):
    given = forests.forest(seed, trees, depth, WIDTH, outputs, categories, **options)
    base = np.random.default_rng(seed).standard_normal(outputs).astype(np.float32)
    return given, forests.rows(seed, n, WIDTH), base


def check(seed, trees, n, depth, outputs, categories, part):
    given, X, base = case(seed, trees, n, depth, outputs, categories)
    begin, end = sorted(round(share * trees) for share in part)
    forest = f.Forest(given, WIDTH, outputs)
    want = reference.margins(given, X, base, begin, end, outputs)
    np.testing.assert_array_equal(forest.margins(X, base, begin, end), want)
    want = reference.leaves(given, X, begin, end)
    np.testing.assert_array_equal(forest.leaves(X, begin, end), want)


FORESTS = st.tuples(
    st.integers(0, 1 << 30),
    st.integers(0, 12),
    st.integers(0, 40),
    st.integers(0, 10),
    st.integers(1, 3),
    st.booleans(),
    st.tuples(st.floats(0, 1), st.floats(0, 1)),
)


@settings(deadline=None, max_examples=40)
@given(FORESTS)
def test_few_rows_are_those_of_the_twin(arguments):
    check(*arguments)


@pytest.mark.slow
@settings(deadline=None, max_examples=1000)
@given(FORESTS)
def test_few_rows_are_those_of_the_twin_often(arguments):
    check(*arguments)


@pytest.mark.parametrize("seed", range(8))
def test_many_rows_are_those_of_the_twin(seed, way):
    given, X, base = case(seed, 20, [1, 511, 512, 530][seed % 4], seed, 1 + seed % 3, seed > 5)
    want = reference.margins(given, X, base, 0, 20, len(base))
    forest = f.Forest(given, WIDTH, len(base))
    np.testing.assert_array_equal(forest.margins(X, base), want)


@pytest.mark.parametrize("rows", [1, 7, 511, 513, 3000])
def test_same_bits_for_any_cut_and_any_n_jobs(rows, monkeypatch):
    monkeypatch.setattr(f, "CHUNK", 512)
    given, X, base = case(3, 15, 3000, 8, 2)
    forest = f.Forest(given, WIDTH, 2)
    with threads(1):
        whole = forest.margins(X, base)
    with threads(3):
        parts = [forest.margins(X[a : a + rows], base) for a in range(0, len(X), rows)]
    np.testing.assert_array_equal(np.concatenate(parts), whole)


def test_a_base_for_each_row(way):
    given, X, _ = case(5, 10, 600, outputs=2)
    base = np.random.default_rng(0).standard_normal((600, 2)).astype(np.float32)
    forest = f.Forest(given, WIDTH, 2)
    want = reference.margins(given, X, base, 0, 10, 2)
    np.testing.assert_array_equal(forest.margins(X, base), want)


def test_one_range_of_trees_goes_on_where_another_ended(way):
    given, X, base = case(6, 10, 600)
    forest = f.Forest(given, WIDTH, 1)
    half = forest.margins(X, base, 0, 4)
    np.testing.assert_array_equal(forest.margins(X, half, 4), forest.margins(X, base))


def stumps(thresholds, default_left):
    """Two leaves each, on feature 0."""
    trees = [
        [(1, 2, 0, t, d, []), (-1, -1, 0, 0, 0, []), (-1, -1, 0, 0, 0, [])]
        for t, d in zip(thresholds, default_left, strict=True)
    ]
    value = np.random.default_rng(0).standard_normal(3 * len(trees))
    ones = np.ones(len(trees))
    return forests.from_nodes(trees, 0 * ones, ones, value, np.ones(3 * len(trees)))


@pytest.mark.parametrize("count", [1, 15, 16, 17, 254, 255, 256, 300])
def test_as_many_thresholds_as_there_are(count, way):
    rng = np.random.default_rng(count)
    thresholds = np.sort(rng.choice(2000, count, replace=False)).astype(np.float32)
    thresholds[0], thresholds[-1] = -np.inf, np.inf
    given = stumps(thresholds, rng.integers(0, 2, count))
    x = np.concatenate([thresholds, thresholds + 0.5, 10 * [-np.inf, np.inf, np.nan, -3, 5000]])
    X, base = rng.choice(x, 80).astype(np.float32)[:, None], np.zeros(1, np.float32)
    want = reference.margins(given, X, base, 0, count, 1)
    np.testing.assert_array_equal(f.Forest(given, 1, 1).margins(X, base), want)


def test_signs_of_zero_and_thresholds_that_are_no_numbers(way):
    given = stumps([0.0, -0.0, np.nan, np.nan], [0, 1, 0, 1])
    X = np.array([[0.0], [-0.0], [1e-45], [-1e-45], [np.nan], [np.inf], [-np.inf]], np.float32)
    want = reference.margins(given, X, 0, 0, 4, 1)
    np.testing.assert_array_equal(f.Forest(given, 1, 1).margins(X, [0]), want)


def test_a_chain_of_many_levels(way):
    depth = 64
    nodes = []
    for i in range(depth):
        nodes += [(2 * i + 1, 2 * i + 2, i % WIDTH, i / 50, i % 2, []), (-1, -1, 0, 0, 0, [])]
    nodes.append((-1, -1, 0, 0, 0, []))
    value = np.random.default_rng(0).standard_normal(len(nodes))
    given = forests.from_nodes([nodes], [0], [1], value, np.ones(len(nodes)))
    X, forest = forests.rows(0, 200), f.Forest(given, WIDTH, 1)
    want = reference.margins(given, X, 0, 0, 1, 1)
    np.testing.assert_array_equal(forest.margins(X, [0]), want)
    np.testing.assert_array_equal(forest.leaves(X), reference.leaves(given, X, 0, 1))


def sparse(seed, n, width):
    """Entries with stored zeros and features that no forest knows; the same rows dense."""
    rng = np.random.default_rng(seed)
    dense = forests.rows(seed, n, width)
    dense[rng.random((n, width)) < 0.5] = np.nan
    dense[rng.random((n, width)) < 0.1] = 0
    row, column = np.nonzero(~np.isnan(dense))
    values, indices = dense[row, column], column.astype(np.int32)
    offsets = np.append(0, np.cumsum(np.bincount(row, minlength=n)))
    start = np.array([7, 7], np.float32), np.array([0, width], np.int32)  # before the first row
    return np.append(start[0], values), np.append(start[1], indices), offsets + 2, dense


@pytest.mark.parametrize(("n", "width"), [(0, 5), (3, 5), (700, 5), (700, 90)])
def test_sparse_rows_are_dense_ones_with_missing_values(n, width, way):
    given, _, base = case(8, 12, 1, outputs=2, categories=True)
    values, indices, offsets, dense = sparse(n, n, width)
    forest = f.Forest(given, width, 2)
    for _ in range(2):
        got = forest.margins_csr(values, indices, offsets, base)
        np.testing.assert_array_equal(got, forest.margins(dense, base))


def test_entries_beyond_the_width_are_left_aside():
    given, _, base = case(9, 12, 1)
    values, indices, offsets, dense = sparse(1, 50, 9)
    want = f.Forest(given, WIDTH, 1).margins(dense[:, :WIDTH], base)
    got = f.Forest(given, WIDTH, 1).margins_csr(values, indices, offsets, base)
    np.testing.assert_array_equal(got, want)


def test_no_trees_and_no_rows():
    given = forests.forest(0, 0)
    forest, X = f.Forest(given, WIDTH, 2), forests.rows(0, 200)
    np.testing.assert_array_equal(forest.margins(X, [1, 2]), np.tile([1, 2], (200, 1)))
    assert forest.leaves(X).shape == (200, 0)
    forest = f.Forest(forests.forest(1, 5), WIDTH, 1)
    assert forest.margins(X[:0], [0]).shape == (0, 1)


def test_what_was_given_is_not_written_to():
    given, X, base = case(2, 10, 300)
    for array in (X, base):
        array.flags.writeable = False
    kept = X.copy()
    f.Forest(given, WIDTH, 1).margins(X, base)
    np.testing.assert_array_equal(X, kept)


BROKEN = [
    ("left", 1, 0, "two parents|outside"),
    ("left", 0, 99, "outside"),
    ("right", 0, 1, "two parents"),
    ("feature", 0, WIDTH, "feature"),
    ("feature", 0, -1, "feature"),
    ("group", 0, 1, "output"),
    ("offsets", 0, 1, "offsets"),
    ("words", 1, 5, "sets"),
]


@pytest.mark.parametrize(("name", "at", "value", "message"), BROKEN)
def test_arrays_that_are_no_trees_are_refused(name, at, value, message):
    nodes = [(1, 4, 0, 0.5, 0, []), (2, 3, 1, 0.5, 0, []), *[(-1, -1, 0, 0, 0, [])] * 3]
    given = forests.from_nodes([nodes], [0], [1], np.ones(5), np.ones(5))
    f.Forest(given, WIDTH, 1)
    getattr(given, name)[at] = value
    with pytest.raises(ValueError, match=message):
        f.Forest(given, WIDTH, 1)


def test_a_node_without_parent_is_refused():
    nodes = [(1, 2, 0, 0.5, 0, []), *[(-1, -1, 0, 0, 0, [])] * 3]
    given = forests.from_nodes([nodes], [0], [1], np.ones(4), np.ones(4))
    with pytest.raises(ValueError, match="no parent"):
        f.Forest(given, WIDTH, 1)


def test_wrong_shapes_are_refused():
    given, X, base = case(2, 10, 30)
    forest = f.Forest(given, WIDTH, 1)
    with pytest.raises(ValueError, match="rows of shape"):
        forest.margins(X[:, :2], base)
    with pytest.raises(ValueError, match="base of shape"):
        forest.margins(X, np.zeros(3))
    with pytest.raises(ValueError, match="trees 3 to 11"):
        forest.margins(X, base, 3, 11)


def test_bits():
    rng = np.random.default_rng(0)
    bins = rng.integers(0, 256, 2 * 512).astype(np.uint8)
    masks, numbers = np.zeros((10, 8), np.uint64), np.zeros(512, np.uint8)
    rows = SimpleNamespace(at=np.arange(512), bins=bins[512:])
    _bits(bins, masks, numbers)
    told = np.unpackbits(masks.view(np.uint8), axis=1, bitorder="little").astype(bool)
    for p in range(8):
        np.testing.assert_array_equal(told[p], rows.bins > 20 * p)
    np.testing.assert_array_equal(told[8], told[0] & ~told[3])
    np.testing.assert_array_equal(told[9], told[8] | told[7])
    np.testing.assert_array_equal(numbers, (told[:8] << np.arange(8)[:, None]).sum(axis=0))


@f.kernel(fastmath=False)
def _bits(bins, masks, numbers):
    for p in range(8):
        forest_bits.compare(bins, 512, 20 * p, masks, p)
    first, last = forest_bits.load_words(masks, 0), forest_bits.load_words(masks, 7)
    inverse = forest_bits.differ(forest_bits.load_words(masks, 3), forest_bits.everywhere(-1))
    some = forest_bits.both(first, inverse)
    forest_bits.store_words(masks, 8, some)
    forest_bits.store_words(masks, 9, forest_bits.either(some, last))
    forest_bits.number(masks, 0, numbers)


def train(**parameters):
    """A small booster of the real package, rows, and base margins."""
    xgb = pytest.importorskip("xgboost")
    rng = np.random.default_rng(0)
    X = rng.standard_normal((400, 6)).astype(np.float32)
    X[rng.random(X.shape) < 0.1] = np.nan
    X[:, 5] = rng.integers(0, 40, len(X))
    y = np.nan_to_num(X[:, 0] * X[:, 1]) + (X[:, 5] % 3)
    if parameters.get("num_class"):
        y = np.digitize(y, [0, 1])
    types = ["q"] * 5 + ["c"]
    rows = xgb.DMatrix(X, y, feature_types=types, enable_categorical=True)
    parameters = {"nthread": 1, "base_score": 0.5, "seed": 0, **parameters}
    return xgb.train(parameters, rows, 12), X, rows


BOOSTERS = [
    dict(max_depth=6, max_cat_to_onehot=1),
    dict(max_depth=4, max_cat_to_onehot=100),
    dict(max_depth=0, grow_policy="lossguide", max_leaves=60, max_cat_to_onehot=1),
    dict(objective="multi:softprob", num_class=3, max_depth=3),
    dict(booster="dart", rate_drop=0.5, max_depth=4),
]


@pytest.mark.parametrize("parameters", BOOSTERS, ids=range(len(BOOSTERS)))
def test_matches_xgboost(parameters):
    booster, X, rows = train(**parameters)
    given, outputs = forests.from_xgboost(booster), parameters.get("num_class", 1)
    forest = f.Forest(given, 6, outputs)
    got = forest.margins(X, np.full(outputs, 0.5, np.float32))
    want = booster.predict(rows, output_margin=True).reshape(len(X), outputs)
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(forest.leaves(X), booster.predict(rows, pred_leaf=True))


@pytest.mark.compiled
def test_one_row_is_answered_at_once():
    given, X, base = case(1, 100, 1, 6, split=1.0)
    forest = f.Forest(given, WIDTH, 1)
    took = []
    for _ in range(50):
        start = time.perf_counter()
        forest.margins(X, base)
        took.append(time.perf_counter() - start)
    assert min(took) < 100e-6
