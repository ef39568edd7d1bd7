"""Sums of outer products and principal directions, float64, by the book."""

import numpy as np


def moments(X, shift):
    """Upper triangle of sum (x - shift)' (x - shift), and sum (x - shift)."""
    gram, total = np.zeros((X.shape[1],) * 2), np.zeros(X.shape[1])
    for x in X.astype(float) - shift:
        gram += np.outer(x, x)
        total += x
    return np.triu(gram), total


def top_eigen(C, k):
    """Largest eigenpairs by a full decomposition; the largest loading is positive."""
    values, vectors = np.linalg.eigh(np.triu(C) + np.triu(C, 1).T)
    values, vectors = values[::-1][:k], vectors[:, ::-1][:, :k]
    largest = np.abs(vectors).argmax(axis=0)
    return values, vectors * np.sign(vectors[largest, np.arange(k)])
