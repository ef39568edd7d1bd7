"""XGBoost: its reader of libsvm, and its trees."""

from pathlib import Path
from typing import Any

import numpy as np
import xgboost

from benchmarks.boosting import held_out, repeated, rows_of, warm_rows
from benchmarks.measure import measured, threads

VERSION = {"version": xgboost.__version__}


def read_libsvm(path: str) -> dict:
    """To its own matrix."""
    work = lambda: xgboost.DMatrix(f"{path}?format=libsvm", silent=True)  # noqa: E731
    told = measured(work, warm=work, at_least=0.5, bytes=Path(path).stat().st_size)
    return told | VERSION


def settings(depth: int, leaves: int, classes: int, seed: int = 0) -> dict[str, Any]:
    """What all peers are given, as XGBoost spells it."""
    given: dict[str, Any] = {
        "objective": "multi:softprob" if classes > 2 else "binary:logistic", "eta": 0.1,
        "max_depth": depth, "max_bin": 256, "tree_method": "hist", "nthread": threads(),
        "seed": seed,
    }  # fmt: skip
    if leaves:
        given |= {"grow_policy": "lossguide", "max_leaves": leaves}
    return given | ({"num_class": classes} if classes > 2 else {})


def fit(folder: str, kind: str, rounds: int, depth: int, leaves: int = 0, seed: int = 0) -> dict:
    """Binning and training."""
    X, y, X_val, y_val, classes = rows_of(folder, kind)
    given = settings(depth, leaves, classes, seed)
    types = ["c"] * 10 + ["q"] * (X.shape[1] - 10) if kind == "categories" else None
    more: dict[str, Any] = {"feature_types": types, "enable_categorical": types is not None}

    def work(X: Any = X, y: Any = y, rounds: int = rounds) -> Any:
        return xgboost.train(given, xgboost.QuantileDMatrix(X, y, max_bin=256, **more), rounds)

    told = measured(lambda: work(), warm=lambda: work(*warm_rows(X, y), 2), at_least=0.5)
    return VERSION | told | held_out(y_val, told["value"].predict(xgboost.DMatrix(X_val, **more)))


def predict(folder: str, rows: int) -> dict:
    """From an array to an array."""
    X, y, _, _, classes = rows_of(folder, "dense")
    model = xgboost.train(settings(6, 0, classes), xgboost.DMatrix(X[:100_000], y[:100_000]), 100)
    asked = X if rows == 0 else np.ascontiguousarray(X[:rows])
    return VERSION | repeated(lambda: model.inplace_predict(asked), len(asked))
