"""What an objective of boosted trees is, and the parts that objectives share."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from smalgos.errors import RowError, UserError
from smalgos.kernels import load

Floats: TypeAlias = NDArray[np.float32]
Weights: TypeAlias = NDArray[np.float32] | None
Groups: TypeAlias = NDArray[np.int64] | None

T = TypeVar("T")

LEAST = 1e-6  # XGBoost's bound of hessian sums of stumps, and of probabilities to start from


@dataclass(frozen=True)
class Options:
    """The hyperparameters that objectives look at; None stands for XGBoost's default.

    ``lambdarank_unbiased`` is not offered.
    """

    scale_pos_weight: float | None = None
    max_delta_step: float | None = None
    tweedie_variance_power: float | None = None
    huber_slope: float | None = None
    quantile_alpha: Any = None
    aft_loss_distribution: str | None = None
    aft_loss_distribution_scale: float | None = None
    lambdarank_pair_method: str | None = None
    lambdarank_num_pair_per_sample: int | None = None
    lambdarank_normalization: bool | None = None
    lambdarank_score_normalization: bool | None = None
    ndcg_exp_gain: bool | None = None

    def number(self, name: str, default: float) -> float:
        """The number that a hyperparameter is."""
        given = getattr(self, name)
        return default if given is None else float(given)


class Objective(ABC):
    """What boosting minimises, and how margins become predictions.

    Margins are float32, in training class-major: (K, n).

    Attributes
    ----------
    name : str
        As XGBoost spells it.
    outputs : int
        K, the margins of a row.
    metric : str
        Its default eval metric.
    adaptive : tuple of float or None
        For each output the level of the weighted quantile of residuals that leaves are set to
        (`refit_leaves`) once a tree is grown; None: leaves stay as they are.
    """

    name: str
    outputs: int = 1
    metric: str
    adaptive: tuple[float, ...] | None = None

    def __init__(self) -> None:
        self.k = load("objectives")

    def check(
        self, labels: NDArray[Any], weights: Weights = None, groups: Groups = None, start: int = 0
    ) -> None:
        """Raise `RowError` for the first row that this objective cannot learn from.

        Parameters
        ----------
        labels : ndarray of float32, shape (n,)
            survival:aft also takes (n, 2), the bounds of the time.
        weights : ndarray of float32, shape (n,), optional
        groups : ndarray of int64, shape (n,), optional
            Numbers of the query of each row.
        start : int
            Number of the first row.

        Raises
        ------
        RowError
        UserError
            For arrays that do not fit.
        """
        self._check_labels(labels, start)
        for what, given in (("weights", weights), ("groups", groups)):
            if given is not None and given.shape != (len(labels),):
                raise UserError(
                    f"{what} of shape {given.shape} for {len(labels)} labels: give one per row"
                )
        if weights is not None:
            blame(weights, np.isfinite(weights) & (weights >= 0), start, "weight",
                  "weights must be finite and not negative")  # fmt: skip
        if groups is not None and len(groups):
            heads = np.append(0, np.flatnonzero(groups[1:] != groups[:-1]) + 1)
            _, first = np.unique(groups[heads], return_index=True)
            if len(first) < len(heads):
                again = heads[np.setdiff1d(np.arange(len(heads)), first)[0]]
                raise RowError(
                    start + int(again),
                    f"query {groups[again]} again, after another one: rows of a query must stand "
                    "together; sort the rows by query",
                )

    def _check_labels(self, labels: NDArray[Any], start: int) -> None:
        if labels.ndim != 1:
            raise UserError(f"labels of shape {labels.shape}: {self.name} takes one per row")
        blame(labels, np.isfinite(labels), start, "label", "labels must be finite numbers")
        good, allowed = self._good(labels)
        blame(labels, good, start, "label", f"{self.name} takes {allowed}")

    def _good(self, labels: NDArray[Any]) -> tuple[NDArray[np.bool_], str]:
        """Which finite labels are in range, and what the range is."""
        return np.ones(len(labels), np.bool_), "any number"

    def estimate(
        self, labels: NDArray[Any], weights: Weights = None, groups: Groups = None
    ) -> NDArray[np.float64]:
        """The prediction to start from where the user gives none, as XGBoost 3.2 estimates it.

        Parameters
        ----------
        labels, weights, groups
            As in `check`.

        Returns
        -------
        ndarray of float64, shape (K,)
            In the space of predictions, ready for `to_margin`.
        """
        if weights is not None and not weights.any():
            raise UserError("the weights of all rows are 0: there is nothing to learn from")
        return np.asarray(self._estimate(labels, weights, groups), np.float64).reshape(self.outputs)

    @abstractmethod
    def _estimate(self, labels: NDArray[Any], weights: Weights, groups: Groups) -> Any: ...

    def _stump(self, labels: NDArray[Any], weights: Weights, groups: Groups) -> Any:
        """One Newton step from margins of 0: (K,)."""
        margin = np.zeros((self.outputs, len(labels)), np.float32)
        g, h = np.empty_like(margin), np.empty_like(margin)
        self.gradients(margin, labels, weights, groups, g, h)
        return -g.sum(axis=1, dtype=np.float64) / np.maximum(h.sum(axis=1, dtype=np.float64), LEAST)

    def to_margin(self, base_score: Any) -> Floats:
        """The margin of a prediction.

        Parameters
        ----------
        base_score : float or array of shape (K,)

        Returns
        -------
        ndarray of float32, shape (K,)

        Raises
        ------
        UserError
            For one out of the range of predictions.
        """
        base = np.asarray(base_score, np.float64).reshape(-1)
        if len(base) not in (1, self.outputs):
            raise UserError(f"base_score has {len(base)} numbers: {self.name} takes {self.outputs}")
        if not np.isfinite(base).all():
            raise UserError(f"base_score={base_score}: give a finite number")
        return np.broadcast_to(self._to_margin(base), self.outputs).astype(np.float32)

    def _to_margin(self, base: NDArray[np.float64]) -> NDArray[np.float64]:
        return base

    @abstractmethod
    def gradients(
        self,
        margin: Floats,
        labels: NDArray[Any],
        weights: Weights,
        groups: Groups,
        g: Floats,
        h: Floats,
        iteration: int = 0,
        seed: int = 0,
    ) -> None:
        """First and second derivatives of the loss of each row by its margins.

        Parameters
        ----------
        margin : ndarray of float32, shape (K, n)
        labels, weights, groups
            As in `check`, and checked.
        g, h : ndarray of float32, shape (K, n)
            Written to.
        iteration, seed : int
            Key of random numbers, where pairs of rows are drawn.
        """

    def transform(self, margin: NDArray[Any]) -> Floats:
        """Predictions of margins.

        Parameters
        ----------
        margin : ndarray, shape (n, K)

        Returns
        -------
        ndarray of float32, shape (n,) or (n, K)
            Always a copy.
        """
        margin = np.array(margin, np.float32, order="C")
        return margin[:, 0] if self.outputs == 1 else margin


class Exponential(Objective):
    """An objective whose predictions are exp(margin)."""

    def _to_margin(self, base: NDArray[np.float64]) -> NDArray[np.float64]:
        if not (base > 0).all():
            raise UserError(f"base_score={base[0]:g}: must be greater than 0 with {self.name}")
        return np.log(base)

    def transform(self, margin: NDArray[Any]) -> Floats:
        """exp(margin), (n,)."""
        out: Floats = self.k.exponential(np.asarray(margin)[:, 0])
        return out


class Kept(Generic[T]):
    """What is derived from arrays, kept while the same ones are given.

    The arrays are not looked at again: they must stay as they are.
    """

    def __init__(self, derive: Callable[..., T]) -> None:
        self._derive = derive
        self._seen: tuple[Any, ...] | None = None
        self._value: T

    def __call__(self, *arrays: Any) -> T:
        if self._seen is None or any(a is not b for a, b in zip(arrays, self._seen, strict=True)):
            self._seen, self._value = None, self._derive(*arrays)
            self._seen = arrays
        return self._value


def blame(
    values: NDArray[Any], good: NDArray[np.bool_], start: int, what: str, allowed: str
) -> None:
    """Raise `RowError` for the first value that is not good."""
    if not good.all():
        i = int(np.argmin(good))
        raise RowError(start + i, f"{what} {values[i]:g}: {allowed}")


def mean(x: NDArray[Any], weights: Weights) -> float:
    """Mean in float64."""
    return float(np.average(x.astype(np.float64), weights=weights))
