"""Scores of rows by points, tile by tile in registers.

The score of a row x by a point p is x . p - |p|^2 / 2: the nearest point has the highest one. (With
zeros for the halves of the squared norms it is the inner product.) Rows are the lanes: sixteen of
them make a panel (d, 16), `WIDE` panels a strip, so that what follows a product (running maxima,
thresholds) works on lanes and needs no sum or search across them. Points are packed `TALL` at a
time, (T, d, TALL): one stream of numbers that are spread over all lanes.

Each score is one chain of fused multiply-adds from -|p|^2 / 2 in ascending order of the features:
its bits depend neither on the shape of tiles nor on what is computed beside it. A feature that is
zero changes no bit, so sparse rows with ascending columns have the bits of dense ones.
"""

from typing import Any

import numpy as np

from smalgos._jit import COMPILED, kernel
from smalgos.kernels.cpu.tile import PANEL
from smalgos.kernels.cpu.vector import (
    fma,
    load,
    load_part,
    select,
    splat,
    store,
    sum_halves,
    transpose,
    widen,
)

inner = kernel(fastmath=False, inline="always")

if COMPILED:
    # Points and panels of a tile, as there: 24 sums in the 32 registers of AVX-512, 6 x 2 halves in
    # the 16 of AVX2. The last points take LOW.
    from smalgos.kernels.cpu.tile import LOW, TALL, WIDE
else:
    TALL, LOW, WIDE = 6, 3, 1
STRIP = WIDE * PANEL  # rows of a strip

if COMPILED:
    from llvmlite import ir
    from numba import types
    from numba.core import cgutils
    from numba.extending import intrinsic

    from smalgos.kernels.cpu.vector import c_ordered, everywhere

    I32, I64, F32 = ir.IntType(32), ir.IntType(64), ir.FloatType()
    VECTOR = ir.VectorType(F32, PANEL)

    def _emit(context: Any, builder: Any, sig: Any, args: Any, height: int) -> Any:
        at, start_at, depth, row_at, row_panel, out_at = (args[i] for i in (1, 3, 4, 6, 7, 9))

        def pointer(i: int, offset: Any) -> Any:
            array = context.make_array(sig.args[i])(context, builder, args[i])
            return builder.gep(array.data, [offset])

        def place(base: Any, offset: Any) -> Any:
            return builder.bitcast(builder.gep(base, [offset]), VECTOR.as_pointer())

        def number(value: int) -> Any:
            return ir.Constant(I64, value)

        shape = ir.FunctionType(VECTOR, [VECTOR] * 3)
        fma = cgutils.get_or_insert_function(builder.module, shape, "llvm.fma.v16f32")
        a_first, b_first = pointer(0, at), pointer(5, row_at)
        halves, out = pointer(2, start_at), pointer(8, out_at)
        start = [
            everywhere(builder, builder.load(builder.gep(halves, [number(r)])))
            for r in range(height)
        ]
        before = builder.block
        loop, done = builder.append_basic_block("k"), builder.append_basic_block("done")
        builder.cbranch(builder.icmp_signed(">", depth, number(0)), loop, done)

        builder.position_at_end(loop)
        left = builder.phi(I64)
        a, b = builder.phi(a_first.type), builder.phi(b_first.type)
        sums = [[builder.phi(VECTOR) for _ in range(WIDE)] for _ in range(height)]
        right = [
            builder.load(place(b, builder.mul(row_panel, number(j))), align=4) for j in range(WIDE)
        ]
        new = []
        for r in range(height):
            one = everywhere(builder, builder.load(builder.gep(a, [number(r)])))
            new.append([builder.call(fma, [one, right[j], sums[r][j]]) for j in range(WIDE)])
        next_left = builder.sub(left, number(1))
        steps = (
            (left, depth, next_left),
            (a, a_first, builder.gep(a, [number(TALL)])),
            (b, b_first, builder.gep(b, [number(PANEL)])),
        )
        for phi, first, later in steps:
            phi.add_incoming(first, before)
            phi.add_incoming(later, loop)
        for r in range(height):
            for j in range(WIDE):
                sums[r][j].add_incoming(start[r], before)
                sums[r][j].add_incoming(new[r][j], loop)
        builder.cbranch(builder.icmp_signed(">", next_left, number(0)), loop, done)

        builder.position_at_end(done)
        for r in range(height):
            for j in range(WIDE):
                total = builder.phi(VECTOR)
                total.add_incoming(start[r], before)
                total.add_incoming(new[r][j], loop)
                new[r][j] = total
        for r in range(height):
            for j in range(WIDE):
                spot = place(out, number((r * WIDE + j) * PANEL))
                builder.store(new[r][j], spot, align=4)
        return context.get_dummy_value()

    def _tile(height: int) -> Any:
        def tile(ty, points, at, starts, start_at, depth, rows, row_at, row_panel, out, out_at):
            n = types.int64
            arrays = c_ordered(points), c_ordered(starts), c_ordered(rows), c_ordered(out, True)
            a, s, x, o = arrays
            shape = types.void(a, n, s, n, n, x, n, n, o, n)
            return shape, lambda *given: _emit(*given, height)

        tile.__name__ = f"tile_{height}"
        tile.__doc__ = f"""Scores of a strip of rows by {height} points.

        points, at           (T, d, TALL) float32, flat element of the first point       in
        starts, start_at     float32, -|p|^2 / 2 of the points from `start_at` on        in
        depth                int64, d
        rows, row_at, row_panel   panels (d, 16) float32, flat element of the first, and
                             of how many elements a panel is                             in
        out, out_at          {height} x WIDE x 16 float32 from `out_at` on                   out
        """
        return intrinsic(tile)

    tall, low = _tile(TALL), _tile(LOW)

    @intrinsic
    def turn(typingctx: Any, a: Any, starts: Any, at: Any, b: Any, b_at: Any) -> Any:
        """A square of sixteen numbers from each of sixteen rows, transposed: b[b_at:][:256].

        starts   (16,) int64, flat elements of `a` where the rows start; at: of the numbers in them
        """

        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            def data(i: int) -> Any:
                return context.make_array(sig.args[i])(context, builder, args[i]).data

            def place(i: int, offset: Any) -> Any:
                return builder.bitcast(builder.gep(data(i), [offset]), VECTOR.as_pointer())

            def number(value: int) -> Any:
                return ir.Constant(I64, value)

            first = [builder.load(builder.gep(data(1), [number(r)])) for r in range(PANEL)]
            rows = [builder.load(place(0, builder.add(f, args[2])), align=4) for f in first]
            # Four rounds of exchanging the off-diagonal halves of pairs of rows.
            for bit in (1, 2, 4, 8):
                upper = [i if not i & bit else PANEL + (i ^ bit) for i in range(PANEL)]
                lower = [i | bit if not i & bit else PANEL + i for i in range(PANEL)]
                masks = [ir.Constant(ir.VectorType(I32, PANEL), m) for m in (upper, lower)]
                for r in range(PANEL):
                    if not r & bit:
                        pair = rows[r], rows[r | bit]
                        rows[r], rows[r | bit] = (builder.shuffle_vector(*pair, m) for m in masks)
            for r in range(PANEL):
                spot = place(3, builder.add(args[4], number(r * PANEL)))
                builder.store(rows[r], spot, align=4)
            return context.get_dummy_value()

        n = types.int64
        return types.void(c_ordered(a), c_ordered(starts), n, c_ordered(b, True), n), codegen

    @intrinsic
    def lanes_above(typingctx: Any, a: Any, at: Any, b: Any, b_at: Any) -> Any:
        """Bit i: a[at + i] > b[b_at + i], of sixteen float32."""

        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            def vector(i: int) -> Any:
                data = context.make_array(sig.args[i])(context, builder, args[i]).data
                place = builder.gep(data, [args[i + 1]])
                return builder.load(builder.bitcast(place, VECTOR.as_pointer()), align=4)

            mask = builder.fcmp_ordered(">", vector(0), vector(2))
            return builder.zext(builder.bitcast(mask, ir.IntType(PANEL)), I64)

        return types.int64(c_ordered(a), types.int64, c_ordered(b), types.int64), codegen

