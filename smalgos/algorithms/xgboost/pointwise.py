"""Objectives of single rows: regression, classification, counts."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from smalgos.algorithms.xgboost.base import (
    LEAST,
    Exponential,
    Floats,
    Groups,
    Objective,
    Options,
    Weights,
    mean,
)
from smalgos.algorithms.xgboost.quantiles import quantile
from smalgos.errors import UserError
from smalgos.kernels import load


class Labels(NamedTuple):
    """The range of labels, and its name."""

    holds: Callable[[NDArray[Any]], NDArray[np.bool_]]
    said: str


ANY = Labels(lambda y: np.ones(len(y), np.bool_), "any number")
ABOVE_MINUS_ONE = Labels(lambda y: y > -1, "labels greater than -1")
SHARES = Labels(lambda y: (y >= 0) & (y <= 1), "labels from 0 to 1")
BINARY = Labels(lambda y: (y == 0) | (y == 1), "labels 0 and 1")
NOT_NEGATIVE = Labels(lambda y: y >= 0, "labels of at least 0")
POSITIVE = Labels(lambda y: y > 0, "labels greater than 0")


class Pointwise(Objective):
    """An objective with a formula among the kernels, and predictions that are margins."""

    code: str  # name of the kernels' formula
    range: Labels = ANY
    positive = False  # whether scale_pos_weight counts
    glm = False  # whether the mean of the labels is the best prediction

    def __init__(self, name: str, options: Options) -> None:
        super().__init__()
        self.name = name
        self.weight = options.number("scale_pos_weight", 1.0) if self.positive else 1.0
        if not 0 < self.weight < np.inf:
            raise UserError(f"scale_pos_weight={self.weight:g}: must be greater than 0")
        self.constants = self._constants(options)
        self.outputs = len(self.constants)

    def _constants(self, options: Options) -> tuple[float, ...]:
        """The constant of the formula for each output."""
        return (0.0,)

    def _good(self, labels: NDArray[Any]) -> tuple[NDArray[np.bool_], str]:
        return self.range.holds(labels), self.range.said

    def _estimate(self, labels: NDArray[Any], weights: Weights, groups: Groups) -> Any:
        if self.glm and self.weight == 1:
            return mean(labels, weights)
        return self.transform(self._stump(labels, weights, groups)[None])

    def gradients(
        self, margin: Floats, labels: NDArray[Any], weights: Weights, groups: Groups,
        g: Floats, h: Floats, iteration: int = 0, seed: int = 0,
    ) -> None:  # fmt: skip
        """The formula, row by row."""
        code = getattr(self.k, self.code)
        for k, constant in enumerate(self.constants):
            self.k.gradients(code, constant, self.weight, margin[k], labels, weights, g[k], h[k])


class SquaredError(Pointwise):
    """Squared error."""

    code, metric, positive, glm = "SQUARED", "rmse", True, True


class SquaredLogError(Pointwise):
    """Squared error of log(1 + prediction)."""

    code, metric, range = "SQUARED_LOG", "rmsle", ABOVE_MINUS_ONE


class PseudoHuber(Pointwise):
    """Squared near 0, absolute far out."""

    code, metric = "PSEUDO_HUBER", "mphe"

    def _constants(self, options: Options) -> tuple[float, ...]:
        slope = options.number("huber_slope", 1.0)
        if not 0 < slope < np.inf:
            raise UserError(f"huber_slope={slope:g}: must be greater than 0")
        return (slope,)


class Quantile(Pointwise):
    """Pinball loss: a quantile of the label, or several."""

    code, metric = "QUANTILE", "quantile"

    def _constants(self, options: Options) -> tuple[float, ...]:
        given = 0.5 if options.quantile_alpha is None else options.quantile_alpha
        if isinstance(given, str):
            given = [v for v in given.strip("[]() ").split(",") if v.strip()]
        try:
            levels = tuple(float(v) for v in np.atleast_1d(given))
        except ValueError:
            levels = ()
        if not levels or not all(0 < v < 1 for v in levels):
            raise UserError(
                f"quantile_alpha={options.quantile_alpha}: give numbers between 0 and 1"
            )
        self.adaptive = levels
        return levels

    def _estimate(self, labels: NDArray[Any], weights: Weights, groups: Groups) -> Any:
        return [quantile(labels, level, weights) for level in self.constants]


class AbsoluteError(Pointwise):
    """Absolute error."""

    code, metric, adaptive = "ABSOLUTE", "mae", (0.5,)

    def _estimate(self, labels: NDArray[Any], weights: Weights, groups: Groups) -> Any:
        return quantile(labels, 0.5, weights)


class LogisticRaw(Pointwise):
    """Log loss; predictions are margins. As in XGBoost, base_score is a margin, too."""

    code, metric, positive, glm, range = "LOGISTIC", "logloss", True, True, SHARES


class Logistic(LogisticRaw):
    """Log loss; predictions are probabilities."""

    def __init__(self, name: str, options: Options) -> None:
        super().__init__(name, options)
        self.metric = "rmse" if name == "reg:logistic" else "logloss"

    def _to_margin(self, base: NDArray[np.float64]) -> NDArray[np.float64]:
        if not ((base >= 0) & (base <= 1)).all():
            raise UserError(f"base_score={base[0]:g}: must be between 0 and 1 with {self.name}")
        base = np.clip(base, LEAST, 1 - LEAST)
        return np.log(base) - np.log1p(-base)

    def transform(self, margin: NDArray[Any]) -> Floats:
        """Probabilities of label 1, (n,)."""
        return linked("LOGISTIC", np.asarray(margin)[:, 0])


class Hinge(Pointwise):
    """Hinge loss; predictions are 0 and 1."""

    code, metric, range = "HINGE", "error", BINARY

    def transform(self, margin: NDArray[Any]) -> Floats:
        """0 or 1, (n,)."""
        above: NDArray[np.bool_] = np.asarray(margin)[:, 0] > 0
        return above.astype(np.float32)


class Positive(Exponential, Pointwise):
    """Predictions are positive, and their mean is the best constant one."""

    glm, range = True, NOT_NEGATIVE

    def _estimate(self, labels: NDArray[Any], weights: Weights, groups: Groups) -> Any:
        # Of zeros alone the mean has no margin.
        return np.maximum(super()._estimate(labels, weights, groups), LEAST)


class Poisson(Positive):
    """Poisson likelihood of counts. max_delta_step damps leaves by way of the hessian."""

    code, metric = "POISSON", "poisson-nloglik"

    def _constants(self, options: Options) -> tuple[float, ...]:
        step = options.number("max_delta_step", 0.7)
        if not 0 <= step < np.inf:
            raise UserError(f"max_delta_step={step:g}: must be at least 0")
        return (step,)


class Gamma(Positive):
    """Gamma likelihood."""

    code, metric, positive, range = "GAMMA", "gamma-deviance", True, POSITIVE


class Tweedie(Positive):
    """Tweedie likelihood of a variance that is a power of the mean."""

    code = "TWEEDIE"

    def _constants(self, options: Options) -> tuple[float, ...]:
        power = options.number("tweedie_variance_power", 1.5)
        if not 1 < power < 2:
            raise UserError(f"tweedie_variance_power={power:g}: must be between 1 and 2")
        self.metric = f"tweedie-nloglik@{power:g}"
        return (power,)


class Softmax(Objective):
    """Log loss of several classes; predictions are classes, or with ``proba`` their shares."""

    metric = "mlogloss"

    def __init__(self, name: str, outputs: int) -> None:
        super().__init__()
        if outputs < 2:
            raise UserError(f"num_class={outputs}: {name} takes the number of classes, 2 or more")
        self.name, self.outputs = name, outputs
        self.proba = name == "multi:softprob"

    def _good(self, labels: NDArray[Any]) -> tuple[NDArray[np.bool_], str]:
        good = (labels >= 0) & (labels < self.outputs) & (labels == np.floor(labels))
        return good, f"whole numbers from 0 to {self.outputs - 1}, less than num_class"

    def _estimate(self, labels: NDArray[Any], weights: Weights, groups: Groups) -> Any:
        """Logarithms of the classes' shares, with a mean of 0."""
        counts = np.bincount(labels.astype(np.int64), weights, self.outputs)
        scores = np.log(counts / counts.sum() + LEAST)
        return scores - scores.mean()

    def gradients(
        self, margin: Floats, labels: NDArray[Any], weights: Weights, groups: Groups,
        g: Floats, h: Floats, iteration: int = 0, seed: int = 0,
    ) -> None:  # fmt: skip
        """Softmax less the true class."""
        self.k.softmax_gradients(margin, labels, weights, g, h)

    def transform(self, margin: NDArray[Any]) -> Floats:
        """Classes (n,), of equal ones the first; or shares (n, K)."""
        margin = np.asarray(margin)
        if not self.proba:
            return first_greatest(margin.T).astype(np.float32)
        return linked("SOFTMAX", margin)


