"""The scores that the original reports of a final model: its objective, then those of its task."""

from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smalgos.algorithms.linear_learner.model import LinearModel, kernel_loss
from smalgos.kernels import load
from smalgos.learning.accumulators import ExactSum, Weights
from smalgos.learning.losses import LOSSES
from smalgos.learning.metrics import (
    BinaryMetrics,
    Metrics,
    MulticlassMetrics,
    Outputs,
    RegressionMetrics,
)
from smalgos.learning.state import Sum

# A probability of 0 or 1 is that of a raw score out of float32's reach: taken as the nearest one.
LEAST = float(np.finfo(np.float32).tiny)
MOST = 1 - float(np.finfo(np.float32).epsneg)


def score_names() -> tuple[str, ...]:
    """The names of all scores: every loss's, then those of the tasks."""
    tasks: tuple[Metrics, ...] = RegressionMetrics(), BinaryMetrics(), MulticlassMetrics(3)
    losses = (loss.metric for loss in LOSSES.values())
    return (*dict.fromkeys(losses), *(name for task in tasks for name in task.result()))


class LinearMetrics(Metrics):
    """The mean loss of the rows as they are, without weights of classes, and a task's scores.

    Parameters
    ----------
    model : LinearModel
    """

    task: Metrics
    losses: ExactSum
    weight: Sum[float]

    def __init__(self, model: LinearModel) -> None:
        given = model.notes["hyperparameters"]
        self.loss = LOSSES[model.loss]
        self._kernel_loss = kernel_loss(SimpleNamespace(**given))
        self._kernels = load("losses", "cpu")
        self._classes = model.coef.shape[1]
        if model.predictor_type == "regressor":
            self.task = RegressionMetrics()
        elif model.predictor_type == "binary_classifier":
            self.task = BinaryMetrics(f_beta=given["f_beta"])
        else:
            self.task = MulticlassMetrics(
                self._classes, given["accuracy_top_k"], f_beta=given["f_beta"]
            )
        super().__init__()

    def clear(self) -> None:
        """Forget all rows."""
        self.rows, self.weight, self.losses = 0, 0.0, ExactSum()
        self.task.clear()

    def _add(self, labels: NDArray[Any], outputs: Outputs, weights: Weights) -> None:
        self.task.add(labels, outputs, weights)  # first, since it checks the labels
        raw = self._raw(outputs["score"]).reshape(len(labels), -1)
        values, _ = self._kernels.loss_value_gradient(
            self._kernel_loss, labels, raw, weights, classes=self._classes
        )
        self.losses.add(values)
        self.weight += len(labels) if weights is None else float(weights.sum(dtype=np.float64))

    def _raw(self, score: NDArray[np.float32]) -> NDArray[np.float32]:
        """Raw scores that a model would answer so."""
        if self.loss.name not in ("logistic", "softmax_loss"):
            return score
        p = np.clip(score.astype(np.float64), LEAST, MOST)
        raw = np.log(p) - (np.log1p(-p) if self.loss.name == "logistic" else 0)
        return raw.astype(np.float32)

    def result(self) -> dict[str, float]:
        """{metric: value}"""
        mean = self.losses.value() / self.weight if self.weight else np.nan
        return {self.loss.metric: mean, **self.task.result()}
