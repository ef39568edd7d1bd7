"""Where the bins of features lie in a histogram, and rows as places in it.

Features of which no row has two at a time, such as the columns of a category, share a *bundle*:
one byte of a row says which of them has an unusual bin, and which (exclusive feature bundling; Ke
and others, "LightGBM", NIPS 2017, section 4, here without conflicts). Each keeps its own cells of
the histogram; that of its usual bin is the rest of the sum. So a bundle changes no tree.
"""

from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smalgos._jit import kernel
from smalgos.kernels.cpu.shared import chunks, run

GROUP = 32  # columns whose histograms are summed up together: they stay near the nearest cache
LINE = 8  # int64 of a cache line
BLOCK = 1024  # cells of histograms that a task finds splits in
ROWS = 8192  # of a task
AT_ONCE = 256  # rows that stay in cache while all of their columns are taken in turn
LOOK = 4096  # rows that bundles are planned by
OPEN = 32  # bundles that a feature may go to
CELLS = 256  # of a bundle


class Layout:
    """Features in a histogram: the cells of their bins, and one for missing values.

    Columns of rows are features or bundles, the one with most cells first, in groups of columns
    whose cells are evenly apart.

    Parameters
    ----------
    bins : ndarray of int64, shape (d,)
        How many each feature has.
    bundles : list of list of int
        Features that share a column.
    usual : ndarray of int64, shape (d,)
        The bin that is not summed up but the rest; -1: none.
    """

    def __init__(
        self, bins: NDArray[np.int64], bundles: list[list[int]], usual: NDArray[np.int64]
    ) -> None:
        self.bins, self.usual = bins, usual
        shared = {f for bundle in bundles for f in bundle}
        columns = [[f] for f in range(len(bins)) if f not in shared] + bundles
        cells = np.array([(bins[column] + 1).sum() for column in columns])
        # Whole lines of cache. Where columns begin at equal places of cache sets, rows that agree
        # in all of them would fight for those: one line more.
        room = -(-cells // LINE) * LINE
        room += np.where(room % (8 * LINE) == 0, LINE, 0)
        ranks = np.argsort(-room, kind="stable")
        self.columns = [columns[i] for i in ranks]  # features of each column of rows
        room = room[ranks]
        ends = _groups(room)
        for a, b in pairwise(ends):
            room[a:b] = room[a:b].max()
        begins = np.cumsum(room) - room
        # Groups: first column, columns, first cell, cells from one column to the next.
        self.groups = np.array(
            [[a, b - a, begins[a], room[a]] for a, b in pairwise(ends)], np.int64
        )
        self.cells = int(room.sum())
        self.order = np.array([f for column in self.columns for f in column], np.int64)
        self.firsts = np.empty(len(bins), np.int64)
        for column, begin in zip(self.columns, begins, strict=True):
            self.firsts[column] = begin + np.cumsum(bins[column] + 1) - (bins[column] + 1)
        # Tasks of finding splits: features order[blocks[i] : blocks[i + 1]] and their cells.
        blocks, from_cell = [0], 0
        for place, f in enumerate(self.order.tolist()):
            if self.firsts[f] - from_cell >= BLOCK:
                blocks.append(place)
                from_cell = self.firsts[f]
        self.blocks = np.array([*blocks, len(bins)], np.int64)
        self.block_cells = np.append(self.firsts[self.order[self.blocks[:-1]]], self.cells)


def _groups(room: NDArray[np.int64]) -> NDArray[np.int64]:
    """First columns of groups: whole fours, cut where cells become much fewer."""
    firsts, d = [0], len(room)
    while firsts[-1] < d:
        a = firsts[-1]
        alike = int(np.count_nonzero(room[a:] * 2 > room[a]))
        parts = -(-alike // GROUP)
        firsts.append(min(a + 4 * -(-alike // (4 * parts)), d))
    return np.array(firsts, np.int64)


def lay_out(columns: Any, bins: NDArray[np.int64]) -> tuple[Layout, Any]:
    """A layout of binned rows, and the rows as it has them.

    Parameters
    ----------
    columns : ndarray of uint8 or uint16, shape (d, n)
        See `growth.Data`.
    bins : ndarray of int64, shape (d,)

    Returns
    -------
    Layout
    ndarray, shape (n * columns,)
        Groups behind one another, by rows inside: a value's cell among those of its column.
    """
    n = columns.shape[1]
    bundles, usual = _plan(columns, bins)
    codes = np.empty((len(bundles), n), columns.dtype)
    kept = []
    for bundle, code in zip(bundles, codes, strict=True):
        while len(bundle) > 1:
            spoilt = _bundle(columns, bins, usual, bundle, code)
            if not spoilt.any():
                break
            bundle = [f for f, bad in zip(bundle, spoilt, strict=True) if not bad]
        if len(bundle) > 1:
            codes[len(kept)] = code
            kept.append(bundle)
    alone = np.ones(len(bins), np.bool_)
    alone[[f for bundle in kept for f in bundle]] = False
    usual[alone] = -1
    layout = Layout(bins, kept, usual)
    number = {bundle[0]: i for i, bundle in enumerate(kept)}
    sources = np.array([
        (1, number[column[0]], 0) if len(column) > 1 else (0, column[0], bins[column[0]])
        for column in layout.columns
    ], np.int64)  # fmt: skip
    rows = np.empty(n * len(sources), columns.dtype)
    run(
        lambda part: _lay_rows(
            columns, codes, sources, layout.groups, part.start, part.stop, n, rows
        ),
        chunks(n, ROWS),
    )
    return layout, rows


def _plan(columns: Any, bins: NDArray[np.int64]) -> tuple[list[list[int]], NDArray[np.int64]]:
    """Bundles that no row of a look forbids, and the usual bin of each feature."""
    d, n = columns.shape
    usual = np.full(d, -1, np.int64)
    some = columns[:, :: -(-n // LOOK)]
    nothing = np.iinfo(columns.dtype).max
    unusual = np.empty(some.shape, np.bool_)
    for f in range(d):
        most = int(np.argmax(np.bincount(some[f])))
        unusual[f] = some[f] != most
        usual[f] = bins[f] if most == nothing else most
    counts = unusual.sum(axis=1)
    fit = np.flatnonzero((2 * counts <= some.shape[1]) & (2 * (bins + 1) <= CELLS))
    bundles: list[list[int]] = []
    taken: list[NDArray[np.bool_]] = []
    room: list[int] = []
    for f in fit[np.argsort(-counts[fit], kind="stable")].tolist():
        for i in range(max(len(bundles) - OPEN, 0), len(bundles)):
            if room[i] > bins[f] and not (taken[i] & unusual[f]).any():
                bundles[i].append(f)
                taken[i] |= unusual[f]
                room[i] -= int(bins[f]) + 1
                break
        else:
            bundles.append([f])
            taken.append(unusual[f].copy())
            room.append(CELLS - int(bins[f]) - 1)
    return [bundle for bundle in bundles if len(bundle) > 1], usual


def _bundle(
    columns: Any, bins: NDArray[np.int64], usual: NDArray[np.int64], bundle: list[int], code: Any
) -> NDArray[np.bool_]:
    """Write the codes of a bundle; which of its features share a row with one before them."""
    features = np.array(bundle, np.int64)
    offsets = np.cumsum(bins[features] + 1) - (bins[features] + 1)

    def work(part: slice) -> NDArray[np.bool_]:
        spoilt = np.zeros(len(bundle), np.bool_)
        _bundle_rows(
            columns, features, offsets, usual[features], bins[features], part.start, part.stop,
            code, spoilt,
        )  # fmt: skip
        return spoilt

    return np.any(run(work, chunks(columns.shape[1], ROWS)), axis=0)


@kernel
def _bundle_rows(columns, features, offsets, usual, bins, first, last, code, spoilt):
    """The cells of rows among those of a bundle.

    columns                         see `growth.Data`                                 in
    features, offsets, usual, bins  (m,) int64, of the bundle: features, their first
                                    cells, usual bins, numbers of bins                in
    first, last                     int64, rows
    code                            (n,), the type of columns                         out
    spoilt                          (m,) bool: that feature shares a row with one
                                    before it                                         out
    """
    nothing = (1 << (8 * columns.itemsize)) - 1
    # Where all have their usual bin: any usual one's cell, since those are not summed up.
    rest = offsets[0] + usual[0]
    code[first:last] = rest
    for j in range(len(features)):
        column, offset, most, missing = columns[features[j]], offsets[j], usual[j], bins[j]
        if most == missing:
            most = nothing
        for i in range(first, last):
            k = np.int64(column[i])
            if k != most:
                if code[i] != rest:
                    spoilt[j] = True
                code[i] = offset + (missing if k == nothing else k)


@kernel
def _lay_rows(columns, codes, sources, groups, first, last, n, rows):
    """Columns to rows.

    columns, codes   (d, n), (bundles, n), the type of rows                           in
    sources          (columns, 3) int64: whether it is a bundle, of which number,
                     where missing values go                                          in
    groups           see `Layout`                                                     in
    first, last, n   int64: rows, and how many there are
    rows             (n * columns,)                                                   out
    """
    nothing = (1 << (8 * rows.itemsize)) - 1
    for top in range(first, last, AT_ONCE):
        end = min(top + AT_ONCE, last)
        for q in range(len(groups)):
            a, width = groups[q, 0], groups[q, 1]
            for c in range(width):
                bundled, number, missing = sources[a + c]
                at = n * a + top * width + c
                if bundled:
                    for i in range(top, end):
                        rows[at] = codes[number, i]
                        at += width
                else:
                    for i in range(top, end):
                        k = columns[number, i]
                        rows[at] = missing if k == nothing else k
                        at += width
