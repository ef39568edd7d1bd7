"""Sixteen walks through trees at a time: steps down, gaps to boxes, lists that shrink.

A walk is a row at a node. Sixteen of them stand in vectors of node numbers and of places of rows,
int32 both. Without the JIT a vector is a NumPy array of length sixteen.
"""

from typing import Any

import numpy as np

from smalgos._jit import COMPILED
from smalgos.kernels.cpu.vector import FLOATS, LANES, MASK, WORDS

if COMPILED:
    from llvmlite import ir
    from numba import types
    from numba.core import cgutils
    from numba.extending import intrinsic

    from smalgos.kernels.cpu.vector import c_ordered, everywhere

    BIT, I16, I32, I64, F32 = ir.IntType(1), *(ir.IntType(n) for n in (16, 32, 64)), ir.FloatType()
    ADDRESSED = 4  # boxes whose addresses are in registers at a time
    FLAGS, NUMBERS, REALS = (ir.VectorType(kind, LANES) for kind in (BIT, I32, F32))

    def _data(context: Any, builder: Any, kind: Any, array: Any) -> Any:
        return context.make_array(kind)(context, builder, array).data

    def _gathered(builder: Any, base: Any, index: Any, mask: Any, others: Any) -> Any:
        """base[index] where the mask holds, else `others`."""
        element = others.type.element
        base = builder.bitcast(base, element.as_pointer())
        places = builder.gep(base, [index], source_etype=element)
        places.type = ir.VectorType(base.type, LANES)  # llvmlite takes it for one pointer
        letter = "f" if element == F32 else "i"
        kind = ir.FunctionType(others.type, [places.type, I32, FLAGS, others.type])
        name = f"llvm.masked.gather.v{LANES}{letter}32.v{LANES}p0"
        callee = cgutils.get_or_insert_function(builder.module, kind, name)
        return builder.call(callee, [places, I32(4), mask, others])

    def _below(builder: Any, at: Any, limit: Any) -> Any:
        return builder.icmp_signed("<", at, everywhere(builder, builder.trunc(limit, I32)))

    @intrinsic
    def step(typingctx: Any, records: Any, rows: Any, at: Any, place: Any, inner: Any) -> Any:
        """The child of each node that its row goes to; leaves stay."""

        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            (records, rows), (at, place, inner) = (
                (_data(context, builder, sig.args[i], args[i]) for i in range(2)),
                args[2:],
            )
            mask = _below(builder, at, inner)
            record = builder.shl(at, ir.Constant(NUMBERS, [2] * LANES))
            none, zeros = ir.Constant(NUMBERS, [0] * LANES), ir.Constant(REALS, [0.0] * LANES)
            entries = [builder.gep(records, [I64(i)]) for i in range(3)]
            feature = _gathered(builder, entries[1], record, mask, none)
            cut = _gathered(builder, entries[0], record, mask, zeros)
            x = _gathered(builder, rows, builder.add(place, feature), mask, zeros)
            right = builder.zext(builder.fcmp_ordered(">", x, cut), NUMBERS)
            return _gathered(builder, entries[2], builder.add(record, right), mask, at)

        return WORDS(c_ordered(records), c_ordered(rows), WORDS, WORDS, types.int64), codegen

    @intrinsic
    def deeper(typingctx: Any, depth: Any, at: Any, inner: Any) -> Any:
        """depth + 1 where the node is an inner one."""

        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            one, zero = (ir.Constant(REALS, [x] * LANES) for x in (1.0, 0.0))
            more = builder.select(_below(builder, *args[1:]), one, zero)
            return builder.fadd(args[0], more)

        return FLOATS(FLOATS, WORDS, types.int64), codegen

    @intrinsic
    def beyond(
        typingctx: Any, mask: Any, rows: Any, at: Any, numbers: Any, width: Any, cut: Any
    ) -> Any:
        """Where the mask holds and rows[at + number * width] is greater than a cut.

        Numbers where it does not hold may be any.
        """

        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            mask, rows, at, numbers, width, cut = args
            first = builder.gep(_data(context, builder, sig.args[1], rows), [at])
            places = builder.mul(numbers, everywhere(builder, builder.trunc(width, I32)))
            x = _gathered(builder, first, places, mask, ir.Constant(REALS, [0.0] * LANES))
            return builder.and_(mask, builder.fcmp_ordered(">", x, everywhere(builder, cut)))

        n = types.int64
        return MASK(MASK, c_ordered(rows), n, WORDS, n, types.float32), codegen

    @intrinsic
    def any_below(typingctx: Any, at: Any, inner: Any) -> Any:
        """Whether any node is an inner one."""

        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            bits = builder.bitcast(_below(builder, *args), I16)
            return builder.icmp_unsigned("!=", bits, I16(0))

        return types.boolean(WORDS, types.int64), codegen

    @intrinsic
    def gather(typingctx: Any, array: Any, at: Any) -> Any:
        """array[at] of sixteen places."""

        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            shape = context.get_value_type(sig.return_type)
            others = ir.Constant(shape, [0.0 if shape.element == F32 else 0] * LANES)
            mask = ir.Constant(FLAGS, [1] * LANES)
            return _gathered(builder, _data(context, builder, sig.args[0], args[0]), args[1], mask,
                             others)  # fmt: skip

        result = FLOATS if array.dtype == types.float32 else WORDS
        return result(c_ordered(array), WORDS), codegen

    def _gaps(b: Any, space: Any, rows: Any, boxes: Any, points: Any, width: Any) -> Any:
        """Sixteen gaps: boxes(i) and points(i) leave instructions for where the two are."""
        zeros, pointer = ir.Constant(REALS, [0.0] * LANES), REALS.as_pointer()
        kind = ir.FunctionType(REALS, [pointer, I32, FLAGS, REALS])
        masked = cgutils.get_or_insert_function(b.module, kind, f"llvm.masked.load.v{LANES}f32.p0")
        lanes = ir.Constant(NUMBERS, list(range(LANES)))

        def part(data: Any, where: Any, mask: Any) -> Any:
            return b.call(masked, [b.bitcast(b.gep(data, [where]), pointer), I32(4), mask, zeros])

        def greater(one: Any, other: Any) -> Any:
            return b.select(b.fcmp_ordered(">", one, other), one, other)

        def some(first: int) -> list[Any]:
            """As many as there are registers for their addresses."""
            here = range(first, first + ADDRESSED)
            lows, at = ([b.gep(data, [where(i)]) for i in here] for data, where in
                        ((space, boxes), (rows, points)))  # fmt: skip
            before, loop, done = b.block, *(b.append_basic_block(n) for n in ("sides", "summed"))
            b.branch(loop)
            b.position_at_end(loop)
            k, sums = b.phi(I64), [b.phi(REALS) for _ in here]
            mask = b.icmp_signed("<", lanes, everywhere(b, b.trunc(b.sub(width, k), I32)))
            onward = b.add(k, I64(LANES))
            k.add_incoming(I64(0), before)
            k.add_incoming(onward, loop)
            for i, total in enumerate(sums):
                x, low = part(at[i], k, mask), part(lows[i], k, mask)
                high = part(b.gep(lows[i], [width]), k, mask)
                apart = greater(greater(b.fsub(low, x), b.fsub(x, high)), zeros)
                sums[i] = b.fadd(total, apart)
                total.add_incoming(zeros, before)
                total.add_incoming(sums[i], loop)
            b.cbranch(b.icmp_signed("<", onward, width), loop, done)
            b.position_at_end(done)
            return sums

        return _folded(b, [one for i in range(0, LANES, ADDRESSED) for one in some(i)])

    def _entry(b: Any, array: Any, at: Any, i: int) -> Any:
        """array[at + i] as an int64."""
        return b.sext(b.load(b.gep(array, [b.add(at, I64(i))])), I64)

    @intrinsic
    def gaps_of(
        typingctx: Any, space: Any, boxes: Any, rows: Any, places: Any, at: Any, width: Any
    ) -> Any:
        """For i < 16 the gap between box number boxes[at + i] and the row at places[at + i].

        The sums are folded as `cut_boxes.fold` does.
        """

        def codegen(context: Any, b: Any, sig: Any, args: Any) -> Any:
            space, boxes, rows, places = (_data(context, b, sig.args[i], args[i]) for i in range(4))
            at, width = args[4:]
            return _gaps(
                b, space, rows,
                lambda i: b.mul(_entry(b, boxes, at, i), b.shl(width, I64(1))),
                lambda i: _entry(b, places, at, i), width,
            )  # fmt: skip

        arrays = (c_ordered(array) for array in (space, boxes, rows, places))
        return FLOATS(*arrays, types.int64, types.int64), codegen

    def _folded(b: Any, sums: list[Any]) -> Any:
        """The folds of sixteen vectors side by side: with each halving two come to share one."""
        half = LANES // 2
        while half:
            pairs = []
            for pair in zip(sums[: len(sums) // 2], sums[len(sums) // 2 :], strict=True):
                parts = []
                for first in (0, half):  # of a block, which holds the sums of one box
                    blocks = range(first, LANES, 2 * half)
                    lanes = [of + a + i for a in blocks for of in (0, LANES) for i in range(half)]
                    parts.append(b.shuffle_vector(*pair, ir.Constant(NUMBERS, lanes)))
                pairs.append(b.fadd(*parts))
            sums, half = pairs, half // 2
        return sums[0]

    @intrinsic
    def squeeze(typingctx: Any, mask: Any, vector: Any, others: Any) -> Any:
        """The lanes where the mask holds, one behind another; then those of `others`."""

        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            shape = args[1].type
            letter = "f" if shape.element == F32 else "i"
            kind = ir.FunctionType(shape, [shape, FLAGS, shape])
            name = f"llvm.experimental.vector.compress.v{LANES}{letter}32"
            callee = cgutils.get_or_insert_function(builder.module, kind, name)
            return builder.call(callee, [args[1], args[0], args[2]])

        return vector(MASK, vector, vector), codegen

    @intrinsic
    def both(typingctx: Any, a: Any, b: Any) -> Any:
        """Where two masks hold."""

        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            return builder.and_(*args)

        return MASK(MASK, MASK), codegen

    @intrinsic
    def but_not(typingctx: Any, a: Any, b: Any) -> Any:
        """Where the first of two masks holds, and not the second."""

        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            return builder.and_(args[0], builder.not_(args[1]))

        return MASK(MASK, MASK), codegen

    @intrinsic
    def count_true(typingctx: Any, mask: Any) -> Any:
        """In how many lanes a mask holds."""

        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            return builder.zext(builder.ctpop(builder.bitcast(args[0], I16)), I64)

        return types.int64(MASK), codegen

else:
    from smalgos.kernels.cpu.cut_boxes import gap

    def step(records: Any, rows: Any, at: Any, place: Any, inner: int) -> Any:
        down = at < inner
        record = 4 * np.where(down, at, 0)
        cut = records.view(np.float32)[record]
        right = rows[np.where(down, place + records[record + 1], 0)] > cut
        return np.where(down, records[record + 2 + right], at).astype(np.int32)

    def deeper(depth: Any, at: Any, inner: int) -> Any:
        return depth + (at < inner).astype(np.float32)

    def beyond(mask: Any, rows: Any, at: int, numbers: Any, width: int, cut: Any) -> Any:
        return mask & (rows[np.where(mask, at + numbers * width, 0)] > cut)

    def any_below(at: Any, inner: int) -> bool:
        return bool((at < inner).any())

    def gather(array: Any, at: Any) -> Any:
        return array[at]

    def gaps_of(space: Any, boxes: Any, rows: Any, places: Any, at: Any, width: Any) -> Any:
        out = np.empty(LANES, np.float32)
        for i in range(LANES):
            box, x = 2 * width * int(boxes[at + i]), int(places[at + i])
            out[i] = gap(space, box, box + width, rows, x, width)
        return out

    def squeeze(mask: Any, vector: Any, others: Any) -> Any:
        kept = vector[mask]
        return np.concatenate([kept, others[len(kept) :]])

    both = np.logical_and

    def but_not(a: Any, b: Any) -> Any:
        return a & ~b

    def count_true(mask: Any) -> int:
        return int(mask.sum())
