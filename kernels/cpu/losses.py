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
    add_exponent,
    exponent,
    fma,
    lanes_below,
    load,
    load_part,
    magnitude,
    mantissa,
    select,
    splat,
    store,
    store_part,
    sum_lanes,
    transpose,
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
ROUND = 12582912.0  # 1.5 * 2**23: added to a small float32, the last bit is worth 1
SMALLEST = -87.0  # below, exp is less than the normal numbers of float32: taken as 0

inner = kernel(fastmath=False, inline="always")


@inner
def exp_negative(x):
    """exp(x) for x <= 0, within 1 ulp; 0 below -87.

    exp(n ln 2 + r) with abs(r) <= ln(2) / 2, and r**2 times a minimax polynomial for
    exp(r) - 1 - r.
    """
    inside = select(x < splat(SMALLEST), splat(SMALLEST), x)
    shifted = fma(inside, splat(LOG2_E), splat(ROUND))
    n = shifted - splat(ROUND)
    r = fma(n, splat(-LN_2_LOW), fma(n, splat(-LN_2_HIGH), inside))
    p = fma(splat(0.0013814596459269524), r, splat(0.0083687175065279))
    p = fma(p, r, splat(0.04166838899254799))
    p = fma(p, r, splat(0.1666652113199234))
    p = fma(p, r, splat(0.4999999403953552))
    p = fma(r * r, p, r) + splat(1.0)
    return select(x < splat(SMALLEST), splat(0.0), add_exponent(p, shifted))


@inner
def log1p_unit(z):
    """log(1 + z) for 0 <= z <= 1, within 2 ulp: z + z**2 times a minimax polynomial."""
    p = fma(splat(0.005364738870412111), z, splat(-0.030065450817346573))
    p = fma(p, z, splat(0.07920398563146591))
    p = fma(p, z, splat(-0.13753755390644073))
    p = fma(p, z, splat(0.1915363371372223))
    p = fma(p, z, splat(-0.24857157468795776))
    p = fma(p, z, splat(0.333213210105896))
    p = fma(p, z, splat(-0.49999648332595825))
    return fma(z * z, p, z)


@inner
def log_above_one(s):
    """log(s) for s >= 1."""
    return fma(exponent(s), splat(LN_2), log1p_unit(mantissa(s) - splat(1.0)))


@inner
def _logistic(f, y, p, w):
    """With g = -f for label 1, else f: both labels have the loss log(1 + exp(g))."""
    zero, one = splat(0.0), splat(1.0)
    no = one - y
    sign, share = no - y, fma(y, p, no) * w
    g = f * sign
    z = exp_negative(-magnitude(f))
    large = one / (one + z)
    value = select(g > zero, g, zero) + log1p_unit(z)
    slope = select(g > zero, large, z * large)
    return widen(value * share), slope * (sign * share)


@inner
def _hinge(f, y, p, w, margin):
    """With g = 1/2 - f for label 1, else f - 1/2: both have the loss max(0, margin / 2 + g)."""
    zero, half = splat(0.0), splat(0.5)
    no = splat(1.0) - y
    sign, share = no - y, fma(y, p, no) * w
    short = half * splat(margin) + (f - half) * sign
    value = select(short > zero, short, zero)
    return widen(value * share), select(short > zero, sign * share, zero)