def first_greatest(margin: NDArray[Any]) -> NDArray[np.int64]:
    """For each column of margins (K, n) the row of the greatest one, of equal ones the first."""
    best, top = np.zeros(margin.shape[1], np.int64), margin[0]
    for k in range(1, len(margin)):
        better = margin[k] > top
        best, top = np.where(better, k, best), np.where(better, margin[k], top)
    return best


def linked(code: str, margin: NDArray[Any]) -> Floats:
    """Sigmoid of margins (n,), or softmax of rows (n, K)."""
    k = load("losses")
    classes = margin.shape[1] if margin.ndim == 2 else 1
    out = np.empty(margin.shape, np.float32)

    def work(part: slice) -> None:
        out[part] = k.link(getattr(k, code), margin[part], classes)

    k.run(work, k.chunks(len(margin), 1 << 14))
    return out


POINTWISE: dict[str, type[Pointwise]] = {
    "reg:squarederror": SquaredError,
    "reg:linear": SquaredError,
    "reg:squaredlogerror": SquaredLogError,
    "reg:logistic": Logistic,
    "reg:pseudohubererror": PseudoHuber,
    "reg:absoluteerror": AbsoluteError,
    "reg:quantileerror": Quantile,
    "reg:gamma": Gamma,
    "reg:tweedie": Tweedie,
    "binary:logistic": Logistic,
    "binary:logitraw": LogisticRaw,
    "binary:hinge": Hinge,
    "count:poisson": Poisson,
}
