"""512 rows at a time as bits: which of them go right at a node, which of them come to it.

A row of `masks` is 512 bits, one for each row of data, in eight uint64. `Words` is such a row in
registers. Without the JIT it is a NumPy array of eight uint64.
"""

from typing import Any

import numpy as np

from smalgos._jit import COMPILED
from smalgos.kernels.cpu.vector import LANES

ROWS = 512
WORDS = ROWS // 64
PLANES = 8  # bits of a number of a leaf

if COMPILED:
    from llvmlite import ir
    from numba import types
    from numba.core import cgutils
    from numba.extending import intrinsic, models, register_model

    from smalgos.kernels.cpu.vector import FLOATS, c_ordered

    BIT, I8, I16, I32, I64 = (ir.IntType(n) for n in (1, 8, 16, 32, 64))

    class WordsType(types.Type):
        """Type of 512 bits in registers."""

        def __init__(self) -> None:
            super().__init__(name="Words")

    @register_model(WordsType)
    class WordsModel(models.PrimitiveModel):
        """They are one LLVM value."""

        def __init__(self, dmm: Any, fe_type: WordsType) -> None:
            super().__init__(dmm, fe_type, ir.VectorType(I64, WORDS))

    Words = WordsType()

    def _address(context: Any, builder: Any, kind: Any, array: Any, at: Any, element: Any) -> Any:
        """Pointer to element number `at` of an array, seen as pointer to `element`."""
        data = context.make_array(kind)(context, builder, array).data
        return builder.bitcast(builder.gep(data, [at]), element.as_pointer())

    def _everywhere(builder: Any, value: Any, count: int) -> Any:
        """A vector with one value in all of its places."""
        shape = ir.VectorType(value.type, count)
        nothing = ir.Constant(shape, ir.Undefined)
        first = builder.insert_element(nothing, value, ir.Constant(I32, 0))
        return builder.shuffle_vector(
            first, nothing, ir.Constant(ir.VectorType(I32, count), [0] * count)
        )

    @intrinsic
    def load_words(typingctx: Any, masks: Any, row: Any) -> Any:
        """Row number `row` of the masks."""

        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            at = builder.mul(args[1], ir.Constant(I64, WORDS))
            shape = ir.VectorType(I64, WORDS)
            return builder.load(
                _address(context, builder, sig.args[0], args[0], at, shape), align=8
            )

        return Words(c_ordered(masks), types.int64), codegen

    @intrinsic
    def store_words(typingctx: Any, masks: Any, row: Any, words: Any) -> Any:
        """Write row number `row` of the masks."""

        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            at = builder.mul(args[1], ir.Constant(I64, WORDS))
            place = _address(context, builder, sig.args[0], args[0], at, args[2].type)
            builder.store(args[2], place, align=8)
            return context.get_dummy_value()

        return types.void(c_ordered(masks, True), types.int64, Words), codegen

    def _operation(name: str) -> Any:
        def operate(typingctx: Any, a: Any, b: Any) -> Any:
            def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
                return getattr(builder, name)(*args)

            return Words(Words, Words), codegen

        return intrinsic(operate)

    both, either, differ = _operation("and_"), _operation("or_"), _operation("xor")

    @intrinsic
    def everywhere(typingctx: Any, word: Any) -> Any:
        """The same 64 bits eight times."""

        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            return _everywhere(builder, args[0], WORDS)

        return Words(types.int64), codegen

    @intrinsic
    def compare(typingctx: Any, bins: Any, at: Any, threshold: Any, masks: Any, row: Any) -> Any:
        """Bit i of a row of the masks: bins[at + i] > threshold."""

        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            shape = ir.VectorType(I8, 64)
            limit = _everywhere(builder, builder.trunc(args[2], I8), 64)
            to = builder.mul(args[4], ir.Constant(I64, WORDS))
            for w in range(WORDS):
                at = builder.add(args[1], ir.Constant(I64, 64 * w))
                place = _address(context, builder, sig.args[0], args[0], at, shape)
                greater = builder.icmp_unsigned(">", builder.load(place, align=1), limit)
                at = builder.add(to, ir.Constant(I64, w))
                place = _address(context, builder, sig.args[3], args[3], at, I64)
                builder.store(builder.bitcast(greater, I64), place, align=8)
            return context.get_dummy_value()

        given = c_ordered(bins), types.int64, types.int64, c_ordered(masks, True), types.int64
        return types.void(*given), codegen

    @intrinsic
    def number(typingctx: Any, masks: Any, row: Any, numbers: Any) -> Any:
        """numbers[i] = sum of 2**p * (bit i of row `row + p` of the masks), p < 8."""

        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            shape, bits = ir.VectorType(I8, 64), ir.VectorType(BIT, 64)
            first = builder.mul(args[1], ir.Constant(I64, WORDS))
            for w in range(WORDS):
                sum_ = ir.Constant(shape, [0] * 64)
                for p in range(PLANES):
                    at = builder.add(first, ir.Constant(I64, p * WORDS + w))
                    place = _address(context, builder, sig.args[0], args[0], at, I64)
                    mask = builder.bitcast(builder.load(place, align=8), bits)
                    more = builder.or_(sum_, ir.Constant(shape, [1 << p] * 64))
                    sum_ = builder.select(mask, more, sum_)
                at = ir.Constant(I64, 64 * w)
                place = _address(context, builder, sig.args[2], args[2], at, shape)
                builder.store(sum_, place, align=1)
            return context.get_dummy_value()

        return types.void(c_ordered(masks), types.int64, c_ordered(numbers, True)), codegen

    @intrinsic
    def pick(typingctx: Any, table: Any, numbers: Any, at: Any) -> Any:
        """table[numbers[at + i]] for i < 16."""

        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            shape, wide = ir.VectorType(ir.FloatType(), LANES), ir.VectorType(I64, LANES)
            place = _address(
                context, builder, sig.args[1], args[1], args[2], ir.VectorType(I8, LANES)
            )
            offset = builder.shl(
                builder.zext(builder.load(place, align=1), wide), ir.Constant(wide, [2] * LANES)
            )
            data = context.make_array(sig.args[0])(context, builder, args[0]).data
            base = _everywhere(builder, builder.ptrtoint(data, I64), LANES)
            pointers = ir.VectorType(ir.FloatType().as_pointer(), LANES)
            places = builder.inttoptr(builder.add(base, offset), pointers)
            mask = ir.Constant(ir.VectorType(BIT, LANES), [1] * LANES)
            kind = ir.FunctionType(shape, [pointers, I32, mask.type, shape])
            name = f"llvm.masked.gather.v{LANES}f32.v{LANES}p0"
            callee = cgutils.get_or_insert_function(builder.module, kind, name)
            zeros = ir.Constant(shape, [0.0] * LANES)
            return builder.call(callee, [places, ir.Constant(I32, 4), mask, zeros])

        return FLOATS(c_ordered(table), c_ordered(numbers), types.int64), codegen

    @intrinsic
    def count_at_most(typingctx: Any, table: Any, at: Any, x: Any) -> Any:
        """How many of the 16 float32 from table[at] on are <= x; NaN is not."""

        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            shape = ir.VectorType(ir.FloatType(), LANES)
            place = _address(context, builder, sig.args[0], args[0], args[1], shape)
            limit = _everywhere(builder, args[2], LANES)
            less = builder.fcmp_ordered("<=", builder.load(place, align=4), limit)
            kind = ir.FunctionType(I16, [I16])
            popcount = cgutils.get_or_insert_function(builder.module, kind, "llvm.ctpop.i16")
            return builder.zext(builder.call(popcount, [builder.bitcast(less, I16)]), I64)

        return types.int64(c_ordered(table), types.int64, types.float32), codegen

else:

    def load_words(masks: Any, row: int) -> Any:
        return masks[row].copy()

    def store_words(masks: Any, row: int, words: Any) -> None:
        masks[row] = words

    both, either, differ = np.bitwise_and, np.bitwise_or, np.bitwise_xor

    def everywhere(word: int) -> Any:
        return np.full(WORDS, word, np.int64).view(np.uint64)

    def compare(bins: Any, at: int, threshold: int, masks: Any, row: int) -> None:
        greater = bins.reshape(-1)[at : at + ROWS] > threshold
        masks[row] = np.packbits(greater, bitorder="little").view(np.uint64)

    def number(masks: Any, row: int, numbers: Any) -> None:
        planes = np.ascontiguousarray(masks[row : row + PLANES]).view(np.uint8)
        bits = np.unpackbits(planes, axis=1, bitorder="little")
        numbers[:ROWS] = np.packbits(bits, axis=0, bitorder="little")[0]

    def pick(table: Any, numbers: Any, at: int) -> Any:
        return table[numbers[at : at + LANES]]

    def count_at_most(table: Any, at: int, x: Any) -> int:
        return int((table.reshape(-1)[at : at + LANES] <= x).sum())
