"""Eval metrics of boosted trees, by XGBoost's names and those that the container adds.

XGBoost's metrics have XGBoost's values, but for what are artefacts there: the logarithms of
``logloss`` and ``mlogloss`` are those of the margins, not of probabilities rounded to float32; for
binary:logitraw, ``logloss`` and ``error`` are of the probabilities, not of the margins; ``auc`` of
queries counts pairs of different labels only. The container's own metrics are scikit-learn's and
leave weights out, as there.

Sums over rows are float64, of fixed chunks, added in order.
"""

import difflib
import inspect
import math
import re
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from smalgos.algorithms.xgboost import measures
from smalgos.algorithms.xgboost.areas import Area, of_classes, precision_recall_area, roc_area
from smalgos.algorithms.xgboost.base import Floats, Groups, Objective, Weights
from smalgos.algorithms.xgboost.counts import OF_CLASS_ONE, OF_CLASSES
from smalgos.algorithms.xgboost.measures import Sample, Value, mean_of
from smalgos.algorithms.xgboost.objectives import Custom
from smalgos.algorithms.xgboost.pointwise import Tweedie
from smalgos.algorithms.xgboost.ranks import OF_QUERIES
from smalgos.algorithms.xgboost.survival import AFT, Cox
from smalgos.errors import UserError


class Metric:
    """An eval metric, ready to be called.

    Attributes
    ----------
    name : str
        As log lines print it.
    maximize : bool
        Whether more is better.
    """

    def __init__(self, name: str, maximize: bool, objective: Objective, value: Value) -> None:
        self.name, self.maximize = name, maximize
        self._objective, self._value = objective, value

    def __call__(
        self,
        margin: Floats,
        labels: NDArray[Any],
        weights: Weights = None,
        groups: Groups = None,
    ) -> float:
        """Value of the metric.

        Parameters
        ----------
        margin : ndarray of float32, shape (K, n)
        labels : ndarray of float32, shape (n,), of survival:aft also (n, 2)
        weights : ndarray of float32, shape (n,), optional
            Of a query, that of its first row counts.
        groups : ndarray of int64, shape (n,), optional
            Numbers of queries, equal ones together; all rows are one if not given.

        Returns
        -------
        float
            NaN where there is no value: of no rows, of areas with one class only.
        """
        if len(labels) == 0:
            return math.nan
        sample = Sample(self._objective, margin, labels, weights, groups)
        with np.errstate(all="ignore"):
            return float(self._value(sample))


# Names --------------------------------------------------------------------------------

Make: TypeAlias = Callable[[Objective, float, bool], Value]  # of the number behind @, and the -


class Kind(NamedTuple):
    """What a name stands for."""

    make: Make
    to: str  # what it applies to, one of `APPLIES`
    maximize: bool = False
    number: str = ""  # what stands behind @, one of `NUMBERS`
    default: float = math.nan  # where nothing does


def _named(*starts: str) -> Callable[[Objective], bool]:
    return lambda o: not isinstance(o, Custom) and o.name.startswith(starts)


def _one_output(o: Objective) -> bool:
    return o.outputs == 1 and not isinstance(o, AFT | Cox)


def _areas(o: Objective) -> bool:
    return _named("binary:", "multi:", "rank:")(o) or (isinstance(o, Custom) and o.outputs == 1)


ONE_OUTPUT = "objectives with one output other than survival:"
BINARY, CLASSES = "objectives binary:", "objectives binary: and multi:"
AREAS = "objectives binary:, multi: and rank:"
SHARES = "objectives binary: and reg:logistic"
LOGISTIC = "binary:logistic, binary:logitraw and reg:logistic"
MULTI, QUANTILES = "objectives multi:", "reg:quantileerror"
COX, FAILURE = "survival:cox", "survival:aft"
APPLIES: dict[str, Callable[[Objective], bool]] = {
    ONE_OUTPUT: _one_output,
    BINARY: _named("binary:"),
    CLASSES: _named("binary:", "multi:"),
    AREAS: _areas,
    SHARES: _named("binary:", "reg:logistic"),
    LOGISTIC: _named("binary:logi", "reg:logistic"),
    MULTI: _named("multi:"),
    QUANTILES: _named("reg:quantileerror"),
    COX: lambda o: isinstance(o, Cox),
    FAILURE: lambda o: isinstance(o, AFT),
}
SHARE, POWER, ROWS = "a number from 0 to 1", "a number between 1 and 2", "a number of rows"
NUMBERS: dict[str, Callable[[float], bool]] = {
    SHARE: lambda x: 0 <= x <= 1,
    POWER: lambda x: 1 < x < 2,
    ROWS: lambda x: x >= 1 and x.is_integer(),
}


def _always(value: Value) -> Make:
    return lambda objective, number, minus: value


def _of_queries(name: str) -> Make:
    return lambda objective, number, minus: OF_QUERIES[name](number, minus)


def _area(name: str, area: Area) -> Make:
    def make(objective: Objective, number: float, minus: bool) -> Value:
        if objective.name.startswith("rank:"):
            return OF_QUERIES[name](number, minus)
        return of_classes(area)

    return make


