"""Mini-batches of factorization machines: two phases a batch, the next ones made ready beside them.

========  ====================================  =============================================
phase     of this batch                         of those behind it
========  ====================================  =============================================
forward   margins, slopes, sums of vectors      lists by feature of the next
backward  a step of each feature it mentions    rows of the one after the next are copied
========  ====================================  =============================================

With fields, the gradient of a feature needs vectors of others: it is taken in a phase of its own,
before any of them moves. No two tasks add to one number, and a feature's gradient is summed in the
order of rows: the same bytes come out for any number of members.

What bounds two cores are the cache lines that the other one wrote. So each feature belongs to one
of sixteen groups, rows of a batch are arranged by the group of their first feature, and a member
begins with the same groups in every phase: most of the lines it needs are in its own cache.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from smalgos._jit import kernel
from smalgos.kernels.cpu.crew import atomic_add, take, wait
from smalgos.kernels.cpu.embedding import move_record
from smalgos.kernels.cpu.factorization_scores import (
    FIELD_WEIGHTED,
    PAIRWISE,
    SLOPES,
    SUMS,
    WIDE,
    Entries,
    derive,
    pair_of,
    score,
)
from smalgos.kernels.cpu.optimizers import Optimizer, correct, moved
from smalgos.kernels.cpu.tile import PANEL
from smalgos.kernels.cpu.vector import (
    claim,
    fma,
    load,
    load_part,
    prefetch,
    splat,
    store,
    store_part,
    sum_halves,
    words,
)

inner = kernel(fastmath=False, no_cpython_wrapper=True)  # never called from Python: that takes time

ROWS, FEATURES = 64, 128  # of a task
RING, LISTS = 3, 2  # batches of which rows, and lists by feature, are in memory
SOON, FLOATS_SOON = 4, 512  # features between a prefetch and its use; more if they are short
ROWS_SOON = 24  # rows between a prefetch of where they are, and of their groups, and its use
ENTRIES_SOON = 10  # rows between a prefetch of their entries and its use
KEYS_SOON = 48  # entries between a prefetch of what is known of their features and its use
SUMS_SOON = 16  # entries between a prefetch of the sums of their rows and their use
FEW = 4  # entries of a row that are copied one by one
LINE = 8  # int64 of a cache line
LINEAR = 4  # float32 of a linear weight, its slots and a gap
KEYS, STARTS, ORDER, OWNER = 0, 1, 2, 3  # rows of `found`
GROUPS = 16  # of features
MOST = (1 << 31) - 1  # that an int32 counts to
SCORED, LISTED, SUMMED, MOVED = 0, 1, 2, 3  # kinds of tasks in `taken`


class Method(NamedTuple):
    """How a machine is trained.

    is_logistic, use_bias, use_linear   bool
    opt                                 Optimizer
    bias, linear, factors               (rate, decay, l1) of each group
    rescale                             float, multiplies gradients; 0: 1 / rows of the batch
    """

    is_logistic: bool
    use_bias: bool
    use_linear: bool
    opt: Optimizer
    bias: tuple[float, float, float]
    linear: tuple[float, float, float]
    factors: tuple[float, float, float]
    rescale: float


class Given(NamedTuple):
    """Rows to learn from.

    entries           Entries: all rows there are
    groups            int8, group of each of these; (0,): all are of one
    length            int, entries of each of these, or -1: see bounds
    ones              bool, whether all values are 1, as where features are categories: they are
                      not read
    picked            (n,) int64, numbers of the rows; (0,): all, in order
    labels, weights   (n,) float32, in the order of learning
    batch             int, rows of a batch; the last one may have fewer
    """

    entries: Entries
    groups: NDArray[np.int8]
    length: int
    ones: bool
    picked: NDArray[np.int64]
    labels: NDArray[np.float32]
    weights: NDArray[np.float32]
    batch: int


class Work(NamedTuple):
    """Scratch; B rows of a batch, E entries of a batch at most, P lists of features.

    sources              (>= n,) int64, of rows as arranged: where the entries of each begin
    labels, weights      (>= n,) float32
    bounds               (>= batches, B + 1) int64, where in their batch those entries will begin;
                         the number of the batch's entries behind its last row
    unsorted             (members, 3, >= B and GROUPS) int64
    keys, owner, values  (3, E) int32, int32, float32: feature, row and value of each entry of
                         three batches; if dense, keys are (1, width)
    seen                 (width,) int32, of each feature, where it is in the last list that has it
                         and what was counted before: see `_list`; (0,) if dense
    counted              (P * 8,) int64
    own                  (P, 2, E + 1) int32, entries of each part and where in the list their
                         features are; (P, 2, 1) if dense
    found                (2, P, 4, E + SUMS_SOON) int32, lists of two batches: features in KEYS,
                         where their entries begin in STARTS; of these, rows in OWNER; positions in
                         ORDER, if there are fields
    ordered              (2, P, E + 1) float32, values of the entries in that order
    counts               (2, P) int64, features of each list
    slopes               (B,) float32
    sums                 (B * room,) float32, sum of vectors of each row; (0,) with fields
    totals               (tasks, 9) float64, of each 64 rows: sums, and that of the slopes
    lanes                (members, 64) float32
    gradients            (E * room,) float32, of all features listed; (members * room,) if pairwise
    pairs                (tasks, pairs) float32, gradients of field weights, or (tasks, 0)
    taken                (4 * P * 8,) int64, tasks of each kind and part that are taken
    """

    sources: NDArray[np.int64]
    labels: NDArray[np.float32]
    weights: NDArray[np.float32]
    bounds: NDArray[np.int64]
    unsorted: NDArray[np.int64]
    keys: NDArray[np.int32]
    owner: NDArray[np.int32]
    values: NDArray[np.float32]
    seen: NDArray[np.int32]
    counted: NDArray[np.int64]
    own: NDArray[np.int32]
    found: NDArray[np.int32]
    ordered: NDArray[np.float32]
    counts: NDArray[np.int64]
    slopes: NDArray[np.float32]
    sums: NDArray[np.float32]
    totals: NDArray[np.float64]
    lanes: NDArray[np.float32]
    gradients: NDArray[np.float32]
    pairs: NDArray[np.float32]
    taken: NDArray[np.int64]


@inner
def _part(key, parts):
    """Which part a feature belongs to: one for all those whose counts are in a cache line."""
    # Fibonacci hashing (Knuth, vol. 3, 6.4) of 32 bits
    return ((((key >> 4) * 0x9E3779B1) & 0xFFFFFFFF) * parts) >> 32


@kernel(fastmath=False)
def group(entries, lo, hi, groups):
    """Groups of rows lo to hi: those of their first features; 0 of rows without.

    entries   Entries
    groups    int8      out
    """
    for row in range(lo, hi):
        begin = entries.bounds[row]
        known = entries.bounds[row + 1] > begin
        groups[row] = _part(np.int64(entries.keys[begin]), GROUPS) if known else 0


@inner
def _arrange(given, lo, hi, unsorted, work, bounds):
    """Arrange the rows of a batch, lo to hi, by group.

    unsorted   (3, >= rows and GROUPS) int64     scratch
    bounds     (>= rows + 1,) int64              out
    """
    offsets, groups, picked, length = given.entries.bounds, given.groups, given.picked, given.length
    by_number, grouped, even, count = len(picked) > 0, len(groups) > 0, length >= 0, hi - lo
    begins, packed, places = unsorted[0], unsorted[1], unsorted[2]
    places[:GROUPS] = 0
    for i in range(count):
        row = np.int64(lo + i)
        if by_number:
            soon = picked[np.uint64(lo + min(i + ROWS_SOON, count - 1))]
            prefetch(groups, soon)
            if not even:
                prefetch(offsets, soon)
            row = picked[np.uint64(lo + i)]
        begin = offsets[0] + row * length if even else offsets[np.uint64(row)]
        entries = length if even else offsets[np.uint64(row + 1)] - begin
        g = np.int64(groups[np.uint64(row)]) if grouped else np.int64(0)
        begins[np.uint64(i)], packed[np.uint64(i)] = begin, entries * GROUPS + g
        places[np.uint64(g)] += 1
    before = np.int64(0)
    for g in range(GROUPS):
        rows = places[g]
        places[g] = before
        before += rows
    for i in range(count):
        g = np.uint64(packed[np.uint64(i)] % GROUPS)
        place = places[g]
        places[g] = place + 1
        to = np.uint64(lo + place)
        work.sources[to] = begins[np.uint64(i)]
        work.labels[to] = given.labels[np.uint64(lo + i)]
        work.weights[to] = given.weights[np.uint64(lo + i)]
        bounds[np.uint64(place + 1)] = packed[np.uint64(i)] // GROUPS
    bounds[0] = 0
    for i in range(count):
        bounds[i + 1] += bounds[i]
    bounds[count + 1 :] = bounds[count]


@inner
def _copy(given, first, lo, hi, work, copied, owner):
    """Copy rows lo to hi of a batch that begins with row `first`.

    copied   Entries, whose bounds are set                   out
    owner    int32, row of each entry                        out
    """
    dense, ones, sources = given.entries.dense, given.ones, work.sources
    last = len(given.labels) - 1
    from_keys, from_values = given.entries.keys, given.entries.values
    keys, values, bounds = copied.keys, copied.values, copied.bounds
    for i in range(lo, hi):
        begin, at = sources[np.uint64(first + i)], bounds[np.uint64(i)]
        length = bounds[np.uint64(i + 1)] - at
        there = sources[np.uint64(min(first + i + ENTRIES_SOON, last))]
        for j in range(0, length, PANEL):  # as long as this row, for a guess
            if not ones:
                prefetch(from_values, there + j)
            prefetch(from_keys, np.int64(0) if dense else there + j)
        # Sixteen at a time, as usual loops over short rows would take longer; but of very short
        # ones, sixteen lanes would reach into cache lines that are not there yet.
        if length <= FEW:
            for j in range(length):
                x = np.float32(1.0) if ones else from_values[np.uint64(begin + j)]
                values[np.uint64(at + j)], owner[np.uint64(at + j)] = x, i
                if not dense:
                    keys[np.uint64(at + j)] = from_keys[np.uint64(begin + j)]
            continue
        for j in range(0, length, PANEL):
            left = length - j
            x = splat(1.0) if ones else load_part(from_values, begin + j, left)
            store_part(values, at + j, left, x)
            store_part(owner, at + j, left, words(np.int32(i)))
            if not dense:
                store_part(keys, at + j, left, load_part(from_keys, begin + j, left))


@inner
def _list(count, copied, owner, part, parts, with_order, seen, counted, own, found, ordered):
    """The lists by feature of one part of a batch; returns the number of features.

    Features come in the order in which they are met first, entries of one in their own: they are
    counted, then placed, which takes less time than to sort them.

    owner           int32, row of each entry                     in
    with_order      bool, whether positions are asked for, too
    seen, counted   int32, int64: the feature at place s has s + counted, those that are not listed
                    yet have less, so nothing is cleared between lists             in, out
    own             (2, entries) int32, for those of the part                      scratch
    found, ordered  as in `Work`                                 out
    """
    touched, starts, order, rows = found[KEYS], found[STARTS], found[ORDER], found[OWNER]
    keys, values, n, m = copied.keys, copied.values, 0, 0
    if copied.dense:
        width = len(keys)
        first, stop = width * part // parts, width * (part + 1) // parts
        for f in range(first, stop):
            touched[f - first], starts[f - first] = f, m
            for r in range(count):
                order[m], rows[m], ordered[m] = r * width + f, r, values[r * width + f]
                m += 1
        starts[stop - first] = m
        return stop - first
    entries, places = own[0], own[1]
    for i in range(copied.bounds[count]):
        entries[np.uint64(m)] = i  # written over by the next one, if of another part
        m += np.int64(parts == 1 or _part(np.int64(keys[np.uint64(i)]), parts) == part)
    base = counted[part * LINE]
    if base + m > MOST:
        for f in range(len(seen)):
            if _part(np.int64(f), parts) == part:
                seen[f] = 0
        base = 1
    for j in range(m):
        soon = entries[np.uint64(min(j + KEYS_SOON, m - 1))]
        prefetch(seen, np.int64(keys[np.uint32(soon)]))
        key = np.uint32(keys[np.uint32(entries[np.uint64(j)])])
        before = np.int64(seen[key]) - base
        place = n if before < 0 else before
        touched[np.uint64(n)], starts[np.uint64(n)] = key, 0  # again, if that was seen before
        n += np.int64(before < 0)
        seen[key], places[np.uint64(j)] = base + place, place
        starts[np.uint64(place)] += 1
    counted[part * LINE] = base + n
    at, here = np.int32(0), starts[0]
    for s in range(n):  # where each begins, one place behind, so that it will be where it ends
        after = starts[np.uint64(s + 1)]
        starts[np.uint64(s + 1)] = at
        at, here = at + here, after
    starts[0] = 0
    for j in range(m):
        i, place = np.uint32(entries[np.uint64(j)]), np.uint64(places[np.uint64(j)] + 1)
        to = np.uint32(starts[place])
        starts[place] = to + 1
        rows[to], ordered[to] = owner[i], values[i]
        if with_order:
            order[to] = i
    return n


@inner
def _pair_gradients(net, entries, lo, hi, slopes, out):
    """Gradients of the weights of pairs of fields; those are symmetric, and stay so."""
    n_fields = net.n_fields
    for i in range(n_fields * n_fields):
        out[i] = 0
    for i in range(lo, hi):
        for p in range(entries.bounds[i], entries.bounds[i + 1]):
            shift = entries.bounds[i] if entries.dense else np.int64(0)
            a = np.int64(entries.keys[p - shift])
            for q in range(p + 1, entries.bounds[i + 1]):
                b = np.int64(entries.keys[q - shift])
                product = splat(0.0)
                for c in range(0, net.factors, PANEL):
                    v = load_part(net.vectors, a * net.stride + c, net.factors - c)
                    u = load_part(net.vectors, b * net.stride + c, net.factors - c)
                    product = fma(v, u, product)
                x = entries.values[p] * entries.values[q] * slopes[i]
                g = x * sum_halves(product)
                f_a, f_b = np.int64(net.fields[a]), np.int64(net.fields[b])
                out[f_a * n_fields + f_b] += g
                if f_a != f_b:
                    out[f_b * n_fields + f_a] += g


@kernel(fastmath=False, inline="always")
def _sum_products(table, at, room, sums, slopes, rows, values, start, stop, out, to):
    """Gradient of a feature's vector v: sum_e a_e s_e - (sum_e a_e x_e) v, a_e = slope_e x_e.

    rows, values   of entries, of which its own are from start to stop; rows of those soon after
                   are looked at: their sums may be in another core's cache
    s_e            is the sum of vectors of the entry's row
    Returns sum_e a_e, the gradient of the linear weight.
    """
    c, line = 0, np.float32(0.0)
    while c + WIDE <= room:
        line, square = np.float32(0.0), np.float32(0.0)
        g0, g1, g2, g3 = splat(0.0), splat(0.0), splat(0.0), splat(0.0)
        for e in range(start, stop):
            row, x = np.int64(np.uint32(rows[e])), values[e]
            s, a = row * room + c, slopes[row] * x
            soon = np.int64(np.uint32(rows[np.uint64(e + SUMS_SOON)])) * room + c
            for panel in range(0, WIDE, PANEL):
                prefetch(sums, soon + panel)
            line, square = line + a, square + a * x
            g0 = fma(splat(a), load(sums, s), g0)
            g1 = fma(splat(a), load(sums, s + PANEL), g1)
            g2 = fma(splat(a), load(sums, s + 2 * PANEL), g2)
            g3 = fma(splat(a), load(sums, s + 3 * PANEL), g3)
        less = splat(-square)
        store(out, to + c, fma(less, load(table, at + c), g0))
        store(out, to + c + PANEL, fma(less, load(table, at + c + PANEL), g1))
        store(out, to + c + 2 * PANEL, fma(less, load(table, at + c + 2 * PANEL), g2))
        store(out, to + c + 3 * PANEL, fma(less, load(table, at + c + 3 * PANEL), g3))
        c += WIDE
    while c < room:
        line, square = np.float32(0.0), np.float32(0.0)
        g = splat(0.0)
        for e in range(start, stop):
            row, x = np.int64(np.uint32(rows[e])), values[e]
            a = slopes[row] * x
            prefetch(sums, np.int64(np.uint32(rows[np.uint64(e + SUMS_SOON)])) * room + c)
            line, square = line + a, square + a * x
            g = fma(splat(a), load(sums, row * room + c), g)
        store(out, to + c, fma(splat(-square), load(table, at + c), g))
        c += PANEL
    return line


@inner
def _gradients(net, room, entries, owner, slopes, found, lo, hi, out, at):
    """Gradients of the vectors of features lo to hi of a list, with fields, to `at` and on."""
    k = net.factors
    for s in range(lo, hi):
        i, own = np.int64(found[KEYS, s]), at + (s - lo) * room
        for c in range(0, room, PANEL):
            store(out, own + c, splat(0.0))
        for e in range(found[STARTS, s], found[STARTS, s + 1]):
            position = np.int64(found[ORDER, e])
            row = np.int64(owner[position])
            a = slopes[row] * entries.values[position]
            start, stop = entries.bounds[row], entries.bounds[row + 1]
            shift = start if entries.dense else np.int64(0)
            for q in range(start, stop):
                if q != position:
                    j = np.int64(entries.keys[q - shift])
                    at_i, at_j, weight = pair_of(net, i, j)
                    x = splat(a * weight * entries.values[q])
                    to = own + at_i - i * net.stride
                    for c in range(0, k, PANEL):
                        g = load_part(out, to + c, k - c)
                        v = load_part(net.vectors, at_j + c, k - c)
                        store_part(out, to + c, k - c, fma(x, v, g))


@inner
def _move_lines(linear, opt, correction, keys, stop, count, lanes, scale, rates):
    """One step of the linear weights of the `count` <= 16 features before number `stop`.

    linear   weights, each with room for its slots: `LINEAR` float32              in, out
    lanes    (64,) float32, gradients in the last sixteen; the rest is scratch
    """
    for i in range(count):
        line = np.int64(keys[stop - count + i]) * LINEAR
        lanes[i] = linear[line]
        lanes[PANEL + i] = linear[line + 1]
        lanes[2 * PANEL + i] = linear[line + 2]
    w, a, b = moved(
        opt, correction, load(lanes, 0), load(lanes, 3 * PANEL), load(lanes, PANEL),
        load(lanes, 2 * PANEL), scale, rates[0], rates[1], rates[2],
    )  # fmt: skip
    store(lanes, 0, w)
    store(lanes, PANEL, a)
    store(lanes, 2 * PANEL, b)
    for i in range(count):
        line = np.int64(keys[stop - count + i]) * LINEAR
        linear[line] = lanes[i]
        linear[line + 1] = lanes[PANEL + i]
        linear[line + 2] = lanes[2 * PANEL + i]


@inner
def _move(
    net, room, method, correction, scale, keys, starts, rows, values, slopes, sums, gradients, at,
    fused, lo, hi, n, lanes,
):  # fmt: skip
    """One step of features lo to hi of a list of n: vectors, and linear weights sixteen at a time.

    net        Net: records of a vector and its slots; lines of `_move_lines`     in, out
    gradients  from `at` on that of feature lo, and so on; or, if fused, scratch for one
    lanes      (64,) float32                                                      scratch
    """
    table, linear, stride = net.vectors, net.linear, net.stride
    ahead = SOON + FLOATS_SOON // stride
    for s in range(lo, hi):
        soon = np.int64(keys[min(s + ahead, n - 1)]) * stride
        for c in range(0, stride, PANEL):
            claim(table, soon + c)
        claim(linear, np.int64(keys[min(s + ahead, n - 1)]) * LINEAR)
        place = np.int64(keys[s]) * stride
        start, stop = np.int64(np.uint32(starts[s])), np.int64(np.uint32(starts[s + 1]))
        if fused:
            line = _sum_products(
                table, place, room, sums, slopes, rows, values, start, stop, gradients, at
            )
        else:
            line = np.float32(0.0)
            for e in range(start, stop):
                line += slopes[rows[e]] * values[e]
        move_record(
            method.opt, correction, table, place, room, room, gradients,
            at if fused else at + (s - lo) * room, room, scale, method.factors,
        )  # fmt: skip
        waiting = (s - lo) % PANEL + 1
        lanes[3 * PANEL + waiting - 1] = line
        if method.use_linear and (waiting == PANEL or s == hi - 1):
            _move_lines(
                linear, method.opt, correction, keys, s + 1, waiting, lanes, scale, method.linear
            )  # fmt: skip


@inner
def _move_all(opt, correction, x, scale, rates):
    """One step of numbers, with their gradients behind them; see `_total`."""
    width = len(x) // 4
    move_record(opt, correction, x, 0, width, width, x, 3 * width, width, scale, rates)


@inner
def _total(net, method, correction, scale, tasks, work, out, bias, pairs):
    """Sums of a batch; steps of the bias and of the weights of pairs of fields.

    bias, pairs   flat float32: numbers, two slots, gradients, all padded alike     in, out
    """
    slope = 0.0
    for task in range(tasks):
        for i in range(SUMS):
            out[i] += work.totals[task, i]
        slope += work.totals[task, SLOPES]
    if method.use_bias:
        bias[3 * PANEL] = slope
        _move_all(method.opt, correction, bias, scale, method.bias)
    if net.interaction == FIELD_WEIGHTED:
        first = 3 * (len(pairs) // 4)
        for i in range(work.pairs.shape[1]):
            pairs[first + i] = 0
            for task in range(tasks):
                pairs[first + i] += work.pairs[task, i]
        _move_all(method.opt, correction, pairs, scale, method.factors)


@inner
def _entries(given, work, step):
    """The rows of a batch that were copied."""
    keys = work.keys[0 if given.entries.dense else step % RING]
    return Entries(keys, work.values[step % RING], work.bounds[step], given.entries.dense)


@inner
def _forward(member, members, ctl, net, method, room, given, work, bias, step):
    """Tasks of the forward phase: this batch, and the lists of the next; own parts first."""
    n, batch, parts, after = len(given.labels), given.batch, work.counts.shape[1], step + 1
    if take(ctl, 1) == 0:
        for i in range(SUMMED * parts, (MOVED + 1) * parts):
            work.taken[i * LINE] = 0
    if after >= 0 and after * batch < n:
        side, owner = after % LISTS, work.owner[after % RING]
        for turn in range(parts):
            part = (member * parts // members + turn) % parts
            if atomic_add(work.taken, (LISTED * parts + part) * LINE, 1) == 0:
                work.counts[side, part] = _list(
                    min(batch, n - after * batch), _entries(given, work, after), owner, part,
                    parts, net.interaction != PAIRWISE, work.seen, work.counted, work.own[part],
                    work.found[side, part], work.ordered[side, part],
                )  # fmt: skip
    if step < 0:
        return
    first, count, margins = step * batch, min(batch, n - step * batch), work.lanes[member]
    entries, tasks = _entries(given, work, step), (count + ROWS - 1) // ROWS
    labels, weights = work.labels[first:], work.weights[first:]
    for turn in range(parts):
        part = (member * parts // members + turn) % parts
        before, stop = tasks * part // parts, tasks * (part + 1) // parts
        while True:
            task = before + atomic_add(work.taken, (SCORED * parts + part) * LINE, 1)
            if task >= stop:
                break
            lo, hi = task * ROWS, min((task + 1) * ROWS, count)
            score(net, entries, lo, hi, margins, np.int64(0), work.sums, room)
            derive(
                method.is_logistic, margins, bias[0], labels, weights, lo, hi - lo, work.slopes,
                work.totals[task],
            )  # fmt: skip
            if net.interaction == FIELD_WEIGHTED:
                _pair_gradients(net, entries, lo, hi, work.slopes, work.pairs[task])


@inner
def _backward(member, members, net, method, room, given, work, correction, scale, step, phase):
    """Take features of a batch, own lists first: gradients with fields (phase 0), steps (1).

    A member that takes the same lists in each batch finds many of their slots in its cache.
    """
    parts, side = work.counts.shape[1], step % LISTS
    fused, lanes = net.interaction == PAIRWISE, work.lanes[member]
    entries, owner = _entries(given, work, step), work.owner[step % RING]
    for turn in range(parts):
        part = (member * parts // members + turn) % parts
        before = np.int64(0)
        for i in range(part):
            before += work.counts[side, i]
        n, found = work.counts[side, part], work.found[side, part]
        keys, starts, rows = found[KEYS], found[STARTS], found[OWNER]
        values = work.ordered[side, part]
        while True:
            lo = atomic_add(work.taken, ((SUMMED + phase) * parts + part) * LINE, 1) * FEATURES
            if lo >= n:
                break
            hi, at = min(lo + FEATURES, n), (member if fused else before + lo) * room
            if phase == 0:
                _gradients(
                    net, room, entries, owner, work.slopes, found, lo, hi, work.gradients, at
                )
            else:
                _move(
                    net, room, method, correction, scale, keys, starts, rows, values, work.slopes,
                    work.sums, work.gradients, at, fused, lo, hi, n, lanes,
                )  # fmt: skip


@inner
def _beside(ctl, net, method, given, work, bias, pairs, correction, scale, tasks, step, out):
    """Tasks beside the backward phase: totals of this batch, the rows of the one after the next."""
    behind, first = step + 2, (step + 2) * given.batch
    count = max(min(given.batch, len(given.labels) - first), 0)
    while True:
        task = take(ctl, 1 + (count + ROWS - 1) // ROWS)
        if task < 0:
            break
        if task > 0:
            lo = (task - 1) * ROWS
            _copy(
                given, first, lo, min(lo + ROWS, count), work, _entries(given, work, behind),
                work.owner[behind % RING],
            )  # fmt: skip
            continue
        for i in range(SUMMED * work.counts.shape[1]):
            work.taken[i * LINE] = 0
        if step >= 0:
            _total(net, method, correction, scale, tasks, work, out[step], bias, pairs)


@kernel(fastmath=False)
def learn(member, members, ctl, net, method, room, given, work, bias, pairs, t, out):
    """Learn from batches, together with the other members of a crew.

    net            Net, whose vectors and linear weights are records       in, out
    method         Method
    room           int64, floats of a vector in a record
    given          Given
    work           Work, no tasks taken; its bounds tell whether there was room for the entries
                   of each batch: if not, nothing has been learnt          in, out
    bias, pairs    as for `_total`                                         in, out
    t              int64, number of the first batch's step
    out            (batches, 8) float64                                    out, added to
    """
    n, batch, batches = len(given.labels), given.batch, len(out)
    while True:
        b = take(ctl, batches)
        if b < 0:
            break
        lo = b * batch
        _arrange(given, lo, min(lo + batch, n), work.unsorted[member], work, work.bounds[b])
    if not wait(ctl, members):
        return
    for b in range(batches):
        if work.bounds[b, batch] > work.values.shape[1]:
            return
    for step in range(-2, batches):
        _forward(member, members, ctl, net, method, room, given, work, bias, step)
        if not wait(ctl, members):
            return
        count = min(batch, n - step * batch)
        scale = method.rescale if method.rescale != 0.0 else 1.0 / count
        correction = correct(method.opt, t + max(step, 0))
        for phase in range(1 if net.interaction == PAIRWISE else 0, 2):
            if step >= 0:
                _backward(
                    member, members, net, method, room, given, work, correction, scale, step, phase
                )
            if phase == 0 and not wait(ctl, members):
                return
        _beside(
            ctl, net, method, given, work, bias, pairs, correction, scale,
            (count + ROWS - 1) // ROWS, step, out,
        )  # fmt: skip
        if not wait(ctl, members):
            return
