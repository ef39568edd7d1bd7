"""Answers of a forest of boosted trees.

Two ways to the same bits. Many rows go 512 at a time as bits (`forest_bits`): values become
numbers of thresholds, one compare of bytes answers a node for 64 rows, and the bits of a leaf's
number come together by masks, without a branch. The work grows with the nodes of a tree, so trees
deeper than `PLANES` levels and those that split on categories are walked (`forest_nodes`), as are
few rows. In either way a row's trees are added one after another, in float32.
"""

from functools import cached_property
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from smalgos._jit import kernel
from smalgos.kernels.cpu import treeshap
from smalgos.kernels.cpu.forest_bits import (
    PLANES,
    ROWS,
    WORDS,
    both,
    compare,
    count_at_most,
    differ,
    either,
    everywhere,
    load_words,
    number,
    pick,
    store_words,
)
from smalgos.kernels.cpu.forest_nodes import (
    TOGETHER,
    Levels,
    Nodes,
    levels,
    pack_nodes,
    place,
    walk,
)
from smalgos.kernels.cpu.shared import CHUNK, Lent, chunks, readable, run
from smalgos.kernels.cpu.vector import (
    LANES,
    load,
    load_part,
    select,
    splat,
    store,
    sum_lanes,
)

__all__ = ["Forest"]

BINS = 256  # of a column: at most 255 thresholds, so that a bin is a byte
FEW = 64  # rows; fewer are walked: as bits 512 cost as much as one
COLUMNS = 6  # of bins, found in the time in which a row walks through one tree
DENSE = 1 << 22  # entries of the scratch in which sparse rows become dense

FIELDS = (  # of Trees, that are read here
    "offsets", "group", "weight", "left", "right", "feature", "threshold", "default_left", "value",
    "cover", "words", "sets",
)  # fmt: skip

# Rows of the masks. Row 0 is the root's parent, whose left child everything reaches.
REACHED = 1 << PLANES  # + i: who comes to a node; i itself: who goes right there
NUMBER = 2 * REACHED  # + p: bit p of the number of a row's leaf
MISSING = NUMBER + PLANES  # + c: whose value of a column is missing


class Bits(NamedTuple):
    """The trees that are answered as bits. C columns, M inner nodes, T trees.

    features   (C,) int64; a feature with many thresholds has several columns
    fine       (C, 256) float32, thresholds, ascending, NaN behind them
    coarse     (C, 16) float32, the last of each 16 of them
    splits     (M, 5) int32, level after level of each tree:
               0  where the column's bins begin, 1  the threshold's number within the column
               2  row of the parent in the masks, 3  -1 if a left child, else 0
               4  row of the masks that holds who goes right since the value is missing
    levels     (T, 9) int64, where a tree's levels begin among the splits
    values     float32, a table for each tree: bit p of an index says right at level p
    tables     (T + 1,) int64, where they begin; a tree without one is walked
    """

    features: NDArray[np.int64]
    fine: NDArray[np.float32]
    coarse: NDArray[np.float32]
    splits: NDArray[np.int32]
    levels: NDArray[np.int64]
    values: NDArray[np.float32]
    tables: NDArray[np.int64]


class Space(NamedTuple):
    """Scratch of a task.

    bins      (C * 512,) uint8
    masks     (520 + C, 8) uint64
    numbers   (512,) uint8
    sums      (outputs, 512) float32
    at        (512,) uint64
    """

    bins: NDArray[np.uint8]
    masks: NDArray[np.uint64]
    numbers: NDArray[np.uint8]
    sums: NDArray[np.float32]
    at: NDArray[np.uint64]


