"""The nearest few points of each row, exactly.

Scores (`nearest_tiles`), or bytes in their place (`nearest_bytes`), only filter: a point whose
score is so low that its rounding cannot hide a near one is passed over; for each of the few others
the distance is worked out from differences, in float64.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from smalgos._jit import kernel
from smalgos.kernels.cpu.candidates import NOBODY, better, empty_heaps, ordered, replace_worst
from smalgos.kernels.cpu.nearest import Points, Rows, margin
from smalgos.kernels.cpu.nearest_bytes import (
    GROUP,
    MOST,
    above,
    begin_at,
    doubt,
    pack_bytes,
    usual,
    whole,
)
from smalgos.kernels.cpu.nearest_bytes import tile as tile_of_bytes
from smalgos.kernels.cpu.nearest_tiles import (
    STRIP,
    TALL,
    WIDE,
    apart,
    inner,
    lanes_above,
    pack,
    product,
    score,
)
from smalgos.kernels.cpu.shared import chunks, run
from smalgos.kernels.cpu.tile import PANEL, scratch
from smalgos.kernels.cpu.vector import fma, load, load_part, select, splat, store, sum_lanes

__all__ = ["top"]

QUERIES = 256  # rows of a task, which meet a block of points one after another
BLOCK = 1 << 16  # numbers of a block of points, 256 KB: it stays in cache
TASKS = 16  # where rows are few, the points are cut, too,
SHARE = 1 << 13  # into runs of so many or more
FEW = 3  # rows for which products by tiles, most of whose lanes are empty, take longer
AGAIN = 16  # of a block's points, one in so many may be left by the filter in bytes


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


@inner
def _limit_of_bytes(root, square, doubt, worth, by_product):
    """As `_limit`, of the integers of `nearest_bytes`.

    square   float64, |x - m|^2, or x . m for products
    """
    root = np.float64(root)
    if by_product:
        limit = -root - 2.0**-22 * abs(root) - square
    else:
        limit = 0.5 * (square - root * (1.0 + 2.0**-22))
    return whole((limit - 2.0**-40 * abs(square)) / worth - doubt)


@kernel(fastmath=False)
def _offer(X, row, P, p, by_product, keys, numbers):
    """Keep point p for a row if it is nearer than the farthest one kept."""
    d = X.shape[1]
    if by_product:
        key = np.float32(-product(X, row * d, P, p * d, d))
    else:
        key = np.float32(apart(X, row * d, P, p * d, d))
    if better(key, p, keys[row, 0], numbers[row, 0]):
        replace_worst(keys, numbers, row, key, p)


@kernel(fastmath=False)
def _top(X, P, tiles, starts, squares, first, last, off, by_product, keys, numbers):
    """The nearest points among tiles [first, last), as heaps.

    X, P            (n, d), (k, d) float32                                            in
    tiles, starts   of the points; starts are zeros for products, -inf beyond k       in
    squares         (T * TALL,) float64, |p|^2                                        in
    off             float64, `margin`
    by_product      bool
    keys, numbers   (n, m) float32, int64: exact squared distance, or product with its
                    sign changed, and point (see `candidates`)                        in, out
    """
    n, d = X.shape
    every = np.arange(n).astype(np.int32)
    deep, strips, begin = -(-d // PANEL) * PANEL, -(-n // STRIP), np.empty(PANEL, np.int64)
    square, tile, peak = scratch(256), scratch(TALL * STRIP), scratch(PANEL)
    rows = scratch(strips * WIDE * deep * PANEL).reshape(strips * WIDE, deep, PANEL)
    limits, own = scratch(strips * STRIP), np.empty(n)
    limits[:] = np.inf
    for s in range(strips):
        count = min(STRIP, n - s * STRIP)
        pack(X, every, s * STRIP, count, begin, square, rows, s * STRIP * deep)
    for i in range(n):
        own[i] = product(X, i * d, X, i * d, d)
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
                        found, i = lanes_above(tile, (r * WIDE + j) * PANEL, limits, at), at
                        while found != 0:
                            if found & 1:
                                _offer(X, i, P, t * TALL + r, by_product, keys, numbers)
                                limits[i] = _limit(keys[i, 0], own[i], most, off, by_product)
                            found, i = found >> 1, i + 1


@kernel(fastmath=False)
def _top_bytes(X, P, coded, first, last, by_product, keys, numbers):
    """As `_top`, by a filter in bytes; coded: `Coded.of` the points.

    Returns the tile to go on from where the filter leaves so many points that it does not pay.
    """
    tiles, sums, _, norms, errors, mean, shift, span, step = coded
    (n, d), k, norm, error = X.shape, len(P), norms.max(), errors.max()
    every = np.arange(n).astype(np.int32)
    deep, strips = len(shift) // GROUP, -(-n // STRIP)
    words, rows = np.empty((PANEL, deep), np.int32), np.empty(strips * STRIP * deep, np.int32)
    tile, peak = np.empty(TALL * STRIP, np.int32), np.empty(STRIP, np.int32)
    squares, lefts, doubts = np.empty(n), np.empty(n), np.empty(n)
    limits, begin = np.full(strips * STRIP, MOST, np.int32), np.empty(len(sums), np.int32)
    a, off, long = usual(X, every, shift, span)
    worth = np.float64(step) * np.float64(a)
    for s in range(strips):
        at, count = s * STRIP, min(STRIP, n - s * STRIP)
        pack_bytes(X, every, at, count, shift, a, words, rows, at * deep, squares, lefts)
    for i in range(n):
        doubts[i] = doubt(squares[i], lefts[i], d, worth, off, long, norm, error)
        if by_product:
            squares[i] = product(X, i * d, mean, 0, d)
        else:
            squares[i] = apart(X, i * d, mean, 0, d)
    at_once = max(1, GROUP * BLOCK // (d * TALL))
    for block in range(first, last, at_once):
        end, offered = min(last, block + at_once), 0
        begin_at(coded, block * TALL, end * TALL, worth, off, long, begin)
        for s in range(strips):
            for i in range(s * STRIP, min(n, (s + 1) * STRIP)):
                limits[i] = _limit_of_bytes(keys[i, 0], squares[i], doubts[i], worth, by_product)
            for t in range(block, end):
                tile_of_bytes(
                    tiles, t * deep * TALL, begin, t * TALL, deep, rows, s * STRIP * deep,
                    deep * PANEL, tile, 0, peak,
                )  # fmt: skip
                for j in range(WIDE):
                    at = s * STRIP + j * PANEL
                    if above(peak, j * PANEL, limits, at) == 0:
                        continue
                    for r in range(min(TALL, k - t * TALL)):
                        found, i = above(tile, (r * WIDE + j) * PANEL, limits, at), at
                        while found != 0:
                            if found & 1:
                                offered += 1
                                _offer(X, i, P, t * TALL + r, by_product, keys, numbers)
                                limits[i] = _limit_of_bytes(
                                    keys[i, 0], squares[i], doubts[i], worth, by_product
                                )
                            found, i = found >> 1, i + 1
        if offered * AGAIN > n * (end - block) * TALL and block > first:
            return end
    return last


@kernel(fastmath=False)
def _scan(X, P, starts, squares, first, last, off, by_product, keys, numbers):
    """As `_top`, for few rows: points are read as they are, features are the lanes.

    first, last   int64, of points
    Others as in `_top`. Scores have other bits, within the same margin; what is kept is the same.
    """
    n, d = X.shape
    whole = d // PANEL * PANEL
    for i in range(n):
        own, at = product(X, i * d, X, i * d, d), i * d
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
                    _offer(X, i, P, p, by_product, keys, numbers)
                    limit = _limit(keys[i, 0], own, most, off, by_product)


@kernel(fastmath=False)
def _compare(X, P, by_product, keys, numbers):
    """As `_top`, without a filter: for rows and points whose scores are beyond float32."""
    for i in range(len(X)):
        for p in range(len(P)):
            _offer(X, i, P, p, by_product, keys, numbers)


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

    coded = None if few else points.coded(by_product)

    def work(task: tuple[slice, tuple[int, int]]) -> tuple[Any, Any]:
        given, (first, last) = rows.dense(task[0]), task[1]
        keys, numbers = empty_heaps(len(given), k)
        of = last, margin(points.d), by_product, keys, numbers
        if few:
            _scan(given, points.values, starts, points.squares, first, *of)
            return numbers, keys
        if coded is not None:
            first = _top_bytes(given, points.values, coded.of, first, last, *of[2:])
        _top(given, points.values, points.tiles, starts, points.squares, first, *of)
        return numbers, keys

    found = run(work, [(part, cut) for part in parts for cut in cuts])
    indices, values = np.empty((rows.n, k), np.int64), np.empty((rows.n, k), np.float32)
    for i, part in enumerate(parts):
        some = found[i * shares : (i + 1) * shares]
        numbers, keys = (np.concatenate(x, axis=1) for x in zip(*some, strict=True))
        order = np.lexsort((numbers, keys), axis=1)[:, :k]
        indices[part] = np.take_along_axis(numbers, order, axis=1)
        values[part] = np.take_along_axis(keys, order, axis=1)
    for row in np.flatnonzero(indices[:, -1] == NOBODY):
        keys, numbers = empty_heaps(1, k)
        _compare(rows.dense(slice(row, row + 1)), points.values, by_product, keys, numbers)
        values[row], indices[row] = (found[0] for found in ordered(keys, numbers))
    return indices, -values if by_product else values
