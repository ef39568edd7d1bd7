"""Scores of rows by points in bytes: a filter that is four times as fast as scores in float32.

With rows and points shifted by the mean m of the points, x' = x - m and p' = p - m, the score
x' . p' - |p'|^2 / 2 ranks points as x . p - |p|^2 / 2 does: the two differ by what is the same for
all points. Both are rounded to bytes, x' to a (u - 128) and p' to b s, one a for a strip of rows
and one b for all points. Then ``a b S`` with the integer

    S = sum_i u_i s_i + c,    c = -128 sum_i s_i - |p'|^2 / (2 a b), rounded

is the score but for an error of at most |x' - a (u - 128)| |b s| + |x'| |p' - b s| + a b / 2 (by
Cauchy and Schwarz). With that much added for usual rows, c makes S an upper limit, but for what a
row is unusual (`doubt`). So a point whose S is lower than another's exact score is ruled out, and
the few others are decided as they are without the filter: what comes out is the same, bit for bit.

One instruction of AVX-512 VNNI multiplies and adds 64 pairs of bytes, sixteen numbers of 32 bits at
a time: four features of a row and a point in each. The layout is that of `nearest_tiles`, with
groups of four features in the place of one.
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smalgos._jit import COMPILED, kernel
from smalgos.kernels.cpu.nearest_tiles import TALL, WIDE, apart, inner
from smalgos.kernels.cpu.shared import chunks, run
from smalgos.kernels.cpu.tile import PANEL, aligned
from smalgos.kernels.cpu.vector import (
    fma,
    load,
    load_part,
    magnitude,
    select,
    splat,
    store,
    sum_halves,
)

NOWHERE = -(1 << 30)  # what the scores of places beyond the last point start from
LEAST, MOST = -(1 << 31), (1 << 31) - 2  # limits that everything exceeds, and nothing
GROUP = 4  # features of a number of 32 bits
NARROW, WIDEST = 24, 4096  # features below which it does not pay, and beyond which S may overflow
ABOVE = 1.03  # times as long as the mean: what is taken as usual
SPREAD = 16  # by how many times at most points are farther out than rows are taken to be


def _has_dot_products() -> bool:
    """Whether this processor, and what numba compiles for, has AVX-512 VNNI."""
    try:
        flags = Path("/proc/cpuinfo").read_text().partition("flags")[2].partition("\n")[0].split()
    except OSError:
        return False
    return TALL == 12 and "avx512_vnni" in flags


AVAILABLE = COMPILED and _has_dot_products()

if COMPILED:
    from llvmlite import ir
    from numba import types
    from numba.core import cgutils
    from numba.extending import intrinsic

    from smalgos.kernels.cpu.vector import FLOATS, c_ordered, everywhere

    I8, I32, I64, F32 = ir.IntType(8), ir.IntType(32), ir.IntType(64), ir.FloatType()
    VECTOR = ir.VectorType(I32, PANEL)
    # As assembly: LLVM's intrinsic needs a processor that has it to be named, for the whole module,
    # and compiled code is shared among all processors of a level.
    DOT = ir.InlineAsm(ir.FunctionType(VECTOR, [VECTOR] * 3), "vpdpbusd $3, $2, $0", "=v,0,v,v")

    def _larger(builder: Any, a: Any, b: Any) -> Any:
        return builder.select(builder.icmp_signed(">", a, b), a, b)

    def _number(value: int) -> Any:
        return ir.Constant(I64, value)

    def _data(context: Any, builder: Any, sig: Any, args: Any, i: int) -> Any:
        return context.make_array(sig.args[i])(context, builder, args[i]).data

    def _place(builder: Any, base: Any, offset: Any) -> Any:
        return builder.bitcast(builder.gep(base, [offset]), VECTOR.as_pointer())

    @intrinsic
    def tile(ty, points, at, starts, start_at, depth, rows, row_at, row_panel, out, out_at, peak):
        """S of a strip of rows by TALL points.

        points, at           (T, D, TALL) int32, flat element of the first point          in
        starts, start_at     int32, c of the points from `start_at` on                    in
        depth                int64, D >= 1: groups of features
        rows, row_at, row_panel   panels (D, 16) int32, flat element of the first, and
                             of how many elements a panel is                              in
        out, out_at          TALL x WIDE x 16 int32 from `out_at` on                          out
        peak                 (WIDE, 16) int32, the largest of each row                    out
        """

        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            def data(i: int) -> Any:
                return _data(context, builder, sig, args, i)

            depth, row_panel = args[4], args[7]
            a_first, b_first = builder.gep(data(0), [args[1]]), builder.gep(data(5), [args[6]])
            first, out = builder.gep(data(2), [args[3]]), builder.gep(data(8), [args[9]])
            start = [
                everywhere(builder, builder.load(builder.gep(first, [_number(r)])))
                for r in range(TALL)
            ]
            before = builder.block
            loop, done = builder.append_basic_block("k"), builder.append_basic_block("done")
            builder.branch(loop)

            builder.position_at_end(loop)
            left = builder.phi(I64)
            a, b = builder.phi(a_first.type), builder.phi(b_first.type)
            sums = [[builder.phi(VECTOR) for _ in range(WIDE)] for _ in range(TALL)]
            panels = [builder.mul(row_panel, _number(j)) for j in range(WIDE)]
            right = [builder.load(_place(builder, b, panel), align=4) for panel in panels]
            new = []
            for r in range(TALL):
                one = everywhere(builder, builder.load(builder.gep(a, [_number(r)])))
                new.append([builder.call(DOT, [sums[r][j], right[j], one]) for j in range(WIDE)])
            next_left = builder.sub(left, _number(1))
            steps = (
                (left, depth, next_left),
                (a, a_first, builder.gep(a, [_number(TALL)])),
                (b, b_first, builder.gep(b, [_number(PANEL)])),
            )
            for phi, first, later in steps:
                phi.add_incoming(first, before)
                phi.add_incoming(later, loop)
            for r in range(TALL):
                for j in range(WIDE):
                    sums[r][j].add_incoming(start[r], before)
                    sums[r][j].add_incoming(new[r][j], loop)
            builder.cbranch(builder.icmp_signed(">", next_left, _number(0)), loop, done)

            builder.position_at_end(done)
            for j in range(WIDE):
                high = new[0][j]
                for r in range(TALL):
                    spot = _place(builder, out, _number((r * WIDE + j) * PANEL))
                    builder.store(new[r][j], spot, align=4)
                    high = _larger(builder, high, new[r][j])
                builder.store(high, _place(builder, data(10), _number(j * PANEL)), align=4)
            return context.get_dummy_value()

        n, p, s = types.int64, c_ordered(points), c_ordered(starts)
        shape = types.void(
            p, n, s, n, n, c_ordered(rows), n, n, c_ordered(out, True), n, c_ordered(peak, True)
        )
        return shape, codegen

    @intrinsic
    def above(typingctx: Any, a: Any, at: Any, b: Any, b_at: Any) -> Any:
        """Bit i: a[at + i] > b[b_at + i], of sixteen int32."""

        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            x, y = (
                builder.load(
                    _place(builder, _data(context, builder, sig, args, i), args[i + 1]), align=4
                )
                for i in (0, 2)
            )
            mask = builder.icmp_signed(">", x, y)
            return builder.zext(builder.bitcast(mask, ir.IntType(PANEL)), I64)

        return types.int64(c_ordered(a), types.int64, c_ordered(b), types.int64), codegen

    @intrinsic
    def put_bytes(typingctx: Any, array: Any, at: Any, vector: Any) -> Any:
        """Write sixteen float32, rounded to integers, as bytes to an array of uint8 or int8."""

        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            floats, bytes_ = ir.VectorType(F32, PANEL), ir.VectorType(I8, PANEL)
            kind = ir.FunctionType(floats, [floats])
            round_ = cgutils.get_or_insert_function(builder.module, kind, "llvm.rint.v16f32")
            whole = builder.fptosi(builder.call(round_, [args[2]]), VECTOR)
            to = builder.gep(_data(context, builder, sig, args, 0), [args[1]])
            spot = builder.bitcast(to, bytes_.as_pointer())
            builder.store(builder.trunc(whole, bytes_), spot, align=1)
            return context.get_dummy_value()

        return types.void(c_ordered(array, True), types.int64, FLOATS), codegen

    @intrinsic
    def rounded(typingctx: Any, vector: Any) -> Any:
        """To the nearest integers, as float32."""

        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            kind = ir.FunctionType(args[0].type, [args[0].type])
            function = cgutils.get_or_insert_function(builder.module, kind, "llvm.rint.v16f32")
            return builder.call(function, args)

        return FLOATS(FLOATS), codegen

else:

    def tile(
        points: Any, at: int, starts: Any, start_at: int, depth: int, rows: Any, row_at: int,
        row_panel: int, out: Any, out_at: int, peak: Any,
    ) -> None:  # fmt: skip
        p = points.reshape(-1)[at : at + depth * TALL].copy().view(np.int8)
        p = p.reshape(depth, TALL, GROUP).astype(np.int32)
        for j in range(WIDE):
            from_ = row_at + j * row_panel
            x = rows.reshape(-1)[from_ : from_ + depth * PANEL].copy().view(np.uint8)
            x = x.reshape(depth, PANEL, GROUP).astype(np.int32)
            scores = np.einsum("krg,klg->rl", p, x) + starts[start_at : start_at + TALL, None]
            for r in range(TALL):
                to = out_at + (r * WIDE + j) * PANEL
                out.reshape(-1)[to : to + PANEL] = scores[r]
            peak.reshape(-1)[j * PANEL : (j + 1) * PANEL] = scores.max(axis=0)

    def above(a: Any, at: int, b: Any, b_at: int) -> int:
        more = a.reshape(-1)[at : at + PANEL] > b.reshape(-1)[b_at : b_at + PANEL]
        return int((more * (1 << np.arange(PANEL))).sum())

    def put_bytes(array: Any, at: int, vector: Any) -> None:
        array.reshape(-1)[at : at + PANEL] = np.rint(vector).astype(np.int32).astype(array.dtype)

    def rounded(vector: Any) -> Any:
        return np.rint(vector)


@inner
def encode(X, at, d, mean, inverse, step, shift, codes, to):
    """Numbers X[at:][:d] less their means, as bytes; what is beyond d as a zero.

    X, mean         float32; (D,) float32, D a multiple of 16, zeros beyond d         in
    inverse, step   float32: 1 / step, and what one is worth
    shift           float32: what a zero is
    codes, to       (..., D) of bytes, and where to write                             out
    Returns the sums of squares, of the numbers and of their errors.
    """
    squares, errors = splat(0.0), splat(0.0)
    for j in range(0, len(mean), PANEL):
        x = load(X, at + j) if j + PANEL <= d else load_part(X, at + j, d - j)
        x = x - load(mean, j)
        whole = rounded(x * splat(inverse))
        put_bytes(codes, to + j, whole + splat(shift))
        left = fma(splat(-step), whole, x)
        squares, errors = fma(x, x, squares), fma(left, left, errors)
    return np.float64(sum_halves(squares)), np.float64(sum_halves(errors))


@inner
def largest(X, at, d, mean, high):
    """Running maxima, sixteen of them, of the magnitudes of X[at:][:d] less their means."""
    for j in range(0, len(mean), PANEL):
        x = load(X, at + j) if j + PANEL <= d else load_part(X, at + j, d - j)
        x = magnitude(x - load(mean, j))
        high = select(x > high, x, high)
    return high


@inner
def length(squares, d):
    """At least the root of a sum of d squares that was added up in float32."""
    return np.sqrt(squares) * (1.0 + (d + 16) * 2.0**-23)


class Coded:
    """Points as bytes, packed once.

    Parameters
    ----------
    values : ndarray of float32, shape (k, d)
        Finite.
    by_product : bool
        Whether scores are inner products: then rows are not shifted.

    Attributes
    ----------
    tiles : ndarray of int32, shape (T, D, TALL)
        Four features of a point in each, groups beyond d are zeros; D is a multiple of 16 / 4.
    sums : ndarray of int32, shape (T * TALL,)
        -128 sum s.
    halves : ndarray of float64, shape (T * TALL,)
        |p'|^2 / 2; zeros for products.
    norms, errors : ndarray of float64, shape (T * TALL,)
        |b s| and |p' - b s|, at most.
    mean, shift : ndarray of float32, shape (4 D,)
        m, and what rows are shifted by: m, or zeros.
    """

    def __init__(self, values: NDArray[np.float32], by_product: bool = False) -> None:
        k, d = values.shape
        deep = -(-d // PANEL) * PANEL
        self.k, self.d = k, d
        self.mean = aligned(deep)
        self.mean[:d] = values.mean(axis=0, dtype=np.float64)
        self.shift = np.zeros_like(self.mean) if by_product else self.mean
        count = -(-k // TALL)
        self.tiles = aligned(count, deep // GROUP, TALL, dtype=np.int32)
        self.sums = np.full(count * TALL, NOWHERE, np.int32)
        self.halves = np.zeros(count * TALL)
        self.norms, self.errors = np.zeros(count * TALL), np.zeros(count * TALL)
        parts = chunks(count, 1024)
        self.span = max(run(lambda part: _span(values, self.mean, *_ends(part)), parts))
        self.step = np.float32(max(self.span, 1e-30) / 127)

        def pack(part: slice) -> None:
            _encode_points(
                values, *_ends(part), self.mean, self.step, by_product, self.tiles.view(np.int8),
                self.sums, self.halves, self.norms, self.errors,
            )  # fmt: skip

        run(pack, parts)

    @property
    def of(self) -> tuple[Any, ...]:
        """As kernels take them."""
        return (
            self.tiles, self.sums, self.halves, self.norms, self.errors, self.mean, self.shift,
            np.float32(self.span), self.step,
        )  # fmt: skip


def _ends(part: slice) -> tuple[int, int]:
    return part.start * TALL, part.stop * TALL


@kernel(fastmath=False)
def _span(P, mean, first, last):
    """The largest magnitude of points [first, last) less their means."""
    high, lanes, d = splat(0.0), np.empty(PANEL, np.float32), P.shape[1]
    for p in range(first, min(last, len(P))):
        high = largest(P, p * d, d, mean, high)
    store(lanes, 0, high)
    return lanes.max()


@kernel(fastmath=False)
def _encode_points(P, first, last, mean, step, by_product, tiles, sums, halves, norms, errors):
    """Points [first, last) as bytes.

    P               (k, d) float32                                                    in
    mean            (D,) float32                                                      in
    tiles           (T, D / 4, TALL * 4) int8, zeros                                  in, out
    Others as in `Coded`.
    """
    d = P.shape[1]
    codes = np.empty(len(mean), np.int8)
    for p in range(first, min(last, len(P))):
        square, left = encode(
            P, p * d, d, mean, np.float32(1) / step, step, np.float32(0), codes, 0
        )
        own = length(square, d)
        errors[p] = length(left, d) + 2.0**-23 * own  # x - m is rounded, too
        norms[p] = own + errors[p]
        t, r, total = p // TALL, p % TALL, 0
        for j in range(d):
            tiles[t, j // GROUP, r * GROUP + j % GROUP] = codes[j]
            total += np.int64(codes[j])
        sums[p] = -128 * total
        if not by_product:
            halves[p] = 0.5 * apart(P, p * d, mean, 0, d)


@inner
def usual(X, numbers, shift, span):
    """What rows X[numbers], shifted, are like, as bytes; span: how far out points are.

    Returns a, how far a usual row is from its bytes, and how long it is.
    """
    d, lanes = X.shape[1], np.empty(PANEL, np.float32)
    high, squares = splat(span / np.float32(SPREAD)), splat(0.0)
    for row in numbers:
        at = np.int64(row) * d
        for j in range(0, len(shift), PANEL):
            x = load(X, at + j) if j + PANEL <= d else load_part(X, at + j, d - j)
            x = magnitude(x - load(shift, j))
            high, squares = select(x > high, x, high), fma(x, x, squares)
    store(lanes, 0, high)
    a = max(lanes.max(), np.float32(1e-30)) / np.float32(127)
    long = np.sqrt(np.float64(sum_halves(squares)) / max(1, len(numbers)))
    return a, ABOVE * np.float64(a) * np.sqrt(d / 12.0), ABOVE * long


@inner
def pack_bytes(X, numbers, first, count, shift, a, words, rows, at, squares, errors):
    """Rows of X as the lanes of a strip, in bytes.

    X               (n, d) float32                                                    in
    numbers         (>= first + count,) int32, rows to take: numbers[first:][:count]  in
    shift, a        (D,) float32; float32, what a step is worth                       in
    words           (16, D / 4) int32, scratch                                        out
    rows, at        panels (WIDE, D / 4, 16) in an array (...,) int32, and where they
                    start; lanes from `count` on repeat the last row                  out
    squares, errors   (..., STRIP) float64, from `first` on: the rows' sums of squares  out
    """
    d, deep, codes = X.shape[1], len(shift), words.view(np.uint8)
    for j in range(WIDE):
        for r in range(PANEL):
            i = first + min(j * PANEL + r, count - 1)
            squares[i], errors[i] = encode(
                X, np.int64(numbers[i]) * d, d, shift, np.float32(1) / a, a, np.float32(128),
                codes, r * deep,
            )  # fmt: skip
        for g in range(deep // GROUP):
            for r in range(PANEL):
                rows[at + (j * (deep // GROUP) + g) * PANEL + r] = words[r, g]


@inner
def begin_at(coded, first, last, worth, off, long, starts):
    """c of points [first, last).

    coded       `Coded.of`                                                            in
    worth       float64, a b
    off, long   float64, of a usual row (`usual`)
    starts      (T * TALL,) int32                                                     out
    """
    _, sums, halves, norms, errors, _, _, _, _ = coded
    inverse = 1.0 / worth
    for p in range(first, last):
        c = off * norms[p] + long * errors[p] - halves[p]
        starts[p] = sums[p] + np.int32(np.rint(c * inverse))


@inner
def doubt(squares, errors, d, worth, off, long, norm, error):
    """By how much S may be no upper limit, in units of its own.

    squares, errors   float64, sums of squares of a row and of its errors (`encode`)
    norm, error       float64, the largest of all points
    Others as in `begin_at`.
    """
    own = length(squares, d)
    left = length(errors, d) + 2.0**-23 * own
    more = max(0.0, left - off) * norm + max(0.0, own + left - long) * error
    return more / worth * (1.0 + 2.0**-20) + 2.0


@inner
def whole(limit):
    """The greatest int32 that everything not below a limit exceeds."""
    return np.int32(min(max(np.floor(limit) - 1.0, LEAST), MOST))
