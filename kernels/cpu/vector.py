"""Sixteen numbers at a time: explicit vectors for kernels that must have the same bits everywhere.

A vector is sixteen float32 (`FLOATS`) or float64 (`DOUBLES`) in registers, or the truth values of a
comparison, or int32 (`WORDS`), which can be loaded, stored and spread (`words`) only. Each
operation is one correctly rounded IEEE operation per lane, so a kernel compiled with
``fastmath=False`` gives the same bits on every processor; LLVM splits the lanes over whatever
registers there are. Without the JIT a vector is a NumPy array of length sixteen.

A formula over vectors is a Python function under `vectors`. Its first argument offers what
operators do not (see `Operations`). It runs while a kernel is compiled, and leaves its
instructions there:

    @vectors(FLOATS)
    def hypotenuse(v, a, b):
        return v.sqrt(v.fma(a, a, b * b))
"""

import inspect
import operator
import platform
from collections.abc import Callable
from functools import partial, wraps
from typing import Any

import numpy as np

from smalgos._jit import COMPILED

LANES = 16

if COMPILED:
    import llvmlite.binding
    from llvmlite import ir
    from numba import types
    from numba.core import cgutils
    from numba.core.errors import TypingError
    from numba.core.imputils import lower_builtin
    from numba.core.typing.templates import AbstractTemplate, infer_global, signature
    from numba.extending import intrinsic, models, register_model
    from numba.np.arrayobj import populate_array

    LLVM = {
        types.float32: ir.FloatType(),
        types.float64: ir.DoubleType(),
        types.int32: ir.IntType(32),
        types.boolean: ir.IntType(1),
    }
    llvmlite.binding.initialize_native_asmparser()
    X86 = platform.machine().lower() in ("x86_64", "amd64")
    I32, I64 = ir.IntType(32), ir.IntType(64)
    INTEGERS = ir.VectorType(I32, LANES)

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
    WORDS = Vector(types.int32)

    def everywhere(builder: Any, value: Any) -> Any:
        """A vector with one value in all lanes."""
        shape = ir.VectorType(value.type, LANES)
        nothing = ir.Constant(shape, ir.Undefined)
        first = builder.insert_element(nothing, value, ir.Constant(I32, 0))
        return builder.shuffle_vector(first, nothing, ir.Constant(INTEGERS, [0] * LANES))

    def _binary(instruction: str) -> Any:
        def apply(self: Any, other: Any) -> Any:
            return Lanes(self.builder, getattr(self.builder, instruction)(self.value, other.value))

        return apply

    def _compare(symbol: str) -> Any:
        def apply(self: Any, other: Any) -> Any:
            fcmp = self.builder.fcmp_ordered
            return Lanes(self.builder, fcmp(symbol, self.value, other.value))

        return apply

    class Lanes:
        """A vector while its formula runs: operators leave instructions."""

        def __init__(self, builder: Any, value: Any) -> None:
            self.builder, self.value = builder, value

        __add__, __sub__ = _binary("fadd"), _binary("fsub")
        __mul__, __truediv__ = _binary("fmul"), _binary("fdiv")
        __lt__, __gt__, __eq__ = _compare("<"), _compare(">"), _compare("==")
        __hash__ = None  # type: ignore[assignment]

        def __neg__(self) -> "Lanes":
            return Lanes(self.builder, self.builder.fneg(self.value))

    class Operations:
        """What formulas do beyond operators."""

        def __init__(self, builder: Any) -> None:
            self.builder = builder

        def _call(self, name: str, *given: Lanes) -> Lanes:
            shape = given[0].value.type
            suffix = "f32" if shape.element == ir.FloatType() else "f64"
            kind = ir.FunctionType(shape, [shape] * len(given))
            name = f"llvm.{name}.v{LANES}{suffix}"
            callee = cgutils.get_or_insert_function(self.builder.module, kind, name)
            return Lanes(self.builder, self.builder.call(callee, [x.value for x in given]))

        def _bits(self, a: Lanes) -> Any:
            return self.builder.bitcast(a.value, INTEGERS)

        def _number(self, bits: Any) -> Lanes:
            shape = ir.VectorType(ir.FloatType(), LANES)
            return Lanes(self.builder, self.builder.bitcast(bits, shape))

        def number(self, x: float) -> Lanes:
            """A constant, rounded to float32, in all lanes."""
            shape = ir.VectorType(ir.FloatType(), LANES)
            return Lanes(self.builder, ir.Constant(shape, [float(np.float32(x))] * LANES))

        def fma(self, a: Lanes, b: Lanes, c: Lanes) -> Lanes:
            """a * b + c, rounded once."""
            return self._call("fma", a, b, c)

        def sqrt(self, a: Lanes) -> Lanes:
            """Square root."""
            return self._call("sqrt", a)

        def magnitude(self, a: Lanes) -> Lanes:
            """Absolute value."""
            return self._call("fabs", a)

        def select(self, mask: Lanes, a: Lanes, b: Lanes) -> Lanes:
            """a where the mask holds, else b."""
            return Lanes(self.builder, self.builder.select(mask.value, a.value, b.value))

        def widen(self, a: Lanes) -> Lanes:
            """float32 lanes as float64."""
            shape = ir.VectorType(ir.DoubleType(), LANES)
            return Lanes(self.builder, self.builder.fpext(a.value, shape))

        def narrow(self, a: Lanes) -> Lanes:
            """float64 lanes rounded to float32."""
            shape = ir.VectorType(ir.FloatType(), LANES)
            return Lanes(self.builder, self.builder.fptrunc(a.value, shape))

        def add_exponent(self, a: Lanes, n: Lanes) -> Lanes:
            """a * 2**n, n given as 1.5 * 2**23 + n; the exponent's range is not checked."""
            power = self.builder.shl(self._bits(n), ir.Constant(INTEGERS, [23] * LANES))
            return self._number(self.builder.add(self._bits(a), power))

        def mantissa(self, a: Lanes) -> Lanes:
            """The m of a = m * 2**n with 1 <= m < 2, for positive normal numbers."""
            low, one = (ir.Constant(INTEGERS, [x] * LANES) for x in (0x007FFFFF, 0x3F800000))
            return self._number(self.builder.or_(self.builder.and_(self._bits(a), low), one))

        def exponent(self, a: Lanes) -> Lanes:
            """The n of a = m * 2**n with 1 <= m < 2, for positive normal numbers, as a float32."""
            shift, bias = (ir.Constant(INTEGERS, [x] * LANES) for x in (23, 127))
            n = self.builder.sub(self.builder.lshr(self._bits(a), shift), bias)
            return Lanes(self.builder, self.builder.sitofp(n, a.value.type))

    def vectors(*results: Vector) -> Callable[[Callable[..., Any]], Any]:
        """Make a formula over vectors a function for kernels.

        Parameters
        ----------
        *results : Vector
            Types of what it returns; of none, that of its first argument.

        A number where the formula takes a vector is rounded to float32 and stands in all lanes.
        """

        def decorate(formula: Callable[..., Any]) -> Any:
            def typed(typingctx: Any, *given: Any) -> Any:
                kinds = [x if isinstance(x, Vector) else types.float32 for x in given]
                what = results or kinds[:1]
                result = what[0] if len(what) == 1 else types.Tuple(what)

                def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
                    wide = [isinstance(x.type, ir.VectorType) for x in args]
                    values = [
                        Lanes(builder, x if is_wide else everywhere(builder, x))
                        for x, is_wide in zip(args, wide, strict=True)
                    ]
                    out = formula(Operations(builder), *values)
                    if len(what) == 1:
                        return out.value
                    return context.make_tuple(builder, result, [x.value for x in out])

                return result(*kinds), codegen

            typed.__name__, typed.__doc__ = formula.__name__, formula.__doc__
            typed.__signature__ = inspect.signature(formula)  # numba passes arguments by it
            return intrinsic(typed)

        return decorate

    def _operator(function: Any, arguments: int, result: Vector | None = None) -> None:
        """Let kernels apply an operator to vectors of one type."""

        @infer_global(function)
        class Infer(AbstractTemplate):
            def generic(self, args: Any, kws: Any) -> Any:
                if len(args) == arguments and len(set(args)) == 1 and args[0] in (FLOATS, DOUBLES):
                    return signature(result or args[0], *args)
                return None

        @lower_builtin(function, *[Vector] * arguments)
        def lower(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            return function(*(Lanes(builder, x) for x in args)).value

    for _function in (operator.add, operator.sub, operator.mul, operator.truediv):
        _operator(_function, 2)
    for _function in (operator.lt, operator.gt, operator.eq):
        _operator(_function, 2, MASK)
    _operator(operator.neg, 1)

    def c_ordered(array: Any, written: bool = False) -> Any:
        """The type of an array that may be seen as flat memory, or an error while compiling."""
        if array.layout != "C" or (written and not array.mutable):
            raise TypingError(f"{array}: a C-ordered{' writable' * written} array is needed")
        return array

    def _address(context: Any, builder: Any, kind: Any, array: Any, at: Any, element: Any) -> Any:
        """Pointer to element number `at` of an array, seen as pointer to `element`."""
        data = context.make_array(kind)(context, builder, array).data
        return builder.bitcast(builder.gep(data, [at]), element.as_pointer())

    @intrinsic
    def borrowed(typingctx: Any, array: Any) -> Any:
        """A C-ordered array, flat, whose references are not counted; the caller's keeps it."""
        flat = types.Array(array.dtype, 1, "C")

        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            given = context.make_array(sig.args[0])(context, builder, args[0])
            out = context.make_array(flat)(context, builder)
            size = ir.Constant(I64, sig.args[0].dtype.bitwidth // 8)
            nobody = context.get_constant_null(types.MemInfoPointer(sig.args[0].dtype))
            populate_array(out, given.data, [given.nitems], [size], size, meminfo=nobody)
            return out._getvalue()

        return flat(c_ordered(array)), codegen

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
        lanes = ir.Constant(INTEGERS, list(range(LANES)))
        return builder.icmp_signed("<", lanes, everywhere(builder, builder.trunc(count, I32)))

    @intrinsic
    def load_part(typingctx: Any, array: Any, at: Any, count: Any) -> Any:
        """The first `count` lanes from memory, which is not touched beyond; zeros in the others."""

        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            shape = context.get_value_type(sig.return_type)
            address = _address(context, builder, sig.args[0], args[0], args[1], shape)
            mask = _masked(context, builder, args[2])
            letter = "i" if array.dtype == types.int32 else "f"
            name = f"llvm.masked.load.v{LANES}{letter}{array.dtype.bitwidth}.p0"
            kind = ir.FunctionType(shape, [address.type, I32, mask.type, shape])
            callee = cgutils.get_or_insert_function(builder.module, kind, name)
            align = ir.Constant(I32, array.dtype.bitwidth // 8)
            return builder.call(callee, [address, align, mask, ir.Constant(shape, [0] * LANES)])

        return Vector(array.dtype)(c_ordered(array), types.int64, types.int64), codegen

    @intrinsic
    def store_part(typingctx: Any, array: Any, at: Any, count: Any, vector: Any) -> Any:
        """Write the first `count` lanes; memory beyond is not touched."""

        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            address = _address(context, builder, sig.args[0], args[0], args[1], args[3].type)
            mask = _masked(context, builder, args[2])
            letter = "i" if array.dtype == types.int32 else "f"
            name = f"llvm.masked.store.v{LANES}{letter}{array.dtype.bitwidth}.p0"
            kind = ir.FunctionType(ir.VoidType(), [args[3].type, address.type, I32, mask.type])
            callee = cgutils.get_or_insert_function(builder.module, kind, name)
            align = ir.Constant(I32, array.dtype.bitwidth // 8)
            builder.call(callee, [args[3], address, align, mask])
            return context.get_dummy_value()

        return types.void(c_ordered(array, True), types.int64, types.int64, vector), codegen

    @intrinsic
    def words(typingctx: Any, x: Any) -> Any:
        """One int32 in all lanes."""

        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            return everywhere(builder, args[0])

        return WORDS(types.int32), codegen

    @intrinsic
    def lanes_below(typingctx: Any, count: Any) -> Any:
        """Mask of the first `count` lanes."""

        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            return _masked(context, builder, args[0])

        return MASK(types.int64), codegen

    @intrinsic
    def agreeing(typingctx: Any, a: Any, at: Any, b: Any, b_at: Any, count: Any) -> Any:
        """Bits of the first `count` lanes in which int32 arrays agree; sixteen are read."""

        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            lanes = [
                builder.load(
                    _address(context, builder, sig.args[i], args[i], args[i + 1], INTEGERS), align=4
                )
                for i in (0, 2)
            ]
            equal = builder.icmp_signed("==", *lanes)
            equal = builder.and_(equal, _masked(context, builder, args[4]))
            return builder.zext(builder.bitcast(equal, ir.IntType(LANES)), I64)

        n = types.int64
        return n(c_ordered(a), n, c_ordered(b), n, n), codegen

    @intrinsic
    def sum_lanes(typingctx: Any, start: Any, a: Any) -> Any:
        """start + a[0] + a[1] + ..., one after another."""

        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            kind = ir.FunctionType(args[0].type, [args[0].type, args[1].type])
            name = f"llvm.vector.reduce.fadd.v{LANES}f{a.dtype.bitwidth}"
            return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), args)

        return a.dtype(a.dtype, a), codegen

    @intrinsic
    def sum_halves(typingctx: Any, a: Any) -> Any:
        """The sum of all lanes: upper halves are added to lower ones, until one is left."""

        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            total, width = args[0], LANES
            while width > 1:
                width //= 2
                halves = (range(width), range(width, 2 * width))
                lower, upper = (
                    builder.shuffle_vector(
                        total, ir.Constant(total.type, ir.Undefined),
                        ir.Constant(ir.VectorType(I32, width), list(half)),
                    )
                    for half in halves
                )  # fmt: skip
                total = builder.fadd(lower, upper)
            return builder.extract_element(total, ir.Constant(I32, 0))

        return a.dtype(a), codegen

    def _prefetch(context: Any, builder: Any, sig: Any, args: Any, write: bool) -> Any:
        address = _address(context, builder, sig.args[0], *args, ir.IntType(8))
        if write and X86:
            # As assembly: LLVM has it only where the processor is said to have it, as all do.
            kind = ir.FunctionType(ir.VoidType(), [address.type])
            builder.call(ir.InlineAsm(kind, "prefetchw ($0)", "r", side_effect=True), [address])
        else:
            kind = ir.FunctionType(ir.VoidType(), [address.type, I32, I32, I32])
            callee = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
            near, data = ir.Constant(I32, 3), ir.Constant(I32, 1)
            builder.call(callee, [address, ir.Constant(I32, int(write)), near, data])
        return context.get_dummy_value()

    @intrinsic
    def prefetch(typingctx: Any, array: Any, at: Any) -> Any:
        """Begin to bring the cache line of flat element `at` near; outside the array, nothing."""
        return types.void(c_ordered(array), types.int64), partial(_prefetch, write=False)

    @intrinsic
    def claim(typingctx: Any, array: Any, at: Any) -> Any:
        """As `prefetch`, for a line that will be written to: no other core keeps it."""
        return types.void(c_ordered(array), types.int64), partial(_prefetch, write=True)

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
                masks = [ir.Constant(INTEGERS, m) for m in (upper, lower)]
                for r in range(LANES):
                    if not r & bit:
                        pair = rows[r], rows[r | bit]
                        rows[r], rows[r | bit] = (builder.shuffle_vector(*pair, m) for m in masks)
            for r in range(LANES):
                builder.store(rows[r], place(2, r), align=4)
            return context.get_dummy_value()

        return types.void(c_ordered(a), types.int64, c_ordered(b, True), types.int64), codegen

else:
    FLOATS, DOUBLES, MASK, WORDS = "floats", "doubles", "mask", "words"

    class Operations:
        """The same on NumPy arrays."""

        def number(self, x: Any) -> Any:
            return np.full(LANES, x, np.float32)

        def fma(self, a: Any, b: Any, c: Any) -> Any:
            # A product of two float32 is exact in float64; only float64 lanes round twice.
            return (a.astype(np.float64) * b + c).astype(a.dtype)

        def sqrt(self, a: Any) -> Any:
            with np.errstate(invalid="ignore"):  # lanes that a mask leaves out may hold anything
                return np.sqrt(a)

        def magnitude(self, a: Any) -> Any:
            return np.abs(a)

        def select(self, mask: Any, a: Any, b: Any) -> Any:
            return np.where(mask, a, b)

        def widen(self, a: Any) -> Any:
            return a.astype(np.float64)

        def narrow(self, a: Any) -> Any:
            return a.astype(np.float32)

        def add_exponent(self, a: Any, n: Any) -> Any:
            return (a.view(np.int32) + (n.view(np.int32) << 23)).view(np.float32)

        def mantissa(self, a: Any) -> Any:
            return ((a.view(np.int32) & 0x007FFFFF) | 0x3F800000).view(np.float32)

        def exponent(self, a: Any) -> Any:
            return ((a.view(np.int32) >> 23) - 127).astype(np.float32)

    def vectors(*results: Any) -> Callable[[Callable[..., Any]], Any]:
        def decorate(formula: Callable[..., Any]) -> Any:
            v = Operations()

            @wraps(formula)
            def call(*given: Any) -> Any:
                return formula(v, *(x if isinstance(x, np.ndarray) else v.number(x) for x in given))

            return call

        return decorate

    def borrowed(array: Any) -> Any:
        return array.reshape(-1)

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

    def words(x: int) -> Any:
        return np.full(LANES, x, np.int32)

    def lanes_below(count: int) -> Any:
        return np.arange(LANES) < count

    def agreeing(a: Any, at: int, b: Any, b_at: int, count: int) -> int:
        equal = a.reshape(-1)[at : at + LANES] == b.reshape(-1)[b_at : b_at + LANES]
        return sum(1 << i for i in range(min(count, LANES)) if equal[i])

    def sum_lanes(start: Any, a: Any) -> Any:
        return np.add.accumulate(np.concatenate([[start], a]), dtype=a.dtype)[-1]

    def sum_halves(a: Any) -> Any:
        while len(a) > 1:
            a = a[: len(a) // 2] + a[len(a) // 2 :]
        return a[0]

    def prefetch(array: Any, at: int) -> None:
        pass

    claim = prefetch

    def transpose(a: Any, at: int, b: Any, b_at: int) -> None:
        square = a.reshape(-1)[at : at + LANES * LANES].reshape(LANES, LANES)
        b.reshape(-1)[b_at : b_at + LANES * LANES] = square.T.reshape(-1)


@vectors(FLOATS)
def splat(v: Operations, x: Any) -> Any:
    """One number, rounded to float32, in all lanes."""
    return x


@vectors()
def fma(v: Operations, a: Any, b: Any, c: Any) -> Any:
    """a * b + c, rounded once."""
    return v.fma(a, b, c)


@vectors()
def magnitude(v: Operations, a: Any) -> Any:
    """Absolute value."""
    return v.magnitude(a)


@vectors(FLOATS)
def select(v: Operations, mask: Any, a: Any, b: Any) -> Any:
    """a where the mask holds, else b; float32 lanes."""
    return v.select(mask, a, b)


@vectors(DOUBLES)
def widen(v: Operations, a: Any) -> Any:
    """float32 lanes as float64."""
    return v.widen(a)


@vectors(FLOATS)
def narrow(v: Operations, a: Any) -> Any:
    """float64 lanes rounded to float32."""
    return v.narrow(a)
