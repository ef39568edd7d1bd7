"""What metrics are added up in: an exact sum, counts by class, a ranking by score.

They are `Part`s: they travel in snapshots and merge. Cutting the rows into other blocks does not
change a bit of them.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from smalgos.learning.state import Part, Sum

Floats: TypeAlias = NDArray[np.float64]
Weights: TypeAlias = NDArray[np.float32] | None


class ExactSum(Part):
    """The sum of float64 numbers without any rounding until it is read.

    A number is split into two integers of 27 and 26 bits, which are added to one of 2098 pairs
    of integers, one pair for each exponent a float64 can have (a small superaccumulator, after
    Kulisch). So neither order nor grouping matters. Good for 2**36 numbers; 34 kB.
    """

    pairs: Sum[NDArray[np.int64]]  # (2, 2098)
    others: Sum[NDArray[np.int64]]  # (3,) how many were nan, inf, -inf

    LEAST = -1073  # exponent that frexp gives the smallest subnormal; the greatest float has 1024
    AT_ONCE = 1 << 26  # numbers whose 27-bit parts add up within the 53 bits of a float64

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Back to zero."""
        self.pairs = np.zeros((2, 1024 - self.LEAST + 1), np.int64)
        self.others = np.zeros(3, np.int64)

    def add(self, values: Any) -> None:
        """Add numbers: an array of any shape, or one number."""
        values = np.asarray(values, np.float64).reshape(-1)
        finite = np.isfinite(values)
        if not finite.all():
            odd = values[~finite]
            self.others += [(odd != odd).sum(), (odd > 0).sum(), (odd < 0).sum()]
            values = values[finite]
        for start in range(0, len(values), self.AT_ONCE):
            mantissa, exponent = np.frexp(values[start : start + self.AT_ONCE])
            mantissa *= 1 << 27
            high = np.trunc(mantissa)
            low = (mantissa - high) * (1 << 26)
            exponent -= self.LEAST
            for pair, part in zip(self.pairs, (high, low), strict=True):
                pair += np.bincount(exponent, part, len(pair)).astype(np.int64)

    def value(self) -> float:
        """The sum, rounded once."""
        nans, above, below = self.others
        if nans or (above and below):
            return math.nan
        if above or below:
            return math.inf if above else -math.inf
        # With m, e = frexp(x): high * 2**26 + low = m * 2**53, so x = that * 2**(e - 53).
        total = 0
        for i in np.flatnonzero(self.pairs.any(axis=0)):
            high, low = (int(n) for n in self.pairs[:, i])
            total += ((high << 26) + low) << int(i)
        try:
            return total / (1 << (53 - self.LEAST))
        except OverflowError:
            return math.inf if total > 0 else -math.inf


class ClassCounts(Part):
    """Rows of each class, those predicted as such, and those rightly so.

    Parameters
    ----------
    num_classes : int
    """

    hits: Sum[Floats]  # (num_classes,) each, weights or counts
    labels: Sum[Floats]
    predictions: Sum[Floats]

    def __init__(self, num_classes: int) -> None:
        self.num_classes = num_classes
        self.clear()

    def clear(self) -> None:
        """Forget all rows."""
        self.hits, self.labels, self.predictions = np.zeros((3, self.num_classes))

    def add(self, labels: NDArray[Any], predicted: NDArray[Any], weights: Weights = None) -> None:
        """Add rows.

        Parameters
        ----------
        labels, predicted : ndarray of int64, shape (n,)
            From 0 to num_classes - 1.
        weights : ndarray, shape (n,), optional
        """
        hit = labels == predicted
        tally(self.labels, labels, weights)
        tally(self.predictions, predicted, weights)
        tally(self.hits, labels[hit], None if weights is None else weights[hit])

    def accuracy(self) -> float:
        """Share of the rows that are predicted rightly."""
        return float(ratio(self.hits.sum(), self.labels.sum()))

    def precision(self) -> Floats:
        """Of each class, the share of its predictions that are right; NaN without any."""
        return ratio(self.hits, self.predictions)

    def recall(self) -> Floats:
        """Of each class, the share of its rows that are found; NaN without any."""
        return ratio(self.hits, self.labels)

    def f(self, beta: float) -> Floats:
        """Of each class, (1 + b^2) P R / (b^2 P + R); NaN without rows and predictions."""
        b2 = beta * beta
        return ratio((1 + b2) * self.hits, b2 * self.labels + self.predictions)

    def macro(self, values: Floats) -> float:
        """The mean over classes that occur in labels or predictions, NaN counted as 0 there."""
        seen = (self.labels > 0) | (self.predictions > 0)
        return float(ratio(np.nan_to_num(values[seen]).sum(), seen.sum()))

    def balanced_accuracy(self) -> float:
        """The mean recall of the classes that have rows."""
        recall = self.recall()[self.labels > 0]
        return float(ratio(recall.sum(), len(recall)))


