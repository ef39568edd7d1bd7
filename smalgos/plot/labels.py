"""How well each label is told, as bars of precision and recall."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from smalgos.errors import UserError
from smalgos.plot.figures import BLUE, VERMILION, axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.container import BarContainer
    from matplotlib.figure import FigureBase


class LabelScoresDisplay:
    """Precision and recall of each label, the worst told on top; `from_estimator` makes it.

    Parameters
    ----------
    names : sequence of str
        Labels.
    right, told, given : array-like of int, shape (n_labels,)
        Rows that are told rightly to be of a label, all that are told to be, all that are.
    max_labels : int, optional
        Show no more than so many, those of the least F1 score; None: all.

    Attributes
    ----------
    ax_, figure_
        Where it was drawn last.
    bars_ : dict
        {"precision", "recall": matplotlib BarContainer}.

    Raises
    ------
    UserError
        When counts are not one for each label.
    """

    ax_: "Axes"
    figure_: "FigureBase"
    bars_: "dict[str, BarContainer]"

    def __init__(
        self,
        names: Sequence[str],
        right: ArrayLike,
        told: ArrayLike,
        given: ArrayLike,
        max_labels: int | None = 25,
    ) -> None:
        self.names = [str(name) for name in names]
        self.right, self.told, self.given = (np.asarray(a, np.int64) for a in (right, told, given))
        if any(a.shape != (len(self.names),) for a in (self.right, self.told, self.given)):
            raise UserError(f"give counts for each of {len(self.names)} labels")
        if max_labels is not None and (not isinstance(max_labels, int) or max_labels < 1):
            raise UserError(f"max_labels={max_labels!r}: give a number from 1 on, or None")
        self.max_labels = max_labels

    @property
    def precision(self) -> NDArray[np.float64]:
        """Share of the rows that are told to be of a label which are; 0 where none are told."""
        return self.right / np.maximum(self.told, 1)

    @property
    def recall(self) -> NDArray[np.float64]:
        """Share of the rows of a label that are told to be; 0 where there are none."""
        return self.right / np.maximum(self.given, 1)

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        y: Any,
        *,
        max_labels: int | None = 25,
        ax: "Axes | None" = None,
        **bar_kw: Any,
    ) -> Self:
        """Draw how well an estimator tells the labels of rows that it has not seen.

        Parameters
        ----------
        estimator : TextClassifier, or any classifier
            Fitted.
        X, y
            Rows with their labels; of TextClassifier, a row may have several, of which the
            likeliest one is to be told.
        max_labels : int, optional
            Show no more than so many, those of the least F1 score; None: all.
        ax : matplotlib Axes, optional
            Default: those of a new figure.
        **bar_kw
            For matplotlib's ``barh``.

        Returns
        -------
        LabelScoresDisplay

        Raises
        ------
        UserError
            For what is no classifier, and for labels that are not as many as rows; without
            matplotlib.
        """
        if not hasattr(estimator, "predict") or not hasattr(estimator, "classes_"):
            raise UserError(f"{type(estimator).__name__} is no fitted classifier")
        rows = [set(row) if isinstance(row, list | tuple | set) else {row} for row in _plain(y)]
        told = _plain(estimator.predict(X))
        if len(rows) != len(told):
            raise UserError(f"{len(told)} rows, but {len(rows)} labels")
        names = sorted({*_plain(estimator.classes_), *(label for row in rows for label in row)})
        number = {name: i for i, name in enumerate(names)}
        right, said, given = np.zeros((3, len(names)), np.int64)
        for label, row in zip(told, rows, strict=True):
            right[number[label]] += label in row
            said[number[label]] += 1
            for other in row:
                given[number[other]] += 1
        return cls(names, right, said, given, max_labels).plot(ax, **bar_kw)

    def plot(self, ax: "Axes | None" = None, **bar_kw: Any) -> Self:
        """Draw it; parameters as those of `from_estimator`.

        Raises
        ------
        UserError
            Without matplotlib.
        """
        f1 = 2 * self.right / np.maximum(self.told + self.given, 1)
        shown = np.argsort(f1, kind="stable")[: self.max_labels]
        n = len(shown)
        ax = axes(ax, height=1.4 + 0.36 * max(n, 3))
        from matplotlib.ticker import PercentFormatter

        at, self.bars_ = np.arange(n), {}
        looks = (("precision", self.precision, BLUE, -0.2), ("recall", self.recall, VERMILION, 0.2))
        for name, values, colour, shift in looks:
            options = {"color": colour, "height": 0.38, "label": name, **bar_kw}
            bars = self.bars_[name] = ax.barh(at + shift, values[shown], **options)
            ax.bar_label(bars, [f"{v:.0%}" for v in values[shown]], padding=2, fontsize="x-small")
        ax.set_yticks(at, [f"{self.names[i]} ({self.given[i]})" for i in shown])
        ax.set_ylim(max(n, 1) - 0.4, -0.6)
        ax.set_xlim(0, 1.08)
        ax.set_xticks(np.linspace(0, 1, 6))
        ax.xaxis.set_major_formatter(PercentFormatter(1.0))
        ax.set_xlabel("share of rows")
        # The worst are on top.
        ax.set_ylabel(
            "label (rows)" if n == len(f1) else f"the {n} worst of {len(f1)} labels (rows)"
        )
        ax.spines[["top", "right"]].set_visible(False)
        ax.legend(
            edgecolor="none", loc="lower right", bbox_to_anchor=(1, 1), ncols=2, fontsize="small",
            borderaxespad=0.2,
        )  # fmt: skip
        self.ax_, self.figure_ = ax, ax.figure
        return self


def _plain(values: Any) -> list[Any]:
    """Python's own values, which compare and hash as one expects."""
    return [v.item() if hasattr(v, "item") else v for v in values]


def plot_label_scores(
    estimator: Any,
    X: Any,
    y: Any,
    max_labels: int | None = 25,
    ax: "Axes | None" = None,
    **bar_kw: Any,
) -> "Axes":
    """Draw labels' scores; parameters as those of `LabelScoresDisplay.from_estimator`.

    Returns
    -------
    matplotlib Axes
    """
    made = LabelScoresDisplay.from_estimator(
        estimator, X, y, max_labels=max_labels, ax=ax, **bar_kw
    )
    return made.ax_
