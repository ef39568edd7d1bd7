"""Discounted means and deviations: what the recent past of a series looks like.

Of values x_1 ... x_n with a discount of δ, x_i counts (1 - δ)^(n - i).
"""

import math
from collections.abc import Callable, Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from smalgos.errors import UserError
from smalgos.kernels import load
from smalgos.learning.state import Part

# Rows of `Statistics`, each with a discounted mean and deviation.
VALUE = 0  # the column itself
CHANGE = 1  # its step from one row to the next
SPREAD = 2  # the deviation of VALUE, smoothed
DRIFT = 3  # the mean of CHANGE, smoothed
ROUGHNESS = 4  # the deviation of CHANGE, smoothed
KINDS = 5
SLOWER = 0.1  # of the discount, for the last two


class Deviation(Part):
    """Discounted mean and deviation of one number.

    Parameters
    ----------
    discount : float
        In [0, 1).
    """

    total: float
    squares: float
    weight: float
    count: int  # numbers seen

    def __init__(self, discount: float) -> None:
        self.discount = discount
        self.reset()

    def reset(self) -> None:
        """Forget all numbers."""
        self.total = self.squares = self.weight = 0.0
        self.count = 0

    def update(self, x: float) -> None:
        """Take in one more."""
        keep = 1.0 - self.discount
        self.total = self.total * keep + x
        self.squares = self.squares * keep + x * x
        self.weight = self.weight * keep + 1.0
        self.count += 1

    @property
    def mean(self) -> float:
        """0 before the first number."""
        return self.total / self.weight if self.weight > 0 else 0.0

    @property
    def deviation(self) -> float:
        """Root of the mean squared difference from the mean."""
        mean = self.mean
        square = self.squares / self.weight - mean * mean if self.weight > 0 else 0.0
        return math.sqrt(square) if square > 0 else 0.0

    def check(self) -> None:
        """Raise `UserError` unless numbers could have left it so."""
        sums = self.total, self.squares, self.weight
        if not all(map(math.isfinite, sums)) or min(self.squares, self.weight, self.count) < 0:
            raise UserError("sums of past numbers are negative or not finite")


class Deviations(Part):
    """Discounted means and deviations of some rows of numbers.

    Parameters
    ----------
    rows, width : int
    discount : float
    """

    sums: NDArray[np.float64]  # (3, rows, width): of numbers, of squares, of weights

    def __init__(self, rows: int, width: int, discount: float) -> None:
        self.keep = 1.0 - discount
        self.sums = np.zeros((3, rows, width))

    def update(self, row: int, x: NDArray[np.float64]) -> None:
        """Take in numbers x (width,) of a row."""
        sums = self.sums[:, row]
        sums *= self.keep
        sums += np.stack([x, x * x, np.ones(len(x))])

    @property
    def mean(self) -> NDArray[np.float64]:
        """(rows, width); 0 where nothing was seen."""
        totals, _, weights = self.sums
        mean: NDArray[np.float64] = np.zeros_like(totals)
        np.divide(totals, weights, out=mean, where=weights > 0)
        return mean

    @property
    def deviation(self) -> NDArray[np.float64]:
        """(rows, width)"""
        _, squares, weights = self.sums
        square: NDArray[np.float64] = np.zeros_like(squares)
        np.divide(squares, weights, out=square, where=weights > 0)
        return np.sqrt(np.maximum(square - self.mean**2, 0.0))

    def check(self) -> None:
        """Raise `UserError` unless numbers could have left it so."""
        check_sums(self.sums)


def check_sums(sums: NDArray[np.float64]) -> None:
    """Raise `UserError` unless sums of numbers, squares and weights could be so."""
    if not np.isfinite(sums).all() or (sums[1:] < 0).any():
        raise UserError("sums of past values are negative or not finite")


class Moments:
    """What `Statistics` say at one moment: arrays that do not change any more.

    Attributes
    ----------
    mean : ndarray of float64, shape (5, d)
        Rows VALUE, CHANGE, SPREAD, DRIFT, ROUGHNESS.
    deviation : ndarray of float64, shape (2, d)
        Of VALUE and CHANGE.
    """

    __slots__ = ("deviation", "mean")

    def __init__(self, mean: NDArray[np.float64], deviation: NDArray[np.float64]) -> None:
        self.mean, self.deviation = mean, deviation

    @property
    def noise(self) -> NDArray[np.float64]:
        """(2, d): smoothed deviations of values and of steps."""
        return np.abs(self.mean[[SPREAD, ROUGHNESS]])


class Statistics(Part):
    """Five discounted means of each column of a series.

    Parameters
    ----------
    width : int
        Columns.
    decay : float
        Discount of the first three kinds; that of the last two is a tenth of it.

    Attributes
    ----------
    moments : Moments
        As of the last row.
    """

    sums: NDArray[np.float64]  # (3, KINDS, width): of numbers, of squares, of weights
    rows: int  # seen

    def __init__(self, width: int, decay: float) -> None:
        self._step = load("discounted").step
        self._keep = np.full(KINDS, 1.0 - decay)
        self._keep[DRIFT:] = 1.0 - SLOWER * decay
        self._none = np.zeros(width, np.bool_)
        self.sums = np.zeros((3, KINDS, width))
        self.rows = 0
        self.moments = Moments(np.zeros((KINDS, width)), np.zeros((2, width)))

    def step(
        self,
        x: NDArray[np.float64],
        previous: NDArray[np.float64],
        missing: NDArray[np.bool_] | None = None,
    ) -> None:
        """Take in row x (d,) that follows the row `previous`.

        Where `missing`, x was made up: it counts for the steps, not for the values.
        """
        width = len(x)
        gone = self._none if missing is None else missing
        moments = Moments(np.empty((KINDS, width)), np.empty((2, width)))
        self._step(
            self.sums, self._keep, x, previous, gone, self.rows > 0, moments.mean,
            moments.deviation,
        )  # fmt: skip
        self.moments = moments
        self.rows += 1

    def restore(self, flat: Mapping[str, Any], put: Callable[[Any], Any] = lambda a: a) -> Self:
        """As `Part.restore`."""
        super().restore(flat, put)
        totals, squares, weights = self.sums
        mean, square = (
            np.divide(some, weights, out=np.zeros_like(some), where=weights > 0)
            for some in (totals, squares)
        )
        deviation = np.sqrt(np.maximum(square[:SPREAD] - mean[:SPREAD] * mean[:SPREAD], 0.0))
        self.moments = Moments(mean, deviation)
        return self

    def check(self) -> None:
        """Raise `UserError` unless rows could have left it so."""
        check_sums(self.sums)
        if self.rows < 0:
            raise UserError("a number of rows is negative")

    @staticmethod
    def of_start(X: NDArray[np.float64], decay: float) -> Moments:
        """Of the first rows (n, d) of a series, all of which are known."""
        both = Deviations(2, X.shape[1], decay)
        for x, step in zip(X, np.diff(X, axis=0, prepend=X[:1]), strict=True):
            both.update(VALUE, x)
            both.update(CHANGE, step)
        mean, deviation = both.mean, both.deviation
        return Moments(np.stack([*mean, deviation[0], mean[1], deviation[1]]), deviation)
