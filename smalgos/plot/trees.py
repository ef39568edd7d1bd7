"""A tree as text, and as a graph."""

from dataclasses import dataclass
from typing import Any

from smalgos.algorithms.xgboost.dump import to_graphviz, to_text
from smalgos.errors import UserError
from smalgos.plot.figures import boosted_trees, feature_names


@dataclass(frozen=True)
class TreePlot:
    """A tree, drawn. As a str, and so where it is printed, it is its text.

    Parameters
    ----------
    source : str
        For Graphviz: ``graphviz.Source(plot.source)`` shows it in a notebook; written to a file,
        ``dot -Tsvg FILE`` does it.
    text : str
        A line per node, indented by depth.
    """

    source: str
    text: str

    def __str__(self) -> str:
        return self.text


def plot_tree(estimator: Any, tree: int = 0, *, stats: bool = True) -> TreePlot:
    """Draw a tree; nothing needs to be installed for it.

    Parameters
    ----------
    estimator : BoostedTreesClassifier, BoostedTreesRegressor or BoostedTreesRanker
        Fitted.
    tree : int
        Which one, counted from 0; those of a round stand together.
    stats : bool
        Whether gain and cover are told.

    Returns
    -------
    TreePlot

    Raises
    ------
    UserError
        When there is no such tree.
    """
    trees = boosted_trees(estimator)
    model = trees.model_of()
    if not 0 <= tree < len(model.trees):
        raise UserError(f"tree={tree}: the model has {len(model.trees)}, counted from 0")
    given = feature_names(trees), model.notes.get("feature_types")
    return TreePlot(
        to_graphviz(model.trees, tree, *given, stats=stats),
        to_text(model.trees, tree, *given, stats=stats),
    )
