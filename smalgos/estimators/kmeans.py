"""K-Means for scikit-learn."""

from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import ClassNamePrefixFeaturesOutMixin, ClusterMixin, TransformerMixin

from smalgos.algorithms.kmeans.model import KMeansModel
from smalgos.errors import UserError
from smalgos.estimators.base import Estimator
from smalgos.formats.channel import Stream

INIT = """
init : array-like of shape (k, n_features), default=None
    Centres to start from, before any are chosen among the rows."""


class KMeans(
    ClassNamePrefixFeaturesOutMixin, TransformerMixin, ClusterMixin, Estimator,  # type: ignore[misc]
    algorithm="kmeans",
):  # fmt: skip
    """Clusters around means: from one pass over the rows, or by Lloyd's iterations.

    Attributes
    ----------
    labels_ : ndarray of int32, shape (n_samples,)
        The nearest centre of each row of the last `fit` or `partial_fit`.
    inertia_ : float
        Sum of their squared distances to it, weighted.
    """

    extra = {"init": None}  # noqa: RUF012
    extra_doc = INIT

    model_: KMeansModel
    labels_: NDArray[np.int32]
    inertia_: float

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Find clusters.

        Parameters
        ----------
        X : array-like or sparse matrix, shape (n_samples, n_features)
            Taken as float32.
        y : ignored
        sample_weight : array-like, shape (n_samples,), optional

        Returns
        -------
        self

        Raises
        ------
        UserError
            For bad data or hyperparameters; a kind of ValueError.
        """
        return self._fit(X, None, sample_weight)

    def partial_fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Let the centres follow more rows; parameters as those of `fit`.

        The first rows must be as many as clusters, better many more: centres start among them.
        """
        if self.solver == "lloyd":
            raise UserError(
                "solver=lloyd needs all rows at once: call fit, or take solver=webscale"
            )
        return self._partial_fit(X, None, sample_weight)

    def predict(self, X: Any) -> NDArray[np.int32]:
        """The nearest centre of each row, (n_samples,)."""
        labels: NDArray[np.int32] = self._assign(X)[0]
        return labels

    def transform(self, X: Any) -> NDArray[np.float32]:
        """Distances, not squared, to all centres, (n_samples, k)."""
        self._check_fitted()
        block = self._finite_block(X)
        with self._working(self.model_.k):
            return self.model_.distances(block.features)

    def score(self, X: Any, y: Any = None, sample_weight: Any = None) -> float:
        """The sum of squared distances to the nearest centres, negative."""
        _, squares, weights = self._assign(X, sample_weight)
        return -_sum(squares, weights)

    def with_k(self, k: int) -> "KMeans":
        """A fitted estimator of fewer clusters, without another look at the rows.

        Parameters
        ----------
        k : int
            At most ``k * extra_center_factor`` of this one, which needs its training state: it was
            fitted here, or saved with ``state=True``.

        Returns
        -------
        KMeans
            Without `labels_` and `inertia_`.

        Raises
        ------
        UserError
            For solver=lloyd, without a state, or for a k that is out of range.
        """
        self._check_fitted()
        state: Any = getattr(self, "state_", None)
        if state is None or self.solver == "lloyd":
            raise UserError(
                "the centres of the stream are not at hand: fit with solver=webscale, or save with "
                "state=True"
            )
        if not 1 <= k <= len(state.centres):
            raise UserError(f"k={k}: must be >= 1 and <= {len(state.centres)}")
        other = type(self)(**self.get_params() | {"k": k})
        with self._working(state.k):
            other._restore(state.finish_with(k))
        if hasattr(self, "feature_names_in_"):
            other.feature_names_in_ = self.feature_names_in_
        return other

    @property
    def cluster_centers_(self) -> NDArray[np.float32]:
        """Centres (k, n_features)."""
        return self.model_.centres

    @property
    def n_iter_(self) -> int:
        """Iterations of the best start of Lloyd's."""
        return int(self.model_.notes.get("iterations", 0))

    def _facts(self) -> dict[str, Any]:
        return {} if self.init is None else {"init": np.asarray(self.init, np.float32)}

    def _train(self, channels: dict[str, Stream]) -> Self:
        super()._train(channels)
        (block,) = channels["train"].open()
        labelled = getattr(self.state_, "labelled", None)
        if labelled is None:
            with self._working(self.model_.k):
                labels, squares = self.model_.assign(block.features)
            labelled = labels, _sum(squares, block.weights)
        self.labels_, self.inertia_ = labelled
        return self

    def _assign(self, X: Any, sample_weight: Any = None) -> tuple[Any, Any, Any]:
        """(nearest centres, squared distances, weights or None)"""
        self._check_fitted()
        block = self._finite_block(X, None, sample_weight)
        with self._working(self.model_.k):
            return (*self.model_.assign(block.features), block.weights)

    @property
    def _n_features_out(self) -> int:
        return len(self.model_.centres)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float32"]  # float64 rows are taken as float32
        return tags


def _sum(squares: NDArray[np.float32], weights: Any) -> float:
    exact = squares.astype(np.float64)
    return float((exact if weights is None else exact * weights).sum())
