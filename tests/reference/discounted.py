"""Slow and obvious: discounted means and deviations from their definition."""

import numpy as np


def mean(x, discount):
    """Of numbers x, oldest first; the one i before the last counts (1 - discount)**i."""
    if not len(x):
        return 0.0
    weights = (1.0 - discount) ** np.arange(len(x))[::-1]
    return float((weights * x).sum() / weights.sum())


def deviation(x, discount):
    """Root of the mean squared difference from the mean."""
    around = np.asarray(x, np.float64) - mean(x, discount)
    return mean(around * around, discount) ** 0.5


def moments(X, missing, decay):
    """Means (5, d) and deviations (2, d) of a series' columns after its last row.

    Parameters
    ----------
    X : ndarray of float64, shape (n, d)
    missing : ndarray of bool, shape (n, d)
        Values that were made up: they count for the steps alone.
    decay : float
    """
    d = X.shape[1]
    means, deviations = np.zeros((5, d)), np.zeros((2, d))
    for k in range(d):
        values, steps, spread, drift, roughness = [], [], [], [], []
        for i, x in enumerate(X[:, k]):
            steps.append(x - X[i - 1, k] if i else 0.0)
            if not missing[i, k]:
                values.append(x)
                spread.append(deviation(values, decay))
            drift.append(mean(steps, decay))
            roughness.append(deviation(steps, decay))
        kinds = (values, decay), (steps, decay), (spread, decay)
        kinds += (drift, 0.1 * decay), (roughness, 0.1 * decay)
        means[:, k] = [mean(*kind) for kind in kinds]
        deviations[:, k] = [deviation(*kind) for kind in kinds[:2]]
    return means, deviations