@inner
def _regression(loss, f, y):
    """The losses of e = y - f. Squares are taken in float64: those of float32 could overflow."""
    zero, one = splat(0.0), splat(1.0)
    e = y - f
    size = magnitude(e)
    sign = select(e > zero, -one, select(e < zero, one, zero))  # that of the gradient
    if loss.code == SQUARED:
        return widen(e) * widen(e), splat(-2.0) * e
    if loss.code == EPS_SQUARED:
        eps = splat(loss.insensitivity)
        value = widen(e) * widen(e) - widen(eps) * widen(eps)
        none = widen(zero)
        return select(value > none, value, none), select(size > eps, splat(-2.0) * e, zero)
    if loss.code == EPS_ABSOLUTE:
        over = size - splat(loss.insensitivity)
        return widen(select(over > zero, over, zero)), select(over > zero, sign, zero)
    if loss.code == QUANTILE:
        q = splat(loss.quantile)
        slope = select(e > zero, q, one - q)
        return widen(slope * size), slope * sign
    if loss.code == HUBER:
        delta = splat(loss.delta)
        near = size < delta
        square = widen(e) * widen(e) * widen(splat(0.5))
        line = widen(delta) * (widen(size) - widen(splat(0.5) * delta))
        return select(near, square, line), select(near, -e, sign * delta)
    return widen(size), sign  # ABSOLUTE


@inner
def _value_gradient(loss, f, y, p, w):
    """Sixteen values (float64) and gradients (float32), times the weight w; not for softmax."""
    if loss.code == LOGISTIC:
        return _logistic(f, y, p, w)
    if loss.code == HINGE:
        return _hinge(f, y, p, w, loss.margin)
    value, gradient = _regression(loss, f, y)
    return value * widen(w), gradient * w


@inner
def _softmax(y, weight, positive, classes, models, raw, rows, work, sums):
    """Softmax of all models, sixteen rows at a time, turned so that a vector is a class."""
    n_panels, capacity = raw.shape[0], raw.shape[1]
    zero, one, nothing = splat(0.0), splat(1.0), widen(splat(0.0))
    for first in range(0, rows, PANEL):
        count = rows - first
        label, row_weight = load_part(y, first, count), load_part(weight, first, count)
        for p in range(n_panels):
            transpose(raw, (p * capacity + first) * PANEL, work, p * PANEL * PANEL)
        for column in range(0, models * classes, classes):
            top = load(work, column * PANEL)
            for c in range(1, classes):
                f = load(work, (column + c) * PANEL)
                top = select(f > top, f, top)
            norm, target, share = zero, zero, zero
            for c in range(classes):
                at = (column + c) * PANEL
                hit = label == splat(c)
                f = load(work, at)
                target = select(hit, f, target)
                share = select(hit, splat(positive[at // 256, at // 16 % 16]), share)
                z = exp_negative(f - top)
                norm = norm + z
                store(work, at, z)
            share = share * row_weight
            value = widen(log_above_one(norm)) + (widen(top) - widen(target))
            value = select(lanes_below(count), value * widen(share), nothing)
            at = column // PANEL, column % PANEL
            sums[at] = sum_lanes(sums[at], value)
            norm = one / norm
            for c in range(classes):
                at = (column + c) * PANEL
                hit = select(label == splat(c), one, zero)
                store(work, at, (load(work, at) * norm - hit) * share)
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
                value, gradient = _value_gradient(loss, load(raw, at), splat(y[r]), at_p, w)
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
        value, gradient = _value_gradient(loss, f, label, p, w)
        total = total + value
        store_part(raw, i, count, gradient)
    return sum_lanes(0.0, total)


@kernel(fastmath=False)
def _sigmoid(x):
    """x (n,) float32: sigma(x) in place."""
    zero, one = splat(0.0), splat(1.0)
    for i in range(0, len(x), PANEL):
        f = load_part(x, i, len(x) - i)
        z = exp_negative(-magnitude(f))
        large = one / (one + z)
        store_part(x, i, len(x) - i, select(f > zero, large, z * large))


@kernel(fastmath=False)
def _shares(x, classes):
    """x (n,) float32, runs of `classes` scores: their softmax in place."""
    for first in range(0, len(x), classes):
        top = x[first]
        for c in range(first + 1, first + classes):
            top = max(top, x[c])
        for c in range(0, classes, PANEL):
            count = min(PANEL, classes - c)
            z = exp_negative(load_part(x, first + c, count) - splat(top))
            store_part(x, first + c, count, z)
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
        _sigmoid(out.reshape(-1))
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
