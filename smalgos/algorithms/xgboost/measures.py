"""Eval metrics that are means over rows."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from smalgos.algorithms.xgboost.base import Floats, Groups, Objective, Weights
from smalgos.algorithms.xgboost.pointwise import PseudoHuber, first_greatest, linked
from smalgos.algorithms.xgboost.survival import at_risk, bounds, times
from smalgos.kernels import load

Doubles: TypeAlias = NDArray[np.float64]

ROWS = 1 << 14  # of a chunk: a few arrays of float64 stay in the cache
TINY = 1e-16  # XGBoost's bound of predictions before their logarithm is taken
SMALL = 1e-6  # and that of the gamma metrics


class Sample(NamedTuple):
    """What a metric is taken of."""

    objective: Objective
    margin: Floats  # (K, n)
    labels: NDArray[Any]  # (n,) or (n, 2)
    weights: Weights
    groups: Groups


Value: TypeAlias = Callable[[Sample], float]


def average(sample: Sample, losses: Callable[[slice], Doubles]) -> float:
    """The weighted mean of losses (rows,), asked for chunk by chunk."""
    k = load("shared")

    def work(part: slice) -> tuple[float, float]:
        each = losses(part)
        if sample.weights is None:
            return float(each.sum()), len(each)
        w = sample.weights[part].astype(np.float64)
        return float((each * w).sum()), float(w.sum())

    total = weight = 0.0
    for a, b in k.run(work, k.chunks(len(sample.labels), ROWS)):
        total += a
        weight += b
    return total / weight if weight else math.nan


def mean_of(
    loss: Callable[[Doubles, Doubles], Doubles], finish: Callable[[float], float] = float
) -> Value:
    """The weighted mean of a loss of predictions and labels."""

    def value(sample: Sample) -> float:
        return finish(average(sample, lambda part: loss(predicted(sample, part), _y(sample, part))))

    return value


def predicted(sample: Sample, part: slice) -> Doubles:
    """Predictions (rows,)."""
    return sample.objective.transform(sample.margin[:, part].T).astype(np.float64)


def probability(sample: Sample, part: slice) -> Floats:
    """That of label 1."""
    if sample.objective.name == "binary:hinge":
        return sample.objective.transform(sample.margin[:, part].T)
    return linked("LOGISTIC", sample.margin[0, part])


def _y(sample: Sample, part: slice) -> Doubles:
    return sample.labels[part].astype(np.float64)


# Regression ---------------------------------------------------------------------------


def mse(sample: Sample) -> float:
    """Without weights."""
    return mean_of(lambda p, y: (p - y) ** 2)(sample._replace(weights=None))


def r2(sample: Sample) -> float:
    """The share of the labels' variance that is explained; without weights."""
    variance, left = float(sample.labels.astype(np.float64).var()), mse(sample)
    if variance == 0:
        return 1.0 if left == 0 else 0.0  # as scikit-learn has it
    return 1 - left / variance


def squared_log(p: Doubles, y: Doubles) -> Doubles:
    """Squared difference of log(1 + x)."""
    off: Doubles = np.log1p(p) - np.log1p(y)
    return off * off


def huber(objective: Objective) -> Value:
    """Pseudo-Huber loss, of the objective's slope."""
    slope = objective.constants[0] if isinstance(objective, PseudoHuber) else 1.0
    return mean_of(lambda p, y: slope**2 * (np.sqrt(1 + ((p - y) / slope) ** 2) - 1))


def pinball(sample: Sample) -> float:
    """The mean over rows and levels."""
    levels = np.array(sample.objective.adaptive)

    def losses(part: slice) -> Doubles:
        off = _y(sample, part)[:, None] - sample.margin[:, part].T
        each: Doubles = np.maximum(levels * off, (levels - 1) * off).mean(axis=1)
        return each

    return average(sample, losses)


def poisson(p: Doubles, y: Doubles) -> Doubles:
    """Minus the logarithm of the likelihood."""
    from scipy.special import gammaln

    p = np.maximum(p, TINY)
    loss: Doubles = gammaln(y + 1) + p - np.log(p) * y
    return loss


def gamma(p: Doubles, y: Doubles) -> Doubles:
    """Minus the logarithm of the likelihood of shape 1."""
    p = np.maximum(p, SMALL)
    loss: Doubles = y / p + np.log(p)
    return loss


def gamma_deviance(p: Doubles, y: Doubles) -> Doubles:
    """Twice what the logarithm of the likelihood falls short of the best."""
    p, y = p + SMALL, y + SMALL
    loss: Doubles = 2 * (np.log(p / y) + y / p - 1)
    return loss


def tweedie(power: float) -> Value:
    """Minus the logarithm of the likelihood, but for what predictions do not change."""

    def loss(p: Doubles, y: Doubles) -> Doubles:
        each: Doubles = p ** (2 - power) / (2 - power) - y * p ** (1 - power) / (1 - power)
        return each

    return mean_of(loss)


# Classification -----------------------------------------------------------------------


def log_loss(sample: Sample) -> float:
    """From margins, not from probabilities rounded to float32."""

    def losses(part: slice) -> Doubles:
        m = sample.margin[0, part].astype(np.float64)
        loss: Doubles = np.maximum(m, 0) + np.log1p(np.exp(-np.abs(m))) - _y(sample, part) * m
        return loss

    return average(sample, losses)


def error(threshold: float) -> Value:
    """The share of rows on the wrong side."""

    def value(sample: Sample) -> float:
        def losses(part: slice) -> Doubles:
            y = _y(sample, part)
            return np.where(probability(sample, part) > np.float32(threshold), 1 - y, y)

        return average(sample, losses)

    return value


def classes_error(sample: Sample) -> float:
    """The share of rows whose greatest margin is not that of their class."""

    def losses(part: slice) -> Doubles:
        wrong: NDArray[np.bool_] = first_greatest(sample.margin[:, part]) != sample.labels[part]
        return wrong.astype(np.float64)

    return average(sample, losses)


def classes_log_loss(sample: Sample) -> float:
    """Minus the logarithm of the share of the row's class."""

    def losses(part: slice) -> Doubles:
        m = sample.margin[:, part].astype(np.float64)
        own = m[sample.labels[part].astype(np.int64), np.arange(m.shape[1])]
        top = m.max(axis=0)
        loss: Doubles = np.log(np.exp(m - top).sum(axis=0)) + top - own
        return loss

    return average(sample, losses)


# Survival -----------------------------------------------------------------------------


def cox(sample: Sample) -> float:
    """Minus the logarithm of the partial likelihood, the mean over events; without weights."""
    given = times(sample.labels)
    _, risk, top = at_risk(sample.margin[0], given)
    m = sample.margin[0, given.order].astype(np.float64)
    loss = np.log(risk[given.event]) + top - m[given.event]
    return float(loss.mean()) if len(loss) else math.nan


def aft(sample: Sample) -> float:
    """The loss of the objective."""
    objective: Any = sample.objective
    loss = objective.survival.aft_losses(
        objective.noise, objective.scale, sample.margin[0], *bounds(sample.labels)
    )
    return average(sample, lambda part: loss[part])


def within(sample: Sample) -> float:
    """The share of predictions between the bounds."""
    lower, upper = bounds(sample.labels)

    def hits(part: slice) -> Doubles:
        p = predicted(sample, part)
        inside: NDArray[np.bool_] = (p >= lower[part]) & (p <= upper[part])
        return inside.astype(np.float64)

    return average(sample, hits)
