"""A linear classifier of texts over learnt rows of words, as fastText's.

A line is a list of input rows (its words and word n-grams), h their mean, u_j the output row of
label j (Joulin and others, EACL 2017):

    p = softmax(u h),   loss = -log p_y,   g_j = a ((j is y) - p_j),
    e = sum of g_j u_j,   u_j += g_j h,   each of the n input rows += e / n,

one line after another, with the learning rate a. Of several labels one is drawn anew each time the
line comes by. Lines without labels or rows teach nothing.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from smalgos._jit import kernel
from smalgos.errors import UserError
from smalgos.kernels.cpu.losses import exp_negative
from smalgos.kernels.cpu.negatives import bits, key, stream
from smalgos.kernels.cpu.shared import Lent, chunks, readable, run
from smalgos.kernels.cpu.vector import (
    FLOATS,
    LANES,
    borrowed,
    lanes_below,
    load,
    load_part,
    select,
    splat,
    store,
    sum_halves,
    vectors,
)
from smalgos.kernels.cpu.word_rows import (
    add,
    clear,
    dots,
    fetch,
    flat,
    mean,
    mean_of,
    means,
    move,
    padded,
    parts,
    starts,
    within,
)

__all__ = ["Classifier", "means", "probabilities", "starts", "top"]

AHEAD = 24  # rows that are asked for before they are needed
TASK = 4_000  # rows that a thread takes at a time when threads do not wait for each other
LINES = 256  # of a task, when lines are only looked at
DIVERGED = "the weights are no longer finite numbers: the learning rate {rate:g} is too high"

inner = kernel(fastmath=False, forceinline=True)


class Lines(NamedTuple):
    """Lines, and where they are in all of the training.

    rows, row_ends       int32, and (n + 1,) int64: input rows of each line
    labels, label_ends   the same for its labels
    first                int64, number of the first line in the data
    done, total          float64, lines before the first one, and of all of the training
    rate                 float64, at the beginning; falls in a line to 0
    key                  uint64, see `negatives.key`
    """

    rows: NDArray[np.int32]
    row_ends: NDArray[np.int64]
    labels: NDArray[np.int32]
    label_ends: NDArray[np.int64]
    first: int
    done: float
    total: float
    rate: float
    key: int


class Space(NamedTuple):
    """Scratch of one thread.

    h, e     (16 * vectors,) float32
    scores   (16 * ceil(labels / 16),) float32
    order    (labels,) int32, 0, 1, 2, ...
    """

    h: NDArray[np.float32]
    e: NDArray[np.float32]
    scores: NDArray[np.float32]
    order: NDArray[np.int32]


@vectors(FLOATS)
def _exp(v, x, top):
    """exp(x - top)."""
    return exp_negative(v, x - top)


@inner
def _softmax(scores, count):
    """Probabilities in place of scores; the largest score, and log(sum(exp(score - it)))."""
    largest = np.float32(-np.inf)
    for j in range(count):
        largest = max(largest, scores[j])
    total = splat(0.0)
    for j in range(0, count, LANES):
        x = _exp(load_part(scores, j, count - j), splat(largest))
        x = select(lanes_below(count - j), x, splat(0.0))
        store(scores, j, x)
        total = total + x
    whole = sum_halves(total)
    for j in range(0, count, LANES):
        store(scores, j, load(scores, j) / splat(whole))
    return largest, np.log(np.float64(whole))


@kernel(fastmath=False)
def _learn(lines, input, output, space):
    """Learn lines one after another.

    lines           Lines                                                  in
    input, output   (n, 16 * vectors), (labels, 16 * vectors) float32      in, out
    space           Space
    Returns loss summed, lines that taught, their rows; whether all is finite.
    """
    vectors, count = input.shape[1] // LANES, len(output)
    input, output = borrowed(input), borrowed(output)
    rows, ends = borrowed(lines.rows), borrowed(lines.row_ends)
    labels, label_ends = borrowed(lines.labels), borrowed(lines.label_ends)
    h, e, scores = borrowed(space.h), borrowed(space.e), borrowed(space.scores)
    order = borrowed(space.order)
    loss, taught, used, finite = 0.0, 0, 0, True
    last = ends[len(ends) - 1]
    asked = ends[0]
    for i in range(len(ends) - 1):
        at, size = ends[i], ends[i + 1] - ends[i]
        first, several = label_ends[i], label_ends[i + 1] - label_ends[i]
        soon = min(ends[i + 1] + AHEAD, last)
        if soon > asked:
            fetch(input, rows, asked, soon - asked, vectors)
            asked = soon
        if size == 0 or several == 0:
            continue
        label = labels[first]
        if several > 1:
            word = bits(stream(lines.key, lines.first + i), 0) >> np.uint64(32)
            label = labels[first + np.int64((word * np.uint64(several)) >> np.uint64(32))]
        rate = np.float32(lines.rate * max(0.0, 1.0 - (lines.done + i) / lines.total))
        mean(input, rows, at, size, vectors, h, 0)
        clear(e, 0, vectors)
        dots(output, order, 0, count, vectors, h, 0, scores, 0)
        score = scores[label]
        largest, log_sum = _softmax(scores, count)
        loss += log_sum - (np.float64(score) - np.float64(largest))
        right = np.float32(1.0) - scores[label]
        for j in range(0, count, LANES):
            store(scores, j, -splat(rate) * load(scores, j))
        scores[label] = rate * right
        move(output, order, 0, count, vectors, h, scores, e)
        add(input, rows, at, size, vectors, np.float32(1.0) / np.float32(size), e, 0)
        finite &= e[0] - e[0] == 0
        taught += 1
        used += size
    return loss, taught, used, finite


@inner
def _answer(table, columns, rows, at, size, output, order, h, scores):
    """Probabilities of all labels for one line."""
    mean_of(table, columns, rows, at, size, h)
    dots(output, order, 0, len(output), output.shape[1] // LANES, h, 0, scores, 0)
    _softmax(scores, len(output))


@kernel(fastmath=False)
def _probabilities(table, columns, rows, ends, output, order, h, scores, out):
    """Probabilities of lines.

    table, columns   see `mean_of`                                         in
    rows, ends       int32, and (n + 1,) int64                             in
    output           (labels, 16 * vectors) float32                        in
    order, h, scores   see `Space`                                         scratch
    out              (n, labels) float32                                   out
    """
    for i in range(len(ends) - 1):
        _answer(table, columns, rows, ends[i], ends[i + 1] - ends[i], output, order, h, scores)
        for j in range(len(output)):
            out[i, j] = scores[j]


@kernel(fastmath=False)
def _top(table, columns, rows, ends, output, order, h, scores, best, chance):
    """Labels of the largest probabilities; of equal ones, the lower label first.

    best     (n, k) int32                                                  out
    chance   (n, k) float32                                                out
    The others as for `_probabilities`.
    """
    k = best.shape[1]
    for i in range(len(ends) - 1):
        _answer(table, columns, rows, ends[i], ends[i + 1] - ends[i], output, order, h, scores)
        found = 0
        for j in range(len(output)):
            p = scores[j]
            if found == k and not p > chance[i, k - 1]:
                continue
            place = min(found, k - 1)
            while place > 0 and p > chance[i, place - 1]:
                best[i, place], chance[i, place] = best[i, place - 1], chance[i, place - 1]
                place -= 1
            best[i, place], chance[i, place] = j, p
            found = min(found + 1, k)


class Classifier:
    """Input and output rows of a classifier while they are trained.

    Parameters
    ----------
    input : ndarray of float32, shape (rows, d)
        A row for each word, then one for each bucket of word n-grams.
    output : ndarray of float32, shape (labels, d)
    seed : int
    in_place : bool
        Train the rows that are given, which `starts` made, not copies of them.

    Attributes
    ----------
    input, output : ndarray of float32, shape (rows, d) and (labels, d)
        As they are now: views, which training changes.
    """

    def __init__(
        self,
        input: NDArray[np.float32],
        output: NDArray[np.float32],
        seed: int = 0,
        in_place: bool = False,
    ) -> None:
        if input.shape[1] != output.shape[1]:
            raise ValueError("input and output rows differ in width")
        width = input.shape[1]
        self.seed = seed
        self._input, self._output = padded(input, in_place), padded(output, in_place)
        self.input, self.output = self._input[:, :width], self._output[:, :width]
        self._lent: Lent[Space] = Lent(lambda: _scratch(self._output))

    def learn(
        self,
        rows: Any,
        labels: Any,
        first: int,
        epoch: int,
        done: float,
        total: float,
        rate: float,
        deterministic: bool = True,
    ) -> tuple[float, int, int]:
        """Go over some lines once.

        Parameters
        ----------
        rows : Ragged of int32
            Input rows of each line.
        labels : Ragged of int32
            Its labels.
        first : int
            Number of the first line in the data: which of several labels is taken is keyed by
            (seed, epoch, line), so that cuts between calls do not matter.
        epoch : int
        done, total : float
            Lines gone through before, in all epochs, and those of the whole training: the learning
            rate of a line is ``rate * (1 - done / total)``, or 0 from `total` on.
        rate : float
        deterministic : bool
            One line after another, on this thread: the same bytes for any number of threads. Else
            all threads work on the same rows without locks, as fastText does.

        Returns
        -------
        float
            Sum of -log p over the lines, each before its step.
        int
            Lines that had rows and a label.
        int
            Their rows.

        Raises
        ------
        UserError
            If weights are no longer finite.
        ValueError
            If there is no row, or no label, of such a number.
        """
        ids, ends = readable(rows.values, np.int32), readable(rows.offsets, np.int64)
        marks, mark_ends = readable(labels.values, np.int32), readable(labels.offsets, np.int64)
        if len(ends) != len(mark_ends):
            raise ValueError(f"{len(ends) - 1} lines have {len(mark_ends) - 1} lists of labels")
        within(ids[ends[0] : ends[-1]], len(self._input))
        within(marks[mark_ends[0] : mark_ends[-1]], len(self._output))
        word = np.uint64(key(self.seed, "labels", epoch))

        def work(part: slice) -> tuple[float, int, int, bool]:
            space = self._lent.get()
            try:
                here = slice(part.start, part.stop + 1)
                number, before = int(first) + part.start, float(done) + part.start
                lines = Lines(
                    ids, ends[here], marks, mark_ends[here], number, before, float(total),
                    float(rate), word,
                )  # fmt: skip
                found: tuple[float, int, int, bool] = _learn(
                    lines, self._input, self._output, space
                )
                return found
            finally:
                self._lent.put(space)

        n = len(ends) - 1
        found = run(work, ([slice(0, n)] if n else []) if deterministic else parts(ends, TASK))
        if not all(finite for *_, finite in found):
            raise UserError(DIVERGED.format(rate=rate))
        losses, taught, used = ([one[i] for one in found] for i in range(3))
        return float(sum(losses)), sum(taught), sum(used)

    def probabilities(self, rows: Any) -> NDArray[np.float32]:
        """See the function `probabilities`."""
        return probabilities(self.input, self.output, rows)

    def top(self, rows: Any, k: int) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """See the function `top`."""
        return top(self.input, self.output, rows, k)

    def plain(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Input and output rows, (rows, d) and (labels, d): views, which training changes."""
        return self.input, self.output


