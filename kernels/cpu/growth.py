"""Growing one tree from binned rows: a kernel that a crew of threads runs together.

A tree grows in steps. A step parts the rows of some nodes (all that are due of a level, or the one
of the best gain), sums up the smaller child of each into a histogram, takes that from the parent's
to get the other's, and finds the best split of every new node. All sums are of integers, so neither
the number of threads nor the order of rows changes a bit of the tree.

Rows of a node stand in ascending order in a piece of the index. Pieces are parted stably, by
chunks: each chunk into a left and a right buffer, which are then copied to where they belong.

Inner functions take arrays one by one, not the tuples that hold them: numba needs seconds to pass
those on.
"""

from typing import Any, NamedTuple

import numpy as np

from smalgos._jit import kernel
from smalgos.kernels.cpu.crew import atomic_add, take, wait
from smalgos.kernels.cpu.packed import LANES, copy, part, prefetch, unpack
from smalgos.kernels.cpu.splits import (
    ALPHA,
    GAMMA,
    LAMBDA,
    LOSSGUIDE,
    MAX_DEPTH,
    MAX_LEAVES,
    MAX_STEP,
    MIN_CHILD,
    SCALE_G,
    SCALE_H,
    best_categories,
    best_threshold,
    gradient_of,
    hessian_of,
    order_categories,
    score_of,
    weight_of,
)

ROWS = 8192  # of a task
AHEAD = 40  # rows between asking for a row's bins and using them
WIDE = np.uint64(264)  # cells of columns of 255 bins, see `bundles.Layout`
LEAST_GAIN = 1e-6

# Columns of `Work.nodes`: its rows in the index, its place in the tree, its split (feature, last
# bin that goes left or choice of categories, whether missing values go left), its histogram, the
# interaction constraints that its path obeys, whether it has no split, and packed sums of it and of
# its left child.
BEGIN, END, PARENT, DEPTH, CHILD, FEATURE, BIN, BY, SLOT, OBEYS, FINAL, SUM, LEFT = range(13)
# Columns of `Work.reals`: the gain of its split, bounds of what it may say.
GAIN, LEAST, MOST = range(3)
# Places in `Work.counts`.
NODES, LEAVES, BATCH, ENTRIES, TASKS, FREE, HEAD = range(7)
# Columns of `Work.table`: nodes of the batch that is parted; entries (a node that is summed up, its
# sibling which is the rest of the parent or -1, whether either wants a split, how many members came
# to it); free slots of the pool; tasks (place in the batch, rows, how many went left, to where).
NODE, BUILT, REST, WANTS, REST_WANTS, CLAIMS, SLOTS, OF, FROM, TO, WENT, TO_LEFT, TO_RIGHT = range(
    13
)


class Data(NamedTuple):
    """Binned rows, twice: by rows for histograms, by columns for parting.

    Missing values are the greatest number of the type in `columns`; `rows` are as `bundles.Layout`
    has them. Sparse rows have `cells` instead, places in a histogram, and columns that are unpacked
    when needed; what they lack is missing.
    """

    rows: Any  # (n * columns,) uint8 or uint16: groups of columns behind one another
    columns: Any  # (d, n), the same type
    cells: Any  # (entries,) int32
    offsets: Any  # (n + 1,) int64, of rows in cells
    column_rows: Any  # (entries,) int32
    column_bins: Any  # (entries,), the type of columns
    column_offsets: Any  # (d + 1,) int64
    bins: Any  # (d,) int64; the cell behind a feature's is that of missing values
    firsts: Any  # (d,) int64: a feature's first cell of a histogram
    usual: Any  # (d,) int64: the bin that is not summed up but the rest; -1: none
    groups: Any  # (groups, 4) int64, see `bundles.Layout`
    order: Any  # (d,) int64: features in the order of their cells
    blocks: Any  # (blocks + 1,) int64: where in the order a task of finding splits begins
    block_cells: Any  # (blocks + 1,) int64: its first cell
    categories: Any  # (d,) uint8: whether bins are categories
    monotone: Any  # (d,) int64: 1, 0 or -1
    member: Any  # (d,) int64: bit s is set if interaction constraint s has the feature


