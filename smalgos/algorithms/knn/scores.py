"""The scores that the original reports of the test channel."""

import numpy as np
from numpy.typing import NDArray

from smalgos.algorithms.knn.model import KNNModel
from smalgos.errors import RowError
from smalgos.learning.accumulators import ClassCounts, Weights
from smalgos.learning.metrics import Metrics, Outputs, RegressionMetrics

FIELD = "predicted_label"


class KNNClassification(Metrics):
    """accuracy and macro F1, the mean over the classes that occur in labels or predictions.

    Labels that the model does not know are taken for one more class, which it never predicts.
    """

    counts: ClassCounts

    def __init__(self, classes: NDArray[np.float32]) -> None:
        self.classes = classes
        super().__init__()

    def clear(self) -> None:
        """Forget all rows."""
        self.rows, self.counts = 0, ClassCounts(len(self.classes) + 1)

    def _add(self, labels: NDArray[np.float32], outputs: Outputs, weights: Weights) -> None:
        bad = ~np.isfinite(labels)
        if bad.any():
            raise RowError(self.rows + int(bad.argmax()), "the label is not a number")
        self.counts.add(self._numbers(labels), self._numbers(outputs[FIELD]), weights)

    def _numbers(self, labels: NDArray[np.float32]) -> NDArray[np.int64]:
        at = np.searchsorted(self.classes, labels)
        known = self.classes[np.minimum(at, len(self.classes) - 1)] == labels
        return np.where(known, at, len(self.classes)).astype(np.int64)

    def result(self) -> dict[str, float]:
        """{metric: value}"""
        return {
            "accuracy": self.counts.accuracy(),
            "macro_f_1.000": self.counts.macro(self.counts.f(1.0)),
        }


class KNNRegression(RegressionMetrics):
    """mse."""

    def __init__(self) -> None:
        super().__init__(FIELD)

    def result(self) -> dict[str, float]:
        """{metric: value}"""
        return {"mse": super().result()["mse"]}


SCORES = ("accuracy", "macro_f_1.000", "mse")


def scores_of(model: KNNModel) -> Metrics:
    """What judges a model's answers."""
    if model.predictor_type == "regressor":
        return KNNRegression()
    return KNNClassification(model.classes)
