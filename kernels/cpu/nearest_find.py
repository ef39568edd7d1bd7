"""The nearest point of each of some rows, by the highest score; of equal ones the first.

Three ways to the same answer: all scores in float32 (`find`), those of sparse rows (`find_csr`), or
a filter in bytes, and scores of the few that it leaves (`find_bytes`).
"""

import numpy as np

from smalgos._jit import kernel
from smalgos.kernels.cpu.candidates import lowest
from smalgos.kernels.cpu.nearest_bytes import (
    GROUP,
    LEAST,
    MOST,
    above,
    begin_at,
    doubt,
    pack_bytes,
    two_largest,
    unit,
    whole,
)
from smalgos.kernels.cpu.nearest_bytes import tile as tile_of_bytes
from smalgos.kernels.cpu.nearest_tiles import (
    STRIP,
    TALL,
    WIDE,
    improve,
    inner,
    pack,
    product,
    score,
    score_csr,
)
from smalgos.kernels.cpu.tile import PANEL, scratch
from smalgos.kernels.cpu.vector import fma, load, select, splat, store

AGAIN = 8  # times as many rows as there are, whose candidates say whether the filter is worth it


@inner
def _improve_two(tile, first, best):
    """As `improve`, with the second highest scores: best (WIDE, 3, 16)."""
    for j in range(WIDE):
        at = 3 * j * PANEL
        high, which, second = load(best, at), load(best, at + PANEL), load(best, at + 2 * PANEL)
        for r in range(TALL):
            new = load(tile, (r * WIDE + j) * PANEL)
            better = new > high
            less = select(better, high, new)
            second = select(less > second, less, second)
            high = select(better, new, high)
            which = select(better, splat(np.float32(first + r)), which)
        store(best, at, high)
        store(best, at + PANEL, which)
        store(best, at + 2 * PANEL, second)