class Work(NamedTuple):
    """The tree, and what growing it needs room for."""

    nodes: Any  # (room, 13) int64                                                         out
    reals: Any  # (room, 3) float64                                                        out
    counts: Any  # (8,) int64                                                              out
    leaf: Any  # (n,) uint16 or uint32, the leaf of each row                               out
    pairs: Any  # (n,) int32, packed gradient pairs                                        in
    index: Any  # (n,) int32
    left: Any  # (n + 16,) int32
    right: Any  # (n + 16,) int32
    table: Any  # (tasks, 13) int64
    pool: Any  # (slots, cells) int64, histograms that are kept
    private: Any  # (members, batch, cells) int64, of members that came second to a node
    touched: Any  # (members, batch) int64
    best: Any  # (batch, 2, blocks) float64, score of the children, of blocks
    chosen: Any  # (batch, 2, blocks, 4) int64: feature, bin or choice, missing's side, left sum
    dense: Any  # (batch, n), columns of sparse data unpacked
    sides: Any  # (room, bins + 1) uint8, 1: that category goes left; (1, 1) where there is none out
    level: Any  # (levels, d) uint8, features of a level
    masks: Any  # (batch, 2, d) uint8, features of nodes; of no rows if all are always used
    scratch: Any  # (members, 2, bins + 8) int64
    gain: Any  # (members, bins + 8) float64


@kernel(inline="always")
def _add_group(rows, base, width, begin, stride, pairs, index, first, last, histogram):
    """Add the pairs of rows index[first:last] to the cells of a group of columns, two at a time."""
    one, two, three, four = np.uint64(1), np.uint64(2), np.uint64(3), np.uint64(4)
    scattered = np.int64(index[last - 1]) - np.int64(index[first]) != last - 1 - first
    for i in range(first, last, 2):
        if scattered:
            for j in range(min(i + AHEAD, last - 1), min(i + AHEAD + 2, last)):
                coming = np.uint64(index[j])
                there = base + coming * width
                prefetch(rows, there)
                prefetch(rows, there + width - one)
                prefetch(pairs, coming)
        r, s = np.uint64(index[i]), np.uint64(index[min(i + 1, last - 1)])
        v, w = unpack(pairs[r]), unpack(pairs[s]) if i + 1 < last else np.int64(0)
        at, also, end = base + r * width, base + s * width, base + r * width + width
        cell = begin
        while at + four <= end:
            histogram[cell + np.uint64(rows[at])] += v
            histogram[cell + np.uint64(rows[also])] += w
            histogram[cell + stride + np.uint64(rows[at + one])] += v
            histogram[cell + stride + np.uint64(rows[also + one])] += w
            histogram[cell + two * stride + np.uint64(rows[at + two])] += v
            histogram[cell + two * stride + np.uint64(rows[also + two])] += w
            histogram[cell + three * stride + np.uint64(rows[at + three])] += v
            histogram[cell + three * stride + np.uint64(rows[also + three])] += w
            at += four
            also += four
            cell += four * stride
        while at < end:
            histogram[cell + np.uint64(rows[at])] += v
            histogram[cell + np.uint64(rows[also])] += w
            at += one
            also += one
            cell += stride


@kernel
def _add_rows(rows, groups, cells, offsets, pairs, index, first, last, histogram):
    """Add the pairs of rows index[first:last] to a histogram."""
    if len(cells):
        for i in range(first, last):
            r = index[i]
            v = unpack(pairs[r])
            for at in range(offsets[r], offsets[r + 1]):
                histogram[np.uint64(cells[at])] += v
        return
    for q in range(len(groups)):
        base, width = np.uint64(len(pairs) * groups[q, 0]), np.uint64(groups[q, 1])
        begin, stride = np.uint64(groups[q, 2]), np.uint64(groups[q, 3])
        if stride == WIDE:  # a constant takes fewer instructions
            _add_group(rows, base, width, begin, WIDE, pairs, index, first, last, histogram)
        else:
            _add_group(rows, base, width, begin, stride, pairs, index, first, last, histogram)


