"""Losses of raw scores: value, gradient with respect to the score, and response.

A `Loss` names one of nine by its code, with its constants. Scores of several models lie side by
side: in panels (see `tile`) while models are trained, as rows of a matrix elsewhere. Column
``m * classes + c`` is class c of model m; all losses but softmax have one class.

With the score f, the label y and e = y - f:

================  ==================================================================
squared           e**2
absolute          abs(e)
eps_squared       max(0, e**2 - insensitivity**2)
eps_absolute      max(0, abs(e) - insensitivity)
quantile          quantile * max(0, e) + (1 - quantile) * max(0, -e)
huber             e**2 / 2 if abs(e) < delta else delta * abs(e) - delta**2 / 2
logistic          p * log(1 + exp(-f)) for label 1, log(1 + exp(f)) for label 0
hinge             p * max(0, (margin + 1) / 2 - f) for label 1, max(0, (margin - 1) / 2 + f) for 0
softmax           -p * log(exp(f_y) / sum_c exp(f_c)), p that of class y
================  ==================================================================

p, an entry of `positive` for each column, weights a class within a model. At a kink the gradient
is that of the flat side, 0 for absolute and quantile loss.

Every step is one IEEE operation (`vector`): the same bits on every processor.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from smalgos._jit import kernel
from smalgos.kernels.cpu.tile import PANEL, from_panels, panels, to_panels
from smalgos.kernels.cpu.vector import (
    DOUBLES,
    FLOATS,
    lanes_below,
    load,
    load_part,
    select,
    splat,
    store,
    store_part,
    sum_lanes,
    transpose,
    vectors,
    widen,
)

__all__ = [
    "ABSOLUTE",
    "EPS_ABSOLUTE",
    "EPS_SQUARED",
    "HINGE",
    "HUBER",
    "LOGISTIC",
    "QUANTILE",
    "SOFTMAX",
    "SQUARED",
    "Loss",
    "gradient_panels",
    "gradient_scores",
    "link",
    "loss_value_gradient",
]

LOGISTIC, HINGE, SOFTMAX = 0, 1, 2
SQUARED, ABSOLUTE, EPS_SQUARED, EPS_ABSOLUTE, QUANTILE, HUBER = 3, 4, 5, 6, 7, 8


class Loss(NamedTuple):
    """A loss by its code, and the constants of those that have one."""

    code: int
    insensitivity: float = 0.01
    quantile: float = 0.5
    delta: float = 1.0
    margin: float = 1.0


LOG2_E = 1.4426950408889634
LN_2 = 0.6931471805599453
LN_2_HIGH, LN_2_LOW = 0.693359375, LN_2 - 0.693359375  # high part: 9 bits, exact when multiplied
# Minimax polynomials: (exp(r) - 1 - r) / r**2 on abs(r) <= ln(2) / 2, and
# (log(1 + z) - z) / z**2 on [0, 1], each by the error it leaves relative to the function.
EXP = (
    0.4999999403953552, 0.1666652113199234, 0.04166838899254799, 0.0083687175065279,
    0.0013814596459269524,
)  # fmt: skip
LOG_1P = (
    -0.49999648332595825, 0.333213210105896, -0.24857157468795776, 0.1915363371372223,
    -0.13753755390644073, 0.07920398563146591, -0.030065450817346573, 0.005364738870412111,
)  # fmt: skip
ROUND = 12582912.0  # 1.5 * 2**23: added to a small float32, the last bit is worth 1
SMALLEST = -87.0  # below, exp is less than the normal numbers of float32: taken as 0


def exp_negative(v, x):
    """exp(x) for x <= 0, within 1 ulp; 0 below -87.

    2**n exp(r) with x = n ln 2 + r, abs(r) <= ln(2) / 2.
    """
    low = v.number(SMALLEST)
    inside = v.select(x < low, low, x)
    shifted = v.fma(inside, v.number(LOG2_E), v.number(ROUND))
    n = shifted - v.number(ROUND)
    r = v.fma(n, v.number(-LN_2_HIGH), inside)
    r = v.fma(n, v.number(-LN_2_LOW), r)
    p = v.fma(r * r, polynomial(v, EXP, r), r) + v.number(1.0)
    return v.select(x < low, v.number(0.0), v.add_exponent(p, shifted))


def log1p_unit(v, z):
    """log(1 + z) for 0 <= z <= 1, within 2 ulp."""
    return v.fma(z * z, polynomial(v, LOG_1P, z), z)


def log_above_one(v, s):
    """log(s) for s >= 1, within 2 ulp."""
    rest = log1p_unit(v, v.mantissa(s) - v.number(1.0))
    return v.fma(v.exponent(s), v.number(LN_2), rest)


def polynomial(v, coefficients, x):
    """c[0] + c[1] x + c[2] x**2 + ... by Horner's rule."""
    out = v.number(coefficients[-1])
    for c in coefficients[-2::-1]:
        out = v.fma(out, x, v.number(c))
    return out


