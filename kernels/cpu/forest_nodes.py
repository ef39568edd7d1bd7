"""Trees packed for walking: one record a node, children next to each other.

A tree's nodes lie together, level after level. All that a step from a node needs is in 16 bytes,
so that it touches one cache line of the forest and one of the row.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from smalgos._jit import kernel

MISSING_RIGHT, CATEGORICAL, FEATURE = 1, 2, 4  # of a record's second number
TOGETHER = 16  # rows that walk side by side, so that their cache misses overlap


class Nodes(NamedTuple):
    """The trees of a forest. N nodes, T trees.

    records   (N, 4) uint32:
              0  bits of the threshold, NaN in leaves; categorical: first word of the set
              1  FEATURE * feature + CATEGORICAL, if it is, + MISSING_RIGHT, if NaN goes right
              2  left child, the right one is the next; of a leaf: itself
              3  bits of weight * value of a leaf; categorical: words in the set
    floats    (N, 4) float32, the same memory
    roots     (T + 1,) int64, first node of each tree
    depths    (T,) int64, steps to the deepest leaf
    groups    (T,) int64, output that a tree adds to
    sets      uint32, category sets
    numbers   (N,) int32, a node's number within its tree as it was given
    """

    records: NDArray[np.uint32]
    floats: NDArray[np.float32]
    roots: NDArray[np.int64]
    depths: NDArray[np.int64]
    groups: NDArray[np.int64]
    sets: NDArray[np.uint32]
    numbers: NDArray[np.int32]


class Levels(NamedTuple):
    """Where the nodes of all trees are, root to leaves.

    Arrays hold node numbers as given; `of` is the level of each node, `tree` its tree.
    """

    inner: list[NDArray[np.int64]]  # inner nodes of each level
    children: list[NDArray[np.int64]]  # (inner nodes, 2) of each level
    of: NDArray[np.int64]
    tree: NDArray[np.int64]


def _check(trees: Any, width: int, outputs: int) -> None:
    """Raise ValueError where a walk would leave the arrays."""
    offsets, sizes, nodes = trees.offsets, np.diff(trees.offsets), len(trees.left)
    if offsets[0] != 0 or offsets[-1] != nodes or (sizes < 1).any():
        raise ValueError("the offsets of the trees do not cut up the nodes")
    if len(trees.group) and not (0 <= trees.group.min() <= trees.group.max() < outputs):
        raise ValueError(f"a tree adds to an output beyond {outputs}")
    size, inner = np.repeat(sizes, sizes), trees.left >= 0
    for child in (trees.left, trees.right):
        if ((child < 1) | (child >= size))[inner].any():
            raise ValueError("a node has a child outside of its tree")
    if inner.any() and not (0 <= trees.feature[inner].min() <= trees.feature[inner].max() < width):
        raise ValueError(f"a tree splits on a feature beyond {width}")
    words = trees.words
    if words[0] != 0 or words[-1] != len(trees.sets) or (np.diff(words) < 0).any():
        raise ValueError("the category sets do not fit the nodes")


def levels(trees: Any, width: int, outputs: int) -> Levels:
    """Go through all trees level by level.

    Parameters
    ----------
    trees : Trees
        Any object with its arrays.
    width, outputs : int
        Features of a row, outputs of the forest.

    Raises
    ------
    ValueError
        Unless every node but the roots is the child of one node of its tree, and all numbers are
        in range.
    """
    _check(trees, width, outputs)
    tree = np.repeat(np.arange(len(trees.group)), np.diff(trees.offsets))
    of = np.full(len(tree), -1)
    inner, children = [], []
    here, seen = trees.offsets[:-1], 0
    while len(here):
        if (of[here] >= 0).any() or len(np.unique(here)) < len(here):
            raise ValueError("a node has two parents")
        of[here] = len(inner)
        seen += len(here)
        parents = here[trees.left[here] >= 0]
        first = trees.offsets[tree[parents]]
        pairs = np.stack([first + trees.left[parents], first + trees.right[parents]], axis=1)
        inner.append(parents)
        children.append(pairs)
        here = pairs.reshape(-1)
    if seen < len(tree):
        raise ValueError("a node has no parent")
    return Levels(inner, children, of, tree)


def place(at: Levels) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The order in which nodes are packed, and the place of each node in it."""
    roots = np.flatnonzero(at.of == 0)
    order = np.concatenate([roots, *(pairs.reshape(-1) for pairs in at.children)])
    order = order[np.argsort(at.tree[order], kind="stable")]
    where = np.empty_like(order)
    where[order] = np.arange(len(order))
    return order, where