@kernel
def _sum_up(
    entry, member, table, nodes, touched, pool, private,
    rows, groups, cells, offsets, pairs, index, first, last,
):  # fmt: skip
    """Add rows to an entry: the first member to come does so in the pool, others apart."""
    slot = nodes[table[entry, BUILT], SLOT]
    fresh = touched[member, entry] == 0
    if fresh:
        came = atomic_add(table.reshape(-1), entry * table.shape[1] + CLAIMS, 1)
        touched[member, entry] = 1 if came == 0 else 2
    histogram = pool[slot] if touched[member, entry] == 1 else private[member, entry]
    if fresh:
        histogram[:] = 0
    _add_rows(rows, groups, cells, offsets, pairs, index, first, last, histogram)


@kernel
def _find(
    entry, side, block, member, node, nodes, reals, pool, firsts, bins, order, blocks, categories,
    monotone, masks, best, chosen, scratch, gain, settings, plain,
):  # fmt: skip
    """The best split of a node by the features of a block."""
    histogram = pool[nodes[node, SLOT]]
    total, least, most = nodes[node, SUM], reals[node, LEAST], reals[node, MOST]
    value = -np.inf
    for place in range(blocks[block], blocks[block + 1]):
        f = order[place]
        if len(masks) and not masks[entry, side, f]:
            continue
        first = firsts[f]
        if categories[f]:
            this, b, by, left = best_categories(
                histogram, first, bins[f], total, settings, least, most, scratch[member, 1],
                gain[member],
            )  # fmt: skip
        else:
            this, b, by, left = best_threshold(
                histogram, first, bins[f], total, settings, least, most, monotone[f], plain,
                scratch[member, 0], gain[member],
            )  # fmt: skip
        found = chosen[entry, side, block]
        if this > value or (this == value and f < found[0] and this > -np.inf):
            value = this
            found[0], found[1], found[2], found[3] = f, b, by, left
    best[entry, side, block] = value


@kernel
def _settle(
    nodes, reals, counts, table, best, chosen, pool, firsts, bins, categories, sides, sorted_bins,
    ratio, settings,
):  # fmt: skip
    """Keep the best split of each node that wants one over all blocks, if it pays.

    Of features whose splits are equally good it is the first.
    """
    lam, alpha, step = settings[LAMBDA], settings[ALPHA], settings[MAX_STEP]
    scale_g, scale_h = settings[SCALE_G], settings[SCALE_H]
    for entry in range(counts[ENTRIES]):
        for side in range(2):
            node = table[entry, BUILT + side]
            if node < 0:
                continue
            if table[entry, WANTS + side]:
                score, at = -np.inf, 0
                for block in range(best.shape[2]):
                    this = best[entry, side, block]
                    if this > score or (
                        this == score
                        and this > -np.inf
                        and chosen[entry, side, block, 0] < chosen[entry, side, at, 0]
                    ):
                        score, at = this, block
                total = nodes[node, SUM]
                g, h = gradient_of(total, scale_g), hessian_of(total, scale_h)
                w = weight_of(g, h, lam, alpha, step, reals[node, LEAST], reals[node, MOST])
                gain = score - score_of(g, h, w, lam, alpha)
                if gain > LEAST_GAIN and gain >= settings[GAMMA]:
                    found = chosen[entry, side, at]
                    for i in range(3):
                        nodes[node, FEATURE + i] = found[i]
                    nodes[node, LEFT] = found[3]
                    reals[node, GAIN] = gain
                    f, choice = found[0], found[1]
                    if categories[f]:
                        sides[node] = 1
                        sides[node, sides.shape[1] - 1] = found[2]
                        if choice < 0:
                            sides[node, -1 - choice] = 0
                            continue
                        order_categories(
                            pool[nodes[node, SLOT]], firsts[f], bins[f], settings, sorted_bins,
                            ratio,
                        )  # fmt: skip
                        for i in range(choice):
                            sides[node, sorted_bins[i]] = 0
                    continue
            nodes[node, FINAL] = 1
            if nodes[node, SLOT] >= 0:
                table[counts[FREE], SLOTS] = nodes[node, SLOT]
                counts[FREE] += 1
                nodes[node, SLOT] = -1


