"""Search, projections and votes of K-Nearest Neighbors, from their definitions, in float64."""

import numpy as np


def far(x, P, metric):
    """What is smallest for the nearest of points P: squared distances, or negative products."""
    x, P = x.astype(np.float64), P.astype(np.float64)
    return ((P - x) ** 2).sum(axis=1) if metric == "l2" else -(P @ x)


def best(values, ids, k):
    """The k best of candidates: (values, ids), of equal values the smaller id first."""
    order = np.lexsort((ids, values))[:k]
    return values[order], ids[order]


def read_lists(x, centroids, sizes, nprobe, least):
    """The nearest lists of a row, and more until they hold `least` points."""
    order = np.lexsort((np.arange(len(centroids)), far(x, centroids, "l2")))
    held = np.cumsum(sizes[order]) - sizes[order]
    return [j for i, j in enumerate(order) if i < nprobe or held[i] < least]


def search_lists(x, points, offsets, ids, centroids, k, nprobe, metric):
    """Ids of the k best points of the lists that a row reads."""
    lists = read_lists(x, centroids, np.diff(offsets), nprobe, k)
    at = np.concatenate([np.arange(offsets[j], offsets[j + 1]) for j in lists])
    return best(far(x, points[at], metric), ids[at], k)


def hadamard(X, signs, picked):
    """S H D x / sqrt(t), H the Walsh-Hadamard matrix of the size that holds x."""
    size = 1 << max(X.shape[1] - 1, 0).bit_length()
    H = np.ones((1, 1))
    while len(H) < size:
        H = np.block([[H, H], [H, -H]])
    padded = np.zeros((len(X), size))
    padded[:, : X.shape[1]] = X * signs
    return (padded @ H.T)[:, picked] / np.sqrt(len(picked))


def decode(codes, codebooks):
    """What codes stand for."""
    return np.stack([np.concatenate([codebooks[s, c] for s, c in enumerate(row)]) for row in codes])


def majority(codes, weights):
    """The code with the greatest weight; of equal ones the smallest."""
    found = []
    for row, w in zip(codes, weights, strict=True):
        tally = {c: w[row == c].sum() for c in row}
        found.append(min(tally, key=lambda c: (-tally[c], c)))
    return np.array(found)
