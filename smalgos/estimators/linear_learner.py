"""Linear Learner for scikit-learn."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.metaestimators import available_if

from smalgos.algorithms.linear_learner.model import LinearModel
from smalgos.estimators.minibatch import (
    MiniBatchClassifier,
    MiniBatchEstimator,
    MiniBatchRegressor,
)
from smalgos.learning.model import Model


class LinearLearner(MiniBatchEstimator):
    """What classifier and regressor have in common."""

    model_: LinearModel

    @property
    def coef_(self) -> NDArray[np.float32]:
        """Coefficients for raw features: (n_features,); of classifiers (1 or classes, d)."""
        return self.model_.coef.T

    @property
    def intercept_(self) -> NDArray[np.float64]:
        """Intercepts, one per output."""
        return self.model_.intercept

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


class LinearLearnerClassifier(MiniBatchClassifier, LinearLearner, algorithm="linear-learner"):
    """Many linear classifiers trained side by side, the best one kept.

    Two classes give a ``binary_classifier`` of the original, more a ``multiclass_classifier``.
    """

    def _settle(self) -> dict[str, Any]:
        n = len(self.classes_)
        kind = "binary_classifier" if n == 2 else "multiclass_classifier"
        return {"predictor_type": kind, "num_classes": n if n > 2 else 1}

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
        raw = self._margins(X)
        if raw.shape[1] > 1:
            return raw
        cut = self.threshold_
        if self.model_.loss == "logistic" and np.isfinite(cut):
            cut = float(np.log(cut) - np.log1p(-cut)) if 0 < cut < 1 else np.inf * (cut - 0.5)
        return raw[:, 0] - np.float32(cut)

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


class LinearLearnerRegressor(MiniBatchRegressor, LinearLearner, algorithm="linear-learner"):
    """Many linear regressors trained side by side, the best one kept."""

    @classmethod
    def shows(cls, model: Model) -> bool:
        """Whether it is a regressor's."""
        return isinstance(model, LinearModel) and model.predictor_type == "regressor"

    def _settle(self) -> dict[str, Any]:
        return {"predictor_type": "regressor"}

    @property
    def coef_(self) -> NDArray[np.float32]:
        """Coefficients (n_features,) for raw features."""
        return self.model_.coef[:, 0]

    @property
    def intercept_(self) -> Any:
        """Intercept."""
        return float(self.model_.intercept[0])
