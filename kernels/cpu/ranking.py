"""Rows sorted within groups, and the gradients of LambdaMART.

LambdaMART (Burges, 2010) as XGBoost 3 computes it. Of a pair of rows of one group with different
labels, the one of higher label with margin a, the other with b:

    s = sigmoid(a - b)
    gradient of the higher row  (s - 1) * delta, of the lower one the negative
    hessian of both             2 * max(s * (1 - s), 1e-16) * delta

delta is what the metric changes by if the two swapped places in the order by margin: NDCG of the
whole group, the ideal cut at `truncation`; average precision; or 1 for pairs. It is divided by
0.01 + abs(a - b) where `by_difference` is set and the margins of the group differ.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from smalgos._jit import kernel
from smalgos.kernels.cpu.losses import exp_negative
from smalgos.kernels.cpu.shared import CHUNK, readable, run, uniforms
from smalgos.kernels.cpu.vector import (
    FLOATS,
    LANES,
    lanes_below,
    load_part,
    magnitude,
    select,
    splat,
    store_part,
    sum_lanes,
    vectors,
    widen,
)

__all__ = [
    "MAP",
    "NDCG",
    "PAIRWISE",
    "Pairs",
    "Queries",
    "concordance",
    "lambda_gradients",
    "queries",
    "ranked",
]

PAIRWISE, NDCG, MAP = 0, 1, 2
RUN = 8  # rows that insertion sorts faster than merging


class Queries(NamedTuple):
    """What does not change while margins do: groups, and rows by label within them."""

    starts: NDArray[np.int64]  # (q + 1,) first rows of the groups
    gain: NDArray[np.float64]  # (n,) of each row: 2**y - 1 or y
    by_label: NDArray[np.int64]  # (n,) rows of each group, highest label first
    tasks: NDArray[np.int64]  # (t + 1,) first groups of tasks of about CHUNK rows


class Pairs(NamedTuple):
    """How pairs are made, and how they count."""

    kind: int = NDCG
    mean: bool = False  # each row with some drawn by chance; else the best rows with all below
    number: int = 32  # so many rows drawn, or so many of the best
    by_difference: bool = True
    normalize: bool = True


@kernel(fastmath=False)
def _sort(score, order, spare, first, last):
    """Write rows [first, last) to the same places of order: highest score first, ties as they were.

    score         (n,) float32          in
    order, spare  (n,) int64            out; merge sort over runs sorted by insertion
    """
    for a in range(first, last, RUN):
        for i in range(a, min(a + RUN, last)):
            j = i
            while j > a and score[order[j - 1]] < score[i]:
                order[j] = order[j - 1]
                j -= 1
            order[j] = i
    width = RUN
    while width < last - first:
        for a in range(first, last, 2 * width):
            middle, end = min(a + width, last), min(a + 2 * width, last)
            i, j = a, middle
            for at in range(a, end):
                if i < middle and (j >= end or not score[order[i]] < score[order[j]]):
                    spare[at] = order[i]
                    i += 1
                else:
                    spare[at] = order[j]
                    j += 1
        for at in range(first, last):
            order[at] = spare[at]
        width *= 2


@kernel(fastmath=False)
def _ranked(score, starts, first, last, order, spare):
    """`_sort` in each of the groups [first, last)."""
    for q in range(first, last):
        _sort(score, order, spare, starts[q], starts[q + 1])


# Each takes sixteen pairs of rows, or numbers that stand for sixteen equal ones: the upper row u
# and the lower row l in the order by margin, with two columns each that depend on the metric.


@vectors(FLOATS)
def _ndcg(v, gain_u, discount_u, gain_l, discount_l, ideal):
    return v.magnitude((gain_u - gain_l) * (discount_u - discount_l)) * ideal


@vectors(FLOATS)
def _map(v, as_upper, as_lower, share):
    return v.magnitude(as_upper - as_lower) * share


@vectors(FLOATS, FLOATS)
def _lambda(v, score_u, score_l, label_u, label_l, delta, by_difference):
    """Gradient of the upper row, and hessian of both; 0 where labels are equal."""
    zero, one = v.number(0.0), v.number(1.0)
    far = v.magnitude(score_u - score_l)
    delta = v.select(by_difference > zero, delta / (v.number(0.01) + far), delta)
    delta = v.select(label_u == label_l, zero, delta)
    z = exp_negative(v, -far)
    large = one / (one + z)
    small = z * large
    # 1 - s is small where the row of higher label is the upper one.
    slope = v.select(label_u > label_l, -small, large) * delta
    curve = small * large
    least = v.number(1e-16)
    curve = v.select(curve < least, least, curve)
    return slope, (curve + curve) * delta


@kernel(inline="always", fastmath=False)
def _change(kind, a_u, b_u, a_l, b_l, ideal):
    """What the metric changes by if rows u and l swapped places."""
    if kind == NDCG:
        return _ndcg(a_u, b_u, a_l, b_l, ideal)
    if kind == MAP:
        return _map(a_u, b_l, ideal)
    return splat(1.0)


@kernel(fastmath=False)
def _describe(pairs, margin, labels, gain, rows, by_label, discount, columns):
    """Fill the columns of a group by place: score, label, and two of the metric.

    Those of NDCG are gain and discount. For average precision, with relevance r, P(i) the share
    of relevant rows up to place i and C(i) the sum of r(j) / j over the places up to i, a swap of
    places i < j changes the sum of precisions by

        P(i) - C(i) + (1 - r(i)) / i - (P(j) - C(j - 1))

    whichever of the two is relevant: a term of the upper place less one of the lower. Returns
    what changes are multiplied by.
    """
    m, hits, reached = len(rows), 0.0, 0.0
    for i in range(m):
        row = rows[i]
        columns[0, i] = margin[row]
        columns[1, i] = labels[row]
        if pairs.kind == NDCG:
            columns[2, i] = gain[row]
            columns[3, i] = discount[i]
        elif pairs.kind == MAP:
            relevant = gain[row]
            hits += relevant
            share = hits / (i + 1)
            columns[3, i] = share - reached
            reached += relevant / (i + 1)
            columns[2, i] = share - reached + (1.0 - relevant) / (i + 1)
    if pairs.kind == MAP:
        return 1.0 / max(hits, 1.0)
    ideal = 0.0
    for i in range(m if pairs.mean else min(m, pairs.number)):
        ideal += gain[by_label[i]] * discount[i]
    return 1.0 / ideal if ideal > 0.0 else 0.0


@kernel(fastmath=False)
def _best(pairs, m, ideal, by_difference, columns, sums):
    """Add the gradients of the best rows of a group with all below; return their total size.

    columns   (4, >= m) float32                                in
    sums      (2, >= m) float64, gradient, hessian by place    in, out
    """
    wide, high = columns.shape[1], sums.shape[1]
    size = 0.0
    for i in range(min(m, pairs.number)):
        slopes, curves, sizes = widen(splat(0.0)), widen(splat(0.0)), widen(splat(0.0))
        score, label, a, b = columns[0, i], columns[1, i], columns[2, i], columns[3, i]
        for j in range(i + 1, m, LANES):
            count = m - j
            delta = _change(
                pairs.kind, a, b, load_part(columns, 2 * wide + j, count),
                load_part(columns, 3 * wide + j, count), ideal,
            )  # fmt: skip
            slope, curve = _lambda(
                score, load_part(columns, j, count), label,
                load_part(columns, wide + j, count), delta, by_difference,
            )  # fmt: skip
            live, none = lanes_below(count), splat(0.0)
            slope, curve = select(live, slope, none), select(live, curve, none)
            slopes, curves = slopes + widen(slope), curves + widen(curve)
            sizes = sizes + widen(magnitude(slope))
            store_part(sums, j, count, load_part(sums, j, count) - widen(slope))
            store_part(sums, high + j, count, load_part(sums, high + j, count) + widen(curve))
        sums[0, i] = sum_lanes(sums[0, i], slopes)
        sums[1, i] = sum_lanes(sums[1, i], curves)
        size = sum_lanes(size, sizes)
    return 2.0 * size


@kernel(fastmath=False)
def _drawn(pairs, ideal, by_difference, labels, by_label, place, first, drawn, columns, sums, one):
    """Add the gradients of each row of a group with some of other labels, drawn by chance.

    by_label   (m,) int64, rows of the group              in
    place      (m,) int64, by row: its place by margin    in
    first      int64, first row of the group
    drawn      (m, number) float64 in [0, 1)              in
    one        (2,) float32, scratch                      out
    """
    m, a = len(by_label), 0
    while a < m:  # rows of one label, from a to b
        b = a + 1
        while b < m and labels[by_label[b]] == labels[by_label[a]]:
            b += 1
        others = m - (b - a)
        for r in range(a, b if others else a):
            row = by_label[r] - first
            for t in range(pairs.number):
                other = min(int(drawn[row, t] * others), others - 1)
                other += b - a if other >= a else 0
                u, low = place[row], place[by_label[other] - first]
                if u > low:
                    u, low = low, u
                delta = _change(
                    pairs.kind, columns[2, u], columns[3, u], columns[2, low], columns[3, low],
                    ideal,
                )  # fmt: skip
                slope, curve = _lambda(
                    columns[0, u], columns[0, low], columns[1, u], columns[1, low], delta,
                    by_difference,
                )  # fmt: skip
                store_part(one, 0, 1, slope)
                store_part(one, 1, 1, curve)
                sums[0, u] += one[0]
                sums[0, low] -= one[0]
                sums[1, u] += one[1]
                sums[1, low] += one[1]
        a = b


@kernel(fastmath=False)
def _lambdas(
    pairs, margin, labels, weights, scale, queries, first, last, drawn, discount, order, columns,
    sums, g, h,
):  # fmt: skip
    """The gradients of the groups [first, last).

    pairs            Pairs
    margin, labels   (n,) float32                                                   in
    weights          (n,) float32, the first one of a group counts; empty: all 1    in
    scale            float64, all weights are multiplied by it
    queries          Queries                                                        in
    drawn            (rows of the groups, number) float64, or empty                 in
    discount         (>= largest group,) float64                                    in
    order            (2, n) int64, scratch                                          out
    columns          (4, >= largest group) float32, scratch                         out
    sums             (2, >= largest group) float64, scratch                         out
    g, h             (n,) float32                                                   out
    Twin: tests/reference/objectives.py.
    """
    base, one = queries.starts[first], np.empty(2, np.float32)
    for q in range(first, last):
        a, b = queries.starts[q], queries.starts[q + 1]
        _sort(margin, order[0], order[1], a, b)
        rows, place, by_label = order[0, a:b], order[1, a:b], queries.by_label[a:b]
        for i in range(b - a):
            place[rows[i] - a] = i
            sums[0, i] = 0.0
            sums[1, i] = 0.0
        ideal = _describe(pairs, margin, labels, queries.gain, rows, by_label, discount, columns)
        differ = pairs.by_difference and margin[rows[0]] != margin[rows[-1]]
        by_difference = 1.0 if differ else 0.0
        by = scale * weights[a] if len(weights) else 1.0
        if pairs.mean:
            _drawn(
                pairs, ideal, by_difference, labels, by_label, place, a, drawn[a - base :],
                columns, sums, one,
            )  # fmt: skip
            if pairs.normalize:
                by /= pairs.number
        else:
            size = _best(pairs, b - a, ideal, by_difference, columns, sums)
            if pairs.normalize and size > 0.0:
                by *= np.log2(1.0 + size) / size
        for i in range(b - a):
            g[rows[i]] = sums[0, i] * by
            h[rows[i]] = sums[1, i] * by


@kernel(fastmath=False)
def _concordance(score, labels, queries, first, last, order, spare, grade, counts, out):
    """For each of the groups [first, last), how many of its pairs are in the right order.

    A pair of different labels counts 1 where the higher label has the higher score, 1/2 where the
    scores are equal. Rows are taken from the lowest score on; a tree of sums (Fenwick, 1994) over
    the grades of labels tells how many so far have lower ones.

    score, labels    (n,) float32                                in
    order, spare     (n,) int64, scratch                         out
    grade, counts    (>= largest group + 1,) int64, scratch      out
    out              (2, q) float64, the count, and all pairs    out
    """
    for q in range(first, last):
        a, b = queries.starts[q], queries.starts[q + 1]
        _sort(score, order, spare, a, b)
        by_label = queries.by_label[a:b]
        # Grades from 1 on, the lowest label first; pairs of rows with lower ones.
        level, pairs, below = 1, 0, 0
        for i in range(b - a):
            row = by_label[b - a - 1 - i]
            if i and labels[row] != labels[by_label[b - a - i]]:
                level += 1
                below = i
            grade[row - a] = level
            pairs += below
            counts[i + 1] = 0
        right, stop = 0.0, b
        while stop > a:  # rows of one score, from start to stop
            start = stop - 1
            while start > a and score[order[start - 1]] == score[order[start]]:
                start -= 1
            # All below, counted before and after the ties are there: the mean of the two.
            for after in range(2):
                for i in range(start, stop):
                    at = grade[order[i] - a] - 1
                    while at > 0:
                        right += 0.5 * counts[at]
                        at -= at & -at
                for i in range(start, stop if after == 0 else start):
                    at = grade[order[i] - a]
                    while at <= level:
                        counts[at] += 1
                        at += at & -at
            stop = start
        out[0, q] = right
        out[1, q] = pairs


def concordance(score: NDArray[Any], labels: NDArray[Any], given: Queries) -> NDArray[np.float64]:
    """Of the pairs of rows of a group with different labels, how many are in the right order.

    Parameters
    ----------
    score, labels : ndarray, shape (n,)
        Taken as float32.
    given : Queries

    Returns
    -------
    ndarray of float64, shape (2, q)
        For each group the pairs in order, equal scores counting 1/2, and all pairs.
    """
    score, labels = readable(score, np.float32), readable(labels, np.float32)
    order, spare = np.empty((2, len(score)), np.int64)
    largest = int(np.diff(given.starts).max(initial=0))
    out = np.zeros((2, len(given.starts) - 1))

    def work(t: int) -> None:
        grade, counts = np.empty((2, largest + 1), np.int64)
        first, last = given.tasks[t], given.tasks[t + 1]
        _concordance(score, labels, given, first, last, order, spare, grade, counts, out)

    run(work, range(len(given.tasks) - 1))
    return out


def ranked(
    score: NDArray[Any], starts: NDArray[np.int64], tasks: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Rows of each group in the order of scores, highest first, ties in the order of rows.

    Parameters
    ----------
    score : ndarray, shape (n,)
        Taken as float32.
    starts : ndarray of int64, shape (q + 1,)
        First rows of the groups.
    tasks : ndarray of int64, shape (t + 1,)
        First groups of the tasks.

    Returns
    -------
    ndarray of int64, shape (n,)
    """
    score = readable(score, np.float32)
    order, spare = np.empty((2, len(score)), np.int64)

    def work(t: int) -> None:
        _ranked(score, starts, tasks[t], tasks[t + 1], order, spare)

    run(work, range(len(tasks) - 1))
    return order


