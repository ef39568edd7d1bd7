"""A scatter matrix times a few directions, and what it says of the components; by the book."""

import numpy as np


def sketch(X, shift, W):
    """sum z z' W, sum z, and the sum of squares, for z = x - shift."""
    product, total, squares = np.zeros(W.shape), np.zeros(len(W)), 0.0
    for x in X.astype(float) - shift:
        product += np.outer(x, x @ W)
        total += x
        squares += x @ x
    return product, total, squares


def nystrom(C, W, k):
    """Largest eigenpairs of C W (W' C W)^+ W' C by a full decomposition."""
    Y = C @ W
    values, vectors = np.linalg.eigh(Y @ np.linalg.pinv(W.T @ Y, hermitian=True) @ Y.T)
    return values[::-1][:k], vectors[:, ::-1][:, :k]
