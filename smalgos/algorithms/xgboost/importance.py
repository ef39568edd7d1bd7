"""How much a model makes of each feature: splits, and what they gain and cover."""

import numpy as np
from numpy.typing import NDArray

from smalgos.algorithms.xgboost.trees import LEAF, Trees
from smalgos.errors import UserError

KINDS = ("weight", "gain", "cover", "total_gain", "total_cover")


def importance(trees: Trees, width: int, kind: str) -> NDArray[np.float64]:
    """Importance of each feature; 0 where no tree splits by it.

    Parameters
    ----------
    trees : Trees
    width : int
        Number of features.
    kind : {"weight", "gain", "cover", "total_gain", "total_cover"}
        Number of splits by the feature; their mean gain or sum of hessians; the totals of these.
        The definitions of XGBoost's ``Booster.get_score``, which leaves unused features out.

    Returns
    -------
    ndarray of float64, shape (width,)

    Raises
    ------
    UserError
        For another kind.
    """
    if kind not in KINDS:
        raise UserError(f"importance {kind!r}: give one of {', '.join(KINDS)}")
    inner = trees.left != LEAF
    feature = trees.feature[inner]
    splits = np.bincount(feature, minlength=width).astype(np.float64)
    if kind == "weight":
        return splits
    of_node = trees.gain if kind.endswith("gain") else trees.cover
    total = np.bincount(feature, of_node[inner], minlength=width).astype(np.float64)
    return total if kind.startswith("total") else total / np.maximum(splits, 1)
