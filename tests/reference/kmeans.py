"""K-Means: sums by cluster, a mini-batch of the stream, Lloyd's iterations."""

import numpy as np


def add_rows(X, weights, labels, sums, mass, means):
    """Row after row."""
    weights = np.ones(len(X)) if weights is None else weights
    for x, w, j in zip(X, weights, labels, strict=True):
        sums[j] += float(w) * x.astype(np.float64)
        mass[j] += float(w)
    got = np.isin(np.arange(len(mass)), labels) & (mass > 0)
    means[got] = sums[got] / mass[got, None]


def nearest(X, centres):
    """(labels, squared distances), by differences; the lowest index wins ties."""
    square = ((X[:, None].astype(np.float64) - centres[None]) ** 2).sum(axis=2)
    return square.argmin(axis=1), square.min(axis=1)


def follow(X, centres, mass, fade=1.0):
    """A mini-batch, by the original's rule: p = n / (w + n); c = (1 - p) c + p d; w = w + n."""
    labels, _ = nearest(X, centres)
    mass *= fade
    for j in np.unique(labels):
        rows = X[labels == j].astype(np.float64)
        p = len(rows) / (mass[j] + len(rows))
        centres[j] = (1 - p) * centres[j] + p * rows.mean(axis=0)
        mass[j] += len(rows)


def lloyd(X, weights, centres, iterations):
    """So many iterations; (centres, labels, loss)."""
    centres = centres.astype(np.float64)
    for _ in range(iterations):
        labels, _ = nearest(X, centres)
        for j in np.unique(labels):
            own = labels == j
            centres[j] = np.average(X[own].astype(np.float64), axis=0, weights=weights[own])
    labels, square = nearest(X, centres)
    return centres, labels, float((weights * square).sum())
