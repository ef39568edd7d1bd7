"""Random Cut Forest for scikit-learn."""

from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import OutlierMixin
from sklearn.utils.validation import check_array

from smalgos.algorithms.random_cut_forest.model import LEAF, RandomCutForestModel
from smalgos.errors import UserError
from smalgos.estimators.base import Estimator
from smalgos.estimators.forest_queries import ForestQueries
from smalgos.formats.block import Block
from smalgos.learning.series import shingle


class RandomCutForest(
    ForestQueries, OutlierMixin, Estimator, algorithm="randomcutforest"  # type: ignore[misc]
):  # fmt: skip
    """Anomalies: rows that random cuts part from all others soon.

    With a `shingle_size` above 1, rows are those of a series, in the order of time, and the score
    of a row is that of the shingle that ends with it; of the first rows, which end none, it is 0.
    Where scores are asked for, X may also hold whole shingles, as `smalgos.shingle` makes them.

    Attributes
    ----------
    offset_ : float
        `score_samples` below it are those of anomalies: see `contamination`.
    """

    _leaf = LEAF
    model_: RandomCutForestModel

    def fit(self, X: Any, y: Any = None) -> Self:
        """Grow trees from a sample of rows.

        Parameters
        ----------
        X : array-like or sparse matrix, shape (n_samples, n_features)
            Taken as float32. At least two rows, or one for each tree where they are consecutive.
        y : ignored

        Returns
        -------
        self

        Raises
        ------
        UserError
            For bad data or hyperparameters; a kind of ValueError.
        """
        return self._fit(X)

    def partial_fit(self, X: Any, y: Any = None) -> Self:
        """Grow the trees anew, from a sample of these rows and those before.

        The same as one `fit` on all of them; parameters as there.
        """
        return self._partial_fit(X)

    # -- scores

    @property
    def offset_(self) -> float:
        """The threshold of `score_samples`."""
        return -float(self.model_.threshold)

    def anomaly_score(self, X: Any) -> NDArray[np.float64]:
        """How far rows are from all else.

        Parameters
        ----------
        X : array-like or sparse matrix, shape (n_samples, n_features)

        Returns
        -------
        ndarray of float64, shape (n_samples,)
            Below 1 for most rows; of what is far from all others up to the logarithm, to base 2,
            of the rows of a tree + 1.
        """
        block = self._asked(X)
        with self._working(self.model_.k):
            scores: NDArray[np.float64] = self.model_.predict(block)["score"]
        return scores

    def score_samples(self, X: Any) -> NDArray[np.float64]:
        """The negative of `anomaly_score`: the lower, the more abnormal."""
        return -self.anomaly_score(X)

    def decision_function(self, X: Any) -> NDArray[np.float64]:
        """`score_samples` less `offset_`: negative for anomalies."""
        return self.score_samples(X) - self.offset_

    def predict(self, X: Any) -> NDArray[np.int64]:
        """-1 for anomalies, 1 for other rows; (n_samples,)."""
        return np.where(self.decision_function(X) < 0, -1, 1)

    # -- other questions

    def _asked(self, X: Any) -> Block:
        """Rows as they were fitted, or whole shingles."""
        self._check_fitted()
        width = self.model_.width
        if width != self.n_features_in_ and np.shape(X)[1:] == (width,):
            return Block.of(
                check_array(
                    X, accept_sparse="csr", dtype=np.float32, order="C", ensure_all_finite=False
                )
            )
        return self._block(X)

    def _trees_and_points(self, X: Any, missing: Any = None) -> tuple[Any, Any, Any]:
        features, model = self._asked(X).features, self.model_
        points = list(model.points(features))
        if missing is not None and features.shape[1] != model.width:
            gaps = np.asarray(missing, np.bool_)
            if gaps.shape != features.shape:
                raise UserError(f"missing has shape {gaps.shape}, and X {features.shape}")
            missing = shingle(gaps, model.shingle_size) > 0
        empty = np.empty((0, model.width), np.float32)
        return model.trees, np.concatenate(points) if points else empty, missing

    def _answering(self) -> Any:
        return self._working(self.model_.k)

    # -- files

    def _row_width(self, model: RandomCutForestModel) -> int:
        return model.row_width
