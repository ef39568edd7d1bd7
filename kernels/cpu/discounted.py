"""Discounted sums of a series' columns, from which its recent means and deviations follow.

Of numbers x_1 ... x_n with a discount of δ, x_i counts (1 - δ)^(n - i).
"""

from math import sqrt

import numpy as np

from smalgos._jit import kernel

__all__ = ["step"]

# Rows of the sums: a column; its step from row to row; the deviation of the first, the mean and the
# deviation of the second as they are, which are averaged once more.
VALUE, CHANGE, SPREAD, DRIFT, ROUGHNESS = range(5)


@kernel(fastmath=False)
def step(sums, keep, x, previous, missing, begun, mean, deviation):
    """Take in one row.

    sums        (3, 5, d) float64, of numbers, of squares, of weights                  in, out
    keep        (5,) float64, 1 - δ                                                    in
    x           (d,) float64                                                           in
    previous    (d,) float64, the row before                                           in
    missing     (d,) bool, where x was made up: it counts for the steps alone          in
    begun       bool, whether there was a row before: the first step is 0 otherwise
    mean        (5, d) float64                                                         out
    deviation   (2, d) float64, of VALUE and CHANGE                                    out
    """
    for k in range(sums.shape[2]):
        there = not missing[k]
        if there:
            add(sums, VALUE, k, keep[VALUE], x[k])
        add(sums, CHANGE, k, keep[CHANGE], x[k] - previous[k] if begun else 0.0)
        for i in range(2):
            mean[i, k], deviation[i, k] = moments(sums, i, k)
        if there:
            add(sums, SPREAD, k, keep[SPREAD], deviation[VALUE, k])
        add(sums, DRIFT, k, keep[DRIFT], mean[CHANGE, k])
        add(sums, ROUGHNESS, k, keep[ROUGHNESS], deviation[CHANGE, k])
        for i in range(SPREAD, ROUGHNESS + 1):
            mean[i, k] = moments(sums, i, k)[0]


@kernel(fastmath=False)
def add(sums, i, k, keep, x):
    """One more number."""
    sums[0, i, k] = sums[0, i, k] * keep + x
    sums[1, i, k] = sums[1, i, k] * keep + x * x
    sums[2, i, k] = sums[2, i, k] * keep + 1.0


@kernel(fastmath=False)
def moments(sums, i, k):
    """Mean and deviation; 0 where there was no number."""
    weight = sums[2, i, k]
    if weight <= 0.0:
        return 0.0, 0.0
    mean = sums[0, i, k] / weight
    return mean, sqrt(max(sums[1, i, k] / weight - mean * mean, np.float64(0.0)))
