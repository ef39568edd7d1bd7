"""A forest of random cut trees: growing, scores, files. `cut_layout` says where what is."""

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from smalgos.kernels.cpu.cut_files import PLAIN, check, preorder, restore
from smalgos.kernels.cpu.cut_growth import grow
from smalgos.kernels.cpu.cut_layout import (
    CAPACITY,
    CUT,
    FEATURE,
    LEAVES,
    LEFT,
    MASS,
    PARENTS,
    RECORDS,
    RIGHT,
    ROOTS,
    SIDES,
    SPACE,
    TREES,
    WIDTH,
)
from smalgos.kernels.cpu.cut_memory import Table, aligned
from smalgos.kernels.cpu.cut_scores import score, scores
from smalgos.kernels.cpu.shared import _philox, chunks, readable, run
from smalgos.kernels.cpu.vector import LANES

AT_ONCE = 8  # trees of a task


class CutTrees:
    """A forest of random cut trees.

    Parameters
    ----------
    trees, capacity, width : int
        Number of trees, of points that one has room for, of coordinates.

    Raises
    ------
    ValueError
        If there are none, or numbers of nodes would not fit 32 bits.

    Attributes
    ----------
    records, cuts, space, boxes, points, sides, parents, mass, roots, leaves : ndarray
        See the module.
    table : Table
        The same for kernels: they are given `table.address`.
    """

    def __init__(self, trees: int, capacity: int, width: int) -> None:
        self.trees, self.capacity, self.width = trees, capacity, width
        slots = trees * capacity
        if min(trees, capacity, width) < 1 or slots >= 1 << 28 or width > 1 << 20:
            raise ValueError(
                f"{trees} trees of {capacity} points of {width} coordinates: at most {1 << 28} "
                f"in all, of {1 << 20}"
            )
        self.records = np.zeros((slots, 4), np.int32)
        self.cuts = self.records.view(np.float32)
        self.space = aligned(slots * 3 * width)
        self.boxes = self.space[: slots * 2 * width].reshape(slots, 2, width)
        self.points = self.space[slots * 2 * width :].reshape(slots, width)
        self.sides = np.zeros(slots, np.float32)
        self.parents = np.full(2 * slots, -1, np.int32)
        self.mass = np.zeros(2 * slots, np.int32)
        self.roots = np.full(trees, -1, np.int32)
        self.leaves = np.zeros(trees, np.int32)
        self.table = Table(self._entries())

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self).of, (self.plain(), self.capacity)  # addresses do not hold elsewhere

    def rows(self, X: NDArray[np.float32]) -> NDArray[np.float32]:
        """Rows as kernels read them, which look at no shapes.

        Raises
        ------
        ValueError
            If they are not as wide as the trees.
        """
        X = readable(X, np.float32)
        if X.ndim != 2 or X.shape[1] != self.width:
            raise ValueError(f"rows of shape {X.shape}: the trees are {self.width} wide")
        return X

    def _entries(self) -> dict[int, Any]:
        return {
            TREES: self.trees, CAPACITY: self.capacity, WIDTH: self.width,
            RECORDS: self.records, SPACE: self.space, SIDES: self.sides, PARENTS: self.parents,
            MASS: self.mass, ROOTS: self.roots, LEAVES: self.leaves,
        }  # fmt: skip

    @classmethod
    def grow(cls, samples: NDArray[np.float32], sizes: NDArray[np.int64], seed: int) -> Self:
        """Grow each tree from its sample, top down.

        Parameters
        ----------
        samples : ndarray of float32, shape (sum of sizes, d)
            Finite. Tree t gets the next sizes[t] rows.
        sizes : ndarray of int64, shape (T,)
        seed : int

        Raises
        ------
        ValueError
            Unless the sizes add up to the rows.
        """
        sizes = np.asarray(sizes, np.int64)
        if samples.ndim != 2 or sizes.min(initial=0) < 0 or sizes.sum() != len(samples):
            raise ValueError(f"{len(samples)} rows are not {sizes.sum()}")
        forest = cls(len(sizes), max(1, int(sizes.max(initial=1))), samples.shape[1])
        rows = np.ascontiguousarray(samples, np.float32) + np.float32(0)  # no -0.0
        starts = np.concatenate([[0], np.cumsum(sizes)])
        keys = tree_keys(seed, len(sizes))

        def task(part: slice) -> None:
            order, aside = np.zeros((2, forest.capacity + LANES), np.int32)
            queue = np.empty(8 * forest.capacity, np.int64)
            grow(
                forest.table.address, part.start, part.stop, rows, starts, keys, order, aside, queue
            )

        run(task, chunks(forest.trees, AT_ONCE))
        return forest

    def scores(self, X: NDArray[np.float32], leaf: str = "container") -> NDArray[np.float64]:
        """Mean over the trees of the expected inverse depth, scaled by log2(mass + 1).

        Parameters
        ----------
        X : ndarray of float32, shape (n, d)
            Finite.
        leaf : {"container", "library"}
            What a row scores that equals a leaf of mass m at depth D in a tree of mass M:
            1 / (D + log2 m), or 1 / (D + log2(m + 1)) in a tree of nothing else; or
            (1 - m / (2 M)) / (D + log2(m + 1)).

        Returns
        -------
        ndarray of float64, shape (n,)
        """
        return scores(self, X, leaf)

    def score(self, x: NDArray[np.float32], leaf: str = "container") -> float:
        """The score of one row (d,), C-ordered float32, for who cannot wait for more.

        With the bits that it has among others; nothing about the row is checked.
        """
        return score(self, x, leaf)

    def plain(self) -> dict[str, NDArray[Any]]:
        """The trees for a file, each in preorder, one after another.

        Returns
        -------
        dict of ndarray
            offsets int64 (T + 1,), of each tree's nodes; feature int32 (N,), -1: leaf; cut float32
            (N,); left, right int32 (N,), numbers within the tree, -1 at leaves; mass int32 (N,);
            point int32 (N,), a leaf's row of points, -1 otherwise; points float32 (L, d).
        """
        order, offsets = self.preorder()
        inner = self.trees * self.capacity
        node = np.minimum(order, inner - 1)  # of a leaf: any
        is_leaf = order >= inner
        number = np.full(2 * inner, -1, np.int32)
        number[order] = np.arange(len(order)) - np.repeat(offsets[:-1], np.diff(offsets))
        children = [
            np.where(is_leaf, -1, number[self.records[node, side] % (2 * inner)]).astype(np.int32)
            for side in (LEFT, RIGHT)
        ]
        return {
            "offsets": offsets,
            "feature": np.where(is_leaf, -1, self.records[node, FEATURE]).astype(np.int32),
            "cut": np.where(is_leaf, 0, self.cuts[node, CUT]).astype(np.float32),
            "left": children[0],
            "right": children[1],
            "mass": self.mass[order],
            "point": np.where(is_leaf, np.cumsum(is_leaf) - 1, -1).astype(np.int32),
            "points": self.points[order[is_leaf] - inner],
        }

    def preorder(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Numbers of all nodes, each tree in preorder, and where each tree begins."""
        counts = np.where(self.leaves > 0, 2 * self.leaves.astype(np.int64) - 1, 0)
        offsets = np.concatenate([[0], np.cumsum(counts)])
        order = np.empty(offsets[-1], np.int64)
        preorder(self.table.address, offsets, order)
        return order, offsets

    @classmethod
    def of(cls, plain: Mapping[str, NDArray[Any]], capacity: int | None = None) -> Self:
        """The forest of `plain`'s arrays. Boxes are computed anew, to the same bits.

        Parameters
        ----------
        plain : dict of ndarray
        capacity : int, optional
            Points that a tree has room for; as many leaves as the largest has if not given.

        Raises
        ------
        ValueError
            Unless the arrays are those of a forest.
        """
        check(plain)
        offsets, is_leaf = plain["offsets"], plain["feature"] < 0
        tree = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
        leaves = np.bincount(tree[is_leaf], minlength=len(offsets) - 1)
        room = max(1, int(leaves.max(initial=1))) if capacity is None else capacity
        if leaves.max(initial=0) > room:
            raise ValueError(f"a tree has {leaves.max()} leaves, but room for {room}")
        forest = cls(len(leaves), room, plain["points"].shape[1])
        forest._fill(plain)
        return forest

    def _fill(self, plain: Mapping[str, NDArray[Any]]) -> None:
        """Take in arrays that have been checked."""
        wrong = restore(self.table.address, *(readable(plain[name]) for name in PLAIN))
        if wrong >= 0:
            raise ValueError(f"tree {wrong}: a point is on the wrong side of a cut")


def tree_keys(seed: int, trees: int, purpose: str = "random cut trees") -> NDArray[np.uint64]:
    """What each tree draws its random numbers by."""
    return _philox(seed, purpose).random_raw(trees)
