"""PCA for scikit-learn."""

from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin

from smalgos.algorithms.pca import PCAModel
from smalgos.estimators.base import Estimator


class PCA(ClassNamePrefixFeaturesOutMixin, TransformerMixin, Estimator, algorithm="pca"):  # type: ignore[misc]
    """Principal components from one pass over rows, exact or sketched; the most important first.

    Of fewer rows than components, those that have no variance are arbitrary.
    """

    model_: PCAModel

    def fit(self, X: Any, y: Any = None) -> Self:
        """Learn components from rows X (n_samples, n_features), dense or sparse; y is ignored."""
        return self._fit(X)

    def partial_fit(self, X: Any, y: Any = None) -> Self:
        """Take in more rows; the same as one `fit` on all of them, with ``epochs=1``."""
        return self._partial_fit(X)

    def transform(self, X: Any) -> NDArray[np.float32]:
        """Coordinates (n_samples, n_components_) along the components."""
        self._check_fitted()
        block = self._finite_block(X)
        with self._working(self.model_.k):
            return self.model_.project(block.features)

    def inverse_transform(self, X: Any) -> NDArray[np.float32]:
        """Rows (n_samples, n_features) with the coordinates X, in the span of the components."""
        self._check_fitted()
        with self._working(self.model_.k):
            return self.model_.restore_rows(np.asarray(X, np.float32))

    def score_samples(self, X: Any) -> NDArray[np.float64]:
        """Log-likelihood (n_samples,) of each row under probabilistic PCA."""
        self._check_fitted()
        block = self._finite_block(X)
        with self._working(self.model_.k):
            return self.model_.log_likelihood(block.features)

    def score(self, X: Any, y: Any = None) -> float:
        """Mean log-likelihood of the rows under probabilistic PCA; y is ignored."""
        return float(self.score_samples(X).mean())

    def get_covariance(self) -> NDArray[np.float64]:
        """Covariance (n_features, n_features) of probabilistic PCA.

        That of the rows along the components, and `noise_variance_` along all else.
        """
        self._check_fitted()
        noise, v = self.model_.noise, self.components_.astype(np.float64)
        above = np.maximum(self.explained_variance_ - noise, 0)
        covariance: NDArray[np.float64] = (v.T * above) @ v + noise * np.eye(v.shape[1])
        return covariance

    def get_precision(self) -> NDArray[np.float64]:
        """The inverse (n_features, n_features) of `get_covariance`."""
        self._check_fitted()
        noise, v = self.model_.noise, self.components_.astype(np.float64)
        if noise == 0:
            return np.asarray(np.linalg.inv(self.get_covariance()), np.float64)
        along = 1 / np.maximum(self.explained_variance_, noise) - 1 / noise
        precision: NDArray[np.float64] = (v.T * along) @ v + np.eye(v.shape[1]) / noise
        return precision

    @property
    def components_(self) -> NDArray[np.float32]:
        """Orthonormal rows (n_components_, n_features), the most important one first."""
        return self.model_.v.T

    @property
    def mean_(self) -> NDArray[np.float32]:
        """The centre (n_features,); zeros with subtract_mean=False."""
        return self.model_.mean

    @property
    def singular_values_(self) -> NDArray[np.float64]:
        """Singular values (n_components_,) of the centred rows."""
        return self.model_.s

    @property
    def explained_variance_(self) -> NDArray[np.float64]:
        """Variance (n_components_,) along the components, over n - 1."""
        return self.model_.variances

    @property
    def explained_variance_ratio_(self) -> NDArray[np.float64]:
        """Share (n_components_,) of the whole variance."""
        return self.model_.s**2 / self.model_.trace if self.model_.trace else 0 * self.model_.s

    @property
    def noise_variance_(self) -> float:
        """Mean variance along the directions that are not kept."""
        return self.model_.noise

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
