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
    fma,
    lanes_below,
    load_part,
    magnitude,
    select,
    splat,
    sqrt,
    store_part,
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


inner = kernel(fastmath=False, inline="always")


@inner
def _power(x, n):
    """x**n in float64 by squaring: the same bits everywhere."""
    out = 1.0
    while n > 0:
        if n & 1:
            out *= x
        x *= x
        n >>= 1
    return out


@inner
def _ftrl(opt, w, g, z, n, rate, decay, l1):
    zero = splat(0.0)
    total = fma(g, g, n)
    root = sqrt(total)
    z = z + g - (root - sqrt(n)) / rate * w
    size = magnitude(z)
    solved = (size - l1) / ((splat(opt.beta) + root) / rate + decay)
    solved = select(z > zero, zero - solved, solved)
    return select(size > l1, solved, zero), z, total


@inner
def _update(opt, correction, w, g, a, b, rate, decay, l1):
    """Sixteen weights, their gradients (scaled) and slots: the new weights and slots."""
    zero, clip = splat(0.0), splat(opt.clip)
    g = select(g > clip, clip, g)
    g = select(g < zero - clip, zero - clip, g)
    if opt.code == FTRL:
        return _ftrl(opt, w, g, a, b, rate, decay, l1)
    g = fma(decay, w, g)
    eps = splat(opt.epsilon)
    if opt.code == ADAM:
        a = fma(splat(opt.beta_1), a, splat(1.0 - opt.beta_1) * g)
        b = fma(splat(opt.beta_2), b, splat(1.0 - opt.beta_2) * (g * g))
        w = w - rate * splat(correction) * a / (sqrt(b) + eps)
    elif opt.code == MOMENTUM:
        a = splat(opt.momentum) * a - rate * g
        w = w + a
    elif opt.code == ADAGRAD:
        a = fma(g, g, a)
        w = w - rate * g / sqrt(a + eps)
    elif opt.code == RMSPROP:
        a = fma(splat(opt.rho), a, splat(1.0 - opt.rho) * (g * g))
        w = w - rate * g / sqrt(a + eps)
    elif opt.code == ADADELTA:
        a = fma(splat(opt.rho), a, splat(1.0 - opt.rho) * (g * g))
        move = g * sqrt(b + eps) / sqrt(a + eps)
        b = fma(splat(opt.rho), b, splat(1.0 - opt.rho) * (move * move))
        w = w - rate * move
    else:
        w = w - rate * g
    size = magnitude(w) - rate * l1
    shrunk = select(w > zero, size, zero - size)
    return select(l1 > zero, select(size > zero, shrunk, zero), w), a, b


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
    correction = 1.0
    if opt.code == ADAM:
        correction = np.sqrt(1.0 - _power(opt.beta_2, t)) / (1.0 - _power(opt.beta_1, t))
    has_0 = opt.code != SGD
    has_1 = opt.code == ADAM or opt.code == ADADELTA or opt.code == FTRL
    for i in range(rows):
        for j in range(0, columns, PANEL):
            at, count = i * columns + j, min(PANEL, columns - j)
            count_0, count_1 = count if has_0 else 0, count if has_1 else 0
            own = 0 if common else count
            r, d, p = load_part(rate, j, own), load_part(decay, j, own), load_part(l1, j, own)
            if common:
                r, d, p = splat(rate[0]), splat(decay[0]), splat(l1[0])
            r = select(lanes_below(count), r, splat(1.0))  # ftrl divides by it
            before = load_part(w, at, count)
            slope = load_part(g, at, count) * splat(scale)
            a, b = load_part(slot0, at, count_0), load_part(slot1, at, count_1)
            after, a, b = _update(opt, correction, before, slope, a, b, r, d, p)
            store_part(w, at, count, after)
            store_part(slot0, at, count_0, a)
            store_part(slot1, at, count_1, b)