else:

    def _tile(height: int) -> Any:
        def tile(
            points: Any, at: int, starts: Any, start_at: int, depth: int,
            rows: Any, row_at: int, row_panel: int, out: Any, out_at: int,
        ) -> None:  # fmt: skip
            p = points.reshape(-1)[at : at + depth * TALL].reshape(depth, TALL)[:, :height]
            x = np.stack([
                rows.reshape(-1)[a : a + depth * PANEL].reshape(depth, PANEL)
                for a in (row_at + j * row_panel for j in range(WIDE))
            ], axis=1)  # fmt: skip
            total = np.repeat(starts[start_at : start_at + height, None, None], WIDE, axis=1)
            total = np.repeat(total, PANEL, axis=2)
            for i in range(depth):  # the product of two float32 is exact in float64
                more = p[i, :, None, None].astype(np.float64) * x[i].astype(np.float64)
                total = (more + total).astype(np.float32)
            out.reshape(-1)[out_at : out_at + total.size] = total.reshape(-1)

        return tile

    tall, low = _tile(TALL), _tile(LOW)

    def turn(a: Any, starts: Any, at: int, b: Any, b_at: int) -> None:
        rows = [a.reshape(-1)[f + at : f + at + PANEL] for f in starts]
        b.reshape(-1)[b_at : b_at + PANEL * PANEL] = np.stack(rows, axis=1).reshape(-1)

    def lanes_above(a: Any, at: int, b: Any, b_at: int) -> int:
        above = a.reshape(-1)[at : at + PANEL] > b.reshape(-1)[b_at : b_at + PANEL]
        return int((above * (1 << np.arange(PANEL))).sum())


