"""The trees of a model: plain arrays in a file, the kernels' own layout in memory."""

from collections.abc import Callable, Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from smalgos.errors import UserError
from smalgos.kernels import load
from smalgos.learning.state import Part

MOST = float(np.finfo(np.float32).max)


def require_ranges(points: NDArray[np.float32]) -> None:
    """Raise `UserError` if the ranges of the features add up to more than float32 holds."""
    if len(points):
        low, high = points.min(axis=0), points.max(axis=0)
        if (high.astype(np.float64) - low).sum() > MOST / 2:
            raise UserError(
                f"the ranges of the features add up to more than {MOST / 2:.2g}: scale them"
            )


class Forest(Part):
    """Nodes in preorder, one tree after another, and the points of their leaves.

    These arrays are held only until the kernels' trees are made of them.

    Parameters
    ----------
    device : str
    trees : CutTrees, optional
    """

    offsets: NDArray[np.int64]  # (trees + 1,) nodes where trees begin
    feature: NDArray[np.int32]  # (nodes,) that is cut, -1 of leaves
    cut: NDArray[np.float32]  # (nodes,) rows that are not greater go left
    left: NDArray[np.int32]  # (nodes,) numbers within the tree, -1 of leaves
    right: NDArray[np.int32]  # (nodes,)
    mass: NDArray[np.int32]  # (nodes,) rows below, equal ones counted each
    point: NDArray[np.int32]  # (nodes,) row of `points`, -1 where it is no leaf
    points: NDArray[np.float32]  # (leaves, width)

    def __init__(self, device: str = "cpu", trees: Any = None) -> None:
        self._k, self._trees = load("random_cut_forest", device), trees
        self._arrays: dict[str, Any] = {}

    @property
    def trees(self) -> Any:
        """The trees as the kernels have them."""
        if self._trees is None:
            self._trees = self._k.CutTrees.of(self._arrays)
            self._arrays = {}
        return self._trees

    def plain(self) -> dict[str, Any]:
        """The arrays by name."""
        found: dict[str, Any] = self._arrays or self.trees.plain()
        return found

    def snapshot(self, to_host: Callable[[Any], Any] = lambda a: a) -> dict[str, Any]:
        """As `Part.snapshot`."""
        return {name: to_host(array) for name, array in self.plain().items()}

    def restore(self, flat: Mapping[str, Any], put: Callable[[Any], Any] = lambda a: a) -> Self:
        """As `Part.restore`."""
        self._trees, self._arrays = None, dict(flat)
        return self

    def check(self) -> None:
        """Raise `UserError` unless the arrays are those of trees."""
        if self._trees is None and self._arrays.keys() != self.fields().keys():
            raise UserError(f"its trees are {sorted(self._arrays)}, not {sorted(self.fields())}")
        try:
            trees = self.trees  # made of the arrays, which are checked for it
        except ValueError as e:
            raise UserError(f"its trees are none: {e}") from None
        require_ranges(trees.points)

    def shape(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Number of nodes of each tree, and of those on its longest way from root to leaf."""
        arrays = self.plain()
        starts = arrays["offsets"][:-1]
        depths = np.zeros(len(starts), np.int64)
        here, tree = starts.copy(), np.arange(len(starts))
        while len(here):  # a level at a time, in all trees
            depths[tree] += 1
            inner = arrays["feature"][here] >= 0
            here, tree = here[inner], tree[inner]
            below = [starts[tree] + arrays[side][here] for side in ("left", "right")]
            here, tree = np.concatenate(below), np.concatenate([tree, tree])
        return np.diff(arrays["offsets"]), depths
