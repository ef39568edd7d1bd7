"""The scores that the original reports of rows and of the final model, in its order."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from smalgos.learning.accumulators import ExactSum, Floats, Weights
from smalgos.learning.metrics import BinaryMetrics, Metrics, Outputs, RegressionMetrics

ACCURACY = "binary_classification_accuracy"
CROSS_ENTROPY = "binary_classification_cross_entropy"
F1 = "binary_f_1.000"
SCORES = (ACCURACY, CROSS_ENTROPY, F1, "rmse", "mse", "absolute_loss")
# A probability of 0 or 1 is that of a margin out of float32's reach: taken as the nearest one.
LEAST = float(np.finfo(np.float32).tiny)
MOST = 1 - float(np.finfo(np.float32).epsneg)


def from_sums(predictor_type: str, sums: Floats) -> dict[str, float]:
    """{metric: value} of what the kernels added up over some rows.

    Parameters
    ----------
    predictor_type : str
    sums : ndarray of float64, shape (8,)
        As `Machine.learn` tells them of a batch.
    """
    weight = sums[1] if sums[1] > 0 else np.nan
    if predictor_type == "regressor":
        mse = float(sums[2] / weight)
        return {"rmse": float(np.sqrt(mse)), "mse": mse, "absolute_loss": float(sums[3] / weight)}
    correct, found, wrong, missed = sums[2:6]
    positives = 2 * found + wrong + missed
    return {
        ACCURACY: float(correct / weight),
        CROSS_ENTROPY: float(sums[0] / weight),
        F1: float(2 * found / positives) if positives else 0.0,
    }


def sums_of(
    predictor_type: str, margins: NDArray[np.float32], labels: Any, weights: Any
) -> NDArray[np.float64]:
    """The same sums (8,) of margins and labels of rows that nothing is learnt from."""
    m, y = margins.astype(np.float64), labels.astype(np.float64)
    w = np.ones(len(y)) if weights is None else weights.astype(np.float64)
    sums = np.zeros(8)
    sums[1] = w.sum()
    if predictor_type == "regressor":
        sums[0] = sums[2] = (w * (y - m) ** 2).sum()
        sums[3] = (w * np.abs(y - m)).sum()
        return sums
    positive, said = y == 1, m >= 0
    sums[0] = (w * (np.logaddexp(0, m) - y * m)).sum()
    for i, rows in enumerate(
        (said == positive, said & positive, said & ~positive, ~said & positive)
    ):
        sums[2 + i] = w[rows].sum()
    return sums


class BinaryScores(BinaryMetrics):
    """Accuracy, cross entropy and F1 of probabilities."""

    losses: ExactSum
    weight: ExactSum

    def clear(self) -> None:
        """Forget all rows."""
        super().clear()
        self.losses, self.weight = ExactSum(), ExactSum()

    def _add(self, labels: NDArray[Any], outputs: Outputs, weights: Weights) -> None:
        super()._add(labels, outputs, weights)  # first, since it checks the labels
        p = np.clip(outputs["score"].astype(np.float64), LEAST, MOST)
        losses = -np.log(np.where(labels == 1, p, 1 - p))
        self.losses.add(losses if weights is None else losses * weights.astype(np.float64))
        self.weight.add(np.ones(len(labels)) if weights is None else weights)

    def result(self) -> dict[str, float]:
        """{metric: value}"""
        counted, weight = super().result(), self.weight.value()
        entropy = self.losses.value() / weight if weight else np.nan
        return {ACCURACY: counted[ACCURACY], CROSS_ENTROPY: entropy, F1: counted[F1]}


class RegressionScores(RegressionMetrics):
    """rmse, mse, absolute_loss."""

    def result(self) -> dict[str, float]:
        """{metric: value}"""
        found = super().result()
        return {name: found[name] for name in ("rmse", "mse", "absolute_loss")}


def scores_of(model: Any) -> Metrics:
    """What judges a model's answers."""
    return RegressionScores() if model.predictor_type == "regressor" else BinaryScores()
