"""Copies of rows, for threads that train one table without locks.

Threads are in each other's way at the rows of frequent words: a step needs their cache lines, which
the other core has just written to, and fetching those takes longer than the step. So a thread works
on copies of these rows, and after each task gives to the table what they gained.

All of the gains would be too much: threads that learn in turn see what those before them gained,
and gain less. Where a task shrinks the way to go by exp(-x), thread number t in turn would gain
exp(-x t) of what the first one gains, and of gains that all begin at the same place the mean of
these is to be given: all of them for few steps (x -> 0), their average for many.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from smalgos._jit import kernel
from smalgos.kernels.cpu.vector import LANES, borrowed, fma, load, splat, store

CURVATURE = 0.2  # of the loss of a pair along an output row: 1/4 at most for a vector of length 1


@kernel(fastmath=False)
def take(table, count, first, before):
    """Copy the first `count` rows of a table to those from `first` on, and beside the table.

    table     (n, 16 * vectors) float32                                    in, out
    before    (count, 16 * vectors) float32                                out
    """
    width = table.shape[1]
    table, before = borrowed(table), borrowed(before)
    for v in range(0, count * width, LANES):
        row = load(table, v)
        store(table, first * width + v, row)
        store(before, v, row)


@kernel(fastmath=False)
def give(table, count, first, before, share):
    """Add to the first rows their share of what the copies gained.

    share    (count,) float32                                              in
    The others as for `take`.
    """
    width = table.shape[1]
    table, before = borrowed(table), borrowed(before)
    for r in range(count):
        part = splat(share[r])
        for v in range(r * width, (r + 1) * width, LANES):
            gained = load(table, first * width + v) - load(before, v)
            store(table, v, fma(part, gained, load(table, v)))


def shares(steps: NDArray[Any], rate: float, threads: int) -> NDArray[np.float32]:
    """What part of their gains threads give, for each row.

    Parameters
    ----------
    steps : ndarray, shape (n,)
        That a row takes in a task, about.
    rate : float
    threads : int

    Returns
    -------
    ndarray of float32, shape (n,)
        From 1 for rows that hardly move to ``1 / threads``.
    """
    shrinks = np.asarray(steps, np.float64) * (rate * CURVATURE)
    return np.exp(-shrinks[:, None] * np.arange(threads)).mean(axis=1).astype(np.float32)
