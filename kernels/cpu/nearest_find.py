"""The nearest point of each of some rows, by the highest score; of equal ones the first.

Three ways to the same answer: all scores in float32 (`find`), those of sparse rows (`find_csr`), or
a filter in bytes, and distances to the few points that it leaves (`find_bytes`).
"""

import numpy as np

from smalgos._jit import kernel
from smalgos.kernels.cpu.candidates import lowest
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
    improve,
    inner,
    pack,
    product,
    score,
    score_csr,
)
from smalgos.kernels.cpu.tile import PANEL, scratch
from smalgos.kernels.cpu.vector import fma, load, select, splat, store

AGAIN = 8  # points for a row that the filter may leave, if it is to pay


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
def _list(tile, peak, limits, first, points, lane, point, listed):
    """List the pairs of a row and a point whose S exceed the row's limit.

    tile, peak      (TALL, WIDE, 16), (WIDE, 16) int32: S, and its maxima             in
    limits          (WIDE, 16) int32                                                  in
    first, points   int64, number of the tile's first point, and how many it has
    lane, point     int32, the pairs, `listed` of them so far                         in, out
    Returns how many there are now.
    """
    for of in range(0, STRIP, PANEL):
        if above(peak, of, limits, of) == 0:
            continue
        for p in range(points):
            left = above(tile, p * STRIP + of, limits, of)
            while left != 0:
                lane[listed], point[listed] = of + lowest(left), first + p
                left &= left - 1
                listed += 1
    return listed


@kernel(fastmath=False)
def find_bytes(
    X, numbers, P, starts, most, margin, coded, guesses, squares, labels, high, second
):  # fmt: skip
    """By a filter in bytes, from points that are likely to be the nearest; as `find`.

    P              (k, d) float32, the points                                         in
    starts         (>= k,) float32, where their scores start                          in
    most, margin   float64, the largest |p|^2; see `nearest.margin`
    coded          `Coded.of`                                                         in
    guesses        (n,) int32                                                         in
    squares        (n,) float32, |x|^2; (0,) where scores are not wanted: where they
                   are, points somewhat farther than the guess are looked at, too     in
    second         a score that those of all other points are not above               out
    The distance of the guess rules out most points. Where two are closer than scores in float32 can
    tell, those decide. Returns the number of rows done: fewer than m where the filter leaves so
    many points that it does not pay.
    """
    tiles, sums, _, lengths, lefts, mean, shift, span, step = coded
    (_, d), (k, _), m, deep = X.shape, P.shape, len(numbers), len(shift) // GROUP
    words, rows = np.empty((PANEL, deep), np.int32), np.empty(STRIP * deep, np.int32)
    tile, peak = np.empty(TALL * STRIP, np.int32), np.empty(STRIP, np.int32)
    limits, begin = np.full(STRIP, MOST, np.int32), np.empty(len(sums), np.int32)
    lane, point = np.empty(STRIP * k, np.int32), np.empty(STRIP * k, np.int32)
    own, errors, at = np.empty(m), np.empty(m), np.empty(STRIP, np.int64)
    first, other, close = np.empty(STRIP), np.empty(STRIP), np.empty(STRIP)
    which, beyond, looked = np.empty(STRIP, np.int64), np.empty(STRIP), 0
    root, norm, error = np.sqrt(product(mean, 0, mean, 0, d)), lengths.max(), lefts.max()
    a, off, long = usual(X, numbers, shift, span)
    worth = np.float64(step) * np.float64(a)
    inverse, rounding = 1.0 / worth, (d + 16) * 2.0**-23
    begin_at(coded, 0, len(sums), worth, off, long, begin)
    further = 0.0  # as far again as the filter cannot tell: for twice the points, a bound to keep
    if squares.size:
        further = 2.0 * (off * lengths[:k].mean() + long * lefts[:k].mean())
    for i in range(0, m, STRIP):
        count = min(STRIP, m - i)
        if looked > AGAIN * (i + 8 * STRIP):
            return i
        pack_bytes(X, numbers, i, count, shift, a, words, rows, 0, own, errors)
        for r in range(count):
            row = np.int64(numbers[i + r])
            at[r], which[r], square = row * d, guesses[row], own[i + r]
            first[r], other[r] = apart(X, at[r], P, which[r] * d, d), np.inf
            length = np.sqrt(square) + root
            close[r] = 4.0 * margin * (length * length + most)  # of squared distances
            beyond[r] = first[r] + close[r] + further
            level = 0.5 * (square * (1.0 - rounding) - beyond[r])
            doubts = doubt(square, errors[i + r], d, worth, off, long, norm, error)
            limits[r] = whole(level * inverse - doubts)
        for r in range(count, STRIP):
            limits[r] = MOST
        listed = 0
        for t in range(len(tiles)):
            tile_of_bytes(
                tiles, t * deep * TALL, begin, t * TALL, deep, rows, 0, deep * PANEL, tile, 0, peak
            )
            p = t * TALL
            listed = _list(tile, peak, limits, p, min(TALL, k - p), lane, point, listed)
        looked += listed
        for e in range(listed):
            r, p = np.int64(lane[e]), np.int64(point[e])
            new, old = apart(X, at[r], P, p * d, d), first[r]
            new = np.inf if p == guesses[numbers[i + r]] else new
            other[r] = min(other[r], max(old, new))
            first[r] = min(old, new)
            which[r] = p if new < old else which[r]
        for r in range(count):
            row = numbers[i + r]
            if other[r] - first[r] <= close[r]:
                which[r] = guesses[row]
                best = _chain(X, at[r], P, which[r], d, starts[which[r]])
                for e in range(listed):
                    if lane[e] == r:
                        p = np.int64(point[e])
                        new = _chain(X, at[r], P, p, d, starts[p])
                        if new > best or (new == best and p < which[r]):
                            best, which[r] = new, p
            labels[i + r] = which[r]
            if squares.size:
                square = np.float64(squares[row])
                high[i + r] = 0.5 * (square - first[r])
                second[i + r] = 0.5 * (square - min(other[r], beyond[r]))
    return m
