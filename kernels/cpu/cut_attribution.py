"""Scores of random cut trees in parts: by coordinate and direction, by tree, by any worth of depth.

The score of a row is folded from its leaf to the root: a leaf at depth D is worth 1 / (D + 1), or
another amount if it equals the row; at each ancestor s becomes p * (worth of its depth) + (1 - p)
* s (`cut_queries`). Its parts follow the same fold: what p gives goes to the coordinates that make
up the growth of the box, to each as much as it grows, apart for growth upwards (high) and
downwards (low). This is what AWS's open library random-cut-forest-by-aws computes.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from smalgos._jit import kernel
from smalgos.kernels.cpu.cut_layout import LEFT, RIGHT
from smalgos.kernels.cpu.cut_queries import asked, descend, opened, outside, sibling, sides_of
from smalgos.kernels.cpu.cut_terms import LEAF, held, scale_of
from smalgos.kernels.cpu.shared import readable

TABLES = len(LEAF)  # kind of worth that is looked up; other kinds are places in LEAF
LEAST_TREES = 5  # that are looked at before one may be a witness
SPREAD = 0.5  # standard deviations that a witness is away from the mean
NEAR = 1e-6  # what makes up for rounding where all trees say the same


class Worth(NamedTuple):
    """What depths are worth.

    kind     int64: the place in LEAF, or TABLES
    ignore   int64: a leaf that equals the row, of a mass up to this, is taken for another
    unseen   (D, M) float64 by depth and mass: of cutting off a row
    seen     (D, M) float64: of a leaf that equals the row
    damp     (K, M) float64 by kind of tree and mass of a leaf: a factor of it
    kinds    (T,) int64: each tree's row in damp
    """

    kind: int
    ignore: int
    unseen: NDArray[np.float64]
    seen: NDArray[np.float64]
    damp: NDArray[np.float64]
    kinds: NDArray[np.int64]


def worth_of(leaf: str, ignore: int = 0) -> Worth:
    """The depth's inverse, and of a leaf that equals the row as "container" or "library" have it.

    Parameters
    ----------
    leaf : {"container", "library"}
    ignore : int
        A leaf that equals the row, of a mass up to this, is taken for another.
    """
    none = np.empty((0, 0))
    return Worth(LEAF.index(leaf), ignore, none, none, none, np.empty(0, np.int64))


Function = Callable[[Any, Any], Any]


def worth_by(
    trees: Any, seen: Function, unseen: Function, damp: Function, ignore: int = 0
) -> Worth:
    """Functions of the caller, in tables.

    Parameters
    ----------
    trees : CutTrees
    seen, unseen : callable
        Of (depth, mass), arrays of float64: worth of a leaf that equals the row, and of cutting
        the row off above a node.
    damp : callable
        Of (mass of a leaf, mass of the tree): factor of `seen`.
    ignore : int
        A leaf that equals the row, of a mass up to this, is taken for another.
    """
    nodes, depth = trees.roots[trees.roots >= 0].astype(np.int64), 0
    inner = trees.trees * trees.capacity
    while len(nodes := nodes[nodes < inner]):
        nodes = trees.records[nodes][:, [LEFT, RIGHT]].astype(np.int64).ravel()
        depth += 1
    whole = np.where(trees.roots >= 0, trees.mass[np.maximum(trees.roots, 0)], 0)
    masses, kinds = np.unique(whole, return_inverse=True)
    mass = np.arange(masses[-1] + 1.0)
    levels = np.arange(depth + 1.0)[:, None]

    def table(f: Function, a: Any, b: Any) -> NDArray[np.float64]:
        with np.errstate(all="ignore"):  # at masses and depths that no leaf has
            return np.array(np.broadcast_to(f(a, b), np.broadcast(a, b).shape), np.float64)

    tables = (
        table(unseen, levels, mass), table(seen, levels, mass), table(damp, mass, masses[:, None])
    )  # fmt: skip
    return Worth(TABLES, ignore, *tables, kinds.astype(np.int64))


@kernel
def _unseen(worth, depth, mass):
    """Worth of being cut off above a node."""
    return worth.unseen[depth, mass] if worth.kind == TABLES else 1.0 / (depth + 1.0)


@kernel
def _seen(worth, depth, mass, tree, whole):
    """Worth of a leaf that equals the row."""
    if worth.kind == TABLES:
        return worth.damp[worth.kinds[tree], mass] * worth.seen[depth, mass]
    return held(mass, whole, depth, worth.kind)


@kernel
def _scale(worth, whole):
    """Factor of a tree's score."""
    return 1.0 if worth.kind == TABLES else scale_of(whole)


