"""Random cut trees that follow a stream: each keeps a sample of the rows, recent ones rather.

A row of weight w that comes as number t has in each tree a key E / (w exp(decay t)), E exponential,
and a tree holds the rows of the smallest keys (Efraimidis and Spirakis, 2006, with weights that
grow). Nothing is drawn for rows that a full tree does not take: the next one that it takes is the
first where the sum of w exp(decay t) exceeds what it was by an exponential number over the greatest
key, which is drawn once, and the key of that row is an exponential number that is known to be less.
"""

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from smalgos._jit import kernel
from smalgos.kernels.cpu.cut_files import check
from smalgos.kernels.cpu.cut_layout import CAPACITY, MASS, ROOTS, SPACE, STREAM, TREES, WIDTH
from smalgos.kernels.cpu.cut_memory import Table, doubles, floats, ints, longs, word
from smalgos.kernels.cpu.cut_scores import (
    BEGIN,
    DONE,
    DONE_TO,
    END,
    NODE,
    ROOM,
    ROW,
    TO,
    new_list,
    score_walks,
)
from smalgos.kernels.cpu.cut_terms import LIBRARY, scale_of, score_of_one
from smalgos.kernels.cpu.cut_trees import CutTrees, tree_keys
from smalgos.kernels.cpu.cut_updates import (
    DRAWN,
    KEYS_OF_TREES,
    SPARE_INNER,
    SPARE_LEAVES,
    delete,
    draw,
    insert,
)
from smalgos.kernels.cpu.shared import Lent, chunks, readable, run
from smalgos.kernels.cpu.vector import borrowed

BLOCK = 1024  # rows that a tree takes before the next one does, while it is in cache
TOGETHER = 128  # trees that do so where there is but one row
GROUP = 8  # trees that share a list of walks: what one scores between two changes fills it badly
FARTHEST = 50.0  # decay * rows after which keys are put on a new base

# Places in the table. HEAP: keys, the greatest first as a heap has it; HELD: leaf of each; ARRIVED:
# number of the row; NEXT: sum of weights beyond which a full tree takes a row; of rows of a block:
# GAIN, what each adds to the sum, and SUM, the sum with it; STATE, COUNTS: see below; ONE: room for
# the scores of one row.
HEAP, HELD, ARRIVED, NEXT, GAIN, SUM, STATE, COUNTS, ONE = range(STREAM + 8, STREAM + 26, 2)
SAMPLES = {  # of `CutStream.arrays`, beside those of the trees
    "keys": np.float64, "held": np.int32, "arrived": np.int64, "sizes": np.int64,
    "drawn": np.int64, "next": np.float64,
}  # fmt: skip
DECAY, TOTAL, ACCEPT = range(3)  # of STATE: decay, sum of weights so far, initial accept fraction
SEEN, BASE = range(2)  # of COUNTS: rows so far, row that keys are relative to


