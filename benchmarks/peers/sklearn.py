"""scikit-learn."""

from importlib.metadata import version
from pathlib import Path

import numpy as np
from sklearn.datasets import load_svmlight_file
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression, SGDClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from benchmarks.boosting import held_out, repeated, rows_of, warm_rows
from benchmarks.data import classes_of_two, kept, low_rank, of
from benchmarks.measure import measured
from benchmarks.quality import distance, log_loss

VERSION = {"version": version("scikit-learn")}
WARM_ROWS = 2_000


def make_pca(folder: str, rows: int, width: int, components: int) -> dict:
    """A matrix, and its exact components."""
    X = low_rank(rows, width)
    scatter, mean = np.zeros((width, width)), X.mean(axis=0, dtype=np.float64)
    for a in range(0, rows, 20_000):
        part = X[a : a + 20_000] - mean
        scatter += part.T @ part
    values, vectors = np.linalg.eigh(scatter)
    top = slice(-1, -components - 1, -1)
    return kept(folder, X=X, s=np.sqrt(values[top]), v=vectors[:, top].T)


def fit_pca(folder: str, components: int, cls: type = PCA) -> dict:
    """By the covariance matrix: the fastest of its exact solvers for tall data."""
    (X,) = of(folder, "X")
    make = lambda: cls(n_components=components, svd_solver="covariance_eigh")  # noqa: E731
    told = measured(lambda: make().fit(X), warm=lambda: make().fit(X[:WARM_ROWS]))
    return VERSION | told | {"quality": distance(folder, told["value"])}


def fit_sgd(folder: str, **settings: float) -> dict:
    """SGDClassifier on scaled features; scaling is part of the time."""
    settings = {"loss": "log_loss", "tol": None, "random_state": 0, **settings}
    return _fit(folder, lambda: make_pipeline(StandardScaler(), SGDClassifier(**settings)))


def fit_lbfgs(folder: str, **settings: float) -> dict:
    """LogisticRegression on scaled features; scaling is part of the time."""
    settings = {"solver": "lbfgs", "tol": 1e-12, **settings}
    return _fit(folder, lambda: make_pipeline(StandardScaler(), LogisticRegression(**settings)))


def _fit(folder: str, make) -> dict:
    X, y, X_val, y_val = of(folder, "X", "y", "X_val", "y_val")
    small = classes_of_two(4_000, X.shape[1])
    told = measured(lambda: make().fit(X, y), warm=lambda: make().fit(*small))
    loss = log_loss(y_val, told["value"].predict_proba(X_val)[:, 1])
    return VERSION | told | {"quality": {"log loss": loss}}


def read_libsvm(path: str) -> dict:
    """To a sparse float32 matrix."""
    work = lambda: load_svmlight_file(path, dtype=np.float32)[0]  # noqa: E731
    told = measured(work, warm=work, at_least=0.5, bytes=Path(path).stat().st_size)
    return VERSION | told | {"quality": {"sum": float(told["value"].data.sum(dtype=np.float64))}}


def boosted_trees(kind: str, rounds: int, depth: int, leaves: int, seed: int = 0):
    """What all peers are given, as HistGradientBoostingClassifier spells it."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    return HistGradientBoostingClassifier(
        learning_rate=0.1, max_iter=rounds, max_depth=depth or None, max_leaf_nodes=leaves or None,
        l2_regularization=1, min_samples_leaf=1, max_bins=255, early_stopping=False,
        random_state=seed, categorical_features=list(range(10)) if kind == "categories" else None,
    )  # fmt: skip


def fit_boosted_trees(
    folder: str, kind: str, rounds: int, depth: int, leaves: int = 0, seed: int = 0
) -> dict:
    """Binning and training."""
    X, y, X_val, y_val, classes = rows_of(folder, kind)

    def work(X=X, y=y, rounds=rounds):
        return boosted_trees(kind, rounds, depth, leaves, seed).fit(X, y)

    told = measured(lambda: work(), warm=lambda: work(*warm_rows(X, y), 2))
    p = told["value"].predict_proba(X_val)
    return VERSION | told | held_out(y_val, p if classes > 2 else p[:, 1])


def predict_boosted_trees(folder: str, rows: int) -> dict:
    """From an array to an array."""
    X, y, _, _, _ = rows_of(folder, "dense")
    model = boosted_trees("dense", 100, 6, 0).fit(X[:100_000], y[:100_000])
    asked = X if rows == 0 else np.ascontiguousarray(X[:rows])
    return VERSION | repeated(lambda: model.decision_function(asked), len(asked))
