"""A series, how unusual each of its rows is, and which of them are taken for anomalies."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from smalgos.errors import UserError
from smalgos.plot.figures import BLUE, GREEN, VERMILION, axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import FigureBase
    from matplotlib.lines import Line2D

HEIGHT = 2.5  # inches of a panel


class AnomalyTimelineDisplay:
    """Scores over time, below the series itself; `from_estimator` makes it of a forest.

    Parameters
    ----------
    scores : array-like, shape (n,)
        What `anomaly_score` or `score_update` answered.
    series : array-like, shape (n,) or (n, d), optional
        The rows.
    threshold : float or array-like, shape (n,), optional
        Above which a score is that of an anomaly.
    anomalies : array-like, optional
        Truth values (n,), or numbers of rows. Default: those above the threshold.
    windows : sequence of (first, last), optional
        Stretches that are known to hold anomalies, in the units of `times`, both ends included.
    times : array-like, shape (n,), optional
        Numbers or datetime64, ascending. Default: 0, 1, 2, ...

    Attributes
    ----------
    ax_ : matplotlib Axes
        Where the scores were drawn last.
    series_ax_ : matplotlib Axes or None
        Where the series was.
    figure_
    line_, threshold_, anomalies_ : matplotlib Line2D or None
        The scores, the threshold, the anomalies among the scores.
    """

    ax_: "Axes"
    series_ax_: "Axes | None"
    figure_: "FigureBase"
    line_: "Line2D"
    threshold_: "Line2D | None"
    anomalies_: "Line2D | None"

    def __init__(
        self,
        scores: Any,
        *,
        series: Any = None,
        threshold: Any = None,
        anomalies: Any = None,
        windows: Sequence[tuple[Any, Any]] = (),
        times: Any = None,
    ) -> None:
        self.scores: NDArray[np.float64] = np.asarray(scores, np.float64)
        if self.scores.ndim != 1 or not len(self.scores):
            raise UserError(f"scores of shape {self.scores.shape}: give one for each row")
        n = len(self.scores)
        self.times = np.arange(n) if times is None else _of_rows("times", times, n)
        self.series = None if series is None else _of_rows("series", series, n)
        if self.series is not None:
            if self.series.ndim > 2:
                raise UserError(f"series has shape {self.series.shape}: give (n,) or (n, d)")
            self.series = self.series.reshape(n, -1).astype(np.float64)
        self.threshold: NDArray[np.float64] | None = None
        if threshold is not None:
            limit = np.asarray(threshold, np.float64)
            if limit.shape not in ((), (n,)):
                raise UserError(f"threshold has shape {limit.shape}: one, or one for each row")
            self.threshold = np.broadcast_to(limit, (n,))
        self.anomalies = self._marked(anomalies)
        self.windows = [_window(window) for window in windows]

    def _marked(self, given: Any) -> NDArray[np.intp]:
        """Numbers of the rows that are anomalies, ascending."""
        n = len(self.scores)
        if given is None:
            above = np.zeros(n, bool) if self.threshold is None else self.scores > self.threshold
            return np.flatnonzero(above)
        marks = np.asarray(given)
        if marks.dtype == bool and marks.shape == (n,):
            return np.flatnonzero(marks)
        whole = marks.ndim == 1 and (marks.dtype.kind in "iu" or not len(marks))
        if not whole or (len(marks) and not 0 <= marks.min() <= marks.max() < n):
            raise UserError(f"anomalies are neither {n} truth values nor numbers of the rows")
        return np.unique(marks.astype(np.intp))

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        *,
        windows: Sequence[tuple[Any, Any]] = (),
        times: Any = None,
        ax: Any = None,
        **line_kw: Any,
    ) -> Self:
        """Draw the scores of rows by a fitted forest as it stands.

        Parameters
        ----------
        estimator : RandomCutForest, StreamingRandomCutForest or another with `anomaly_score`
            Fitted.
        X : array-like, shape (n, n_features)
            In the order of time.
        windows, times
            See the class.
        ax : matplotlib Axes or two of them, optional
            For the scores, or for series and scores. Default: those of a new figure.
        **line_kw
            For matplotlib's ``plot`` of the scores.

        Returns
        -------
        AnomalyTimelineDisplay

        Raises
        ------
        UserError
            For another estimator; without matplotlib.
        """
        if not callable(getattr(estimator, "anomaly_score", None)):
            raise UserError(f"{type(estimator).__name__} has no anomaly_score to draw")
        scores = estimator.anomaly_score(X)
        series = X.toarray() if hasattr(X, "toarray") else np.asarray(X)
        limit = -float(estimator.offset_)
        shown = cls(scores, series=series, threshold=limit, windows=windows, times=times)
        return shown.plot(ax, **line_kw)

    def plot(self, ax: Any = None, **line_kw: Any) -> Self:
        """Draw it; parameters as those of `from_estimator`.

        Raises
        ------
        UserError
            Without matplotlib.
        """
        above, below = self._panels(ax)
        if above is not None and self.series is not None:
            few = self.series.shape[1] == 1
            options: dict[str, Any] = {"color": BLUE} if few else {}
            above.plot(self.times, self.series, linewidth=0.8, **options)
            if few:
                above.plot(
                    self.times[self.anomalies], self.series[self.anomalies, 0], "o", markersize=4,
                    color=VERMILION,
                )  # fmt: skip
            above.set_ylabel("value")
        (self.line_,) = below.plot(
            self.times, self.scores, **{"color": BLUE, "linewidth": 0.8, **line_kw}
        )
        self.threshold_ = self.anomalies_ = None
        if self.threshold is not None:
            (self.threshold_,) = below.plot(
                self.times, self.threshold, "--", color="black", linewidth=1, label="threshold"
            )
        if len(self.anomalies):
            (self.anomalies_,) = below.plot(
                self.times[self.anomalies], self.scores[self.anomalies], "o", markersize=4,
                color=VERMILION, label=f"anomalies: {len(self.anomalies)}",
            )  # fmt: skip
        panels = [panel for panel in (above, below) if panel is not None]
        for panel in panels:
            for i, (first, last) in enumerate(self.windows):
                label = "labelled" if i == 0 and panel is below else None
                panel.axvspan(first, last, color=GREEN, alpha=0.2, linewidth=0, label=label)
            panel.spines[["top", "right"]].set_visible(False)
        if below.get_legend_handles_labels()[0]:
            below.legend(edgecolor="none")
        below.set_xlabel("row" if self.times.dtype.kind != "M" else "time")
        below.set_ylabel("anomaly score")
        self.ax_, self.series_ax_, self.figure_ = below, above, below.figure
        return self

    def _panels(self, ax: Any) -> "tuple[Axes | None, Axes]":
        """Axes of the series, if it is drawn, and of the scores."""
        if isinstance(ax, list | tuple | np.ndarray):
            if len(ax) != 2:
                raise UserError(f"{len(ax)} axes: give one, for the scores, or two")
            return ax[0], ax[1]
        if ax is not None or self.series is None:
            return None, axes(ax, height=HEIGHT)
        above = axes(height=2 * HEIGHT)  # says what is missing where matplotlib is
        figure: Any = above.figure
        above.remove()
        pair = figure.subplots(2, 1, sharex=True)
        return pair[0], pair[1]


def _of_rows(name: str, given: Any, n: int) -> NDArray[Any]:
    rows = np.asarray(given)
    if rows.ndim == 0 or len(rows) != n:
        raise UserError(f"{name} has shape {rows.shape}, where there are {n} scores")
    return rows


def _window(given: Any) -> tuple[Any, Any]:
    first, last = given
    as_time = isinstance(first, str | np.datetime64)
    return (np.datetime64(first), np.datetime64(last)) if as_time else (first, last)


def plot_anomalies(estimator: Any, X: Any, ax: Any = None, **kw: Any) -> "Axes":
    """Draw a timeline; parameters as those of `AnomalyTimelineDisplay.from_estimator`.

    Returns
    -------
    matplotlib Axes
        Of the scores.
    """
    return AnomalyTimelineDisplay.from_estimator(estimator, X, ax=ax, **kw).ax_
