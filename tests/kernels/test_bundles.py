"""How features lie in a histogram, and rows as places in it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smalgos._jit import COMPILED
from smalgos.kernels.cpu import bundles as b
from smalgos.kernels.cpu import packed
from smalgos.kernels.cpu.shared import threads


def places(layout, rows, n):
    """(n, columns) cells of a histogram, out of groups behind one another."""
    out = np.empty((n, len(layout.columns)), np.int64)
    for first, width, begin, stride in layout.groups:
        part = rows[n * first : n * (first + width)].reshape(n, width)
        out[:, first : first + width] = begin + stride * np.arange(width) + part
    return out


def histogram(layout, rows, n, values):
    """Sums of values by cells, those of usual bins as the rest."""
    sums = np.zeros(layout.cells, np.int64)
    np.add.at(sums, places(layout, rows, n), values[:, None])
    for f in np.flatnonzero(layout.usual >= 0):
        own = sums[layout.firsts[f] : layout.firsts[f] + layout.bins[f] + 1]
        own[layout.usual[f]] = 0
        own[layout.usual[f]] = values.sum() - own.sum()
    return sums


def check(columns, bins):
    """Each feature's part of the histogram is that of its column; the layout."""
    n = columns.shape[1]
    bins = np.array(bins, np.int64)
    layout, rows = b.lay_out(columns, bins)
    values = np.random.default_rng(0).integers(-99, 99, n)
    sums = histogram(layout, rows, n, values)
    nothing = np.iinfo(columns.dtype).max
    for f, column in enumerate(columns):
        place = np.where(column == nothing, bins[f], column)
        want = np.bincount(place, values, bins[f] + 1)
        first = layout.firsts[f]
        np.testing.assert_array_equal(sums[first : first + bins[f] + 1], want)
    np.testing.assert_array_equal(np.sort(layout.order), np.arange(len(bins)))
    first, room = layout.firsts[layout.order], bins[layout.order] + 1
    assert (first[1:] >= first[:-1] + room[:-1]).all()
    assert first[-1] + room[-1] <= layout.cells
    cells = layout.firsts[layout.order[layout.blocks[:-1]]]
    np.testing.assert_array_equal(layout.block_cells, [*cells, layout.cells])
    assert layout.blocks[0] == 0
    assert layout.blocks[-1] == len(bins)
    assert (np.diff(layout.blocks) > 0).all()
    return layout


@pytest.mark.parametrize("seed", range(6))
def test_columns_lie_in_whole_lines_of_cache(seed):
    """Evenly apart in a group, and not at equal places of cache sets."""
    rng = np.random.default_rng(seed)
    d = int(rng.integers(1, 90))
    bins = rng.choice([1, 2, 7, 8, 63, 64, 255], d) if seed % 2 else np.full(d, 255)
    layout = b.Layout(bins, [], np.full(d, -1))
    np.testing.assert_array_equal([len(column) for column in layout.columns], 1)
    at = 0
    for first, width, begin, stride in layout.groups:
        assert first == at
        assert 0 < width <= b.GROUP + 4
        assert begin % b.LINE == stride % b.LINE == 0
        assert stride % (8 * b.LINE)
        own = layout.order[first : first + width]
        assert (bins[own] < stride).all()  # one more for what is missing
        np.testing.assert_array_equal(layout.firsts[own], begin + stride * np.arange(width))
        at += width
    assert at == d


def one_hot(rng, n, levels, missing=0.0):
    """Columns of which a row has one set, or none."""
    choice = rng.integers(-1, levels, n)
    columns = (choice == np.arange(levels)[:, None]).astype(np.uint8)
    columns[rng.random(columns.shape) < missing] = 255
    return columns


def test_columns_of_a_category_are_bundled():
    rng = np.random.default_rng(0)
    wide = rng.integers(0, 255, (3, 900)).astype(np.uint8)
    columns = np.vstack([one_hot(rng, 900, 40), wide, one_hot(rng, 900, 4)])
    layout = check(columns, [2] * 40 + [255] * 3 + [2] * 4)
    assert len(layout.columns) == 5
    assert sorted(map(len, layout.columns)) == [1, 1, 1, 4, 40]


