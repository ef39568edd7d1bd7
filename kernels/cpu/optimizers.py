"""One step of an optimizer over a dense array, with a rate, a decay and an L1 for each column.

The order is the same for all: gradient times scale, clip, plus decay times weight, optimizer, and
last the proximal step of L1, a soft threshold at rate * l1. FTRL alone takes decay and L1 into the
solution of its own problem, as its paper does. With r the rate and g what reaches the optimizer:

========  =======================================================  ============================
sgd       w -= r g
momentum  m = mu m - r g; w += m                                   MXNet's form of Polyak (1964)
adam      m = b1 m + (1 - b1) g; v = b2 v + (1 - b2) g**2;         Kingma & Ba, ICLR 2015;
          w -= r sqrt(1 - b2**t) / (1 - b1**t) m / (sqrt(v) + eps)   eps after the root
adagrad   n += g**2; w -= r g / sqrt(n + eps)                      Duchi et al., JMLR 12 (2011)
rmsprop   n = rho n + (1 - rho) g**2; w -= r g / sqrt(n + eps)     Tieleman & Hinton, lecture 6.5
adadelta  n = rho n + (1 - rho) g**2;                              Zeiler, arXiv:1212.5701,
          s = g sqrt(u + eps) / sqrt(n + eps);                       which has r = 1
          u = rho u + (1 - rho) s**2; w -= r s
ftrl      z += g - (sqrt(n + g**2) - sqrt(n)) / r w; n += g**2;    McMahan et al., KDD 2013,
          w = 0 if abs(z) <= l1 else                                 Algorithm 1
          -(z - sign(z) l1) / ((beta + sqrt(n)) / r + decay)
========  =======================================================  ============================

Slots, the state of an optimizer, start at zero: momentum m; adam m, v; adagrad and rmsprop n;
adadelta n, u; ftrl z, n.
"""

from typing import NamedTuple

import numpy as np

from smalgos._jit import kernel
from smalgos.kernels.cpu.tile import PANEL
from smalgos.kernels.cpu.vector import (
    FLOATS,
    lanes_below,
    load_part,
    select,
    splat,
    store_part,
    vectors,
)

__all__ = [
    "ADADELTA",
    "ADAGRAD",
    "ADAM",
    "FTRL",
    "MOMENTUM",
    "RMSPROP",
    "SGD",
    "Optimizer",
    "optimizer",
    "slots",
    "step",
]

SGD, MOMENTUM, ADAM, ADAGRAD, RMSPROP, ADADELTA, FTRL = 0, 1, 2, 3, 4, 5, 6

_SLOTS = (0, 1, 2, 1, 1, 2, 2)
# Those of MXNet, which the original runs on; adam's is its paper's, too.
_EPSILON = (0.0, 0.0, 1e-8, 1e-7, 1e-8, 1e-5, 0.0)


class Optimizer(NamedTuple):
    """An optimizer by its code, and the constants that one or another has."""

    code: int
    momentum: float
    beta_1: float
    beta_2: float
    rho: float
    epsilon: float
    beta: float
    clip: float


def optimizer(
    code: int,
    *,
    momentum: float = 0.9,
    beta_1: float = 0.9,
    beta_2: float = 0.999,
    rho: float = 0.9,
    epsilon: float | None = None,
    beta: float = 1.0,
    clip: float = np.inf,
) -> Optimizer:
    """An optimizer with the usual constants where none are given.

    Parameters
    ----------
    code : int
    momentum, beta_1, beta_2, rho, beta : float
        mu, b1, b2, rho and beta of the formulas.
    epsilon : float, optional
        1e-8 for adam and rmsprop, 1e-7 for adagrad, 1e-5 for adadelta if not given.
    clip : float
        Largest magnitude of an entry of the gradient, before decay is added.
    """
    epsilon = _EPSILON[code] if epsilon is None else float(epsilon)
    constants = (momentum, beta_1, beta_2, rho, epsilon, beta, clip)
    return Optimizer(code, *(float(x) for x in constants))


def slots(code: int) -> int:
    """Number of state arrays of an optimizer."""
    return _SLOTS[code]


@kernel(fastmath=False)
def _power(x, n):
    """x**n in float64 by squaring: the same bits everywhere."""
    out = 1.0
    while n > 0:
        if n & 1:
            out *= x
        x *= x
        n >>= 1
    return out


@vectors(FLOATS)
def _prepare(v, g, w, scale, clip, decay):
    """Gradient times scale, clipped, plus decay times weight."""
    g = g * scale
    g = v.select(g > clip, clip, g)
    g = v.select(g < -clip, -clip, g)
    return v.fma(decay, w, g)


@vectors(FLOATS)
def _shrink(v, w, rate, l1):
    """Proximal step of L1: a soft threshold at rate * l1."""
    zero = v.number(0.0)
    size = v.magnitude(w) - rate * l1
    shrunk = v.select(size > zero, v.select(w > zero, size, -size), zero)
    return v.select(l1 > zero, shrunk, w)


# Each of these takes sixteen weights, what reaches the optimizer as their gradients, two slots and
# the rates, and gives the new weights and slots.


@vectors(FLOATS, FLOATS, FLOATS)
def _sgd(v, w, g, a, b, rate):
    return w - rate * g, a, b


@vectors(FLOATS, FLOATS, FLOATS)
def _momentum(v, w, g, m, b, rate, mu):
    m = mu * m - rate * g
    return w + m, m, b


