"""Density near a row, interpolated between the boxes of random cut trees.

Three sums are folded from leaf to root as the score's parts are (`cut_attribution`), each apart by
coordinate and direction: how many points are on the other side of a cut that isolates the row
(measure), the probability of such a cut (mass), and how far the other end of the box is from the
row (distance). A row that equals a leaf is taken for new: boxes are those without the leaf. AWS's
open library random-cut-forest-by-aws calls this simple interpolation.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from smalgos._jit import kernel
from smalgos.kernels.cpu.cut_attribution import overshadow
from smalgos.kernels.cpu.cut_queries import asked, descend, opened, outside, sibling, sides_of
from smalgos.kernels.cpu.shared import readable


@kernel
def _interpolate(forest, X, out, path, part, shadow):
    """The three sums.

    forest   address of the forest's table                                           in
    X        (n, d) float32                                                          in
    out      (n, 3, 2, d) float64: measure, mass, distance; high, low; zeros         in, out
    path     (C,) int64                                                              scratch
    part     (6 * d,) float64                                                        scratch
    shadow   (2 * d,) float32                                                        scratch
    """
    trees, width, inner, records, cuts, space, mass, roots = opened(forest)
    for r in range(X.shape[0]):
        for tree in range(trees):
            if roots[tree] < 0:
                continue
            depth = descend(records, cuts, X, r, np.int64(roots[tree]), inner, path)
            leaf = path[depth]
            low, high = sides_of(leaf, inner, width)
            sides = outside(space, low, high, X, r, width)[1]
            held = sides == 0.0
            own = 1.0 + mass[leaf] * held
            for k in range(width):
                apart = np.float64(X[r, k]) - np.float64(space[low + k])
                for side in range(2):
                    at, far = side * width + k, max(-apart if side else apart, 0.0)
                    chance = 0.5 / width if held else far / sides
                    part[at] = chance * (own if held else mass[leaf] + own)
                    part[2 * width + at] = chance
                    part[4 * width + at] = 0.0 if held else chance * far
            box = shadow if held else space
            for level in range(depth - 1, -1, -1):
                node = path[level]
                low, high = 0, width
                if held:
                    other = sibling(records, path, level + 1)
                    overshadow(shadow, level == depth - 1, space, other, inner, width)
                else:
                    low, high = sides_of(node, inner, width)
                gap, sides = outside(box, low, high, X, r, width)
                if gap == 0.0:
                    break
                stays, field = 1.0 - gap / sides, mass[node] + own
                for k in range(width):
                    x = np.float64(X[r, k])
                    lower, upper = np.float64(box[low + k]), np.float64(box[high + k])
                    for side in range(2):
                        at, far = side * width + k, max(lower - x if side else x - upper, 0.0)
                        chance = far / sides
                        part[at] = chance * field + stays * part[at]
                        part[2 * width + at] = chance + stays * part[2 * width + at]
                        more = chance * (far + upper - lower)
                        part[4 * width + at] = more + stays * part[4 * width + at]
            for k in range(2 * width):
                for what in range(3):
                    out[r, what, k // width, k % width] += part[2 * what * width + k] / trees


def densities(
    trees: Any, X: NDArray[np.float32]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """What density near rows is worked out from, means over the trees.

    Parameters
    ----------
    trees : CutTrees
    X : ndarray of float32, shape (n, d)

    Returns
    -------
    measure, mass, distance : ndarray of float64, shape (n, 2, d)
        By direction (high, low) and coordinate.
    """
    X, width = readable(X, np.float32), trees.width
    out = np.zeros((len(X), 3, 2, width))

    def task(rows: slice, forest: int, path: NDArray[np.int64], part: NDArray[np.float64]) -> None:
        shadow = part[6 * width :].view(np.float32)
        _interpolate(forest, X[rows], out[rows], path, part[: 6 * width], shadow)

    asked(trees, len(X), task, trees.capacity, 7 * width)
    return out[:, 0], out[:, 1], out[:, 2]