class CutStream:
    """A forest that follows a stream, one point at a time.

    Parameters
    ----------
    trees, capacity, width : int
        Number of trees, of rows that each holds, of coordinates.
    decay : float
        A row k rows older is held as if its weight were exp(-decay * k) of a new one's.
    initial_accept_fraction : float
        Trees take all rows until that share of their room is full, then fewer and fewer.
    seed : int

    Raises
    ------
    ValueError
        If one of them is out of range.

    Attributes
    ----------
    trees : CutTrees
        As they stand; changed in place by updates.
    seen : int
        Rows so far.
    """

    def __init__(
        self, trees: int, capacity: int, width: int, decay: float,
        initial_accept_fraction: float = 1.0, seed: int = 0,
    ) -> None:  # fmt: skip
        _check_decay(decay)
        if not 0 < initial_accept_fraction <= 1:
            raise ValueError(f"initial_accept_fraction={initial_accept_fraction}: not in (0, 1]")
        self.seed = seed
        self.trees = CutTrees(trees, capacity, width)
        slots = np.arange(trees * capacity, dtype=np.int32)
        self._inner, self._leaf = slots, slots + np.int32(trees * capacity)
        self._keys = tree_keys(seed, trees, "random cut stream").view(np.int64)
        self._drawn = np.zeros(trees, np.int64)
        self._heap = np.zeros((trees, capacity))
        self._held = np.zeros((trees, capacity), np.int32)
        self._arrived = np.zeros((trees, capacity), np.int64)
        self._next = np.zeros(trees)
        self._state = np.array([decay, 0.0, initial_accept_fraction])
        self._counts = np.zeros(2, np.int64)
        self._gain, self._sum = np.zeros(BLOCK), np.zeros(BLOCK)
        self._one = np.zeros((trees, 1))
        self.table = Table(self.trees._entries() | {
            SPARE_INNER: self._inner, SPARE_LEAVES: self._leaf, KEYS_OF_TREES: self._keys,
            DRAWN: self._drawn, HEAP: self._heap, HELD: self._held, ARRIVED: self._arrived,
            NEXT: self._next, GAIN: self._gain, SUM: self._sum, STATE: self._state,
            COUNTS: self._counts, ONE: self._one,
        })  # fmt: skip
        self._lists = Lent(new_list)
        self._own = new_list()
        self._address, self._walks = self.table.address, self._own.address

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self).of, (self.arrays(),)  # addresses do not hold elsewhere

    @property
    def seen(self) -> int:
        """Rows so far."""
        return int(self._counts[SEEN])

    @property
    def decay(self) -> float:
        """Of weights, a row."""
        return float(self._state[DECAY])

    def set_decay(self, decay: float) -> None:
        """Let the weights of rows to come grow by another decay; what is held keeps its keys."""
        _check_decay(decay)
        rebase(self.table.address)
        self._state[DECAY] = decay

    def score(self, X: NDArray[np.float32]) -> NDArray[np.float64]:
        """Scores (n,) of rows (n, d) by the trees as they stand."""
        return self.trees.scores(X, "library")

    def update(self, X: NDArray[np.float32], weights: NDArray[np.float64] | None = None) -> None:
        """Take in rows (n, d), one after another; of weight 0: only time goes on."""
        self._follow(X, weights, False)

    def score_update(
        self, X: NDArray[np.float32], weights: NDArray[np.float64] | None = None
    ) -> NDArray[np.float64]:
        """Scores (n,) of rows (n, d), each by the trees as they are before they take it in."""
        return self._follow(X, weights, True)

    def score_update_row(self, x: NDArray[np.float32], weight: float = 1.0) -> float:
        """The same for one row (d,), C-ordered float32; nothing but its length is looked at."""
        return follow_row(self._address, self._walks, x, weight)  # type: ignore[no-any-return]

    def _follow(
        self, X: NDArray[np.float32], weights: NDArray[np.float64] | None, scored: bool
    ) -> NDArray[np.float64]:
        X = self.trees.rows(X)
        weights = np.ones(len(X)) if weights is None else readable(weights, np.float64)
        if weights.shape != (len(X),) or not ((weights >= 0) & (weights < np.inf)).all():
            raise ValueError(f"weights: not {len(X)} finite numbers of at least 0")
        out = np.zeros(len(X) if scored else 0)
        each = np.zeros((self.trees.trees, BLOCK if scored else 0))
        first = 0
        while first < len(X):
            n = advance(self.table.address, weights[first : first + BLOCK])
            rows = X[first : first + n]

            def task(part: slice, rows: NDArray[np.float32] = rows, n: int = n) -> None:
                walks = self._lists.get()
                follow(
                    self.table.address, walks.address, part.start, part.stop, rows.reshape(-1), n,
                    int(scored), each.reshape(-1), each.shape[1],
                )  # fmt: skip
                self._lists.put(walks)

            run(task, chunks(self.trees.trees, GROUP))
            if scored:
                add_up(each, out[first : first + n])
            first += n
        return out

    def arrivals(self, points: NDArray[np.float32]) -> list[NDArray[np.int64]]:
        """Numbers of the rows that trees hold and that equal points (m, d), ascending."""
        forest = self.trees
        sizes = np.where(forest.roots >= 0, forest.mass[forest.roots], 0)
        used = np.arange(forest.capacity) < sizes[:, None]
        held = forest.points[self._held[used] - forest.trees * forest.capacity]
        row = np.dtype((np.void, 4 * forest.width))
        asked, has = (
            np.ascontiguousarray(x, np.float32).reshape(-1, forest.width).view(row).ravel()
            for x in (points + np.float32(0), held)
        )
        order = np.argsort(has, kind="stable")
        has, arrived = has[order], self._arrived[used][order]
        ends = (np.searchsorted(has, asked, side) for side in ("left", "right"))
        return [np.unique(arrived[a:b]) for a, b in zip(*ends, strict=True)]

    def arrays(self) -> dict[str, Any]:
        """All that it takes to go on, to the same bits: arrays and numbers.

        Those of `CutTrees.plain`, and: keys float64 (S,), held int32 (S,) and arrived int64 (S,),
        of rows that trees hold, tree after tree, in the order of the heap, held: the leaf, by its
        place in the tree's points, arrived: the row's number; sizes int64 (T,), how many of them
        each tree has; drawn int64 (T,); next float64 (T,); trees, capacity, seen, base, seed (int);
        decay, total, initial_accept_fraction (float).
        """
        forest = self.trees
        order, _ = forest.preorder()
        inner = forest.trees * forest.capacity
        points = order[order >= inner]
        place = np.zeros(2 * inner, np.int32)
        begin = np.cumsum(forest.leaves) - forest.leaves
        place[points] = np.arange(len(points)) - np.repeat(begin, forest.leaves)
        sizes = np.where(forest.roots >= 0, forest.mass[forest.roots], 0).astype(np.int64)
        used = np.arange(forest.capacity) < sizes[:, None]
        return forest.plain() | {
            "keys": self._heap[used], "held": place[self._held[used]],
            "arrived": self._arrived[used], "sizes": sizes,
            "drawn": self._drawn.copy(), "next": self._next.copy(), "trees": forest.trees,
            "capacity": forest.capacity, "seen": self.seen, "base": int(self._counts[BASE]),
            "seed": self.seed, "decay": self.decay, "total": float(self._state[TOTAL]),
            "initial_accept_fraction": float(self._state[ACCEPT]),
        }  # fmt: skip

    @classmethod
    def of(cls, arrays: Mapping[str, Any]) -> Self:
        """The stream of `arrays`.

        Raises
        ------
        ValueError
            Unless the arrays are those of a stream.
        """
        check_stream(arrays)
        stream = cls(
            int(arrays["trees"]), int(arrays["capacity"]), arrays["points"].shape[1],
            float(arrays["decay"]), float(arrays["initial_accept_fraction"]), int(arrays["seed"]),
        )  # fmt: skip
        forest = stream.trees
        forest._fill(arrays)
        _check_samples(arrays, forest)
        sizes = arrays["sizes"]
        used = np.arange(forest.capacity) < sizes[:, None]
        stream._heap[used], stream._arrived[used] = arrays["keys"], arrays["arrived"]
        tree = np.repeat(np.arange(forest.trees), sizes)
        stream._held[used] = (forest.trees + tree) * forest.capacity + arrays["held"]
        stream._drawn[:], stream._next[:] = arrays["drawn"], arrays["next"]
        stream._counts[:] = arrays["seen"], arrays["base"]
        stream._state[TOTAL] = arrays["total"]
        return stream


