"""Scores of factorization machines, and the derivative of their loss.

With the weights w, the vectors v of k numbers, and the fields f of the features of a row, its
margin is b + sum_i w_i x_i + sum_{i<j} p_ij x_i x_j, over what the row stores, with

==============  ====================  ========================================================
pairwise        <v_i, v_j>            Rendle, ICDM 2010; in O(k) per entry by his equation 3:
                                      half of (sum_i x_i v_i)**2 - sum_i (x_i v_i)**2, summed
field_aware     <v_i,fj, v_j,fi>      Juan et al., RecSys 2016: a vector for each other field
field_weighted  r_fi,fj <v_i, v_j>    Pan et al., WWW 2018: a weight for each pair of fields
==============  ====================  ========================================================

A margin depends on no other row, and its sums run in the order of the row's entries.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from smalgos._jit import kernel
from smalgos.kernels.cpu.losses import logistic, squared
from smalgos.kernels.cpu.tile import PANEL
from smalgos.kernels.cpu.vector import (
    DOUBLES,
    fma,
    load,
    load_part,
    prefetch,
    splat,
    store,
    store_part,
    sum_halves,
    vectors,
    widen,
)

PAIRWISE, FIELD_AWARE, FIELD_WEIGHTED = 0, 1, 2

WIDE = 4 * PANEL  # factors that a loop over a row's entries keeps in registers
SOON = 32  # entries between a prefetch and its use
LOSS, WEIGHTS, CORRECT, TRUE_POSITIVE, FALSE_POSITIVE, FALSE_NEGATIVE = 0, 1, 2, 3, 4, 5
SQUARED_ERROR, ABSOLUTE_ERROR = 2, 3  # in place of counts, for regression
SUMS, SLOPES = 8, 8  # numbers for metrics; behind them, the sum of the derivatives


class Net(NamedTuple):
    """The parameters of a machine, in memory as it may be.

    vectors        float32, flat: that of feature i at ``i * stride``
    stride         int
    factors        int, numbers of a vector (k)
    linear         float32, flat: weight of feature i at ``i * linear_stride + linear_at``
    linear_stride, linear_at   int
    interaction    int: PAIRWISE, FIELD_AWARE or FIELD_WEIGHTED
    fields         (d,) int32, field of each feature; (1,) if pairwise
    n_fields       int
    pairs          (n_fields**2,) float32, weights of pairs of fields; (1,) if there are none
    """

    vectors: NDArray[np.float32]
    stride: int
    factors: int
    linear: NDArray[np.float32]
    linear_stride: int
    linear_at: int
    interaction: int
    fields: NDArray[np.int32]
    n_fields: int
    pairs: NDArray[np.float32]


class Entries(NamedTuple):
    """Rows: row i has entries ``bounds[i]`` to ``bounds[i + 1]``.

    keys     int32, feature of each entry; or (d,), 0 to d - 1: all rows have all features
    values   float32
    bounds   int64
    dense    bool, whether keys are the same for all rows
    """

    keys: NDArray[np.int32]
    values: NDArray[np.float32]
    bounds: NDArray[np.int64]
    dense: bool


@kernel(fastmath=False, inline="always")
def _term(net, entries, j, shift, used):
    """Of an entry: its value, where its vector is, and its linear term; those soon are fetched."""
    keys, last = entries.keys, len(entries.keys) - 1  # rows behind these come next, as a rule
    soon = np.int64(keys[np.uint64(min(j - shift + SOON, last))])
    for c in range(0, used, PANEL):
        prefetch(net.vectors, soon * net.stride + c)
    prefetch(net.linear, soon * net.linear_stride + net.linear_at)
    key, x = np.int64(np.uint32(keys[np.uint64(j - shift)])), entries.values[np.uint64(j)]
    line = x * net.linear[key * net.linear_stride + net.linear_at]
    return x, key * net.stride, line


@kernel(fastmath=False, inline="always")
def _pairwise(net, entries, start, stop, shift, sums, sums_at):
    """Linear terms and half of the square of the sum less the sum of squares; the sums are kept.

    Vectors of one row are read as far as they are long: behind them may be others.
    """
    vectors, factors, total, line, c = net.vectors, net.factors, splat(0.0), np.float32(0.0), 0
    while c + WIDE <= factors:
        line = np.float32(0.0)
        s0, s1, s2, s3 = splat(0.0), splat(0.0), splat(0.0), splat(0.0)
        q0, q1, q2, q3 = splat(0.0), splat(0.0), splat(0.0), splat(0.0)
        for j in range(start, stop):
            value, at, term = _term(net, entries, j, shift, factors)
            at, x, line = at + c, splat(value), line + term
            t0, t1 = x * load(vectors, at), x * load(vectors, at + PANEL)
            t2, t3 = x * load(vectors, at + 2 * PANEL), x * load(vectors, at + 3 * PANEL)
            s0, s1, s2, s3 = s0 + t0, s1 + t1, s2 + t2, s3 + t3
            q0, q1, q2, q3 = fma(t0, t0, q0), fma(t1, t1, q1), fma(t2, t2, q2), fma(t3, t3, q3)
        total = total + (fma(s0, s0, -q0) + fma(s1, s1, -q1))
        total = total + (fma(s2, s2, -q2) + fma(s3, s3, -q3))
        if sums_at >= 0:
            store(sums, sums_at + c, s0)
            store(sums, sums_at + c + PANEL, s1)
            store(sums, sums_at + c + 2 * PANEL, s2)
            store(sums, sums_at + c + 3 * PANEL, s3)
        c += WIDE
    while c < factors:
        line = np.float32(0.0)
        s, q = splat(0.0), splat(0.0)
        for j in range(start, stop):
            value, at, term = _term(net, entries, j, shift, factors)
            line += term
            t = splat(value) * load_part(vectors, at + c, factors - c)
            s, q = s + t, fma(t, t, q)
        total = total + fma(s, s, -q)
        if sums_at >= 0:
            store(sums, sums_at + c, s)
        c += PANEL
    return line + np.float32(0.5) * sum_halves(total)


@kernel(fastmath=False, inline="always")
def pair_of(net, i, j):
    """Of features i and j: where their vectors are, and the weight of their product."""
    if net.interaction == FIELD_AWARE:
        k = net.factors
        at_i = i * net.stride + np.int64(net.fields[j]) * k
        return at_i, j * net.stride + np.int64(net.fields[i]) * k, np.float32(1.0)
    weight = net.pairs[np.int64(net.fields[i]) * net.n_fields + np.int64(net.fields[j])]
    return i * net.stride, j * net.stride, weight


@kernel(fastmath=False, inline="always")
def _by_fields(net, entries, start, stop, shift):
    """The sum over pairs of entries, one after another."""
    total = splat(0.0)
    for a in range(start, stop):
        i = np.int64(entries.keys[a - shift])
        for b in range(a + 1, stop):
            j = np.int64(entries.keys[b - shift])
            at_i, at_j, weight = pair_of(net, i, j)
            x = splat(weight * entries.values[a] * entries.values[b])
            for c in range(0, net.factors, PANEL):
                v = load_part(net.vectors, at_i + c, net.factors - c)
                total = fma(x * v, load_part(net.vectors, at_j + c, net.factors - c), total)
    return sum_halves(total)


@kernel(fastmath=False)
def score(net, entries, lo, hi, margins, first, sums, room):
    """Margins of rows, without the bias.

    net       Net
    entries   Entries
    lo, hi    int64, rows
    margins   float32: row lo at `first`, and so on                              out
    sums      (rows * room,) float32, of pairwise: sum_i x_i v_i of row i from
              ``i * room`` on; with a room of 0 it is left alone                 out
    """
    used = net.factors * (net.n_fields if net.interaction == FIELD_AWARE else 1)
    for i in range(lo, hi):
        start, stop = entries.bounds[i], entries.bounds[i + 1]
        shift = start if entries.dense else np.int64(0)
        if net.interaction == PAIRWISE:
            at = i * room if room else np.int64(-1)
            margins[first + i - lo] = _pairwise(net, entries, start, stop, shift, sums, at)
        else:
            line = np.float32(0.0)
            for j in range(start, stop):
                line += _term(net, entries, j, shift, used)[2]
            margins[first + i - lo] = line + _by_fields(net, entries, start, stop, shift)


@vectors(DOUBLES, DOUBLES, DOUBLES, DOUBLES)
def _counted(v, f, y, w):
    """Weights of what is right, true positives, false positives, false negatives."""
    zero, one = v.number(0.0), v.number(1.0)
    guess = v.select(f < zero, zero, one)
    hit, alarm, miss = w * guess * y, w * guess * (one - y), w * (one - guess) * y
    right = w * (one - guess) * (one - y) + hit
    return v.widen(right), v.widen(hit), v.widen(alarm), v.widen(miss)


@vectors(DOUBLES, DOUBLES, DOUBLES, DOUBLES)
def _strayed(v, f, y, w):
    """Weighted squared and absolute errors."""
    error, weight, zero = v.widen(y) - v.widen(f), v.widen(w), v.widen(v.number(0.0))
    return weight * error * error, weight * v.magnitude(error), zero, zero


@kernel(fastmath=False, no_cpython_wrapper=True)
def derive(is_logistic, margins, bias, labels, weights, at, count, slopes, sums):
    """The derivative of the loss by the margin, and what metrics need.

    is_logistic   bool; else the squared loss
    margins       (>= count, in sixteens) float32, without the bias       in; scratch behind
    bias          float32
    labels, weights   float32, from element `at` on                       in
    slopes        float32, from element `at` on                           out
    sums          (9,) float64; see LOSS and so on                        out
    """
    for i in range(count, -(-count // PANEL) * PANEL):
        margins[i] = 0  # a lane without a weight must not hold NaN either
    one, zero = splat(1.0), widen(splat(0.0))
    loss, known, right, hits, alarms, misses, slope = zero, zero, zero, zero, zero, zero, zero
    for i in range(0, count, PANEL):
        f = load(margins, i) + splat(bias)
        y, w = load_part(labels, at + i, count - i), load_part(weights, at + i, count - i)
        if is_logistic:
            value, s = logistic(f, y, w, one)
            a, b, c, d = _counted(f, y, w)
        else:
            value, s = squared(f, y, w)
            a, b, c, d = _strayed(f, y, w)
        store_part(slopes, at + i, count - i, s)
        loss, known, slope = loss + value, known + widen(w), slope + widen(s)
        right, hits, alarms, misses = right + a, hits + b, alarms + c, misses + d
    sums[LOSS], sums[WEIGHTS] = sum_halves(loss), sum_halves(known)
    sums[CORRECT], sums[TRUE_POSITIVE] = sum_halves(right), sum_halves(hits)
    sums[FALSE_POSITIVE], sums[FALSE_NEGATIVE] = sum_halves(alarms), sum_halves(misses)
    sums[SLOPES] = sum_halves(slope)
