"""Rows added to the sums of the clusters they belong to; with what finds these, all of K-Means.

A cluster's rows are added in their order by one task, so that the sums depend on no threads.
"""

from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smalgos._jit import kernel
from smalgos.kernels.cpu.lloyd import Lloyd, seed_plus_plus
from smalgos.kernels.cpu.nearest import Points, assign, distances, square_norms
from smalgos.kernels.cpu.shared import readable, run

__all__ = [
    "Lloyd",
    "Points",
    "add_rows",
    "assign",
    "distances",
    "seed_plus_plus",
    "square_norms",
]

TASKS = 8  # of a batch: enough to share out, few enough not to be felt


@kernel
def _group(labels, starts, order):
    """Sort rows by label, those of a label in their order.

    labels   (n,) int32, from 0 to k - 1                                        in
    starts   (k + 1,) int64 zeros; then rows of label j are at
             order[starts[j]:starts[j + 1]]                                     in, out
    order    (n,) int32, row numbers                                            out
    """
    for i in range(len(labels)):
        starts[labels[i] + 1] += 1
    for j in range(1, len(starts)):
        starts[j] += starts[j - 1]
    free = starts.copy()
    for i in range(len(labels)):
        j = labels[i]
        order[free[j]] = i
        free[j] += 1


@kernel(fastmath=False)
def _add_dense(X, weights, order, starts, first, last, sums, mass, means):
    """Add rows to the clusters from `first` to before `last`, and set the means of these.

    X, weights       (n, d), (n,) float32                                       in
    order, starts    as of `_group`                                             in
    first, last      int64
    sums, mass       (k, d), (k,) float64: sums of w x, and of w                in, out
    means            (k, d) float32: sums / mass where rows were added          in, out
    Twin: tests/reference/kmeans.py.
    """
    d = X.shape[1]
    for j in range(first, last):
        if starts[j] == starts[j + 1]:
            continue
        for s in range(starts[j], starts[j + 1]):
            i = order[s]
            w = np.float64(weights[i])
            mass[j] += w
            for f in range(d):
                sums[j, f] += w * np.float64(X[i, f])
        if mass[j] > 0:
            for f in range(d):
                means[j, f] = sums[j, f] / mass[j]


@kernel(fastmath=False)
def _add_csr(values, indices, offsets, weights, order, starts, first, last, sums, mass, means):
    """`_add_dense` of sparse rows; a row may name a column twice.

    values, indices, offsets   (nnz,) float32, (nnz,) int32, (n + 1,) int64     in
    """
    d = sums.shape[1]
    for j in range(first, last):
        if starts[j] == starts[j + 1]:
            continue
        for s in range(starts[j], starts[j + 1]):
            i = order[s]
            w = np.float64(weights[i])
            mass[j] += w
            for e in range(offsets[i], offsets[i + 1]):
                sums[j, indices[e]] += w * np.float64(values[e])
        if mass[j] > 0:
            for f in range(d):
                means[j, f] = sums[j, f] / mass[j]


def add_rows(
    X: Any,
    weights: NDArray[np.float32] | None,
    labels: NDArray[np.int32],
    sums: NDArray[np.float64],
    mass: NDArray[np.float64],
    means: NDArray[np.float32],
) -> None:
    """Add rows to the sums of their clusters, and set the means of the clusters that got any.

    Parameters
    ----------
    X : ndarray of float32, shape (n, d), or Csr
    weights : ndarray, shape (n,), optional
    labels : ndarray of int32, shape (n,)
        From 0 to k - 1.
    sums, mass : ndarray of float64, shape (k, d), (k,)
        Of w x, and of w; added to.
    means : ndarray of float32, shape (k, d)
        A cluster without weight keeps its own.
    """
    n, k = len(labels), len(mass)
    if n and not 0 <= labels.min() <= labels.max() < k:
        raise ValueError(f"labels must be from 0 to {k - 1}")
    w = np.ones(n, np.float32) if weights is None else readable(weights, np.float32)
    starts, order = np.zeros(k + 1, np.int64), np.empty(n, np.int32)
    _group(readable(labels, np.int32), starts, order)
    cuts = np.unique(np.searchsorted(starts, np.linspace(0, n, TASKS + 1)[1:-1]))
    spans = list(pairwise([0, *cuts.tolist(), k]))
    if hasattr(X, "offsets"):
        rows = readable(X.values), readable(X.indices), readable(X.offsets)
        run(lambda span: _add_csr(*rows, w, order, starts, *span, sums, mass, means), spans)
    else:
        rows = readable(X)
        run(lambda span: _add_dense(rows, w, order, starts, *span, sums, mass, means), spans)
