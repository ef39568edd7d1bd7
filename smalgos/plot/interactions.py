"""Which features interact in a factorization machine, and which way, as bars."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from smalgos.errors import UserError
from smalgos.estimators.factorization_machines import (
    FactorizationMachineRegressor,
    FactorizationMachines,
)
from smalgos.plot.figures import BLUE, VERMILION, axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.container import BarContainer
    from matplotlib.figure import FigureBase


class InteractionsDisplay:
    """The pairs of features that interact most, the strongest on top; `from_estimator` makes it.

    Parameters
    ----------
    interactions : sequence of (feature, feature, strength)
        The strongest first.
    unit : str
        What strengths are added to.

    Attributes
    ----------
    ax_, figure_
        Where it was drawn last.
    bars_ : matplotlib BarContainer
    """

    ax_: "Axes"
    figure_: "FigureBase"
    bars_: "BarContainer"

    def __init__(
        self, interactions: Sequence[tuple[Any, Any, float]], unit: str = "margin"
    ) -> None:
        self.interactions, self.unit = list(interactions), unit

    @classmethod
    def from_estimator(
        cls, estimator: Any, *, n: int = 15, ax: "Axes | None" = None, **bar_kw: Any
    ) -> Self:
        """Draw ``top_interactions_`` of an estimator.

        Parameters
        ----------
        estimator : FactorizationMachineClassifier or FactorizationMachineRegressor
            Fitted.
        n : int
            How many pairs.
        ax : matplotlib Axes, optional
            Default: those of a new figure.
        **bar_kw
            For matplotlib's ``barh``.

        Returns
        -------
        InteractionsDisplay

        Raises
        ------
        UserError
            For another estimator; without matplotlib.
        """
        if not isinstance(estimator, FactorizationMachines):
            raise UserError(
                f"{type(estimator).__name__} is none of smalgos' factorization machines"
            )
        estimator._check_fitted()
        squared = isinstance(estimator, FactorizationMachineRegressor)
        unit = "prediction" if squared else "log-odds"
        named = _namer(estimator)
        pairs = [(named(a), named(b), s) for a, b, s in estimator.top_interactions_(n)]
        return cls(pairs, unit).plot(ax, **bar_kw)

    def plot(self, ax: "Axes | None" = None, **bar_kw: Any) -> Self:
        """Draw it; parameters as those of `from_estimator`.

        Raises
        ------
        UserError
            Without matplotlib.
        """
        n = len(self.interactions)
        strengths = [strength for _, _, strength in self.interactions]
        ax = axes(ax, height=1.0 + 0.25 * max(n, 4))
        options = {
            "color": [BLUE if s >= 0 else VERMILION for s in strengths], "height": 0.7, **bar_kw
        }  # fmt: skip
        self.bars_ = ax.barh(range(n), strengths, **options)
        ax.bar_label(self.bars_, fmt="%+.3g", padding=3, fontsize="small")
        ax.axvline(0, color="0.4", linewidth=0.8)
        ax.set_yticks(range(n), [f"{a} × {b}" for a, b, _ in self.interactions])  # noqa: RUF001
        ax.set_ylim(max(n, 1) - 0.4, -0.6)
        ax.margins(x=0.15)  # for the numbers of the longest bars
        ax.set_xlabel(f"added to the {self.unit}")
        ax.set_title("strongest interactions, both features 1", fontsize="medium")
        ax.spines[["top", "right", "left"]].set_visible(False)
        ax.tick_params(axis="y", length=0)
        self.ax_, self.figure_ = ax, ax.figure
        return self


def _namer(estimator: FactorizationMachines) -> Callable[[Any], str]:
    """How features are called that have no names: by field and number, or just by number."""
    if hasattr(estimator, "feature_names_in_"):
        return str
    sizes = [] if estimator.fields is None else list(estimator.fields)
    starts = np.cumsum([0, *sizes])
    d = estimator.n_features_in_
    if len(sizes) == d or starts[-1] != d:  # they are no sizes of fields
        return "f{}".format

    def within(column: Any) -> str:
        field = int(np.searchsorted(starts, column, side="right")) - 1
        return f"field {field}: {column - starts[field]}"

    return within


def plot_interactions(
    estimator: Any, n: int = 15, ax: "Axes | None" = None, **bar_kw: Any
) -> "Axes":
    """Draw strong interactions; parameters as those of `InteractionsDisplay.from_estimator`.

    Returns
    -------
    matplotlib Axes
    """
    return InteractionsDisplay.from_estimator(estimator, n=n, ax=ax, **bar_kw).ax_
