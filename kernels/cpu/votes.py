"""What the neighbours of a row say: the label most of them have, shares of labels, a mean."""

import numpy as np
from numpy.typing import NDArray

from smalgos._jit import kernel
from smalgos.kernels.cpu.shared import chunks, readable, run

__all__ = ["majority", "mean_label", "shares"]


@kernel(fastmath=False)
def _majority(codes, weights, tally, out):
    """The code with the greatest weight in each row; of equal ones the smallest.

    codes     (n, k) int32, from 0 to C - 1     in
    weights   (n, k) float64                    in
    tally     (C,) float64, zeros               in, out
    out       (n,) int32                        out
    """
    n, k = codes.shape
    for i in range(n):
        for j in range(k):
            tally[codes[i, j]] += weights[i, j]
        best = codes[i, 0]
        for j in range(1, k):
            c = codes[i, j]
            if tally[c] > tally[best] or (tally[c] == tally[best] and c < best):
                best = c
        out[i] = best
        for j in range(k):
            tally[codes[i, j]] = 0


@kernel(fastmath=False)
def _shares(codes, weights, out):
    """The share of each code in the weight of each row.

    codes     (n, k) int32, from 0 to C - 1     in
    weights   (n, k) float64                    in
    out       (n, C) float64, zeros             in, out
    """
    n, k = codes.shape
    for i in range(n):
        total = 0.0
        for j in range(k):
            total += weights[i, j]
        for j in range(k):
            out[i, codes[i, j]] += weights[i, j] / total


@kernel(fastmath=False)
def _mean(labels, weights, out):
    """The weighted mean of each row, added up from the first column on.

    labels    (n, k) float32     in
    weights   (n, k) float64     in
    out       (n,) float32       out
    """
    n, k = labels.shape
    for i in range(n):
        total, weight = 0.0, 0.0
        for j in range(k):
            total += weights[i, j] * labels[i, j]
            weight += weights[i, j]
        out[i] = total / weight


def majority(
    codes: NDArray[np.int32], weights: NDArray[np.float64], classes: int
) -> NDArray[np.int32]:
    """The winner of each row's vote; of equal ones the smallest.

    Parameters
    ----------
    codes : ndarray of int32, shape (n, k)
        Classes of neighbours, from 0 to classes - 1.
    weights : ndarray of float64, shape (n, k)
    classes : int

    Returns
    -------
    ndarray of int32, shape (n,)
    """
    codes, weights = readable(codes, np.int32), readable(weights, np.float64)
    out = np.empty(len(codes), np.int32)
    run(
        lambda rows: _majority(codes[rows], weights[rows], np.zeros(classes), out[rows]),
        chunks(len(codes)),
    )
    return out


def shares(
    codes: NDArray[np.int32], weights: NDArray[np.float64], classes: int
) -> NDArray[np.float64]:
    """The share (n, classes) of each class in the votes, as `majority` takes them."""
    codes, weights = readable(codes, np.int32), readable(weights, np.float64)
    out = np.zeros((len(codes), classes))
    run(lambda rows: _shares(codes[rows], weights[rows], out[rows]), chunks(len(codes)))
    return out


def mean_label(labels: NDArray[np.float32], weights: NDArray[np.float64]) -> NDArray[np.float32]:
    """The weighted mean of each row.

    Parameters
    ----------
    labels : ndarray of float32, shape (n, k)
    weights : ndarray of float64, shape (n, k)

    Returns
    -------
    ndarray of float32, shape (n,)
    """
    labels, weights = readable(labels, np.float32), readable(weights, np.float64)
    out = np.empty(len(labels), np.float32)
    run(lambda rows: _mean(labels[rows], weights[rows], out[rows]), chunks(len(labels)))
    return out
