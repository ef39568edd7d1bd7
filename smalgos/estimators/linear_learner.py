"""Linear Learner for scikit-learn."""

from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import RegressorMixin
from sklearn.utils.metaestimators import available_if

from smalgos.algorithms.linear_learner.model import LinearModel
from smalgos.estimators.base import Classifier, Estimator, weights_of_classes
from smalgos.learning.model import Model

WARM_START = """
warm_start : bool, default=False
    Let `fit` go on from where the last one ended."""


class LinearLearner(Estimator):
    """What classifier and regressor have in common."""

    model_: LinearModel

    def fit(
        self, X: Any, y: Any, sample_weight: Any = None, X_val: Any = None, y_val: Any = None
    ) -> Self:
        """Learn from rows.

        Parameters
        ----------
        X : array-like or sparse matrix, shape (n_samples, n_features)
            Taken as float32.
        y : array-like, shape (n_samples,)
        sample_weight : array-like, shape (n_samples,), optional
        X_val, y_val : array-like, optional
            Validation rows: they choose the model, the epoch and the threshold, and stop training
            early. Without them the training loss does.

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

    @property
    def coef_(self) -> NDArray[np.float32]:
        """Coefficients for raw features: (n_features,); of classifiers (1 or classes, d)."""
        return self.model_.coef.T

    @property
    def intercept_(self) -> NDArray[np.float64]:
        """Intercepts, one per output."""
        return self.model_.intercept

    @property
    def n_iter_(self) -> int:
        """Epochs that were run."""
        return int(self.model_.notes["epochs"])

    @property
    def loss_curve_(self) -> list[float]:
        """Mean training loss of the chosen model in each epoch."""
        return list(self.model_.notes["loss_curve"])

    @property
    def models_(self) -> list[dict[str, Any]]:
        """All candidates: what each one varied, and its best ``score``.

        That is the value of ``binary_classifier_model_selection_criteria`` on the validation rows,
        for other tasks their mean loss; without validation rows the mean training loss.
        """
        return list(self.model_.notes["models"])

    @property
    def best_model_(self) -> int:
        """Position in `models_` of the one that was kept."""
        return int(self.model_.notes["model"])


class LinearLearnerClassifier(Classifier, LinearLearner, algorithm="linear-learner"):
    """Many linear classifiers trained side by side, the best one kept.

    Two classes give a ``binary_classifier`` of the original, more a ``multiclass_classifier``.
    """

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
            As in `fit`. The first call fixes the scaling of the features.
        classes : array-like, optional
            All labels that there will be; needed at the first call unless y holds them all.

        Returns
        -------
        self
        """
        self._announce(classes)
        return self._partial_fit(X, y, sample_weight)

    def _settle(self) -> dict[str, Any]:
        n = len(self.classes_)
        kind = "binary_classifier" if n == 2 else "multiclass_classifier"
        return {"predictor_type": kind, "num_classes": n if n > 2 else 1}

    def _row_weights(self, y: Any, sample_weight: Any) -> Any:
        return weights_of_classes(self.class_weight, self.classes_, y, sample_weight)

    def _class_count(self, model: Model) -> int:
        assert isinstance(model, LinearModel)
        return int(max(model.coef.shape[1], 2))

    @property
    def threshold_(self) -> float:
        """Probability (hinge_loss: raw score) from which on the second class is predicted."""
        return self.model_.threshold

    def decision_function(self, X: Any) -> NDArray[np.float32]:
        """Raw scores less the threshold's: positive where the second class is predicted.

        Returns
        -------
        ndarray of float32, shape (n_samples,), or (n_samples, n_classes) for more than two
        """
        raw = self._raw(X)
        if raw.shape[1] > 1:
            return raw
        cut = self.threshold_
        if self.model_.loss == "logistic" and np.isfinite(cut):
            cut = float(np.log(cut) - np.log1p(-cut)) if 0 < cut < 1 else np.inf * (cut - 0.5)
        return raw[:, 0] - np.float32(cut)

    def _raw(self, X: Any) -> NDArray[np.float32]:
        self._check_fitted()
        block = self._finite_block(X)
        with self._working(self.model_.k):
            return self.model_.raw(block.features)

    @classmethod
    def shows(cls, model: Model) -> bool:
        """Whether it is a classifier's."""
        return isinstance(model, LinearModel) and model.predictor_type != "regressor"

    def _has_probabilities(self) -> bool:
        if not hasattr(self, "model_"):
            return bool(self.loss != "hinge_loss")
        return self.model_.loss != "hinge_loss"

    @available_if(_has_probabilities)  # type: ignore[untyped-decorator]
    def predict_proba(self, X: Any) -> NDArray[np.float32]:
        """Probabilities of the classes; not with hinge_loss.

        Returns
        -------
        ndarray of float32, shape (n_samples, n_classes)
        """
        score: NDArray[np.float32] = self._predict(X)["score"]
        return score if score.ndim > 1 else np.stack([1 - score, score], axis=1)

    @available_if(_has_probabilities)  # type: ignore[untyped-decorator]
    def predict_log_proba(self, X: Any) -> NDArray[np.float32]:
        """Logarithms of `predict_proba`."""
        with np.errstate(divide="ignore"):
            logarithms: NDArray[np.float32] = np.log(self.predict_proba(X))
            return logarithms

    def predict(self, X: Any) -> Any:
        """The predicted class of each row."""
        label = self._predict(X)["predicted_label"]
        return self.classes_[label]


class LinearLearnerRegressor(RegressorMixin, LinearLearner, algorithm="linear-learner"):  # type: ignore[misc]
    """Many linear regressors trained side by side, the best one kept."""

    extra = {"warm_start": False}  # noqa: RUF012
    extra_doc = WARM_START

    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Learn one epoch more, from these rows. The first call fixes the scaling.

        Returns
        -------
        self
        """
        return self._partial_fit(X, y, sample_weight)

    @classmethod
    def shows(cls, model: Model) -> bool:
        """Whether it is a regressor's."""
        return isinstance(model, LinearModel) and model.predictor_type == "regressor"

    def _settle(self) -> dict[str, Any]:
        return {"predictor_type": "regressor"}

    def _targets(self, y: Any, *, reset: bool) -> Any:
        return np.asarray(y, np.float32)

    @property
    def coef_(self) -> NDArray[np.float32]:
        """Coefficients (n_features,) for raw features."""
        return self.model_.coef[:, 0]

    @property
    def intercept_(self) -> Any:
        """Intercept."""
        return float(self.model_.intercept[0])

    def predict(self, X: Any) -> NDArray[np.float32]:
        """The predicted value of each row."""
        score: NDArray[np.float32] = self._predict(X)["score"]
        return score
