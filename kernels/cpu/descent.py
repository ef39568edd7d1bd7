"""Coordinate descent on one column after another, as the booster gblinear learns."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from smalgos._jit import kernel
from smalgos.kernels.cpu.shared import run

__all__ = ["descend", "product"]

LEAST = 1e-5  # sum of hessians below which a weight is left alone


@kernel(fastmath=False)
def _step(g, h, w, reg_lambda, reg_alpha):
    """The change of a weight that takes most from its part of the loss, L1 and L2 included."""
    if h < LEAST:
        return 0.0
    g, h = g + reg_lambda * w, h + reg_lambda
    if w - g / h >= 0:
        return max(-(g + reg_alpha) / h, -w)
    return min(-(g - reg_alpha) / h, -w)


@kernel(fastmath=False)
def _descend(
    values, rows, offsets, g, h, eta, reg_lambda, reg_alpha, lambda_bias, weights, changes
):
    """One round: the bias, then each weight in turn.

    values, rows, offsets   a matrix by columns, float32, int32, (d + 1,) int64      in
    g, h                    (n,) float32; g is kept up to date                       in, out
    weights                 (d + 1,) float32, the bias last                          in, out
    changes                 (d + 1,) float32                                         out
    """
    d = len(offsets) - 1
    sum_g, sum_h = 0.0, 0.0
    for i in range(len(g)):
        sum_g += g[i]
        sum_h += h[i]
    bias = 0.0
    if sum_h > 0:
        bias = -(sum_g + lambda_bias * weights[d]) / (sum_h + lambda_bias) * eta
    changes[d] = bias
    weights[d] += changes[d]
    for i in range(len(g)):
        g[i] += h[i] * changes[d]
    for f in range(d):
        sum_g, sum_h = 0.0, 0.0
        for at in range(offsets[f], offsets[f + 1]):
            x, r = np.float64(values[at]), rows[at]
            sum_g += x * g[r]
            sum_h += x * x * h[r]
        changes[f] = _step(sum_g, sum_h, np.float64(weights[f]), reg_lambda, reg_alpha) * eta
        if changes[f] != 0:
            weights[f] += changes[f]
            for at in range(offsets[f], offsets[f + 1]):
                r = rows[at]
                g[r] += h[r] * values[at] * changes[f]


@kernel(fastmath=False)
def _product(values, rows, offsets, weights, out):
    """Add a matrix by columns, times weights, to (n,) float32."""
    for f in range(len(offsets) - 1):
        w = weights[f]
        if w != 0:
            for at in range(offsets[f], offsets[f + 1]):
                out[rows[at]] += values[at] * w
    for i in range(len(out)):
        out[i] += weights[len(offsets) - 1]


def descend(
    columns: Any, g: NDArray[np.float32], h: NDArray[np.float32], eta: float, reg_lambda: float,
    reg_alpha: float, lambda_bias: float, weights: NDArray[np.float32],
) -> NDArray[np.float32]:  # fmt: skip
    """One round of coordinate descent for each output; what changed.

    Parameters
    ----------
    columns : (values, rows, offsets)
        The rows' features by columns: float32, int32, int64 (d + 1,).
    g, h : ndarray of float32, shape (outputs, n)
        Gradients, which are spoilt, and hessians.
    eta, reg_lambda, reg_alpha, lambda_bias : float
        Penalties are those of sums over all rows.
    weights : ndarray of float32, shape (outputs, d + 1)
        The bias last; brought up to date.

    Returns
    -------
    ndarray of float32, shape (outputs, d + 1)

    Notes
    -----
    Outputs are tasks; the columns of one are gone through in turn, each with the gradients that the
    one before leaves, as XGBoost's updater coord_descent does.
    """
    changes = np.zeros_like(weights)

    def work(k: int) -> None:
        _descend(
            *columns, g[k], h[k], eta, reg_lambda, reg_alpha, lambda_bias, weights[k], changes[k]
        )

    run(work, range(len(weights)))
    return changes


def product(columns: Any, weights: NDArray[np.float32], margin: NDArray[np.float32]) -> None:
    """Add what linear functions say to margins (outputs, n)."""
    run(lambda k: _product(*columns, weights[k], margin[k]), range(len(weights)))
