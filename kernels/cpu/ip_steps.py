"""Steps of learning: pairs to gradients, gradients to what is learnt: see `ip_insights`."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from smalgos._jit import kernel
from smalgos.kernels.cpu.crew import take, wait
from smalgos.kernels.cpu.embedding import lists, move_record, sorter
from smalgos.kernels.cpu.ip_addresses import PIECES, TABLE
from smalgos.kernels.cpu.ip_encoders import (
    NONE,
    ORIGIN,
    add_rows,
    layer_of,
    positive,
    positive_part,
    prefix_sums,
)
from smalgos.kernels.cpu.losses import exp_negative, log1p_unit
from smalgos.kernels.cpu.optimizers import ADAM, Optimizer, correct
from smalgos.kernels.cpu.shared import chunks, run
from smalgos.kernels.cpu.tile import PANEL, multiply_add, scratch
from smalgos.kernels.cpu.vector import (
    DOUBLES,
    FLOATS,
    fma,
    lanes_below,
    load,
    load_part,
    prefetch,
    splat,
    store,
    store_part,
    sum_halves,
    sum_lanes,
    transpose,
    vectors,
)

ROWS = 12  # that a task of the first phase works on: of 143, as 1000 pairs are, an even number
MOVED = 128  # rows of a table that a task of the second phase moves
SOON = 4  # records between a prefetch and its use
PLANNED = 1 << 15  # entries of a task that plans
BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-8  # of Adam
SLOTS = 3  # weight, and Adam's two means
SHARE, OWN = np.int64(PIECES), np.int64(1)  # entries with one gradient; see `ip_encoders.ORIGIN`


class Pairs(NamedTuple):
    """Rows of a block, cut into steps, with what each step touches.

    bounds      (steps + 1,) int64, first rows of steps
    entities    (n,) int32, rows of the entities' table
    pieces      (n * share,) int32, rows of the prefixes' table; `share` is pairs of a row x PIECES
    touched, starts, order   for each table, what `embedding.lists` finds of each step, put where
                the entries of the step are (`starts` with one more place for each step before)
    counts      (steps, 2) int64, rows touched of each table, the prefixes' first
    """

    bounds: NDArray[np.int64]
    entities: NDArray[np.int32]
    pieces: NDArray[np.int32]
    pieces_touched: NDArray[np.int32]
    pieces_starts: NDArray[np.int32]
    pieces_order: NDArray[np.int32]
    touched: NDArray[np.int32]
    starts: NDArray[np.int32]
    order: NDArray[np.int32]
    counts: NDArray[np.int64]


class Weights(NamedTuple):
    """What is learnt, each number with Adam's two means of it.

    entities    (rows * 3 * W,) float32: records of weights, first and second means; W is the width
                of vectors, padded to whole panels
    prefixes    the same
    layers      (3, L, W / 16, W, 16) float32, panels of the matrices
    turned      (L, W / 16, W, 16) float32, panels of the transposed matrices
    biases      (3, L, W) float32
    """

    entities: NDArray[np.float32]
    prefixes: NDArray[np.float32]
    layers: NDArray[np.float32]
    turned: NDArray[np.float32]
    biases: NDArray[np.float32]


class Work(NamedTuple):
    """Scratch of a step of at most `rows` rows and `pairs` pairs; float32, flat where no shape is.

    x           pairs x W, what the last layer is given; later, gradients of h
    inputs      max(L - 1, 0) x pairs x W, what is positive of what other layers are given
    hidden      (max(L - 1, 0), W / 16, pairs, 16) gradients of what layers but the last one give
    vectors     (W / 16, rows, 16) entities
    sums        rows x W, what is positive of x, each times its pair's slope, summed
    shares      (rows,) slopes of a row's pairs, summed
    moves       rows x W, gradients of entities
    found       (steps, tasks, 2) float64: losses, pairs that were told right
    """

    rows: int
    pairs: int
    width: int
    x: NDArray[np.float32]
    inputs: NDArray[np.float32]
    hidden: NDArray[np.float32]
    vectors: NDArray[np.float32]
    sums: NDArray[np.float32]
    shares: NDArray[np.float32]
    moves: NDArray[np.float32]
    found: NDArray[np.float64]


@vectors(DOUBLES, FLOATS)
def _cross_entropy(v, f, y, live):
    """Losses of scores f, log(1 + exp(-f)) with label 1, and slopes; no loss in lanes not live."""
    zero, one = v.number(0.0), v.number(1.0)
    sign = one - y - y
    g = f * sign
    z = exp_negative(v, -v.magnitude(f))
    large = one / (one + z)
    value = v.select(g > zero, g, zero) + log1p_unit(v, z)
    return v.widen(v.select(live, value, zero)), v.select(g > zero, large, z * large) * sign


@vectors(FLOATS)
def _by_sign(v, x, a, b):
    """a where x is positive, else b."""
    return v.select(x > v.number(0.0), a, b)


@kernel(fastmath=False)
def _losses(scores, count, each):
    """Slopes in the place of scores, of which every `each`-th is of a true pair: (loss, right)."""
    loss, right = 0.0, 0
    labels = scratch(PANEL)
    for p in range(0, count, PANEL):
        for c in range(PANEL):
            labels[c] = 1.0 if (p + c) % each == 0 else 0.0
        for c in range(min(PANEL, count - p)):
            right += np.int64((scores[p + c] > 0) == (labels[c] > 0))
        f = load_part(scores, p, count - p)
        value, slope = _cross_entropy(f, load(labels, 0), lanes_below(count - p))
        loss = sum_lanes(loss, value)
        store_part(scores, p, count - p, slope)
    return loss, right


@kernel(fastmath=False)
def _scores(own, turned, x, at, biases, first, width, rows, each, scores):
    """Scores of the pairs of some rows, by x of the last layer; no biases where `first` is -1."""
    for i in range(rows):
        base = splat(0.0)
        if first >= 0:
            for j in range(0, width, PANEL):
                base = fma(load(own, i * width + j), load(biases, first + j), base)
        for p in range(i * each, (i + 1) * each):
            dot, more = base, splat(0.0)
            for j in range(0, width, PANEL):
                x_j = load(x, at + p * width + j)
                dot = fma(x_j, load(own, i * width + j), dot)
                more = fma(positive(x_j), load(turned, i * width + j), more)
            scores[p] = sum_halves(dot + more)


@kernel(fastmath=False)
def _slopes(own, turned, x, at, width, rows, each, slopes, sums, moves, to):
    """Gradients of x, in its place; sums over a row's pairs of what is positive of x, and of x."""
    for i in range(rows):
        for j in range(0, width, PANEL):
            e, u = load(own, i * width + j), load(turned, i * width + j)
            both = e + u
            above, total = splat(0.0), splat(0.0)
            for p in range(i * each, (i + 1) * each):
                x_j, g = load(x, at + p * width + j), splat(slopes[p])
                above, total = fma(positive(x_j), g, above), fma(x_j, g, total)
                store(x, at + p * width + j, g * _by_sign(x_j, both, e))
            store(sums, to + i * width + j, above)
            store(moves, to + i * width + j, total)


