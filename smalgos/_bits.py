"""Words of 64 bits in kernels that read text by address: formats and tokens.

Without the compiler, words are Python integers, and the functions do the same.
"""

# mypy: ignore-errors
# Kernels are typed by what their docstrings say.

import ctypes
from typing import Any

import numpy as np

from smalgos._jit import COMPILED, kernel

# Words are unsigned. Python's integers do not wrap: hence `& MASK` behind every sum and product,
# which costs nothing when compiled.
word: Any = np.uint64 if COMPILED else int
MASK = word(0xFFFFFFFFFFFFFFFF)

# For what only other kernels call: the wrappers for Python are a quarter of the time to compile.
inner = kernel(fastmath=False, no_cpython_wrapper=True, no_cfunc_wrapper=True)

if COMPILED:
    from llvmlite import ir
    from numba import types
    from numba.extending import intrinsic

    @intrinsic
    def load64(_context: Any, at: Any) -> Any:
        """The eight bytes from address `at` on as a word, the first one lowest."""

        def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            address = builder.inttoptr(arguments[0], ir.IntType(64).as_pointer())
            return builder.load(address, align=1)

        return types.uint64(types.int64), code

    @intrinsic
    def trailing_zeros(_context: Any, a: Any) -> Any:
        """Number of zero bits below the lowest set bit; `a` is not zero."""

        def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 1))

        return types.int64(types.uint64), code

    @intrinsic
    def ones(_context: Any, a: Any) -> Any:
        """Number of bits that are set."""

        def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return builder.ctpop(arguments[0])

        return types.int64(types.uint64), code

else:

    def load64(at: int) -> int:
        """The eight bytes from address `at` on as a word, the first one lowest."""
        return int.from_bytes(ctypes.string_at(int(at), 8), "little")

    def trailing_zeros(a: int) -> int:
        """Number of zero bits below the lowest set bit; `a` is not zero."""
        return (a & -a).bit_length() - 1

    def ones(a: int) -> int:
        """Number of bits that are set."""
        return a.bit_count()
