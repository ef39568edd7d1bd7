"""What trees must be before they are walked: a file may hold anything."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from smalgos.algorithms.xgboost.trees import LEAF, Trees
from smalgos.errors import UserError
from smalgos.learning import require_shaped

MAX_NODES = 1 << 31  # of all trees: kernels number them by int32


def check_trees(trees: Trees, width: int, outputs: int) -> None:
    """Raise `UserError` unless prediction can rely on all that the arrays say.

    The nodes of each tree form one tree, every child behind its parent; features, outputs and
    category sets exist; numbers are finite, but that thresholds may be infinite.

    Parameters
    ----------
    trees : Trees
    width : int
        Number of features.
    outputs : int
        Number of margins of a row.
    """
    count, nodes = _sizes(trees)
    _check_ascending("trees.offsets", trees.offsets, nodes, step=1)
    _check_ascending("trees.words", trees.words, len(trees.sets), step=0)
    _check_range("trees.group", trees.group, 0, outputs)
    _check_range("trees.feature", trees.feature, 0, width)
    _check_range("trees.default_left", trees.default_left, 0, 2)
    for name in ("weight", "value", "cover"):
        if not np.isfinite(getattr(trees, name)).all():
            raise UserError(f"trees.{name} holds values that are not finite")
    for name in ("threshold", "gain"):
        if np.isnan(getattr(trees, name)).any():
            raise UserError(f"trees.{name} holds values that are not numbers")
    if count:
        _check_shape(trees)


def _sizes(trees: Trees) -> tuple[int, int]:
    """(trees, nodes), once all arrays have the lengths and dtypes that follow from them."""
    for name, dtype in Trees.FIELDS.items():
        array: Any = getattr(trees, name)
        if not isinstance(array, np.ndarray) or array.ndim != 1 or array.dtype != dtype:
            raise UserError(f"trees.{name} is not an array of one dimension and {np.dtype(dtype)}")
    count, nodes = len(trees.group), len(trees.left)
    if nodes >= MAX_NODES:
        raise UserError(f"{nodes} nodes: at most {MAX_NODES - 1} can be used")
    lengths = {"offsets": count + 1, "group": count, "weight": count, "words": nodes + 1}
    for name, dtype in Trees.FIELDS.items():
        if name != "sets":
            length = lengths.get(name, nodes)
            require_shaped(f"trees.{name}", getattr(trees, name), (length,), dtype)
    return count, nodes


def _check_ascending(name: str, offsets: NDArray[np.int64], end: int, step: int) -> None:
    # The ends first, so that differences cannot overflow.
    _check_range(name, offsets, 0, end + 1)
    if offsets[0] != 0 or offsets[-1] != end or (np.diff(offsets) < step).any():
        raise UserError(f"{name} does not lead from 0 to {end} in steps of at least {step}")


def _check_range(name: str, values: NDArray[Any], low: int, high: int) -> None:
    if len(values) and not (low <= values.min() and values.max() < high):
        raise UserError(f"{name} holds values that are not from {low} to {high - 1}")


def _check_shape(trees: Trees) -> None:
    """Every node but the roots is the child of exactly one node before it, in its tree."""
    sizes = np.diff(trees.offsets)
    start = np.repeat(trees.offsets[:-1], sizes)
    here = np.arange(len(trees.left)) - start
    size = np.repeat(sizes, sizes)
    leaf = trees.left == LEAF
    if (trees.right[leaf] != LEAF).any():
        raise UserError("a node has a right child and no left one")
    inner = ~leaf
    times = np.zeros(len(trees.left), np.int64)
    for name in ("left", "right"):
        child = getattr(trees, name)[inner]
        if not ((here[inner] < child) & (child < size[inner])).all():
            raise UserError(f"trees.{name}: a child is not behind its parent, or in no tree")
        times += np.bincount(start[inner] + child, minlength=len(times))
    times[trees.offsets[:-1]] += 1
    if (times != 1).any():
        raise UserError("a node is the child of several nodes, or of none")
    if np.diff(trees.words)[leaf].any():
        raise UserError("a leaf has a set of categories")
