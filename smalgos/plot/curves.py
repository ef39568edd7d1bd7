"""Metrics after each round of boosting, or each epoch, as lines."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from smalgos.errors import UserError
from smalgos.estimators.boosted_trees import BoostedTrees
from smalgos.estimators.factorization_machines import (
    FactorizationMachineRegressor,
    FactorizationMachines,
)
from smalgos.estimators.ip_insights import IPInsights
from smalgos.estimators.linear_learner import LinearLearner
from smalgos.estimators.text_classifier import TextClassifier
from smalgos.plot.figures import BLUE, GREEN, VERMILION, axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import FigureBase
    from matplotlib.lines import Line2D

# Rows that were learnt from and rows that were not look different in black and white, too.
STYLES = {"train": (VERMILION, "--"), "validation": (BLUE, "-")}
OTHERS = (GREEN, "-.")
STEPS = {"iteration": "round of boosting", "epoch": "epoch"}
Results = Mapping[str, Mapping[str, Sequence[float | None]]]  # {split: {metric: values}}


class LearningCurveDisplay:
    """A metric after each round of boosting, or each epoch; `from_estimator` makes it.

    Parameters
    ----------
    curves : mapping of str to sequence of float
        {split: values after each step}; None or NaN where there is none.
    metric : str
        What the values are.
    best_iteration : int, optional
        The round, counted from 0, behind which predictions end, if training was stopped early; the
        epoch that is kept.
    step : {"iteration", "epoch"}
        What values come after.

    Attributes
    ----------
    ax_, figure_
        Where it was drawn last.
    lines_ : dict
        {split: matplotlib Line2D}.
    best_ : matplotlib Line2D or None
        What marks the best round.
    """

    ax_: "Axes"
    figure_: "FigureBase"
    lines_: "dict[str, Line2D]"
    best_: "Line2D | None"

    def __init__(
        self,
        curves: Mapping[str, Sequence[float | None]],
        metric: str,
        best_iteration: int | None = None,
        step: str = "iteration",
    ) -> None:
        self.curves: dict[str, NDArray[np.float64]] = {
            split: np.asarray(values, np.float64) for split, values in curves.items()
        }
        self.metric, self.best_iteration, self.step = metric, best_iteration, step

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        *,
        metric: str | None = None,
        ax: "Axes | None" = None,
        **line_kw: Any,
    ) -> Self:
        """Draw how an estimator learnt.

        Parameters
        ----------
        estimator : estimator
            Fitted: of boosted trees, with ``X_val`` and ``y_val``; of factorization machines or
            of Linear Learner; IPInsights or TextClassifier.
        metric : str, optional
            Of boosted trees, one of `eval_metric`; default: the last one, which stops early. Of
            others "cross-entropy" or whatever their loss is, "ROC AUC" of IPInsights and
            "accuracy" of TextClassifier; default: what validation rows were judged by.
        ax : matplotlib Axes, optional
            Default: those of a new figure.
        **line_kw
            For matplotlib's ``plot``.

        Returns
        -------
        LearningCurveDisplay

        Raises
        ------
        UserError
            For another estimator or metric, or one of boosted trees that was fitted without
            validation rows; without matplotlib.
        """
        boosted = isinstance(estimator, BoostedTrees)
        result, watched, best = (_rounds if boosted else _epochs)(estimator)
        known = {name for values in result.values() for name in values}
        if not known:
            raise UserError("no metrics were taken while it was fitted: fit with X_val and y_val")
        metric = watched if metric is None else metric
        if metric not in known:
            raise UserError(f"metric {metric!r}: it was fitted with {', '.join(sorted(known))}")
        curves = {split: values[metric] for split, values in result.items() if metric in values}
        step = "iteration" if boosted else "epoch"
        return cls(curves, metric, best, step).plot(ax, **line_kw)

    def plot(self, ax: "Axes | None" = None, **line_kw: Any) -> Self:
        """Draw it; parameters as those of `from_estimator`.

        Raises
        ------
        UserError
            Without matplotlib.
        """
        ax = axes(ax)
        from matplotlib.ticker import MaxNLocator

        self.lines_ = {}
        for split, values in self.curves.items():
            colour, style = STYLES.get(split, OTHERS)
            options = {"color": colour, "linestyle": style, "label": split, **line_kw}
            # A single round is a point.
            options.setdefault("marker", "o" if np.isfinite(values).sum() == 1 else None)
            (self.lines_[split],) = ax.plot(range(len(values)), values, **options)
        self.best_ = self._mark(ax)
        ax.set_xlabel(STEPS.get(self.step, self.step))
        ax.set_ylabel(self.metric)
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        ax.spines[["top", "right"]].set_visible(False)
        ax.legend(edgecolor="none")
        self.ax_, self.figure_ = ax, ax.figure
        return self

    def _mark(self, ax: "Axes") -> "Line2D | None":
        """A point and a vertical line at the best step, named in the legend."""
        values = self.curves.get("validation", np.empty(0))
        best = self.best_iteration
        if best is None or not 0 <= best < len(values):
            return None
        ax.axvline(best, color="0.6", linewidth=0.8, linestyle=":", zorder=0)
        (point,) = ax.plot(
            best, values[best], "o", color=BLUE, markeredgecolor="black",
            label=f"best {self.step} {best}: {values[best]:.5g}",
        )  # fmt: skip
        return point


def _rounds(trees: BoostedTrees) -> tuple[Results, str, int | None]:
    """(metrics of boosting, the one that stops early, the best round)"""
    model, result = trees.model_of(), trees.evals_result_
    known = [name for values in result.values() for name in values]
    best = model.best_iteration if model.best_iteration >= 0 else None
    return result, _watched(model, known) if known else "", best


def _epochs(estimator: Any) -> tuple[Results, str, int | None]:
    """(metrics of epochs, the one that validation rows were judged by, the best epoch)"""
    values: Sequence[float | None]
    best: int | None
    if isinstance(estimator, FactorizationMachines | LinearLearner):
        estimator._check_fitted()
        seen = judged = _loss(estimator)
        values, best = estimator.validation_curve_, estimator.best_epoch_
        scaled = estimator.model_.notes.get("hyperparameters", {}).get("normalize_label")
        if scaled and isinstance(estimator, LinearLearner):  # whose validation rows are not
            seen = f"{seen} of scaled labels"
    elif isinstance(estimator, IPInsights):
        estimator._check_fitted()
        seen, judged = "cross-entropy", "ROC AUC"
        values, best = estimator.auc_curve_, None
    elif isinstance(estimator, TextClassifier):
        estimator._check_fitted()
        seen, judged = "cross-entropy", "accuracy"
        values, best = estimator.accuracy_curve_, None
        looks = np.array(values, np.float64)
        if len(looks) and np.isfinite(looks[-1]):  # the last one was kept, or went back to
            best = int(np.nanargmax(looks))
    else:
        raise UserError(
            f"{type(estimator).__name__} has no learning curve: it is none of smalgos' boosted "
            "trees, nor learns by epochs and tells of each"
        )
    if not estimator.loss_curve_:
        raise UserError("the model says nothing of its epochs: another library's file has none")
    result: dict[str, Mapping[str, Sequence[float | None]]]
    result = {"train": {seen: estimator.loss_curve_}}
    if not any(value is not None for value in values):
        return result, seen, None
    return result | {"validation": {judged: values}}, judged, best


def _loss(estimator: Any) -> str:
    """What a loss is called."""
    if isinstance(estimator, LinearLearner):
        name = estimator.model_.loss
        return {"logistic": "cross-entropy", "softmax_loss": "cross-entropy"}.get(
            name, name.replace("_", " ")
        )
    squared = isinstance(estimator, FactorizationMachineRegressor)
    return "squared error" if squared else "cross-entropy"


def _watched(model: Any, known: list[str]) -> str:
    """The metric that stops early."""
    asked = model.notes.get("hyperparameters", {}).get("eval_metric")
    last = asked[-1] if isinstance(asked, list | tuple) and asked else None
    return last if last in known else known[-1]


def plot_learning_curve(
    estimator: Any, metric: str | None = None, ax: "Axes | None" = None, **line_kw: Any
) -> "Axes":
    """Draw how it learnt; parameters as those of `LearningCurveDisplay.from_estimator`.

    Returns
    -------
    matplotlib Axes
    """
    return LearningCurveDisplay.from_estimator(estimator, metric=metric, ax=ax, **line_kw).ax_
