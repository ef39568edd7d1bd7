"""LightGBM."""

from importlib.metadata import version
from typing import Any

import lightgbm
import numpy as np

from benchmarks.boosting import held_out, repeated, rows_of, warm_rows
from benchmarks.measure import measured, threads

VERSION = {"version": version("lightgbm")}


def settings(
    rounds: int, depth: int, leaves: int, quantised: bool, classes: int, seed: int = 0
) -> dict[str, Any]:
    """What all peers are given, as LightGBM spells it."""
    given: dict[str, Any] = {
        "objective": "multiclass" if classes > 2 else "binary", "learning_rate": 0.1,
        "num_leaves": leaves or 2**depth, "max_depth": depth or -1, "max_bin": 255,
        "min_data_in_leaf": 1, "min_sum_hessian_in_leaf": 1, "lambda_l2": 1,
        "num_threads": threads(), "verbosity": -1, "use_quantized_grad": quantised,
        "seed": seed,
    }  # fmt: skip
    return given | ({"num_class": classes} if classes > 2 else {})


def fit(
    folder: str, kind: str, rounds: int, depth: int, leaves: int = 0, quantised: bool = False,
    seed: int = 0,
) -> dict:  # fmt: skip
    """Binning and training."""
    X, y, X_val, y_val, classes = rows_of(folder, kind)
    given = settings(rounds, depth, leaves, quantised, classes, seed)
    categories = list(range(10)) if kind == "categories" else "auto"

    def work(X: Any = X, y: Any = y, rounds: int = rounds) -> Any:
        data = lightgbm.Dataset(X, y, categorical_feature=categories)
        return lightgbm.train(given, data, rounds)

    told = measured(lambda: work(), warm=lambda: work(*warm_rows(X, y), 2), at_least=0.5)
    return VERSION | told | held_out(y_val, told["value"].predict(X_val))


def predict(folder: str, rows: int) -> dict:
    """From an array to an array."""
    X, y, _, _, classes = rows_of(folder, "dense")
    given = settings(100, 6, 0, False, classes)
    model = lightgbm.train(given, lightgbm.Dataset(X[:100_000], y[:100_000]), 100)
    asked = X if rows == 0 else np.ascontiguousarray(X[:rows])
    return VERSION | repeated(lambda: model.predict(asked, num_threads=threads()), len(asked))
