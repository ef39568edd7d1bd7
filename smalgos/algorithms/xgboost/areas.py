"""Areas under curves: ROC, and precision by recall."""

import math
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from smalgos.algorithms.xgboost.base import Weights
from smalgos.algorithms.xgboost.measures import Doubles, Sample, Value
from smalgos.algorithms.xgboost.pointwise import linked


def _curve(score: NDArray[Any], labels: NDArray[Any], weights: Weights) -> tuple[Doubles, Doubles]:
    """Weights of label 0 and of label 1 at or above each score, from (0, 0) on."""
    order = np.argsort(score)[::-1]
    score, y = score[order], labels[order].astype(np.float64)
    last = np.append(np.flatnonzero(score[1:] != score[:-1]), len(score) - 1)
    w = 1.0 if weights is None else weights[order].astype(np.float64)
    no, yes = (np.append(0, np.cumsum(x * w)[last]) for x in (1 - y, y))
    return no, yes


def roc_area(score: NDArray[Any], labels: NDArray[Any], weights: Weights = None) -> float:
    """Area under the ROC; equal scores are one step."""
    fp, tp = _curve(score, labels, weights)
    area = (np.diff(fp) * (tp[1:] + tp[:-1])).sum() / 2
    return float(area / (fp[-1] * tp[-1])) if fp[-1] * tp[-1] > 0 else math.nan


def precision_recall_area(
    score: NDArray[Any], labels: NDArray[Any], weights: Weights = None
) -> float:
    """Area under precision by recall, interpolated between points of the ROC.

    Davis & Goadrich, "The relationship between precision-recall and ROC curves", ICML 2006: within
    a step false positives grow in proportion to true ones.
    """
    fp, tp = _curve(score, labels, weights)
    if not fp[-1] * tp[-1] > 0:
        return math.nan
    steps = np.diff(tp) > 0
    h = np.diff(fp)[steps] / np.diff(tp)[steps]
    start, stop = tp[:-1][steps], tp[1:][steps]
    # The integral of t / (t + fp + h (t - start)) from start to stop.
    a, b = 1 + h, fp[:-1][steps] - h * start
    bent = np.where(b == 0, 0.0, b / a * np.log((a * stop + b) / (a * start + b)))
    return float(((stop - start - bent) / a).sum() / tp[-1])


Area: TypeAlias = Callable[[NDArray[Any], NDArray[Any], Weights], float]


def of_classes(area: Area) -> Value:
    """That of class 1; of several classes, the mean of those of each against all others.

    As in XGBoost, areas under the ROC count by the weight of their class, others alike.
    """

    def value(sample: Sample) -> float:
        margin, labels = sample.margin, sample.labels
        if len(margin) == 1:
            return area(margin[0], labels, sample.weights)
        shares = linked("SOFTMAX", margin.T)
        counts = np.bincount(labels.astype(np.int64), sample.weights, len(margin))
        (there,) = np.nonzero(counts)
        each = [area(shares[:, k], labels == k, sample.weights) for k in there]
        return float(np.average(each, weights=counts[there] if area is roc_area else None))

    return value
