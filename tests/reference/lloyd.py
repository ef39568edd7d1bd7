"""Lloyd's iteration and k-means++ in plain NumPy, float64."""

import numpy as np

from tests.reference import nearest


def means(X, weights, labels, centres):
    """Weighted means of the rows of each cluster; that of an empty one stays."""
    out = centres.astype(np.float64)
    for j in range(len(centres)):
        own = labels == j
        if weights[own].sum() > 0:
            out[j] = (weights[own, None] * X[own].astype(np.float64)).sum(axis=0)
            out[j] /= weights[own].sum()
    return out


def inertia(X, weights, labels, centres):
    """Weighted sum of squared distances to the own centre."""
    return (weights * ((X.astype(np.float64) - centres[labels]) ** 2).sum(axis=1)).sum()


def seed_plus_plus(X, weights, k, draws, candidates=1):
    """Numbers of rows drawn by weight times squared distance to those before."""
    mass, closest, chosen = weights.astype(np.float64), np.full(len(X), np.inf), []
    for i in range(k):
        sums = np.cumsum(mass)
        tried = []
        for u in draws[i, : candidates if i else 1]:
            row = int((sums <= u * sums[-1]).sum())
            near = np.minimum(closest, nearest.distances(X, X[row : row + 1])[:, 0])
            tried.append(((weights * near).sum(), row, near))
        _, row, closest = min(tried, key=lambda t: t[0])
        chosen.append(row)
        mass = weights * closest
    return np.array(chosen)