def pack_nodes(trees: Any, at: Levels) -> Nodes:
    """Records of all nodes.

    Parameters
    ----------
    trees : Trees
    at : Levels
        Their levels.
    """
    order, where = place(at)
    left, first = trees.left[order], trees.offsets[at.tree[order]]
    inner, size = left >= 0, np.diff(trees.words)[order]
    chosen = inner & (size > 0)
    records = np.zeros((len(order), 4), np.uint32)
    floats = records.view(np.float32)
    # What is not less than NaN goes right, and so does all that is not less than -inf.
    threshold = np.where(np.isnan(trees.threshold), -np.inf, trees.threshold)
    floats[:, 0] = np.where(inner, threshold[order], np.nan)
    records[chosen, 0] = trees.words[:-1][order][chosen]
    missing_right = inner & (trees.default_left[order] == 0)
    feature = np.where(inner, trees.feature[order], 0)
    records[:, 1] = FEATURE * feature + CATEGORICAL * chosen + MISSING_RIGHT * missing_right
    records[:, 2] = where[np.where(inner, first + left, order)]
    floats[:, 3] = np.where(inner, 0, (trees.weight[at.tree] * trees.value)[order])
    records[chosen, 3] = size[chosen]
    depths = np.zeros(len(trees.group), np.int64)
    np.maximum.at(depths, at.tree, at.of)
    return Nodes(
        records, floats, trees.offsets.astype(np.int64), depths, trees.group.astype(np.int64),
        np.append(trees.sets, np.uint32(0)), (order - first).astype(np.int32),
    )  # fmt: skip


# Numba counts references to every array that a function is given, inlined or not, and that takes
# longer than a step: functions of a step take numbers, and tuples are taken apart before loops.
inner = kernel(fastmath=False, inline="always")


@inner
def is_right(x, threshold, word):
    """Whether a value goes right at a node that is not categorical; never at a leaf."""
    return (x >= threshold) | ((x != x) & ((word & np.uint32(MISSING_RIGHT)) != 0))


@inner
def bit_of(x, first, words):
    """Number of a category's bit in `sets`, as int64; -1 where it is beyond its set.

    As in XGBoost -0.5 is no category, though it would be cut to 0.
    """
    if x >= np.float32(0) and x < np.float32(32) * np.float32(words):
        return np.int64(first) * 32 + np.int64(x)
    return np.int64(-1)


@kernel(fastmath=False)
def walk(X, first, count, records, floats, sets, root, depth, at):
    """Take rows from the root of a tree to their leaves.

    X                      (n, d) float32                                     in
    first, count           int64, the rows
    records, floats, sets  of Nodes
    root, depth            int64, of the tree
    at                     (count,) uint64, numbers of records of leaves      out
    """
    for k in range(count):
        at[k] = root
    for a in range(0, count, TOGETHER):
        stop = min(a + TOGETHER, count)
        for _ in range(depth):
            moved = np.uint64(0)
            for k in range(a, stop):
                i = at[k]
                word = records[i, 1]
                x = X[np.uint64(first + k), np.uint64(word) >> np.uint64(2)]
                if (word & np.uint32(CATEGORICAL)) == 0:
                    right = is_right(x, floats[i, 0], word)
                else:
                    bit = bit_of(x, records[i, 0], records[i, 3])
                    right = is_right(x, np.float32(np.nan), word)
                    if bit >= 0:
                        right = (np.int64(sets[bit >> 5]) >> (bit & 31)) & 1 != 0
                to = np.uint64(records[i, 2]) + np.uint64(right)
                moved |= to ^ i
                at[k] = to
            if moved == np.uint64(0):
                break