@kernel(fastmath=False)
def find(X, numbers, tiles, starts, k, two, labels, high, second):
    """By all scores.

    X               (n, d) float32                                                    in
    numbers         (m,) int32, which rows                                            in
    tiles, starts   of k points (`Points`)                                            in
    two             bool, whether the second highest scores are wanted
    labels          (m,) int32                                                        out
    high, second    (m,) float32, the highest score, and that of another point; no
                    more than (0,) if they are not wanted                             out
    """
    d, m = X.shape[1], len(numbers)
    deep, begin = -(-d // PANEL) * PANEL, np.empty(PANEL, np.int64)
    square, tile, best = scratch(256), scratch(TALL * STRIP), scratch(3 * STRIP)
    rows = scratch(WIDE * deep * PANEL).reshape(WIDE, deep, PANEL)
    kinds = 3 if two else 2
    for i in range(0, m, STRIP):
        count = min(STRIP, m - i)
        pack(X, numbers, i, count, begin, square, rows, 0)
        for j in range(WIDE * kinds):
            store(best, j * PANEL, splat(-np.inf))
        for j in range(WIDE):
            store(best, (kinds * j + 1) * PANEL, splat(0.0))
        for t in range(len(tiles)):
            score(tiles, t, k, starts, rows, 0, tile)
            if two:
                _improve_two(tile, t * TALL, best)
            else:
                improve(tile, t * TALL, best)
        for r in range(count):
            at = kinds * (r // PANEL) * PANEL + r % PANEL
            labels[i + r] = best[at + PANEL]
            if two:
                high[i + r], second[i + r] = best[at], best[at + 2 * PANEL]


@kernel(fastmath=False)
def find_csr(values, indices, offsets, numbers, wide, starts, k, two, labels, high, second):
    """As `find`, for sparse rows; wide, starts of the points (`Points.wide`)."""
    scores = scratch(len(starts))
    for i, row in enumerate(numbers):
        score_csr(values, indices, offsets[row], offsets[row + 1], wide, starts, scores)
        best, other = 0, np.float32(-np.inf)
        for p in range(1, k):
            if scores[p] > scores[best]:
                other, best = scores[best], p
            elif scores[p] > other:
                other = scores[p]
        labels[i] = best
        if two:
            high[i], second[i] = scores[best], other


@inner
def _chain(X, at, P, p, d, start):
    """The score of X[at:][:d] by point p, with the bits of a tile."""
    lanes, total = np.empty(PANEL, np.float32), splat(start)
    for j in range(d):
        total = fma(splat(P[p, j]), splat(X.reshape(-1)[at + j]), total)
    store(lanes, 0, total)
    return lanes[0]


@inner
def _collect(scores, peaks, k, limits, done, lane, point):
    """The pairs of a row and a point whose S exceeds the row's limit, but not what is done.

    scores, peaks   (T * TALL, WIDE, 16), (T, WIDE, 16) int32: S and their maxima     in
    limits, done    (WIDE, 16) int32                                                  in
    lane, point     (STRIP * k,) int32                                                out
    Returns how many there are.
    """
    found = 0
    for t in range(len(peaks) // STRIP):
        for first in range(0, STRIP, PANEL):
            if above(peaks, t * STRIP + first, limits, first) == 0:
                continue
            for p in range(t * TALL, min(k, (t + 1) * TALL)):
                at = p * STRIP + first
                left = above(scores, at, limits, first) & ~above(scores, at, done, first)
                while left != 0:
                    lane[found], point[found] = first + lowest(left), p
                    left &= left - 1
                    found += 1
    return found


@inner
def _weigh(X, numbers, P, norms, lane, point, count, first, other, which):
    """Take exact scores of pairs into the two highest ones of each row.

    X, numbers, P, norms   as in `find_bytes`, numbers those of the strip             in
    lane, point            int32, of `count` pairs                                    in
    first, other, which    (STRIP,) float64, int64: the highest score, that of
                           another point, and whose the first is                      in, out
    """
    d = X.shape[1]
    for i in range(count):
        r, p = np.int64(lane[i]), np.int64(point[i])
        new = product(X, np.int64(numbers[r]) * d, P, p * d, d) - 0.5 * norms[p]
        old = first[r]
        other[r] = max(other[r], min(old, new))
        first[r] = max(old, new)
        which[r] = p if new > old else which[r]


@kernel(fastmath=False)
def find_bytes(X, numbers, P, starts, norms, most, off, coded, two, labels, high, second):
    """By a filter in bytes; as `find`.

    P               (k, d) float32, the points                                        in
    starts, norms   (>= k,) float32, float64: where their scores start, |p|^2         in
    most, off       float64, the largest |p|^2, `margin`
    coded           `Coded.of`                                                        in
    The points with the largest S are looked at first: what their exact scores are rules out most
    others. Where two are closer than scores in float32 can tell, the latter decide. Returns the
    number of rows done: fewer than m where the filter leaves so many that it does not pay.
    """
    tiles, sums, halves, mean, shift, span, step, norm, error = coded
    (_, d), (k, _), m, deep = X.shape, P.shape, len(numbers), len(shift) // GROUP
    words, rows = np.empty((PANEL, deep), np.int32), np.empty(STRIP * deep, np.int32)
    scores = np.empty(len(sums) * STRIP, np.int32)
    peaks, peak = np.empty(len(tiles) * STRIP, np.int32), np.empty(STRIP, np.int32)
    begin, best = np.empty(len(sums), np.int32), np.empty(2 * STRIP, np.int32)
    lane, point = np.empty(STRIP * k, np.int32), np.empty(STRIP * k, np.int32)
    squares, errors, at = np.empty(m), np.empty(m), np.empty(STRIP, np.int32)
    limits, done = np.empty(STRIP, np.int32), np.empty(STRIP, np.int32)
    first, other, which = np.empty(STRIP), np.empty(STRIP), np.empty(STRIP, np.int64)
    close, centre, looked = np.empty(STRIP), product(mean, 0, mean, 0, d), 0
    a = unit(X, numbers, shift, span)
    worth = np.float64(step) * np.float64(a)
    begin_at(sums, halves, 0, len(sums), worth, begin)
    for i in range(0, m, STRIP):
        count = min(STRIP, m - i)
        if looked > AGAIN * i + k * STRIP:
            return i
        pack_bytes(X, numbers, i, count, shift, a, words, rows, 0, squares, errors)
        for r in range(2 * STRIP):
            best[r] = LEAST
        for t in range(len(tiles)):
            tile_of_bytes(
                tiles, t * deep * TALL, begin, t * TALL, deep, rows, 0, deep * PANEL,
                scores, t * TALL * STRIP, peak,
            )  # fmt: skip
            two_largest(peak, best)
            for r in range(STRIP):
                peaks[t * STRIP + r] = peak[r]
        for r in range(STRIP):
            first[r], other[r], which[r], done[r] = -np.inf, -np.inf, 0, MOST
            at[r], limits[r] = numbers[i + min(r, count - 1)], MOST
            if r < count:
                limits[r] = best[(2 * (r // PANEL) + two) * PANEL + r % PANEL] - 1
        pairs = _collect(scores, peaks, k, limits, done, lane, point)
        _weigh(X, at, P, norms, lane, point, pairs, first, other, which)
        for r in range(count):
            done[r] = limits[r]
            length = np.sqrt(squares[i + r]) + np.sqrt(centre)
            close[r] = 2.0 * off * (length * length + most)
            level = min(first[r] - close[r], other[r]) if two else first[r] - close[r]
            # Exact scores are of x and p, those in bytes of x' and p'.
            level -= product(X, np.int64(at[r]) * d, mean, 0, d) - 0.5 * centre
            off_by = doubt(squares[i + r], errors[i + r], norm, error, d, worth)
            limits[r] = whole(level / worth - off_by)
        looked += pairs
        pairs = _collect(scores, peaks, k, limits, done, lane, point)
        _weigh(X, at, P, norms, lane, point, pairs, first, other, which)
        looked += pairs
        for r in range(count):
            if first[r] - other[r] <= close[r]:
                top = np.float32(-np.inf)
                for p in range(k):
                    if scores[p * STRIP + r] > limits[r]:
                        new = _chain(X, np.int64(at[r]) * d, P, p, d, starts[p])
                        if new > top:
                            top, which[r] = new, p
            labels[i + r] = which[r]
            if two:
                high[i + r], second[i + r] = first[r], other[r]
    return m
