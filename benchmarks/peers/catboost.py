"""CatBoost."""

from importlib.metadata import version
from typing import Any

import catboost
import numpy as np

from benchmarks.boosting import held_out, repeated, rows_of, warm_rows
from benchmarks.measure import measured, threads

VERSION = {"version": version("catboost")}


def make(rounds: int, depth: int, classes: int, seed: int = 0) -> Any:
    """What all peers are given, as CatBoost spells it; its trees are symmetric."""
    return catboost.CatBoostClassifier(
        iterations=rounds, learning_rate=0.1, depth=depth, border_count=254, l2_leaf_reg=1,
        bootstrap_type="No", thread_count=threads(), verbose=False, allow_writing_files=False,
        random_seed=seed,
        loss_function="MultiClass" if classes > 2 else "Logloss",
    )  # fmt: skip


def fit(folder: str, kind: str, rounds: int, depth: int, leaves: int = 0, seed: int = 0) -> dict:
    """Binning and training."""
    X, y, X_val, y_val, classes = rows_of(folder, kind)
    columns: dict[str, Any] = {}
    if kind == "categories":
        import pandas as pd

        columns = {"cat_features": list(range(10))}
        X, X_val = (pd.DataFrame(x).astype({f: int for f in range(10)}) for x in (X, X_val))

    def work(X: Any = X, y: Any = y, rounds: int = rounds) -> Any:
        return make(rounds, depth, classes, seed).fit(X, y, **columns)

    told = measured(lambda: work(), warm=lambda: work(*warm_rows(X, y), 2), at_least=0.5)
    p = told["value"].predict_proba(X_val)
    return VERSION | told | held_out(y_val, p if classes > 2 else p[:, 1])


def predict(folder: str, rows: int) -> dict:
    """From an array to an array."""
    X, y, _, _, classes = rows_of(folder, "dense")
    model = make(100, 6, classes).fit(X[:100_000], y[:100_000])
    asked = X if rows == 0 else np.ascontiguousarray(X[:rows])
    work = lambda: model.predict(asked, "RawFormulaVal", thread_count=threads())  # noqa: E731
    return VERSION | repeated(work, len(asked))
