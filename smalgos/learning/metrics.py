"""Scores of predictions, added up block by block, and the threshold that scores best.

An accumulator takes ``add(labels, outputs, weights)`` for block after block, where outputs are a
model's answers under the names of the response, and ``result()`` gives the scores under the
original's names, in its order. They equal scikit-learn's, sample weights included. What has no
value, such as the precision of a model that predicts no positive, is NaN.

However the rows are cut into blocks, the result is the same to the bit: counts are added row by
row, and sums of real numbers are exact until they are read (`ExactSum`). Accumulators of several
workers merge; all that may round there are sums of weights by class.
"""

import copy
import math
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from smalgos.errors import RowError
from smalgos.learning.accumulators import (
    ClassCounts,
    ExactSum,
    Floats,
    Ranking,
    Weights,
    ratio,
    tally,
)
from smalgos.learning.state import Part, Sum

Outputs: TypeAlias = Mapping[str, NDArray[Any]]  # by response field

GOALS = {
    "accuracy": "max",
    "absolute_loss": "min",
    "binary_classification_accuracy": "max",
    "binary_classification_cross_entropy": "min",
    "binary_f": "max",
    "dcg": "max",
    "discriminator_auc": "max",
    "f1": "max",
    "macro_f": "max",
    "macro_precision": "max",
    "macro_recall": "max",
    "msd": "min",
    "mse": "min",
    "multiclass_accuracy": "max",
    "multiclass_balanced_accuracy": "max",
    "multiclass_log_loss": "min",
    "multiclass_top_k_accuracy": "max",
    "precision": "max",
    "recall": "max",
    "rmse": "min",
    "roc_auc_score": "max",
    "ssd": "min",
}


def goal(name: str) -> str:
    """Whether a metric is a loss ("min") or a score ("max").

    Parameters
    ----------
    name : str
        With or without the split before it and the parameter behind it:
        ``"validation:binary_f_1.000"``. All that ends in ``_objective`` is a loss.

    Raises
    ------
    ValueError
        For a metric that is not in `GOALS`.
    """
    metric = re.sub(r"_[\d.]+$", "", name.rpartition(":")[2])
    if metric.endswith("_objective"):
        return "min"
    if metric not in GOALS:
        raise ValueError(f"{name} is not a known metric")
    return GOALS[metric]


def whole_labels(labels: NDArray[Any], num_classes: int, first_row: int) -> NDArray[np.int64]:
    """Labels as class numbers.

    Raises
    ------
    RowError
        For a label that is not one; `first_row` is the number of the block's first row.
    """
    good = (labels >= 0) & (labels < num_classes) & (labels == np.floor(labels))
    if not good.all():
        i = int(good.argmin())
        raise RowError(
            first_row + i, f"label {labels[i]:g} is not a whole number from 0 to {num_classes - 1}"
        )
    return labels.astype(np.int64)


# Tasks --------------------------------------------------------------------------------


class Metrics(Part, ABC):
    """Scores of one kind of task, added up block by block."""

    rows: Sum[int]

    def __init__(self) -> None:
        self.clear()

    @abstractmethod
    def clear(self) -> None:
        """Forget all rows."""

    def add(self, labels: NDArray[Any], outputs: Outputs, weights: Weights = None) -> None:
        """Add rows.

        Parameters
        ----------
        labels : ndarray, shape (n,)
        outputs : mapping
            A model's answers on these rows, by response field.
        weights : ndarray of float32, shape (n,), optional
            Given for all blocks, or for none.

        Raises
        ------
        RowError
            For a label that is no class; rows are counted over all blocks.
        """
        self._add(labels, outputs, weights)
        self.rows += len(labels)

    @abstractmethod
    def _add(self, labels: NDArray[Any], outputs: Outputs, weights: Weights) -> None: ...

    @abstractmethod
    def result(self) -> dict[str, float]:
        """{metric: value}, in the original's names and order."""

    def merge(self, other: Any, base: Any = None) -> None:
        """Take in the rows that `other` has seen (since both equalled `base`, if that is given)."""
        if base is None:
            base = copy.copy(self)
            base.clear()
        super().merge(other, base)


