"""Survival: Cox's proportional hazards and accelerated failure time."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from smalgos.algorithms.xgboost.base import (
    Exponential,
    Floats,
    Groups,
    Kept,
    Options,
    Weights,
    blame,
)
from smalgos.errors import UserError
from smalgos.kernels import load

NOISE = {"normal": "NORMAL", "logistic": "LOGISTIC", "extreme": "EXTREME"}


class Times(NamedTuple):
    """Rows in the order of time."""

    order: NDArray[np.int64]  # (n,) rows, earliest first
    first: NDArray[np.int64]  # (n,) by place: the first and last place of the same time
    last: NDArray[np.int64]
    event: NDArray[np.bool_]  # (n,) by place


def times(labels: NDArray[Any]) -> Times:
    """The order of times abs(y); y is negative where the row was lost from sight (censored)."""
    time = np.abs(labels)
    order = np.argsort(time, kind="stable")
    time = time[order]
    return Times(
        order,
        np.searchsorted(time, time),
        np.searchsorted(time, time, "right") - 1,
        labels[order] > 0,
    )


def at_risk(margin: NDArray[Any], given: Times) -> tuple[NDArray[Any], NDArray[Any], float]:
    """By place: exp(m - top), and its sum over all rows that are still there; and top."""
    m = margin[given.order].astype(np.float64)
    top = float(m.max(initial=-np.inf))
    hazard = np.exp(m - top)
    # From the end on: terms are added, never subtracted again.
    return hazard, np.cumsum(hazard[::-1])[::-1][given.first], top


class Cox(Exponential):
    """Breslow's partial likelihood; a negative label is the time at which a row was censored.

    Rows with equal times are at risk together. (XGBoost's gradients leave out those events of the
    same time that stand further down; its metric is the same as ours.)
    """

    name, metric = "survival:cox", "cox-nloglik"

    def __init__(self) -> None:
        super().__init__()
        self._times = Kept(times)

    def _estimate(self, labels: NDArray[Any], weights: Weights, groups: Groups) -> Any:
        return np.exp(self._stump(labels, weights, groups))

    def gradients(
        self, margin: Floats, labels: NDArray[Any], weights: Weights, groups: Groups,
        g: Floats, h: Floats, iteration: int = 0, seed: int = 0,
    ) -> None:  # fmt: skip
        """Gradient, and diagonal of the hessian; labels are taken to stay as they are."""
        given = self._times(labels)
        hazard, risk, _ = at_risk(margin[0], given)
        # Sums over the events up to the time of a row.
        first = np.cumsum(np.where(given.event, 1 / risk, 0))[given.last]
        second = np.cumsum(np.where(given.event, 1 / risk**2, 0))[given.last]
        w = 1.0 if weights is None else weights[given.order].astype(np.float64)
        g[0, given.order] = (hazard * first - given.event) * w
        h[0, given.order] = (hazard * first - hazard**2 * second) * w


class AFT(Exponential):
    """Accelerated failure time: log time = margin + scale * noise; times between two bounds.

    Labels are the two bounds (n, 2), equal where the time is known; the upper one is infinite
    where a row was lost from sight, the lower one 0 where it had failed before. Labels (n,) are
    known times.
    """

    name, metric = "survival:aft", "aft-nloglik"

    def __init__(self, options: Options) -> None:
        super().__init__()
        self.survival = load("survival")
        noise = options.aft_loss_distribution or "normal"
        if noise not in NOISE:
            raise UserError(f"aft_loss_distribution={noise}: give one of {', '.join(NOISE)}")
        self.noise = getattr(self.survival, NOISE[noise])
        self.scale = options.number("aft_loss_distribution_scale", 1.0)
        if not 0 < self.scale < np.inf:
            raise UserError(f"aft_loss_distribution_scale={self.scale:g}: must be greater than 0")

    def _check_labels(self, labels: NDArray[Any], start: int) -> None:
        if labels.ndim > 2 or (labels.ndim == 2 and labels.shape[1] != 2):
            raise UserError(
                f"labels of shape {labels.shape}: {self.name} takes times (n,) or bounds (n, 2)"
            )
        lower, upper = bounds(labels)
        blame(lower, (lower >= 0) & (lower < np.inf), start, "lower bound of the time",
              "must be a finite number of at least 0")  # fmt: skip
        blame(upper, (upper >= lower) & (upper > 0), start, "upper bound of the time",
              "must be greater than 0, and not less than the lower bound")  # fmt: skip

    def _estimate(self, labels: NDArray[Any], weights: Weights, groups: Groups) -> Any:
        return 0.5

    def gradients(
        self, margin: Floats, labels: NDArray[Any], weights: Weights, groups: Groups,
        g: Floats, h: Floats, iteration: int = 0, seed: int = 0,
    ) -> None:  # fmt: skip
        """Those of the likelihood, clipped."""
        self.survival.aft_gradients(self.noise, self.scale, margin[0], *bounds(labels), g[0], h[0])
        if weights is not None:
            g *= weights
            h *= weights


def bounds(labels: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Lower and upper bounds of times."""
    return (labels, labels) if labels.ndim == 1 else (labels[:, 0], labels[:, 1])
