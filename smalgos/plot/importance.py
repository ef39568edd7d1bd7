"""Importance of features, as bars."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from smalgos.errors import UserError
from smalgos.plot.figures import BLUE, axes, boosted_trees, feature_names

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.container import BarContainer
    from matplotlib.figure import FigureBase

UNITS = {
    "weight": "number of splits",
    "gain": "mean gain of a split (loss)",
    "cover": "mean cover of a split (sum of hessians)",
    "total_gain": "total gain of all splits (loss)",
    "total_cover": "total cover of all splits (sum of hessians)",
}


class ImportanceDisplay:
    """Importance of features, the greatest on top; `from_estimator` makes it.

    Parameters
    ----------
    importances : array-like of float, shape (n_features,)
    feature_names : sequence of str
    kind : str
        What is shown; see `BoostedTrees.importance`.
    max_features : int, optional
        Show no more than so many; None: all that are used.

    Attributes
    ----------
    ax_, figure_
        Where it was drawn last.
    bars_ : matplotlib BarContainer

    Raises
    ------
    UserError
        When `max_features` is no whole number from 1 on, or names are missing.
    """

    ax_: "Axes"
    figure_: "FigureBase"
    bars_: "BarContainer"

    def __init__(
        self,
        importances: ArrayLike,
        feature_names: Sequence[str],
        kind: str = "gain",
        max_features: int | None = 20,
    ) -> None:
        self.importances: NDArray[np.float64] = np.asarray(importances, np.float64)
        self.feature_names, self.kind, self.max_features = list(feature_names), kind, max_features
        if self.importances.shape != (len(self.feature_names),):
            raise UserError(
                f"importances of shape {self.importances.shape} for {len(self.feature_names)} names"
            )
        if max_features is not None and (not isinstance(max_features, int) or max_features < 1):
            raise UserError(f"max_features={max_features!r}: give a number from 1 on, or None")

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        *,
        kind: str = "gain",
        max_features: int | None = 20,
        ax: "Axes | None" = None,
        **bar_kw: Any,
    ) -> Self:
        """Draw what an estimator makes of its features.

        Parameters
        ----------
        estimator : BoostedTreesClassifier, BoostedTreesRegressor or BoostedTreesRanker
            Fitted.
        kind : {"gain", "weight", "cover", "total_gain", "total_cover"}
            See `BoostedTrees.importance`.
        max_features : int, optional
            Show no more than so many; None: all that are used.
        ax : matplotlib Axes, optional
            Default: those of a new figure.
        **bar_kw
            For matplotlib's ``barh``.

        Returns
        -------
        ImportanceDisplay

        Raises
        ------
        UserError
            For another kind or estimator; without matplotlib.
        """
        trees = boosted_trees(estimator)
        made = cls(trees.importance(kind), feature_names(trees), kind, max_features)
        return made.plot(ax, **bar_kw)

    def plot(self, ax: "Axes | None" = None, **bar_kw: Any) -> Self:
        """Draw it; parameters as those of `from_estimator`.

        Raises
        ------
        UserError
            Without matplotlib.
        """
        used = int(np.count_nonzero(self.importances))
        n = min(used, self.max_features or used)
        shown = np.argsort(-self.importances, kind="stable")[:n]
        ax = axes(ax, height=1.0 + 0.25 * max(n, 4))
        options = {"color": BLUE, "height": 0.7, **bar_kw}
        self.bars_ = ax.barh(np.arange(n), self.importances[shown], **options)
        ax.bar_label(self.bars_, fmt=_shown, padding=3, fontsize="small")
        ax.set_yticks(np.arange(n), [self.feature_names[i] for i in shown])
        ax.set_ylim(max(n, 1) - 0.4, -0.6)
        ax.margins(x=0.12)  # for the number of the longest bar
        ax.set_xlim(left=0)
        ax.set_xlabel(UNITS.get(self.kind, self.kind))
        ax.set_title(f"{n} of {len(self.importances)} features", fontsize="medium")
        ax.spines[["top", "right"]].set_visible(False)
        self.ax_, self.figure_ = ax, ax.figure
        return self


def _shown(value: float) -> str:
    return f"{value:.0f}" if 1000 <= value < 1e7 else f"{value:.3g}"


def plot_importance(
    estimator: Any,
    kind: str = "gain",
    max_features: int | None = 20,
    ax: "Axes | None" = None,
    **bar_kw: Any,
) -> "Axes":
    """Draw importance of features; parameters as those of `ImportanceDisplay.from_estimator`.

    Returns
    -------
    matplotlib Axes
        As XGBoost's function of that name.
    """
    made = ImportanceDisplay.from_estimator(
        estimator, kind=kind, max_features=max_features, ax=ax, **bar_kw
    )
    return made.ax_
