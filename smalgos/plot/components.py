"""What principal components explain, as a scree plot, and what they look like, as images."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from smalgos.errors import UserError
from smalgos.estimators.pca import PCA
from smalgos.plot.figures import BLUE, VERMILION, axes, panels

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.container import BarContainer
    from matplotlib.figure import Figure, FigureBase
    from matplotlib.image import AxesImage
    from matplotlib.lines import Line2D


class ExplainedVarianceDisplay:
    """Shares of the variance, component by component and in all; `from_estimator` makes it.

    Parameters
    ----------
    ratio : array-like of float, shape (n_components,)
        Share of the variance of each component, the most important one first.

    Attributes
    ----------
    ax_, figure_
        Where it was drawn last.
    bars_ : matplotlib BarContainer
        Shares of each.
    line_ : matplotlib Line2D
        Shares of all up to each.

    Raises
    ------
    UserError
        When `ratio` is not a row of numbers.
    """

    ax_: "Axes"
    figure_: "FigureBase"
    bars_: "BarContainer"
    line_: "Line2D"

    def __init__(self, ratio: ArrayLike) -> None:
        self.ratio: NDArray[np.float64] = np.asarray(ratio, np.float64)
        if self.ratio.ndim != 1 or not len(self.ratio):
            raise UserError(f"ratio of shape {self.ratio.shape}: give a share for each component")

    @classmethod
    def from_estimator(cls, estimator: Any, *, ax: "Axes | None" = None, **bar_kw: Any) -> Self:
        """Draw ``explained_variance_ratio_`` of an estimator.

        Parameters
        ----------
        estimator : PCA
            Fitted.
        ax : matplotlib Axes, optional
            Default: those of a new figure.
        **bar_kw
            For matplotlib's ``bar``.

        Returns
        -------
        ExplainedVarianceDisplay

        Raises
        ------
        UserError
            For another estimator; without matplotlib.
        """
        return cls(_fitted(estimator).explained_variance_ratio_).plot(ax, **bar_kw)

    def plot(self, ax: "Axes | None" = None, **bar_kw: Any) -> Self:
        """Draw it; parameters as those of `from_estimator`.

        Raises
        ------
        UserError
            Without matplotlib.
        """
        ax = axes(ax)
        from matplotlib.ticker import MaxNLocator, PercentFormatter

        at, total = np.arange(1, len(self.ratio) + 1), np.cumsum(self.ratio)
        options = {"color": BLUE, "label": "each component", **bar_kw}
        self.bars_ = ax.bar(at, self.ratio, **options)
        (self.line_,) = ax.plot(
            at, total, color=VERMILION, marker="o", markersize=3,
            label=f"all up to it: {total[-1]:.1%} in the end",
        )  # fmt: skip
        ax.set_xlabel("component")
        ax.set_ylabel("share of the variance")
        ax.set_ylim(0, max(1.0, float(total[-1])) * 1.02)
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        ax.yaxis.set_major_formatter(PercentFormatter(1.0))
        ax.spines[["top", "right"]].set_visible(False)
        ax.legend(edgecolor="none")
        self.ax_, self.figure_ = ax, ax.figure
        return self


class ComponentsDisplay:
    """Components of images, as images; `from_estimator` makes it.

    Loadings that are positive are red, negative ones blue, both as strong as the strongest of the
    component.

    Parameters
    ----------
    components : array-like of float, shape (n_components, n_features)
        The most important one first.
    shape : tuple of int
        Height and width of an image, or height, width and channels, whose loadings are summed.
    ratio : array-like of float, shape (n_components,), optional
        Share of the variance of each component, for the titles.

    Attributes
    ----------
    axes_ : ndarray of matplotlib Axes, shape (n_components,)
    figure_ : matplotlib Figure
    images_ : list of matplotlib AxesImage

    Raises
    ------
    UserError
        When images of that shape have another number of features.
    """

    axes_: "NDArray[Any]"
    figure_: "Figure"
    images_: "list[AxesImage]"

    def __init__(
        self, components: ArrayLike, shape: Sequence[int], ratio: ArrayLike | None = None
    ) -> None:
        given: NDArray[np.float64] = np.atleast_2d(np.asarray(components, np.float64))
        self.shape = tuple(shape)
        if len(self.shape) not in (2, 3) or np.prod(self.shape) != given.shape[1]:
            raise UserError(
                f"shape={self.shape}: give height and width (and channels) of images of "
                f"{given.shape[1]} features"
            )
        images = given.reshape(len(given), *self.shape)
        self.images = images.sum(axis=3) if images.ndim == 4 else images
        self.ratio = None if ratio is None else np.asarray(ratio, np.float64)

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        *,
        shape: Sequence[int] | None = None,
        max_components: int = 16,
        **image_kw: Any,
    ) -> Self:
        """Draw ``components_`` of an estimator.

        Parameters
        ----------
        estimator : PCA
            Fitted.
        shape : tuple of int, optional
            Height and width of an image, or height, width and channels. Default: a square.
        max_components : int
            Show no more than so many.
        **image_kw
            For matplotlib's ``imshow``.

        Returns
        -------
        ComponentsDisplay

        Raises
        ------
        UserError
            For another estimator; when images of that shape have another number of features;
            without matplotlib.
        """
        pca = _fitted(estimator)
        if not isinstance(max_components, int) or max_components < 1:
            raise UserError(f"max_components={max_components!r}: give a number from 1 on")
        shown = slice(0, max_components)
        side = round(pca.components_.shape[1] ** 0.5)
        made = cls(
            pca.components_[shown],
            (side, side) if shape is None else shape,
            pca.explained_variance_ratio_[shown],
        )
        return made.plot(**image_kw)

    def plot(self, **image_kw: Any) -> Self:
        """Draw it in a new figure; parameters as those of `from_estimator`.

        Raises
        ------
        UserError
            Without matplotlib.
        """
        n = len(self.images)
        columns = int(np.ceil(n**0.5))
        rows = -(-n // columns)
        self.figure_, grid = panels(rows, columns, width=1.4, height=1.5)
        self.axes_, self.images_ = grid.reshape(-1)[:n], []
        for ax in grid.reshape(-1):
            ax.set_axis_off()
        for i, (ax, image) in enumerate(zip(self.axes_, self.images, strict=True)):
            most = float(np.abs(image).max()) or 1.0
            options = {"cmap": "RdBu_r", "vmin": -most, "vmax": most, **image_kw}
            self.images_.append(ax.imshow(image, **options))
            share = "" if self.ratio is None else f": {self.ratio[i]:.1%}"
            ax.set_title(f"{i + 1}{share}", fontsize="small")
        return self


def _fitted(estimator: Any) -> PCA:
    """The estimator, if it is a fitted PCA."""
    if not isinstance(estimator, PCA):
        raise UserError(f"{type(estimator).__name__} is not smalgos' PCA")
    estimator._check_fitted()
    return estimator


def plot_explained_variance(estimator: Any, ax: "Axes | None" = None, **bar_kw: Any) -> "Axes":
    """Draw shares of the variance; as `ExplainedVarianceDisplay.from_estimator`.

    Returns
    -------
    matplotlib Axes
    """
    return ExplainedVarianceDisplay.from_estimator(estimator, ax=ax, **bar_kw).ax_


def plot_components(
    estimator: Any,
    shape: Sequence[int] | None = None,
    max_components: int = 16,
    **image_kw: Any,
) -> "NDArray[Any]":
    """Draw components as images; as `ComponentsDisplay.from_estimator`.

    Returns
    -------
    ndarray of matplotlib Axes
    """
    made = ComponentsDisplay.from_estimator(
        estimator, shape=shape, max_components=max_components, **image_kw
    )
    return made.axes_
