"""scikit-learn."""

from importlib.metadata import version
from pathlib import Path

import numpy as np
from scipy.sparse import csr_matrix
from scipy.sparse.linalg import eigsh
from sklearn.datasets import load_svmlight_file
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression, SGDClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from benchmarks.boosting import held_out, repeated, rows_of, warm_rows
from benchmarks.data import at_hand, classes_of_two, kept, low_rank, of
from benchmarks.measure import measured
from benchmarks.quality import distance, log_loss, lost

VERSION = {"version": version("scikit-learn")}
WARM_ROWS = 2_000


def make_pca(folder: str, rows: int, width: int, components: int) -> dict:
    """A matrix, and its exact components."""
    return _with_components(folder, low_rank(rows, width), components)


def make_digits(folder: str, components: int) -> dict:
    """The training images of MNIST, and their exact components."""
    with np.load(at_hand("mnist/mnist.npz")) as given:
        X = given["x_train"].reshape(-1, 784).astype(np.float32)
    return _with_components(folder, X, components)


def make_sparse_pca(folder: str, rows: int, width: int, entries: int) -> dict:
    """Rows of so many entries each, more of them in the first columns."""
    rng = np.random.default_rng(0)
    columns = np.sort((width * rng.random((rows, entries)) ** 2).astype(np.int32), axis=1)
    values = rng.standard_normal((rows, entries), np.float32)
    return kept(folder, values=values, columns=columns, width=np.array(width))


def sparse_rows(folder: str) -> csr_matrix:
    """What `make_sparse_pca` left."""
    values, columns, width = of(folder, "values", "columns", "width")
    n, entries = values.shape
    offsets = np.arange(n + 1) * entries
    X = csr_matrix((values.ravel(), columns.ravel(), offsets), shape=(n, int(width)))
    X.sum_duplicates()
    return X


def _with_components(folder: str, X: np.ndarray, components: int) -> dict:
    width = X.shape[1]
    scatter, mean = np.zeros((width, width)), X.mean(axis=0, dtype=np.float64)
    exact = width <= 1000  # float64 takes minutes where rows are wide
    for a in range(0, len(X), 20_000):
        part = (X[a : a + 20_000] - mean).astype(np.float64 if exact else np.float32)
        scatter += part.T @ part
    values, vectors = np.linalg.eigh(scatter) if exact else eigsh(scatter, components)
    top = slice(-1, -components - 1, -1)
    return kept(folder, X=X, s=np.sqrt(values[top]), v=vectors[:, top].T)


def fit_pca(folder: str, components: int, solver: str = "covariance_eigh", cls: type = PCA) -> dict:
    """By the covariance matrix: the fastest of its exact solvers for tall data."""
    (X,) = of(folder, "X")
    make = lambda: cls(n_components=components, svd_solver=solver, random_state=0)  # noqa: E731
    told = measured(lambda: make().fit(X), warm=lambda: make().fit(X[:WARM_ROWS]))
    judge = lost if solver == "randomized" else distance
    return VERSION | told | {"quality": judge(folder, told["value"])}


def fit_sparse_pca(folder: str, components: int) -> dict:
    """By Lanczos' iterations, which take sparse rows as they are."""
    X = sparse_rows(folder)
    make = lambda: PCA(n_components=components, svd_solver="arpack", random_state=0)  # noqa: E731
    told = measured(lambda: make().fit(X), warm=lambda: make().fit(X[:WARM_ROWS]))
    share = float(told["value"].explained_variance_ratio_.sum())
    return VERSION | told | {"quality": {"explained": share}}


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

    told = measured(lambda: work(), warm=lambda: work(*warm_rows(X, y), 2), at_least=0.5)
    p = told["value"].predict_proba(X_val)
    return VERSION | told | held_out(y_val, p if classes > 2 else p[:, 1])


def predict_boosted_trees(folder: str, rows: int) -> dict:
    """From an array to an array."""
    X, y, _, _, _ = rows_of(folder, "dense")
    model = boosted_trees("dense", 100, 6, 0).fit(X[:100_000], y[:100_000])
    asked = X if rows == 0 else np.ascontiguousarray(X[:rows])
    return VERSION | repeated(lambda: model.decision_function(asked), len(asked))
