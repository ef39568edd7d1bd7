"""How good an answer is, the same for all libraries."""

import numpy as np

from benchmarks.data import of


def digest(matrix: np.ndarray) -> dict[str, float]:
    """A number to see by that readers agree; the matrix must be as the case wants it."""
    if matrix.dtype != np.float32 or not matrix.flags.c_contiguous:
        raise TypeError(f"{matrix.dtype}, {matrix.flags}")
    return {"sum": float(matrix.sum(dtype=np.float64))}


def log_loss(y: np.ndarray, p: np.ndarray) -> float:
    """Mean of -log p of what is so."""
    p = np.clip(p.astype(np.float64), 1e-12, 1 - 1e-12)
    return float(-np.mean(np.where(y == 1, np.log(p), np.log1p(-p))))


def distance(folder: str, fitted: object) -> dict[str, float]:
    """Relative error of the singular values, sine of the largest angle between the subspaces."""
    s, v = of(folder, "s", "v")
    own = fitted.components_.astype(np.float64)
    residual = own.T - v.T @ (v @ own.T)
    return {
        "singular values": float(np.abs(fitted.singular_values_ / s - 1).max()),
        "angle": float(np.linalg.norm(residual, 2)),
    }


def lost(folder: str, fitted: object) -> dict[str, float]:
    """Share of the variance that as many exact components retain, and these do not."""
    X, s = of(folder, "X", "s")
    v, mean = fitted.components_.astype(np.float64).T, X.mean(axis=0, dtype=np.float64)
    retained = sum(
        float(np.sum(((X[a : a + 5_000] - mean) @ v) ** 2)) for a in range(0, len(X), 5_000)
    )
    return {"lost": 1 - retained / float(np.sum(s**2))}
