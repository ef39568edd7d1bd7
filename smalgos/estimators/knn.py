"""K-Nearest Neighbors for scikit-learn."""

from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import RegressorMixin

from smalgos.algorithms.knn.model import KNNModel
from smalgos.errors import UserError
from smalgos.estimators.base import Classifier, Estimator, _noted
from smalgos.learning.model import Model

AT_ASKING = {"k": "neighbours", "nprobe": "nprobe", "weights": "weights"}


class KNN(Estimator):
    """What classifier and regressor have in common.

    `k`, `nprobe` and `weights` may be set anew after fitting: they count when neighbours are asked.
    """

    model_: KNNModel

    def fit(self, X: Any, y: Any) -> Self:
        """Take rows to be the neighbours of others.

        Parameters
        ----------
        X : array-like or sparse matrix, shape (n_samples, n_features)
            Taken as float32.
        y : array-like, shape (n_samples,)

        Returns
        -------
        self

        Raises
        ------
        UserError
            For bad data or hyperparameters; a kind of ValueError.
        """
        self._announced = False
        return self._fit(X, y)

    @classmethod
    def shows(cls, model: Model) -> bool:
        """Whether it is of this class's kind."""
        kind = "regressor" if issubclass(cls, RegressorMixin) else "classifier"
        return isinstance(model, KNNModel) and model.predictor_type == kind

    def _settle(self) -> dict[str, Any]:
        kind = "regressor" if isinstance(self, RegressorMixin) else "classifier"
        return {"predictor_type": kind}

    def _asked(self) -> dict[str, Any]:
        """What counts when neighbours are asked, checked."""
        self._check_fitted()
        table = self.algorithm.parameters.table
        return {name: table[name].check(getattr(self, name)) for name in AT_ASKING}

    def _said(self, X: Any) -> NDArray[np.float32]:
        asked = self._asked()
        block = self._block(X).on(self.model_.k)
        with self._working(self.model_.k):
            said: NDArray[np.float32] = self.model_.predict(block, **asked)["predicted_label"]
            return said

    def save(self, path: str | Path, *, state: bool = False) -> None:
        """Write the model as one safetensors file, with `k`, `nprobe`, `weights` as they are now.

        Parameters and errors as those of every estimator's `save`.
        """
        asked = self._asked()
        noted = self.model_.notes["hyperparameters"]
        self.model_.notes["hyperparameters"] = noted | asked
        for name, field in AT_ASKING.items():
            setattr(self.model_, field, asked[name])
        super().save(path, state=state)

    # -- neighbours

    @property
    def n_samples_fit_(self) -> int:
        """Rows that may be neighbours."""
        return len(self.model_.labels)

    @property
    def sample_indices_(self) -> NDArray[np.int64]:
        """Numbers (n_samples_fit_,) of the training rows that may be neighbours, ascending."""
        return self.model_.rows

    def kneighbors(
        self, X: Any = None, n_neighbors: int | None = None, return_distance: bool = True
    ) -> Any:
        """The nearest rows of the sample.

        Parameters
        ----------
        X : array-like or sparse matrix, shape (n_queries, n_features), optional
            Without it, the sample's own rows, none of which is a neighbour of itself.
        n_neighbors : int, optional
            In the place of `k`.
        return_distance : bool

        Returns
        -------
        distances : ndarray of float64, shape (n_queries, n_neighbors)
            Ascending: Euclidean ones, 1 - cosine, or the negative of the inner product. Estimates
            if the index has only codes. Left out without `return_distance`.
        indices : ndarray of int64, shape (n_queries, n_neighbors)
            Numbers in the sample: of X as it was fitted, unless `sample_size` left rows out; then
            ``sample_indices_[indices]`` are. Of equally near rows the first ones.

        Raises
        ------
        UserError
            When there are not so many rows, or X is left out and the index has only codes.
        """
        asked, model = self._asked(), self.model_
        table = self.algorithm.parameters.table
        k = asked["k"] if n_neighbors is None else table["k"].check(n_neighbors)
        if X is None:
            with self._working(model.k):
                indices, values = self._without_itself(k, asked["nprobe"])
        else:
            block = self._finite_block(X)
            with self._working(model.k):
                indices, values = model.search(block.features, k, asked["nprobe"])
        return (model.lengths(values), indices) if return_distance else indices

    def _without_itself(self, k: int, nprobe: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        model = self.model_
        n = len(model.labels)
        if k >= n:
            raise UserError(
                f"n_neighbors={k}: Expected n_neighbors < n_samples_fit, but n_neighbors = {k}, "
                f"n_samples_fit = {n}, and no row is a neighbour of itself"
            )
        if model.points is None:
            raise UserError("the index holds codes, not its rows: give them as X")
        points = model.points
        if model.order is not None:
            points = np.empty_like(points)
            points[model.order] = model.points
        indices, values = model.near(points, k + 1, nprobe)
        own = indices == np.arange(n)[:, None]
        own[~own.any(axis=1), -1] = True  # others are as near: the last one goes
        return indices[~own].reshape(n, k), values[~own].reshape(n, k)

    def kneighbors_graph(
        self, X: Any = None, n_neighbors: int | None = None, mode: str = "connectivity"
    ) -> Any:
        """The nearest rows as a sparse matrix.

        Parameters
        ----------
        X, n_neighbors
            As those of `kneighbors`.
        mode : {"connectivity", "distance"}
            Ones, or distances.

        Returns
        -------
        scipy.sparse.csr_matrix, shape (n_queries, n_samples_fit_)

        Raises
        ------
        UserError
        """
        from scipy.sparse import csr_matrix

        if mode not in ("connectivity", "distance"):
            raise UserError(f"mode={mode!r}: must be one of connectivity, distance")
        distances, indices = self.kneighbors(X, n_neighbors)
        n, k = indices.shape
        values = np.ones(n * k) if mode == "connectivity" else distances.reshape(-1)
        starts = np.arange(0, n * k + 1, k)
        return csr_matrix((values, indices.reshape(-1), starts), (n, self.n_samples_fit_))


class KNNClassifier(Classifier, KNN, algorithm="knn"):
    """The label that most of the nearest rows have.

    Where several labels are as frequent, the smallest one.
    """

    _codes: NDArray[np.float32] | None = None  # labels of the model that classes_ are, if not 0..

    def partial_fit(self, X: Any, y: Any, classes: Any = None) -> Self:
        """Add rows; the same as one `fit` on all of them.

        Parameters
        ----------
        X, y : array-like
            As in `fit`.
        classes : array-like, optional
            All labels that there will be; needed at the first call unless y holds them all.

        Returns
        -------
        self
        """
        self._announce(classes)
        return self._partial_fit(X, y)

    def _restore(self, model: Model) -> None:
        assert isinstance(model, KNNModel)
        Estimator._restore(self, model)
        known = model.classes
        if "classes" not in model.notes:  # labels as they were, not numbers of classes
            self.classes_, self._codes = known.astype(np.int64), known
            return
        noted = model.notes["classes"]
        count = len(noted) if isinstance(noted, list) else 0
        self.classes_ = np.array(_noted(model, "classes", count, bool, int, float, str))
        if known.min() < 0 or known.max() >= count or (known != np.floor(known)).any():
            raise UserError(f"its labels are not numbers of the {count} classes in its notes")

    def _targets(self, y: Any, *, reset: bool) -> Any:
        if reset:
            self._codes = None
        codes = super()._targets(y, reset=reset)
        return codes if self._codes is None else self._codes[codes.astype(np.int64)]

    def _places(self, labels: NDArray[np.float32]) -> NDArray[np.int64]:
        """Places in classes_ of the model's labels."""
        if self._codes is None:
            return labels.astype(np.int64)
        return np.searchsorted(self._codes, labels).astype(np.int64)

    def predict(self, X: Any) -> Any:
        """The predicted class of each row."""
        said = self._said(X)  # first: it finds out if nothing was fitted
        return self.classes_[self._places(said)]

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Shares of the classes in the neighbours' votes.

        Returns
        -------
        ndarray of float64, shape (n_samples, n_classes)
        """
        asked = self._asked()
        block = self._block(X).on(self.model_.k)
        with self._working(self.model_.k):
            shares = self.model_.shares(block, **asked)
        out = np.zeros((len(shares), len(self.classes_)))
        out[:, self._places(self.model_.classes)] = shares
        return out


class KNNRegressor(RegressorMixin, KNN, algorithm="knn"):  # type: ignore[misc]
    """The mean of what the nearest rows are labelled with."""

    def partial_fit(self, X: Any, y: Any) -> Self:
        """Add rows; the same as one `fit` on all of them.

        Returns
        -------
        self
        """
        return self._partial_fit(X, y)

    def _targets(self, y: Any, *, reset: bool) -> Any:
        return np.asarray(y, np.float32)

    def predict(self, X: Any) -> NDArray[np.float32]:
        """The predicted value of each row."""
        return self._said(X)
