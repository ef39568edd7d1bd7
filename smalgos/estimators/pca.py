"""PCA for scikit-learn."""

from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin

from smalgos.algorithms.pca import PCAModel
from smalgos.estimators.base import Estimator


class PCA(ClassNamePrefixFeaturesOutMixin, TransformerMixin, Estimator, algorithm="pca"):  # type: ignore[misc]
    """Principal components, exact, from one pass; the most important one first."""

    model_: PCAModel

    def fit(self, X: Any, y: Any = None) -> Self:
        """Learn components from rows X (n_samples, n_features), dense or sparse; y is ignored."""
        return self._fit(X)

    def partial_fit(self, X: Any, y: Any = None) -> Self:
        """Take in more rows; the same as one `fit` on all of them."""
        return self._partial_fit(X)

    def transform(self, X: Any) -> NDArray[np.float32]:
        """Coordinates (n_samples, num_components) along the components."""
        self._check_fitted()
        block = self._finite_block(X)
        with self._working(self.model_.k):
            return self.model_.project(block.features)

    def inverse_transform(self, X: Any) -> NDArray[np.float32]:
        """Rows (n_samples, n_features) with the coordinates X, in the span of the components."""
        self._check_fitted()
        return np.asarray(X, np.float32) @ self.components_ + self.model_.mean

    @property
    def components_(self) -> NDArray[np.float32]:
        """Orthonormal rows (num_components, n_features), the most important one first."""
        return self.model_.v.T

    @property
    def mean_(self) -> NDArray[np.float32]:
        """The centre (n_features,); zeros with subtract_mean=False."""
        return self.model_.mean

    @property
    def singular_values_(self) -> NDArray[np.float64]:
        """Singular values (num_components,) of the centred rows."""
        return self.model_.s

    @property
    def explained_variance_(self) -> NDArray[np.float64]:
        """Variance (num_components,) along the components, over n - 1."""
        return self.model_.s**2 / max(self.model_.n - 1, 1)

    @property
    def explained_variance_ratio_(self) -> NDArray[np.float64]:
        """Share (num_components,) of the whole variance."""
        return self.model_.s**2 / self.model_.trace if self.model_.trace else 0 * self.model_.s

    @property
    def n_components_(self) -> int:
        """Components that were kept."""
        return int(self.model_.v.shape[1])

    @property
    def n_samples_(self) -> int:
        """Rows that were seen."""
        return int(self.model_.n)

    @property
    def _n_features_out(self) -> int:
        return self.n_components_

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float32"]  # float64 rows are taken as float32
        return tags