@kernel
def _plan(nodes, reals, counts, table, batch, monotone, member, settings):
    """Choose the nodes of the next step, make their children, and lay out the tasks of parting."""
    lam, alpha, step = settings[LAMBDA], settings[ALPHA], settings[MAX_STEP]
    scale_g, scale_h = settings[SCALE_G], settings[SCALE_H]
    room = 1 if settings[LOSSGUIDE] else batch
    counts[BATCH] = counts[TASKS] = 0
    while counts[BATCH] < room and counts[NODES] + 2 <= len(nodes):
        if 0 < settings[MAX_LEAVES] <= counts[LEAVES]:
            break
        parent = -1
        for node in range(counts[HEAD], counts[NODES]):
            if nodes[node, FINAL] or nodes[node, CHILD] >= 0:
                counts[HEAD] += node == counts[HEAD]
            elif nodes[node, FEATURE] >= 0:  # else it is new in this step
                if parent < 0 or reals[node, GAIN] > reals[parent, GAIN]:
                    parent = node
                if not settings[LOSSGUIDE]:
                    break
        if parent < 0:
            break
        child = counts[NODES]
        nodes[parent, CHILD] = child
        counts[NODES] += 2
        counts[LEAVES] += 1
        least, most = reals[parent, LEAST], reals[parent, MOST]
        f = nodes[parent, FEATURE]
        middle = 0.0
        for side in range(2):
            node = child + side
            nodes[node] = -1
            total = nodes[parent, LEFT] if side == 0 else nodes[parent, SUM] - nodes[parent, LEFT]
            g, h = gradient_of(total, scale_g), hessian_of(total, scale_h)
            middle += weight_of(g, h, lam, alpha, step, least, most) / 2
            nodes[node, PARENT], nodes[node, SUM] = parent, total
            depth = nodes[parent, DEPTH] + 1
            nodes[node, DEPTH] = depth
            # At the root no feature was used yet: all constraints are obeyed.
            nodes[node, OBEYS] = nodes[parent, OBEYS] & member[f]
            nodes[node, FINAL] = (
                0 < settings[MAX_DEPTH] <= depth or h < 2 * settings[MIN_CHILD] or h <= 0
            )
            reals[node, LEAST], reals[node, MOST] = least, most
        if monotone[f]:
            lower = child + (monotone[f] < 0)
            reals[lower, MOST] = reals[2 * child + 1 - lower, LEAST] = middle
        at = counts[BATCH]
        table[at, NODE] = parent
        counts[BATCH] += 1
        for first in range(nodes[parent, BEGIN], nodes[parent, END], ROWS):
            task = table[counts[TASKS]]
            task[OF], task[FROM], task[TO] = at, first, min(first + ROWS, nodes[parent, END])
            task[WENT] = 0
            counts[TASKS] += 1


@kernel
def _part(task, table, nodes, column, category, sides, index, left, right, leaf):
    """Part the rows of a task; those of children that are both leaves are told their leaf."""
    first, last = table[task, FROM], table[task, TO]
    node = table[table[task, OF], NODE]
    child = nodes[node, CHILD]
    ends = nodes[child, FINAL] and nodes[child + 1, FINAL]
    missing = (1 << (8 * column.itemsize)) - 1
    # Bins from `low` on, counted without sign, so that missing ones may stand before the first.
    low, span = (missing, nodes[node, BIN] + 1) if nodes[node, BY] else (0, nodes[node, BIN])
    a, b, i = first, first, first
    if not (category or ends):
        while i + LANES <= last:
            went = np.int64(part(index, i, column, low, span, left, a, right, b))
            a += went
            b += LANES - went
            i += LANES
    for j in range(i, last):
        r = np.uint64(index[j])
        k = np.int64(column[r])
        went = sides[min(k, len(sides) - 1)] if category else ((k - low) & missing) <= span
        if ends:
            leaf[r] = child + 1 - went
        else:
            left[a] = right[b] = r
            a += went
            b += 1 - went
    table[task, WENT] = a - first


