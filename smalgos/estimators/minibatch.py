"""What the estimators have in common whose models are learnt by mini-batches."""

from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import RegressorMixin

from smalgos.estimators.base import Classifier, Estimator, weights_of_classes

WARM_START = """
warm_start : bool, default=False
    Let `fit` go on from where the last one ended."""


class MiniBatchEstimator(Estimator):
    """Rows of numbers with labels, and validation rows."""

    model_: Any

    def fit(
        self, X: Any, y: Any, sample_weight: Any = None, X_val: Any = None, y_val: Any = None
    ) -> Self:
        """Learn from rows.

        Parameters
        ----------
        X : array-like or sparse matrix, shape (n_samples, n_features)
            Taken as float32. For Factorization Machines, features that are not 0 or 1 should be
            scaled to about that size.
        y : array-like, shape (n_samples,)
        sample_weight : array-like, shape (n_samples,), optional
        X_val, y_val : array-like, optional
            Validation rows: they choose the epoch whose parameters are kept, and stop training
            early. Those of Linear Learner choose the model and the threshold, too; without them
            its training loss does all that.

        Returns
        -------
        self

        Raises
        ------
        UserError
            For bad data or hyperparameters; a kind of ValueError.
        """
        self._announced = False
        return self._fit(X, y, sample_weight, X_val, y_val)

    def _margins(self, X: Any) -> NDArray[np.float32]:
        """What the model says of rows before its link."""
        self._check_fitted()
        block = self._finite_block(X)
        with self._working(self.model_.k):
            margins: NDArray[np.float32] = self.model_.margins(block.features)
            return margins

    @property
    def n_iter_(self) -> int:
        """Epochs that were run."""
        return int(self.model_.notes["epochs"])

    @property
    def loss_curve_(self) -> list[float]:
        """Mean training loss of each epoch, of every batch before it was learnt from."""
        return list(self.model_.notes["loss_curve"])

    @property
    def validation_curve_(self) -> list[float]:
        """Mean loss of the validation rows after each epoch; empty without them."""
        return list(self.model_.notes.get("validation_curve", ()))

    @property
    def best_epoch_(self) -> int:
        """The epoch whose parameters were kept, counted from 0."""
        return int(self.model_.notes["epoch"])


class MiniBatchClassifier(Classifier, MiniBatchEstimator):
    """Of classes, whose rows may be weighted by them."""

    extra = {"class_weight": None, "warm_start": False}  # noqa: RUF012
    extra_doc = (
        '\nclass_weight : dict or "balanced" or None, default=None'
        "\n    Weights of the classes, as everywhere in scikit-learn." + WARM_START
    )

    def partial_fit(self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None) -> Self:
        """Learn one epoch more, from these rows.

        Parameters
        ----------
        X, y, sample_weight : array-like
            As in `fit`. The first call settles what is measured before the first epoch.
        classes : array-like, optional
            All labels that there will be; needed at the first call unless y holds them all.

        Returns
        -------
        self
        """
        self._announce(classes)
        return self._partial_fit(X, y, sample_weight)

    def predict(self, X: Any) -> Any:
        """The predicted class of each row."""
        label = self._predict(X)["predicted_label"]
        return self.classes_[label]

    def _row_weights(self, y: Any, sample_weight: Any) -> Any:
        return weights_of_classes(self.class_weight, self.classes_, y, sample_weight)


class MiniBatchRegressor(RegressorMixin, MiniBatchEstimator):  # type: ignore[misc]
    """Of numbers."""

    extra = {"warm_start": False}  # noqa: RUF012
    extra_doc = WARM_START

    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Learn one epoch more, from these rows.

        Parameters
        ----------
        X, y, sample_weight : array-like
            As in `fit`. The first call settles what is measured before the first epoch, as is the
            scale of y.

        Returns
        -------
        self
        """
        return self._partial_fit(X, y, sample_weight)

    def predict(self, X: Any) -> NDArray[np.float32]:
        """The predicted value of each row."""
        score: NDArray[np.float32] = self._predict(X)["score"]
        return score

    def _targets(self, y: Any, *, reset: bool) -> Any:
        return np.asarray(y, np.float32)
