"""Metrics after each round of boosting, as lines."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

from smalgos.errors import UserError
from smalgos.plot.figures import BLUE, GREEN, VERMILION, axes, boosted_trees

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import FigureBase
    from matplotlib.lines import Line2D

# Rows that were learnt from and rows that were not look different in black and white, too.
STYLES = {"train": (VERMILION, "--"), "validation": (BLUE, "-")}
OTHERS = (GREEN, "-.")


class LearningCurveDisplay:
    """A metric after each round of boosting; `from_estimator` makes it.

    Parameters
    ----------
    curves : mapping of str to sequence of float
        {split: values after each round}.
    metric : str
        What the values are.
    best_iteration : int, optional
        The round, counted from 0, behind which predictions end, if training was stopped early.

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
        curves: Mapping[str, Sequence[float]],
        metric: str,
        best_iteration: int | None = None,
    ) -> None:
        self.curves, self.metric, self.best_iteration = dict(curves), metric, best_iteration

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        *,
        metric: str | None = None,
        ax: "Axes | None" = None,
        **line_kw: Any,
    ) -> Self:
        """Draw ``evals_result_`` of an estimator.

        Parameters
        ----------
        estimator : BoostedTreesClassifier, BoostedTreesRegressor or BoostedTreesRanker
            Fitted with ``X_val`` and ``y_val``.
        metric : str, optional
            One of its `eval_metric`. Default: the last one, which stops early.
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
            For another estimator or metric, or one that was fitted without validation rows;
            without matplotlib.
        """
        trees = boosted_trees(estimator)
        model, result = trees.model_of(), trees.evals_result_
        known = [name for values in result.values() for name in values]
        if not known:
            raise UserError("no metrics were taken while it was fitted: fit with X_val and y_val")
        metric = _watched(model, known) if metric is None else metric
        if metric not in known:
            raise UserError(f"metric {metric!r}: it was fitted with {', '.join(sorted({*known}))}")
        curves = {split: values[metric] for split, values in result.items() if metric in values}
        best = model.best_iteration if model.best_iteration >= 0 else None
        return cls(curves, metric, best).plot(ax, **line_kw)

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
            options.setdefault("marker", "o" if len(values) == 1 else None)
            (self.lines_[split],) = ax.plot(range(len(values)), values, **options)
        self.best_ = self._mark(ax)
        ax.set_xlabel("round of boosting")
        ax.set_ylabel(self.metric)
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        ax.spines[["top", "right"]].set_visible(False)
        ax.legend(edgecolor="none")
        self.ax_, self.figure_ = ax, ax.figure
        return self

    def _mark(self, ax: "Axes") -> "Line2D | None":
        """A point and a vertical line at the best round, named in the legend."""
        values = self.curves.get("validation", [])
        best = self.best_iteration
        if best is None or not 0 <= best < len(values):
            return None
        ax.axvline(best, color="0.6", linewidth=0.8, linestyle=":", zorder=0)
        (point,) = ax.plot(
            best, values[best], "o", color=BLUE, markeredgecolor="black",
            label=f"best iteration {best}: {values[best]:.5g}",
        )  # fmt: skip
        return point


def _watched(model: Any, known: list[str]) -> str:
    """The metric that stops early."""
    asked = model.notes.get("hyperparameters", {}).get("eval_metric")
    last = asked[-1] if isinstance(asked, list | tuple) and asked else None
    return last if last in known else known[-1]


def plot_learning_curve(
    estimator: Any, metric: str | None = None, ax: "Axes | None" = None, **line_kw: Any
) -> "Axes":
    """Draw a metric; parameters as those of `LearningCurveDisplay.from_estimator`.

    Returns
    -------
    matplotlib Axes
    """
    return LearningCurveDisplay.from_estimator(estimator, metric=metric, ax=ax, **line_kw).ax_
