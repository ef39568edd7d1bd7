"""Random cut trees (Guha, Mishra, Roy, Schrijvers, ICML 2016) in flat arrays: where what is.

A forest has T trees of room for C points each, of d coordinates. Nodes have numbers that hold for
the whole forest:

    tree * C + i             inner node i of a tree, 0 <= i < C   (C - 1 of them at most are in use)
    T * C + tree * C + j     leaf j of a tree,       0 <= j < C

so that a node is a leaf if its number is at least ``inner = T * C``. Points that are equal share a
leaf, which has a mass. A point goes left where its coordinate is not greater than the cut.

    records   (T * C, 4) int32    of inner nodes: bits of the cut, a float32; the feature; left
                                  child; right child. `cuts` is the same memory as float32.
    space     float32             what lies in it:
      boxes   (T * C, 2, d)       of inner nodes: lower sides, upper sides; hulls of the points
      points  (T * C, d)          of leaves: node n's is points[n - inner], at flat (inner + n) * d
    sides     (T * C,) float32    of inner nodes: sum of the sides of the box
    parents   (2 * T * C,) int32  of all nodes; -1: a root
    mass      (2 * T * C,) int32  of all nodes: points below, as often as they were given
    roots     (T,) int32          -1: an empty tree
    leaves    (T,) int32          of each tree

What lies in slots that are not in use has no meaning. Kernels find these arrays, flat, in a table
(`cut_memory.Table`) under TREES, CAPACITY, WIDTH (numbers), RECORDS, SPACE, SIDES, ...: see
`floats`, `ints` there.
"""

from smalgos._jit import kernel

# Places in the table of a forest.
TREES, CAPACITY, WIDTH = range(3)
RECORDS, SPACE, SIDES, PARENTS, MASS, ROOTS, LEAVES = range(4, 18, 2)
STREAM = 18  # what a stream adds begins here

CUT, FEATURE, LEFT, RIGHT = range(4)  # of a record


@kernel(fastmath=False, inline="always")
def low_of(node, inner, width):
    """Where the lower sides of a node's box are in `space`; of a leaf: its point."""
    return 2 * width * node if node < inner else (inner + node) * width


@kernel(fastmath=False, inline="always")
def high_of(low, node, inner, width):
    """Where its upper sides are."""
    return low + width if node < inner else low
