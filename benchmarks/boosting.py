"""What all libraries of boosted trees are given and asked."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.data import of
from benchmarks.measure import measured
from benchmarks.quality import log_loss


def rows_of(folder: str, kind: str) -> tuple[Any, Any, Any, Any, int]:
    """(X, y, X_val, y_val, classes) that `benchmarks.data.make_boosting` made."""
    y, y_val = of(folder, "y", "y_val")
    if kind == "sparse":
        from scipy.sparse import load_npz

        X, X_val = (load_npz(Path(folder) / f"{n}.npz").tocsr() for n in ("X", "X_val"))
    else:
        X, X_val = of(folder, "X", "X_val")
    return X, y, X_val, y_val, int(y.max()) + 1


def warm_rows(X: Any, y: Any) -> tuple[Any, Any]:
    """Some rows of all classes, to warm up with."""
    some = np.unique(np.concatenate([np.flatnonzero(y == c)[:300] for c in np.unique(y)]))
    return (X.iloc[some] if hasattr(X, "iloc") else X[some]), y[some]


def held_out(y: np.ndarray, p: np.ndarray) -> dict[str, Any]:
    """{"quality": {"loss": log loss}} of probabilities (n,) or (n, classes)."""
    if p.ndim == 1:
        return {"quality": {"loss": log_loss(y, p)}}
    chosen = np.clip(p[np.arange(len(y)), y].astype(np.float64), 1e-12, 1)
    return {"quality": {"loss": float(-np.mean(np.log(chosen)))}}


def repeated(work: Callable[[], Any], rows: int) -> dict[str, Any]:
    """Time predictions; of one row, the median of many calls."""
    if rows > 1:
        return measured(work, warm=work, at_least=0.5, rows=rows)
    taken = []
    for _ in range(2000):
        began = time.perf_counter()
        work()
        taken.append(time.perf_counter() - began)
    return {"seconds": float(np.median(taken[500:]))}