@vectors(FLOATS, FLOATS, FLOATS)
def _adam(v, w, g, m, n, rate, beta_1, beta_2, eps, correction):
    one = v.number(1.0)
    m = v.fma(beta_1, m, (one - beta_1) * g)
    n = v.fma(beta_2, n, (one - beta_2) * (g * g))
    return w - rate * correction * m / (v.sqrt(n) + eps), m, n


@vectors(FLOATS, FLOATS, FLOATS)
def _adagrad(v, w, g, n, b, rate, eps):
    n = v.fma(g, g, n)
    return w - rate * g / v.sqrt(n + eps), n, b


@vectors(FLOATS, FLOATS, FLOATS)
def _rmsprop(v, w, g, n, b, rate, rho, eps):
    n = v.fma(rho, n, (v.number(1.0) - rho) * (g * g))
    return w - rate * g / v.sqrt(n + eps), n, b


@vectors(FLOATS, FLOATS, FLOATS)
def _adadelta(v, w, g, n, u, rate, rho, eps):
    rest = v.number(1.0) - rho
    n = v.fma(rho, n, rest * (g * g))
    move = g * v.sqrt(u + eps) / v.sqrt(n + eps)
    u = v.fma(rho, u, rest * (move * move))
    return w - rate * move, n, u


@vectors(FLOATS, FLOATS, FLOATS)
def _ftrl(v, w, g, z, n, rate, beta, decay, l1):
    zero = v.number(0.0)
    total = v.fma(g, g, n)
    root = v.sqrt(total)
    z = z + g - (root - v.sqrt(n)) / rate * w
    solved = (v.magnitude(z) - l1) / ((beta + root) / rate + decay)
    solved = v.select(z > zero, -solved, solved)
    return v.select(v.magnitude(z) > l1, solved, zero), z, total


@kernel(fastmath=False)
def correct(opt, t):
    """What step number t, from 1 on, multiplies the rate by: adam's correction of its means."""
    if opt.code == ADAM:
        return np.sqrt(1.0 - _power(opt.beta_2, t)) / (1.0 - _power(opt.beta_1, t))
    return 1.0


@kernel
def has_slots(opt):
    """Whether an optimizer has a first and a second slot."""
    return opt.code != SGD, opt.code == ADAM or opt.code == ADADELTA or opt.code == FTRL


@kernel(inline="always")
def moved(opt, correction, w, g, a, b, scale, rate, decay, l1):
    """Sixteen weights and their slots after a step.

    w, g, a, b         vectors: weights, gradients, slots
    correction         of `correct`
    scale              what to multiply g by
    rate, decay, l1    numbers, or vectors; rates of ftrl must be positive
    """
    if opt.code == FTRL:
        g = _prepare(g, w, scale, opt.clip, 0.0)
        return _ftrl(w, g, a, b, rate, opt.beta, decay, l1)
    g = _prepare(g, w, scale, opt.clip, decay)
    if opt.code == ADAM:
        w, a, b = _adam(w, g, a, b, rate, opt.beta_1, opt.beta_2, opt.epsilon, correction)
    elif opt.code == MOMENTUM:
        w, a, b = _momentum(w, g, a, b, rate, opt.momentum)
    elif opt.code == ADAGRAD:
        w, a, b = _adagrad(w, g, a, b, rate, opt.epsilon)
    elif opt.code == RMSPROP:
        w, a, b = _rmsprop(w, g, a, b, rate, opt.rho, opt.epsilon)
    elif opt.code == ADADELTA:
        w, a, b = _adadelta(w, g, a, b, rate, opt.rho, opt.epsilon)
    else:
        w, a, b = _sgd(w, g, a, b, rate)
    return _shrink(w, rate, l1), a, b


@kernel(fastmath=False)
def step(opt, t, w, g, slot0, slot1, scale, rate, decay, l1):
    """Move the weights once.

    opt                Optimizer
    t                  int64, number of this step from 1 on (adam)
    w                  (rows, columns) float32                                    in, out
    g                  (rows, columns) float32, the gradient                      in
    slot0, slot1       as w; (0, 0) where the optimizer has fewer                 in, out
    scale              float, what to multiply g by (1 / rows of the batch)
    rate, decay, l1    (columns,) float32; or (1,), the same for all columns      in
    Rates of ftrl must be positive. Twin: tests/reference/optimizers.py.
    """
    rows, columns = w.shape
    common = len(rate) == 1
    if common:
        rows, columns = 1, rows * columns
    correction = correct(opt, t)
    has_0, has_1 = has_slots(opt)
    for i in range(rows):
        for j in range(0, columns, PANEL):
            at, count = i * columns + j, min(PANEL, columns - j)
            count_0, count_1 = count if has_0 else 0, count if has_1 else 0
            own = 0 if common else count
            r, d, p = load_part(rate, j, own), load_part(decay, j, own), load_part(l1, j, own)
            if common:
                r, d, p = splat(rate[0]), splat(decay[0]), splat(l1[0])
            r = select(lanes_below(count), r, splat(1.0))  # ftrl divides by it
            before, slope = load_part(w, at, count), load_part(g, at, count)
            a, b = load_part(slot0, at, count_0), load_part(slot1, at, count_1)
            after, a, b = moved(opt, correction, before, slope, a, b, scale, r, d, p)
            store_part(w, at, count, after)
            store_part(slot0, at, count_0, a)
            store_part(slot1, at, count_1, b)