@kernel
def overshadow(shadow, first, space, node, inner, width):
    """Make a box, shadow (2 * d,) float32, also hold that of a node; it is empty at first."""
    low, high = sides_of(node, inner, width)
    for k in range(width):
        lower, upper = space[low + k], space[high + k]
        shadow[k] = lower if first else min(shadow[k], lower)
        shadow[width + k] = upper if first else max(shadow[width + k], upper)


@kernel
def _scores(forest, X, worth, enough, sign, out, used, path, shadow):
    """Scores, from as many trees as are needed.

    forest   address of the forest's table               in
    X        (n, d) float32                              in
    worth    Worth                                       in
    enough   int64, witnesses                            in
    sign     float64, 1: high scores matter; -1: low     in
    out      (n,) float64                                out
    used     (n,) int64, trees looked at                 out
    path     (C,) int64                                  scratch
    shadow   (2 * d,) float32                            scratch
    """
    trees, width, inner, records, cuts, space, mass, roots = opened(forest)
    for r in range(X.shape[0]):
        n, witnesses, total, squares = 0, 0, 0.0, 0.0
        while n < trees and witnesses < enough:
            tree, root, value = n, np.int64(roots[n]), 0.0
            if root >= 0:
                depth = descend(records, cuts, X, r, root, inner, path)
                leaf = path[depth]
                low, high = sides_of(leaf, inner, width)
                same = outside(space, low, high, X, r, width)[0] == 0.0
                if same and mass[leaf] > worth.ignore:
                    value = _seen(worth, depth, mass[leaf], tree, mass[root])
                    depth = 0  # nothing follows
                else:
                    value = _unseen(worth, depth, mass[leaf])
                for level in range(depth - 1, -1, -1):
                    node = path[level]
                    if worth.ignore > 0:
                        other = sibling(records, path, level + 1)
                        overshadow(shadow, level == depth - 1, space, other, inner, width)
                        gap, sides = outside(shadow, 0, width, X, r, width)
                    else:
                        low, high = sides_of(node, inner, width)
                        gap, sides = outside(space, low, high, X, r, width)
                    if gap == 0.0:
                        break
                    value += gap / sides * (_unseen(worth, level, mass[node]) - value)
                value *= _scale(worth, mass[root])
            n += 1
            total += value
            squares += value * value
            if n >= min(LEAST_TREES, trees):
                mean = total / n
                spread = np.sqrt(max(0.0, squares / n - mean * mean) * n / max(n - 1, 1))
                if sign * (value - mean) + NEAR > SPREAD * spread:
                    witnesses += 1
        out[r], used[r] = total / n, n


