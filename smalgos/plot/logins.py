"""Scores of usual and unusual log-ins, and what an offset between them finds."""

from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from smalgos.errors import UserError
from smalgos.estimators.ip_insights import IPInsights, columns
from smalgos.plot.figures import BLUE, VERMILION, panels

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BINS = 40


class OffsetDisplay:
    """Scores of usual and unusual pairs, and the ROC curve; `from_estimator` makes it.

    Parameters
    ----------
    usual, unusual : array-like of float
        Scores.
    offset : float
        Below which pairs are called unusual.
    unusual_name : str
        What the unusual ones are.

    Attributes
    ----------
    found, false_alarms : float
        Shares of the unusual and of the usual pairs that are called unusual.
    auc : float
        Area under the ROC curve.
    axes_ : ndarray of matplotlib Axes, shape (2,)
    figure_ : matplotlib Figure

    Raises
    ------
    UserError
        Without scores of either kind.
    """

    axes_: NDArray[Any]
    figure_: "Figure"

    def __init__(
        self, usual: ArrayLike, unusual: ArrayLike, offset: float, unusual_name: str = "unusual"
    ) -> None:
        self.usual: NDArray[np.float64] = np.asarray(usual, np.float64)
        self.unusual: NDArray[np.float64] = np.asarray(unusual, np.float64)
        if not len(self.usual) or not len(self.unusual):
            raise UserError("give scores of usual and of unusual pairs: one of both has none")
        self.offset, self.unusual_name = float(offset), unusual_name
        self.found = float(np.mean(self.unusual < self.offset))
        self.false_alarms = float(np.mean(self.usual < self.offset))
        # Both shares for an offset above each of the scores that differ, and for one below all.
        offsets = np.append(-np.inf, np.unique(np.append(self.usual, self.unusual)))
        self._alarms, self._hits = (
            np.searchsorted(np.sort(scores), offsets, side="right") / len(scores)
            for scores in (self.usual, self.unusual)
        )
        self.auc = float((np.diff(self._alarms) * (self._hits[1:] + self._hits[:-1]) / 2).sum())

    @classmethod
    def from_estimator(
        cls, estimator: Any, X: Any, y: Any = None, *, random_state: int = 0, **hist_kw: Any
    ) -> Self:
        """Draw how an estimator scores log-ins that it has not seen.

        Parameters
        ----------
        estimator : IPInsights
            Fitted.
        X : pairs, (n_samples, 2)
            Of entities that were seen in training.
        y : array-like, shape (n_samples,), optional
            1 for usual pairs, -1 for unusual ones. Default: all are usual, and each entity is
            paired with a random IPv4 address, too, as `auc_curve_` has it.
        random_state : int
            Seed of those.
        **hist_kw
            For matplotlib's ``hist``.

        Returns
        -------
        OffsetDisplay

        Raises
        ------
        UserError
            For another estimator, and unless y holds 1 and -1, both; without matplotlib.
        """
        if not isinstance(estimator, IPInsights):
            raise UserError(f"{type(estimator).__name__} is not smalgos' IPInsights")
        estimator._check_fitted()
        entities, addresses = columns(X)
        pairs = list(zip(entities, addresses, strict=True))
        scores = estimator.score_samples(pairs)
        if y is None:
            usual, name = scores, "random addresses"
            numbers = np.random.default_rng(random_state).integers(256, size=(len(pairs), 4))
            made = [".".join(map(str, row)) for row in numbers.tolist()]
            unusual = estimator.score_samples(list(zip(entities, made, strict=True)))
        else:
            labels, name = np.asarray(y), "unusual"
            if labels.shape != scores.shape or set(np.unique(labels).tolist()) != {-1, 1}:
                raise UserError(
                    "y must hold 1 for usual and -1 for unusual pairs, one for each of X"
                )
            usual, unusual = scores[labels > 0], scores[labels < 0]
        return cls(usual, unusual, estimator.offset_, name).plot(**hist_kw)

    def plot(self, **hist_kw: Any) -> Self:
        """Draw it in a new figure; parameters as those of `from_estimator`.

        Raises
        ------
        UserError
            Without matplotlib.
        """
        self.figure_, grid = panels(1, 2, width=4.8, height=4.2)
        self.axes_ = grid[0]
        from matplotlib.ticker import MaxNLocator, PercentFormatter

        left, right = self.axes_
        both = np.append(self.usual, self.unusual)
        edges = np.linspace(both.min(), both.max() + 1e-9, BINS + 1)
        for name, scores, colour in (
            ("usual", self.usual, BLUE), (self.unusual_name, self.unusual, VERMILION),
        ):  # fmt: skip
            options = {
                "color": colour, "alpha": 0.6, "label": f"{name} ({len(scores)})",
                "weights": np.full(len(scores), 1 / len(scores)), **hist_kw,
            }  # fmt: skip
            left.hist(scores, edges, **options)
        left.axvline(self.offset, color="black", linestyle="--", label=f"offset {self.offset:.3g}")
        left.set_xlabel("score (log-odds)")
        left.xaxis.set_major_locator(MaxNLocator(7))
        left.set_ylabel("share of the pairs")
        left.yaxis.set_major_formatter(PercentFormatter(1.0))

        right.plot(
            self._alarms, self._hits, color=BLUE, label=f"area under the curve {self.auc:.4f}"
        )
        right.plot([0, 1], [0, 1], color="0.6", linewidth=0.8, linestyle=":", label="by chance")
        right.plot(
            self.false_alarms, self.found, "o", color="black",
            label=f"offset {self.offset:.3g}: {self.found:.1%} found,\n"
            f"{self.false_alarms:.2%} false alarms",
        )  # fmt: skip
        right.set_xlabel("usual pairs called unusual")
        right.set_ylabel("unusual pairs found")
        right.set_xlim(-0.02, 1.02)
        right.set_ylim(-0.02, 1.02)
        for axis in (right.xaxis, right.yaxis):
            axis.set_major_formatter(PercentFormatter(1.0))
        for ax in self.axes_:
            ax.spines[["top", "right"]].set_visible(False)
        right.legend(edgecolor="none", loc="lower right")
        # Above the bars, which may be anywhere.
        left.legend(edgecolor="none", loc="lower center", bbox_to_anchor=(0.5, 1), ncols=3,
                    fontsize="small", columnspacing=1)  # fmt: skip
        return self


def plot_offset(
    estimator: Any, X: Any, y: Any = None, random_state: int = 0, **hist_kw: Any
) -> NDArray[Any]:
    """Draw scores and their ROC curve; parameters as those of `OffsetDisplay.from_estimator`.

    Returns
    -------
    ndarray of matplotlib Axes, shape (2,)
    """
    made = OffsetDisplay.from_estimator(estimator, X, y, random_state=random_state, **hist_kw)
    return made.axes_
