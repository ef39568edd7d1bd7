"""Cuts and bins of features, and rows as bins."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from smalgos.formats.block import Csr
from smalgos.kernels.cpu import bins as b
from smalgos.kernels.cpu.boosting import Binned
from smalgos.kernels.cpu.shared import threads
from tests.reference import trees as twin

NUMBERS = st.floats(width=32, allow_nan=True, allow_infinity=False)
FEW = st.sampled_from([0.0, -0.0, 1.0, 1.5, -2.0, np.nan, 7.0])
WEIGHTS = st.sampled_from([0.0, 0.25, 1.0, 3.0])


def columns(elements, most=40):
    return st.integers(1, most).flatmap(lambda n: arrays(np.float32, n, elements=elements))


def check_cuts(values, weights, most):
    cuts = b.cuts_of(values, weights, most)
    np.testing.assert_array_equal(cuts, twin.cuts_of(values, weights, most))
    assert cuts.dtype == np.float32
    assert (np.diff(cuts) > 0).all()
    assert len(cuts) <= most
    assert cuts[-1] == b.LAST


@settings(deadline=None, max_examples=150)
@given(st.data(), st.one_of(columns(NUMBERS), columns(FEW)), st.integers(1, 9), st.booleans())
def test_cuts_are_those_of_the_twin(data, values, most, weighted):
    weights = data.draw(arrays(np.float32, len(values), elements=WEIGHTS)) if weighted else None
    check_cuts(values, weights, most)


@pytest.mark.slow
@settings(deadline=None, max_examples=3000)
@given(st.data(), st.one_of(columns(NUMBERS), columns(FEW)), st.integers(1, 20), st.booleans())
def test_cuts_are_those_of_the_twin_often(data, values, most, weighted):
    weights = data.draw(arrays(np.float32, len(values), elements=WEIGHTS)) if weighted else None
    check_cuts(values, weights, most)


@pytest.mark.parametrize("weighted", [False, True])
def test_bins_hold_about_equal_weight(weighted):
    rng = np.random.default_rng(0)
    values = rng.lognormal(size=10_000).astype(np.float32)
    weights = rng.random(10_000, np.float32) if weighted else np.ones(10_000, np.float32)
    cuts = b.cuts_of(values, weights if weighted else None, 50)
    assert len(cuts) == 50
    held = np.bincount(np.searchsorted(cuts, values, side="right"), weights)
    np.testing.assert_allclose(held, weights.sum() / 50, rtol=0.02)


def test_a_common_value_has_a_bin_of_its_own():
    rng = np.random.default_rng(0)
    values = np.concatenate([np.zeros(9000), rng.standard_normal(1000)]).astype(np.float32)
    cuts = b.cuts_of(values, None, 20)
    held = np.searchsorted(cuts, values, side="right")
    assert set(values[held == held[0]]) == {0.0}


def test_repeated_rows_are_as_weights():
    rng = np.random.default_rng(0)
    values = rng.standard_normal(300).astype(np.float32)
    times = rng.integers(1, 4, 300)
    repeated = b.cuts_of(np.repeat(values, times), None, 16)
    np.testing.assert_array_equal(b.cuts_of(values, times.astype(np.float32), 16), repeated)


@pytest.mark.parametrize(
    ("values", "want"),
    [
        ([], [b.LAST]),
        ([np.nan, np.nan], [b.LAST]),
        ([3.0], [b.LAST]),
        ([0.0, -0.0], [b.LAST]),
        ([1.0, np.nan, 2.0], [1.5, b.LAST]),
        ([1.0, np.nextafter(np.float32(1), np.float32(2))], [1 + 2**-23, b.LAST]),
        ([-b.LAST, b.LAST], [0.0, b.LAST]),
    ],
)
def test_cuts_of_special_columns(values, want):
    values = np.array(values, np.float32)
    for weights in (None, np.ones(len(values), np.float32)):
        cuts = b.cuts_of(values, weights, 10)
        if -b.LAST in values:  # the middle may be anywhere between
            assert -b.LAST < cuts[0] <= b.LAST
            continue
        np.testing.assert_array_equal(cuts, np.array(want, np.float32))


def test_rows_without_weight_alone_are_cut_as_others():
    """No more bins than were asked for: more than 65534 would not fit."""
    values = np.arange(100, dtype=np.float32)
    np.testing.assert_array_equal(
        b.cuts_of(values, np.zeros(100, np.float32), 8), b.cuts_of(values, None, 8)
    )


# -- layouts


def table(seed, n, d, distinct, categories=()):
    """Rows with missing values, of so many distinct values each feature, and their cuts."""
    rng = np.random.default_rng(seed)
    X = np.empty((n, d), np.float32)
    cuts, categorical = [], np.zeros(d, np.bool_)
    for f in range(d):
        count = distinct[f % len(distinct)]
        X[:, f] = rng.integers(0, count, n)
        if f in categories:
            categorical[f] = True
            cuts.append(np.arange(1, count + 1, dtype=np.float32))
        else:
            X[:, f] += rng.random() * rng.standard_normal()
            cuts.append(b.cuts_of(X[:, f], None, 60_000))
    X[rng.random((n, d)) < 0.15] = np.nan
    return X, b.Bins(cuts, categorical)


def absent(X):
    """As Csr, without what is missing but for a few that are stored as NaN."""
    stored = ~np.isnan(X)
    stored[:, 0] |= np.arange(len(X)) % 3 == 0
    row, column = np.nonzero(stored)
    offsets = np.concatenate(([0], np.cumsum(stored.sum(axis=1)))).astype(np.int64)
    return Csr(X[row, column], column.astype(np.int32), offsets, X.shape[1])


def wanted(X, bins):
    """(n, d) bins."""
    out = np.empty(X.shape, np.int64)
    for f in range(bins.width):
        if bins.categorical[f]:
            out[:, f] = [bins.bins[f] if np.isnan(x) else int(x) for x in X[:, f]]
        else:
            out[:, f] = [twin.bin_of(x, bins.cuts[f]) for x in X[:, f]]
    return out


SHAPES = [
    (30, 1, [1], ()),
    (30, 3, [2, 5, 9], (1,)),
    (40, 9, [3, 20, 70], (4, 5)),
    (70, 37, [2, 2, 60], ()),
    (600, 2, [400, 3], ()),
    (300, 3, [250, 300, 7], (1,)),
]


@pytest.mark.parametrize(("n", "d", "distinct", "categories"), SHAPES)
@pytest.mark.parametrize("cut", [1000, 7])
def test_values_come_to_their_bins(n, d, distinct, categories, cut):
    X, bins = table(n + d, n, d, distinct, categories)
    want = wanted(X, bins)
    dense, sparse = Binned(bins, n), Binned(bins, n, sparse=True)
    for a in range(0, n, cut):
        assert dense.add(X[a : a + cut]) == -1
        assert sparse.add(absent(X[a : a + cut])) == -1
    dense.done()
    sparse.done()
    missing = want == bins.bins
    nothing = np.iinfo(bins.dtype).max
    np.testing.assert_array_equal(dense.columns.T, np.where(missing, nothing, want))
    # Sparse rows: the same, by rows and by columns.
    layout, rows = sparse.by_rows()
    assert rows.size == sparse.columns.size == 0
    np.testing.assert_array_equal(np.diff(sparse.offsets), (~missing).sum(axis=1))
    row = np.repeat(np.arange(n), np.diff(sparse.offsets))
    cells = sparse.cells[: len(row)]
    place = layout.order[np.searchsorted(layout.firsts[layout.order], cells, side="right") - 1]
    np.testing.assert_array_equal(cells - layout.firsts[place], want[row, place])
    assert not missing[row, place].any()
    for f in range(d):
        part = slice(sparse.column_offsets[f], sparse.column_offsets[f + 1])
        own = np.sort(sparse.column_rows[part])
        np.testing.assert_array_equal(own, np.flatnonzero(~missing[:, f]))
        np.testing.assert_array_equal(sparse.column_bins[part], want[sparse.column_rows[part], f])
    assert sparse.column_bins.dtype == dense.columns.dtype == bins.dtype


@settings(deadline=None, max_examples=60)
@given(columns(NUMBERS), st.integers(1, 300))
def test_any_value_comes_to_its_bin(values, most):
    cuts = b.cuts_of(values[: len(values) // 2], None, most)
    bins = b.Bins([cuts], np.zeros(1, np.bool_))
    n = len(values)
    binned = Binned(bins, n)
    assert binned.add(values[:, None]) == -1
    nothing = np.iinfo(bins.dtype).max
    want = [nothing if np.isnan(x) else twin.bin_of(x, cuts) for x in values]
    np.testing.assert_array_equal(binned.columns[0], want)


@pytest.mark.parametrize("most", [254, 255, 256, 257, 3000])
def test_more_than_255_bins_take_two_bytes(most):
    values = np.arange(3000, dtype=np.float32)
    bins = b.Bins([b.cuts_of(values, None, most)], np.zeros(1, np.bool_))
    assert bins.dtype == (np.uint8 if most < 256 else np.uint16)
    binned = Binned(bins, 3001)
    binned.add(np.append(values, np.float32(np.nan))[:, None])
    assert binned.by_rows()[1][-1] == most
    np.testing.assert_array_equal(
        binned.columns[0, :-1], np.searchsorted(bins.cuts[0], values, side="right")
    )


# -- what is refused


@pytest.mark.parametrize("bad", [np.inf, -np.inf])
@pytest.mark.parametrize("sparse", [False, True])
def test_infinite_values_are_refused(bad, sparse):
    X, bins = table(0, 50, 4, [9, 3])
    X[[17, 33], [2, 0]] = bad
    for n_jobs in (1, 2):
        with threads(n_jobs):
            binned = Binned(bins, 50, sparse=sparse)
            assert binned.add(absent(X) if sparse else X) == 17


@pytest.mark.parametrize("bad", [-1.0, 0.5, 3.0, 1e30, -1e30, np.inf, -np.inf, -0.5])
@pytest.mark.parametrize("sparse", [False, True])
def test_categories_that_are_none_are_refused(bad, sparse):
    X, bins = table(0, 50, 4, [9, 3], (1,))
    X[29, 1] = bad
    binned = Binned(bins, 50, sparse=sparse)
    assert binned.add(absent(X) if sparse else X) == 29


def test_the_first_bad_row_is_named_for_any_task(monkeypatch):
    monkeypatch.setattr(b, "ROWS", 8)
    X, bins = table(0, 50, 4, [9, 3], (1,))
    for row in (49, 31, 5):
        X[row, 1] = -7
        with threads(3):
            assert Binned(bins, 50).add(X) == row


def test_negative_zero_is_zero():
    X, bins = table(0, 50, 2, [3], (0, 1))
    X[:, 0] = -0.0
    binned = Binned(bins, 50)
    assert binned.add(X) == -1
    cuts = b.cuts_of(np.array([-1, -0.0, 0.0, 1], np.float32), None, 10)
    np.testing.assert_array_equal(cuts, np.array([-0.5, 0.5, b.LAST], np.float32))


def test_rows_that_lack_all_values():
    """A sparse table may hold no entry."""
    bins = b.Bins([np.array([b.LAST], np.float32)] * 3, np.zeros(3, np.bool_))
    empty = Csr(np.empty(0, np.float32), np.empty(0, np.int32), np.zeros(5, np.int64), 3)
    binned = Binned(bins, 4, sparse=True)
    binned.add(empty)
    binned.done()
    assert len(binned.cells)  # kernels take rows without for dense ones
    assert not np.diff(binned.offsets).any()
