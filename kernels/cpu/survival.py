"""Gradients of accelerated failure time models: log time = margin + scale * noise.

Barnwal, Cho & Hocking, "Survival regression with accelerated failure time model in XGBoost", 2022:
the loss is the negative log of the likelihood that the time is between two bounds, of the density
where they are equal. Gradients are clipped to [-15, 15], hessians to [1e-16, 15]; where the
likelihood underflows, they are the limits far out, as in XGBoost.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smalgos._jit import kernel
from smalgos.kernels.cpu.shared import CHUNK, chunks, readable, run

__all__ = ["EXTREME", "LOGISTIC", "NORMAL", "aft_gradients", "aft_losses"]

NORMAL, LOGISTIC, EXTREME = 0, 1, 2
STEEPEST = 15.0  # XGBoost's bounds of gradient and hessian
FLATTEST = 1e-16
SMALLEST = 1e-12  # XGBoost's bound of the likelihood


@kernel(fastmath=False)
def _noise(code, z):
    """Density of the noise, its first two derivatives, and the shares below and above z.

    Both shares: where one is near 1, the other one still has its digits.
    """
    if code == NORMAL:
        f, root = math.exp(-0.5 * z * z) / math.sqrt(2.0 * math.pi), math.sqrt(2.0)
        share = 0.5 * math.erfc(-z / root), 0.5 * math.erfc(z / root)
        return f, -z * f, (z * z - 1.0) * f, share[0], share[1]
    # Beyond, the density is 0 in float64, and its factors would overflow.
    if z > (300.0 if code == LOGISTIC else 7.0):
        return 0.0, 0.0, 0.0, 1.0, 0.0
    w = math.exp(z)
    if code == LOGISTIC:
        q = 1.0 / (1.0 + w)
        f = w * q * q
        return f, f * (1.0 - w) * q, f * (w * w - 4.0 * w + 1.0) * q * q, w * q, q
    f = w * math.exp(-w)
    return f, (1.0 - w) * f, (w * w - 3.0 * w + 1.0) * f, -math.expm1(-w), math.exp(-w)


@kernel(fastmath=False)
def _limits(code, scale, left, right, above):
    """Gradient and hessian as the margin goes far below the times (`above`), or far above them."""
    if (left and above) or (right and not above):  # the bound that would matter is open
        return 0.0, FLATTEST
    flat = 1.0 / scale
    if code == NORMAL:
        return -STEEPEST if above else STEEPEST, flat * flat
    if code == LOGISTIC:
        return -flat if above else flat, FLATTEST
    return (-STEEPEST, STEEPEST) if above else (flat, FLATTEST)


@kernel(fastmath=False)
def _row(code, scale, m, lower, upper):
    """Loss, gradient and hessian of a row; all float64."""
    left, right, above = lower <= 0.0, math.isinf(upper), False
    if lower == upper:
        z = (math.log(lower) - m) / scale
        size, first, second, _, _ = _noise(code, z)
        likelihood, above = size / (scale * lower), z > 0.0
    else:
        size, first, second = 1.0, 0.0, 0.0
        below, beyond = 1.0, 0.0
        if not right:
            z = (math.log(upper) - m) / scale
            first, second, _, below, beyond = _noise(code, z)
            above = z > 0.0
        if left:
            size = below
        else:
            z = (math.log(lower) - m) / scale
            f, slope, _, share, rest = _noise(code, z)
            first, second, above = first - f, second - slope, above or z > 0.0
            size = rest - beyond if z > 0.0 else below - share
        likelihood = size
    g, h = _limits(code, scale, left, right, above)
    if size > 0.0:  # the derivatives of log(size) by z, divided by scale: those by m
        first, second = first / size, second / size
        g = first / scale
        curve = (first * first - second) / (scale * scale)
        h = curve if math.isfinite(curve) else h
    loss = -math.log(max(likelihood, SMALLEST))
    return loss, min(max(g, -STEEPEST), STEEPEST), min(max(h, FLATTEST), STEEPEST)


@kernel(fastmath=False)
def _rows(code, scale, margin, lower, upper, loss, g, h):
    """Losses, gradients and hessians of rows.

    margin, lower, upper  (n,) float32    in
    loss                  (n,) float64    out
    g, h                  (n,) float32    out
    Twin: tests/reference/objectives.py.
    """
    for i in range(len(margin)):
        loss[i], g[i], h[i] = _row(
            code, scale, np.float64(margin[i]), np.float64(lower[i]), np.float64(upper[i])
        )


def aft_gradients(
    code: int,
    scale: float,
    margin: NDArray[Any],
    lower: NDArray[Any],
    upper: NDArray[Any],
    g: NDArray[np.float32],
    h: NDArray[np.float32],
) -> NDArray[np.float64]:
    """Gradients, hessians and losses, not weighted.

    Parameters
    ----------
    code : int
        Distribution of the noise.
    scale : float
    margin : ndarray, shape (n,)
        Taken as float32, as are the bounds.
    lower, upper : ndarray, shape (n,)
        Bounds of the times; 0 and infinity where a side is open.
    g, h : ndarray of float32, shape (n,)
        Written to.

    Returns
    -------
    ndarray of float64, shape (n,)
        The losses.
    """
    margin, lower, upper = (readable(x, np.float32) for x in (margin, lower, upper))
    loss = np.empty(len(margin))
    if {len(x) for x in (lower, upper, g, h)} != {len(margin)}:
        raise ValueError("margins, bounds, gradients and hessians do not fit")

    def work(part: slice) -> None:
        _rows(
            code, float(scale), margin[part], lower[part], upper[part], loss[part], g[part],
            h[part],
        )  # fmt: skip

    run(work, chunks(len(margin), CHUNK))
    return loss


def aft_losses(
    code: int, scale: float, margin: NDArray[Any], lower: NDArray[Any], upper: NDArray[Any]
) -> NDArray[np.float64]:
    """The losses alone."""
    g, h = np.empty((2, len(margin)), np.float32)
    return aft_gradients(code, scale, margin, lower, upper, g, h)
