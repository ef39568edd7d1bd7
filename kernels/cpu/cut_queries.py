"""What random cut trees are asked beside the score: ways to leaves, displacement, neighbours.

A row follows the cuts of each tree to a leaf, and what is asked is then folded from the leaf to
the root. Adding the row to the points of a node would cut it off there with probability

    p = (growth of the box when the row is added) / (sum of the sides of the grown box)

which is zero from the first box on that holds the row: the fold ends there. Rows are cut into
tasks; a row meets all trees in order, so that an answer depends on nothing but row and forest.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smalgos._jit import kernel
from smalgos.kernels.cpu.cut_boxes import fold
from smalgos.kernels.cpu.cut_layout import (
    CAPACITY,
    FEATURE,
    LEFT,
    MASS,
    RECORDS,
    RIGHT,
    ROOTS,
    SPACE,
    TREES,
    WIDTH,
    high_of,
    low_of,
)
from smalgos.kernels.cpu.cut_memory import floats, ints, word
from smalgos.kernels.cpu.shared import Lent, chunks, readable, run
from smalgos.kernels.cpu.vector import DOUBLES, LANES, load_part, vectors

ROWS = 64  # of a task: one row meets some hundred boxes


def asked(
    trees: Any, rows: int, task: Callable[..., None], longs: int = 1, numbers: int = 1
) -> None:
    """Give each task its rows, and scratch that others have done with.

    Parameters
    ----------
    trees : CutTrees
    rows : int
    task : callable
        Of a slice of rows, the forest's address, scratch of int64 and scratch of float64.
    longs, numbers : int
        How much of the scratch.
    """
    scratch = Lent(lambda: (np.empty(longs, np.int64), np.empty(numbers)))

    def one(part: slice) -> None:
        lent = scratch.get()
        task(part, trees.table.address, *lent)
        scratch.put(lent)

    run(one, chunks(rows, ROWS))


@kernel
def opened(forest):
    """Trees, width, the number of the first leaf, and arrays of the table at an address."""
    trees, width = word(forest, TREES), word(forest, WIDTH)
    inner = trees * word(forest, CAPACITY)
    records, cuts, space = ints(forest, RECORDS), floats(forest, RECORDS), floats(forest, SPACE)
    return trees, width, inner, records, cuts, space, ints(forest, MASS), ints(forest, ROOTS)


@kernel
def descend(records, cuts, X, row, node, inner, path):
    """Follow the cuts from a root: path (C,) int64 out; returns the depth of the leaf, its last."""
    depth = 0
    path[0] = node
    while node < inner:
        # Not a branch, which could not be foreseen.
        right = np.int64(X[row, records[4 * node + FEATURE]] > cuts[4 * node])
        node = np.int64(records[4 * node + LEFT + right])
        depth += 1
        path[depth] = node
    return depth


@kernel
def sibling(records, path, level):
    """The other child of the node above that at a level."""
    above = 4 * path[level - 1]
    return np.int64(records[above + LEFT]) + np.int64(records[above + RIGHT]) - path[level]


@kernel
def sides_of(node, inner, width):
    """Where in `space` the lower sides and the upper ones of a node's box are."""
    low = low_of(node, inner, width)
    return low, high_of(low, node, inner, width)


@vectors(DOUBLES)
def double(v, x):
    """As float64."""
    return v.widen(x)


@vectors(DOUBLES, DOUBLES)
def growth(v, x, low, high):
    """How much sides grow when coordinates are added, and how long they are then; float64."""
    x, low, high = v.widen(x), v.widen(low), v.widen(high)
    zero = v.widen(v.number(0.0))
    below, above = low - x, x - high
    most = v.select(below > above, below, above)
    most = v.select(most > zero, most, zero)
    return most, most + (high - low)


@kernel(fastmath=False)
def outside(box, low, high, X, row, width):
    """How much a box grows when a row is added, and the sum of its sides then."""
    gap, total = double(0.0), double(0.0)
    for k in range(0, width, LANES):
        rest = width - k
        sides = load_part(box, low + k, rest), load_part(box, high + k, rest)
        grown = growth(load_part(X, row * width + k, rest), sides[0], sides[1])
        gap, total = gap + grown[0], total + grown[1]
    return fold(gap), fold(total)


@kernel
def _displace(forest, X, out, path, most):
    """Collusive displacement.

    forest   address of the forest's table     in
    X        (n, d) float32                    in
    out      (n,) float64                      out
    path     (C,) int64                        scratch
    most     (C,) float64                      scratch
    """
    trees, width, inner, records, cuts, space, mass, roots = opened(forest)
    for r in range(X.shape[0]):
        sum_of_trees = 0.0
        for tree in range(trees):
            if roots[tree] < 0:
                continue
            depth = descend(records, cuts, X, r, np.int64(roots[tree]), inner, path)
            low, high = sides_of(path[depth], inner, width)
            held = np.int64(outside(space, low, high, X, r, width)[0] == 0.0)
            # Of subtrees with the row, from the root to each node; the row counts where it is new.
            most[0] = 0.0
            for level in range(1, depth + 1):
                other = mass[sibling(records, path, level)]
                ratio = other / (mass[path[level]] + 1.0 - held)
                most[level] = max(most[level - 1], ratio)
            # Alone beside a node, the row displaces all of the node.
            value = most[depth] if held else max(most[depth], np.float64(mass[path[depth]]))
            for level in range(depth - 1, -1, -1):
                if held:
                    break
                low, high = sides_of(path[level], inner, width)
                gap, total = outside(space, low, high, X, r, width)
                if gap == 0.0:
                    break
                here = max(most[level], np.float64(mass[path[level]]))
                value += gap / total * (here - value)
            sum_of_trees += value
        out[r] = sum_of_trees / trees