def _columns(
    feature: NDArray[Any], threshold: NDArray[np.float32]
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Number the thresholds of each feature; features and thresholds of the columns.

    Returns the column and the number of each split, then features and thresholds of the columns.
    """
    order = np.lexsort((threshold, feature))
    f, t = feature[order], threshold[order]
    other = np.ones(len(f), bool)  # unlike the one before
    other[1:] = f[1:] != f[:-1]
    fresh = other.copy()
    fresh[1:] |= t[1:] != t[:-1]
    distinct = np.cumsum(fresh) - 1
    starts = distinct[other]
    rank = distinct - np.repeat(starts, np.diff(np.append(np.flatnonzero(other), len(f))))
    begins = fresh & (rank % (BINS - 1) == 0)
    column = np.empty_like(order)
    at = np.empty_like(order)
    column[order], at[order] = np.cumsum(begins) - 1, rank % (BINS - 1)
    fine = np.full((int(begins.sum()), BINS), np.nan, np.float32)
    fine[column, at] = threshold
    return column, at, f[begins], fine


def pack_bits(trees: Any, at: Levels) -> Bits:
    """Trees of at most `PLANES` levels without categories, as bits.

    Parameters
    ----------
    trees : Trees
    at : Levels
        Their levels.
    """
    count = len(trees.group)
    depths = np.zeros(count, np.int64)
    np.maximum.at(depths, at.tree, at.of)
    served = depths <= PLANES
    served[at.tree[np.diff(trees.words) > 0]] = False
    parent = np.full(len(at.tree), -1)
    side = np.zeros(len(at.tree), np.int64)
    path = np.zeros(len(at.tree), np.int64)  # bit p: right at level p
    for level, (parents, children) in enumerate(zip(at.inner, at.children, strict=True)):
        parent[children] = parents[:, None]
        side[children] = [0, 1]
        if level < PLANES:
            path[children] = path[parents, None] | np.array([0, 1 << level])
    order, _ = place(at)
    inner = trees.left >= 0
    split = order[(inner & served[at.tree])[order]]
    # Zero has two signs but is one threshold.
    threshold = np.where(np.isnan(trees.threshold), -np.inf, trees.threshold)[split] + 0.0
    column, rank, features, fine = _columns(trees.feature[split], threshold.astype(np.float32))
    per_level = np.zeros((count, PLANES + 1), np.int64)
    np.add.at(per_level, (at.tree[split], at.of[split] + 1), 1)
    per_tree = per_level.sum(axis=1)
    starts = np.cumsum(per_tree) - per_tree
    row = np.zeros(len(at.tree), np.int64)
    row[split] = 1 + np.arange(len(split)) - starts[at.tree[split]]
    root = parent[split] < 0
    splits = np.empty((len(split), 5), np.int32)
    splits[:, 0], splits[:, 1] = ROWS * column, rank
    splits[:, 2] = np.where(root, 0, row[parent[split]])
    splits[:, 3] = side[split] - 1
    splits[:, 4] = np.where(trees.default_left[split] == 0, MISSING + column, 0)
    tables = np.append(0, np.cumsum(np.where(served, 1 << np.minimum(depths, PLANES), 0)))
    values = np.zeros(tables[-1], np.float32)
    leaf = np.flatnonzero(~inner & served[at.tree])
    of = at.tree[leaf]
    values[tables[of] + path[leaf]] = trees.weight[of] * trees.value[leaf]
    return Bits(
        features.astype(np.int64), fine, np.ascontiguousarray(fine[:, LANES - 1 :: LANES]),
        splits, starts[:, None] + np.cumsum(per_level, axis=1), values, tables,
    )  # fmt: skip


NO_BITS = Bits(
    np.zeros(0, np.int64), np.zeros((0, BINS), np.float32), np.zeros((0, LANES), np.float32),
    np.zeros((0, 5), np.int32), np.zeros((0, PLANES + 1), np.int64), np.zeros(0, np.float32),
    np.zeros(0, np.int64),
)  # fmt: skip

inner = kernel(fastmath=False, inline="always")


@inner
def _any_missing(X, first, count):
    """Whether there is a NaN in some rows."""
    none, one = splat(0.0), splat(1.0)
    seen, stop = none, (first + count) * X.shape[1]
    for i in range(first * X.shape[1], stop, LANES):
        x = load_part(X, i, stop - i) if i + LANES > stop else load(X, i)
        seen = select(x == x, seen, one)
    return sum_lanes(0.0, seen) > 0


@kernel(fastmath=False)
def _bin(X, first, count, features, fine, coarse, bins, masks):
    """Number of thresholds that are at most as large as each value; whose values are missing.

    A missing value is in bin 0. Rows are taken 64 at a time, which stay in the nearest cache.
    """
    missing = _any_missing(X, first, count)
    for c in range(len(features)):
        store_words(masks, MISSING + c, everywhere(0))
    for a in range(0, count, 64):
        stop = min(a + 64, count)
        for c in range(len(features)):
            feature = np.uint64(features[c])
            for i in range(a, stop):
                x = X[np.uint64(first + i), feature]
                group = count_at_most(coarse, c * LANES, x)
                low = count_at_most(fine, c * BINS + group * LANES, x)
                bins[np.uint64(c * ROWS + i)] = np.uint8(group * LANES + low)
            if missing:
                word = np.uint64(0)
                for i in range(a, stop):
                    x = X[np.uint64(first + i), feature]
                    word |= np.uint64(x != x) << np.uint64(i - a)
                masks[MISSING + c, a // 64] = word


@kernel(fastmath=False)
def _descend(splits, levels, bins, masks, numbers):
    """Find the number of each row's leaf in a tree with some levels."""
    begin, end = levels[0], levels[PLANES]
    for i in range(begin, end):
        compare(bins, splits[i, 0], splits[i, 1], masks, 1 + i - begin)
    for p in range(PLANES):
        plane = everywhere(0)
        for i in range(levels[p], levels[p + 1]):
            row, parent = 1 + i - begin, np.int64(splits[i, 2])
            right = either(load_words(masks, row), load_words(masks, np.int64(splits[i, 4])))
            side = differ(load_words(masks, parent), everywhere(np.int64(splits[i, 3])))
            reached = both(load_words(masks, REACHED + parent), side)
            store_words(masks, row, right)
            store_words(masks, REACHED + row, reached)
            plane = either(plane, both(reached, right))
        store_words(masks, NUMBER + p, plane)
    number(masks, NUMBER, numbers)


@kernel(fastmath=False)
def _add_trees(X, out, begin, end, nodes, bits, as_bits, space):
    """Add the leaves of trees [begin, end) to the margins, tree after tree.

    X            (n, d) float32, NaN: missing            in
    out          (n, outputs) float32                    in, out
    nodes        Nodes
    bits         Bits
    as_bits      bool, whether the trees with a table are answered as bits
    space        Space
    Lucchese et al., "QuickScorer" (SIGIR 2015) is the idea of trees as masks.
    """
    n, outputs = out.shape
    records, floats, roots, depths, groups, sets, _ = nodes
    features, fine, coarse, splits, levels, values, tables = bits
    bins, masks, numbers, sums, at = space
    if as_bits:
        store_words(masks, 0, everywhere(0))
        store_words(masks, REACHED, everywhere(-1))
    for first in range(0, n, ROWS):
        count = min(ROWS, n - first)
        for i in range(count):
            for g in range(outputs):
                sums[g, i] = out[first + i, g]
        if as_bits:
            _bin(X, first, count, features, fine, coarse, bins, masks)
        for t in range(begin, end):
            into = sums[groups[t]]
            if as_bits and tables[t + 1] > tables[t]:
                _descend(splits, levels[t], bins, masks, numbers)
                table = values[tables[t] : tables[t + 1]]
                for i in range(0, ROWS, LANES):
                    store(into, i, load(into, i) + pick(table, numbers, i))
            else:
                walk(X, first, count, records, floats, sets, roots[t], depths[t], at)
                for i in range(count):
                    into[i] += floats[at[i], 3]
        for i in range(count):
            for g in range(outputs):
                out[first + i, g] = sums[g, i]


@kernel(fastmath=False)
def _leaves(X, out, begin, nodes, at):
    """Numbers of the leaves of trees from `begin` on.

    X       (n, d) float32       in
    out     (n, trees) int32     out
    nodes   Nodes
    at      (512,) uint64        scratch
    """
    n = len(X)
    records, floats, roots, depths, _, sets, numbers = nodes
    for first in range(0, n, ROWS):
        count = min(ROWS, n - first)
        for t in range(begin, begin + out.shape[1]):
            walk(X, first, count, records, floats, sets, roots[t], depths[t], at)
            for i in range(count):
                out[first + i, t - begin] = numbers[at[i]]


@kernel(fastmath=False)
def _spread(values, indices, offsets, columns, dense, erase):
    """Write sparse rows into dense ones of NaN, or NaN again where they were written.

    values, indices   (nnz,) float32, (nnz,) int32                             in
    offsets           (rows + 1,) int64                                        in
    columns           (width,) int64, column of a feature in `dense`, or -1    in
    dense             (rows, columns) float32                                  out
    """
    for r in range(len(offsets) - 1):
        for i in range(offsets[r], offsets[r + 1]):
            if 0 <= indices[i] < len(columns) and columns[indices[i]] >= 0:
                dense[r, columns[indices[i]]] = np.float32(np.nan) if erase else values[i]


class Forest:
    """Trees packed for answers; what a way of answering needs is packed when it is first taken.

    Parameters
    ----------
    trees : Trees
        Any object with its arrays. They must not change afterwards.
    width : int
        Features of a row.
    outputs : int
        Margins of a row.

    Raises
    ------
    ValueError
        If the arrays are no trees.
    """

    def __init__(self, trees: Any, width: int, outputs: int) -> None:
        self.width, self.outputs = width, outputs
        self._trees = trees
        self._levels = levels(trees, width, outputs)
        self._nodes: Nodes = pack_nodes(trees, self._levels)
        self._walking = Lent(lambda: self._space(0))
        self._as_bits = Lent(lambda: self._space(len(self._bits.features)))

    def __len__(self) -> int:
        return len(self._trees.group)

    @cached_property
    def _bits(self) -> Bits:
        return pack_bits(self._trees, self._levels)

    @cached_property
    def _narrow(self) -> tuple["Forest", NDArray[np.int64]]:
        """The forest over the features that it uses alone, and where those are among them."""
        used = np.unique(self._trees.feature[self._trees.left >= 0])
        columns = np.full(self.width, -1)
        columns[used] = np.arange(len(used))
        arrays = {name: getattr(self._trees, name) for name in FIELDS}
        arrays["feature"] = np.maximum(columns[self._trees.feature], 0)
        return Forest(SimpleNamespace(**arrays), max(len(used), 1), self.outputs), columns

    @cached_property
    def _shares(self) -> treeshap.Shares:
        return treeshap.shares(self._trees, self._levels)

    def _space(self, columns: int) -> Space:
        return Space(
            np.zeros(columns * ROWS, np.uint8), np.zeros((MISSING + columns, WORDS), np.uint64),
            np.zeros(ROWS, np.uint8), np.zeros((self.outputs, ROWS), np.float32),
            np.empty(ROWS, np.uint64),
        )  # fmt: skip

    def _range(self, begin: int, end: int | None) -> tuple[int, int]:
        end = len(self) if end is None else end
        if not 0 <= begin <= end <= len(self):
            raise ValueError(f"trees {begin} to {end} of {len(self)}")
        return begin, end

    def _rows(self, X: Any) -> NDArray[np.float32]:
        X = readable(X, np.float32)
        if X.ndim != 2 or X.shape[1] != self.width:
            raise ValueError(f"rows of shape {X.shape}, not (n, {self.width})")
        return X

    def _start(self, base: Any, n: int) -> NDArray[np.float32]:
        """Margins before the first tree."""
        base = np.asarray(base, np.float32)
        if base.shape not in ((self.outputs,), (n, self.outputs)):
            raise ValueError(f"base of shape {base.shape}, not ({self.outputs},) or ({n}, ...)")
        out = np.empty((n, self.outputs), np.float32)
        out[:] = base
        return out

    def _add(self, X: NDArray[np.float32], out: NDArray[np.float32], begin: int, end: int) -> None:
        """Add trees to the margins of some rows."""
        as_bits = len(X) >= FEW and len(self._bits.features) <= COLUMNS * (end - begin)
        lent = self._as_bits if as_bits else self._walking
        space = lent.get()
        bits = self._bits if as_bits else NO_BITS
        _add_trees(X, out, begin, end, self._nodes, bits, as_bits, space)
        lent.put(space)

    def margins(
        self, X: Any, base: Any, begin: int = 0, end: int | None = None
    ) -> NDArray[np.float32]:
        """Sum of the base and of weight * value of the leaf in trees [begin, end), in order.

        Parameters
        ----------
        X : ndarray of float32, shape (n, width)
            NaN is missing.
        base : ndarray of float32, shape (outputs,) or (n, outputs)
        begin, end : int
            Trees that are added.

        Returns
        -------
        ndarray of float32, shape (n, outputs)
        """
        X, (begin, end) = self._rows(X), self._range(begin, end)
        out = self._start(base, len(X))
        run(lambda rows: self._add(X[rows], out[rows], begin, end), chunks(len(X)))
        return out

    def margins_csr(
        self,
        values: Any,
        indices: Any,
        offsets: Any,
        base: Any,
        begin: int = 0,
        end: int | None = None,
    ) -> NDArray[np.float32]:
        """`margins` of sparse rows: what is absent is missing, a stored 0 is 0.

        Parameters
        ----------
        values, indices : ndarray, shape (nnz,)
            Entries; those of features beyond the width are left aside.
        offsets : ndarray, shape (n + 1,)
            Where the entries of rows begin.
        base : ndarray of float32, shape (outputs,) or (n, outputs)
        begin, end : int
            Trees that are added.

        Returns
        -------
        ndarray of float32, shape (n, outputs)
        """
        values, indices = readable(values, np.float32), readable(indices, np.int32)
        offsets, (begin, end) = readable(offsets, np.int64), self._range(begin, end)
        out = self._start(base, len(offsets) - 1)
        forest, columns = self._narrow
        at_once = max(TOGETHER, min(CHUNK, DENSE // forest.width // ROWS * ROWS))
        scratch = Lent(lambda: np.full((at_once, forest.width), np.nan, np.float32))

        def add(rows: slice) -> None:
            dense = scratch.get()
            given = values, indices, offsets[rows.start : rows.stop + 1], columns, dense
            _spread(*given, False)
            forest._add(dense[: rows.stop - rows.start], out[rows], begin, end)
            _spread(*given, True)
            scratch.put(dense)

        run(add, chunks(len(out), at_once))
        return out

    def leaves(self, X: Any, begin: int = 0, end: int | None = None) -> NDArray[np.int32]:
        """The leaf that each row comes to in trees [begin, end).

        Parameters
        ----------
        X : ndarray of float32, shape (n, width)
        begin, end : int

        Returns
        -------
        ndarray of int32, shape (n, end - begin)
            Numbers of nodes within their trees.
        """
        X, (begin, end) = self._rows(X), self._range(begin, end)
        out = np.empty((len(X), end - begin), np.int32)

        def find(rows: slice) -> None:
            _leaves(X[rows], out[rows], begin, self._nodes, np.empty(ROWS, np.uint64))

        run(find, chunks(len(X)))
        return out

    def contributions(
        self, X: Any, base: Any, begin: int = 0, end: int | None = None
    ) -> NDArray[np.float32]:
        """What each feature contributes to the margins: exact SHAP values (see `treeshap`).

        Parameters
        ----------
        X : ndarray of float32, shape (n, width)
        base : ndarray of float32, shape (outputs,) or (n, outputs)
        begin, end : int

        Returns
        -------
        ndarray of float32, shape (n, outputs, width + 1)
            The bias is last; a row sums to its margin.
        """
        return self._explain(treeshap.contributions, X, base, begin, end)

    def contributions_approx(
        self, X: Any, base: Any, begin: int = 0, end: int | None = None
    ) -> NDArray[np.float32]:
        """As `contributions`, by the steps of a row's expected margin on its way to the leaf.

        Saabas, "Interpreting random forests" (2014).
        """
        return self._explain(treeshap.steps, X, base, begin, end)

    def interactions(
        self, X: Any, base: Any, begin: int = 0, end: int | None = None
    ) -> NDArray[np.float32]:
        """SHAP interaction values: contributions parted among pairs of features.

        Parameters
        ----------
        X : ndarray of float32, shape (n, width)
        base : ndarray of float32, shape (outputs,) or (n, outputs)
        begin, end : int

        Returns
        -------
        ndarray of float32, shape (n, outputs, width + 1, width + 1)
            Symmetric; its rows sum to `contributions`.
        """
        return self._explain(treeshap.interactions, X, base, begin, end)

    def _explain(
        self, method: Any, X: Any, base: Any, begin: int, end: int | None
    ) -> NDArray[np.float32]:
        X, (begin, end) = self._rows(X), self._range(begin, end)
        start = self._start(base, len(X))
        explained: NDArray[np.float32] = method(X, start, begin, end, self._nodes, self._shares)
        return explained
