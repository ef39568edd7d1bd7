"""The scores that the original reports of the test channel."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from smalgos.algorithms.random_cut_forest.parameters import ACCURACY, METRICS, PRECISION_RECALL
from smalgos.errors import UserError
from smalgos.learning.accumulators import ClassCounts, Ranking, Weights
from smalgos.learning.metrics import Metrics, Outputs, whole_labels

SCORES = ("accuracy", "precision", "recall", "f1")


class AnomalyMetrics(Metrics):
    """accuracy, precision, recall and f1 by the three-sigma rule on the scores themselves.

    Rows are taken for anomalies that score more than three standard deviations above the mean of
    all; 0 stands for those without a full shingle, which are passed over. Precision without any
    such row, and f1 without any and without labels of 1, are NaN.

    Parameters
    ----------
    asked : sequence of str
        Of `METRICS`.
    """

    ranking: Ranking

    def __init__(self, asked: Any = METRICS) -> None:
        self.asked = tuple(asked)
        super().__init__()

    def clear(self) -> None:
        """Forget all rows."""
        self.rows, self.ranking = 0, Ranking()

    def add(self, labels: NDArray[Any], outputs: Outputs, weights: Weights = None) -> None:
        """Add rows; see `Metrics.add`."""
        if labels is None:
            raise UserError(
                "the rows have no labels: 1 says that a row is an anomaly, 0 that it is none (CSV: "
                "the first column, label_size=1; RecordIO: label['values'])"
            )
        super().add(labels, outputs, weights)

    def _add(self, labels: NDArray[Any], outputs: Outputs, weights: Weights) -> None:
        classes, scores = whole_labels(labels, 2, self.rows), outputs["score"]
        full = scores > 0
        self.ranking.add(classes[full] == 1, scores[full])

    def result(self) -> dict[str, float]:
        """{metric: value}"""
        kept = self.ranking.snapshot()
        scores = kept["scores"].astype(np.float64)
        counts = ClassCounts(2)
        if len(scores):
            found = scores > three_sigma(scores)
            counts.add(kept["positive"].astype(np.int64), found.astype(np.int64))
        told = {}
        if ACCURACY in self.asked:
            told["accuracy"] = counts.accuracy()
        if PRECISION_RECALL in self.asked:
            told["precision"] = float(counts.precision()[1])
            told["recall"] = float(counts.recall()[1])
            told["f1"] = float(counts.f(1.0)[1])
        return told


def three_sigma(scores: NDArray[np.float64]) -> float:
    """The original's rule: anomalies score more than three deviations above the mean."""
    return float(scores.mean() + 3 * scores.std())


def scores_of(model: Any) -> Metrics:
    """What judges a model's answers."""
    return AnomalyMetrics(model.notes["hyperparameters"]["eval_metrics"])