def queries(labels: NDArray[Any], groups: NDArray[Any] | None, gain: NDArray[Any]) -> Queries:
    """What `lambda_gradients` needs to know of labels and groups.

    Parameters
    ----------
    labels : ndarray, shape (n,)
    groups : ndarray, shape (n,), optional
        Equal neighbours are a group; all rows are one if not given.
    gain : ndarray, shape (n,)

    Returns
    -------
    Queries
    """
    n = len(labels)
    inner = [] if groups is None else np.flatnonzero(groups[1:] != groups[:-1]) + 1
    starts = np.concatenate([[0], inner, [n]]).astype(np.int64)
    wanted = np.arange(0, n + CHUNK, CHUNK)
    tasks = np.unique(np.minimum(np.searchsorted(starts, wanted), len(starts) - 1))
    by_label = ranked(labels, starts, tasks)
    return Queries(starts, np.ascontiguousarray(gain, np.float64), by_label, tasks)


def lambda_gradients(
    pairs: Pairs,
    margin: NDArray[np.float32],
    labels: NDArray[np.float32],
    weights: NDArray[np.float32] | None,
    given: Queries,
    g: NDArray[np.float32],
    h: NDArray[np.float32],
    seed: int = 0,
    iteration: int = 0,
) -> None:
    """Gradients and hessians of LambdaMART.

    The weight of a group is that of its first row; their mean counts as 1.

    Parameters
    ----------
    pairs : Pairs
    margin, labels : ndarray of float32, shape (n,)
    weights : ndarray of float32, shape (n,), optional
    given : Queries
    g, h : ndarray of float32, shape (n,)
        Written to.
    seed, iteration : int
        Key of the random numbers, of which each row has its own.
    """
    margin, labels = readable(margin, np.float32), readable(labels, np.float32)
    weights = np.empty(0, np.float32) if weights is None else readable(weights, np.float32)
    n, starts = len(labels), given.starts
    if len(weights) not in (0, n) or {len(margin), len(g), len(h), starts[-1]} != {n}:
        raise ValueError(f"{n} labels do not fit the other arrays")
    largest = int(np.diff(starts).max(initial=1))
    discount = 1.0 / np.log2(np.arange(largest) + 2.0)
    scale = 1.0
    if len(weights) and n:
        heads = weights[starts[:-1]].astype(np.float64)
        scale = len(heads) / heads.sum() if heads.sum() > 0 else 0.0
    order = np.empty((2, n), np.int64)

    def work(t: int) -> None:
        first, last = given.tasks[t], given.tasks[t + 1]
        a, b = starts[first], starts[last]
        drawn = np.empty((b - a, 0))
        if pairs.mean:
            drawn = uniforms(seed, "lambdarank pairs", iteration, int(a), b - a, pairs.number)
        _lambdas(
            pairs, margin, labels, weights, scale, given, first, last, drawn, discount, order,
            np.empty((4, largest), np.float32), np.empty((2, largest)), g, h,
        )  # fmt: skip

    run(work, range(len(given.tasks) - 1))
