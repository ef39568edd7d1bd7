"""Points that come into a random cut tree and leave it, on one path between root and leaf.

Either leaves a tree that is distributed as if it had been grown from the points that it then holds
(Guha and others, 2016, section 2).
"""

import numpy as np

from smalgos._jit import kernel
from smalgos.kernels.cpu.cut_boxes import gap, place, unite
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
    STREAM,
    TREES,
    WIDTH,
    high_of,
    low_of,
)
from smalgos.kernels.cpu.cut_memory import floats, ints, longs, uniform, word

# Places in the table that nodes come from: those not in use stand at the ends of stacks, from
# place `leaves` of the tree on (inner ones: leaves - 1); and each tree's random numbers.
SPARE_INNER, SPARE_LEAVES, KEYS_OF_TREES, DRAWN = range(STREAM, STREAM + 8, 2)


@kernel(fastmath=False)
def draw(forest, tree):
    """The tree's next random number in (0, 1)."""
    drawn = longs(forest, DRAWN)
    drawn[tree] += 1
    return uniform(longs(forest, KEYS_OF_TREES)[tree], drawn[tree])


@kernel(fastmath=False)
def insert(forest, tree, rows, x):
    """Take in the point at rows[x:]; returns its leaf.

    Going down, a node is cut off from the point with the chance that the gap between them has of
    the sides of the box around both; else its box grows, and the point goes on.
    """
    inner, width = word(forest, TREES) * word(forest, CAPACITY), word(forest, WIDTH)
    records, cuts, space = ints(forest, RECORDS), floats(forest, RECORDS), floats(forest, SPACE)
    sides, parents, mass = floats(forest, SIDES), ints(forest, PARENTS), ints(forest, MASS)
    roots, leaves = ints(forest, ROOTS), ints(forest, LEAVES)
    used = tree * word(forest, CAPACITY) + np.int64(leaves[tree])
    leaf = np.int64(ints(forest, SPARE_LEAVES)[used])
    at = (inner + leaf) * width
    place(space, at, rows, x, width)
    node = np.int64(roots[tree])
    if node < 0:
        roots[tree], parents[leaf], mass[leaf], leaves[tree] = leaf, -1, 1, 1
        return leaf
    while True:
        low = low_of(node, inner, width)
        high = high_of(low, node, inner, width)
        apart = gap(space, low, high, space, at, width)
        if apart > np.float32(0):
            total = sides[node] if node < inner else np.float32(0)
            along = draw(forest, tree) * (np.float64(total) + np.float64(apart))
            if along < apart or node >= inner:
                break
            sides[node] = unite(space, low, low, high, at, at, width)[0]
        mass[node] += 1
        if node >= inner:
            return node
        right = np.int64(space[at + records[4 * node + FEATURE]] > cuts[4 * node])
        node = np.int64(records[4 * node + LEFT + right])

    feature, cut, is_right = cut_between(space, low, high, at, width, along)
    new = np.int64(ints(forest, SPARE_INNER)[used - 1])
    leaves[tree] += 1
    sides[new] = unite(space, 2 * width * new, low, high, at, at, width)[0]
    cuts[4 * new], records[4 * new + FEATURE] = cut, feature
    records[4 * new + LEFT + is_right] = leaf
    records[4 * new + RIGHT - is_right] = node
    above = np.int64(parents[node])
    parents[new], parents[node], parents[leaf] = above, new, new
    mass[leaf], mass[new] = 1, mass[node] + 1
    if above < 0:
        roots[tree] = new
    else:
        records[4 * above + LEFT + np.int64(records[4 * above + RIGHT] == node)] = new
    return leaf


@kernel(fastmath=False)
def cut_between(space, low, high, at, width, along):
    """Feature and value of a cut between a box and a point, `along` the gaps, end to end.

    Third: 1 if the point is right of it, else 0.
    """
    passed, below, feature = 0.0, 0.0, np.int64(-1)
    for k in range(width):
        x = space[at + k]
        apart = np.float64(max(space[low + k] - x, x - space[high + k]))
        if apart > 0.0:
            feature, below = k, passed
            passed += apart
            if passed > along:
                break
    x = space[at + feature]
    is_right = np.int64(x > space[high + feature])
    start = space[high + feature] if is_right else x
    stop = x if is_right else space[low + feature]
    cut = np.float32(np.float64(start) + (along - below))
    if not cut < stop:  # by rounding, or since the sides are beyond float32
        cut = np.nextafter(stop, start)
    return feature, cut, is_right


@kernel(fastmath=False)
def delete(forest, tree, leaf):
    """Take one unit of mass from a leaf; an empty one goes, and the cut above it."""
    inner, width = word(forest, TREES) * word(forest, CAPACITY), word(forest, WIDTH)
    records, space = ints(forest, RECORDS), floats(forest, SPACE)
    sides, parents, mass = floats(forest, SIDES), ints(forest, PARENTS), ints(forest, MASS)
    roots, leaves = ints(forest, ROOTS), ints(forest, LEAVES)
    mass[leaf] -= 1
    node, shrinks = np.int64(parents[leaf]), False
    if mass[leaf] == 0:
        leaves[tree] -= 1
        used = tree * word(forest, CAPACITY) + np.int64(leaves[tree])
        ints(forest, SPARE_LEAVES)[used] = leaf
        if node < 0:
            roots[tree] = -1
            return
        ints(forest, SPARE_INNER)[used - 1] = node
        sibling = np.int64(records[4 * node + LEFT] + records[4 * node + RIGHT]) - leaf
        above = np.int64(parents[node])
        parents[sibling] = above
        if above < 0:
            roots[tree] = sibling
            return
        records[4 * above + LEFT + np.int64(records[4 * above + RIGHT] == node)] = sibling
        node, shrinks = above, True
    while node >= 0:
        mass[node] -= 1
        if shrinks:
            one, other = np.int64(records[4 * node + LEFT]), np.int64(records[4 * node + RIGHT])
            low, other_low = low_of(one, inner, width), low_of(other, inner, width)
            total, shrinks = unite(
                space, 2 * width * node, low, high_of(low, one, inner, width),
                other_low, high_of(other_low, other, inner, width), width,
            )  # fmt: skip
            sides[node] = total
        node = np.int64(parents[node])
