"""Nearest points: of each row the nearest one, the nearest few, or the distances of all.

Products are made tile by tile in registers (`nearest_tiles`) and used up on the spot: no matrix of
rows by points is ever in memory, but for `distances`, whose result it is.

`assign` decides by the scores of the tile, in float32: of points that are as near but for their
rounding it may name either, always the same one. `top` decides by exact distances. A point whose
score is so low that its rounding cannot hide a near one is passed over; for each of the few others
the distance is worked out from differences, in float64. So a duplicate is at distance 0, and data
far from the origin cost time, not accuracy.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from smalgos._jit import kernel
from smalgos.kernels.cpu.nearest_bytes import AVAILABLE, NARROW, WIDEST, Coded
from smalgos.kernels.cpu.nearest_find import find as find_floats
from smalgos.kernels.cpu.nearest_find import find_bytes, find_csr
from smalgos.kernels.cpu.nearest_tiles import (
    STRIP,
    TALL,
    WIDE,
    apart,
    inner,
    pack,
    product,
    score,
    score_csr,
)
from smalgos.kernels.cpu.scores import check_csr
from smalgos.kernels.cpu.shared import chunks, readable, run
from smalgos.kernels.cpu.tile import PANEL, aligned, scratch

__all__ = ["Points", "assign", "distances", "square_norms"]

NOTHING = np.empty(0, np.float32)
DENSE = 8  # rows with an entry in fewer than so many columns are made dense
MANY = 24_000  # numbers of points from which on a filter in bytes pays: it costs each row some time
TINY, HUGE = 1e-20, 1e30  # largest squares of points whose scores float32 holds
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
        self.most = float(self.squares.max())
        self._wide: tuple[NDArray[np.float32], NDArray[np.float32]] | None = None
        self._coded: dict[bool, Coded] = {}

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

    def coded(self, by_product: bool = False) -> Coded | None:
        """As bytes; None where that saves no time."""
        fits = AVAILABLE and self.k * self.d >= MANY and NARROW <= self.d <= WIDEST
        if not (fits and TINY < self.most < HUGE):
            return None
        if by_product not in self._coded:
            self._coded[by_product] = Coded(self.values, by_product)
        return self._coded[by_product]


@kernel(fastmath=False)
def _pack_points(P, first, last, tiles, starts, squares):
    """Tiles [first, last) of points.

    P         (k, d) float32                                                          in
    tiles     (T, d, TALL) float32, zeros                                             in, out
    starts    (T * TALL,) float32, -|p|^2 / 2                                         in, out
    squares   (T * TALL,) float64, |p|^2                                              in, out
    """
    d = P.shape[1]
    for t in range(first, last):
        for p in range(t * TALL, min(len(P), (t + 1) * TALL)):
            for j in range(d):
                tiles[t, j, p - t * TALL] = P[p, j]
            squares[p] = product(P, p * d, P, p * d, d)
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
    d = X.shape[1]
    for i in range(len(X)):
        out[i] = product(X, i * d, X, i * d, d)


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
def apart_csr(values, indices, start, stop, P, p, square):
    """Squared distance of a sparse row and point p, in float64; square: |p|^2."""
    total = square
    for i in range(start, stop):
        v, at = np.float64(values[i]), np.float64(P[p, indices[i]])
        total += v * (v - 2.0 * at)
    return max(total, 0.0)


@kernel(fastmath=False)
def own(X, P, labels, out):
    """Squared distances of rows (n, d) to the centres P (k, d) that labels (n,) int32 name."""
    d = X.shape[1]
    for i in range(len(X)):
        out[i] = apart(X, i * d, P, np.int64(labels[i]) * d, d)


@kernel(fastmath=False)
def own_csr(values, indices, offsets, P, norms, labels, out):
    """As `own`, for sparse rows; norms (k,) float64, |c|^2."""
    for i in range(len(out)):
        c = labels[i]
        out[i] = apart_csr(values, indices, offsets[i], offsets[i + 1], P, c, norms[c])


class Guesses(NamedTuple):
    """What is known of rows before their nearest points are looked for.

    labels    (n,) int32, a point for each row that is likely to be the nearest
    squares   (n,) float32, |x|^2
    """

    labels: NDArray[np.int32]
    squares: NDArray[np.float32]


def find(
    given: Any, numbers: NDArray[np.int32], points: Points, two: bool = False,
    guesses: Guesses | None = None,
) -> tuple[NDArray[np.int32], NDArray[np.float32], NDArray[np.float32]]:  # fmt: skip
    """The points with the highest scores of some rows; of equal ones the first.

    Parameters
    ----------
    given : ndarray or tuple
        Rows as `Rows.part` gives them.
    numbers : ndarray of int32, shape (m,)
        Which of them.
    points : Points
        At most 2^24.
    two : bool
        Whether scores are wanted.
    guesses : Guesses, optional
        They save time, and change no label.

    Returns
    -------
    labels : ndarray of int32, shape (m,)
    high, second : ndarray of float32, shape (m,) or (0,)
        The highest score, and one that those of the other points are not above: with guesses not
        always the highest of them. Within `margin`.
    """
    labels = np.empty(len(numbers), np.int32)
    high, second = np.empty((2, len(numbers) if two else 0), np.float32)
    if isinstance(given, tuple):
        find_csr(*given, numbers, *points.wide, points.k, two, labels, high, second)
        return labels, high, second
    done, coded = 0, None if guesses is None else points.coded()
    if guesses is not None and coded is not None:
        squares = guesses.squares if two else NOTHING
        done = find_bytes(
            given, numbers, points.values, points.starts, points.most, margin(points.d), coded.of,
            guesses.labels, squares, labels, high, second,
        )  # fmt: skip
    if done < len(numbers):
        find_floats(
            given, numbers[done:], points.tiles, points.starts, points.k, two, labels[done:],
            high[done:], second[done:],
        )  # fmt: skip
    return labels, high, second


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
        given = rows.part(part)
        labels[part] = find(given, np.arange(len(out[part]), dtype=np.int32), points)[0]
        measure(given, points, labels[part], out[part])

    run(work, chunks(rows.n))
    return labels, out


def measure(
    given: Any, points: Points, labels: NDArray[np.int32], out: NDArray[np.float32]
) -> None:
    """Squared distances of rows, as `Rows.part` gives them, to the points that labels name."""
    if isinstance(given, tuple):
        own_csr(*given, points.values, points.squares, labels, out)
    else:
        own(given, points.values, labels, out)


@kernel(fastmath=False)
def _distances(X, P, tiles, starts, squares, out):
    """Squared distances of all pairs; as `_assign`, squares (>= k,) float64, out (n, k) float32."""
    (n, d), k = X.shape, len(P)
    every = np.arange(n).astype(np.int32)
    deep, begin = -(-d // PANEL) * PANEL, np.empty(PANEL, np.int64)
    square, tile = scratch(256), scratch(TALL * STRIP).reshape(TALL, STRIP)
    rows, own = scratch(WIDE * deep * PANEL).reshape(WIDE, deep, PANEL), np.empty(STRIP)
    for i in range(0, n, STRIP):
        count = min(STRIP, n - i)
        pack(X, every, i, count, begin, square, rows, 0)
        for r in range(count):
            own[r] = product(X, (i + r) * d, X, (i + r) * d, d)
        for t in range(len(tiles)):
            score(tiles, t, k, starts, rows, 0, tile)
            for r in range(count):
                for p in range(t * TALL, min(k, (t + 1) * TALL)):
                    far = own[r] - 2.0 * np.float64(tile[p - t * TALL, r])
                    if far < NEAR * (own[r] + squares[p]):
                        far = apart(X, (i + r) * d, P, p * d, d)
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
