"""The container's own metrics of classification: scikit-learn's, without weights."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from smalgos.algorithms.xgboost.measures import ROWS, Doubles, Sample, Value, probability
from smalgos.algorithms.xgboost.pointwise import first_greatest
from smalgos.errors import UserError
from smalgos.kernels import load


class Counts(NamedTuple):
    """Rows by class."""

    labels: Doubles
    predicted: Doubles
    both: Doubles


def _counts(sample: Sample) -> Counts:
    k, classes = load("shared"), max(2, len(sample.margin))

    def work(part: slice) -> NDArray[np.int64]:
        labels = sample.labels[part]
        if (labels != np.floor(labels)).any():
            raise UserError("metrics of classes need labels that are classes, not shares")
        if len(sample.margin) > 1:
            predicted = first_greatest(sample.margin[:, part])
        elif sample.objective.name == "binary:logistic":
            predicted = (probability(sample, part) > 0.5).astype(np.int64)
        else:
            predicted = (sample.margin[0, part] > 0).astype(np.int64)
        known = labels.astype(np.int64)
        hits = known[known == predicted]
        return np.array([np.bincount(x, minlength=classes) for x in (known, predicted, hits)])

    return Counts(*sum(k.run(work, k.chunks(len(sample.labels), ROWS))).astype(np.float64))


def _of_counts(score: Callable[[Counts], float]) -> Value:
    return lambda sample: score(_counts(sample))


def _ratio(a: Doubles, b: Doubles) -> Doubles:
    """a / b; 0 where b is 0, as scikit-learn has it."""
    return np.divide(a, b, out=np.zeros_like(a), where=b > 0)


def _precision(c: Counts) -> Doubles:
    return _ratio(c.both, c.predicted)


def _recall(c: Counts) -> Doubles:
    return _ratio(c.both, c.labels)


def _f1(c: Counts) -> Doubles:
    return _ratio(2 * c.both, c.predicted + c.labels)


def _macro(score: Callable[[Counts], Doubles]) -> Value:
    """The mean over classes that occur, in labels or predictions."""

    def value(c: Counts) -> float:
        return float(score(c)[c.labels + c.predicted > 0].mean())

    return _of_counts(value)


def _first(score: Callable[[Counts], Doubles]) -> Value:
    """That of class 1."""
    return _of_counts(lambda c: float(score(c)[1]))


_ACCURACY = _of_counts(lambda c: float(c.both.sum() / c.labels.sum()))

OF_CLASSES: dict[str, Value] = {
    "accuracy": _ACCURACY,
    "balanced_accuracy": _of_counts(lambda c: float(_recall(c)[c.labels > 0].mean())),
    "f1": _macro(_f1),
    "f1_macro": _macro(_f1),
    "precision_macro": _macro(_precision),
    "precision_micro": _ACCURACY,  # of rows with one label each, it is the same
    "recall_macro": _macro(_recall),
    "recall_micro": _ACCURACY,
}
OF_CLASS_ONE: dict[str, Value] = {
    "f1_binary": _first(_f1),
    "precision": _first(_precision),
    "recall": _first(_recall),
}
