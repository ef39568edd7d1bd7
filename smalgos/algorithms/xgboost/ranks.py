"""Metrics of queries: each is the mean over queries of what it is in one."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smalgos.algorithms.xgboost.areas import precision_recall_area
from smalgos.algorithms.xgboost.base import Groups, Kept, Weights
from smalgos.algorithms.xgboost.measures import Sample, Value
from smalgos.errors import UserError
from smalgos.kernels import load


class _Known:
    """Labels and groups, and what follows from them."""

    def __init__(self, labels: NDArray[Any], groups: Groups) -> None:
        self.labels = labels.astype(np.float64)
        self.queries = load("ranking").queries(labels, groups, self.labels)
        self.starts = self.queries.starts
        self.sizes = np.diff(self.starts)
        self.place = np.arange(len(labels)) - np.repeat(self.starts[:-1], self.sizes)

    def ordered(self, score: NDArray[Any]) -> NDArray[np.float64]:
        """Labels in the order of scores."""
        order = load("ranking").ranked(score, self.starts, self.queries.tasks)
        in_order: NDArray[np.float64] = self.labels[order]
        return in_order

    def best(self) -> NDArray[np.float64]:
        """Labels in the best order."""
        in_order: NDArray[np.float64] = self.labels[self.queries.by_label]
        return in_order

    def sums(self, x: NDArray[Any]) -> NDArray[np.float64]:
        """Sums over the rows of each query."""
        each: NDArray[np.float64] = np.add.reduceat(x, self.starts[:-1], dtype=np.float64)
        return each

    def mean(self, each: NDArray[np.float64], weights: Weights) -> float:
        """The mean over queries; the weight of one is that of its first row."""
        return float(
            np.average(each, weights=None if weights is None else weights[self.starts[:-1]])
        )

    def binary(self, what: str) -> None:
        """Raise UserError unless labels are 0 and 1."""
        if not ((self.labels == 0) | (self.labels == 1)).all():
            raise UserError(f"eval_metric={what}: labels must be 0 and 1; use ndcg for grades")


def ndcg(top: float, minus: bool) -> Value:
    """Discounted gain of the first rows, as a share of the best."""
    known = Kept(_Known)

    def value(sample: Sample) -> float:
        q = known(sample.labels, sample.groups)
        exponential = getattr(sample.objective, "exponential", True)
        shares = np.where(q.place < top, 1 / np.log2(q.place + 2), 0)

        def gain(labels: NDArray[np.float64]) -> NDArray[np.float64]:
            return q.sums((np.exp2(labels) - 1 if exponential else labels) * shares)

        ideal = gain(q.best())
        each = np.where(ideal > 0, gain(q.ordered(sample.margin[0])) / ideal, float(not minus))
        return q.mean(each, sample.weights)

    return value


def mean_average_precision(top: float, minus: bool) -> Value:
    """Mean precision at the relevant ones of the first rows."""
    known = Kept(_Known)

    def value(sample: Sample) -> float:
        q = known(sample.labels, sample.groups)
        q.binary("map")
        y = q.ordered(sample.margin[0])
        hits = np.cumsum(y)
        hits -= np.repeat(hits[q.starts[:-1]] - y[q.starts[:-1]], q.sizes)
        precision = q.sums(np.where(q.place < top, y * hits / (q.place + 1), 0))
        relevant = np.minimum(q.sums(y), top)
        return q.mean(
            np.where(relevant > 0, precision / relevant, float(not minus)), sample.weights
        )

    return value


def precision(top: float, minus: bool) -> Value:
    """The share of relevant rows among the first."""
    known = Kept(_Known)

    def value(sample: Sample) -> float:
        q = known(sample.labels, sample.groups)
        q.binary("pre")
        found = q.sums(np.where(q.place < top, q.ordered(sample.margin[0]), 0))
        return q.mean(found / np.minimum(q.sizes, top), sample.weights)

    return value


def agreement(top: float, minus: bool) -> Value:
    """The share of pairs of different labels that are in order: the mean of queries with any."""
    known = Kept(_Known)

    def value(sample: Sample) -> float:
        q = known(sample.labels, sample.groups)
        right, pairs = load("ranking").concordance(sample.margin[0], sample.labels, q.queries)
        return float((right[pairs > 0] / pairs[pairs > 0]).mean()) if pairs.any() else math.nan

    return value


def precision_recall(top: float, minus: bool) -> Value:
    """The mean area under precision by recall, of queries with both labels."""
    known = Kept(_Known)

    def value(sample: Sample) -> float:
        q = known(sample.labels, sample.groups)
        q.binary("aucpr")
        each = [
            precision_recall_area(sample.margin[0, a:b], sample.labels[a:b])
            for a, b in zip(q.starts[:-1], q.starts[1:], strict=True)
        ]
        return float(np.nanmean(each)) if not np.isnan(each).all() else math.nan

    return value


OF_QUERIES: dict[str, Callable[[float, bool], Value]] = {
    "ndcg": ndcg,
    "map": mean_average_precision,
    "pre": precision,
    "auc": agreement,
    "aucpr": precision_recall,
}
