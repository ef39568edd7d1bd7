"""Scores: the expected inverse depth of rows in trees (Guha and others, 2016).

A walk goes down to a leaf and up again, until a box holds the row: below it has been cut off with
the chance that the gap has of the box's sides and the gap. What it meets on its way up differs from
walk to walk, so walks stand in a list: each pass takes all of them one box further up, sixteen at a
time, and those that are done leave the list. No branch depends on one walk.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from smalgos._jit import kernel
from smalgos.kernels.cpu.cut_boxes import gap
from smalgos.kernels.cpu.cut_layout import (
    CAPACITY,
    MASS,
    PARENTS,
    RECORDS,
    ROOTS,
    SIDES,
    SPACE,
    TREES,
    WIDTH,
)
from smalgos.kernels.cpu.cut_memory import Table, floats, ints, word
from smalgos.kernels.cpu.cut_pairs import (
    any_below,
    both,
    but_not,
    count_true,
    deeper,
    gaps_of,
    gather,
    squeeze,
    step,
)
from smalgos.kernels.cpu.cut_terms import (
    LEAF,
    held,
    inverse,
    one_less,
    raised,
    scale_of,
    score_of_one,
)
from smalgos.kernels.cpu.shared import Lent, chunks, run
from smalgos.kernels.cpu.vector import LANES, borrowed, lanes_below, load, splat, store

ROWS, FEW = 2048, 512  # of a task: as many as a forest is worth fetching for, or for all threads
ROOM = 512  # walks of a list
WIDE = 2 * LANES  # walks that go down together, so that they wait for memory together

# Places in the table of a list: of walks, the node, the row's place, the depth, the score so far,
# where it goes, its leaf; and the score and where it goes of those that are done. NOTES: sixteen
# gaps. FOUND: scores by where they go. BEGIN, END: of trees that follow a stream, the rows that
# they score in a round.
NODE, ROW, DEPTH, SCORE, TO, DONE, DONE_TO, NOTES, BEGIN, END, REACHED, FOUND = range(0, 24, 2)


def new_list() -> Table:
    """Room for a list of walks, and for what is written sixteen wide behind them."""
    room = ROOM + WIDE
    numbers, reals = np.zeros((5, room), np.int32), np.zeros((4, room), np.float32)
    return Table({
        NODE: numbers[0], ROW: numbers[1], TO: numbers[2], DONE_TO: numbers[3], REACHED: numbers[4],
        DEPTH: reals[0], SCORE: reals[1], DONE: reals[2], FOUND: reals[3],
        NOTES: np.zeros(LANES, np.float32),
        BEGIN: np.zeros(ROOM, np.int64), END: np.zeros(ROOM, np.int64),
    })  # fmt: skip


_lists = Lent(new_list)


def scores(forest: Any, X: NDArray[np.float32], leaf: str = "container") -> NDArray[np.float64]:
    """See `CutTrees.scores`."""
    X = forest.rows(X)
    out = np.zeros(len(X))

    def task(rows: slice) -> None:
        walks = _lists.get()
        score_rows(forest.table.address, walks.address, X[rows], LEAF.index(leaf), out[rows])
        _lists.put(walks)

    run(task, chunks(len(X), ROWS if len(X) > 4 * ROWS else FEW))
    return out


def score(forest: Any, x: NDArray[np.float32], leaf: str) -> float:
    """See `CutTrees.score`."""
    walks, out = _lists.get(), np.zeros(1)
    score_rows(forest.table.address, walks.address, x[None], LEAF.index(leaf), out)
    _lists.put(walks)
    return float(out[0])


@kernel(fastmath=False)
def score_rows(forest, walks, X, term, out):
    """Scores of rows, which are added up in the order of the trees.

    forest, walks   addresses of tables
    X               (n, d) float32                                                     in
    term            CONTAINER or LIBRARY
    out             (n,) float64, zeros                                                in, out
    """
    trees, width = word(forest, TREES), word(forest, WIDTH)
    inner = trees * word(forest, CAPACITY)
    space, mass, roots = floats(forest, SPACE), ints(forest, MASS), ints(forest, ROOTS)
    node, row, to = ints(walks, NODE), ints(walks, ROW), ints(walks, TO)
    done, done_to, found = floats(walks, DONE), ints(walks, DONE_TO), floats(walks, FOUND)
    rows, n = borrowed(X), len(X)
    for first in range(0, n, ROOM):
        m = min(ROOM, n - first)
        for tree in range(0, trees, ROOM // m):  # trees that share a list
            last, count = min(trees, tree + ROOM // m), np.int64(0)
            for t in range(tree, last):
                root = np.int64(roots[t])
                if 0 <= root < inner:
                    for k in range(m):
                        node[count], row[count] = root, (first + k) * width
                        to[count] = (t - tree) * m + k
                        count += 1
            if count > 0:
                score_walks(forest, walks, rows, count, term)
            for i in range(count):
                found[done_to[i]] = done[i]
            for t in range(tree, last):
                root = np.int64(roots[t])
                if root < 0:
                    continue
                scale = scale_of(mass[root])
                for k in range(m):
                    if root < inner:
                        score = np.float64(found[(t - tree) * m + k])
                    else:
                        score = score_of_one(
                            space, mass, root, inner, rows, (first + k) * width, width, term
                        )
                    out[first + k] += scale * score
    for i in range(n):
        out[i] /= trees


@kernel(fastmath=False)
def score_walks(forest, walks, rows, count, term):
    """Score `count` walks, which begin at roots that are no leaves: NODE, ROW and TO of the list.

    What comes of them is in DONE and DONE_TO, in another order.
    """
    width, inner = word(forest, WIDTH), word(forest, TREES) * word(forest, CAPACITY)
    records, space = ints(forest, RECORDS), floats(forest, SPACE)
    sides, parents = floats(forest, SIDES), ints(forest, PARENTS)
    node, row, to = ints(walks, NODE), ints(walks, ROW), ints(walks, TO)
    depth, score, leaf = floats(walks, DEPTH), floats(walks, SCORE), ints(walks, REACHED)
    done, done_to = floats(walks, DONE), ints(walks, DONE_TO)
    notes = floats(walks, NOTES)

    for k in range(count, (count + WIDE - 1) // WIDE * WIDE):  # fill up with any
        node[k], row[k] = node[0], row[0]
    for k in range(0, count, WIDE):
        a, b = load(node, k), load(node, k + LANES)
        x, y = load(row, k), load(row, k + LANES)
        down, deep = splat(np.float32(0)), splat(np.float32(0))
        while any_below(a, inner) or any_below(b, inner):
            down, deep = deeper(down, a, inner), deeper(deep, b, inner)
            a, b = step(records, rows, a, x, inner), step(records, rows, b, y, inner)
        store(leaf, k, a)
        store(leaf, k + LANES, b)
        store(node, k, gather(parents, a))
        store(node, k + LANES, gather(parents, b))
        store(depth, k, down)
        store(depth, k + LANES, deep)
        store(score, k, inverse(down))
        store(score, k + LANES, inverse(deep))

    zero, one = splat(np.float32(0)), splat(np.float32(1))
    finished, lowest = np.int64(0), True
    while count > 0:
        left = np.int64(0)
        for k in range(0, count, LANES):
            gaps = gaps_of(space, node, rows, row, k, width)
            if lowest:  # a leaf can equal the row only here
                store(notes, 0, gaps)
                for i in range(min(LANES, count - k)):
                    if notes[i] == np.float32(0):
                        score[k + i] = score_inside(
                            forest, leaf[k + i], rows, row[k + i], depth[k + i], score[k + i], term
                        )
            here, place, goes = load(node, k), load(row, k), load(to, k)
            deep = load(depth, k)
            now = raised(load(score, k), deep, gaps, gather(sides, here))
            there = lanes_below(count - k)
            goes_on = both(both(there, gaps > zero), deep > one)
            stops = but_not(there, goes_on)
            store(node, left, squeeze(goes_on, gather(parents, here), here))
            store(row, left, squeeze(goes_on, place, place))
            store(to, left, squeeze(goes_on, goes, goes))
            store(depth, left, squeeze(goes_on, one_less(deep), deep))
            store(score, left, squeeze(goes_on, now, now))
            left += count_true(goes_on)
            store(done, finished, squeeze(stops, now, now))
            store(done_to, finished, squeeze(stops, goes, goes))
            finished += count_true(stops)
        count, lowest = left, False


@kernel(fastmath=False)
def score_inside(forest, leaf, rows, x, depth, score, term):
    """Score at a leaf of a row that the box above it holds: another one only if it equals."""
    width, inner = word(forest, WIDTH), word(forest, TREES) * word(forest, CAPACITY)
    space, mass, parents = floats(forest, SPACE), ints(forest, MASS), ints(forest, PARENTS)
    node = np.int64(leaf)
    at = (inner + node) * width
    if gap(space, at, at, rows, np.int64(x), width) > np.float32(0):
        return score
    m = mass[node]
    while parents[node] >= 0:
        node = np.int64(parents[node])
    return np.float32(held(m, mass[node], np.float64(depth), term))