@inner
def pack(X, numbers, first, count, starts, square, rows, at):
    """Rows of X as the lanes of a strip.

    X          (n, d) float32                                                         in
    numbers    (>= first + count,) int32, rows to take: numbers[first:][:count]       in
    starts     (16,) int64, scratch                                                   out
    square     (256,) float32, scratch                                                out
    rows, at   (..., WIDE, D, 16) float32, D a multiple of 16 not below d, and the flat
               element to start from; lanes from `count` on repeat the last row       out
    """
    d = X.shape[1]
    whole, panel = d // PANEL * PANEL, rows.shape[-2] * PANEL
    for j in range(WIDE):
        for r in range(PANEL):
            starts[r] = np.int64(numbers[first + min(j * PANEL + r, count - 1)]) * d
        for k in range(0, whole, PANEL):
            turn(X, starts, k, rows, at + j * panel + k * PANEL)
        if whole < d:
            for r in range(PANEL):
                store(square, r * PANEL, load_part(X, starts[r] + whole, d - whole))
            transpose(square, 0, rows, at + j * panel + whole * PANEL)


@inner
def score(points, t, k, starts, rows, at, tile):
    """Scores of a strip of rows by the points of tile t.

    points     (T, d, TALL) float32                                                   in
    k          int64, number of points: beyond it, scores are those of the start
    starts     (T * TALL,) float32; -inf beyond k                                     in
    rows, at   (..., WIDE, D, 16) float32, flat element of the first panel            in
    tile       (TALL, WIDE, 16) float32; from LOW on -inf where it is the last one    in, out
    """
    d, panel = points.shape[1], rows.shape[-2] * PANEL
    if k - t * TALL > LOW:
        tall(points, t * d * TALL, starts, t * TALL, d, rows, at, panel, tile, 0)
    else:
        low(points, t * d * TALL, starts, t * TALL, d, rows, at, panel, tile, 0)
        for i in range(LOW * WIDE, TALL * WIDE):
            store(tile, i * PANEL, splat(-np.inf))


@inner
def improve(tile, first, best):
    """Take the scores of a tile into the running maxima: of equal ones, the first stays.

    tile    (TALL, WIDE, 16) float32, all of it                                       in
    first   int64, number of the first point
    best    (WIDE, 2, 16) float32, the highest scores and whose they are              in, out
    """
    for j in range(WIDE):
        high, which = load(best, 2 * j * PANEL), load(best, (2 * j + 1) * PANEL)
        for r in range(TALL):
            new = load(tile, (r * WIDE + j) * PANEL)
            better = new > high
            high = select(better, new, high)
            which = select(better, splat(np.float32(first + r)), which)
        store(best, 2 * j * PANEL, high)
        store(best, (2 * j + 1) * PANEL, which)


@inner
def apart(a, at, b, b_at, d):
    """Squared distance of a[at:][:d] and b[b_at:][:d] by differences, in float64."""
    total, whole = widen(splat(0.0)), d // PANEL * PANEL
    for j in range(0, whole, PANEL):
        step = widen(load(a, at + j)) - widen(load(b, b_at + j))
        total = fma(step, step, total)
    if whole < d:
        x, y = load_part(a, at + whole, d - whole), load_part(b, b_at + whole, d - whole)
        step = widen(x) - widen(y)
        total = fma(step, step, total)
    return sum_halves(total)


@inner
def product(a, at, b, b_at, d):
    """Inner product of a[at:][:d] and b[b_at:][:d], in float64."""
    total, whole = widen(splat(0.0)), d // PANEL * PANEL
    for j in range(0, whole, PANEL):
        total = fma(widen(load(a, at + j)), widen(load(b, b_at + j)), total)
    if whole < d:
        x, y = load_part(a, at + whole, d - whole), load_part(b, b_at + whole, d - whole)
        total = fma(widen(x), widen(y), total)
    return sum_halves(total)


@inner
def score_csr(values, indices, start, stop, wide, starts, scores):
    """Scores of a sparse row: with ascending columns, the bits of `score`.

    values, indices, start, stop   the entries of the row                             in
    wide                           (d, K) float32                                     in
    starts, scores                 (K,) float32                                       in; out
    """
    k = wide.shape[1]
    p = 0
    while p + 4 * PANEL <= k:  # as many chains as hide the time that an addition takes
        a, b = load(starts, p), load(starts, p + PANEL)
        c, e = load(starts, p + 2 * PANEL), load(starts, p + 3 * PANEL)
        for i in range(start, stop):
            x, at = splat(values[i]), np.int64(indices[i]) * k + p
            a, b = fma(x, load(wide, at), a), fma(x, load(wide, at + PANEL), b)
            c = fma(x, load(wide, at + 2 * PANEL), c)
            e = fma(x, load(wide, at + 3 * PANEL), e)
        store(scores, p, a)
        store(scores, p + PANEL, b)
        store(scores, p + 2 * PANEL, c)
        store(scores, p + 3 * PANEL, e)
        p += 4 * PANEL
    while p < k:
        a = load(starts, p)
        for i in range(start, stop):
            a = fma(splat(values[i]), load(wide, np.int64(indices[i]) * k + p), a)
        store(scores, p, a)
        p += PANEL
