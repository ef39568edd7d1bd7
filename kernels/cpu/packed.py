"""Gradient pairs as packed integers, and what is done to many rows at once.

A gradient and a hessian share one int32 a row: the gradient as 16 bits with a sign above the
hessian as 16 bits without. Unpacked into one int64, 32 bits each, sums over rows are one addition
for both; and sums of integers are the same in any order, so that histograms depend neither on the
number of threads nor on how a node's rows came together.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from smalgos._jit import COMPILED, kernel

MOST = 32000  # of a packed gradient
LANES = 16
EIGHT = 8  # int64 of a register, and trees whose roots are summed up together
TOGETHER = 2048  # rows of pairs that stay in cache meanwhile

if COMPILED:
    from llvmlite import ir
    from numba import types
    from numba.extending import intrinsic

    I8, I16, I32, I64 = (ir.IntType(n) for n in (8, 16, 32, 64))
    F32 = ir.FloatType()

    def _pointer(context: Any, builder: Any, kind: Any, array: Any, at: Any, at_kind: Any) -> Any:
        data = context.make_array(kind)(context, builder, array).data
        return builder.gep(data, [context.cast(builder, at, at_kind, types.uintp)])

    def _splat(builder: Any, value: Any, lanes: int) -> Any:
        undefined = ir.Constant(ir.VectorType(value.type, lanes), ir.Undefined)
        first = builder.insert_element(undefined, value, I32(0))
        zeros = ir.Constant(ir.VectorType(I32, lanes), [I32(0)] * lanes)
        return builder.shuffle_vector(first, undefined, zeros)

    @intrinsic
    def prefetch(typingctx: Any, array: Any, at: Any) -> Any:
        """Ask for the cache line of an entry."""

        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            where = _pointer(context, builder, sig.args[0], args[0], args[1], sig.args[1])
            where = builder.bitcast(where, I8.as_pointer())
            kind = ir.FunctionType(ir.VoidType(), [I8.as_pointer(), I32, I32, I32])
            function = builder.module.declare_intrinsic("llvm.prefetch", [I8.as_pointer()], kind)
            builder.call(function, [where, I32(0), I32(3), I32(1)])
            return context.get_dummy_value()

        return types.void(array, at), codegen

    @intrinsic
    def copy(typingctx: Any, target: Any, to: Any, source: Any, at: Any, count: Any) -> Any:
        """Copy entries between arrays of one type: a loop of numba takes five times as long."""

        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            target, to, source, at, count = args
            bytes_each = I64(context.get_abi_sizeof(context.get_data_type(sig.args[0].dtype)))
            count = context.cast(builder, count, sig.args[4], types.int64)
            a = _pointer(context, builder, sig.args[0], target, to, sig.args[1])
            b = _pointer(context, builder, sig.args[2], source, at, sig.args[3])
            a, b = (builder.bitcast(p, I8.as_pointer()) for p in (a, b))
            kind = ir.FunctionType(
                ir.VoidType(), [I8.as_pointer(), I8.as_pointer(), I64, ir.IntType(1)]
            )
            function = builder.module.declare_intrinsic(
                "llvm.memcpy", [I8.as_pointer(), I8.as_pointer(), I64], kind
            )
            builder.call(function, [a, b, builder.mul(count, bytes_each), ir.IntType(1)(0)])
            return context.get_dummy_value()

        return types.void(target, to, source, at, count), codegen

    @intrinsic
    def count_up_to(typingctx: Any, cuts: Any, at: Any, x: Any) -> Any:
        """How many of sixteen float32 are not greater than x."""
        sig = types.int64(cuts, at, types.float32)

        def codegen(context: Any, b: Any, sig: Any, args: Any) -> Any:
            cuts, at, x = args
            wide = ir.VectorType(F32, LANES)
            first = _pointer(context, b, sig.args[0], cuts, at, sig.args[1])
            vector = b.load(b.bitcast(first, wide.as_pointer()))
            vector.align = 4
            mask = b.fcmp_ordered("<=", vector, _splat(b, x, LANES))
            return b.zext(b.ctpop(b.bitcast(mask, I16)), I64)

        return sig, codegen

    @intrinsic
    def pack(typingctx: Any, g: Any, h: Any, row: Any, key: Any) -> Any:
        """Round a scaled gradient and hessian up or down by chance, and pack them.

        The chance is a hash of row and key, all in 32 bits, so that LLVM makes vectors of it.
        """
        sig = types.int32(types.float32, types.float32, types.int32, types.int32)

        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            g, h, row, key = args
            b, u = builder, builder.xor(row, key)
            for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B)):
                u = b.mul(b.xor(u, b.lshr(u, I32(shift))), I32(factor))
            u = b.xor(u, b.lshr(u, I32(16)))
            floor = builder.module.declare_intrinsic("llvm.floor", [F32])

            def rounded(x: Any, chance: Any) -> Any:
                # Only the fraction and the chance are added, as integers: beside a large number
                # there is no room for all bits of the chance, and LLVM may reorder sums of floats.
                whole = b.call(floor, [x])
                part = b.fptosi(b.fmul(b.fsub(x, whole), F32(2.0**16)), I32)
                return b.add(b.fptosi(whole, I32), b.ashr(b.add(part, chance), I32(16)))

            g, h = rounded(g, b.and_(u, I32(0xFFFF))), rounded(h, b.lshr(u, I32(16)))
            return b.add(b.shl(g, I32(16)), h)

        return sig, codegen

    @intrinsic
    def unpack(typingctx: Any, pair: Any) -> Any:
        """An int64 with the gradient in its upper and the hessian in its lower half."""
        sig = types.int64(types.int32)

        def codegen(context: Any, b: Any, sig: Any, args: Any) -> Any:
            upper = b.shl(b.sext(b.ashr(args[0], I32(16)), I64), I64(32))
            return b.add(upper, b.zext(b.and_(args[0], I32(0xFFFF)), I64))

        return sig, codegen

    @intrinsic
    def add_eight(typingctx: Any, histogram: Any, at: Any, pairs: Any, where: Any) -> Any:
        """Add eight pairs that follow one another to as many entries."""
        sig = types.void(histogram, at, pairs, where)

        def codegen(context: Any, b: Any, sig: Any, args: Any) -> Any:
            histogram, at, pairs, where = args
            narrow, wide = ir.VectorType(I32, EIGHT), ir.VectorType(I64, EIGHT)
            source = _pointer(context, b, sig.args[2], pairs, where, sig.args[3])
            eight = b.load(b.bitcast(source, narrow.as_pointer()))
            eight.align = 4
            upper = b.sext(b.ashr(eight, _splat(b, I32(16), EIGHT)), wide)
            lower = b.zext(b.and_(eight, _splat(b, I32(0xFFFF), EIGHT)), wide)
            more = b.add(b.shl(upper, _splat(b, I64(32), EIGHT)), lower)
            target = _pointer(context, b, sig.args[0], histogram, at, sig.args[1])
            target = b.bitcast(target, wide.as_pointer())
            before = b.load(target)
            before.align = 8
            b.store(b.add(before, more), target).align = 8
            return context.get_dummy_value()

        return sig, codegen

    @intrinsic
    def part(
        typingctx: Any, rows: Any, at: Any, column: Any, low: Any, span: Any,
        left: Any, to_left: Any, right: Any, to_right: Any,
    ) -> Any:  # fmt: skip
        """Part sixteen row numbers by their bins; how many go left.

        Those with ``column[row] - low <= span``, without sign, are written to left one behind
        another, the others to right. Both are overwritten sixteen wide.
        """
        bits = types.uint64
        sig = bits(rows, at, column, low, span, left, to_left, right, to_right)

        def codegen(context: Any, b: Any, sig: Any, args: Any) -> Any:
            rows, at, column, low, span, left, to_left, right, to_right = args
            kinds = sig.args
            wide = ir.VectorType(I32, LANES)
            kind = context.get_data_type(kinds[2].dtype)
            first = _pointer(context, b, kinds[0], rows, at, kinds[1])
            vector = b.load(b.bitcast(first, wide.as_pointer()))
            vector.align = 4
            cells = context.make_array(kinds[2])(context, b, column).data
            bins = ir.Constant(ir.VectorType(kind, LANES), ir.Undefined)
            for i in range(LANES):
                row = b.zext(b.load(b.gep(first, [I64(i)])), I64)
                bins = b.insert_element(bins, b.load(b.gep(cells, [row])), I32(i))
            low, span = (
                _splat(b, context.cast(b, value, k, kinds[2].dtype), LANES)
                for value, k in ((low, kinds[3]), (span, kinds[4]))
            )
            mask = b.icmp_unsigned("<=", b.sub(bins, low), span)
            truths = ir.VectorType(ir.IntType(1), LANES)
            compress = b.module.declare_intrinsic(
                "llvm.experimental.vector.compress.v16i32", (),
                ir.FunctionType(wide, [wide, truths, wide]),
            )  # fmt: skip
            nothing = ir.Constant(wide, ir.Undefined)
            for target, to, k, chosen in (
                (left, to_left, 5, mask), (right, to_right, 7, b.not_(mask)),
            ):  # fmt: skip
                where = _pointer(context, b, kinds[k], target, to, kinds[k + 1])
                packed = b.call(compress, [vector, chosen, nothing])
                b.store(packed, b.bitcast(where, wide.as_pointer())).align = 4
            return b.zext(b.ctpop(b.bitcast(mask, I16)), I64)

        return sig, codegen

else:

    def prefetch(array: Any, at: Any) -> None:
        pass

    def copy(target: Any, to: Any, source: Any, at: Any, count: Any) -> None:
        target[int(to) : int(to) + int(count)] = source[int(at) : int(at) + int(count)]

    def count_up_to(cuts: Any, at: Any, x: Any) -> Any:
        return int((cuts.reshape(-1)[int(at) : int(at) + LANES] <= x).sum())

    def pack(g: Any, h: Any, row: Any, key: Any) -> Any:
        u = (int(row) ^ int(key)) & 0xFFFFFFFF
        for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B)):
            u = (u ^ u >> shift) * factor & 0xFFFFFFFF
        u ^= u >> 16
        g = int(float(g) * 2**16 // 1) + (u & 0xFFFF) >> 16
        return np.int32((g << 16) + (int(float(h) * 2**16) + (u >> 16) >> 16))

    def unpack(pair: Any) -> Any:
        pair = int(pair)
        return np.int64(((pair >> 16) << 32) + (pair & 0xFFFF))

    def add_eight(histogram: Any, at: Any, pairs: Any, where: Any) -> None:
        for lane in range(EIGHT):
            histogram[int(at) + lane] += unpack(pairs[int(where) + lane])

    def part(
        rows: Any, at: Any, column: Any, low: Any, span: Any,
        left: Any, to_left: Any, right: Any, to_right: Any,
    ) -> Any:  # fmt: skip
        numbers = rows[int(at) : int(at) + LANES].copy()
        low, span = (np.asarray(int(v)).astype(column.dtype) for v in (low, span))
        with np.errstate(over="ignore"):
            goes = column[numbers] - low <= span
        left[int(to_left) : int(to_left) + int(goes.sum())] = numbers[goes]
        right[int(to_right) : int(to_right) + int((~goes).sum())] = numbers[~goes]
        return np.uint64(goes.sum())


@kernel
def extent(g, h, bits_g, bits_h):
    """(max |g|, max h, min h or 0, sum |g|, sum h), the sums in float64.

    g, h             (n,) float32                                                     in
    bits_g, bits_h   (n,) int32, the same memory: as integers, which numbers without a
                     sign are ordered as, the greatest is found by vectors            in
    """
    most_g, most_h, signs = np.int32(0), np.int32(0), np.int32(0)
    for i in range(g.size):
        most_g = max(most_g, bits_g[i] & np.int32(0x7FFFFFFF))
        most_h = max(most_h, bits_h[i])
        signs |= bits_h[i]
    sum_g, sum_h = 0.0, 0.0
    for i in range(g.size):
        sum_g += np.float64(abs(g[i]))
        sum_h += np.float64(h[i])
    least_h = np.float32(0)
    if signs < 0:  # some may be less than 0, or NaN
        for i in range(g.size):
            least_h = min(least_h, h[i])
    return most_g, most_h, least_h, sum_g, sum_h


def extent_of(
    g: NDArray[np.float32], h: NDArray[np.float32]
) -> tuple[float, float, float, float, float]:
    """(max |g|, max h, min h or 0, sum |g|, sum h) of gradients and hessians (n,)."""
    g, h = np.ascontiguousarray(g), np.ascontiguousarray(h)
    most_g, most_h, *rest = extent(g, h, g.view(np.int32), h.view(np.int32))
    most = np.array([most_g, most_h], np.int32).view(np.float32)
    return (*most.tolist(), *rest)


@kernel
def pack_rows(g, h, scale_g, scale_h, first, key, pairs):
    """Pack gradient pairs.

    g, h               (n,) float32                                                   in
    scale_g, scale_h   float32, times which they are whole numbers
    first, key         int32, the number of the first row and what chance depends on
    pairs              (n,) int32                                                     out
    """
    for i in range(g.size):
        pairs[i] = pack(g[i] * scale_g, h[i] * scale_h, np.int32(first + i), key)


@kernel
def sample_rows(g, h, chance, own, first, key, some_g, some_h):
    """Gradient pairs of the rows of a sample, zeros in the place of the others.

    g, h             (n,) float32                                                     in
    chance           (n,) or (1,) float32, of each row or of all                      in
    own              bool, whether rows have chances of their own; what is taken then
                     counts for as many as it stands for
    first, key       int32, the number of the first row and what chance depends on
    some_g, some_h   (n,) float32                                                     out
    """
    for i in range(g.size):
        share = chance[i] if own else chance[0]
        # Rounding a chance up or down by chance is drawing.
        taken = (pack(np.float32(0.0), share, np.int32(first + i), key) & 0xFFFF) != 0
        scale = np.float32(1.0) / share if own and taken else np.float32(1.0)
        some_g[i] = g[i] * scale if taken else np.float32(0.0)
        some_h[i] = h[i] * scale if taken else np.float32(0.0)


@kernel
def sum_leaves(g, h, leaf, sums):
    """Add gradients and hessians to those of the rows' leaves, in float64.

    g, h, leaf   (n,) float32, float32, uint16 or uint32                              in
    sums         (leaves, 2) float64                                                  in, out
    """
    for i in range(g.size):
        sums[leaf[i], 0] += g[i]
        sums[leaf[i], 1] += h[i]


@kernel
def add_roots(rows, groups, pairs, first, last, together, histogram):
    """Add rows to the histograms of the roots of eight trees at once.

    rows, groups   see `growth.Data`                                                  in
    pairs          (8, n) int32, packed gradient pairs                                in
    first, last    int64, rows
    together       (TOGETHER * 8,) int32, scratch                                     out
    histogram      (cells * 8,) int64, those of a cell behind one another             in, out
    """
    n, one, eight = pairs.shape[1], np.uint64(1), np.uint64(EIGHT)
    for top in range(first, last, TOGETHER):
        count = np.uint64(min(TOGETHER, last - top))
        for tree in range(EIGHT):
            for i in range(count):
                together[i * eight + np.uint64(tree)] = pairs[tree, np.uint64(top) + i]
        for q in range(len(groups)):
            width, stride = np.uint64(groups[q, 1]), np.uint64(groups[q, 3])
            base = np.uint64(n * groups[q, 0]) + np.uint64(top) * width
            begin = np.uint64(groups[q, 2])
            for c in range(0, width, 2):  # cells of two columns stay in the nearest cache
                cell, at = begin + np.uint64(c) * stride, base + np.uint64(c)
                if np.uint64(c) + one < width:
                    for i in range(count):
                        a, b = cell + np.uint64(rows[at]), cell + stride + np.uint64(rows[at + one])
                        add_eight(histogram, a * eight, together, i * eight)
                        add_eight(histogram, b * eight, together, i * eight)
                        at += width
                else:
                    for i in range(count):
                        a = cell + np.uint64(rows[at])
                        add_eight(histogram, a * eight, together, i * eight)
                        at += width


@kernel
def add_leaves(leaf, values, margin):
    """Add to each row's margin what its leaf says.

    leaf     (n,) uint16 or uint32                                                    in
    values   (leaves,) float32                                                        in
    margin   (n,) float32                                                             in, out
    """
    for i in range(leaf.size):
        margin[i] += values[leaf[i]]