class Ranking(Part):
    """How well scores put the positive rows before the negative ones.

    It keeps all scores: 5 bytes a row, 9 with weights.
    """

    scores: NDArray[np.float32]  # (n,)
    positive: NDArray[np.bool_]  # (n,)
    weights: NDArray[np.float32] | None  # (n,); all blocks have weights, or none

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Forget all rows."""
        self.scores, self.positive = np.empty(0, np.float32), np.empty(0, np.bool_)
        self.weights = None
        self._new: list[tuple[NDArray[Any], NDArray[Any], Weights]] = []

    def add(
        self, positive: NDArray[np.bool_], scores: NDArray[Any], weights: Weights = None
    ) -> None:
        """Add rows.

        Parameters
        ----------
        positive : ndarray of bool, shape (n,)
        scores : ndarray, shape (n,)
            Kept as float32.
        weights : ndarray, shape (n,), optional
        """
        if not len(scores):
            return
        # Copies: the caller may use its arrays again.
        kept = None if weights is None else np.array(weights, np.float32)
        self._new.append((np.array(positive, np.bool_), np.array(scores, np.float32), kept))

    def _pack(self) -> None:
        if not self._new:
            return
        positive, scores, weights = zip(*self._new, strict=True)
        self._new = []
        if weights[0] is not None:
            before = np.empty(0, np.float32) if self.weights is None else self.weights
            self.weights = np.concatenate([before, *weights])
        self.positive = np.concatenate([self.positive, *positive])
        self.scores = np.concatenate([self.scores, *scores])

    def auc(self) -> float:
        """The share of pairs of a positive and a negative row where the positive scores higher.

        Ties count half (Mann and Whitney, 1947; Hanley and McNeil, 1982), so that this is the
        area under the ROC curve. NaN without a pair, or with a NaN among the scores.
        """
        self._pack()
        if np.isnan(self.scores).any():
            return math.nan
        above, weights = self._sorted(self.positive)
        below, others = self._sorted(~self.positive)
        reached = np.concatenate([np.zeros(1), np.cumsum(others)])
        # A row counts the weight of lower scores once, of equal scores half.
        beaten = reached[np.searchsorted(below, above, "left")]
        beaten += reached[np.searchsorted(below, above, "right")]
        return float(ratio((weights * beaten).sum() / 2, weights.sum() * reached[-1]))

    def _sorted(self, rows: NDArray[np.bool_]) -> tuple[NDArray[np.float32], Floats]:
        """Scores in ascending order, and weights, in an order that depends on nothing else."""
        scores = self.scores[rows]
        if self.weights is None:
            return np.sort(scores), np.ones(len(scores))
        # NumPy sorts complex numbers by real part, then imaginary part.
        pairs = np.empty(len(scores), np.complex64)
        pairs.real, pairs.imag = scores, self.weights[rows]
        pairs.sort()
        return pairs.real, pairs.imag.astype(np.float64)

    def snapshot(self, to_host: Callable[[Any], Any] = lambda a: a) -> dict[str, Any]:
        """As `Part.snapshot`."""
        self._pack()
        return super().snapshot(to_host)

    def restore(self, flat: Mapping[str, Any], put: Callable[[Any], Any] = lambda a: a) -> Self:
        """As `Part.restore`."""
        self._new = []
        return super().restore(flat, put)

    def merge(self, other: "Ranking", base: "Ranking") -> None:
        """Append the rows that `other` has and `base` has not."""
        for part in (self, other, base):
            part._pack()
        known = len(base.scores)
        more = None if other.weights is None else other.weights[known:]
        self.add(other.positive[known:], other.scores[known:], more)


def tally(totals: Floats, index: NDArray[Any], weights: Weights) -> None:
    """``totals[index[i]] += weights[i]``, or 1, row after row: the cuts into blocks are not seen.

    Parameters
    ----------
    totals : ndarray of float64, shape (m,)
        Added to. Counts of rows are exact up to 2**53.
    index : ndarray of int64, shape (n,)
    weights : ndarray, shape (n,), optional
    """
    if weights is None:
        totals += np.bincount(index, minlength=len(totals))
    else:
        np.add.at(totals, index, weights.astype(np.float64))


def ratio(a: Any, b: Any) -> Floats:
    """a / b, NaN where both are 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        quotient: Floats = np.divide(a, b, dtype=np.float64)
    return quotient