def _check_decay(decay: float) -> None:
    if not 0 <= decay < np.inf:
        raise ValueError(f"decay={decay}: not finite, or less than 0")


def check_stream(arrays: Mapping[str, Any]) -> None:
    """Raise ValueError unless numbers and shapes are those of a stream."""
    check(arrays)
    trees, capacity = int(arrays["trees"]), int(arrays["capacity"])
    if len(arrays["offsets"]) != trees + 1 or capacity < 1:
        raise ValueError(f"the arrays are not those of {trees} trees of {capacity} points")
    for name, dtype in SAMPLES.items():
        if arrays[name].dtype != dtype or arrays[name].ndim != 1:
            raise ValueError(f"{name}: not an array of {dtype}")
    sizes = arrays["sizes"]
    if any(len(arrays[name]) != trees for name in ("sizes", "drawn", "next")):
        raise ValueError(f"sizes, drawn or next: not of {trees} trees")
    if not ((sizes >= 0) & (sizes <= capacity)).all():
        raise ValueError(f"a tree holds more rows than {capacity}")
    if any(len(arrays[name]) != sizes.sum() for name in ("keys", "held", "arrived")):
        raise ValueError("keys, held or arrived: not of the rows that the trees hold")
    if not (arrays["keys"] >= 0).all() or np.isnan(arrays["next"]).any():
        raise ValueError("a key is less than 0, or not a number")
    if (arrays["drawn"] < 0).any() or not 0 <= int(arrays["base"]) <= int(arrays["seen"]):
        raise ValueError("a count is less than 0, or base greater than seen")
    arrived = arrays["arrived"]
    if not ((arrived >= 0) & (arrived < int(arrays["seen"]))).all():
        raise ValueError("arrived: a row that has not come")
    if not 0 <= float(arrays["total"]) < np.inf:
        raise ValueError(f"total={arrays['total']}: not finite, or less than 0")