def test_what_is_missing_may_be_unusual_or_usual():
    rng = np.random.default_rng(1)
    columns = one_hot(rng, 700, 6)
    columns[2, columns[2] == 0] = 255  # there where the others are not
    columns[4, columns[4] == 1] = 255
    layout = check(columns, [2] * 6)
    assert len(layout.columns) == 1
    assert layout.usual[2] == 2  # behind its bins


def test_a_row_beyond_the_look_may_forbid_a_bundle(monkeypatch):
    monkeypatch.setattr(b, "LOOK", 50)
    rng = np.random.default_rng(2)
    columns = one_hot(rng, 800, 5)
    layout = check(columns, [2] * 5)
    assert len(layout.columns) == 1
    columns[:, 0], columns[:2, 799] = 0, 1  # two at once
    layout = check(columns, [2] * 5)
    assert sorted(map(len, layout.columns)) == [1, 4]
    assert sum(layout.usual >= 0) == 4
    columns[:, 799] = 1
    layout = check(columns, [2] * 5)
    assert len(layout.columns) == 5
    assert (layout.usual == -1).all()


def test_bundles_have_room():
    """A place in a bundle is a byte, also where bins are two."""
    rng = np.random.default_rng(3)
    for dtype in (np.uint8, np.uint16):
        columns = one_hot(rng, 500, 300).astype(dtype) * dtype(3)
        columns[columns == 3 * 255 % 256] = 3
        layout = check(columns, [4] * 300)
        for column in layout.columns:
            assert 5 * len(column) <= b.CELLS
        assert len(layout.columns) == 6


@settings(deadline=None, max_examples=80 if COMPILED else 20)
@given(st.integers(1, 60), st.integers(1, 12), st.integers(0, 2**32 - 1), st.floats(0, 1))
def test_histograms_are_those_of_the_columns(n, d, seed, share):
    rng = np.random.default_rng(seed)
    bins = rng.choice([1, 2, 3, 40, 127, 255], d)
    columns = np.stack([rng.integers(0, k, n) for k in bins]).astype(np.uint8)
    owner = rng.integers(0, d, n)
    columns[(owner != np.arange(d)[:, None]) & (rng.random((d, n)) < share)] = 0
    columns[rng.random((d, n)) < rng.choice([0.0, 0.05, 0.9])] = 255
    check(columns, bins)


@pytest.mark.parametrize("n_jobs", [1, 3])
def test_roots_of_eight_trees(monkeypatch, n_jobs):
    """As sums one by one; groups of odd and even numbers of columns."""
    monkeypatch.setattr(packed, "TOGETHER", 2048 if COMPILED else 16)
    rng = np.random.default_rng(4)
    n = 5000 if COMPILED else 40
    bins = np.array([255, 255, 255, 9, 9, 9, 9, 9, 2])
    columns = np.stack([rng.integers(0, k, n) for k in bins]).astype(np.uint8)
    layout, rows = b.lay_out(columns, bins)
    assert len(layout.groups) > 1
    pairs = rng.integers(-(2**31), 2**31 - 1, (8, n)).astype(np.int32)
    scratch = np.empty(packed.TOGETHER * 8, np.int32)
    got = np.zeros(layout.cells * 8, np.int64)
    with threads(n_jobs):
        for first in range(0, n, n // 2):
            packed.add_roots(
                rows, layout.groups, pairs, first, min(first + n // 2, n), scratch, got
            )
    at = places(layout, rows, n)
    for tree in range(8):
        want = np.zeros(layout.cells, np.int64)
        values = (pairs[tree].astype(np.int64) >> 16 << 32) + (pairs[tree] & 0xFFFF)
        np.add.at(want, at, values[:, None])
        np.testing.assert_array_equal(got.reshape(-1, 8)[:, tree], want)