@vectors(FLOATS)
def sigmoid(v, f):
    """1 / (1 + exp(-f))."""
    one = v.number(1.0)
    z = exp_negative(v, -v.magnitude(f))
    large = one / (one + z)
    return v.select(f > v.number(0.0), large, z * large)


# Each of these gives sixteen values (float64) and gradients (float32), times the weight w, of
# scores f with labels y; p is the weight of label 1.


@vectors(DOUBLES, FLOATS)
def logistic(v, f, y, w, p):
    """With g = -f for label 1, else f: both labels have the loss log(1 + exp(g))."""
    zero, one = v.number(0.0), v.number(1.0)
    no = one - y
    sign, share = no - y, v.fma(y, p, no) * w
    g = f * sign
    z = exp_negative(v, -v.magnitude(f))
    large = one / (one + z)
    value = v.select(g > zero, g, zero) + log1p_unit(v, z)
    slope = v.select(g > zero, large, z * large)
    return v.widen(value * share), slope * (sign * share)


@vectors(DOUBLES, FLOATS)
def _hinge(v, f, y, w, p, margin):
    """With g = 1/2 - f for label 1, else f - 1/2: both have the loss max(0, margin / 2 + g)."""
    zero, half = v.number(0.0), v.number(0.5)
    no = v.number(1.0) - y
    sign, share = no - y, v.fma(y, p, no) * w
    short = half * margin + (f - half) * sign
    value = v.select(short > zero, short, zero)
    return v.widen(value * share), v.select(short > zero, sign * share, zero)


@vectors(DOUBLES, FLOATS)
def squared(v, f, y, w):
    """Squares are taken in float64: those of float32 could overflow."""
    e = y - f
    return v.widen(e) * v.widen(e) * v.widen(w), v.number(-2.0) * e * w


@vectors(DOUBLES, FLOATS)
def _eps_squared(v, f, y, w, insensitivity):
    e, zero = y - f, v.number(0.0)
    value = v.widen(e) * v.widen(e) - v.widen(insensitivity) * v.widen(insensitivity)
    outside = v.magnitude(e) > insensitivity
    value = v.select(outside, value, v.widen(zero))
    return value * v.widen(w), v.select(outside, v.number(-2.0) * e, zero) * w


@vectors(DOUBLES, FLOATS)
def _eps_absolute(v, f, y, w, insensitivity):
    """With an insensitivity of 0, the absolute loss."""
    zero = v.number(0.0)
    over = v.magnitude(y - f) - insensitivity
    value = v.select(over > zero, over, zero)
    gradient = v.select(over > zero, v.select(y > f, -w, w), zero)
    return v.widen(value) * v.widen(w), gradient


@vectors(DOUBLES, FLOATS)
def _quantile(v, f, y, w, quantile):
    e, zero, one = y - f, v.number(0.0), v.number(1.0)
    slope = v.select(e > zero, quantile, quantile - one)
    gradient = v.select(e == zero, zero, -slope)
    return v.widen(slope * e) * v.widen(w), gradient * w


@vectors(DOUBLES, FLOATS)
def _huber(v, f, y, w, delta):
    e, half = y - f, v.number(0.5)
    size = v.magnitude(e)
    square = v.widen(e) * v.widen(e) * v.widen(half)
    line = v.widen(delta) * (v.widen(size) - v.widen(half * delta))
    near = size < delta
    gradient = v.select(near, -e, v.select(e > v.number(0.0), -delta, delta))
    return v.select(near, square, line) * v.widen(w), gradient * w


@kernel(inline="always")
def _value_gradient(loss, f, y, w, p):
    """Sixteen weighted values and gradients, for all losses but softmax."""
    if loss.code == LOGISTIC:
        return logistic(f, y, w, p)
    if loss.code == HINGE:
        return _hinge(f, y, w, p, loss.margin)
    if loss.code == SQUARED:
        return squared(f, y, w)
    if loss.code == EPS_SQUARED:
        return _eps_squared(f, y, w, loss.insensitivity)
    if loss.code == EPS_ABSOLUTE:
        return _eps_absolute(f, y, w, loss.insensitivity)
    if loss.code == QUANTILE:
        return _quantile(f, y, w, loss.quantile)
    if loss.code == HUBER:
        return _huber(f, y, w, loss.delta)
    return _eps_absolute(f, y, w, 0.0)


