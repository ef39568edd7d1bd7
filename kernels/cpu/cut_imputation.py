"""Missing coordinates of rows, filled in from the leaves of random cut trees.

Where a tree cuts a coordinate that is missing, both sides are looked at. Each leaf that is reached
lends its values; of two, the one stays whose completed row is the more usual, by the fold of the
score (`cut_attribution`), or a random one, or something between: see `centrality`. So each tree
gives one completed row. After AWS's open library random-cut-forest-by-aws.
"""

from math import log2
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smalgos._jit import COMPILED, kernel
from smalgos.kernels.cpu.cut_layout import FEATURE, LEFT, RIGHT, SPACE
from smalgos.kernels.cpu.cut_memory import ints, uniform
from smalgos.kernels.cpu.cut_queries import asked, opened, outside
from smalgos.kernels.cpu.cut_trees import tree_keys

# What is yet to come at a node: nothing, both sides, the right side's answer.
ONE, FIRST, SECOND = range(3)
NODE, STAGE, KEPT = range(3)  # of a level: two of its integers, and the left side's leaf
DISTANCE, RANK, CHANCE = range(3)  # of the left side's leaf


if COMPILED:

    @kernel
    def mixed(key, bits):
        """A key that also depends on a number's 32 bits (as in splitmix64)."""
        z = (key ^ np.uint64(np.uint32(bits))) * np.uint64(0xBF58476D1CE4E5B9)
        return z ^ (z >> np.uint64(29))

else:

    def mixed(key: Any, bits: Any) -> int:
        z = (int(key) ^ (int(bits) & 0xFFFFFFFF)) * 0xBF58476D1CE4E5B9 & ((1 << 64) - 1)
        return z ^ (z >> 29)


@kernel(fastmath=False)
def _impute(forest, X, bits, centrality, keys, leaves, distances, ranks, levels, values):
    """One leaf of each tree for each row.

    forest       address of the forest's table                              in
    X            (n, d) float32, NaN: missing                               in
    bits         (n, d) int32, the same memory                              in
    centrality   float64                                                    in
    keys         (T,) uint64, for random numbers                            in
    leaves       (n, T) int64, numbers among the points; -1: empty tree     out
    distances    (n, T) float64                                             out
    ranks        (n, T) float64                                             out
    levels       (3 * (C + 1),) int64                                       scratch
    values       (3 * (C + 1),) float64                                     scratch

    What is missing adds nothing to how far a row is outside of a box: what is filled in is inside.
    """
    trees, width, inner, records, cuts, space, mass, roots = opened(forest)
    space_bits = ints(forest, SPACE)
    for r in range(X.shape[0]):
        of_row = np.uint64(0)
        for k in range(width):
            of_row = mixed(of_row, bits[r, k])
        for tree in range(trees):
            if roots[tree] < 0:
                leaves[r, tree], distances[r, tree], ranks[r, tree] = -1, np.nan, np.nan
                continue
            level = 0
            levels[NODE] = roots[tree]
            leaf, distance, rank, chance, settled = np.int64(-1), 0.0, 0.0, 0.0, False
            while level >= 0:
                node = levels[3 * level + NODE]
                if node < inner:
                    x = X[r, records[4 * node + FEATURE]]
                    levels[3 * level + STAGE] = FIRST if np.isnan(x) else ONE
                    level += 1
                    right = np.int64(x > cuts[4 * node])
                    levels[3 * level + NODE] = records[4 * node + LEFT + right]
                    continue
                leaf, at = node, (inner + node) * width
                distance = outside(space, at, at, X, r, width)[0]
                if centrality < 1.0:
                    key = of_row ^ keys[tree]
                    for k in range(width):
                        key = mixed(key, space_bits[at + k])
                    chance = uniform(key, np.int64(1))
                settled, rank = distance == 0.0, 1.0 / (level + 1.0)
                if settled:
                    rank = 1.0 / (level + log2(mass[leaf] + 1.0)) if level > 0 else 0.0
                # Up, to where a right side is yet to come.
                level -= 1
                while level >= 0:
                    at = 3 * level
                    node = levels[at + NODE]
                    if levels[at + STAGE] == FIRST:
                        levels[at + STAGE], levels[at + KEPT] = SECOND, leaf
                        values[at + DISTANCE], values[at + RANK] = distance, rank
                        values[at + CHANCE] = chance
                        level += 1
                        levels[at + 3 + NODE] = records[4 * node + RIGHT]
                        break
                    if levels[at + STAGE] == SECOND:
                        worth = (1.0 - centrality) * chance + centrality * rank
                        before = (1.0 - centrality) * values[at + CHANCE]
                        before += centrality * values[at + RANK]
                        if before <= worth:
                            leaf, distance = levels[at + KEPT], values[at + DISTANCE]
                            rank, chance = values[at + RANK], values[at + CHANCE]
                        settled = False  # it was said of one side
                    if not settled:
                        low = 2 * width * node
                        gap, sides = outside(space, low, low + width, X, r, width)
                        settled = gap == 0.0
                        if not settled:
                            rank += gap / sides * (1.0 / (level + 1.0) - rank)
                    level -= 1
            leaves[r, tree], distances[r, tree], ranks[r, tree] = leaf - inner, distance, rank


def impute(
    trees: Any, X: NDArray[np.float32], missing: NDArray[np.bool_], centrality: float = 1.0,
    seed: int = 0,
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:  # fmt: skip
    """Points whose values stand in for missing ones, one of each tree.

    Parameters
    ----------
    trees : CutTrees
    X : ndarray of float32, shape (n, d)
        What it holds where values are missing does not matter.
    missing : ndarray of bool, shape (n, d)
    centrality : float
        1: the most usual of the leaves that fit; 0: a random one.
    seed : int
        Of random choices, which depend on it, the tree, what is known of the row, and the leaf.

    Returns
    -------
    leaves : ndarray of int64, shape (n, T)
        Rows of `trees.points`; -1: an empty tree.
    distances : ndarray of float64, shape (n, T)
        Sum of the absolute differences of the known coordinates; NaN: an empty tree.
    ranks : ndarray of float64, shape (n, T)
        Expected inverse depth of the completed row, not scaled.
    """
    X = np.ascontiguousarray(X, np.float32) + np.float32(0)  # no -0.0, whose bits differ
    X[missing] = np.nan
    shape = len(X), trees.trees
    leaves, distances, ranks = np.empty(shape, np.int64), np.empty(shape), np.empty(shape)
    keys = tree_keys(seed, trees.trees, "imputation")

    def task(
        rows: slice, forest: int, levels: NDArray[np.int64], values: NDArray[np.float64]
    ) -> None:
        _impute(
            forest, X[rows], X[rows].view(np.int32), float(centrality), keys, leaves[rows],
            distances[rows], ranks[rows], levels, values,
        )  # fmt: skip

    room = 3 * (trees.capacity + 1)
    asked(trees, len(X), task, room, room)
    return leaves, distances, ranks