class RegressionMetrics(Metrics):
    """mse, absolute_loss, rmse.

    Parameters
    ----------
    field : str
        Response field that holds the predictions.
    """

    weight: ExactSum
    squares: ExactSum
    absolutes: ExactSum

    def __init__(self, field: str = "score") -> None:
        self.field = field
        super().__init__()

    def clear(self) -> None:
        """Forget all rows."""
        self.rows = 0
        self.weight, self.squares, self.absolutes = ExactSum(), ExactSum(), ExactSum()

    def _add(self, labels: NDArray[Any], outputs: Outputs, weights: Weights) -> None:
        predicted = outputs[self.field].reshape(len(labels)).astype(np.float64)
        w = 1.0 if weights is None else weights.astype(np.float64)
        self.weight.add(len(labels) if weights is None else weights)
        with np.errstate(over="ignore", invalid="ignore"):
            error = np.abs(labels.astype(np.float64) - predicted)
            self.squares.add(w * error * error)
            self.absolutes.add(w * error)

    def result(self) -> dict[str, float]:
        """{metric: value}"""
        weight = self.weight.value()
        mse = float(ratio(self.squares.value(), weight))
        absolute = float(ratio(self.absolutes.value(), weight))
        return {"mse": mse, "absolute_loss": absolute, "rmse": math.sqrt(mse)}


class BinaryMetrics(Metrics):
    """Accuracy, F, precision and recall of the predicted labels; area under the ROC of the scores.

    Labels are 0 and 1. F has no value when there are neither rows nor predictions of class 1.

    Parameters
    ----------
    f_beta : float
    """

    counts: ClassCounts
    ranking: Ranking

    def __init__(self, f_beta: float = 1.0) -> None:
        self.f_beta = f_beta
        super().__init__()

    def clear(self) -> None:
        """Forget all rows."""
        self.rows = 0
        self.counts, self.ranking = ClassCounts(2), Ranking()

    def _add(self, labels: NDArray[Any], outputs: Outputs, weights: Weights) -> None:
        classes = whole_labels(labels, 2, self.rows)
        self.counts.add(classes, outputs["predicted_label"].astype(np.int64), weights)
        self.ranking.add(classes == 1, outputs["score"].reshape(len(labels)), weights)

    def result(self) -> dict[str, float]:
        """{metric: value}"""
        return {
            "binary_classification_accuracy": self.counts.accuracy(),
            f"binary_f_{self.f_beta:.3f}": float(self.counts.f(self.f_beta)[1]),
            "precision": float(self.counts.precision()[1]),
            "recall": float(self.counts.recall()[1]),
            "roc_auc_score": self.ranking.auc(),
        }


class MulticlassMetrics(Metrics):
    """Accuracies, discounted gain, macro averages and log loss.

    The rank of the true class, 1 at best, is among the scores in descending order, of equal ones
    the later class first, as in scikit-learn. ``dcg`` is the mean of 1 / log2(1 + rank). Macro
    averages are over the classes that occur, in labels or predictions.

    Parameters
    ----------
    num_classes : int
    accuracy_top_k : int
    f_beta : float
    """

    counts: ClassCounts
    ranks: Sum[Floats]  # (num_classes,) rows whose true class came first, second, ...
    log_loss: ExactSum

    def __init__(self, num_classes: int, accuracy_top_k: int = 3, f_beta: float = 1.0) -> None:
        self.num_classes = num_classes
        self.accuracy_top_k = accuracy_top_k
        self.f_beta = f_beta
        super().__init__()

    def clear(self) -> None:
        """Forget all rows."""
        self.rows = 0
        self.counts, self.log_loss = ClassCounts(self.num_classes), ExactSum()
        self.ranks = np.zeros(self.num_classes)

    def _add(self, labels: NDArray[Any], outputs: Outputs, weights: Weights) -> None:
        classes = whole_labels(labels, self.num_classes, self.rows)
        self.counts.add(classes, outputs["predicted_label"].astype(np.int64), weights)
        scores = outputs["score"]  # (n, num_classes)
        own = scores[np.arange(len(classes)), classes]
        # Not "greater": of a row with NaN, the true class is the last one.
        ahead = ~(scores <= own[:, None])
        later = np.arange(self.num_classes) > classes[:, None]
        rank = (ahead | (later & (scores == own[:, None]))).sum(axis=1)
        tally(self.ranks, np.minimum(rank, self.num_classes - 1), weights)
        eps = float(np.finfo(scores.dtype).eps)  # a probability of 0 would cost infinitely much
        loss = -np.log(np.clip(own.astype(np.float64), eps, 1 - eps))
        self.log_loss.add(loss if weights is None else loss * weights)

    def result(self) -> dict[str, float]:
        """{metric: value}"""
        counts, k = self.counts, self.accuracy_top_k
        total = counts.labels.sum()
        discounts = 1 / np.log2(np.arange(self.num_classes) + 2)
        return {
            "multiclass_accuracy": counts.accuracy(),
            f"multiclass_top_k_accuracy_{k}": float(ratio(self.ranks[:k].sum(), total)),
            "dcg": float(ratio((self.ranks * discounts).sum(), total)),
            "macro_recall": counts.macro(counts.recall()),
            "macro_precision": counts.macro(counts.precision()),
            f"macro_f_{self.f_beta:.3f}": counts.macro(counts.f(self.f_beta)),
            "multiclass_balanced_accuracy": counts.balanced_accuracy(),
            "multiclass_log_loss": float(ratio(self.log_loss.value(), total)),
        }