def _check_samples(arrays: Mapping[str, Any], forest: CutTrees) -> None:
    """Raise ValueError unless each tree's rows are those of its leaves, in a heap by their keys."""
    keys, held, sizes = arrays["keys"], arrays["held"], arrays["sizes"]
    tree, leaves = np.repeat(np.arange(len(sizes)), sizes), forest.leaves.astype(np.int64)
    if not ((held >= 0) & (held < leaves[tree])).all():
        raise ValueError("held: a leaf that its tree lacks")
    counts = np.bincount((np.cumsum(leaves) - leaves)[tree] + held, minlength=leaves.sum())
    if (counts != arrays["mass"][arrays["feature"] < 0]).any():
        raise ValueError("held: not as often as the masses of the leaves say")
    first = (np.cumsum(sizes) - sizes)[tree]
    place = np.arange(len(keys)) - first
    if (keys > keys[first + np.maximum(place - 1, 0) // 2]).any():
        raise ValueError("keys: not in the order of a heap")


@kernel(fastmath=False)
def rebase(stream):
    """Make keys and sums relative to the next row, before exp(decay * rows) grows out of hand."""
    state, counts = doubles(stream, STATE), longs(stream, COUNTS)
    heap, after = doubles(stream, HEAP), doubles(stream, NEXT)
    factor = np.exp(min(state[DECAY] * (counts[SEEN] - counts[BASE]), 700.0))
    for i in range(heap.size):
        heap[i] *= factor
    for i in range(after.size):
        after[i] /= factor
    state[TOTAL] /= factor
    counts[BASE] = counts[SEEN]


@kernel(fastmath=False)
def weigh(stream, i, weight):
    """Note what row i of a block adds to the sum."""
    state, counts = doubles(stream, STATE), longs(stream, COUNTS)
    gain, total = doubles(stream, GAIN), doubles(stream, SUM)
    gain[i] = weight * np.exp(state[DECAY] * (counts[SEEN] - counts[BASE]))
    state[TOTAL] += gain[i]
    total[i] = state[TOTAL]
    counts[SEEN] += 1


@kernel(fastmath=False)
def is_far(stream):
    """Whether keys want another base."""
    state, counts = doubles(stream, STATE), longs(stream, COUNTS)
    return state[DECAY] * (counts[SEEN] - counts[BASE]) > FARTHEST


@kernel(fastmath=False)
def advance(stream, weights):
    """Begin a block of rows of weights (n,) float64; returns how many are in it.

    It ends where the next row needs another base, wherever the caller's blocks do.
    """
    if is_far(stream):
        rebase(stream)
    for i in range(len(weights)):
        if is_far(stream):
            return i
        weigh(stream, i, weights[i])
    return len(weights)


@kernel(fastmath=False)
def follow_row(stream, walks, x, weight):
    """Score of one row (d,) float32 by all trees, which then take it in."""
    if len(x) != word(stream, WIDTH):
        raise ValueError("the row is not as wide as the trees")
    if is_far(stream):
        rebase(stream)
    one = np.int64(1)  # as a variable: for a constant numba compiles all that is called once more
    weigh(stream, one - one, weight)
    trees, scores = word(stream, TREES), doubles(stream, ONE)
    for first in range(0, trees, TOGETHER):
        last = min(trees, first + TOGETHER)
        follow(stream, walks, first, last, x, one, one, scores, one)
    total = 0.0
    for tree in range(trees):
        total += scores[tree]
    return total / trees


@kernel(fastmath=False)
def follow(stream, walks, first, last, rows, n, scored, scores, room):
    """Let trees `first` to `last` (not included) follow the block that `advance` has begun.

    Each round scores the rows up to the next that a tree takes, for all trees together.

    stream, walks   addresses of tables
    rows            (n * d,) float32                                                   in
    scored          1 if rows are scored before they are taken in, else 0
    scores          (T * room,) float64, of each tree, `room` >= n apart               out
    """
    rows, scores, library = borrowed(rows), borrowed(scores), np.int64(LIBRARY)
    width, inner = word(stream, WIDTH), word(stream, TREES) * word(stream, CAPACITY)
    space, mass, roots = floats(stream, SPACE), ints(stream, MASS), ints(stream, ROOTS)
    node, row, to = ints(walks, NODE), ints(walks, ROW), ints(walks, TO)
    done, done_to = floats(walks, DONE), ints(walks, DONE_TO)
    begin, end = longs(walks, BEGIN), longs(walks, END)
    for i in range(last - first):
        begin[i] = 0
    most, going = ROOM // (last - first), True
    came = longs(stream, COUNTS)[SEEN] - n  # rows before the block
    while going:
        count, going = np.int64(0), False
        for i in range(last - first):
            limit = min(n, begin[i] + most)
            taken = row_taken(stream, first + i, begin[i], limit)
            end[i] = min(taken + 1, limit)
            if scored:
                root, to_tree = np.int64(roots[first + i]), (first + i) * room
                if root >= inner or root < 0:
                    for k in range(begin[i], end[i]):
                        scores[to_tree + k] = 0.0
                        if root >= 0:
                            scores[to_tree + k] = scale_of(mass[root]) * score_of_one(
                                space, mass, root, inner, rows, k * width, width, library
                            )
                else:
                    for k in range(begin[i], end[i]):
                        node[count], row[count], to[count] = root, k * width, to_tree + k
                        count += 1
        if count > 0:
            score_walks(stream, walks, rows, count, library)
            for k in range(count):
                tree = np.int64(done_to[k]) // room
                scores[done_to[k]] = scale_of(mass[roots[tree]]) * np.float64(done[k])
        for i in range(last - first):
            if end[i] > begin[i]:
                take(stream, first + i, rows, end[i] - 1, width, came + end[i] - 1)
                begin[i] = end[i]
            going = going or end[i] < n


@kernel(fastmath=False)
def row_taken(stream, tree, begin, limit):
    """The first of rows begin, begin + 1, ... that a tree may take; limit if none is before it."""
    capacity, root = word(stream, CAPACITY), ints(stream, ROOTS)[tree]
    if root < 0 or ints(stream, MASS)[root] < capacity:
        return begin
    beyond, total = doubles(stream, NEXT)[tree], doubles(stream, SUM)
    while begin < limit and total[begin] <= beyond:
        begin += 1
    return begin


@kernel(fastmath=False)
def take(stream, tree, rows, i, width, number):
    """Let a tree take row i of the block, if it does, for the row of the greatest key if full.

    number   of the row, in the stream
    """
    capacity, root = word(stream, CAPACITY), np.int64(ints(stream, ROOTS)[tree])
    heap, held, arrived = doubles(stream, HEAP), ints(stream, HELD), longs(stream, ARRIVED)
    after, gain, total = doubles(stream, NEXT), doubles(stream, GAIN), doubles(stream, SUM)
    size = np.int64(ints(stream, MASS)[root]) if root >= 0 else np.int64(0)
    top = tree * capacity
    if size == capacity:
        if total[i] <= after[tree]:
            return
        delete(stream, tree, np.int64(held[top]))
        leaf = insert(stream, tree, rows, i * width)
        key = -np.log1p(draw(stream, tree) * np.expm1(-heap[top] * gain[i])) / gain[i]
        sift_down(heap, held, arrived, top, capacity, key, leaf, number)
    else:
        if gain[i] <= 0.0:
            return
        key = -np.log(draw(stream, tree)) / gain[i]
        chance = chance_of(size / capacity, doubles(stream, STATE)[ACCEPT])
        if chance >= 1.0 or draw(stream, tree) < chance:
            leaf = insert(stream, tree, rows, i * width)
            sift_up(heap, held, arrived, top, size, key, leaf, number)
            size += 1
        elif size > 0 and key < heap[top]:
            delete(stream, tree, np.int64(held[top]))
            leaf = insert(stream, tree, rows, i * width)
            sift_down(heap, held, arrived, top, size, key, leaf, number)
        if size < capacity:
            return
    after[tree] = total[i] - np.log(draw(stream, tree)) / heap[top]


@kernel(fastmath=False)
def chance_of(filled, fraction):
    """With what chance a tree that is not full takes a row, whatever its key."""
    if filled < fraction:
        return 1.0
    return 1.0 - (filled - fraction) / (1.0 - fraction)


@kernel(fastmath=False)
def sift_up(heap, held, arrived, top, size, key, leaf, number):
    """Add a key to a heap of `size` keys."""
    i = size
    while i > 0:
        parent = (i - 1) >> 1
        if heap[top + parent] >= key:
            break
        heap[top + i], held[top + i] = heap[top + parent], held[top + parent]
        arrived[top + i] = arrived[top + parent]
        i = parent
    heap[top + i], held[top + i], arrived[top + i] = key, leaf, number


@kernel(fastmath=False)
def sift_down(heap, held, arrived, top, size, key, leaf, number):
    """Put a key in the place of the greatest."""
    i = np.int64(0)
    while 2 * i + 1 < size:
        child = 2 * i + 1
        child += np.int64(heap[top + min(child + 1, size - 1)] > heap[top + child])
        if heap[top + child] <= key:
            break
        heap[top + i], held[top + i] = heap[top + child], held[top + child]
        arrived[top + i] = arrived[top + child]
        i = child
    heap[top + i], held[top + i], arrived[top + i] = key, leaf, number


@kernel(fastmath=False)
def add_up(each, out):
    """Mean over the trees: each (T, at least n) float64 in, out (n,) float64 out."""
    for i in range(len(out)):
        out[i] = 0.0
    for tree in range(len(each)):
        for i in range(len(out)):
            out[i] += each[tree, i]
    for i in range(len(out)):
        out[i] /= len(each)