@vectors(FLOATS)
def _larger(v, a, b):
    return v.select(b > a, b, a)


@vectors(FLOATS)
def _power(v, f, top):
    """exp(f - top), top the largest."""
    return exp_negative(v, f - top)


@vectors(DOUBLES)
def _softmax_value(v, norm, top, target, share, live):
    """share * (log(sum_c exp(f_c)) - f_y), 0 in lanes that are not live."""
    value = v.widen(log_above_one(v, norm)) + (v.widen(top) - v.widen(target))
    zero = v.widen(v.number(0.0))
    return v.select(live, value * v.widen(share), zero)


@vectors(FLOATS)
def _softmax_slope(v, power, inverse, hit, share):
    """(exp(f_c) / sum - 1 if c is the label, else 0) * share."""
    return (power * inverse - v.select(hit, v.number(1.0), v.number(0.0))) * share


@vectors(FLOATS)
def _inverse(v, x):
    return v.number(1.0) / x


@kernel(inline="always")
def _softmax(y, weight, positive, classes, models, raw, rows, work, sums):
    """Softmax of all models, sixteen rows at a time, turned so that a vector is a class."""
    n_panels, capacity = raw.shape[0], raw.shape[1]
    zero = splat(0.0)
    for first in range(0, rows, PANEL):
        count = rows - first
        label, row_weight = load_part(y, first, count), load_part(weight, first, count)
        for p in range(n_panels):
            transpose(raw, (p * capacity + first) * PANEL, work, p * PANEL * PANEL)
        for column in range(0, models * classes, classes):
            top = load(work, column * PANEL)
            for c in range(1, classes):
                top = _larger(top, load(work, (column + c) * PANEL))
            norm, target, share = zero, zero, zero
            for c in range(classes):
                at = column + c
                hit, f = label == splat(c), load(work, at * PANEL)
                target = select(hit, f, target)
                share = select(hit, splat(positive[at // PANEL, at % PANEL]), share)
                power = _power(f, top)
                norm = norm + power
                store(work, at * PANEL, power)
            share = share * row_weight
            value = _softmax_value(norm, top, target, share, lanes_below(count))
            at = column // PANEL, column % PANEL
            sums[at] = sum_lanes(sums[at], value)
            inverse = _inverse(norm)
            for c in range(classes):
                at = (column + c) * PANEL
                slope = _softmax_slope(load(work, at), inverse, label == splat(c), share)
                store(work, at, slope)
        for column in range(models * classes, n_panels * PANEL):
            store(work, column * PANEL, zero)
        for p in range(n_panels):
            transpose(work, p * PANEL * PANEL, raw, (p * capacity + first) * PANEL)


@kernel(fastmath=False)
def gradient_panels(loss, y, weight, positive, classes, models, raw, rows, work, sums, slope):
    """Turn raw scores into the gradient with respect to them, times the weight of the row.

    loss        Loss
    y, weight   (>= rows,) float32                                                      in
    positive    (P, 16) float32, weight of label-1 rows; softmax: of the class          in
    classes     int64, columns of a model;  models  int64, so many in these panels
    raw         (P, capacity, 16) float32, raw scores in rows [:rows]; capacity a
                multiple of 16, rows above may change                                   in, out
    rows        int64
    work        (P * 256,) float32, scratch of softmax                                  out
    sums        (P, 16) float64, weighted loss values are added; softmax: to the first
                column of the model                                                     in, out
    slope       (P, 16) float32, the gradients are added, in the order of the rows      in, out
    Columns that belong to no model get gradient 0. Twin: tests/reference/losses.py.
    """
    n_panels, capacity = raw.shape[0], raw.shape[1]
    zero, one = splat(0.0), splat(1.0)
    if loss.code == SOFTMAX:
        _softmax(y, weight, positive, classes, models, raw, rows, work, sums)
    for p in range(n_panels):
        first = p * PANEL
        at_p, into = load(positive, first), load(slope, first)
        if loss.code == SOFTMAX:
            for r in range(rows):
                into = into + load(raw, (p * capacity + r) * PANEL)
        else:
            live = select(lanes_below(models - first), one, zero)
            total = load(sums, first)
            for r in range(rows):
                at = (p * capacity + r) * PANEL
                w = splat(weight[r]) * live
                value, gradient = _value_gradient(loss, load(raw, at), splat(y[r]), w, at_p)
                store(raw, at, gradient)
                total = total + value
                into = into + gradient
            store(sums, first, total)
        store(slope, first, into)


@kernel(fastmath=False)
def gradient_scores(loss, y, weight, positive, raw):
    """Turn the raw scores of one model into gradients; return the sum of weighted losses.

    loss        Loss, not softmax
    y, weight   (n,) float32             in
    positive    float, weight of label-1 rows
    raw         (n,) float32             in, out
    Returns float64. Twin: tests/reference/losses.py.
    """
    n = len(raw)
    total, p = widen(splat(0.0)), splat(positive)
    for i in range(0, n, PANEL):
        count = n - i
        f, label = load_part(raw, i, count), load_part(y, i, count)
        w = load_part(weight, i, count)
        value, gradient = _value_gradient(loss, f, label, w, p)
        total = total + value
        store_part(raw, i, count, gradient)
    return sum_lanes(0.0, total)


@kernel(fastmath=False)
def _sigmoids(x):
    """x (n,) float32: sigmoid(x) in place."""
    for i in range(0, len(x), PANEL):
        store_part(x, i, len(x) - i, sigmoid(load_part(x, i, len(x) - i)))


@kernel(fastmath=False)
def _shares(x, classes):
    """x (n,) float32, runs of `classes` scores: their softmax in place."""
    for first in range(0, len(x), classes):
        top = x[first]
        for c in range(first + 1, first + classes):
            top = max(top, x[c])
        for c in range(0, classes, PANEL):
            count = min(PANEL, classes - c)
            store_part(x, first + c, count, _power(load_part(x, first + c, count), top))
        norm = np.float32(0.0)
        for c in range(first, first + classes):
            norm += x[c]
        for c in range(0, classes, PANEL):
            count = min(PANEL, classes - c)
            share = load_part(x, first + c, count) / splat(norm)
            store_part(x, first + c, count, share)


def link(code: int, raw: NDArray[Any], classes: int = 1) -> NDArray[np.float32]:
    """What a model answers for raw scores.

    Parameters
    ----------
    code : int
        Code of the loss. Logistic answers the probability of label 1, softmax that of each class,
        all others the score.
    raw : ndarray, shape (n, models * classes) or any other for losses of one class
    classes : int

    Returns
    -------
    ndarray of float32, shape as raw
        Always a copy.
    """
    out = np.array(raw, np.float32, order="C")
    if code == LOGISTIC:
        _sigmoids(out.reshape(-1))
    elif code == SOFTMAX:
        _shares(out.reshape(-1), classes)
    return out


def loss_value_gradient(
    loss: Loss,
    y: NDArray[Any],
    raw: NDArray[Any],
    weight: NDArray[Any] | None = None,
    positive: NDArray[Any] | None = None,
    classes: int = 1,
) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    """Losses summed over the rows, and the gradient with respect to each score.

    Parameters
    ----------
    loss : Loss
    y : ndarray, shape (n,)
    raw : ndarray, shape (n, models * classes)
    weight : ndarray, shape (n,), optional
        Weights of the rows; 1 if not given.
    positive : ndarray, shape (models * classes,), optional
        Weight of label-1 rows in each model, of each class for softmax; 1 if not given.
    classes : int

    Returns
    -------
    values : ndarray of float64, shape (models,)
    gradient : ndarray of float32, shape (n, models * classes)
    """
    n, columns = raw.shape
    y = np.ascontiguousarray(y, np.float32)
    weight = np.ones(n, np.float32) if weight is None else np.ascontiguousarray(weight, np.float32)
    share = np.ones(columns) if positive is None else positive
    padded = np.zeros((-(-n // PANEL) * PANEL, columns), np.float32)
    padded[:n] = raw
    scores = to_panels(padded)
    at_p = to_panels(np.asarray(share)[None, :])[:, 0].copy()
    sums, slope = np.zeros((panels(columns), PANEL)), np.zeros((panels(columns), PANEL), np.float32)
    models = columns // classes
    work = np.empty(scores.shape[0] * PANEL * PANEL, np.float32)
    gradient_panels(loss, y, weight, at_p, classes, models, scores, n, work, sums, slope)
    values = sums.reshape(-1)[:columns].reshape(models, classes).sum(axis=1)
    return values, from_panels(scores, columns)[:n]