def codisplacements(trees: Any, X: NDArray[np.float32]) -> NDArray[np.float64]:
    """Collusive displacement, mean over the trees (Guha et al. 2016, Definition 4).

    How much the model's complexity, the sum of the depths of all points, falls for each point of
    the subtree that goes, at most, over the subtrees with the row: largest ratio of the mass of
    the sibling to that of the subtree, along the row's path. For a row that a tree does not hold,
    the mean over all places where inserting it might put it.

    Parameters
    ----------
    trees : CutTrees
    X : ndarray of float32, shape (n, d)

    Returns
    -------
    ndarray of float64, shape (n,)
    """
    X, out = readable(X, np.float32), np.empty(len(X))

    def task(part: slice, forest: int, path: NDArray[np.int64], most: NDArray[np.float64]) -> None:
        _displace(forest, X[part], out[part], path, most)

    asked(trees, len(X), task, trees.capacity, trees.capacity)
    return out


@kernel
def _same(space, a, b, inner, width):
    """Whether two leaves hold equal points."""
    a, b = (inner + a) * width, (inner + b) * width
    same = True
    for k in range(width):
        same &= space[a + k] == space[b + k]
    return same


@kernel
def _near(forest, X, within, found, leaves, distances, counts, path):
    """Leaves that rows come to, ascending by distance, those of equal points together.

    forest      address of the forest's table                          in
    X           (n, d) float32                                         in
    within      float64                                                in
    found       (n,) int64, how many there are                         out
    leaves      (n, T) int64, numbers of leaves among the points       out
    distances   (n, T) float64                                         out
    counts      (n, T) int64                                           out
    path        (C,) int64                                             scratch
    """
    trees, width, inner, records, cuts, space, _, roots = opened(forest)
    for r in range(X.shape[0]):
        n = 0
        for tree in range(trees):
            if roots[tree] < 0:
                continue
            leaf = path[descend(records, cuts, X, r, np.int64(roots[tree]), inner, path)]
            at, square = (inner + leaf) * width, 0.0
            for k in range(width):
                apart = np.float64(X[r, k]) - np.float64(space[at + k])
                square += apart * apart
            distance = np.sqrt(square)
            if not distance < within:
                continue
            place = n
            while place > 0 and distances[r, place - 1] > distance:
                place -= 1
            equal = place - 1
            while equal >= 0 and distances[r, equal] == distance:
                if _same(space, inner + leaves[r, equal], leaf, inner, width):
                    break
                equal -= 1
            if equal >= 0 and distances[r, equal] == distance:
                counts[r, equal] += 1
                continue
            for i in range(n, place, -1):
                leaves[r, i], counts[r, i] = leaves[r, i - 1], counts[r, i - 1]
                distances[r, i] = distances[r, i - 1]
            leaves[r, place], counts[r, place], distances[r, place] = leaf - inner, 1, distance
            n += 1
        found[r] = n


def neighbours(
    trees: Any, X: NDArray[np.float32], within: float
) -> tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.float64], NDArray[np.int64]]:
    """Points that are near rows: those of the leaves that a row comes to.

    Parameters
    ----------
    trees : CutTrees
    X : ndarray of float32, shape (n, d)
    within : float
        Only points whose Euclidean distance is smaller.

    Returns
    -------
    offsets : ndarray of int64, shape (n + 1,)
        Row r's are offsets[r] to offsets[r + 1].
    points : ndarray of float32, shape (N, d)
        The nearest of a row first.
    distances : ndarray of float64, shape (N,)
    counts : ndarray of int64, shape (N,)
        Trees that answered with an equal point.
    """
    X, shape = readable(X, np.float32), (len(X), trees.trees)
    found, leaves = np.zeros(len(X), np.int64), np.zeros(shape, np.int64)
    distances, counts = np.zeros(shape), np.zeros(shape, np.int64)

    def task(part: slice, forest: int, path: NDArray[np.int64], _: NDArray[np.float64]) -> None:
        out = found[part], leaves[part], distances[part], counts[part]
        _near(forest, X[part], float(within), *out, path)

    asked(trees, len(X), task, trees.capacity)
    offsets = np.concatenate([[0], np.cumsum(found)])
    there = np.arange(trees.trees) < found[:, None]
    return offsets, trees.points[leaves[there]], distances[there], counts[there]