@kernel
def _slot(nodes, reals, counts, table, settings):
    """A slot of the pool; if none is free, that of the open node which is due last.

    Its children will then both be summed up from their rows.
    """
    if counts[FREE] == 0:
        worst = -1
        for node in range(counts[HEAD], counts[NODES]):
            if nodes[node, SLOT] < 0 or nodes[node, CHILD] >= 0 or nodes[node, FEATURE] < 0:
                continue
            if worst < 0 or not settings[LOSSGUIDE] or reals[node, GAIN] < reals[worst, GAIN]:
                worst = node
        table[0, SLOTS] = nodes[worst, SLOT]
        nodes[worst, SLOT] = -1
        return table[0, SLOTS]
    counts[FREE] -= 1
    return table[counts[FREE], SLOTS]


@kernel
def _arrange(nodes, reals, counts, table, touched, settings):
    """Give children their pieces of the index, and say whose histograms are to be summed up."""
    counts[ENTRIES] = 0
    end = 0
    for at in range(counts[BATCH]):
        node = table[at, NODE]
        child, first = nodes[node, CHILD], nodes[node, BEGIN]
        begin, middle = end, first
        while end < counts[TASKS] and table[end, OF] == at:
            middle += table[end, WENT]
            end += 1
        inherited = nodes[node, SLOT]
        nodes[node, SLOT] = -1
        if nodes[child, FINAL] and nodes[child + 1, FINAL]:
            for one in range(child, child + 2):
                nodes[one, BEGIN] = nodes[one, END] = 0
            if inherited >= 0:
                table[counts[FREE], SLOTS] = inherited
                counts[FREE] += 1
            continue
        nodes[child, BEGIN], nodes[child, END] = first, middle
        nodes[child + 1, BEGIN], nodes[child + 1, END] = middle, nodes[node, END]
        a, b = first, middle
        for task in range(begin, end):
            table[task, TO_LEFT], table[task, TO_RIGHT] = a, b
            a += table[task, WENT]
            b += table[task, TO] - table[task, FROM] - table[task, WENT]
        small = child if 2 * middle <= first + nodes[node, END] else child + 1
        other = 2 * child + 1 - small
        if inherited >= 0:
            nodes[other, SLOT] = inherited  # the parent's histogram becomes the larger child's
        for one in (small, other):
            if (inherited >= 0 and one == other) or (inherited < 0 and nodes[one, FINAL]):
                continue
            nodes[one, SLOT] = _slot(nodes, reals, counts, table, settings)
            entry = table[counts[ENTRIES]]
            counts[ENTRIES] += 1
            entry[BUILT], entry[REST] = one, other if inherited >= 0 else -1
            entry[WANTS] = not nodes[one, FINAL]
            entry[REST_WANTS] = inherited >= 0 and not nodes[other, FINAL]
            entry[CLAIMS] = 0
    touched[:] = 0


@kernel
def _mix(key, value):
    """32 bits that depend on both (the finalizer of splitmix64, Steele and others, 2014)."""
    x = np.uint64(key) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(value)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return (x ^ (x >> np.uint64(31))) >> np.uint64(32)


@kernel
def _masks(nodes, counts, table, level, member, masks, listed, share, key):
    """The features that nodes may be split by: a share of their level's, within constraints."""
    for entry in range(counts[ENTRIES]):
        for side in range(2):
            if not table[entry, WANTS + side]:
                continue
            node, mask = table[entry, BUILT + side], masks[entry, side]
            use = level[nodes[node, DEPTH] % len(level)]
            mask[:] = 0
            count = 0
            for f in range(len(use)):
                if use[f]:
                    listed[count] = f
                    count += 1
            for i in range(max(1, int(share * count)) if share < 1 else count):
                other = i + np.int64(_mix(key ^ np.uint64(node), i) % np.uint64(count - i))
                f = listed[other]
                listed[other] = listed[i]
                up = nodes[node, PARENT]
                # The first split of a path may be by any feature, also by one in no constraint.
                allowed = up < 0 or member[f] & nodes[node, OBEYS] != 0
                while up >= 0 and not allowed:
                    allowed = nodes[up, FEATURE] == f
                    up = nodes[up, PARENT]
                mask[f] = allowed


