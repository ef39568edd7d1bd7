"""Nearest points: of each row the nearest one, the nearest few, or the distances of all.

Products are made tile by tile in registers (`nearest_tiles`) and used up on the spot: no matrix of
rows by points is ever in memory, but for `distances`, whose result it is.

`assign` decides by the scores of the tile, in float32: of points that are as near but for their
rounding it may name either, always the same one. `top` decides by exact distances. A point whose
score is so low that its rounding cannot hide a near one is passed over; for each of the few others
the distance is worked out from differences, in float64. So a duplicate is at distance 0, and data
far from the origin cost time, not accuracy.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from smalgos._jit import kernel
from smalgos.kernels.cpu.nearest_tiles import (
    STRIP,
    TALL,
    WIDE,
    apart,
    improve,
    inner,
    lanes_above,
    pack,
    product,
    score,
)
from smalgos.kernels.cpu.scores import check_csr
from smalgos.kernels.cpu.shared import chunks, readable, run
from smalgos.kernels.cpu.tile import PANEL, aligned, scratch
from smalgos.kernels.cpu.vector import fma, load, load_part, select, splat, store, sum_lanes

__all__ = ["Points", "assign", "distances", "square_norms", "top"]

QUERIES = 256  # rows of a task of `top`, which meet a block of points one after another
BLOCK = 1 << 16  # numbers of a block of points, 256 KB: it stays in cache
TASKS = 16  # of `top`: where rows are few, the points are cut, too,
SHARE = 1 << 13  # into runs of so many or more
FEW = 3  # rows for which products by tiles, most of whose lanes are empty, take longer
DENSE = 8  # rows with an entry in fewer than so many columns are made dense
NEAR = 1e-3  # of |x|^2 + |p|^2: distances below are worked out from differences


def margin(d: int) -> float:
    """How far a score may be off, in units of |x|^2 + |p|^2.

    A score is a chain of d fused multiply-adds that starts from -|p|^2 / 2, rounded. Its error is
    at most (d + 2) u (|p|^2 / 2 + |x| |p|), but for terms in u^2, with u = 2^-24 (Higham, Accuracy
    and Stability of Numerical Algorithms, 2002, section 3.1), and |x| |p| <= (|x|^2 + |p|^2) / 2.
    Twice that covers the terms in u^2 up to d = 2^22, and the rounding of |x|^2 to float32.
    """
    return (d + 4) * 2.0**-23


class Points:
    """What rows are compared with, packed once: points, centres, an index.

    Parameters
    ----------
    P : array_like, shape (k, d)
        Made float32; not to be changed any more.

    Attributes
    ----------
    k, d : int
    values : ndarray of float32, shape (k, d)

    Raises
    ------
    ValueError
        If there is no point, or P is no matrix.
    """

    def __init__(self, P: Any) -> None:
        self.values = readable(P, np.float32)
        if self.values.ndim != 2 or not self.values.size:
            raise ValueError(f"points of shape {self.values.shape}: give (k, d), both 1 or more")
        self.k, self.d = self.values.shape
        self.tiles = aligned(-(-self.k // TALL), self.d, TALL)
        self.starts = np.full(len(self.tiles) * TALL, -np.inf, np.float32)
        self.squares = np.zeros(len(self.tiles) * TALL)
        run(lambda part: self._pack(part.start, part.stop), chunks(len(self.tiles), 1024))
        self._wide: tuple[NDArray[np.float32], NDArray[np.float32]] | None = None

    def _pack(self, first: int, last: int) -> None:
        _pack_points(self.values, first, last, self.tiles, self.starts, self.squares)

    @property
    def wide(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """For sparse rows: a row for each feature, (d, K), and what scores start from, (K,).

        K is a multiple of 16, starts beyond k are -inf.
        """
        if self._wide is None:
            wide = aligned(self.d, -(-self.k // PANEL) * PANEL)
            wide[:, : self.k] = self.values.T
            starts = np.full(wide.shape[1], -np.inf, np.float32)
            starts[: self.k] = self.starts[: self.k]
            self._wide = wide, starts
        return self._wide


@kernel(fastmath=False)
def _pack_points(P, first, last, tiles, starts, squares):
    """Tiles [first, last) of points.

    P         (k, d) float32                                                          in
    tiles     (T, d, TALL) float32, zeros                                             in, out
    starts    (T * TALL,) float32, -|p|^2 / 2                                         in, out
    squares   (T * TALL,) float64, |p|^2                                              in, out
    """
    lanes, d = np.empty(PANEL), P.shape[1]
    for t in range(first, last):
        for p in range(t * TALL, min(len(P), (t + 1) * TALL)):
            for j in range(d):
                tiles[t, j, p - t * TALL] = P[p, j]
            squares[p] = product(P, p * d, P, p * d, d, lanes)
            starts[p] = -0.5 * squares[p]


class Rows:
    """Rows as kernels take them, part by part: dense ones, or sparse ones with ascending columns.

    Parameters
    ----------
    X : ndarray of float32, shape (n, d), or Csr
    d : int
        What the number of columns must be.
    """

    def __init__(self, X: Any, d: int) -> None:
        if len(X.shape) != 2 or X.shape[1] != d:
            raise ValueError(f"rows of shape {X.shape}: points have {d} features")
        self.n, self.d = X.shape
        self.sparse = hasattr(X, "offsets")
        if self.sparse:  # a Csr, which kernels know by what it has
            offsets = readable(X.offsets, np.int64)
            check_csr(X.indices, offsets, d)
            self._csr = _tidy(X.values, X.indices, offsets)
        else:
            self._dense = readable(X, np.float32)

    def part(self, rows: slice) -> Any:
        """Dense (m, d), or (values, indices, offsets) where that takes less time."""
        if not self.sparse:
            return self._dense[rows]
        values, indices, offsets = self._csr
        offsets = offsets[rows.start : rows.stop + 1]
        if (offsets[-1] - offsets[0]) * DENSE <= (len(offsets) - 1) * self.d:
            return values, indices, offsets
        return self.dense(rows)

    def dense(self, rows: slice) -> NDArray[np.float32]:
        """The rows as a matrix (m, d)."""
        if not self.sparse:
            return self._dense[rows]
        values, indices, offsets = self._csr
        offsets = offsets[rows.start : rows.stop + 1]
        out = np.zeros((len(offsets) - 1, self.d), np.float32)
        of = np.repeat(np.arange(len(out)), np.diff(offsets))
        entries = slice(offsets[0], offsets[-1])
        out[of, indices[entries]] = values[entries]
        return out


def _tidy(values: Any, indices: Any, offsets: Any) -> tuple[Any, Any, Any]:
    """The same rows with strictly ascending columns: entries of one column are added."""
    first, last = int(offsets[0]), int(offsets[-1])
    ascends = np.ones(last - first + 1, bool)
    ascends[1:-1] = np.diff(indices[first:last]) > 0 if last > first else True
    ascends[offsets - first] = True
    values, indices = readable(values, np.float32), readable(indices, np.int32)
    if ascends.all():
        return values, indices, offsets
    row = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    order = np.lexsort((indices[first:last], row))
    row, column, value = row[order], indices[first:last][order], values[first:last][order]
    new = np.r_[True, (np.diff(row) != 0) | (np.diff(column) != 0)]
    added = np.zeros(int(new.sum()), np.float32)
    np.add.at(added, np.cumsum(new) - 1, value)
    counts = np.bincount(row[new], minlength=len(offsets) - 1)
    return added, column[new], np.r_[0, np.cumsum(counts)]


@kernel(fastmath=False)
def _squares(X, out):
    """|x|^2, summed in float64.   X (n, d) float32 in; out (n,) float32 out"""
    lanes, d = np.empty(PANEL), X.shape[1]
    for i in range(len(X)):
        out[i] = product(X, i * d, X, i * d, d, lanes)


@kernel(fastmath=False)
def _squares_csr(values, indices, offsets, out):
    """As `_squares`, added in the same order."""
    lanes = np.empty(PANEL)
    for i in range(len(out)):
        out[i] = square_csr(values, indices, offsets[i], offsets[i + 1], lanes)


@inner
def square_csr(values, indices, start, stop, lanes):
    """|x|^2 of a sparse row, with the bits that `product` gives for the dense one."""
    for i in range(PANEL):
        lanes[i] = 0.0
    for i in range(start, stop):
        lanes[indices[i] % PANEL] += np.float64(values[i]) * np.float64(values[i])
    for i in range(8):
        lanes[i] += lanes[i + 8]
    for i in range(4):
        lanes[i] += lanes[i + 4]
    return (lanes[0] + lanes[2]) + (lanes[1] + lanes[3])


def square_norms(X: Any) -> NDArray[np.float32]:
    """|x|^2 of each row, summed in float64.

    Parameters
    ----------
    X : ndarray of float32, shape (n, d), or Csr

    Returns
    -------
    ndarray of float32, shape (n,)
    """
    rows = Rows(X, X.shape[1])
    out = np.empty(rows.n, np.float32)

    def work(part: slice) -> None:
        given = rows.part(part)
        if isinstance(given, tuple):
            _squares_csr(*given, out[part])
        else:
            _squares(given, out[part])

    run(work, chunks(rows.n))
    return out


@inner
def score_csr(values, indices, start, stop, wide, starts, scores):
    """Scores of a sparse row: with ascending columns, the bits of `score`.

    values, indices, start, stop   the entries of the row                             in
    wide                           (d, K) float32                                     in
    starts, scores                 (K,) float32                                       in; out
    """
    k = wide.shape[1]
    p = 0
    while p + 4 * PANEL <= k:  # as many chains as hide the time that an addition takes
        a, b = load(starts, p), load(starts, p + PANEL)
        c, e = load(starts, p + 2 * PANEL), load(starts, p + 3 * PANEL)
        for i in range(start, stop):
            x, at = splat(values[i]), np.int64(indices[i]) * k + p
            a, b = fma(x, load(wide, at), a), fma(x, load(wide, at + PANEL), b)
            c = fma(x, load(wide, at + 2 * PANEL), c)
            e = fma(x, load(wide, at + 3 * PANEL), e)
        store(scores, p, a)
        store(scores, p + PANEL, b)
        store(scores, p + 2 * PANEL, c)
        store(scores, p + 3 * PANEL, e)
        p += 4 * PANEL
    while p < k:
        a = load(starts, p)
        for i in range(start, stop):
            a = fma(splat(values[i]), load(wide, np.int64(indices[i]) * k + p), a)
        store(scores, p, a)
        p += PANEL


@inner
def apart_csr(values, indices, start, stop, P, p, square):
    """Squared distance of a sparse row and point p, in float64; square: |p|^2."""
    total = square
    for i in range(start, stop):
        v, at = np.float64(values[i]), np.float64(P[p, indices[i]])
        total += v * (v - 2.0 * at)
    return max(total, 0.0)


@kernel(fastmath=False)
def _assign(X, P, tiles, starts, labels, out):
    """The point with the highest score, the first of equal ones, and its squared distance.

    X, P            (n, d), (k, d) float32                                            in
    tiles, starts   of the points (`Points`)                                          in
    labels, out     (n,) int32, (n,) float32                                          out
    """
    (n, d), k = X.shape, len(P)
    every, lanes = np.arange(n).astype(np.int32), np.empty(PANEL)
    deep, begin = -(-d // PANEL) * PANEL, np.empty(PANEL, np.int64)
    square, tile, best = scratch(256), scratch(TALL * STRIP), scratch(2 * STRIP)
    rows = scratch(WIDE * deep * PANEL).reshape(WIDE, deep, PANEL)
    for i in range(0, n, STRIP):
        count = min(STRIP, n - i)
        pack(X, every, i, count, begin, square, rows, 0)
        for j in range(WIDE):
            store(best, 2 * j * PANEL, splat(-np.inf))
            store(best, (2 * j + 1) * PANEL, splat(0.0))
        for t in range(len(tiles)):
            score(tiles, t, k, starts, rows, 0, tile)
            improve(tile, t * TALL, best)
        for r in range(count):
            p = np.int64(best[(2 * (r // PANEL) + 1) * PANEL + r % PANEL])
            labels[i + r] = p
            out[i + r] = apart(X, (i + r) * d, P, p * d, d, lanes)


@kernel(fastmath=False)
def _assign_csr(values, indices, offsets, P, squares, wide, starts, labels, out):
    """As `_assign`, for sparse rows; squares (>= k,) float64, |p|^2."""
    scores = scratch(len(starts))
    for i in range(len(labels)):
        score_csr(values, indices, offsets[i], offsets[i + 1], wide, starts, scores)
        p = 0
        for q in range(1, len(P)):
            if scores[q] > scores[p]:
                p = q
        labels[i] = p
        out[i] = apart_csr(values, indices, offsets[i], offsets[i + 1], P, p, squares[p])


def assign(X: Any, points: Points) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """The nearest point of each row.

    Parameters
    ----------
    X : ndarray of float32, shape (n, d), or Csr
    points : Points
        At most 2^24.

    Returns
    -------
    labels : ndarray of int32, shape (n,)
        By scores in float32; of equal ones the first point's.
    distances : ndarray of float32, shape (n,)
        Squared Euclidean, from differences in float64.
    """
    if points.k > 1 << 24:
        raise ValueError(f"{points.k} points: at most {1 << 24}")
    rows = Rows(X, points.d)
    labels, out = np.empty(rows.n, np.int32), np.empty(rows.n, np.float32)

    def work(part: slice) -> None:
        given, P = rows.part(part), points.values
        if isinstance(given, tuple):
            _assign_csr(*given, P, points.squares, *points.wide, labels[part], out[part])
        else:
            _assign(given, P, points.tiles, points.starts, labels[part], out[part])

    run(work, chunks(rows.n))
    return labels, out


@kernel(fastmath=False)
def _distances(X, P, tiles, starts, squares, out):
    """Squared distances of all pairs; as `_assign`, squares (>= k,) float64, out (n, k) float32."""
    (n, d), k = X.shape, len(P)
    every, lanes = np.arange(n).astype(np.int32), np.empty(PANEL)
    deep, begin = -(-d // PANEL) * PANEL, np.empty(PANEL, np.int64)
    square, tile = scratch(256), scratch(TALL * STRIP).reshape(TALL, STRIP)
    rows, own = scratch(WIDE * deep * PANEL).reshape(WIDE, deep, PANEL), np.empty(STRIP)
    for i in range(0, n, STRIP):
        count = min(STRIP, n - i)
        pack(X, every, i, count, begin, square, rows, 0)
        for r in range(count):
            own[r] = product(X, (i + r) * d, X, (i + r) * d, d, lanes)
        for t in range(len(tiles)):
            score(tiles, t, k, starts, rows, 0, tile)
            for r in range(count):
                for p in range(t * TALL, min(k, (t + 1) * TALL)):
                    far = own[r] - 2.0 * np.float64(tile[p - t * TALL, r])
                    if far < NEAR * (own[r] + squares[p]):
                        far = apart(X, (i + r) * d, P, p * d, d, lanes)
                    out[i + r, p] = far


@kernel(fastmath=False)
def _distances_csr(values, indices, offsets, P, squares, wide, starts, out):
    """As `_distances`, for sparse rows."""
    scores, lanes = scratch(len(starts)), np.empty(PANEL)
    for i in range(len(out)):
        start, stop = offsets[i], offsets[i + 1]
        score_csr(values, indices, start, stop, wide, starts, scores)
        own = square_csr(values, indices, start, stop, lanes)
        for p in range(len(P)):
            far = own - 2.0 * np.float64(scores[p])
            if far < NEAR * (own + squares[p]):
                far = apart_csr(values, indices, start, stop, P, p, squares[p])
            out[i, p] = far


def distances(X: Any, points: Points) -> NDArray[np.float32]:
    """Squared Euclidean distances of all rows to all points.

    Parameters
    ----------
    X : ndarray of float32, shape (n, d), or Csr
    points : Points

    Returns
    -------
    ndarray of float32, shape (n, k)
        Never negative; small ones are worked out from differences, so that nothing cancels.
    """
    rows = Rows(X, points.d)
    out = np.empty((rows.n, points.k), np.float32)
    run(lambda part: distances_of(rows, part, points, out[part]), chunks(rows.n))
    return out


def distances_of(rows: Rows, part: slice, points: Points, out: NDArray[np.float32]) -> None:
    """`distances` of some rows to out (m, k)."""
    given, P = rows.part(part), points.values
    if isinstance(given, tuple):
        _distances_csr(*given, P, points.squares, *points.wide, out)
    else:
        _distances(given, P, points.tiles, points.starts, points.squares, out)


@inner
def _limit(root, square, most, off, by_product):
    """A score that every point nearer than the farthest one kept exceeds.

    root     float32, key of the farthest point kept (see `_top`)
    square   float64, |x|^2; most: largest |p|^2; off: `margin`
    """
    root = np.float64(root)
    if by_product:
        limit = -root - 2.0**-22 * abs(root) - off * np.sqrt(square * most)
    else:
        limit = 0.5 * (square - root * (1.0 + 2.0**-22)) - off * (square + most)
    return np.float32(limit - 2.0**-22 * abs(limit))


@kernel(fastmath=False)
def _sift(keys, numbers, row, size, key, number):
    """Put (key, number) in the place of the largest of a heap; both (n, k), size of it in use."""
    i = 0
    while True:
        child = 2 * i + 1
        if child >= size:
            break
        other = child + 1
        if other < size and (
            keys[row, other] > keys[row, child]
            or (keys[row, other] == keys[row, child] and numbers[row, other] > numbers[row, child])
        ):
            child = other
        if key > keys[row, child] or (key == keys[row, child] and number > numbers[row, child]):
            break
        keys[row, i], numbers[row, i] = keys[row, child], numbers[row, child]
        i = child
    keys[row, i], numbers[row, i] = key, number


@kernel(fastmath=False)
def _offer(X, row, P, p, by_product, lanes, keys, numbers):
    """Keep point p for a row if it is nearer than the farthest one kept."""
    d = X.shape[1]
    if by_product:
        key = np.float32(-product(X, row * d, P, p * d, d, lanes))
    else:
        key = np.float32(apart(X, row * d, P, p * d, d, lanes))
    if key < keys[row, 0] or (key == keys[row, 0] and p < numbers[row, 0]):
        _sift(keys, numbers, row, keys.shape[1], key, p)


@kernel(fastmath=False)
def _top(X, P, tiles, starts, squares, first, last, off, by_product, keys, numbers):
    """The nearest points among tiles [first, last), nearest first.

    X, P            (n, d), (k, d) float32                                            in
    tiles, starts   of the points; starts are zeros for products, -inf beyond k       in
    squares         (T * TALL,) float64, |p|^2                                        in
    off             float64, `margin`
    by_product      bool
    keys, numbers   (n, m) float32, int64: exact squared distance, or product with its
                    sign changed, and point; inf and k where there are fewer          out
    """
    (n, d), m = X.shape, keys.shape[1]
    every, lanes = np.arange(n).astype(np.int32), np.empty(PANEL)
    deep, strips, begin = -(-d // PANEL) * PANEL, -(-n // STRIP), np.empty(PANEL, np.int64)
    square, tile, peak = scratch(256), scratch(TALL * STRIP), scratch(PANEL)
    rows = scratch(strips * WIDE * deep * PANEL).reshape(strips * WIDE, deep, PANEL)
    limits, own = scratch(strips * STRIP), np.empty(n)
    limits[:] = np.inf
    for s in range(strips):
        count = min(STRIP, n - s * STRIP)
        pack(X, every, s * STRIP, count, begin, square, rows, s * STRIP * deep)
    for i in range(n):
        own[i] = product(X, i * d, X, i * d, d, lanes)
        keys[i], numbers[i] = np.inf, len(P)
    at_once = max(1, BLOCK // (d * TALL))
    for block in range(first, last, at_once):
        end = min(last, block + at_once)
        most = 0.0
        for p in range(block * TALL, end * TALL):
            most = max(most, squares[p])
        for s in range(strips):
            for i in range(s * STRIP, min(n, (s + 1) * STRIP)):
                limits[i] = _limit(keys[i, 0], own[i], most, off, by_product)
            for t in range(block, end):
                score(tiles, t, len(P), starts, rows, s * STRIP * deep, tile)
                for j in range(WIDE):
                    at = s * STRIP + j * PANEL
                    high = load(tile, j * PANEL)
                    for r in range(1, TALL):
                        new = load(tile, (r * WIDE + j) * PANEL)
                        high = select(new > high, new, high)
                    store(peak, 0, high)
                    if lanes_above(peak, 0, limits, at) == 0:
                        continue
                    for r in range(TALL):
                        above, i = lanes_above(tile, (r * WIDE + j) * PANEL, limits, at), at
                        while above != 0:
                            if above & 1:
                                _offer(X, i, P, t * TALL + r, by_product, lanes, keys, numbers)
                                limits[i] = _limit(keys[i, 0], own[i], most, off, by_product)
                            above, i = above >> 1, i + 1
    for i in range(n):
        _sort(keys, numbers, i, m)


@kernel(fastmath=False)
def _scan(X, P, starts, squares, first, last, off, by_product, keys, numbers):
    """As `_top`, for few rows: points are read as they are, features are the lanes.

    first, last   int64, of points
    Others as in `_top`. Scores have other bits, within the same margin; what is kept is the same.
    """
    (n, d), m, lanes = X.shape, keys.shape[1], np.empty(PANEL)
    whole = d // PANEL * PANEL
    for i in range(n):
        keys[i], numbers[i] = np.inf, len(P)
        own, at = product(X, i * d, X, i * d, d, lanes), i * d
        for block in range(first, last, BLOCK):
            end = min(last, block + BLOCK)
            most = 0.0
            for p in range(block, end):
                most = max(most, squares[p])
            limit = _limit(keys[i, 0], own, most, off, by_product)
            for p in range(block, end):
                total = splat(0.0)
                for j in range(0, whole, PANEL):
                    total = fma(load(X, at + j), load(P, p * d + j), total)
                if whole < d:
                    x, y = (
                        load_part(X, at + whole, d - whole),
                        load_part(P, p * d + whole, d - whole),
                    )
                    total = fma(x, y, total)
                if sum_lanes(starts[p], total) > limit:
                    _offer(X, i, P, p, by_product, lanes, keys, numbers)
                    limit = _limit(keys[i, 0], own, most, off, by_product)
        _sort(keys, numbers, i, m)


@kernel(fastmath=False)
def _sort(keys, numbers, row, m):
    """Make a heap of m a list, ascending."""
    for size in range(m - 1, 0, -1):
        key, number = keys[row, size], numbers[row, size]
        keys[row, size], numbers[row, size] = keys[row, 0], numbers[row, 0]
        _sift(keys, numbers, row, size, key, number)


def top(
    X: Any, points: Points, k: int, metric: str = "l2"
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The k nearest points of each row, exactly, nearest first.

    Parameters
    ----------
    X : ndarray of float32, shape (n, d), or Csr
    points : Points
    k : int
        At most as many as there are points.
    metric : {"l2", "ip"}
        Squared Euclidean distance, ascending, or inner product, descending; of equal ones (in
        float32) the lower number first.

    Returns
    -------
    indices : ndarray of int64, shape (n, k)
    values : ndarray of float32, shape (n, k)
        Distances from differences, products; in float64, rounded once.

    Raises
    ------
    ValueError
        If k is not within 1 and the number of points, or the metric is another one.
    """
    if metric not in ("l2", "ip") or not 1 <= k <= points.k:
        raise ValueError(f"{k} of {points.k} points by metric {metric!r}: 'l2' and 'ip' there are")
    rows, by_product = Rows(X, points.d), metric == "ip"
    starts = points.starts
    if by_product:
        starts = np.where(np.isinf(starts), starts, np.float32(0))
    deep = max(1, points.d)
    height = max(STRIP, min(QUERIES, (1 << 20) // deep // STRIP * STRIP))
    few = rows.n <= FEW
    parts, count = chunks(rows.n, height), points.k if few else len(points.tiles)
    shares = max(1, min(TASKS // max(1, len(parts)), points.k // SHARE))
    cuts = [(count * i // shares, count * (i + 1) // shares) for i in range(shares)]

    def work(task: tuple[slice, tuple[int, int]]) -> tuple[Any, Any]:
        given = rows.dense(task[0])
        keys, numbers = np.empty((len(given), k), np.float32), np.empty((len(given), k), np.int64)
        of = points.squares, *task[1], margin(points.d), by_product, keys, numbers
        if few:
            _scan(given, points.values, starts, *of)
        else:
            _top(given, points.values, points.tiles, starts, *of)
        return numbers, keys

    found = run(work, [(part, cut) for part in parts for cut in cuts])
    indices, values = np.empty((rows.n, k), np.int64), np.empty((rows.n, k), np.float32)
    for i, part in enumerate(parts):
        some = found[i * shares : (i + 1) * shares]
        numbers, keys = (np.concatenate(x, axis=1) for x in zip(*some, strict=True))
        order = np.lexsort((numbers, keys), axis=1)[:, :k]
        indices[part] = np.take_along_axis(numbers, order, axis=1)
        values[part] = np.take_along_axis(keys, order, axis=1)
    return indices, -values if by_product else values
