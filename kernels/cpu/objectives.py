"""Objectives of boosted trees: gradient and hessian of each row, and what links answer.

With the margin m, the label y, the weight w, p = sigmoid(m) and a constant c of the objective, g
and h below are multiplied by w, and those of rows with label 1 by `positive`:

================  =====================================  ==========================================
objective         gradient                               hessian
================  =====================================  ==========================================
squared           m - y                                  1
squared_log       (log1p(m) - log1p(y)) / (m + 1)        (1 + log1p(y) - log1p(m)) / (m + 1)**2
logistic          p - y                                  p * (1 - p)
pseudo_huber      z / sqrt(1 + (z / c)**2), z = m - y    1 / (1 + (z / c)**2)**1.5
quantile          1 - c if m >= y else -c                1
hinge             -s if s * m < 1 else 0, s = 2 * y - 1  1 if s * m < 1 else the least float32
poisson           exp(m) - y                             exp(m + c)
gamma             1 - y * exp(-m)                        y * exp(-m)
tweedie           exp((2 - c) * m)                       (2 - c) * exp((2 - c) * m)
                  - y * exp((1 - c) * m)                 - (1 - c) * y * exp((1 - c) * m)
softmax           p_k - (1 if y == k else 0)             2 * p_k * (1 - p_k)
================  =====================================  ==========================================

The hessian of squared_log is at least 1e-6, that of logistic and softmax 1e-16; squared_log takes
a margin of -1 + 1e-6 for a lower one. All are those of XGBoost. The exponential is that of the
nearest argument from -87 to 88, so that gradients are finite.

Arithmetic is float32, every step one IEEE operation (`vector`): the same bits on every processor,
wherever a row stands among its neighbours.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from smalgos._jit import kernel
from smalgos.kernels.cpu.losses import (
    EXP,
    LN_2_HIGH,
    LN_2_LOW,
    LOG2_E,
    ROUND,
    exp_negative,
    log1p_unit,
    log_above_one,
    polynomial,
)
from smalgos.kernels.cpu.shared import chunks, readable, run
from smalgos.kernels.cpu.vector import (
    FLOATS,
    LANES,
    load_part,
    splat,
    store_part,
    vectors,
)

__all__ = [
    "ABSOLUTE",
    "GAMMA",
    "HINGE",
    "LOGISTIC",
    "POISSON",
    "PSEUDO_HUBER",
    "QUANTILE",
    "SQUARED",
    "SQUARED_LOG",
    "TWEEDIE",
    "exponential",
    "gradients",
    "softmax_gradients",
]

SQUARED, SQUARED_LOG, LOGISTIC, PSEUDO_HUBER, ABSOLUTE = 0, 1, 2, 3, 4
QUANTILE, HINGE, POISSON, GAMMA, TWEEDIE = 5, 6, 7, 8, 9

ROWS = 1 << 14  # of a task: about 20 microseconds
LOWEST, HIGHEST = -87.0, 88.0  # exp stays among the normal numbers of float32
LEAST = 2.0**-126  # XGBoost's hessian where the hinge is flat


def exp(v, x):
    """exp(x), x clipped to [-87, 88], within 1 ulp: as `losses.exp_negative`."""
    low, high = v.number(LOWEST), v.number(HIGHEST)
    x = v.select(x < low, low, x)
    x = v.select(x > high, high, x)
    shifted = v.fma(x, v.number(LOG2_E), v.number(ROUND))
    n = shifted - v.number(ROUND)
    r = v.fma(n, v.number(-LN_2_HIGH), x)
    r = v.fma(n, v.number(-LN_2_LOW), r)
    p = v.fma(r * r, polynomial(v, EXP, r), r) + v.number(1.0)
    return v.add_exponent(p, shifted)


def log1p(v, x):
    """log(1 + x) for x > -1; that of a negative one is -log(1 + z), z = -x / (1 + x)."""
    zero, one = v.number(0.0), v.number(1.0)
    negative = x < zero
    z = v.select(negative, -x / (one + x), x)
    large = z > one
    unit = log1p_unit(v, v.select(large, one, z))
    out = v.select(large, log_above_one(v, one + z), unit)
    return v.select(negative, -out, out)


def _at_least(v, least, x):
    least = v.number(least)
    return v.select(x < least, least, x)


# Each gives sixteen gradients and hessians, times the weight w, of margins m with labels y.


@vectors(FLOATS, FLOATS)
def _squared(v, m, y, w):
    return (m - y) * w, w


@vectors(FLOATS, FLOATS)
def _squared_log(v, m, y, w):
    m = _at_least(v, -1 + 1e-6, m)
    one = v.number(1.0)
    above, off = m + one, log1p(v, m) - log1p(v, y)
    return off / above * w, _at_least(v, 1e-6, (one - off) / (above * above)) * w


@vectors(FLOATS, FLOATS)
def _logistic(v, m, y, w):
    one = v.number(1.0)
    z = exp_negative(v, -v.magnitude(m))
    large = one / (one + z)
    small = z * large  # not 1 - large, which has no digits left far out
    p = v.select(m > v.number(0.0), large, small)
    return (p - y) * w, _at_least(v, 1e-16, large * small) * w


@vectors(FLOATS, FLOATS)
def _pseudo_huber(v, m, y, w, slope):
    z, one = m - y, v.number(1.0)
    square = v.fma(z / slope, z / slope, one)
    root = v.sqrt(square)
    return z / root * w, one / (square * root) * w


@vectors(FLOATS, FLOATS)
def _absolute(v, m, y, w):
    zero = v.number(0.0)
    return v.select(m > y, w, v.select(m < y, -w, zero)), w


@vectors(FLOATS, FLOATS)
def _quantile(v, m, y, w, level):
    return v.select(m < y, -level, v.number(1.0) - level) * w, w


@vectors(FLOATS, FLOATS)
def _hinge(v, m, y, w):
    one = v.number(1.0)
    sign = y + y - one
    short = sign * m < one
    return v.select(short, -sign * w, v.number(0.0)), v.select(short, w, v.number(LEAST))


@vectors(FLOATS, FLOATS)
def _poisson(v, m, y, w, step):
    return (exp(v, m) - y) * w, exp(v, m + step) * w


@vectors(FLOATS, FLOATS)
def _gamma(v, m, y, w):
    ratio = y * exp(v, -m)
    return (v.number(1.0) - ratio) * w, ratio * w


@vectors(FLOATS, FLOATS)
def _tweedie(v, m, y, w, power):
    first, second = v.number(1.0) - power, v.number(2.0) - power
    a, b = y * exp(v, first * m), exp(v, second * m)
    return (b - a) * w, (second * b - first * a) * w


@vectors(FLOATS)
def _weight(v, y, w, positive):
    return v.select(y == v.number(1.0), w * positive, w)


@kernel(inline="always", fastmath=False)
def _pairs(code, constant, m, y, w):
    if code == SQUARED:
        return _squared(m, y, w)
    if code == LOGISTIC:
        return _logistic(m, y, w)
    if code == SQUARED_LOG:
        return _squared_log(m, y, w)
    if code == PSEUDO_HUBER:
        return _pseudo_huber(m, y, w, constant)
    if code == QUANTILE:
        return _quantile(m, y, w, constant)
    if code == HINGE:
        return _hinge(m, y, w)
    if code == POISSON:
        return _poisson(m, y, w, constant)
    if code == GAMMA:
        return _gamma(m, y, w)
    if code == TWEEDIE:
        return _tweedie(m, y, w, constant)
    return _absolute(m, y, w)


@kernel(fastmath=False)
def _gradients(code, constant, positive, margin, labels, weights, g, h):
    """Gradients and hessians of all objectives with one output.

    code                     int64
    constant, positive       float64; rounded to float32
    margin, labels           (n,) float32                    in
    weights                  (n,) float32, or empty: all 1   in
    g, h                     (n,) float32                    out
    Twin: tests/reference/objectives.py.
    """
    n = len(margin)
    for i in range(0, n, LANES):
        y, w = load_part(labels, i, n - i), splat(1.0)
        if len(weights):
            w = load_part(weights, i, n - i)
        w = _weight(y, w, positive)
        gradient, hessian = _pairs(code, constant, load_part(margin, i, n - i), y, w)
        store_part(g, i, n - i, gradient)
        store_part(h, i, n - i, hessian)


@vectors(FLOATS)
def _larger(v, a, b):
    return v.select(b > a, b, a)


@vectors(FLOATS)
def _power(v, m, top):
    return exp_negative(v, m - top)


@vectors(FLOATS, FLOATS)
def _softmax(v, power, norm, y, k, w):
    p, one = power / norm, v.number(1.0)
    hit = v.select(y == k, one, v.number(0.0))
    return (p - hit) * w, _at_least(v, 1e-16, v.number(2.0) * p * (one - p)) * w


@kernel(fastmath=False)
def _softmax_gradients(margin, labels, weights, first, last, g, h):
    """Rows [first, last) of softmax.

    margin           (K, n) float32                       in
    labels, weights  (n,) float32; weights empty: all 1   in
    g, h             (K, n) float32                       out
    Twin: tests/reference/objectives.py.
    """
    classes, n = margin.shape
    for i in range(first, last, LANES):
        count = last - i
        y, w = load_part(labels, i, count), splat(1.0)
        if len(weights):
            w = load_part(weights, i, count)
        top = load_part(margin, i, count)
        for k in range(1, classes):
            top = _larger(top, load_part(margin, k * n + i, count))
        norm = splat(0.0)
        for k in range(classes):
            power = _power(load_part(margin, k * n + i, count), top)
            store_part(g, k * n + i, count, power)
            norm = norm + power
        for k in range(classes):
            at = k * n + i
            gradient, hessian = _softmax(load_part(g, at, count), norm, y, splat(k), w)
            store_part(g, at, count, gradient)
            store_part(h, at, count, hessian)


_exp = vectors(FLOATS)(exp)


@kernel(fastmath=False)
def _exponential(x):
    """x (n,) float32: exp(x) in place."""
    for i in range(0, len(x), LANES):
        store_part(x, i, len(x) - i, _exp(load_part(x, i, len(x) - i)))


def _inputs(
    n: int, labels: NDArray[Any], weights: NDArray[Any] | None
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Labels and weights for kernels, which trust lengths."""
    labels = readable(labels, np.float32)
    weights = np.empty(0, np.float32) if weights is None else readable(weights, np.float32)
    if labels.shape != (n,) or weights.shape not in ((0,), (n,)):
        raise ValueError(f"{n} margins, labels {labels.shape}, weights {weights.shape}: do not fit")
    return labels, weights