# Thresholds ---------------------------------------------------------------------------------------


def best_threshold(
    counts: NDArray[np.int64],
    edges: NDArray[np.float32],
    criterion: str,
    *,
    default: float,
    f_beta: float = 1.0,
    target_precision: float = 0.8,
    target_recall: float = 0.8,
) -> tuple[NDArray[np.float32], Floats]:
    """For each model, the threshold on its scores that serves a criterion best.

    A row is predicted 1 when its score is at least the threshold. Thresholds to choose from are
    the lower edges of the bins and infinity. Of equally good ones the default is taken, if it is
    an edge; else, under the two criteria with a target, those that are best in what the target is
    about; else the one nearest to the default. A threshold that predicts one class for all of the
    rows is -inf or inf, unless it is the default.

    Parameters
    ----------
    counts : ndarray of int64, shape (models, 2, bins)
        Rows by label and bin of score.
    edges : ndarray of float32, shape (bins,)
        Lower edges of the bins, ascending.
    criterion : {"accuracy", "f_beta", "precision_at_target_recall", "recall_at_target_precision"}
    default : float
    f_beta, target_precision, target_recall : float

    Returns
    -------
    thresholds : ndarray of float32, shape (models,)
    scores : ndarray of float64, shape (models,)
        Values of the criterion. Ratios of nothing to nothing are 0; so are the scores, and the
        thresholds the default, where the target is out of reach.

    Raises
    ------
    ValueError
        For another criterion.
    """
    if criterion not in CRITERIA:
        raise ValueError(f"{criterion} is none of {', '.join(CRITERIA)}")
    score = CRITERIA[criterion]
    start = np.float32(default)
    default_at = np.flatnonzero(edges == start)
    thresholds = np.full(len(counts), start, np.float32)
    scores = np.zeros(len(counts))
    # One model at a time: a few arrays of `bins` entries stay in the cache.
    for model, (zeros, ones) in enumerate(counts):
        # Rows of label 0 and 1 at or above edges[0], ..., edges[bins - 1], infinity.
        fp, tp = (np.append(np.cumsum(n[::-1])[::-1], 0) for n in (zeros, ones))
        value, second = score(
            tp, fp, f_beta=f_beta, target_precision=target_precision, target_recall=target_recall
        )
        best = value.max()
        if best < 0 or not tp[0] + fp[0]:
            continue
        scores[model] = best
        equal = np.flatnonzero(value == best)
        if np.isin(default_at, equal).any():
            continue
        if second is not None:
            equal = equal[second[equal] == second[equal].max()]
        found = np.append(edges, np.float32(np.inf))[equal]
        predicted = (tp + fp)[equal]
        found[predicted == tp[0] + fp[0]] = -np.inf
        found[predicted == 0] = np.inf
        thresholds[model] = found[np.abs(found - start).argmin()]
    return thresholds, scores


Counts: TypeAlias = NDArray[np.int64]
Scored: TypeAlias = tuple[Floats, Floats | None]  # what is best greatest (-1: no), and then what


def _accuracy(tp: Counts, fp: Counts, **_: float) -> Scored:
    return (tp - fp + fp[0]) / max(tp[0] + fp[0], 1), None


def _f_beta(tp: Counts, fp: Counts, *, f_beta: float, **_: float) -> Scored:
    b2 = f_beta * f_beta
    # Without positives the numerator is 0, and what it is divided by does not matter.
    return (1 + b2) * tp / np.maximum(tp + fp + b2 * tp[0], b2), None


def _precision_at(tp: Counts, fp: Counts, *, target_recall: float, **_: float) -> Scored:
    recall = tp / max(tp[0], 1)
    precision = tp / np.maximum(tp + fp, 1)
    return np.where(recall >= target_recall, precision, -1.0), recall


def _recall_at(tp: Counts, fp: Counts, *, target_precision: float, **_: float) -> Scored:
    recall = tp / max(tp[0], 1)
    precision = tp / np.maximum(tp + fp, 1)
    return np.where(precision >= target_precision, recall, -1.0), precision


CRITERIA: dict[str, Callable[..., Scored]] = {
    "accuracy": _accuracy,
    "f_beta": _f_beta,
    "precision_at_target_recall": _precision_at,
    "recall_at_target_precision": _recall_at,
}
