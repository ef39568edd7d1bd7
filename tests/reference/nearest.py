"""Nearest points in plain NumPy, float64."""

import numpy as np


def distances(X, P):
    """Squared distances (n, k)."""
    return ((X[:, None].astype(np.float64) - P[None]) ** 2).sum(axis=2)


def assign(X, P):
    """Labels and squared distances (n,)."""
    square = distances(X, P)
    return square.argmin(axis=1), square.min(axis=1)


def top(X, P, k, metric="l2"):
    """Indices and values (n, k): nearest first, of equal float32 the lower index."""
    if metric == "l2":
        keys = distances(X, P).astype(np.float32)
    else:
        keys = -(X.astype(np.float64) @ P.T.astype(np.float64)).astype(np.float32)
    order = keys.argsort(axis=1, kind="stable")[:, :k]
    values = np.take_along_axis(keys, order, axis=1)
    return order, values if metric == "l2" else -values
