"""How many clusters there are, and how the loss fell on the way."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from smalgos.errors import UserError
from smalgos.estimators.kmeans import KMeans
from smalgos.plot.figures import BLUE, VERMILION, axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import FigureBase
    from matplotlib.lines import Line2D


def kmeans(estimator: Any) -> KMeans:
    """The estimator, if it is one of K-Means."""
    if not isinstance(estimator, KMeans):
        raise UserError(f"{type(estimator).__name__} is not smalgos' KMeans")
    return estimator


class ElbowDisplay:
    """The loss for each number of clusters; `from_estimator` makes it.

    Parameters
    ----------
    k : sequence of int
        Numbers of clusters, ascending.
    msd : sequence of float
        Mean squared distance to the nearest centre, of each.

    Attributes
    ----------
    elbow : int or None
        The number of clusters that is furthest below the straight line between the ends of the
        curve, both axes scaled to 1 (Satopaa et al., "Finding a 'kneedle' in a haystack", 2011);
        None of fewer than three.
    ax_, figure_
        Where it was drawn last.
    line_ : matplotlib Line2D
    elbow_ : matplotlib Line2D or None
        What marks the elbow.
    """

    ax_: "Axes"
    figure_: "FigureBase"
    line_: "Line2D"
    elbow_: "Line2D | None"

    def __init__(self, k: Sequence[int], msd: Sequence[float]) -> None:
        if len(k) != len(msd) or not len(k) or list(k) != sorted(set(k)):
            raise UserError(f"{len(msd)} values for k={list(k)}, which must ascend")
        self.k, self.msd = np.asarray(k), np.asarray(msd, np.float64)

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any = None,
        *,
        k: Iterable[int] | None = None,
        ax: "Axes | None" = None,
        **line_kw: Any,
    ) -> Self:
        """Draw the loss over the numbers of clusters.

        Parameters
        ----------
        estimator : KMeans
            Without X, fitted here by ``solver="webscale"`` (or loaded with its state): its
            centres of the stream tell the loss for any k, without another look at rows.
        X : array-like or sparse matrix, optional
            Rows that a clone of the estimator is fitted to for each k.
        k : iterable of int, optional
            Default: 1 to twice that of the estimator.
        ax : matplotlib Axes, optional
            Default: those of a new figure.
        **line_kw
            For matplotlib's ``plot``.

        Returns
        -------
        ElbowDisplay

        Raises
        ------
        UserError
            For another estimator, or one without its state; without matplotlib.
        """
        fitted = kmeans(estimator)
        asked = sorted(set(range(1, 2 * fitted.k + 1) if k is None else k))
        if X is not None:
            given = fitted.get_params()
            models = [type(fitted)(**given | {"k": n}).fit(X) for n in asked]
            msd = [model.inertia_ / model.model_.mass.sum() for model in models]
        else:
            fitted.with_k(1)  # says what is missing
            state: Any = fitted.state_
            asked = [n for n in asked if n <= len(state.centres)] if k is None else asked
            # What the centres of the stream leave out: the spread of rows about them.
            within = state.loss[0] / state.loss[1]
            msd = [fitted.with_k(n).model_.msd for n in asked]
            msd = [value + within for value in msd]
        return cls(asked, msd).plot(ax, **line_kw)

    @property
    def elbow(self) -> int | None:
        """Where the curve bends most."""
        if len(self.k) < 3 or self.msd[0] <= self.msd[-1]:
            return None
        across = (self.k - self.k[0]) / (self.k[-1] - self.k[0])
        down = (self.msd - self.msd[-1]) / (self.msd[0] - self.msd[-1])
        return int(self.k[int(np.argmax(1 - across - down))])

    def plot(self, ax: "Axes | None" = None, **line_kw: Any) -> Self:
        """Draw it; parameters as those of `from_estimator`.

        Raises
        ------
        UserError
            Without matplotlib.
        """
        ax = axes(ax)
        from matplotlib.ticker import MaxNLocator

        options = {"color": BLUE, "marker": "o", "markersize": 4, **line_kw}
        (self.line_,) = ax.plot(self.k, self.msd, **options)
        self.elbow_ = None
        if (elbow := self.elbow) is not None:
            at = int(np.searchsorted(self.k, elbow))
            (self.elbow_,) = ax.plot(
                elbow, self.msd[at], "o", color=VERMILION, markeredgecolor="black",
                label=f"k = {elbow}: {self.msd[at]:.5g}",
            )  # fmt: skip
            ax.legend(edgecolor="none")
        _finish(ax, "number of clusters")
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        self.ax_, self.figure_ = ax, ax.figure
        return self


class InertiaCurveDisplay:
    """The mean squared distance on the way; `from_estimator` makes it.

    Parameters
    ----------
    curve : array-like, shape (points, 2)
        [steps so far, mean squared distance].
    step : str
        What a step is.

    Attributes
    ----------
    ax_, figure_
        Where it was drawn last.
    line_ : matplotlib Line2D
    """

    ax_: "Axes"
    figure_: "FigureBase"
    line_: "Line2D"

    def __init__(self, curve: Any, step: str = "iteration") -> None:
        self.curve: NDArray[np.float64] = np.asarray(curve, np.float64)
        if self.curve.ndim != 2 or self.curve.shape[1] != 2 or not len(self.curve):
            raise UserError(f"a curve of shape {self.curve.shape}, not (points, 2)")
        self.step = step

    @classmethod
    def from_estimator(cls, estimator: Any, *, ax: "Axes | None" = None, **line_kw: Any) -> Self:
        """Draw how the loss of an estimator fell.

        Of ``solver="webscale"`` it is the loss of the rows as they came, over the centres of the
        stream; of ``"lloyd"`` that of all rows after each iteration of the best start.

        Parameters
        ----------
        estimator : KMeans
            Fitted.
        ax : matplotlib Axes, optional
            Default: those of a new figure.
        **line_kw
            For matplotlib's ``plot``.

        Returns
        -------
        InertiaCurveDisplay

        Raises
        ------
        UserError
            For another estimator; without matplotlib.
        """
        fitted = kmeans(estimator)
        fitted._check_fitted()
        step = "mini-batch" if fitted.solver == "webscale" else "iteration"
        return cls(fitted.model_.notes.get("curve", ()), step).plot(ax, **line_kw)

    def plot(self, ax: "Axes | None" = None, **line_kw: Any) -> Self:
        """Draw it; parameters as those of `from_estimator`.

        Raises
        ------
        UserError
            Without matplotlib.
        """
        ax = axes(ax)
        from matplotlib.ticker import MaxNLocator

        options = {"color": BLUE, **line_kw}
        # A single step is a point.
        options.setdefault("marker", "o" if len(self.curve) == 1 else None)
        (self.line_,) = ax.plot(*self.curve.T, **options)
        _finish(ax, self.step)
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        self.ax_, self.figure_ = ax, ax.figure
        return self


def _finish(ax: "Axes", below: str) -> None:
    ax.set_xlabel(below)
    ax.set_ylabel("mean squared distance")
    ax.spines[["top", "right"]].set_visible(False)


def plot_elbow(estimator: Any, X: Any = None, ax: "Axes | None" = None, **kw: Any) -> "Axes":
    """Draw an elbow curve; parameters as those of `ElbowDisplay.from_estimator`.

    Returns
    -------
    matplotlib Axes
    """
    return ElbowDisplay.from_estimator(estimator, X, ax=ax, **kw).ax_


def plot_inertia_curve(estimator: Any, ax: "Axes | None" = None, **line_kw: Any) -> "Axes":
    """Draw how the loss fell; parameters as those of `InertiaCurveDisplay.from_estimator`.

    Returns
    -------
    matplotlib Axes
    """
    return InertiaCurveDisplay.from_estimator(estimator, ax=ax, **line_kw).ax_