def _outputs(shape: tuple[int, ...], *out: NDArray[np.float32]) -> None:
    for x in out:
        if x.shape != shape or x.dtype != np.float32 or not x.flags.c_contiguous:
            raise ValueError(f"{x.dtype} {x.shape}: C-ordered float32 {shape} is needed")


def gradients(
    code: int,
    constant: float,
    positive: float,
    margin: NDArray[np.float32],
    labels: NDArray[np.float32],
    weights: NDArray[np.float32] | None,
    g: NDArray[np.float32],
    h: NDArray[np.float32],
) -> None:
    """Gradients and hessians of an objective with one output.

    Parameters
    ----------
    code : int
        The objective.
    constant : float
        Slope of pseudo_huber, level of quantile, step of poisson, power of tweedie.
    positive : float
        What weights of rows with label 1 are multiplied by.
    margin, labels : ndarray of float32, shape (n,)
    weights : ndarray of float32, shape (n,), optional
        All 1 if not given.
    g, h : ndarray of float32, shape (n,)
        Written to.
    """
    margin = readable(margin, np.float32)
    labels, weights = _inputs(len(margin), labels, weights)
    _outputs(margin.shape, g, h)

    def work(part: slice) -> None:
        _gradients(
            code, float(constant), float(positive), margin[part], labels[part], weights[part],
            g[part], h[part],
        )  # fmt: skip

    run(work, chunks(len(margin), ROWS))


def softmax_gradients(
    margin: NDArray[np.float32],
    labels: NDArray[np.float32],
    weights: NDArray[np.float32] | None,
    g: NDArray[np.float32],
    h: NDArray[np.float32],
) -> None:
    """Gradients and hessians of softmax.

    Parameters
    ----------
    margin : ndarray of float32, shape (K, n)
    labels : ndarray of float32, shape (n,)
        Numbers of classes.
    weights : ndarray of float32, shape (n,), optional
    g, h : ndarray of float32, shape (K, n)
        Written to.
    """
    margin = readable(margin, np.float32)
    classes, n = margin.shape
    labels, weights = _inputs(n, labels, weights)
    _outputs(margin.shape, g, h)

    def work(part: slice) -> None:
        _softmax_gradients(margin, labels, weights, part.start, part.stop, g, h)

    run(work, chunks(n, max(LANES, ROWS // classes // LANES * LANES)))


def exponential(x: NDArray[Any]) -> NDArray[np.float32]:
    """exp(x), x clipped to [-87, 88]; always a copy."""
    out = np.array(x, np.float32, order="C")
    flat = out.reshape(-1)
    run(lambda part: _exponential(flat[part]), chunks(len(flat), ROWS))
    return out
