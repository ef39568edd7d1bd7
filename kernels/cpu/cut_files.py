"""Trees as plain arrays, for files, and back: each tree's nodes in preorder."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smalgos._jit import kernel
from smalgos.kernels.cpu.cut_boxes import place, unite
from smalgos.kernels.cpu.cut_layout import (
    CAPACITY,
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
    high_of,
    low_of,
)
from smalgos.kernels.cpu.cut_memory import floats, ints, word
from smalgos.kernels.cpu.shared import readable
from smalgos.kernels.cpu.vector import borrowed

PLAIN = {  # of `CutTrees.plain`
    "offsets": np.int64, "feature": np.int32, "cut": np.float32, "left": np.int32,
    "right": np.int32, "mass": np.int32, "point": np.int32, "points": np.float32,
}  # fmt: skip


def check(plain: Mapping[str, NDArray[Any]]) -> None:
    """Raise ValueError unless the arrays are those of trees, each in preorder.

    On which side of cuts the points are is not looked at here.
    """
    for name, dtype in PLAIN.items():
        array = plain[name]
        if array.dtype != dtype or array.ndim != 1 + (name == "points"):
            raise ValueError(f"{name}: not an array of {dtype}")
    offsets, nodes = plain["offsets"], len(plain["feature"])
    if any(len(plain[name]) != nodes for name in ("cut", "left", "right", "mass", "point")):
        raise ValueError("the arrays of nodes differ in length")
    if len(offsets) < 2 or offsets[0] != 0 or offsets[-1] != nodes or (np.diff(offsets) < 0).any():
        raise ValueError("the offsets of the trees do not cut up the nodes")
    width = plain["points"].shape[1]
    if not ((plain["feature"] >= -1) & (plain["feature"] < width)).all():
        raise ValueError(f"a cut is of a feature beyond {width}")
    if not (np.isfinite(plain["cut"]).all() and np.isfinite(plain["points"]).all()):
        raise ValueError("a cut or a point is not finite")
    leaves = np.flatnonzero(plain["feature"] < 0)
    if len(leaves) != len(plain["points"]) or (plain["point"][leaves] != range(len(leaves))).any():
        raise ValueError("the points are not those of the leaves, in their order")
    wrong = first_unsound(
        *(readable(plain[name]) for name in ("offsets", "feature", "left", "right", "mass")),
        np.empty(nodes + 1, np.int64),
    )
    if wrong >= 0:
        raise ValueError(f"node {wrong}: children or masses are not those of a tree in preorder")


@kernel
def preorder(forest, offsets, order):
    """Numbers of each tree's nodes in preorder: offsets (T + 1,) int64 in, order (N,) int64 out."""
    inner = word(forest, TREES) * word(forest, CAPACITY)
    records, parents, roots = ints(forest, RECORDS), ints(forest, PARENTS), ints(forest, ROOTS)
    for tree in range(word(forest, TREES)):
        node = np.int64(roots[tree])
        for at in range(offsets[tree], offsets[tree + 1]):
            order[at] = node
            if node < inner:
                node = np.int64(records[4 * node + LEFT])
                continue
            while True:  # up to where the right side is yet to come
                parent = np.int64(parents[node])
                if parent < 0 or records[4 * parent + RIGHT] != node:
                    break
                node = parent
            if parent >= 0:
                node = np.int64(records[4 * parent + RIGHT])


@kernel(fastmath=False)
def restore(forest, offsets, feature, cut, left, right, masses, point, points):
    """Fill an empty forest from the arrays of `plain`, which must have been checked.

    Children come before parents, so that their boxes can be united. Returns -1, or the number of a
    tree where a point is on the wrong side of a cut.
    """
    inner, capacity, width = word(forest, TREES), word(forest, CAPACITY), word(forest, WIDTH)
    inner *= capacity
    records, cuts, space = ints(forest, RECORDS), floats(forest, RECORDS), floats(forest, SPACE)
    sides, parents, mass = floats(forest, SIDES), ints(forest, PARENTS), ints(forest, MASS)
    roots, leaves = ints(forest, ROOTS), ints(forest, LEAVES)
    number, rows = np.empty(2 * capacity, np.int64), borrowed(points)
    for tree in range(word(forest, TREES)):
        begin, end = offsets[tree], offsets[tree + 1]
        node, leaf = tree * capacity, inner + tree * capacity
        for i in range(begin, end):
            if feature[i] < 0:
                number[i - begin] = leaf
                leaf += 1
            else:
                number[i - begin] = node
                node += 1
        leaves[tree] = leaf - inner - tree * capacity
        for i in range(end - 1, begin - 1, -1):
            this = number[i - begin]
            mass[this] = masses[i]
            if feature[i] < 0:
                place(space, (inner + this) * width, rows, np.int64(point[i]) * width, width)
                continue
            one, other = number[left[i]], number[right[i]]
            parents[one] = parents[other] = this
            cuts[4 * this], records[4 * this + FEATURE] = cut[i], feature[i]
            records[4 * this + LEFT], records[4 * this + RIGHT] = one, other
            low, other_low = low_of(one, inner, width), low_of(other, inner, width)
            high, other_high = (
                high_of(low, one, inner, width),
                high_of(other_low, other, inner, width),
            )
            if not space[high + feature[i]] <= cut[i] < space[other_low + feature[i]]:
                return tree
            sides[this] = unite(space, 2 * width * this, low, high, other_low, other_high, width)[0]
        if end > begin:
            roots[tree] = number[0]
    return -1


@kernel
def first_unsound(offsets, feature, left, right, mass, stack):
    """The first node that has no place in a tree in preorder, or whose mass is wrong; or -1.

    offsets (T + 1,) int64, others (N,) int32: in; stack (N + 1,) int64: scratch.
    """
    for tree in range(len(offsets) - 1):
        first, last, top = offsets[tree], offsets[tree + 1], 0
        for i in range(first, last):
            following = i + 1 - first
            if feature[i] >= 0:
                if left[i] != following or not following < right[i] < last - first:
                    return i
                stack[top] = right[i]
                top += 1
                continue
            if left[i] != -1 or right[i] != -1 or mass[i] < 1:
                return i
            if top == 0:
                if i + 1 < last:
                    return i
            else:
                top -= 1
                if stack[top] != following:
                    return i
        if top > 0:
            return first
        if last > first and feature[last - 1] >= 0:
            return last - 1
        for i in range(first, last):
            if (
                feature[i] >= 0
                and mass[i] != np.int64(mass[first + left[i]]) + mass[first + right[i]]
            ):
                return i
    return -1