KINDS: dict[str, Kind] = {
    "rmse": Kind(_always(mean_of(lambda p, y: (p - y) ** 2, math.sqrt)), ONE_OUTPUT),
    "mae": Kind(_always(mean_of(lambda p, y: np.abs(p - y))), ONE_OUTPUT),
    "mape": Kind(_always(mean_of(lambda p, y: np.abs((y - p) / y))), ONE_OUTPUT),
    "rmsle": Kind(_always(mean_of(measures.squared_log, math.sqrt)), ONE_OUTPUT),
    "mphe": Kind(lambda objective, number, minus: measures.huber(objective), ONE_OUTPUT),
    "poisson-nloglik": Kind(_always(mean_of(measures.poisson)), ONE_OUTPUT),
    "gamma-nloglik": Kind(_always(mean_of(measures.gamma)), ONE_OUTPUT),
    "gamma-deviance": Kind(_always(mean_of(measures.gamma_deviance)), ONE_OUTPUT),
    "tweedie-nloglik": Kind(
        lambda objective, power, minus: measures.tweedie(power), ONE_OUTPUT, number=POWER
    ),
    "quantile": Kind(_always(measures.pinball), QUANTILES),
    "logloss": Kind(_always(measures.log_loss), LOGISTIC),
    "error": Kind(
        lambda objective, share, minus: measures.error(share), SHARES, number=SHARE, default=0.5
    ),
    "merror": Kind(_always(measures.classes_error), MULTI),
    "mlogloss": Kind(_always(measures.classes_log_loss), MULTI),
    "auc": Kind(_area("auc", roc_area), AREAS, True),
    "aucpr": Kind(_area("aucpr", precision_recall_area), AREAS, True),
    "ndcg": Kind(_of_queries("ndcg"), ONE_OUTPUT, True, ROWS, math.inf),
    "map": Kind(_of_queries("map"), ONE_OUTPUT, True, ROWS, math.inf),
    "pre": Kind(_of_queries("pre"), ONE_OUTPUT, True, ROWS, math.inf),
    "cox-nloglik": Kind(_always(measures.cox), COX),
    "aft-nloglik": Kind(_always(measures.aft), FAILURE),
    "interval-regression-accuracy": Kind(_always(measures.within), FAILURE, True),
    # The container's own.
    "mse": Kind(_always(measures.mse), ONE_OUTPUT),
    "r2": Kind(_always(measures.r2), ONE_OUTPUT, True),
    **{name: Kind(_always(value), CLASSES, True) for name, value in OF_CLASSES.items()},
    **{name: Kind(_always(value), BINARY, True) for name, value in OF_CLASS_ONE.items()},
}


def metric(name: str, objective: Objective) -> Metric:
    """An eval metric by its name.

    Parameters
    ----------
    name : str
        As XGBoost or the container spells it, with a number where it takes one: ``error@0.3``,
        ``tweedie-nloglik@1.2`` (of reg:tweedie without one, too), ``ndcg@10``, ``map@10``,
        ``pre@10``. With ``ndcg@10-`` and ``map@10-``, queries without relevant rows count 0
        instead of 1.
    objective : Objective
        What the margins belong to.

    Returns
    -------
    Metric

    Raises
    ------
    UserError
        For an unknown name, a number out of range, or a metric that does not apply to the
        objective.
    """
    base, at, text = name.removesuffix("-").partition("@")
    kind = KINDS.get(base)
    if kind is None or (name.endswith("-") and kind.number != ROWS):
        near = difflib.get_close_matches(base, KINDS, 1)
        hint = f"did you mean {near[0]}?" if near else f"give one of {', '.join(KINDS)}"
        raise UserError(f"eval_metric={name}: there is none of this name; {hint}")
    if not APPLIES[kind.to](objective):
        raise UserError(
            f"eval_metric={name} does not apply to {objective.name}: it does to {kind.to}"
        )
    if at and not kind.number:
        raise UserError(f"eval_metric={name}: {base} takes nothing behind @")
    if base == "tweedie-nloglik" and not at and isinstance(objective, Tweedie):
        return metric(objective.metric, objective)
    number = kind.default
    if at:
        number = float(text) if re.fullmatch(r"\d*\.?\d+|\d+\.", text, re.ASCII) else math.nan
    if kind.number and number != math.inf and not NUMBERS[kind.number](number):
        raise UserError(f"eval_metric={name}: {kind.number} must stand behind {base}@")
    return Metric(name, kind.maximize, objective, kind.make(objective, number, name.endswith("-")))


class Own:
    """A metric of the user: ``function(labels, predictions)``, less is better.

    Parameters
    ----------
    function : callable
        May take the weights as ``sample_weight`` by name.
    objective : Objective
    """

    maximize = False

    def __init__(self, function: Any, objective: Objective) -> None:
        self.function, self.objective = function, objective
        self.name = getattr(function, "__name__", "metric")
        names = inspect.signature(getattr(function, "py_func", function)).parameters
        self.weighs = "sample_weight" in names

    def __call__(
        self,
        margin: Floats,
        labels: NDArray[Any],
        weights: Weights = None,
        groups: Groups = None,
    ) -> float:
        """Value of the metric."""
        predicted = self.objective.transform(np.ascontiguousarray(margin.T))
        more = {"sample_weight": weights} if self.weighs and weights is not None else {}
        return float(self.function(labels, predicted, **more))