def worth_scores(
    trees: Any, X: NDArray[np.float32], worth: Worth, precision: float = 0.0, high: bool = True
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Scores by any worth of depths, of all trees or of as many as are needed.

    A tree is a witness if it says more (less) than the mean of the trees up to it, by half a
    standard deviation. There are 1 / precision witnesses at most.

    Parameters
    ----------
    trees : CutTrees
    X : ndarray of float32, shape (n, d)
    worth : Worth
    precision : float
        Below 1 / T: all trees are looked at.
    high : bool
        Whether it is high scores that must not be missed.

    Returns
    -------
    scores : ndarray of float64, shape (n,)
    used : ndarray of int64, shape (n,)
        How many trees were looked at.
    """
    enough = trees.trees if precision * trees.trees < 1 else int(1 / precision)
    X = readable(X, np.float32)
    out, used = np.empty(len(X)), np.empty(len(X), np.int64)

    def task(part: slice, forest: int, path: NDArray[np.int64], box: NDArray[np.float64]) -> None:
        shadow = box.view(np.float32)
        _scores(
            forest, X[part], worth, enough, 1.0 if high else -1.0, out[part], used[part], path,
            shadow,
        )  # fmt: skip

    asked(trees, len(X), task, trees.capacity, trees.width)
    return out, used


@kernel
def _attribute(forest, X, worth, out, path, part, shadow):
    """Parts of scores.

    forest   address of the forest's table            in
    X        (n, d) float32                           in
    worth    Worth                                    in
    out      (n, 2, d) float64: high, low; zeros      in, out
    path     (C,) int64                               scratch
    part     (2 * d,) float64                         scratch
    shadow   (2 * d,) float32                         scratch
    """
    trees, width, inner, records, cuts, space, mass, roots = opened(forest)
    for r in range(X.shape[0]):
        for tree in range(trees):
            root = np.int64(roots[tree])
            if root < 0:
                continue
            depth = descend(records, cuts, X, r, root, inner, path)
            leaf, ignore = path[depth], worth.ignore > 0
            low, high = sides_of(leaf, inner, width)
            sides = outside(space, low, high, X, r, width)[1]
            same = sides == 0.0
            settled = same and mass[leaf] > worth.ignore
            score = _unseen(worth, depth, mass[leaf])
            if settled:
                score = _seen(worth, depth, mass[leaf], tree, mass[root])
            evenly = same or (ignore and mass[leaf] <= worth.ignore)
            for k in range(width):
                apart = np.float64(X[r, k]) - np.float64(space[low + k])
                part[k] = score * (0.5 / width if evenly else max(apart, 0.0) / sides)
                part[width + k] = score * (0.5 / width if evenly else max(-apart, 0.0) / sides)
            box = shadow if same or ignore else space
            for level in range(depth - 1, -1, -1):
                node = path[level]
                low, high = 0, width
                if same or ignore:
                    # What the tree would be without the leaf.
                    other = sibling(records, path, level + 1)
                    overshadow(shadow, level == depth - 1, space, other, inner, width)
                else:
                    low, high = sides_of(node, inner, width)
                gap, sides = outside(box, low, high, X, r, width)
                if gap == 0.0:
                    break
                worth_here, stays = _unseen(worth, level, mass[node]), 1.0 - gap / sides
                share = worth_here / sides
                for k in range(width):
                    x = np.float64(X[r, k])
                    up, down = x - np.float64(box[high + k]), np.float64(box[low + k]) - x
                    part[k] = share * max(up, 0.0) + stays * part[k]
                    part[width + k] = share * max(down, 0.0) + stays * part[width + k]
                if not settled:
                    score += gap / sides * (worth_here - score)
            whole = 0.0
            for k in range(2 * width):
                whole += part[k]
            factor = _scale(worth, mass[root]) / trees
            if whole > 0.0:
                factor *= score / whole
            for k in range(width):
                out[r, 0, k] += factor * part[k]
                out[r, 1, k] += factor * part[width + k]


def worth_attribution(trees: Any, X: NDArray[np.float32], worth: Worth) -> NDArray[np.float64]:
    """Parts of scores by any worth of depths, shape (n, 2, d): high, low."""
    X, width = readable(X, np.float32), trees.width
    out = np.zeros((len(X), 2, width))

    def task(rows: slice, forest: int, path: NDArray[np.int64], part: NDArray[np.float64]) -> None:
        shadow = part[2 * width :].view(np.float32)
        _attribute(forest, X[rows], worth, out[rows], path, part[: 2 * width], shadow)

    asked(trees, len(X), task, trees.capacity, 3 * width)
    return out


def attribution(
    trees: Any, X: NDArray[np.float32], leaf: str = "container"
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Parts of the score by coordinate.

    Parameters
    ----------
    trees : CutTrees
    X : ndarray of float32, shape (n, d)
    leaf : {"container", "library"}
        See `CutTrees.scores`.

    Returns
    -------
    high, low : ndarray of float64, shape (n, d)
        What a coordinate adds to the score by being great, and by being small. All of a row add up
        to its score.
    """
    parts = worth_attribution(trees, X, worth_of(leaf))
    # Scores are folded in float32; the parts are to add up to them.
    sums, scores = parts.sum(axis=(1, 2)), trees.scores(X, leaf)
    parts *= np.divide(scores, sums, out=np.zeros(len(X)), where=sums > 0)[:, None, None]
    return parts[:, 0], parts[:, 1]
