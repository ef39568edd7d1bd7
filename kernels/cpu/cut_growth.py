"""Trees grown from their samples, top down."""

import numpy as np

from smalgos._jit import kernel
from smalgos.kernels.cpu.cut_boxes import hull, place
from smalgos.kernels.cpu.cut_layout import (
    CAPACITY,
    FEATURE,
    LEAVES,
    LEFT,
    MASS,
    PARENTS,
    RECORDS,
    ROOTS,
    SIDES,
    SPACE,
    TREES,
    WIDTH,
)
from smalgos.kernels.cpu.cut_memory import floats, ints, uniform, word
from smalgos.kernels.cpu.cut_pairs import beyond, but_not, count_true, squeeze
from smalgos.kernels.cpu.vector import LANES, borrowed, lanes_below, load, store, store_part


@kernel(fastmath=False)
def grow(forest, first, last, samples, starts, keys, order, aside, queue):
    """Grow trees `first` to `last` (not included).

    forest    address of the forest's table                                    in, out
    samples   (n, d) float32                                                   in
    starts    (T + 1,) int64, of each tree's rows in samples                   in
    keys      (T,) uint64                                                      in
    order     (C + 16,) int32, scratch; so is aside
    queue     (8 * C,) int64, scratch
    """
    inner, capacity, width = word(forest, TREES), word(forest, CAPACITY), word(forest, WIDTH)
    inner *= capacity
    records, cuts, space = ints(forest, RECORDS), floats(forest, RECORDS), floats(forest, SPACE)
    sides, parents, mass = floats(forest, SIDES), ints(forest, PARENTS), ints(forest, MASS)
    roots, leaves, rows = ints(forest, ROOTS), ints(forest, LEAVES), borrowed(samples)
    for tree in range(first, last):
        origin, n = starts[tree] * width, starts[tree + 1] - starts[tree]
        for i in range(n):
            order[i] = i
        node, leaf, drawn = tree * capacity, inner + tree * capacity, np.int64(0)
        # Level by level: the processor works on some nodes at a time, which wait for nothing of
        # each other.
        queue[0], queue[1], queue[2], queue[3] = 0, n, -1, 0
        at, free = np.int64(0), np.int64(4 if n > 0 else 0)
        while at < free:
            begin, end, parent, side = queue[at], queue[at + 1], queue[at + 2], queue[at + 3]
            at += 4
            total = np.float32(0)
            if end - begin > 1:
                total = hull(space, 2 * width * node, rows, origin, order, begin, end, width)
            if total > np.float32(0):
                this = node
                node += 1
                drawn += 1
                feature, cut = choose(
                    space, 2 * width * this, width, total, uniform(keys[tree], drawn)
                )
                sides[this], cuts[4 * this] = total, cut
                records[4 * this + FEATURE] = feature
                middle, others = begin, np.int64(0)
                for k in range(begin, end, LANES):
                    numbers, there = load(order, k), lanes_below(end - k)
                    right = beyond(there, rows, origin + feature, numbers, width, cut)
                    left = but_not(there, right)
                    more = count_true(left)
                    store(aside, others, squeeze(right, numbers, numbers))
                    store_part(order, middle, more, squeeze(left, numbers, numbers))
                    others += count_true(right)
                    middle += more
                for k in range(0, others, LANES):
                    store_part(order, middle + k, others - k, load(aside, k))
                queue[free], queue[free + 1] = begin, middle
                queue[free + 2], queue[free + 3] = this, 0
                queue[free + 4], queue[free + 5] = middle, end
                queue[free + 6], queue[free + 7] = this, 1
                free += 8
            else:
                this = leaf
                leaf += 1
                point = origin + np.int64(order[begin]) * width
                place(space, (inner + this) * width, rows, point, width)
            mass[this], parents[this] = end - begin, parent
            if parent < 0:
                roots[tree] = this
            else:
                records[4 * parent + LEFT + side] = this
        leaves[tree] = leaf - inner - tree * capacity


@kernel(fastmath=False)
def choose(space, low, width, total, u):
    """Feature and value of a random cut of a box: u of the way along its sides, end to end."""
    along, passed, below, feature = u * np.float64(total), 0.0, 0.0, np.int64(0)
    for k in range(width):  # without a branch: none would be foreseen
        passed += np.float64(space[low + width + k] - space[low + k])
        before = passed <= along
        feature += np.int64(before)
        below = passed if before else below
    if feature == width:  # by rounding: the last side that there is
        feature -= 1
        while space[low + width + feature] <= space[low + feature]:
            feature -= 1
        below = along
    start, stop = space[low + feature], space[low + width + feature]
    cut = np.float32(np.float64(start) + (along - below))
    if not cut < stop:  # by rounding, or since the sides are beyond float32
        cut = np.nextafter(stop, start)
    return feature, cut