@kernel
def grow(member, members, ctl, data, work, settings, share, key, plain, root):
    """Grow a tree.

    member, members, ctl   see `crew`
    data, work             `Data`, `Work`
    settings               (SETTINGS,) float64, see `splits`
    share                  float64, of a level's features for each node
    key                    uint64, of the samples of features
    plain                  bool, see `splits.best_threshold`
    root                   (cells,) int64, the root's histogram, or (0,): to be summed up
    """
    rows, columns, cells, offsets = data.rows, data.columns, data.cells, data.offsets
    nodes, reals, counts, table, touched = (
        work.nodes, work.reals, work.counts, work.table, work.touched,
    )  # fmt: skip
    pairs, index, left, right, leaf = work.pairs, work.index, work.left, work.right, work.leaf
    pool, private = work.pool, work.private
    bins, groups, categories, usual = data.bins, data.groups, data.categories, data.usual
    firsts, order, blocks, block_cells = data.firsts, data.order, data.blocks, data.block_cells
    monotone, constraints = data.monotone, data.member
    masks, best, chosen = work.masks, work.best, work.chosen
    scratch, gain, sides = work.scratch, work.gain, work.sides
    n = len(pairs)
    if member == 0:
        counts[:] = 0
        counts[NODES] = counts[LEAVES] = counts[ENTRIES] = 1
        counts[FREE] = len(pool) - 1
        for slot in range(len(pool)):
            table[slot, SLOTS] = slot
        nodes[0] = -1
        nodes[0, BEGIN] = nodes[0, DEPTH] = nodes[0, FINAL] = nodes[0, SUM] = 0
        nodes[0, END], nodes[0, SLOT] = n, counts[FREE]
        reals[0, GAIN], reals[0, LEAST], reals[0, MOST] = 0.0, -np.inf, np.inf
        table[0, BUILT], table[0, REST], table[0, CLAIMS] = 0, -1, 0
        table[0, WANTS], table[0, REST_WANTS] = 1, 0
        touched[:] = 0
    if not wait(ctl, members):
        return
    total = np.int64(0)
    while True:
        t = take(ctl, (n + ROWS - 1) // ROWS)
        if t < 0:
            break
        first, last = t * ROWS, min(n, (t + 1) * ROWS)
        for i in range(first, last):
            index[i] = i
            total += unpack(pairs[i])
        if len(root):
            if t == 0:
                slot = nodes[0, SLOT]
                for i in range(len(root)):
                    pool[slot, i] = root[i]
            continue
        _sum_up(
            np.int64(0), member, table, nodes, touched, pool, private, rows, groups, cells, offsets,
            pairs, index, first, last,
        )  # fmt: skip
    atomic_add(nodes.reshape(-1), np.int64(SUM), total)
    while wait(ctl, members):
        if len(masks):
            if member == 0:
                _masks(
                    nodes, counts, table, work.level, constraints, masks, scratch[0, 0], share, key
                )
            if not wait(ctl, members):
                return
        while True:
            t = take(ctl, counts[ENTRIES] * (len(blocks) - 1))
            if t < 0:
                break
            entry, block = t // (len(blocks) - 1), t % (len(blocks) - 1)
            cell, end = block_cells[block], block_cells[block + 1]
            histogram = pool[nodes[table[entry, BUILT], SLOT]]
            for other in range(members):
                if touched[other, entry] == 2:
                    for i in range(cell, end):
                        histogram[i] += private[other, entry, i]
            for place in range(blocks[block], blocks[block + 1]):
                f = order[place]
                if usual[f] >= 0:
                    at, rest = firsts[f] + usual[f], nodes[table[entry, BUILT], SUM]
                    histogram[at] = 0
                    for i in range(firsts[f], firsts[f] + bins[f] + 1):
                        rest -= histogram[i]
                    histogram[at] = rest
            for side in range(2):
                node = table[entry, BUILT + side]
                if table[entry, WANTS + side]:
                    if side:
                        parents = pool[nodes[node, SLOT]]
                        for i in range(cell, end):
                            parents[i] -= histogram[i]
                    _find(
                        entry, side, block, member, node, nodes, reals, pool, firsts, bins, order,
                        blocks, categories, monotone, masks, best, chosen, scratch, gain, settings,
                        plain,
                    )  # fmt: skip
        if not wait(ctl, members):
            return
        if member == 0:
            _settle(
                nodes, reals, counts, table, best, chosen, pool, firsts, bins, categories,
                sides, scratch[0, 1], gain[0], settings,
            )  # fmt: skip
            _plan(nodes, reals, counts, table, len(best) // 2, monotone, constraints, settings)
        if not wait(ctl, members):
            return
        if counts[BATCH] == 0:
            break
        if len(cells):
            while True:
                t = take(ctl, counts[BATCH])
                if t < 0:
                    break
                f, dense = nodes[table[t, NODE], FEATURE], work.dense[t]
                dense[:] = (1 << (8 * dense.itemsize)) - 1
                for i in range(data.column_offsets[f], data.column_offsets[f + 1]):
                    dense[data.column_rows[i]] = data.column_bins[i]
            if not wait(ctl, members):
                return
        while True:
            t = take(ctl, counts[TASKS])
            if t < 0:
                break
            at = table[t, OF]
            f = nodes[table[at, NODE], FEATURE]
            column = work.dense[at] if len(cells) else columns[f]
            _part(
                t,
                table,
                nodes,
                column,
                categories[f],
                sides[table[at, NODE] if categories[f] else 0],
                index,
                left,
                right,
                leaf,
            )
        if not wait(ctl, members):
            return
        if member == 0:
            _arrange(nodes, reals, counts, table, touched, settings)
        if not wait(ctl, members):
            return
        while True:
            t = take(ctl, counts[TASKS])
            if t < 0:
                break
            child = nodes[table[table[t, OF], NODE], CHILD]
            if nodes[child, FINAL] and nodes[child + 1, FINAL]:
                continue
            first, went = table[t, FROM], table[t, WENT]
            count = table[t, TO] - first
            copy(index, table[t, TO_LEFT], left, first, went)
            copy(index, table[t, TO_RIGHT], right, first, count - went)
            for entry in range(counts[ENTRIES]):
                side = table[entry, BUILT] - child
                if side == 0 or side == 1:
                    m = count - went if side else went
                    if m:
                        _sum_up(
                            entry, member, table, nodes, touched, pool, private, rows, groups,
                            cells, offsets, pairs, right if side else left, first,
                            first + m,
                        )  # fmt: skip
    # Rows of leaves that were parted from nodes which live on.
    while True:
        t = take(ctl, counts[NODES])
        if t < 0:
            break
        if nodes[t, CHILD] < 0:
            for i in range(nodes[t, BEGIN], nodes[t, END]):
                leaf[np.uint64(index[i])] = t


@kernel
def say(nodes, reals, settings, weights):
    """What nodes say as leaves, by their packed sums.

    nodes, reals, settings   see `Work` and `splits`                                  in
    weights                  (nodes,) float64                                         out
    """
    lam, alpha, step = settings[LAMBDA], settings[ALPHA], settings[MAX_STEP]
    scale_g, scale_h = settings[SCALE_G], settings[SCALE_H]
    for i in range(len(weights)):
        total = nodes[i, SUM]
        g, h = gradient_of(total, scale_g), hessian_of(total, scale_h)
        weights[i] = weight_of(g, h, lam, alpha, step, reals[i, LEAST], reals[i, MOST])
    if hessian_of(nodes[0, SUM], scale_h) < settings[MIN_CHILD]:
        weights[0] = 0.0  # a root that is too light to be a child says nothing, as in XGBoost


@kernel
def say_exactly(sums, reals, settings, weights):
    """The same by (nodes, 2) float64 sums of gradients and hessians."""
    lam, alpha, step = settings[LAMBDA], settings[ALPHA], settings[MAX_STEP]
    for i in range(len(weights)):
        weights[i] = weight_of(
            sums[i, 0], sums[i, 1], lam, alpha, step, reals[i, LEAST], reals[i, MOST]
        )
    if len(weights) == 1 and sums[0, 1] < settings[MIN_CHILD]:
        weights[0] = 0.0
