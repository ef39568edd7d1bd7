"""What all figures share: where they are drawn, by which colours, and of what."""

from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from smalgos.errors import UserError
from smalgos.estimators.boosted_trees import BoostedTrees

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Of Okabe and Ito, "Color Universal Design" (2008): told apart by those who confuse red and green.
BLUE, VERMILION, GREEN = "#0072B2", "#D55E00", "#009E73"


def axes(ax: "Axes | None" = None, *, height: float = 4.0) -> "Axes":
    """The axes that were given, or those of a new figure, `height` inches high.

    Raises
    ------
    UserError
        Without matplotlib.
    """
    try:
        import matplotlib.pyplot as plt
    except ModuleNotFoundError as e:
        raise UserError(f"{e.name} is not installed: run pip install 'smalgos[plot]'") from None
    # The layout makes room for names of any length.
    return plt.subplots(figsize=(6.4, height), layout="constrained")[1] if ax is None else ax


def panels(
    rows: int, columns: int, *, width: float, height: float
) -> "tuple[Figure, NDArray[Any]]":
    """A new figure and its axes (rows, columns), each of that size in inches."""
    figure: Any = axes().figure
    figure.clear()
    figure.set_size_inches(width * columns, height * rows)
    return figure, figure.subplots(rows, columns, squeeze=False)


def boosted_trees(estimator: Any) -> BoostedTrees:
    """The estimator, if it is one of boosted trees."""
    if not isinstance(estimator, BoostedTrees):
        raise UserError(f"{type(estimator).__name__} is none of smalgos' boosted trees")
    return estimator


def feature_names(estimator: BoostedTrees) -> list[str]:
    """Names of the features that it was fitted on; f0, f1, ... where they had none."""
    model = estimator.model_of()
    names = getattr(estimator, "feature_names_in_", None)
    return [f"f{i}" for i in range(model.width)] if names is None else [str(n) for n in names]
