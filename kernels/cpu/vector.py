"""Sixteen numbers at a time: vectors for kernels that must have the same bits everywhere.

A vector is sixteen float32 or float64 in registers. Inside a kernel it takes part in `+ - * /`
and in comparisons, which make a mask; each operation is one correctly rounded IEEE operation per
lane, so a kernel compiled with ``fastmath=False`` gives the same bits on every processor. LLVM
splits the sixteen lanes over whatever registers the processor has. Without the JIT a vector is a
NumPy array of length sixteen, and a mask one of bool.
"""

import operator
from typing import Any

import numpy as np

from smalgos._jit import COMPILED

LANES = 16

if COMPILED:
    from llvmlite import ir
    from numba import types
    from numba.core import cgutils
    from numba.core.errors import TypingError
    from numba.core.imputils import lower_builtin
    from numba.core.typing.templates import AbstractTemplate, infer_global, signature
    from numba.extending import intrinsic, models, register_model

    LLVM = {
        types.float32: ir.FloatType(),
        types.float64: ir.DoubleType(),
        types.boolean: ir.IntType(1),
    }
    I32, I64 = ir.IntType(32), ir.IntType(64)

    class Vector(types.Type):
        """Type of sixteen numbers (or truth values) in registers."""

        def __init__(self, dtype: Any) -> None:
            self.dtype = dtype
            super().__init__(name=f"Vector({dtype})")

    @register_model(Vector)
    class VectorModel(models.PrimitiveModel):
        """A vector is one LLVM value."""

        def __init__(self, dmm: Any, fe_type: Vector) -> None:
            super().__init__(dmm, fe_type, ir.VectorType(LLVM[fe_type.dtype], LANES))

    FLOATS, DOUBLES, MASK = Vector(types.float32), Vector(types.float64), Vector(types.boolean)

    def c_ordered(array: Any, written: bool = False) -> Any:
        """The type of an array that may be seen as flat memory, or an error while compiling."""
        if array.layout != "C" or (written and not array.mutable):
            raise TypingError(f"{array}: a C-ordered{' writable' * written} array is needed")
        return array

    def _address(context: Any, builder: Any, kind: Any, array: Any, at: Any, element: Any) -> Any:
        """Pointer to element number `at` of an array, seen as pointer to `element`."""
        data = context.make_array(kind)(context, builder, array).data
        return builder.bitcast(builder.gep(data, [at]), element.as_pointer())

    def _everywhere(builder: Any, value: Any) -> Any:
        """A vector with one value in all lanes."""
        shape = ir.VectorType(value.type, LANES)
        first = builder.insert_element(ir.Constant(shape, ir.Undefined), value, ir.Constant(I32, 0))
        zeros = ir.Constant(ir.VectorType(I32, LANES), [0] * LANES)
        return builder.shuffle_vector(first, ir.Constant(shape, ir.Undefined), zeros)

    def _call(builder: Any, name: str, shape: Any, *values: Any) -> Any:
        """An LLVM intrinsic of vectors of one shape."""
        suffix = f".v{LANES}f{32 if shape.element == ir.FloatType() else 64}"
        function = ir.FunctionType(shape, [shape] * len(values))
        callee = cgutils.get_or_insert_function(builder.module, function, f"llvm.{name}{suffix}")
        return builder.call(callee, values)

    def _arithmetic(function: Any, instruction: str) -> None:
        @infer_global(function)
        class Infer(AbstractTemplate):
            def generic(self, args: Any, kws: Any) -> Any:
                if len(args) == 2 and args[0] == args[1] and args[0] in (FLOATS, DOUBLES):
                    return signature(args[0], *args)
                return None

        @lower_builtin(function, Vector, Vector)
        def lower(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            return getattr(builder, instruction)(*args)

    def _comparison(function: Any, symbol: str) -> None:
        @infer_global(function)
        class Infer(AbstractTemplate):
            def generic(self, args: Any, kws: Any) -> Any:
                if len(args) == 2 and args[0] == args[1] and args[0] in (FLOATS, DOUBLES):
                    return signature(MASK, *args)
                return None

        @lower_builtin(function, Vector, Vector)
        def lower(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            return builder.fcmp_ordered(symbol, *args)

    for _function, _instruction in (
        (operator.add, "fadd"),
        (operator.sub, "fsub"),
        (operator.mul, "fmul"),
        (operator.truediv, "fdiv"),
    ):
        _arithmetic(_function, _instruction)
    for _function, _symbol in ((operator.lt, "<"), (operator.gt, ">"), (operator.eq, "==")):
        _comparison(_function, _symbol)

    @infer_global(operator.neg)
    class Negate(AbstractTemplate):
        """-a"""

        def generic(self, args: Any, kws: Any) -> Any:
            if len(args) == 1 and args[0] in (FLOATS, DOUBLES):
                return signature(args[0], *args)
            return None

    @lower_builtin(operator.neg, Vector)
    def _negate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.fneg(args[0])

    @intrinsic
    def load(typingctx: Any, array: Any, at: Any) -> Any:
        """Sixteen consecutive elements of a C-ordered array, from flat element `at` on."""

        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            shape = context.get_value_type(sig.return_type)
            address = _address(context, builder, sig.args[0], *args, shape)
            return builder.load(address, align=array.dtype.bitwidth // 8)

        return Vector(array.dtype)(c_ordered(array), types.int64), codegen

    @intrinsic
    def store(typingctx: Any, array: Any, at: Any, vector: Any) -> Any:
        """Write sixteen consecutive elements of a C-ordered array."""

        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            address = _address(context, builder, sig.args[0], args[0], args[1], args[2].type)
            builder.store(args[2], address, align=array.dtype.bitwidth // 8)
            return context.get_dummy_value()

        return types.void(c_ordered(array, True), types.int64, vector), codegen

    def _masked(context: Any, builder: Any, count: Any) -> Any:
        """Mask of the first `count` lanes."""
        full = ir.Constant(I64, LANES)
        count = builder.select(builder.icmp_signed("<", count, full), count, full)
        lanes = ir.Constant(ir.VectorType(I32, LANES), list(range(LANES)))
        return builder.icmp_signed("<", lanes, _everywhere(builder, builder.trunc(count, I32)))

    @intrinsic
    def load_part(typingctx: Any, array: Any, at: Any, count: Any) -> Any:
        """The first `count` lanes from memory, which is not touched beyond; zeros in the others."""

        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            shape = context.get_value_type(sig.return_type)
            address = _address(context, builder, sig.args[0], args[0], args[1], shape)
            mask = _masked(context, builder, args[2])
            name = f"llvm.masked.load.v{LANES}f{array.dtype.bitwidth}.p0"
            kind = ir.FunctionType(shape, [address.type, I32, mask.type, shape])
            callee = cgutils.get_or_insert_function(builder.module, kind, name)
            align = ir.Constant(I32, array.dtype.bitwidth // 8)
            return builder.call(callee, [address, align, mask, ir.Constant(shape, [0.0] * LANES)])

        return Vector(array.dtype)(c_ordered(array), types.int64, types.int64), codegen

    @intrinsic
    def store_part(typingctx: Any, array: Any, at: Any, count: Any, vector: Any) -> Any:
        """Write the first `count` lanes; memory beyond is not touched."""

        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            address = _address(context, builder, sig.args[0], args[0], args[1], args[3].type)
            mask = _masked(context, builder, args[2])
            name = f"llvm.masked.store.v{LANES}f{array.dtype.bitwidth}.p0"
            kind = ir.FunctionType(ir.VoidType(), [args[3].type, address.type, I32, mask.type])
            callee = cgutils.get_or_insert_function(builder.module, kind, name)
            align = ir.Constant(I32, array.dtype.bitwidth // 8)
            builder.call(callee, [args[3], address, align, mask])
            return context.get_dummy_value()

        return types.void(c_ordered(array, True), types.int64, types.int64, vector), codegen

    @intrinsic
    def lanes_below(typingctx: Any, count: Any) -> Any:
        """Mask of the first `count` lanes."""

        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            return _masked(context, builder, args[0])

        return MASK(types.int64), codegen

    @intrinsic
    def sum_lanes(typingctx: Any, start: Any, a: Any) -> Any:
        """start + a[0] + a[1] + ..., one after another."""

        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            kind = ir.FunctionType(args[0].type, [args[0].type, args[1].type])
            name = f"llvm.vector.reduce.fadd.v{LANES}f{a.dtype.bitwidth}"
            return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), args)

        return a.dtype(a.dtype, a), codegen

    @intrinsic
    def splat(typingctx: Any, value: Any) -> Any:
        """One number, rounded to float32, in all lanes."""

        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            return _everywhere(builder, args[0])

        return FLOATS(types.float32), codegen

    @intrinsic
    def fma(typingctx: Any, a: Any, b: Any, c: Any) -> Any:
        """a * b + c, rounded once."""

        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            return _call(builder, "fma", args[0].type, *args)

        return a(a, a, a), codegen

    @intrinsic
    def sqrt(typingctx: Any, a: Any) -> Any:
        """Square root."""

        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            return _call(builder, "sqrt", args[0].type, *args)

        return a(a), codegen

    @intrinsic
    def magnitude(typingctx: Any, a: Any) -> Any:
        """Absolute value."""

        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            return _call(builder, "fabs", args[0].type, *args)

        return a(a), codegen

    @intrinsic
    def select(typingctx: Any, mask: Any, a: Any, b: Any) -> Any:
        """a where the mask holds, else b."""

        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            return builder.select(*args)

        return a(mask, a, a), codegen

    @intrinsic
    def widen(typingctx: Any, a: Any) -> Any:
        """float32 lanes as float64."""

        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            return builder.fpext(args[0], context.get_value_type(DOUBLES))

        return DOUBLES(FLOATS), codegen

    @intrinsic
    def narrow(typingctx: Any, a: Any) -> Any:
        """float64 lanes rounded to float32."""

        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            return builder.fptrunc(args[0], context.get_value_type(FLOATS))

        return FLOATS(DOUBLES), codegen

    @intrinsic
    def add_exponent(typingctx: Any, a: Any, n: Any) -> Any:
        """a * 2**n for lanes of `n` given as 1.5 * 2**23 + n; no check of the exponent's range."""

        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            integers = ir.VectorType(I32, LANES)
            bits, power = (builder.bitcast(x, integers) for x in args)
            shift = ir.Constant(integers, [23] * LANES)
            return builder.bitcast(builder.add(bits, builder.shl(power, shift)), args[0].type)

        return FLOATS(FLOATS, FLOATS), codegen

    @intrinsic
    def mantissa(typingctx: Any, a: Any) -> Any:
        """The m of a = m * 2**n with 1 <= m < 2, for positive normal numbers."""

        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            integers = ir.VectorType(I32, LANES)
            low, one = (ir.Constant(integers, [x] * LANES) for x in (0x007FFFFF, 0x3F800000))
            bits = builder.and_(builder.bitcast(args[0], integers), low)
            return builder.bitcast(builder.or_(bits, one), args[0].type)

        return FLOATS(FLOATS), codegen

    @intrinsic
    def exponent(typingctx: Any, a: Any) -> Any:
        """The n of a = m * 2**n with 1 <= m < 2, for positive normal numbers, as a float32."""

        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            integers = ir.VectorType(I32, LANES)
            shift, bias = (ir.Constant(integers, [x] * LANES) for x in (23, 127))
            bits = builder.lshr(builder.bitcast(args[0], integers), shift)
            return builder.sitofp(builder.sub(bits, bias), args[0].type)

        return FLOATS(FLOATS), codegen

    @intrinsic
    def transpose(typingctx: Any, a: Any, at: Any, b: Any, b_at: Any) -> Any:
        """Write a square of 16 x 16 consecutive elements of `a` transposed to `b`."""

        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            shape = ir.VectorType(LLVM[sig.args[0].dtype], LANES)

            def place(i: int, row: int) -> Any:
                at = builder.add(args[i + 1], ir.Constant(I64, row * LANES))
                return _address(context, builder, sig.args[i], args[i], at, shape)

            rows = [builder.load(place(0, r), align=4) for r in range(LANES)]
            # Four rounds of exchanging the off-diagonal halves of pairs of rows.
            for bit in (1, 2, 4, 8):
                upper = [i if not i & bit else LANES + (i ^ bit) for i in range(LANES)]
                lower = [i | bit if not i & bit else LANES + i for i in range(LANES)]
                masks = [ir.Constant(ir.VectorType(I32, LANES), m) for m in (upper, lower)]
                for r in range(LANES):
                    if not r & bit:
                        pair = rows[r], rows[r | bit]
                        rows[r], rows[r | bit] = (builder.shuffle_vector(*pair, m) for m in masks)
            for r in range(LANES):
                builder.store(rows[r], place(2, r), align=4)
            return context.get_dummy_value()

        return types.void(c_ordered(a), types.int64, c_ordered(b, True), types.int64), codegen

else:

    def load(array: Any, at: int) -> Any:
        return array.reshape(-1)[at : at + LANES].copy()

    def store(array: Any, at: int, vector: Any) -> None:
        array.reshape(-1)[at : at + LANES] = vector

    def load_part(array: Any, at: int, count: int) -> Any:
        out = np.zeros(LANES, array.dtype)
        count = max(0, min(count, LANES))
        out[:count] = array.reshape(-1)[at : at + count]
        return out

    def store_part(array: Any, at: int, count: int, vector: Any) -> None:
        count = max(0, min(count, LANES))
        array.reshape(-1)[at : at + count] = vector[:count]

    def lanes_below(count: int) -> Any:
        return np.arange(LANES) < count

    def sum_lanes(start: Any, a: Any) -> Any:
        return np.add.accumulate(np.concatenate([[start], a]), dtype=a.dtype)[-1]

    def splat(value: Any) -> Any:
        return np.full(LANES, value, np.float32)

    def fma(a: Any, b: Any, c: Any) -> Any:
        # A product of two float32 is exact in float64; only float64 lanes round twice.
        return (a.astype(np.float64) * b + c).astype(a.dtype)

    def sqrt(a: Any) -> Any:
        return np.sqrt(a)

    def magnitude(a: Any) -> Any:
        return np.abs(a)

    def select(mask: Any, a: Any, b: Any) -> Any:
        return np.where(mask, a, b)

    def widen(a: Any) -> Any:
        return a.astype(np.float64)

    def narrow(a: Any) -> Any:
        return a.astype(np.float32)

    def add_exponent(a: Any, n: Any) -> Any:
        return (a.view(np.int32) + (n.view(np.int32) << 23)).view(np.float32)

    def mantissa(a: Any) -> Any:
        return ((a.view(np.int32) & 0x007FFFFF) | 0x3F800000).view(np.float32)

    def exponent(a: Any) -> Any:
        return ((a.view(np.int32) >> 23) - 127).astype(np.float32)

    def transpose(a: Any, at: int, b: Any, b_at: int) -> None:
        square = a.reshape(-1)[at : at + LANES * LANES].reshape(LANES, LANES)
        b.reshape(-1)[b_at : b_at + LANES * LANES] = square.T.reshape(-1)
