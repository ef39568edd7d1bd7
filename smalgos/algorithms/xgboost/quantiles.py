"""Quantiles as XGBoost defines them, and leaves that are set to them."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smalgos.kernels import load


def quantile(
    values: NDArray[Any], level: float, weights: NDArray[np.float32] | None = None
) -> float:
    """A quantile of values.

    Without weights, interpolated between the order statistics around level * (n + 1) (Hyndman &
    Fan, 1996, definition 6); with weights the least value such that the weights up to it are at
    least the level's share of all. That of no values is NaN.
    """
    n = len(values)
    if n == 0:
        return math.nan
    if weights is not None:
        order = np.argsort(values)
        reached = np.cumsum(weights[order], dtype=np.float64)
        at = int(np.searchsorted(reached, np.float32(reached[-1] * level)))
        return float(values[order[min(at, n - 1)]])
    place = level * (n + 1)
    low = min(max(math.floor(place) - 1, 0), n - 1)
    high = min(low + 1, n - 1)
    part = np.partition(values, sorted({low, high}))
    share = min(max(place - 1 - low, 0.0), 1.0)
    return float(part[low] + share * (np.float64(part[high]) - part[low]))


def refit_leaves(
    leaf: NDArray[np.int32],
    leaves: int,
    residuals: NDArray[np.float32],
    weights: NDArray[np.float32] | None,
    level: float,
) -> NDArray[np.float32]:
    """The quantile of the residuals of each leaf.

    Parameters
    ----------
    leaf : ndarray of int32, shape (n,)
        Number of the leaf of each row; negative: the row is left out.
    leaves : int
    residuals : ndarray of float32, shape (n,)
        Labels less margins.
    weights : ndarray of float32, shape (n,), optional
    level : float

    Returns
    -------
    ndarray of float32, shape (leaves,)
        NaN in leaves without rows. Shrinkage is the caller's.
    """
    # Numbers of 16 bits are sorted by radix, in linear time.
    small = leaves < 1 << 15
    order = np.argsort(leaf.astype(np.int16) if small else leaf, kind="stable")
    ends = np.searchsorted(leaf[order], np.arange(leaves + 1))

    def work(i: int) -> float:
        rows = order[ends[i] : ends[i + 1]]
        return quantile(residuals[rows], level, None if weights is None else weights[rows])

    return np.array(load("shared").run(work, range(leaves)), np.float32)
