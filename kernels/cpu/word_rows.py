"""Products of one vector with rows of a table, and the step that follows, some rows at a time.

A row is `vectors` times sixteen float32, on cache lines of its own. What is unrolled are rows, not
columns: the sums of all rows of a tile stay in registers while the columns pass by, so that any
width is as fast as another, and one compiled tile serves them all. Each product is a chain of fused
multiply-adds per lane, whose lanes are then added by halves: its bits do not depend on the tile.

A broad tile has as many products of fewer rows with several vectors: most of the work is to bring
rows near and to write them back, and it is done once for all vectors.

Rows of a tile that are one and the same row of the table take their steps one after another.
"""

import mmap
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smalgos._jit import COMPILED, kernel
from smalgos.kernels.cpu.negatives import bits, key, stream, unit
from smalgos.kernels.cpu.shared import chunks, readable, run
from smalgos.kernels.cpu.tile import aligned
from smalgos.kernels.cpu.vector import LANES, fma, load, prefetch, splat, store, sum_halves

TALL = 16  # rows of the tallest tile
POINTS = 4  # vectors that the rows of a broad tile are multiplied with at once

inner = kernel(fastmath=False, forceinline=True)

if COMPILED:
    from llvmlite import ir
    from numba import types
    from numba.core import cgutils
    from numba.extending import intrinsic

    from smalgos.kernels.cpu.vector import c_ordered, everywhere

    I32, I64, F32 = ir.IntType(32), ir.IntType(64), ir.FloatType()
    VECTOR, INTEGERS = ir.VectorType(F32, LANES), ir.VectorType(I32, LANES)
    NOTHING = ir.Constant(VECTOR, ir.Undefined)

    class _Tile:
        """What both tiles are made of: the rows, and a loop over their columns."""

        def __init__(self, context: Any, builder: Any, sig: Any, args: Any, height: int) -> None:
            self.context, self.builder, self.sig, self.args = context, builder, sig, args
            shape = ir.FunctionType(VECTOR, [VECTOR] * 3)
            self._fma = cgutils.get_or_insert_function(builder.module, shape, "llvm.fma.v16f32")
            table, ids, vectors = self.data(0), self.at(1), args[3]
            self.floats = builder.mul(vectors, I64(LANES))
            self.rows = []
            for j in range(height):
                number = builder.sext(builder.load(builder.gep(ids, [I64(j)])), I64)
                self.rows.append(builder.gep(table, [builder.mul(number, self.floats)]))

        def data(self, i: int) -> Any:
            made = self.context.make_array(self.sig.args[i])
            return made(self.context, self.builder, self.args[i]).data

        def at(self, i: int) -> Any:
            """Pointer to the entry of array i that the argument after it says."""
            return self.builder.gep(self.data(i), [self.args[i + 1]])

        def each(self, place: Any, points: int) -> list[Any]:
            """Where vectors begin that follow one another from a place on."""
            return [
                self.builder.gep(place, [self.builder.mul(self.floats, I64(c))])
                for c in range(points)
            ]

        def load(self, base: Any, column: Any) -> Any:
            place = self.builder.gep(base, [column])
            return self.builder.load(self.builder.bitcast(place, VECTOR.as_pointer()), align=4)

        def store(self, value: Any, base: Any, column: Any) -> None:
            place = self.builder.gep(base, [column])
            self.builder.store(value, self.builder.bitcast(place, VECTOR.as_pointer()), align=4)

        def fma(self, a: Any, b: Any, c: Any) -> Any:
            return self.builder.call(self._fma, [a, b, c])

        def columns(self, carried: int, step: Any) -> list[Any]:
            """Run `step(column, sums) -> sums` over all columns; the sums start at zero."""
            builder, zero = self.builder, ir.Constant(VECTOR, [0.0] * LANES)
            before = builder.block
            loop, done = builder.append_basic_block("columns"), builder.append_basic_block("done")
            builder.branch(loop)
            builder.position_at_end(loop)
            column = builder.phi(I64)
            sums = [builder.phi(VECTOR) for _ in range(carried)]
            new = step(column, sums)
            later = builder.add(column, I64(LANES))
            pairs = ((column, I64(0), later), *zip(sums, [zero] * carried, new, strict=True))
            for phi, first, then in pairs:
                phi.add_incoming(first, before)
                phi.add_incoming(then, loop)
            builder.cbranch(builder.icmp_signed("<", later, self.floats), loop, done)
            builder.position_at_end(done)
            return new

    def _reversed(j: int) -> int:
        """The four bits of j from the last to the first."""
        return int(f"{j:04b}"[::-1], 2)

    def _halves(builder: Any, sums: list[Any]) -> Any:
        """One vector whose lane j is the sum of the lanes of vector j, as `sum_halves` adds them.

        Two vectors become one: the halves of each are added, side by side. Then quarters, ...
        """
        slots: list[Any] = [None] * LANES
        for j, value in enumerate(sums):
            slots[_reversed(j)] = value
        width = LANES // 2
        while width:
            half = len(slots) // 2
            paired = []
            for a, b in zip(slots[:half], slots[half:], strict=True):
                if a is None:
                    paired.append(None)
                    continue
                lower, upper = [], []
                for lane in range(LANES):
                    block, within = divmod(lane, width)
                    # Even blocks come of the first vector, odd ones of the second.
                    source = (block % 2) * LANES + (block // 2) * 2 * width + within
                    lower.append(I32(source))
                    upper.append(I32(source + width))
                b = NOTHING if b is None else b
                masks = (ir.Constant(INTEGERS, m) for m in (lower, upper))
                paired.append(builder.fadd(*(builder.shuffle_vector(a, b, m) for m in masks)))
            slots = paired
            width //= 2
        return slots[0]

    def _order() -> list[int]:
        """The lane that `_halves` leaves each sum in."""
        found = [0] * LANES
        for lane in range(LANES):
            index, width, block = 0, LANES // 2, lane
            for level in range(4):
                width = LANES >> (level + 1)
                block = lane // width
                index |= (block % 2) << (3 - level)
            found[_reversed(index)] = lane
        return found

    ORDER = _order()

    def _dots(height: int, points: int = 1) -> Any:
        def dots(typingctx, table, ids, at, vectors, h, h_at, out, out_at):
            n = types.int64
            given = c_ordered(table), c_ordered(ids), n, n, c_ordered(h), n, c_ordered(out, True), n

            def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
                tile = _Tile(context, builder, sig, args, height)
                each, place = tile.each(tile.at(4), points), tile.at(6)

                def step(column: Any, sums: list[Any]) -> list[Any]:
                    xs, left, new = [tile.load(h, column) for h in each], iter(sums), []
                    for row in tile.rows:
                        u = tile.load(row, column)
                        new += [tile.fma(x, u, next(left)) for x in xs]
                    return new

                count = height * points
                found = _halves(builder, tile.columns(count, step))
                lanes = ir.Constant(ir.VectorType(I32, count), [I32(x) for x in ORDER[:count]])
                found = builder.shuffle_vector(found, NOTHING, lanes)
                place = builder.bitcast(place, found.type.as_pointer())
                builder.store(found, place, align=4)
                return context.get_dummy_value()

            return types.void(*given), codegen

        return intrinsic(dots)

    def _slopes(tile: _Tile, i: int, count: int) -> list[Any]:
        """The numbers of array i, each in all lanes."""
        builder, first = tile.builder, tile.at(i)
        numbers = (builder.load(builder.gep(first, [I64(j)])) for j in range(count))
        return [everywhere(builder, x) for x in numbers]

    def _move(height: int, points: int = 1) -> Any:
        def move(typingctx, table, ids, at, vectors, h, h_at, g, g_at, e, e_at):
            n = types.int64
            flat = c_ordered(h), n, c_ordered(g), n, c_ordered(e, True), n
            given = c_ordered(table, True), c_ordered(ids), n, n, *flat

            def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
                tile = _Tile(context, builder, sig, args, height)
                each, totals = tile.each(tile.at(4), points), tile.each(tile.at(8), points)
                slopes = _slopes(tile, 6, height * points)

                def step(column: Any, _: list[Any]) -> list[Any]:
                    xs = [tile.load(h, column) for h in each]
                    gained = [tile.load(e, column) for e in totals]
                    left = iter(slopes)
                    for row in tile.rows:
                        old = tile.load(row, column)
                        new = old
                        for c, x in enumerate(xs):
                            slope = next(left)
                            gained[c] = tile.fma(slope, old, gained[c])
                            new = tile.fma(slope, x, new)
                        tile.store(new, row, column)
                    for e, value in zip(totals, gained, strict=True):
                        tile.store(value, e, column)
                    return []

                tile.columns(0, step)
                return context.get_dummy_value()

            return types.void(*given), codegen

        return intrinsic(move)

    def _combine(height: int) -> Any:
        def combine(typingctx, table, ids, at, vectors, g, g_at, e, e_at):
            n = types.int64
            given = c_ordered(table), c_ordered(ids), n, n, c_ordered(g), n, c_ordered(e, True), n

            def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
                tile = _Tile(context, builder, sig, args, height)
                total, each = tile.at(6), _slopes(tile, 4, height)

                def step(column: Any, _: list[Any]) -> list[Any]:
                    gained = tile.load(total, column)
                    for row, slope in zip(tile.rows, each, strict=True):
                        gained = tile.fma(slope, tile.load(row, column), gained)
                    tile.store(gained, total, column)
                    return []

                tile.columns(0, step)
                return context.get_dummy_value()

            return types.void(*given), codegen

        return intrinsic(combine)

else:

    def _dots(height: int, points: int = 1) -> Any:
        def dots(table, ids, at, vectors, h, h_at, out, out_at):
            width = vectors * LANES
            for j in range(height):
                row = ids[at + j] * width
                for c in range(points):
                    total = np.zeros(LANES, np.float32)
                    for v in range(0, width, LANES):
                        x = load(h, h_at + c * width + v)
                        total = fma(x, load(table, row + v), total)
                    out[out_at + j * points + c] = sum_halves(total)

        return dots

    def _move(height: int, points: int = 1) -> Any:
        def move(table, ids, at, vectors, h, h_at, g, g_at, e, e_at):
            width = vectors * LANES
            for j in range(height):
                row, first = ids[at + j] * width, g_at + j * points
                for v in range(0, width, LANES):
                    old = load(table, row + v)
                    new = old
                    for c in range(points):
                        slope, place = splat(g[first + c]), c * width + v
                        store(e, e_at + place, fma(slope, old, load(e, e_at + place)))
                        new = fma(slope, load(h, h_at + place), new)
                    store(table, row + v, new)

        return move

    def _combine(height: int) -> Any:
        def combine(table, ids, at, vectors, g, g_at, e, e_at):
            for j in range(height):
                row, slope = ids[at + j] * vectors * LANES, splat(g[g_at + j])
                for v in range(0, vectors * LANES, LANES):
                    total = fma(slope, load(table, row + v), load(e, e_at + v))
                    store(e, e_at + v, total)

        return combine


_dots_16, _dots_4, _dots_1 = _dots(16), _dots(4), _dots(1)
_move_16, _move_4, _move_1 = _move(16), _move(4), _move(1)
_dots_broad, _move_broad = _dots(TALL // POINTS, POINTS), _move(TALL // POINTS, POINTS)
_combine_16, _combine_4, _combine_1 = _combine(16), _combine(4), _combine(1)


@inner
def dots(table, ids, at, count, vectors, h, h_at, out, out_at):
    """Products of h with rows of a table.

    table           (n, 16 * vectors) float32                              in
    ids, at, count  int32, from `at` on: numbers of `count` rows           in
    h, h_at         16 * vectors float32 from flat element `h_at` on       in
    out, out_at     `count` float32 from flat element `out_at` on          out
    """
    j = 0
    while j + 16 <= count:
        _dots_16(table, ids, at + j, vectors, h, h_at, out, out_at + j)
        j += 16
    while j + 4 <= count:
        _dots_4(table, ids, at + j, vectors, h, h_at, out, out_at + j)
        j += 4
    while j < count:
        _dots_1(table, ids, at + j, vectors, h, h_at, out, out_at + j)
        j += 1


@inner
def move(table, ids, at, count, vectors, h, g, e):
    """For one row after another: e += g[j] row, row += g[j] h, with the row as it was before.

    table           (n, 16 * vectors) float32                              in, out
    ids, at, count  int32, from `at` on: numbers of `count` rows           in
    h               (16 * vectors,) float32                                in
    g               (count,) float32                                       in
    e               (16 * vectors,) float32                                in, out
    """
    j = 0
    while j + 16 <= count:
        _move_16(table, ids, at + j, vectors, h, 0, g, j, e, 0)
        j += 16
    while j + 4 <= count:
        _move_4(table, ids, at + j, vectors, h, 0, g, j, e, 0)
        j += 4
    while j < count:
        _move_1(table, ids, at + j, vectors, h, 0, g, j, e, 0)
        j += 1


@inner
def dots_broad(table, ids, at, count, vectors, h, out):
    """Products of POINTS vectors with rows of a table.

    count    a multiple of TALL // POINTS                                  in
    h        (POINTS * 16 * vectors,) float32                              in
    out      (count * POINTS,) float32: those of a row side by side        out
    The others as for `dots`.
    """
    for j in range(0, count, TALL // POINTS):
        _dots_broad(table, ids, at + j, vectors, h, 0, out, j * POINTS)


@inner
def move_broad(table, ids, at, count, vectors, h, g, e, soon, until):
    """For one row after another: each e += its g row, row += the sum of g h, rows as before.

    h, e           (POINTS * 16 * vectors,) float32                        in, and in and out
    g              (count * POINTS,) float32, as `dots_broad` leaves products   in
    soon, until    int64: numbers in `ids` of rows to ask for meanwhile
    The others as for `dots_broad`.
    """
    high = TALL // POINTS
    for j in range(0, count, high):
        _move_broad(table, ids, at + j, vectors, h, 0, g, j * POINTS, e, 0)
        fetch(table, ids, soon + j, min(high, until - soon - j), vectors)
    fetch(table, ids, soon + count, until - soon - count, vectors)


@inner
def combine(table, ids, at, count, vectors, g, g_at, e, e_at):
    """e += g[j] row for one row after another, which stay as they are.

    g, g_at    `count` float32 from flat element `g_at` on                 in
    e, e_at    16 * vectors float32 from flat element `e_at` on            in, out
    The others as for `dots`.
    """
    j = 0
    while j + 16 <= count:
        _combine_16(table, ids, at + j, vectors, g, g_at + j, e, e_at)
        j += 16
    while j + 4 <= count:
        _combine_4(table, ids, at + j, vectors, g, g_at + j, e, e_at)
        j += 4
    while j < count:
        _combine_1(table, ids, at + j, vectors, g, g_at + j, e, e_at)
        j += 1


@inner
def mean(table, ids, at, count, vectors, out, out_at):
    """The mean of rows of a table, added up from zero in order.

    out, out_at    16 * vectors float32 from flat element `out_at` on      out
    The others as for `dots`; count > 0.
    """
    share = splat(np.float32(1.0) / np.float32(count))
    width = vectors * LANES
    first = np.int64(ids[at]) * width
    for v in range(0, width, LANES):
        store(out, out_at + v, load(table, first + v))
    for j in range(1, count):
        row = np.int64(ids[at + j]) * width
        for v in range(0, width, LANES):
            store(out, out_at + v, load(out, out_at + v) + load(table, row + v))
    if count > 1:
        for v in range(0, width, LANES):
            store(out, out_at + v, load(out, out_at + v) * share)


@inner
def add(table, ids, at, count, vectors, share, e, e_at):
    """Add share * e to rows of a table, one after another.

    share    float32
    The others as for `combine`; the table is changed.
    """
    width = vectors * LANES
    factor = splat(share)
    for j in range(count):
        row = np.int64(ids[at + j]) * width
        for v in range(0, width, LANES):
            store(table, row + v, fma(factor, load(e, e_at + v), load(table, row + v)))


@inner
def fetch(table, ids, at, count, vectors):
    """Ask for the cache lines of rows that are needed soon."""
    for j in range(at, at + count):
        row = np.int64(ids[j]) * vectors * LANES
        for v in range(0, (vectors - 1) * LANES, 2 * LANES):  # two at a time: half the counting
            prefetch(table, row + v)
            prefetch(table, row + v + LANES)
        if vectors & 1:
            prefetch(table, row + (vectors - 1) * LANES)


@inner
def clear(x, at, vectors):
    """Set `vectors` times sixteen numbers from flat element `at` on to zero."""
    for v in range(at, at + vectors * LANES, LANES):
        store(x, v, splat(0.0))


def padded(
    rows: NDArray[np.float32], in_place: bool = False, behind: int = 0
) -> NDArray[np.float32]:
    """Rows of multiples of sixteen numbers, from the start of a cache line on.

    Parameters
    ----------
    rows : ndarray of float32, shape (n, d)
    in_place : bool
        Give the memory that `starts` made, not a copy.
    behind : int
        Rows of zeros that follow in a copy.

    Returns
    -------
    ndarray of float32, shape (n + behind, 16 * ceil(d / 16)); n rows if in place
        Zeros beyond the rows' own numbers.

    Raises
    ------
    ValueError
        If rows that are to be changed in place are none of `starts`.
    """
    n, d = rows.shape
    width = -(-d // LANES) * LANES
    if not in_place:
        out = aligned(n + behind, width)
        out[:n, :d] = rows
        return out
    address, owner = rows.__array_interface__["data"][0], rows.base
    fits = isinstance(owner, np.ndarray) and rows.strides == (4 * width, 4) and address % 64 == 0
    if fits:
        behind = owner.__array_interface__["data"][0] + owner.nbytes
        fits = rows.flags.writeable and address + 4 * n * width <= behind
    if not fits:
        raise ValueError("only rows that `starts` made are changed in place")
    return np.lib.stride_tricks.as_strided(rows, (n, width), (4 * width, 4))


@kernel(fastmath=False)
def _uniform(out, columns, first, until, key, bound):
    """Rows of numbers in [-bound, bound): upper and lower halves of 64 bits in two loops, which
    become vectors.

    out           (n, 16 * vectors) float32                                  out
    columns       int64, numbers of a row
    first, until  int64, rows to fill
    key           uint64, see `negatives.key`
    bound         float32
    """
    half = (columns + 1) // 2
    for r in range(first, until):
        start = stream(key, r)
        row = out[r]
        for c in range(half):
            row[c] = bound * (np.float32(2.0) * unit(bits(start, c)) - np.float32(1.0))
        for c in range(half, columns):
            word = bits(start, c - half) << np.uint64(32)
            row[c] = bound * (np.float32(2.0) * unit(word) - np.float32(1.0))


def starts(
    n: int,
    d: int,
    bound: float,
    seed: int,
    purpose: str = "rows",
    drawn: int | None = None,
) -> NDArray[np.float32]:
    """Rows to start from, which can be trained in place.

    Parameters
    ----------
    n, d : int
    bound : float
        Numbers are uniform in [-bound, bound); with 0 all are zero.
    seed : int
    purpose : str
        Rows of different purposes have nothing to do with each other.
    drawn : int, optional
        So many rows are drawn, and the others are zero, which costs no memory before they are
        written to: buckets of n-grams, most of which are never seen.

    Returns
    -------
    ndarray of float32, shape (n, d)
        A row depends on its number, not on how many there are. Not contiguous: rows lie a multiple
        of 64 bytes apart.
    """
    width = -(-d // LANES) * LANES
    drawn = n if drawn is None else min(n, drawn)
    if drawn < n:
        # NumPy would ask for pages of 2 MiB, of which one row would make a whole one.
        memory = mmap.mmap(-1, max(1, 4 * n * width), mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        out = np.frombuffer(memory, np.float32, n * width).reshape(n, width)
    else:
        out = aligned(n, width)
    if bound:
        word, size = np.uint64(key(seed, purpose)), np.float32(bound)
        run(lambda part: _uniform(out, d, part.start, part.stop, word, size), chunks(drawn))
    return out[:, :d]


@inner
def mean_of(table, columns, ids, at, count, h):
    """As `mean`, of rows of any width: the same bits. Zeros where there are none.

    table     (n, width) float32, `columns` of them count                    in
    h         (columns,) float32 or more                                     out
    """
    for c in range(columns):
        h[c] = 0.0
    for j in range(at, at + count):
        row = ids[j]
        for c in range(columns):
            h[c] += table[row, c]
    if count > 1:
        share = np.float32(1.0) / np.float32(count)
        for c in range(columns):
            h[c] *= share


@kernel(fastmath=False)
def _means(table, columns, ids, offsets, out):
    """Means of rows.

    table, columns   see `mean_of`                                           in
    ids              int32                                                   in
    offsets          (m + 1,) int64, which of them belong together           in
    out              (m, columns) float32                                    out
    """
    for i in range(len(offsets) - 1):
        mean_of(table, columns, ids, offsets[i], offsets[i + 1] - offsets[i], out[i])


def flat(table: NDArray[np.float32]) -> NDArray[np.float32]:
    """A C-ordered table for kernels to read; what `starts` made comes with its padding."""
    if table.flags.c_contiguous:
        return readable(table, np.float32)
    try:
        return padded(table, in_place=True)
    except ValueError:
        return readable(table, np.float32)


def means(table: NDArray[np.float32], rows: Any) -> NDArray[np.float32]:
    """The means of rows of a table: words of their pieces, texts of their words.

    Parameters
    ----------
    table : ndarray of float32, shape (n, d)
    rows : Ragged of int32
        Numbers of rows.

    Returns
    -------
    ndarray of float32, shape (len(rows), d)
        Zeros where there are none.

    Raises
    ------
    ValueError
        If there is no row of such a number.
    """
    ids, offsets = readable(rows.values, np.int32), readable(rows.offsets, np.int64)
    within(ids[offsets[0] : offsets[-1]], len(table))
    wide, d = flat(table), table.shape[1]
    out = np.empty((len(offsets) - 1, d), np.float32)

    def work(part: slice) -> None:
        _means(wide, d, ids, offsets[part.start : part.stop + 1], out[part])

    run(work, chunks(len(out)))
    return out


def within(ids: NDArray[np.int32], n: int) -> None:
    """Check numbers of rows before kernels follow them.

    Raises
    ------
    ValueError
        If one of them is negative, or `n` or more.
    """
    if len(ids) and not 0 <= ids.min() <= ids.max() < n:
        raise ValueError(f"rows {ids.min()} to {ids.max()} are named where there are {n}")


def parts(offsets: NDArray[np.int64], size: int) -> list[slice]:
    """Slices of lists with `size` entries or little more each."""
    steps = np.arange(offsets[0], offsets[-1], size)
    cuts = np.unique(np.append(np.searchsorted(offsets, steps), len(offsets) - 1))
    return [slice(a, b) for a, b in zip(cuts[:-1].tolist(), cuts[1:].tolist(), strict=True)]
