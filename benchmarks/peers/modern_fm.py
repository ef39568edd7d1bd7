"""Factorization machines, ours and modern-fm's, on rows of categories with planted factors."""

from importlib.metadata import version
from typing import Any

import numpy as np

from benchmarks.data import kept, of
from benchmarks.measure import measured, threads
from benchmarks.quality import log_loss

HELD = 100_000
WARM = 100_000  # more than there are in the tables of what many rows are for
PLANTED = 8  # numbers of a planted factor


def make(
    folder: str, rows: int, sizes: list[int], numbers: int = 0, skew: float = 3, fall: float = 1
) -> dict[str, Any]:
    """Rows of one category in each field, the frequent ones first, and `numbers` real columns.

    Labels are drawn from the probabilities of a factorization machine. The larger `skew`, the more
    frequent the first categories; each field matters `fall` times as much as the one before it.
    """
    rng = np.random.default_rng(0)
    n = rows + HELD
    starts = np.concatenate([[numbers], numbers + np.cumsum(sizes)])
    width = int(starts[-1])
    # Categories fall off as words of a language do: powers crowd towards 0.
    columns = [start + (size * rng.random(n) ** skew).astype(np.int64)
               for size, start in zip(sizes, starts[:-1], strict=True)]  # fmt: skip
    indices = np.empty((n, numbers + len(sizes)), np.int32)
    indices[:, :numbers] = np.arange(numbers)
    indices[:, numbers:] = np.column_stack(columns)
    values = np.ones(indices.shape, np.float32)
    values[:, :numbers] = rng.random((n, numbers), np.float32)
    of_field = fall ** np.arange(len(sizes) + (numbers > 0)) / np.sqrt(indices.shape[1])
    scale = np.repeat(of_field, [*[numbers] * (numbers > 0), *sizes])
    V = (scale[:, None] * rng.standard_normal((width, PLANTED))).astype(np.float32)
    w = (scale * rng.standard_normal(width)).astype(np.float32)
    parts = np.empty((2, n), np.float32)
    for a in range(0, n, 50_000):
        x, at = values[a : a + 50_000, :, None], indices[a : a + 50_000]
        terms = x * V[at]
        pairs = (terms.sum(axis=1) ** 2 - (terms**2).sum(axis=1)).sum(axis=1) / 2
        parts[:, a : a + 50_000] = pairs, (x[..., 0] * w[at]).sum(axis=1)
    margins = (parts / parts.std(axis=1, keepdims=True)).sum(axis=0)
    y = (rng.random(n) < 1 / (1 + np.exp(-margins))).astype(np.float32)
    return kept(
        folder, indices=indices[:rows], values=values[:rows], y=y[:rows],
        indices_held=indices[rows:], values_held=values[rows:], y_held=y[rows:],
        width=np.array(width),
    )  # fmt: skip


def sparse(folder: str, which: str = "") -> tuple[Any, np.ndarray]:
    """(rows as CSR, labels) that `make` wrote."""
    from scipy.sparse import csr_matrix

    indices, values, y = of(folder, *(f"{n}{which}" for n in ("indices", "values", "y")))
    n, m = indices.shape
    (width,) = of(folder, "width")
    offsets = np.arange(0, n * m + 1, m)
    return csr_matrix((values.reshape(-1), indices.reshape(-1), offsets), (n, int(width))), y


def told(folder: str, answer: dict[str, Any]) -> dict[str, Any]:
    """The answer of a cell, with the loss on rows held out."""
    X, y = sparse(folder, "_held")
    p = answer.pop("value").predict_proba(X)[:, 1]
    return answer | {"quality": {"log loss": log_loss(y, p)}}


def ours(folder: str, epochs: int, **given: Any) -> dict[str, Any]:
    """Whole fits."""
    from smalgos import FactorizationMachineClassifier

    X, y = sparse(folder)
    given = {
        "n_jobs": threads(),
        "mini_batch_size": 1000,
        "linear_wd": 0.0,
        "factors_wd": 0.0,
    } | given
    answer = measured(
        lambda: FactorizationMachineClassifier(epochs=epochs, **given).fit(X, y),
        warm=lambda: FactorizationMachineClassifier(epochs=1, **given).fit(X[:WARM], y[:WARM]),
        rows=epochs * len(y),
    )
    return {"version": version("smalgos")} | told(folder, answer)


def modern(folder: str, epochs: int, **given: Any) -> dict[str, Any]:
    """Whole fits by mini-batches as large as ours."""
    from modern_fm import FMClassifier

    X, y = sparse(folder)
    given = {"n_jobs": threads(), "batch_size": 1000, "random_state": 0} | given
    answer = measured(
        lambda: FMClassifier(max_iter=epochs, **given).fit(X, y),
        warm=lambda: FMClassifier(max_iter=1, **given).fit(X[:WARM], y[:WARM]),
        rows=epochs * len(y),
    )
    return {"version": version("modern-fm")} | told(folder, answer)