def _scratch(output: NDArray[np.float32]) -> Space:
    count, width = output.shape
    return Space(
        padded(np.zeros((1, width), np.float32))[0],
        padded(np.zeros((1, width), np.float32))[0],
        np.zeros(-(-count // LANES) * LANES, np.float32),
        np.arange(count, dtype=np.int32),
    )


def probabilities(
    input: NDArray[np.float32], output: NDArray[np.float32], rows: Any
) -> NDArray[np.float32]:
    """The probabilities of all labels.

    Parameters
    ----------
    input, output : ndarray of float32, shape (rows, d) and (labels, d)
    rows : Ragged of int32
        Input rows of each line; where there are none, all labels have the same probability.

    Returns
    -------
    ndarray of float32, shape (len(rows), labels)

    Raises
    ------
    ValueError
        If there is no row of such a number.
    """
    out = np.empty((len(rows), len(output)), np.float32)
    _each(_probabilities, input, output, rows, out)
    return out


def top(
    input: NDArray[np.float32], output: NDArray[np.float32], rows: Any, k: int
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """The most probable labels.

    Parameters
    ----------
    input, output, rows
        As for `probabilities`.
    k : int
        How many; all of them where there are fewer.

    Returns
    -------
    ndarray of int32, shape (len(rows), k)
        Labels by falling probability; of equal ones, the lower first.
    ndarray of float32, shape (len(rows), k)
        Their probabilities.

    Raises
    ------
    ValueError
        If there is no row of such a number.
    """
    k = min(int(k), len(output))
    best = np.empty((len(rows), k), np.int32)
    chance = np.empty((len(rows), k), np.float32)
    if k > 0:
        _each(_top, input, output, rows, best, chance)
    return best, chance


def _each(
    function: Any, input: NDArray[np.float32], output: NDArray[np.float32], rows: Any, *out: Any
) -> None:
    """Call a kernel for some lines at a time."""
    ids, ends = readable(rows.values, np.int32), readable(rows.offsets, np.int64)
    within(ids[ends[0] : ends[-1]], len(input))
    table, wide, columns = flat(input), padded(output), input.shape[1]

    def work(part: slice) -> None:
        space = _scratch(wide)
        lines = ids, ends[part.start : part.stop + 1]
        scratch = space.order, space.h, space.scores
        function(table, columns, *lines, wide, *scratch, *(x[part] for x in out))

    run(work, chunks(len(ends) - 1, LINES))