@kernel(fastmath=False)
def _forward(weights, work, pairs, each, first, a, b):
    """The first phase of rows a to b of the step that begins with row `first`: loss, right ones."""
    width, layers = work.width, weights.turned.shape[0]
    panels, stride, rows, count = width // PANEL, SLOTS * width, b - a, (b - a) * each
    x, at, size = work.x, a * each * width, count * width  # of the pairs of these rows
    level, last = work.pairs * width, (layers - 1) * width
    own, turned, scores = scratch(rows * width), scratch(rows * width), scratch(count)
    given = scratch(panels * count * PANEL).reshape((panels, count, PANEL))
    for i in range(rows):
        record = np.int64(pairs.entities[first + a + i]) * stride
        for j in range(0, width, PANEL):
            e = load(weights.entities, record + j)
            store(own, i * width + j, e)
            store(turned, i * width + j, splat(0.0))
            store(work.vectors, (j // PANEL * work.rows + a + i) * PANEL, e)
    source = (first + a) * each * PIECES
    prefix_sums(weights.prefixes, stride, width, pairs.pieces, source, count, x, at)
    for layer in range(layers - 1):
        to = layer * level + at
        positive_part(x, at, size, work.inputs, to)
        matrix = weights.layers[0, layer]
        layer_of(work.inputs, to, count, matrix, weights.biases, layer * width, given)
        add_rows(given, count, x, at)
    if layers > 0:
        layer_of(own, ORIGIN, rows, weights.turned[layers - 1], weights.biases, NONE, given)
        add_rows(given, rows, turned, ORIGIN)
    _scores(own, turned, x, at, weights.biases, last, width, rows, each, scores)
    loss, right = _losses(scores, count, each)
    _slopes(own, turned, x, at, width, rows, each, scores, work.sums, work.moves, a * width)
    if layers > 0:
        for i in range(rows):
            share = np.float32(0.0)
            for p in range(i * each, (i + 1) * each):
                share += scores[p]
            work.shares[a + i] = share
            for q in range(panels):
                bias = load(weights.biases, last + q * PANEL)
                store(given, (q * count + i) * PANEL, splat(share) * bias)
        matrix = weights.layers[0, layers - 1]
        multiply_add(work.sums, a * width, width, rows, 1, width, matrix, given)
        add_rows(given, rows, work.moves, a * width)
    for layer in range(layers - 2, -1, -1):
        for q in range(panels):
            for p in range(count):
                to = ((layer * panels + q) * work.pairs + a * each + p) * PANEL
                store(work.hidden, to, load(x, at + p * width + q * PANEL))
        layer_of(x, at, count, weights.turned[layer], weights.biases, NONE, given)
        for q in range(panels):
            for p in range(count):
                k = at + p * width + q * PANEL
                g = load(given, (q * count + p) * PANEL)
                g = _by_sign(load(work.inputs, layer * level + k), g, splat(0.0))
                store(x, k, load(x, k) + g)
    return loss, right


@kernel(inline="always")
def _adam():
    """Constants, so that nothing of other optimizers is compiled."""
    return Optimizer(ADAM, 0.0, BETA_1, BETA_2, 0.0, EPSILON, 0.0, np.inf)


@kernel(fastmath=False)
def _move_panel(correction, rates, scale, weights, work, rows, count, layer, q):
    """Panel q of layer l moves, where `rows` rows with `count` pairs are behind it."""
    width, layers = work.width, weights.turned.shape[0]
    panels = width // PANEL
    own = rates[0], rates[1], 0.0  # no L1
    gradient = scratch(width * PANEL).reshape((1, width, PANEL))
    for k in range(0, width * PANEL, PANEL):
        store(gradient, k, splat(0.0))
    bias = splat(0.0)
    if layer == layers - 1:
        multiply_add(work.sums, 0, 1, width, width, rows, work.vectors[q : q + 1], gradient)
        for i in range(rows):
            x = load(work.vectors, (q * work.rows + i) * PANEL)
            bias = fma(splat(work.shares[i]), x, bias)
    else:
        at = layer * work.pairs * width
        below = work.hidden[layer, q : q + 1]
        multiply_add(work.inputs, at, 1, width, width, count, below, gradient)
        for p in range(count):
            bias = bias + load(work.hidden, ((layer * panels + q) * work.pairs + p) * PANEL)
    size = width * PANEL
    at, gap = (layer * panels + q) * size, layers * panels * size
    flat = gradient.reshape(size)
    move_record(_adam(), correction, weights.layers, at, gap, gap, flat, 0, size, scale, own)
    for r in range(panels):
        transpose(weights.layers, at + r * PANEL * PANEL, weights.turned,
                  ((layer * panels + r) * width + q * PANEL) * PANEL)  # fmt: skip
    store(flat, 0, bias)
    at, gap = layer * width + q * PANEL, layers * width
    free = rates[0], 0.0, 0.0  # biases do not decay
    move_record(_adam(), correction, weights.biases, at, gap, gap, flat, 0, PANEL, scale, free)


@kernel(fastmath=False)
def _move_rows(
    correction, rates, scale, table, width, touched, starts, order, first, last, gradients, by
):
    """Rows of a table move; entry `order[e]` has the gradient with number ``order[e] // by``."""
    stride = SLOTS * width
    own = rates[0], rates[1], 0.0  # no L1
    total = scratch(width)
    for s in range(first, last):
        soon = np.int64(touched[min(s + SOON, last - 1)]) * stride
        for j in range(0, stride, PANEL):
            prefetch(table, soon + j)
        for j in range(0, width, PANEL):
            g = splat(0.0)
            for e in range(starts[s], starts[s + 1]):
                g = g + load(gradients, np.int64(order[e]) // by * width + j)
            store(total, j, g)
        at = np.int64(touched[s]) * stride
        move_record(_adam(), correction, table, at, width, width, total, 0, width, scale, own)


@kernel(fastmath=False)
def learn(member, members, ctl, rates, layer_rates, t, weights, work, pairs, each):
    """Steps, by all members of a crew: step number t is the first."""
    layers, width = weights.turned.shape[0], work.width
    panels = width // PANEL
    for step in range(len(pairs.bounds) - 1):
        first = pairs.bounds[step]
        rows = pairs.bounds[step + 1] - first
        tasks = (rows + ROWS - 1) // ROWS
        while True:
            task = take(ctl, tasks)
            if task < 0:
                break
            a, b = task * ROWS, min(rows, (task + 1) * ROWS)
            loss, right = _forward(weights, work, pairs, each, first, a, b)
            work.found[step, task, 0], work.found[step, task, 1] = loss, right
        if not wait(ctl, members):
            return
        correction, scale = correct(_adam(), t + step), np.float32(1.0 / (rows * each))
        size = each * PIECES
        prefixes, entities = pairs.counts[step, 0], pairs.counts[step, 1]
        before = layers * panels
        more = (prefixes + MOVED - 1) // MOVED
        tasks = before + more + (entities + MOVED - 1) // MOVED
        while True:
            task = take(ctl, tasks)
            if task < 0:
                break
            if task < before:
                layer, q = task // panels, task % panels
                _move_panel(
                    correction, layer_rates, scale, weights, work, rows, rows * each, layer, q
                )
            elif task < before + more:
                a = (task - before) * MOVED
                at, end = first * size, (first + rows) * size
                _move_rows(
                    correction, rates, scale, weights.prefixes, width,
                    pairs.pieces_touched[at:end], pairs.pieces_starts[at + step : end + step + 1],
                    pairs.pieces_order[at:end], a, min(prefixes, a + MOVED), work.x, SHARE,
                )  # fmt: skip
            else:
                a = (task - before - more) * MOVED
                end = first + rows
                _move_rows(
                    correction, rates, scale, weights.entities, width,
                    pairs.touched[first:end], pairs.starts[first + step : end + step + 1],
                    pairs.order[first:end], a, min(entities, a + MOVED), work.moves, OWN,
                )  # fmt: skip
        if not wait(ctl, members):
            return


@kernel(fastmath=False)
def _plan(pairs, first, last, size, pieces_sort, sort):
    """What steps `first` to `last` touch; `size` entries of the prefixes' table for each row."""
    for step in range(first, last):
        a, b = pairs.bounds[step], pairs.bounds[step + 1]
        at, end = a * size, b * size
        pairs.counts[step, 0] = lists(
            pairs.pieces, at, end - at, 0, 1, pieces_sort, pairs.pieces_touched[at:end],
            pairs.pieces_starts[at + step : end + step + 1], pairs.pieces_order[at:end],
        )  # fmt: skip
        pairs.counts[step, 1] = lists(
            pairs.entities, a, b - a, 0, 1, sort, pairs.touched[a:b],
            pairs.starts[a + step : b + step + 1], pairs.order[a:b],
        )  # fmt: skip


def plan(
    entities: NDArray[np.int32], pieces: NDArray[np.int32], rows: int, bounds: NDArray[np.int64]
) -> Pairs:
    """What steps touch.

    Parameters
    ----------
    entities : ndarray of int32, shape (n,)
        Numbers below `rows`.
    pieces : ndarray of int32, shape (n, K * PIECES)
        Of `pair_pieces`.
    rows : int
    bounds : ndarray of int64, shape (steps + 1,)
        First rows of steps, from 0 to n.
    """
    n, size = pieces.shape
    steps, longest = len(bounds) - 1, int(np.diff(bounds).max())
    found = Pairs(
        bounds, entities, pieces.reshape(-1),
        np.empty(n * size, np.int32), np.empty(n * size + steps, np.int32),
        np.empty(n * size, np.int32), np.empty(n, np.int32), np.empty(n + steps, np.int32),
        np.empty(n, np.int32), np.empty((steps, 2), np.int64),
    )  # fmt: skip

    def work(part: slice) -> None:
        sorts = sorter(TABLE, longest * size), sorter(rows, longest)
        _plan(found, part.start, part.stop, size, *sorts)

    run(work, chunks(steps, max(1, PLANNED // (longest * size))))
    return found


def cuts(rows: int, batch: int, each: int) -> NDArray[np.int64]:
    """First rows of steps, and the end: each batch in `each` parts, as far as it has rows."""
    ends = [np.zeros(1, np.int64)]
    for first in range(0, rows, batch):
        count = min(batch, rows - first)
        steps = min(count, each)
        ends.append(first + np.arange(1, steps + 1, dtype=np.int64) * count // steps)
    return np.concatenate(ends)
